//! The socket's side of the connector: asking for messages, and taking them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::message::{self, Body, Message};
use crate::sensor::Error;
use crate::sys::netlink::{ConnectorSocket, Inbox};

/// How long the kernel may take to answer a request. It answers within the system call.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What one waiting message takes of the socket's buffer, as the kernel counts it.
const MESSAGE_COST: usize = 768;

/// The rate of messages a buffer must bear between two drains.
const MESSAGES_PER_SECOND: usize = 50_000;

/// A listener to the connector's messages. Dropping it ends that.
#[derive(Debug)]
pub(in crate::sensor) struct Listener {
    socket: ConnectorSocket,
    is_listening: bool,
    inbox: Inbox,
    buffer_size: usize,
    peak: usize,
}

impl Listener {
    /// Opens the socket, with a buffer of `buffer_size` bytes where the system allows it.
    pub(in crate::sensor) fn open(buffer_size: usize) -> Result<Self, Error> {
        let socket = ConnectorSocket::open(message::GROUP).map_err(unavailable)?;
        let buffer_size = socket
            .set_receive_buffer(buffer_size)
            .map_err(Error::io("setting the size of the connector's buffer"))?;
        Ok(Self {
            socket,
            is_listening: false,
            inbox: Inbox::default(),
            buffer_size,
            peak: 0,
        })
    }

    /// Asks for messages and waits for the answer; messages that come before it are appended to
    /// `messages`, the answer too.
    pub(in crate::sensor) fn listen(&mut self, messages: &mut Vec<Message>) -> Result<(), Error> {
        let own_id = std::process::id();
        self.is_listening = true;
        self.socket
            .send(&message::request(message::LISTEN, own_id))
            .map_err(unavailable)?;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while Instant::now() < deadline {
            let from = messages.len();
            self.receive(messages)
                .map_err(Error::io("reading the proc connector"))?;
            let answer = messages
                .iter()
                .skip(from)
                .find_map(|message| match message.body {
                    Body::Answer { request_id, error } if request_id == own_id => Some(error),
                    _ => None,
                });
            match answer.map(i32::try_from) {
                Some(Ok(0)) => return Ok(()),
                Some(Ok(error)) => {
                    return Err(unavailable(io::Error::from_raw_os_error(error)));
                }
                Some(Err(_)) | None => {}
            }
            sleep(&[self.as_fd()], ANSWER_TIMEOUT)?;
        }
        Err(Error::Unavailable {
            cause: "the proc connector does not answer".to_owned(),
            cure: "run it in the host's own pid, user and network namespaces, on a kernel with \
                   CONFIG_PROC_EVENTS"
                .to_owned(),
        })
    }

    /// Asks for no more messages. What was sent until then waits to be received.
    pub(in crate::sensor) fn ignore(&mut self) -> io::Result<()> {
        self.is_listening = false;
        self.socket
            .send(&message::request(message::IGNORE, std::process::id()))
    }

    /// Appends every message that waits.
    pub(in crate::sensor) fn receive(&mut self, messages: &mut Vec<Message>) -> io::Result<()> {
        let mut size = 0_usize;
        // A drain ends, however fast messages come.
        while size <= self.buffer_size.saturating_mul(2) {
            let more = match self.inbox.receive(&self.socket) {
                // The buffer has overflowed. What is in it is still good, and the gap in the
                // sequence says how much is not.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => true,
                result => result?,
            };
            for bytes in self.inbox.messages() {
                size += MESSAGE_COST;
                // What is another connector's does not count, and what is not readable leaves a
                // gap in the sequence.
                if let Ok(Some(message)) = message::read(bytes) {
                    messages.push(message);
                }
            }
            if !more {
                break;
            }
        }
        self.peak = self.peak.max(size.min(self.buffer_size));
        Ok(())
    }

    /// The greatest fill of the buffer so far and its size, in bytes.
    pub(in crate::sensor) const fn peak(&self) -> (u64, u64) {
        (self.peak as u64, self.buffer_size as u64)
    }

    /// How long the buffer lasts at the rate it must bear.
    pub(in crate::sensor) fn time_to_fill(&self) -> Duration {
        time_to_fill(self.buffer_size)
    }
}

impl AsFd for Listener {
    /// Readable while messages wait.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.is_listening {
            // Nobody is left to tell that the kernel goes on sending to no one.
            let _sent = self.ignore();
        }
    }
}

/// Waits until one of `fds` is readable; says `false` when `timeout` has passed.
pub(super) fn sleep(fds: &[BorrowedFd<'_>], timeout: Duration) -> Result<bool, Error> {
    let mut fds: Vec<PollFd<'_>> = fds
        .iter()
        .map(|fd| PollFd::new(*fd, PollFlags::POLLIN))
        .collect();
    let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
    match poll(&mut fds, timeout) {
        Ok(count) => Ok(count > 0),
        Err(nix::errno::Errno::EINTR) => Ok(false),
        Err(errno) => Err(Error::io("waiting for the proc connector")(errno.into())),
    }
}

/// How long a buffer of this size lasts at the rate it must bear.
fn time_to_fill(buffer_size: usize) -> Duration {
    let messages = buffer_size / MESSAGE_COST;
    let nanoseconds = messages.saturating_mul(1_000_000_000) / MESSAGES_PER_SECOND;
    Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}

/// Why the connector does not open here, and the cure.
fn unavailable(error: io::Error) -> Error {
    let (cause, cure) = match error.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => (
            "the proc connector needs CAP_NET_ADMIN on this kernel",
            "run it as root, or on Linux 6.6 or later",
        ),
        Some(libc::EPROTONOSUPPORT | libc::EAFNOSUPPORT | libc::ECONNREFUSED) => (
            "there is no proc connector in this network namespace",
            "run it in the host's network namespace, on a kernel with CONFIG_PROC_EVENTS",
        ),
        _ => return Error::io("opening the proc connector")(error),
    };
    Error::Unavailable {
        cause: cause.to_owned(),
        cure: cure.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_buffer_is_drained_sooner() {
        assert!(time_to_fill(425_984) < Duration::from_millis(12));
        assert!(time_to_fill(8 << 20) > Duration::from_millis(200));
    }
}

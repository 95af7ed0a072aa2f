//! The proc connector: process and thread events of the kernel's netlink connector, with `/proc`
//! for what they lack. On recent kernels (6.6 and later) it needs no privilege.
//!
//! What it cannot give:
//! - Image loads: none.
//! - The program of an exec is read from `/proc` up to a flush interval later. It is unavailable
//!   when the process has ended or executed another program by then; one more exec between the
//!   two reads cannot be told.
//! - The creator of a process where it is not the parent (`CLONE_PARENT`), and the creating thread
//!   of a thread.
//! - The start time of a process is that of its fork message, a few microseconds late. Where that
//!   may make a difference for the process key it is read from `/proc`, if the process is still
//!   there.
//! - `tasks.rs` names the rare cases in which an exit status or an exit is not exact.
//! - After a suspend of the machine, messages from before it have times that are late by its
//!   length: the connector's clock does not count it.
//! - Of what was lost only the number is known, from the gaps in each processor's sequence. The
//!   messages may have been of any kind, also of those that make no event, so all are told as
//!   process starts.

mod message;
mod stream;

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::prctl;
use nix::unistd::{Pid, gettid};

use self::stream::Stream;
use super::merge::{HEARTBEAT, Merge, SETTLE_NS};
use super::{Batch, Counters, Error, Sensor, Settings, seam, snapshot};
use crate::sys::clock;
use crate::sys::netlink::{ConnectorSocket, Inbox};

/// How long the kernel may take to answer a request. It answers within the system call.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What one waiting message takes of the socket's buffer, as the kernel counts it.
const MESSAGE_COST: usize = 768;

/// The rate of messages a buffer must bear between two drains.
const MESSAGES_PER_SECOND: usize = 50_000;

/// Checks that the connector answers, and stops it again.
pub fn open(settings: &Settings) -> Result<Box<dyn Sensor>, Error> {
    let mut sensor = Connector::new(settings)?;
    sensor.listen()?;
    sensor
        .ignore()
        .map_err(Error::io("stopping the proc connector"))?;
    // A fresh socket, because this one has heard messages that nobody asked for.
    Ok(Box::new(Connector::new(settings)?))
}

/// The sensor.
struct Connector {
    socket: ConnectorSocket,
    is_listening: bool,
    inbox: Inbox,
    settings: Settings,
    buffer_size: usize,
    flush_interval: Duration,
    merge: Merge,
    stream: Stream,
    peak: u64,
}

impl Connector {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let socket = ConnectorSocket::open(message::GROUP).map_err(unavailable)?;
        let wanted = settings.process_buffer_size.max(settings.event_buffer_size);
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let buffer_size = socket
            .set_receive_buffer(wanted)
            .map_err(Error::io("setting the size of the connector's buffer"))?;
        Ok(Self {
            socket,
            is_listening: false,
            inbox: Inbox::default(),
            settings: settings.clone(),
            buffer_size,
            flush_interval: settings.flush_interval.min(time_to_fill(buffer_size)),
            merge: Merge::default(),
            stream: Stream::new(settings.threads),
            peak: 0,
        })
    }

    /// Asks for messages and waits for the answer; messages that come before it are kept.
    fn listen(&mut self) -> Result<(), Error> {
        self.request(message::LISTEN).map_err(unavailable)?;
        self.is_listening = true;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        while Instant::now() < deadline {
            self.receive()
                .map_err(Error::io("reading the proc connector"))?;
            match self.stream.answer(std::process::id()) {
                Some(0) => return Ok(()),
                Some(error) => {
                    let error = i32::try_from(error).unwrap_or(libc::EPERM);
                    return Err(unavailable(io::Error::from_raw_os_error(error)));
                }
                None => {}
            }
            sleep(&[self.socket.as_fd()], ANSWER_TIMEOUT)?;
        }
        Err(Error::Unavailable {
            cause: "the proc connector does not answer".to_owned(),
            cure: "run it in the host's own pid, user and network namespaces, on a kernel with \
                   CONFIG_PROC_EVENTS"
                .to_owned(),
        })
    }

    fn request(&self, operation: u32) -> io::Result<()> {
        self.socket
            .send(&message::request(operation, std::process::id()))
    }

    fn ignore(&mut self) -> io::Result<()> {
        self.is_listening = false;
        self.request(message::IGNORE)
    }

    /// Takes every message that waits.
    fn receive(&mut self) -> io::Result<()> {
        let mut size = 0;
        loop {
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
                    self.stream.messages.push(message);
                }
            }
            if !more {
                break;
            }
            // A drain ends, however fast messages come.
            if size > self.buffer_size.saturating_mul(2) {
                break;
            }
        }
        self.peak = self.peak.max(size.min(self.buffer_size) as u64);
        Ok(())
    }
}

impl Drop for Connector {
    fn drop(&mut self) {
        if self.is_listening {
            // Nobody is left to tell that the kernel goes on sending to no one.
            let _sent = self.ignore();
        }
    }
}

impl Sensor for Connector {
    fn source(&self) -> &'static str {
        "connector"
    }

    fn start(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let began = clock::now().0;
        self.stream.began = began;
        self.listen()?;
        fence().map_err(Error::io("marking the begin of recording"))?;
        let snapshot = snapshot::take(false, || clock::now().0)
            .map_err(Error::io("reading the processes of /proc"))?;
        self.stream.know(&snapshot);
        // A process the snapshot has seen may not have been told of yet.
        std::thread::sleep(Duration::from_nanos(SETTLE_NS));
        let mut stream = Batch::default();
        self.receive()
            .map_err(Error::io("reading the proc connector"))?;
        self.stream.write(&mut stream);
        self.merge.finish(&mut stream, 0);
        seam::join(snapshot, &stream, began, batch).map_err(|invalid| {
            Error::io("joining snapshot and stream")(io::Error::other(invalid))
        })?;
        self.stream.counters.add_existing(batch);
        Ok(())
    }

    fn read(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let waker = self.settings.waker.clone();
        if self.merge.is_idle() {
            let woken = sleep(&[waker.as_fd(), self.socket.as_fd()], HEARTBEAT)?;
            if woken {
                self.merge.woken();
            }
            self.stream.heal();
            return Ok(());
        }
        sleep(&[waker.as_fd()], self.flush_interval)?;
        let now = clock::now().0;
        self.receive()
            .map_err(Error::io("reading the proc connector"))?;
        let from = batch.count();
        self.stream.write(batch);
        self.merge.merge(batch, from, now, None);
        Ok(())
    }

    fn stop(&mut self, batch: &mut Batch) -> Result<(), Error> {
        let io_error = Error::io("ending the proc connector");
        let from = batch.count();
        // First make room, so that the marks are not lost themselves.
        let result = (|| {
            self.receive()?;
            self.stream.ends_at_name_of = Some(gettid().as_raw().unsigned_abs());
            fence()?;
            self.receive()?;
            self.ignore()?;
            self.receive()
        })();
        result.map_err(io_error)?;
        self.stream.write(batch);
        self.merge.finish(batch, from);
        Ok(())
    }

    fn counters(&mut self) -> Result<Counters, Error> {
        Ok(self.stream.counters)
    }

    fn buffer_peaks(&self) -> Vec<(&'static str, u64, u64)> {
        vec![("connector", self.peak, self.buffer_size as u64)]
    }
}

/// Makes one message on every processor, so that what was lost before it shows as a gap, and
/// stays on the processors it may run on.
fn fence() -> io::Result<()> {
    let this_thread = Pid::from_raw(0);
    let name = prctl::get_name().unwrap_or_else(|_unnamed| CString::default());
    let allowed = sched_getaffinity(this_thread)?;
    for cpu in 0..CpuSet::count() {
        let mut only = CpuSet::new();
        // Offline, or not ours to run on: its sequence ends with its last message.
        if only.set(cpu).is_err() || sched_setaffinity(this_thread, &only).is_err() {
            continue;
        }
        prctl::set_name(&name)?;
    }
    sched_setaffinity(this_thread, &allowed)?;
    Ok(())
}

/// Waits until one of `fds` is readable; says `false` when `timeout` has passed.
fn sleep(fds: &[BorrowedFd<'_>], timeout: Duration) -> Result<bool, Error> {
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

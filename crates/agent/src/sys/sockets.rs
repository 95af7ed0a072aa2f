//! Waiting for sockets that are set non-blocking, or for a [`Waker`], whichever comes first.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::wake::Waker;

/// What a socket is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readiness {
    /// A connection to accept, or bytes to read.
    Readable,
    /// Room to write.
    Writable,
}

/// A socket, and what it is waited for.
#[derive(Debug)]
pub struct Waited<'s> {
    file: PollFd<'s>,
}

impl<'s> Waited<'s> {
    /// Waits for `readiness` of `socket`.
    pub fn new(socket: &'s impl AsFd, readiness: Readiness) -> Self {
        let flags = match readiness {
            Readiness::Readable => PollFlags::POLLIN,
            Readiness::Writable => PollFlags::POLLOUT,
        };
        Self {
            file: PollFd::new(socket.as_fd(), flags),
        }
    }
}

/// Waits for any of them; may return early with nothing of it so.
pub fn wait(waited: &[Waited<'_>], waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
    let sockets = waited.iter().map(|waited| waited.file.clone());
    let waker = PollFd::new(waker.as_fd(), PollFlags::POLLIN);
    let mut files: Vec<PollFd<'_>> = sockets.chain([waker]).collect();
    let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
        // Rounded up, so that the last millisecond is slept and not spun.
        PollTimeout::from(u16::try_from(timeout.as_millis() + 1).unwrap_or(u16::MAX))
    });
    match poll(&mut files, timeout) {
        // Interrupted by a signal, the caller looks, finds nothing, and waits again.
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

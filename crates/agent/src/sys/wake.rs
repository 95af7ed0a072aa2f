//! A way to wake a thread that waits for file descriptors (Linux `eventfd`).

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// Tells a sensor thread to stop, from any thread. Clones are the same waker.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    woken: AtomicBool,
    event: EventFd,
}

impl Waker {
    /// A waker nobody has woken.
    pub fn new() -> std::io::Result<Self> {
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self {
            shared: Arc::new(Shared {
                woken: AtomicBool::new(false),
                event,
            }),
        })
    }

    /// Wakes whoever waits, now and from now on: it is never reset.
    pub fn wake(&self) {
        self.shared.woken.store(true, Ordering::SeqCst);
        // The counter cannot overflow before 2^64 calls, the only way this write can fail.
        let _written = self.shared.event.write(1);
    }

    /// Whether it was woken.
    pub fn is_woken(&self) -> bool {
        self.shared.woken.load(Ordering::SeqCst)
    }

    /// Waits until it is woken, or for `time`.
    pub fn wait(&self, time: Duration) {
        let mut files = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        // Not rounded down, or a wait below a millisecond would be none; a longer one than poll
        // knows (24 days) is cut.
        let ms = time.as_micros().div_ceil(1000);
        let timeout = PollTimeout::try_from(ms).unwrap_or(PollTimeout::MAX);
        // Interrupted by a signal is as good as woken: whoever waits looks again.
        let _woken = poll(&mut files, timeout);
    }
}

impl AsFd for Waker {
    /// Readable once woken.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.event.as_fd()
    }
}

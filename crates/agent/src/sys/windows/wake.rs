//! A way to wake a thread that waits, whatever it waits for.

#![expect(unsafe_code, reason = "an event and a completion port")]

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr::{null, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use windows_sys::Win32::Foundation::{HANDLE, INVALID_HANDLE_VALUE};
use windows_sys::Win32::System::IO::{CreateIoCompletionPort, PostQueuedCompletionStatus};
use windows_sys::Win32::System::Threading::{
    CreateEventW, INFINITE, SetEvent, WaitForSingleObject,
};

use super::call::owned;

/// The key of the packet that wakes who waits on the port.
pub(super) const WAKE_KEY: usize = 0;

/// Tells a sensor thread to stop, from any thread. Clones are the same waker.
#[derive(Clone, Debug)]
pub struct Waker {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    woken: AtomicBool,
    /// For who waits for several handles.
    event: OwnedHandle,
    /// For who waits for reads.
    port: OwnedHandle,
}

impl Waker {
    /// A waker nobody has woken.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no pointer is passed but null ones, which stand for the defaults.
        let event = unsafe { CreateEventW(null(), 1, 0, null()) };
        // SAFETY: just created, and nobody else has it.
        let event = unsafe { owned(event) }?;
        // SAFETY: creates a port of its own; one thread at a time waits on it.
        let port = unsafe { CreateIoCompletionPort(INVALID_HANDLE_VALUE, null_mut(), 0, 1) };
        // SAFETY: just created, and nobody else has it.
        let port = unsafe { owned(port) }?;
        Ok(Self {
            shared: Arc::new(Shared {
                woken: AtomicBool::new(false),
                event,
                port,
            }),
        })
    }

    /// Wakes whoever waits, now and from now on: it is never reset.
    pub fn wake(&self) {
        self.shared.woken.store(true, Ordering::SeqCst);
        // SAFETY: the handle is open as long as `self` is.
        let set = unsafe { SetEvent(self.event()) };
        debug_assert_ne!(set, 0, "an event that is ours can be set");
        // SAFETY: the handle is open as long as `self` is; the packet carries no pointer.
        let posted = unsafe { PostQueuedCompletionStatus(self.port(), 0, WAKE_KEY, null()) };
        debug_assert_ne!(posted, 0, "a port takes packets as long as there is memory");
    }

    /// Whether it was woken.
    pub fn is_woken(&self) -> bool {
        self.shared.woken.load(Ordering::SeqCst)
    }

    /// Waits until it is woken, or for `time`; the longest is 49 days.
    pub fn wait(&self, time: Duration) {
        // Not rounded down, or a wait below a millisecond would be none.
        let ms = u32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(INFINITE - 1);
        // SAFETY: the handle is open as long as `self` is.
        let _woken = unsafe { WaitForSingleObject(self.event(), ms) };
    }

    /// Signalled once woken.
    pub(super) fn event(&self) -> HANDLE {
        self.shared.event.as_raw_handle()
    }

    /// Gets a packet with [`WAKE_KEY`] when woken; reads are completed here too.
    pub(super) fn port(&self) -> HANDLE {
        self.shared.port.as_raw_handle()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waker_stays_woken_for_all_its_clones() {
        let waker = Waker::new().unwrap();
        let clone = waker.clone();
        assert!(!clone.is_woken());
        waker.wake();
        waker.wake();
        assert!(clone.is_woken());
    }
}

//! Waiting for sockets that are set non-blocking, or for a [`Waker`], whichever comes first.

#![expect(unsafe_code, reason = "an event for a socket")]

use std::io;
use std::os::windows::io::{
    AsRawHandle as _, AsRawSocket as _, AsSocket, BorrowedSocket, OwnedHandle,
};
use std::ptr::null;
use std::time::Duration;

use windows_sys::Win32::Foundation::WAIT_FAILED;
use windows_sys::Win32::Networking::WinSock::{
    FD_ACCEPT, FD_CLOSE, FD_READ, FD_WRITE, SOCKET, WSAEventSelect,
};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, WaitForMultipleObjects};

use super::call::owned;
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
    socket: BorrowedSocket<'s>,
    readiness: Readiness,
}

impl<'s> Waited<'s> {
    /// Waits for `readiness` of `socket`.
    pub fn new(socket: &'s impl AsSocket, readiness: Readiness) -> Self {
        Self {
            socket: socket.as_socket(),
            readiness,
        }
    }

    /// Has `event` signalled when it is so, now or later.
    fn select(&self, event: &OwnedHandle) -> io::Result<()> {
        let kinds = match self.readiness {
            Readiness::Readable => FD_ACCEPT | FD_READ | FD_CLOSE,
            Readiness::Writable => FD_WRITE | FD_CLOSE,
        };
        select(self.number()?, event, kinds)
    }

    /// Has it signalled no more.
    fn deselect(&self, event: &OwnedHandle) -> io::Result<()> {
        select(self.number()?, event, 0)
    }

    fn number(&self) -> io::Result<SOCKET> {
        usize::try_from(self.socket.as_raw_socket()).map_err(io::Error::other)
    }
}

/// Waits for any of them; may return early with nothing of it so.
pub fn wait(waited: &[Waited<'_>], waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
    // SAFETY: no pointer is passed but null ones, which stand for the defaults.
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    // SAFETY: just created, and nobody else has it.
    let event: OwnedHandle = unsafe { owned(event) }?;
    let selected = waited.iter().try_for_each(|waited| waited.select(&event));
    let slept = selected.and_then(|()| sleep(&event, waker, timeout));
    // The sockets must not keep an event that is about to be closed.
    for waited in waited {
        waited.deselect(&event)?;
    }
    slept
}

fn sleep(event: &OwnedHandle, waker: &Waker, timeout: Option<Duration>) -> io::Result<()> {
    let handles = [event.as_raw_handle(), waker.event()];
    let timeout_ms = timeout.map_or(INFINITE, |timeout| {
        // Rounded up, so that the last millisecond is slept and not spun.
        u32::try_from(timeout.as_millis() + 1).unwrap_or(INFINITE - 1)
    });
    // SAFETY: two handles, both open until the call returns.
    let waited = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, timeout_ms) };
    if waited == WAIT_FAILED {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Has `event` signalled when one of `kinds` is so, now or later.
fn select(socket: SOCKET, event: &OwnedHandle, kinds: u32) -> io::Result<()> {
    // SAFETY: socket and event are open for the call; the event outlives its selection, which
    // `wait` ends before it returns.
    let selected =
        unsafe { WSAEventSelect(socket, event.as_raw_handle() as isize, kinds.cast_signed()) };
    if selected != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

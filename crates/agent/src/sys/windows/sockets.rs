//! Waiting for a socket that is set non-blocking, or for a [`Waker`], whichever comes first.

#![expect(unsafe_code, reason = "an event for a socket")]

use std::io;
use std::os::windows::io::{AsRawHandle as _, AsRawSocket, OwnedHandle};
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

/// Waits; may return early with nothing of it so.
pub fn wait(
    socket: &impl AsRawSocket,
    readiness: Readiness,
    waker: &Waker,
    timeout: Option<Duration>,
) -> io::Result<()> {
    // SAFETY: no pointer is passed but null ones, which stand for the defaults.
    let event = unsafe { CreateEventW(null(), 1, 0, null()) };
    // SAFETY: just created, and nobody else has it.
    let event: OwnedHandle = unsafe { owned(event) }?;
    let kinds = match readiness {
        Readiness::Readable => FD_ACCEPT | FD_READ | FD_CLOSE,
        Readiness::Writable => FD_WRITE | FD_CLOSE,
    };
    let socket = usize::try_from(socket.as_raw_socket()).map_err(io::Error::other)?;
    select(socket, &event, kinds)?;
    let handles = [event.as_raw_handle(), waker.event()];
    let timeout_ms = timeout.map_or(INFINITE, |timeout| {
        // Rounded up, so that the last millisecond is slept and not spun.
        u32::try_from(timeout.as_millis() + 1).unwrap_or(INFINITE - 1)
    });
    // SAFETY: two handles, both open until the call returns.
    let waited = unsafe { WaitForMultipleObjects(2, handles.as_ptr(), 0, timeout_ms) };
    let failed = (waited == WAIT_FAILED).then(io::Error::last_os_error);
    // The socket must not keep an event that is about to be closed.
    select(socket, &event, 0)?;
    failed.map_or(Ok(()), Err)
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

//! A device: control requests, and reads that are kept pending.

#![expect(
    unsafe_code,
    reason = "overlapped requests, whose memory the system uses until they end"
)]

use super::handle::Handle;
use super::{check, wide};
use std::io;
use std::ptr;
use std::time::Duration;
use windows_sys::Win32::Foundation::{ERROR_IO_PENDING, GENERIC_READ, GENERIC_WRITE};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, FILE_READ_ATTRIBUTES, FILE_SHARE_READ, FILE_SHARE_WRITE,
    OPEN_EXISTING, ReadFile,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, DeviceIoControl, GetOverlappedResult, OVERLAPPED,
};
use windows_sys::Win32::System::Threading::{
    CreateEventW, WaitForMultipleObjects, WaitForSingleObject,
};

/// How long a request that is to end at once may take.
const TIME_MAX_MS: u32 = 20_000;

/// An open device.
#[derive(Debug)]
pub(crate) struct Device(Handle);

/// What a device is opened for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Access {
    /// Its reads and its control requests.
    Read,
    /// Control requests that need no right.
    Attributes,
}

/// A request and the memory the system uses for it.
///
/// # Invariants
/// While `is_pended`, neither the structure nor the buffer moves or is freed.
struct Request {
    overlapped: Box<OVERLAPPED>,
    event: Handle,
    buffer: Vec<u8>,
}

// SAFETY: a request may be waited for in any thread.
unsafe impl Send for Request {}

impl Request {
    fn new(buffer: Vec<u8>) -> io::Result<Self> {
        // SAFETY: an event without name, not set, reset by hand.
        let event = Handle::new(unsafe { CreateEventW(ptr::null(), 1, 0, ptr::null()) })?;
        let overlapped = Box::new(OVERLAPPED {
            hEvent: event.raw(),
            ..OVERLAPPED::default()
        });
        Ok(Self {
            overlapped,
            event,
            buffer,
        })
    }
}

/// A read that is pended. One that is dropped is cancelled first.
pub(crate) struct Read<'d> {
    device: &'d Device,
    request: Request,
    is_done: bool,
}

impl Device {
    /// Opens `\\.\name`.
    pub(crate) fn open(name: &str, access: Access) -> io::Result<Self> {
        let path = wide(&format!(r"\\.\{name}"));
        let access = match access {
            Access::Read => GENERIC_READ | GENERIC_WRITE,
            Access::Attributes => FILE_READ_ATTRIBUTES,
        };
        // SAFETY: the path is good for the call.
        let handle = unsafe {
            CreateFileW(
                path.as_ptr(),
                access,
                FILE_SHARE_READ | FILE_SHARE_WRITE,
                ptr::null(),
                OPEN_EXISTING,
                FILE_FLAG_OVERLAPPED,
                ptr::null_mut(),
            )
        };
        Ok(Self(Handle::new(handle)?))
    }

    /// Makes a control request and waits for its end.
    pub(crate) fn control(
        &self,
        code: u32,
        input: &[u8],
        output_size: usize,
    ) -> io::Result<Vec<u8>> {
        let mut request = Request::new(vec![0; output_size])?;
        let size_of = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
        // SAFETY: the buffers are good until the request has ended, which is waited for below.
        let result = unsafe {
            DeviceIoControl(
                self.0.raw(),
                code,
                input.as_ptr().cast(),
                size_of(input.len()),
                request.buffer.as_mut_ptr().cast(),
                size_of(output_size),
                ptr::null_mut(),
                &raw mut *request.overlapped,
            )
        };
        is_pended(result)?;
        // SAFETY: the event is open.
        let _state = unsafe { WaitForSingleObject(request.event.raw(), TIME_MAX_MS) };
        let size = self.finish(&mut request)?;
        request.buffer.truncate(size);
        Ok(request.buffer)
    }

    /// Starts a read.
    pub(crate) fn read(&self, size: usize) -> io::Result<Read<'_>> {
        let mut request = Request::new(vec![0; size])?;
        // SAFETY: the buffer is good until the read has ended, which `Read` waits for.
        let result = unsafe {
            ReadFile(
                self.0.raw(),
                request.buffer.as_mut_ptr().cast(),
                u32::try_from(size).unwrap_or(u32::MAX),
                ptr::null_mut(),
                &raw mut *request.overlapped,
            )
        };
        is_pended(result)?;
        Ok(Read {
            device: self,
            request,
            is_done: false,
        })
    }

    /// Ends a request that has been waited for, or cancels it; gives its size.
    fn finish(&self, request: &mut Request) -> io::Result<usize> {
        let mut size = 0;
        let overlapped = &raw mut *request.overlapped;
        // SAFETY: the request is this device's.
        let result = unsafe { GetOverlappedResult(self.0.raw(), overlapped, &raw mut size, 0) };
        if let Err(error) = check(result) {
            const INCOMPLETE: i32 = 996;
            if error.raw_os_error() != Some(INCOMPLETE) {
                return Err(error);
            }
            // SAFETY: as above.
            let _is_cancelled = unsafe { CancelIoEx(self.0.raw(), overlapped) };
            // SAFETY: as above; waits, so that the memory is free afterwards.
            check(unsafe { GetOverlappedResult(self.0.raw(), overlapped, &raw mut size, 1) })?;
        }
        Ok(usize::try_from(size).unwrap_or(0))
    }
}

/// Whether the request was made; it may have ended already.
fn is_pended(result: i32) -> io::Result<()> {
    check(result).or_else(|error| {
        let pending = ERROR_IO_PENDING.cast_signed();
        if error.raw_os_error() == Some(pending) {
            Ok(())
        } else {
            Err(error)
        }
    })
}

impl Read<'_> {
    /// Asks the system to cancel the read, which ends either way.
    pub(crate) fn cancel(&mut self) {
        let overlapped = &raw mut *self.request.overlapped;
        // SAFETY: the read is this device's. It may have ended already.
        let _is_cancelled = unsafe { CancelIoEx(self.device.0.raw(), overlapped) };
    }

    /// Whether the read ends within that time.
    pub(crate) fn wait(&self, time: Duration) -> bool {
        wait_any(&[self], time).is_some()
    }

    /// What was read; cancels it when it has not ended.
    pub(crate) fn finish(mut self) -> io::Result<Vec<u8>> {
        self.is_done = true;
        let size = self.device.finish(&mut self.request)?;
        let mut bytes = std::mem::take(&mut self.request.buffer);
        bytes.truncate(size);
        Ok(bytes)
    }
}

impl Drop for Read<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            // However it ends, it has ended then.
            let _outcome = self.device.finish(&mut self.request);
        }
    }
}

/// The first of these reads that has ended, if one does within that time.
pub(crate) fn wait_any(reads: &[&Read<'_>], time: Duration) -> Option<usize> {
    let events: Vec<_> = reads.iter().map(|read| read.request.event.raw()).collect();
    let count = u32::try_from(events.len()).ok()?;
    let time_ms = u32::try_from(time.as_millis()).unwrap_or(u32::MAX - 1);
    // SAFETY: the events are open.
    let state = unsafe { WaitForMultipleObjects(count, events.as_ptr(), 0, time_ms) };
    usize::try_from(state)
        .ok()
        .filter(|index| *index < reads.len())
}

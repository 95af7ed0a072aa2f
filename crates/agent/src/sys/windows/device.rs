//! The driver's device: control requests, and reads that wait on a completion port.
//!
//! # Invariants
//! A [`Pending`] whose `is_pended` is set belongs to the kernel: its buffer and its `OVERLAPPED` are
//! not touched, moved or freed until its packet has come out of the port.

#![expect(unsafe_code, reason = "overlapped input of a device")]

use std::cell::UnsafeCell;
use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr::{null, null_mut};
use std::time::Duration;

use event::control::{Code, Counters, Hello, PROTOCOL_VERSION, UNCONFIRMED_STARTS, Welcome};
use event::wire::Writer;
use windows_sys::Win32::Foundation::{
    ERROR_IO_PENDING, ERROR_NOT_FOUND, GENERIC_READ, HANDLE, WAIT_TIMEOUT,
};
use windows_sys::Win32::Storage::FileSystem::{
    CreateFileW, FILE_FLAG_OVERLAPPED, FILE_SHARE_READ, FILE_SHARE_WRITE, OPEN_EXISTING, ReadFile,
};
use windows_sys::Win32::System::IO::{
    CancelIoEx, CreateIoCompletionPort, DeviceIoControl, GetOverlappedResultEx,
    GetQueuedCompletionStatus, OVERLAPPED,
};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE};

use super::call::{check, owned, wide};
use super::driver::{self, Counted, Next, counted};
use super::registry;
use super::wake::{WAKE_KEY, Waker};

/// The device in user mode's name space.
const PATH: &str = r"\\.\SysTrail";

/// The key of the driver's service.
pub(crate) const SERVICE_KEY: &str = r"SYSTEM\CurrentControlSet\Services\SysTrail";

/// Has the driver's starts so far count as good ones.
pub(crate) fn confirm_starts() -> io::Result<()> {
    registry::set_number(SERVICE_KEY, UNCONFIRMED_STARTS, 0)
}

/// The key of a read's packet.
const READ_KEY: usize = WAKE_KEY + 1;

/// The longest that the driver takes to answer a control request; it does so at once.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// How often a cancelled read is waited for when the device is dropped, and for how long.
const DROP_WAITS_MAX: usize = 50;
const DROP_WAIT: Duration = Duration::from_millis(100);

/// The device, open for its counters alone; several may have it so.
#[derive(Debug)]
pub struct Control(OwnedHandle);

impl Control {
    /// Opens it.
    pub fn open() -> io::Result<Self> {
        Ok(Self(open(0)?))
    }

    /// The version handshake.
    pub fn handshake(&self) -> io::Result<Welcome> {
        handshake(&self.0)
    }

    /// The counters.
    pub fn counters(&self) -> io::Result<Counted> {
        counters(&self.0)
    }
}

/// The device, open to read the stream; one at a time has it so.
#[derive(Debug)]
pub struct Device {
    handle: OwnedHandle,
    waker: Waker,
    reads: Box<[Pending]>,
    /// A read that could not be pended, and why; told in its turn.
    refused: Option<io::Error>,
}

/// One read: its buffer, and the kernel's word on it.
#[derive(Debug)]
struct Pending {
    overlapped: UnsafeCell<OverlappedCell>,
    buffer: UnsafeCell<Box<[u8]>>,
    is_pended: bool,
    /// Its packet has come, and its bytes may be read until it is pended again.
    size: usize,
}

#[derive(Default)]
#[repr(transparent)]
struct OverlappedCell(OVERLAPPED);

impl std::fmt::Debug for OverlappedCell {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("OVERLAPPED")
    }
}

// SAFETY: the pointers in an OVERLAPPED are the kernel's business; by the invariant nobody touches
// them while it has them, from whatever thread.
unsafe impl Send for Pending {}

impl Device {
    /// Opens it to read, with `count` buffers of `size` bytes. Reads are completed where `waker` is
    /// heard.
    pub fn open(waker: &Waker, count: usize, size: usize) -> io::Result<Self> {
        let handle = open(GENERIC_READ)?;
        // SAFETY: both handles are open; the port keeps no pointer.
        let port =
            unsafe { CreateIoCompletionPort(handle.as_raw_handle(), waker.port(), READ_KEY, 0) };
        if port.is_null() {
            return Err(io::Error::last_os_error());
        }
        let reads = (0..count).map(|_| Pending::new(size)).collect();
        Ok(Self {
            handle,
            waker: waker.clone(),
            reads,
            refused: None,
        })
    }

    /// Takes one packet out of the port.
    fn take_packet(&mut self, timeout: Option<Duration>) -> Packet {
        let timeout_ms = timeout.map_or(INFINITE, |timeout| {
            u32::try_from(timeout.as_millis()).unwrap_or(INFINITE - 1)
        });
        let (mut size, mut key, mut overlapped) = (0, 0, null_mut());
        // SAFETY: the port is open, and all three are writable for the call.
        let done = unsafe {
            GetQueuedCompletionStatus(
                self.waker.port(),
                &raw mut size,
                &raw mut key,
                &raw mut overlapped,
                timeout_ms,
            )
        };
        let error = (done == 0).then(io::Error::last_os_error);
        if overlapped.is_null() {
            return match error {
                Some(error) if error.raw_os_error() != Some(WAIT_TIMEOUT.cast_signed()) => {
                    Packet::Failed(error)
                }
                Some(_) => Packet::TimedOut,
                None => Packet::Woken,
            };
        }
        let place = self.reads.iter().position(|read| read.has(overlapped));
        let Some(index) = place else {
            // Nobody else uses the port's read key.
            return Packet::Failed(io::ErrorKind::InvalidData.into());
        };
        let read = &mut self.reads[index];
        read.is_pended = false;
        read.size = usize::try_from(size).unwrap_or(0).min(read.room());
        match error {
            None => Packet::Read(index),
            Some(error) => Packet::Failed(error),
        }
    }

    fn is_pended(&self) -> bool {
        self.reads.iter().any(|read| read.is_pended)
    }
}

enum Packet {
    Read(usize),
    Failed(io::Error),
    Woken,
    TimedOut,
}

impl driver::Device for Device {
    fn handshake(&mut self) -> io::Result<Welcome> {
        handshake(&self.handle)
    }

    fn counters(&mut self) -> io::Result<Counted> {
        counters(&self.handle)
    }

    fn flush(&mut self) -> io::Result<()> {
        control(&self.handle, Code::FLUSH, &[], &mut []).map(drop)
    }

    fn pend(&mut self) -> io::Result<()> {
        for read in self.reads.iter_mut().filter(|read| !read.is_pended) {
            if let Err(error) = read.pend(&self.handle) {
                // What is pended already may still bring events; they come first.
                self.refused.get_or_insert(error);
                break;
            }
        }
        Ok(())
    }

    fn next(&mut self, timeout: Option<Duration>) -> Next<'_> {
        if !self.is_pended() {
            if let Some(error) = self.refused.take() {
                return Next::Failed(error);
            }
            if timeout == Some(Duration::ZERO) {
                return Next::TimedOut;
            }
        }
        match self.take_packet(timeout) {
            Packet::Read(index) => Next::Batch(self.reads[index].bytes()),
            Packet::Failed(error) => Next::Failed(error),
            Packet::Woken => Next::Woken,
            Packet::TimedOut => Next::TimedOut,
        }
    }

    fn cancel(&mut self) -> io::Result<()> {
        // SAFETY: cancels what this process has under way on the handle, which is reads alone.
        let cancelled = unsafe { CancelIoEx(self.handle.as_raw_handle(), null()) };
        match check(cancelled) {
            Err(error) if error.raw_os_error() == Some(ERROR_NOT_FOUND.cast_signed()) => Ok(()),
            cancelled => cancelled,
        }
    }

    fn confirm(&mut self) -> io::Result<()> {
        confirm_starts()
    }

    fn pended(&self) -> usize {
        self.reads.iter().filter(|read| read.is_pended).count()
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // Why it cannot be cancelled does not matter here: what counts is whether the packets come.
        let _cancelled = driver::Device::cancel(self);
        for _ in 0..DROP_WAITS_MAX {
            if !self.is_pended() {
                return;
            }
            self.take_packet(Some(DROP_WAIT));
        }
        // The kernel may still write into these, so they are never freed.
        std::mem::forget(std::mem::take(&mut self.reads));
        tracing::error!("the driver has not given back a read; its buffer is left to it");
    }
}

impl Pending {
    fn new(size: usize) -> Self {
        Self {
            overlapped: UnsafeCell::default(),
            buffer: UnsafeCell::new(vec![0; size].into_boxed_slice()),
            is_pended: false,
            size: 0,
        }
    }

    fn has(&self, overlapped: *mut OVERLAPPED) -> bool {
        self.overlapped.get().cast() == overlapped
    }

    fn room(&mut self) -> usize {
        self.buffer.get_mut().len()
    }

    /// Hands the buffer to the kernel.
    fn pend(&mut self, handle: &OwnedHandle) -> io::Result<()> {
        *self.overlapped.get_mut() = OverlappedCell::default();
        let buffer = self.buffer.get_mut();
        let size = u32::try_from(buffer.len()).map_err(io::Error::other)?;
        let buffer = buffer.as_mut_ptr();
        // SAFETY: buffer and OVERLAPPED are boxed, so they stay where they are, and by the
        // invariant they are neither touched nor freed before the packet has come.
        let done = unsafe {
            ReadFile(
                handle.as_raw_handle(),
                buffer,
                size,
                null_mut(),
                self.overlapped.get().cast(),
            )
        };
        if done == 0 {
            let error = io::Error::last_os_error();
            if error.raw_os_error() != Some(ERROR_IO_PENDING.cast_signed()) {
                return Err(error);
            }
        }
        // One that is done at once has its packet in the port as well.
        self.is_pended = true;
        Ok(())
    }

    /// What the kernel wrote.
    fn bytes(&mut self) -> &[u8] {
        let size = if self.is_pended { 0 } else { self.size };
        self.buffer.get_mut().get(..size).unwrap_or_default()
    }
}

fn open(access: u32) -> io::Result<OwnedHandle> {
    let path = wide(PATH);
    // SAFETY: a text ended by a NUL.
    let handle = unsafe {
        CreateFileW(
            path.as_ptr(),
            access,
            FILE_SHARE_READ | FILE_SHARE_WRITE,
            null(),
            OPEN_EXISTING,
            FILE_FLAG_OVERLAPPED,
            null_mut(),
        )
    };
    // SAFETY: just opened, and nobody else has it.
    unsafe { owned(handle) }
}

fn handshake(handle: &OwnedHandle) -> io::Result<Welcome> {
    let mut input = [0; Hello::SIZE];
    let hello = Hello {
        protocol_version: PROTOCOL_VERSION,
    };
    hello.write(&mut Writer::new(&mut input));
    let mut output = [0; Welcome::SIZE_MAX];
    let size = control(handle, Code::HANDSHAKE, &input, &mut output)?;
    let answer = output.get(..size).unwrap_or_default();
    counted::welcome(answer)
}

fn counters(handle: &OwnedHandle) -> io::Result<Counted> {
    let mut output = [0; Counters::SIZE_MAX];
    let size = control(handle, Code::COUNTERS, &[], &mut output)?;
    let answer = output.get(..size).unwrap_or_default();
    Counted::read(answer)
}

/// One control request, waited for. Gives the size of the answer.
fn control(handle: &OwnedHandle, code: Code, input: &[u8], output: &mut [u8]) -> io::Result<usize> {
    let mut request = Box::new(Request::new(input, output.len())?);
    request.send(handle, code)?;
    let size = match request.wait(handle, ANSWER_TIME_MAX) {
        Err(error) if error.kind() == io::ErrorKind::TimedOut => {
            if request.take_back(handle).is_err() {
                // The kernel may still write into it, so it is never freed.
                Box::leak(request);
            }
            return Err(error);
        }
        answered => answered?,
    };
    let answer = request.output.get(..size).unwrap_or_default();
    let room = output.get_mut(..answer.len());
    room.ok_or(io::ErrorKind::InvalidData)?
        .copy_from_slice(answer);
    Ok(size)
}

/// A control request: all that is the kernel's while it is under way.
struct Request {
    overlapped: OverlappedCell,
    input: Box<[u8]>,
    output: Box<[u8]>,
    _event: OwnedHandle,
}

impl Request {
    fn new(input: &[u8], output_size: usize) -> io::Result<Self> {
        // SAFETY: no pointer is passed but null ones, which stand for the defaults.
        let event = unsafe { CreateEventW(null(), 1, 0, null()) };
        // SAFETY: just created, and nobody else has it.
        let event = unsafe { owned(event) }?;
        Ok(Self {
            overlapped: OverlappedCell(OVERLAPPED {
                hEvent: without_packet(event.as_raw_handle()),
                ..OVERLAPPED::default()
            }),
            input: input.into(),
            output: vec![0; output_size].into(),
            _event: event,
        })
    }

    fn send(&mut self, handle: &OwnedHandle, code: Code) -> io::Result<()> {
        let in_size = u32::try_from(self.input.len()).map_err(io::Error::other)?;
        let out_size = u32::try_from(self.output.len()).map_err(io::Error::other)?;
        // SAFETY: both buffers have the sizes they have and, like the OVERLAPPED, stay where they are
        // until the request is done: `control` sees to it.
        let done = unsafe {
            DeviceIoControl(
                handle.as_raw_handle(),
                code.0,
                self.input.as_ptr().cast(),
                in_size,
                self.output.as_mut_ptr().cast(),
                out_size,
                null_mut(),
                &raw mut self.overlapped.0,
            )
        };
        match check(done) {
            Err(error) if error.raw_os_error() == Some(ERROR_IO_PENDING.cast_signed()) => Ok(()),
            sent => sent,
        }
    }

    /// Waits until it is done. Gives the size of the answer.
    fn wait(&self, handle: &OwnedHandle, time_max: Duration) -> io::Result<usize> {
        let time_max_ms = u32::try_from(time_max.as_millis()).unwrap_or(INFINITE - 1);
        let mut size = 0;
        // SAFETY: the OVERLAPPED of a request of this handle.
        let done = check(unsafe {
            GetOverlappedResultEx(
                handle.as_raw_handle(),
                &raw const self.overlapped.0,
                &raw mut size,
                time_max_ms,
                0,
            )
        });
        match done {
            Ok(()) => Ok(usize::try_from(size).unwrap_or(0)),
            Err(error) if error.raw_os_error() == Some(WAIT_TIMEOUT.cast_signed()) => {
                let text = format!("the driver does not answer within {} s", time_max.as_secs());
                Err(io::Error::new(io::ErrorKind::TimedOut, text))
            }
            Err(error) => Err(error),
        }
    }

    /// Fails when the kernel may still have it.
    fn take_back(&self, handle: &OwnedHandle) -> io::Result<()> {
        // SAFETY: the OVERLAPPED of a request of this handle.
        check(unsafe { CancelIoEx(handle.as_raw_handle(), &raw const self.overlapped.0) })?;
        match self.wait(handle, DROP_WAIT) {
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(error),
            _done => Ok(()),
        }
    }
}

/// An event whose request sends no packet to the port of its handle: the lowest bit says so
/// (`GetQueuedCompletionStatus`), and handles do not use it.
fn without_packet(event: HANDLE) -> HANDLE {
    event.map_addr(|address| address | 1)
}

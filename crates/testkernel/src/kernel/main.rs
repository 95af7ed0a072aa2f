//! The test kernel: a driver for Wine that completes Wine's kernel for `systrail.sys`, checks what
//! that driver does, and plays events when its own device is told to.
//!
//! Wine runs drivers in an ordinary process, so this one may use the standard library; nothing of
//! it would run on Windows. It must be loaded first, into the same process (see
//! `LOAD_ORDER_GROUP`), and stays until that process ends.

#![no_main]
#![expect(
    unsafe_code,
    reason = "a driver has an entry point and dispatch routines"
)]

mod contract;
mod device;
mod error_log;
mod irp;
mod irql;
mod level;
mod lock;
mod notify;
mod object;
mod patch;
mod pool;
mod process_query;
mod registry;
mod security;
mod target;
mod timer;

use nt::sys::{
    DEVICE_OBJECT, DRIVER_DISPATCH, DRIVER_OBJECT, IRP, IRP_MJ_CLOSE, IRP_MJ_CREATE,
    IRP_MJ_DEVICE_CONTROL, NTSTATUS, SL_PENDING_RETURNED, UNICODE_STRING,
};
use std::ptr;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use testkernel::{Report, Request, SERVICE};

const PENDING: NTSTATUS = 0x103;
/// `STATUS_INVALID_PARAMETER`
const INVALID_PARAMETER: NTSTATUS = 0xc000_000d_u32.cast_signed();
/// `STATUS_BUFFER_TOO_SMALL`
const BUFFER_TOO_SMALL: NTSTATUS = 0xc000_0023_u32.cast_signed();

/// Threads that play events, so that several can be played at once.
const PLAYERS: usize = 3;

static PLAYS: OnceLock<Sender<Play>> = OnceLock::new();

/// An event to be played for a request, which is completed afterwards.
struct Play {
    request: Request,
    irp: *mut IRP,
}

// SAFETY: a request packet may be completed from any thread.
unsafe impl Send for Play {}

/// What Wine calls, twice: its loader takes an image that imports from kernel32.dll for a library
/// and calls the entry point as one, with a number where a driver has its registry path.
///
/// # Safety
/// Called by Wine only.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    driver: *mut DRIVER_OBJECT,
    registry_path: *const UNICODE_STRING,
) -> NTSTATUS {
    const LOWEST_ADDRESS: usize = 0x1_0000;
    if registry_path.addr() < LOWEST_ADDRESS {
        return 1;
    }
    let status = create_device(driver);
    if status < 0 {
        return status;
    }
    // SAFETY: the driver object is this driver's during its start.
    let object = unsafe { &mut *driver };
    for (major, routine) in [
        (IRP_MJ_CREATE, succeed as DRIVER_DISPATCH),
        (IRP_MJ_CLOSE, succeed),
        (IRP_MJ_DEVICE_CONTROL, control),
    ] {
        object.MajorFunction[major] = Some(routine);
    }
    level::start();
    timer::start();
    let (sender, receiver) = channel();
    let receiver: &'static Mutex<Receiver<Play>> = Box::leak(Box::new(Mutex::new(receiver)));
    for _player in 0..PLAYERS {
        std::thread::spawn(|| play(receiver));
    }
    // The driver is started once.
    let _is_first = PLAYS.set(sender);
    // SAFETY: the routine stays good: this image is never unloaded.
    unsafe { nt::sys::PsSetLoadImageNotifyRoutine(patch::image_loaded) }
}

fn create_device(driver: *mut DRIVER_OBJECT) -> NTSTATUS {
    let name: Vec<u16> = format!(r"\Device\{SERVICE}").encode_utf16().collect();
    let link: Vec<u16> = format!(r"\DosDevices\{SERVICE}").encode_utf16().collect();
    let (name, link) = (notify::unicode_string(&name), notify::unicode_string(&link));
    let mut device = ptr::null_mut();
    // SAFETY: all pointers are good for the call.
    let status = unsafe {
        nt::sys::IoCreateDevice(
            driver,
            0,
            &raw const name,
            nt::sys::FILE_DEVICE_UNKNOWN,
            0,
            0,
            &raw mut device,
        )
    };
    if status < 0 {
        return status;
    }
    // SAFETY: as above.
    unsafe { nt::sys::IoCreateSymbolicLink(&raw const link, &raw const name) }
}

unsafe extern "system" fn succeed(_device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    complete(irp, 0, 0);
    0
}

unsafe extern "system" fn control(_device: *mut DEVICE_OBJECT, irp: *mut IRP) -> NTSTATUS {
    // SAFETY: Wine calls dispatch routines with a packet that has a location for this driver.
    let location = unsafe { (*irp).CurrentStackLocation };
    // SAFETY: as above.
    let location = unsafe { &mut *location };
    // SAFETY: the location is a control request's.
    let parameters = unsafe { location.Parameters.DeviceIoControl };
    let size_of = |claimed: u32| usize::try_from(claimed).unwrap_or(0);
    let input_size = size_of(parameters.InputBufferLength.0);
    // SAFETY: the packet is this driver's.
    let buffer = unsafe { (*irp).SystemBuffer }.cast::<u8>();
    let input = if buffer.is_null() {
        &[]
    } else {
        // SAFETY: Wine's buffer has room for the input, of which nobody writes now.
        unsafe { std::slice::from_raw_parts(buffer, input_size) }
    };
    let is_ours = parameters.IoControlCode.0 == testkernel::CONTROL_CODE;
    let Some(request) = Request::read(input).ok().filter(|_request| is_ours) else {
        return complete(irp, INVALID_PARAMETER, 0);
    };
    match request {
        Request::Fail { function, nth } => contract::fail(function, nth),
        Request::Reset => contract::reset(),
        Request::Report => {
            let text = report().to_string();
            if buffer.is_null() || text.len() > size_of(parameters.OutputBufferLength.0) {
                return complete(irp, BUFFER_TOO_SMALL, 0);
            }
            // SAFETY: Wine's buffer has room for the output as well.
            unsafe {
                ptr::copy_nonoverlapping(text.as_ptr(), buffer, text.len());
            }
            return complete(irp, 0, text.len());
        }
        request => {
            location.Control |= SL_PENDING_RETURNED;
            let play = Play { request, irp };
            if PLAYS.get().is_some_and(|plays| plays.send(play).is_ok()) {
                return PENDING;
            }
            return complete(irp, INVALID_PARAMETER, 0);
        }
    }
    complete(irp, 0, 0)
}

fn report() -> Report {
    Report {
        is_loaded: target::is_loaded(),
        pended: irp::pended(),
        descriptor: security::descriptor(),
        ..contract::report()
    }
}

fn play(plays: &Mutex<Receiver<Play>>) {
    loop {
        let next = contract::lock(plays).recv();
        let Ok(play) = next else {
            return;
        };
        notify::play(&play.request);
        complete(play.irp, 0, 0);
    }
}

fn complete(irp: *mut IRP, status: NTSTATUS, size: usize) -> NTSTATUS {
    // SAFETY: the packet is this driver's until the next line.
    unsafe {
        (*irp).IoStatus = nt::sys::IO_STATUS_BLOCK {
            Status: status,
            Information: size,
        };
    }
    // SAFETY: every path completes its packet once.
    unsafe {
        nt::sys::IofCompleteRequest(irp, 0);
    }
    status
}

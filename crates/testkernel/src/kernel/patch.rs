//! Takes over a driver that Wine has mapped and not started: its imports from the kernel are led
//! here, and its entry point, for one call, so that what it sets up can be led here too.
//!
//! The image on disk stays as it is. In memory the import table is what a loader fills in anyway,
//! and the bytes of the entry point are put back before the driver runs.

#![expect(unsafe_code, reason = "reads and writes a mapped image")]

use crate::contract::{PASSIVE_LEVEL, at_irql, breach};
use crate::target::{ROUTINES, Target};
use crate::{
    device, error_log, irp, irql, lock as spin, notify, object, pool, process_query, registry,
    security, target, timer,
};
use nt::sys::{DRIVER_DISPATCH, DRIVER_OBJECT, IMAGE_INFO, NTSTATUS, UNICODE_STRING};
use std::ffi::c_void;
use std::ptr;
use windows_sys::Win32::Foundation::FreeLibrary;
use windows_sys::Win32::System::Memory::{PAGE_EXECUTE_READWRITE, VirtualProtect};

/// The file name of the driver that is taken over.
const DRIVER_FILE: &str = r"\systrail.sys";

type EntryPoint = unsafe extern "system" fn(*mut DRIVER_OBJECT, *const UNICODE_STRING) -> NTSTATUS;

/// Wine calls this for each driver that it has mapped, before it starts it.
pub(crate) unsafe extern "system" fn image_loaded(
    name: *const UNICODE_STRING,
    _process_id: nt::sys::HANDLE,
    information: *const IMAGE_INFO,
) {
    if !device::text(name).to_lowercase().ends_with(DRIVER_FILE) {
        return;
    }
    // SAFETY: Wine passes information that is good for the call.
    let base = unsafe { (*information).ImageBase };
    take_over(base.expose_provenance());
}

/// Offsets are those of the PE format's specification.
fn take_over(base: usize) {
    let header = base + offset(read::<u32>(base + 0x3c));
    let optional = header + 24;
    let entry = base + offset(read::<u32>(optional + 16));
    redirect_imports(base, base + offset(read::<u32>(optional + 120)));
    let target = Target {
        base,
        size: offset(read::<u32>(optional + 56)),
        entry,
        entry_bytes: read(entry),
        has_force_integrity: read::<u16>(optional + 70) & 0x80 != 0,
        routines: [None; ROUTINES],
        unload: None,
    };
    target::take(&target);
    #[expect(clippy::fn_to_numeric_cast_any, reason = "the jump needs the address")]
    let address = (start as *const ()).expose_provenance();
    let mut jump = [0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0xff, 0xe3];
    jump[2..10].copy_from_slice(&address.to_ne_bytes());
    write(entry, jump);
}

/// Leads each import from the kernel to this image's function of that name.
fn redirect_imports(base: usize, table: usize) {
    const DESCRIPTOR_SIZE: usize = 20;
    for descriptor in (table..).step_by(DESCRIPTOR_SIZE) {
        let names = offset(read::<u32>(descriptor));
        let addresses = offset(read::<u32>(descriptor + 16));
        if names == 0 || addresses == 0 {
            return;
        }
        let module = c_text(base + offset(read::<u32>(descriptor + 12)));
        if !module.eq_ignore_ascii_case("ntoskrnl.exe") {
            breach(format!(
                "the driver imports from {module}, which is not the kernel"
            ));
            continue;
        }
        for index in 0.. {
            let name = read::<u64>(base + names + index * 8);
            if name == 0 {
                break;
            }
            // A two-byte hint stands before the name.
            let name = c_text(base + usize::try_from(name).unwrap_or(0) + 2);
            match function(&name) {
                Some(address) => write(base + addresses + index * 8, address),
                // The compiler's, which need no check.
                None if name.starts_with("mem") => {}
                None => breach(format!("the driver imports {name}, which is not modelled")),
            }
        }
    }
}

/// What Wine calls in place of the driver's entry point.
unsafe extern "system" fn start(
    driver: *mut DRIVER_OBJECT,
    registry_path: *const UNICODE_STRING,
) -> NTSTATUS {
    let Some(target) = target::taken() else {
        return -1;
    };
    write(target.entry, target.entry_bytes);
    let entry = ptr::with_exposed_provenance::<c_void>(target.entry);
    // SAFETY: this is the entry point of the image, whose bytes are its own again.
    let entry = unsafe { std::mem::transmute::<*const c_void, EntryPoint>(entry) };
    // SAFETY: Wine's arguments are handed on.
    let status = at_irql(PASSIVE_LEVEL, "DriverEntry", || unsafe {
        entry(driver, registry_path)
    });
    if status < 0 {
        target::forget();
        finish();
        // Wine would keep the image of a driver that did not start, with what its statics hold.
        // SAFETY: mapped by Wine for this start, and nothing of it runs any more.
        let _is_freed = unsafe { FreeLibrary(ptr::with_exposed_provenance_mut(target.base)) };
        return status;
    }
    // SAFETY: the driver object is Wine's, and nobody else uses it during the start.
    let object = unsafe { &mut *driver };
    target::take(&Target {
        routines: object.MajorFunction,
        unload: object.DriverUnload,
        ..target
    });
    object.MajorFunction = [Some(irp::dispatch as DRIVER_DISPATCH); ROUTINES];
    match object.DriverUnload {
        Some(_) => object.DriverUnload = Some(unload),
        None => breach("the driver cannot be unloaded"),
    }
    status
}

/// What Wine calls in place of the driver's unload routine.
unsafe extern "system" fn unload(driver: *mut DRIVER_OBJECT) {
    let routine = target::taken().and_then(|target| target.unload);
    if let Some(routine) = routine {
        // SAFETY: Wine's argument is handed on.
        at_irql(PASSIVE_LEVEL, "DriverUnload", || unsafe { routine(driver) });
    }
    target::forget();
    finish();
}

/// Notes everything the driver left behind.
fn finish() {
    irp::finish();
    notify::finish();
    device::finish();
    error_log::finish();
    timer::finish();
    pool::finish();
    security::finish();
    process_query::finish();
    object::finish();
}

/// The function of this image that stands for the kernel's.
#[expect(
    clippy::fn_to_numeric_cast_any,
    reason = "an import table holds addresses"
)]
fn function(name: &str) -> Option<*const ()> {
    Some(match name {
        "ExAllocatePoolWithTag" => pool::allocate as *const (),
        "ExFreePoolWithTag" => pool::free as *const (),
        "IoAllocateErrorLogEntry" => error_log::allocate as *const (),
        "IoCreateDevice" => device::create as *const (),
        "IoCreateSymbolicLink" => device::create_link as *const (),
        "IoDeleteDevice" => device::delete as *const (),
        "IoDeleteSymbolicLink" => device::delete_link as *const (),
        "IoGetCurrentProcess" => object::current_process as *const (),
        "IoReleaseCancelSpinLock" => spin::release_cancel as *const (),
        "IoThreadToProcess" => object::thread_to_process as *const (),
        "IoWriteErrorLogEntry" => error_log::write as *const (),
        "IofCompleteRequest" => irp::complete as *const (),
        "KeAcquireSpinLockRaiseToDpc" => spin::acquire as *const (),
        "KeCancelTimer" => timer::cancel_timer as *const (),
        "KeFlushQueuedDpcs" => timer::flush_queued_dpcs as *const (),
        "KeInitializeDpc" => timer::initialize_dpc as *const (),
        "KeInitializeTimer" => timer::initialize_timer as *const (),
        "KeInsertQueueDpc" => timer::insert_queue_dpc as *const (),
        "KeLowerIrql" => irql::lower as *const (),
        "KeQueryInterruptTimePrecise" => timer::query_interrupt_time_precise as *const (),
        "KeQuerySystemTimePrecise" => timer::query_system_time_precise as *const (),
        "KeReleaseSpinLock" => spin::release as *const (),
        "KeSetTimer" => timer::set_timer as *const (),
        "KfRaiseIrql" => irql::raise as *const (),
        "MmMapLockedPagesSpecifyCache" => irp::map_pages as *const (),
        "ObOpenObjectByPointer" => object::open_object as *const (),
        "ObfDereferenceObject" => object::dereference_object as *const (),
        "PsDereferencePrimaryToken" => object::dereference_primary_token as *const (),
        "PsGetCurrentProcessId" => object::current_process_id as *const (),
        "PsGetCurrentThreadId" => object::current_thread_id as *const (),
        "PsGetProcessCreateTimeQuadPart" => object::create_time_of as *const (),
        "PsGetProcessExitStatus" => object::exit_status_of as *const (),
        "PsLookupProcessByProcessId" => object::lookup_process as *const (),
        "PsLookupThreadByThreadId" => object::lookup_thread as *const (),
        "PsReferencePrimaryToken" => object::reference_primary_token as *const (),
        "PsRemoveCreateThreadNotifyRoutine" => notify::remove_thread as *const (),
        "PsRemoveLoadImageNotifyRoutine" => notify::remove_image as *const (),
        "PsSetCreateProcessNotifyRoutineEx2" => notify::set_process as *const (),
        "PsSetCreateThreadNotifyRoutineEx" => notify::set_thread as *const (),
        "PsSetLoadImageNotifyRoutine" => notify::set_image as *const (),
        "SeCaptureSubjectContext" => security::capture as *const (),
        "SeQueryAuthenticationIdToken" => object::query_logon_id as *const (),
        "SeReleaseSubjectContext" => security::release as *const (),
        "SeTokenIsAdmin" => security::is_administrator as *const (),
        "ZwClose" => object::close as *const (),
        "ZwCreateKey" => registry::create_key as *const (),
        "ZwDeleteKey" => registry::delete_key as *const (),
        "ZwFlushKey" => registry::flush_key as *const (),
        "ZwOpenKey" => registry::open_key as *const (),
        "ZwQueryInformationProcess" => process_query::query_process as *const (),
        "ZwQueryInformationThread" => object::query_thread as *const (),
        "ZwQueryInformationToken" => object::query_token as *const (),
        "ZwQueryValueKey" => registry::query_value as *const (),
        "ZwSetSecurityObject" => security::set_descriptor as *const (),
        "ZwSetValueKey" => registry::set_value as *const (),
        _ => return None,
    })
}

fn offset(address: u32) -> usize {
    usize::try_from(address).unwrap_or(0)
}

/// A value of the mapped image.
fn read<T: Copy>(address: usize) -> T {
    // SAFETY: callers follow the image's own headers, which Wine has checked when it mapped it, and
    // ask for numbers and bytes.
    unsafe { ptr::with_exposed_provenance::<T>(address).read_unaligned() }
}

/// Puts a value into the mapped image, whatever its section allows.
fn write<T: Copy>(address: usize, value: T) {
    let place = ptr::with_exposed_provenance_mut::<T>(address);
    let (size, mut old) = (size_of::<T>(), 0);
    // SAFETY: the place is within the image; nothing of it runs yet.
    let is_open =
        unsafe { VirtualProtect(place.cast(), size, PAGE_EXECUTE_READWRITE, &raw mut old) };
    if is_open == 0 {
        breach("the image cannot be written");
        return;
    }
    // SAFETY: as above, and now writable.
    unsafe {
        place.write_unaligned(value);
    }
    // SAFETY: as above.
    let _is_closed = unsafe { VirtualProtect(place.cast(), size, old, &raw mut old) };
}

fn c_text(address: usize) -> String {
    const SIZE_MAX: usize = 128;
    let bytes = (0..SIZE_MAX)
        .map(|index| read::<u8>(address + index))
        .take_while(|byte| *byte != 0)
        .collect::<Vec<u8>>();
    String::from_utf8_lossy(&bytes).into_owned()
}

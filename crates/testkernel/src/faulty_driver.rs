//! A driver that does what no driver may, so that a test can see the test kernel notice. It is
//! installed under the name of the real one, and its start fails.

#![no_main]
#![expect(unsafe_code, reason = "calls the kernel, wrongly on purpose")]

use nt::sys::{
    self, BOOLEAN, DRIVER_OBJECT, HANDLE, KDPC, KTIMER, NTSTATUS, PVOID, SECURITY_SUBJECT_CONTEXT,
    UNICODE_STRING,
};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr;

const UNSUCCESSFUL: NTSTATUS = 0xc000_0001_u32.cast_signed();
const TAG: u32 = u32::from_le_bytes(*b"Flty");
const OTHER_TAG: u32 = u32::from_le_bytes(*b"Othr");

/// Memory that is the kernel's to write.
struct Shared<T>(UnsafeCell<T>);

// SAFETY: one thread starts the driver, once.
unsafe impl<T> Sync for Shared<T> {}

static LOCK: Shared<usize> = Shared(UnsafeCell::new(0));
static TIMER: Shared<MaybeUninit<KTIMER>> = Shared(UnsafeCell::new(MaybeUninit::zeroed()));
static DPC: Shared<MaybeUninit<KDPC>> = Shared(UnsafeCell::new(MaybeUninit::zeroed()));

/// What Wine calls, also as it calls a library's entry point, with a number where a driver has its
/// registry path: `kernel/main.rs` says why.
///
/// # Safety
/// Called by Wine only.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn DriverEntry(
    _driver: *mut DRIVER_OBJECT,
    registry_path: *const UNICODE_STRING,
) -> NTSTATUS {
    const LOWEST_ADDRESS: usize = 0x1_0000;
    if registry_path.addr() < LOWEST_ADDRESS {
        return 1;
    }
    misuse_pool();
    leave_things_behind(registry_path);
    misuse_locks();
    UNSUCCESSFUL
}

fn misuse_pool() {
    const EXECUTABLE: i32 = 0;
    const SIZE: usize = 10;
    // SAFETY: has no precondition. The block is never freed.
    let _leaked = unsafe { sys::ExAllocatePoolWithTag(EXECUTABLE, 64, TAG) };
    // SAFETY: has no precondition.
    let block = unsafe { sys::ExAllocatePoolWithTag(sys::NON_PAGED_POOL_NX, SIZE, TAG) };
    // SAFETY: one byte behind the block, which the test kernel has room for.
    let behind = unsafe { block.cast::<u8>().add(SIZE) };
    // SAFETY: as above.
    unsafe {
        behind.write(0);
    }
    for tag in [OTHER_TAG, TAG] {
        // SAFETY: the test kernel looks before it frees.
        unsafe {
            sys::ExFreePoolWithTag(block, tag);
        }
    }
}

fn leave_things_behind(registry_path: *const UNICODE_STRING) {
    const FAR: i64 = -36_000_000_000;
    // SAFETY: the routine is called by nobody, as no event is played.
    let _status = unsafe {
        sys::PsSetCreateThreadNotifyRoutineEx(sys::PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS, routine)
    };
    // SAFETY: the structure is this driver's.
    unsafe {
        sys::KeInitializeDpc(DPC.0.get().cast(), deferred, ptr::null_mut());
    }
    // SAFETY: as above.
    unsafe {
        sys::KeInitializeTimer(TIMER.0.get().cast());
    }
    // SAFETY: as above.
    let _was_set = unsafe { sys::KeSetTimer(TIMER.0.get().cast(), FAR, DPC.0.get().cast()) };
    // SAFETY: a text that is good for the call; that it is no name of a link does not matter.
    let _status = unsafe { sys::IoCreateSymbolicLink(registry_path, registry_path) };
    // SAFETY: has no precondition here.
    let _entry = unsafe { sys::IoAllocateErrorLogEntry(ptr::null_mut(), 48) };
    let mut context = SECURITY_SUBJECT_CONTEXT {
        ClientToken: ptr::null_mut(),
        ImpersonationLevel: 0,
        PrimaryToken: ptr::null_mut(),
        ProcessAuditId: ptr::null_mut(),
    };
    // SAFETY: there is room for the context.
    unsafe {
        sys::SeCaptureSubjectContext(&raw mut context);
    }
    let mut packet = [0_u64; 26];
    // SAFETY: the test kernel looks a packet up before it uses it.
    unsafe {
        sys::IofCompleteRequest(packet.as_mut_ptr().cast(), 0);
    }
}

fn misuse_locks() {
    // SAFETY: the lock is this driver's. Nobody holds it.
    unsafe {
        sys::KeReleaseSpinLock(LOCK.0.get(), 0);
    }
    // SAFETY: as above.
    let _irql = unsafe { sys::KeAcquireSpinLockRaiseToDpc(LOCK.0.get()) };
    // SAFETY: no handle at all, and at too high a level.
    let _status = unsafe { sys::ZwClose(ptr::null_mut()) };
}

unsafe extern "system" fn routine(_process: HANDLE, _thread: HANDLE, _is_start: BOOLEAN) {}

unsafe extern "system" fn deferred(_dpc: *mut KDPC, _context: PVOID, _one: PVOID, _two: PVOID) {}

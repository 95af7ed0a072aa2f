//! The kernel's own types and functions, as the WDK's headers declare them for 64-bit Windows.
//!
//! They are declared here and not taken from windows-sys for three reasons: its
//! `IO_STACK_LOCATION` puts `IoControlCode` at 0x10 instead of 0x18, it binds the `Zw` functions to
//! ntdll.dll, which no driver can import, and it lacks the spin lock functions. `layout.rs` asserts
//! size and offsets, and `cargo xtask layout` compares them, and every constant of this file, with
//! mingw-w64's DDK headers.
//!
//! Structures the kernel allocates are declared up to the last field the driver touches.

#![expect(
    non_snake_case,
    non_camel_case_types,
    missing_docs,
    reason = "names are the WDK's, and so is their documentation"
)]

mod layout;

use core::ffi::c_void;
use windows_link::link;

pub type HANDLE = *mut c_void;
pub type NTSTATUS = i32;
pub type KIRQL = u8;
pub type BOOLEAN = u8;
/// An object the kernel keeps to itself: `PEPROCESS`, `PETHREAD`, `PACCESS_TOKEN`.
pub type PVOID = *mut c_void;

#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct UNICODE_STRING {
    pub Length: u16,
    pub MaximumLength: u16,
    pub Buffer: *mut u16,
}

#[repr(C)]
pub struct OBJECT_ATTRIBUTES {
    pub Length: u32,
    pub RootDirectory: HANDLE,
    pub ObjectName: *const UNICODE_STRING,
    pub Attributes: u32,
    pub SecurityDescriptor: *const c_void,
    pub SecurityQualityOfService: *const c_void,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct IO_STATUS_BLOCK {
    pub Status: NTSTATUS,
    pub Information: usize,
}

#[repr(C)]
pub struct LIST_ENTRY {
    pub Flink: *mut Self,
    pub Blink: *mut Self,
}

#[repr(C)]
pub struct IRP {
    pub Type: i16,
    pub Size: u16,
    pub MdlAddress: *mut MDL,
    pub Flags: u32,
    pub SystemBuffer: *mut c_void,
    pub ThreadListEntry: LIST_ENTRY,
    pub IoStatus: IO_STATUS_BLOCK,
    pub RequestorMode: i8,
    pub PendingReturned: BOOLEAN,
    pub StackCount: i8,
    pub CurrentLocation: i8,
    pub Cancel: BOOLEAN,
    pub CancelIrql: KIRQL,
    pub ApcEnvironment: i8,
    pub AllocationFlags: u8,
    pub UserIosb: *mut IO_STATUS_BLOCK,
    pub UserEvent: *mut c_void,
    pub Overlay: [usize; 2],
    pub CancelRoutine: *mut c_void,
    pub UserBuffer: *mut c_void,
    /// `Tail.Overlay.DriverContext`: the driver's while it has the IRP pended.
    pub DriverContext: [*mut c_void; 4],
    pub Thread: PVOID,
    pub AuxiliaryBuffer: *mut u8,
    pub ListEntry: LIST_ENTRY,
    /// `Tail.Overlay.CurrentStackLocation`
    pub CurrentStackLocation: *mut IO_STACK_LOCATION,
    pub OriginalFileObject: *mut FILE_OBJECT,
    pub TailRest: usize,
}

#[repr(C)]
pub struct IO_STACK_LOCATION {
    pub MajorFunction: u8,
    pub MinorFunction: u8,
    pub Flags: u8,
    pub Control: u8,
    pub Parameters: PARAMETERS,
    pub DeviceObject: *mut DEVICE_OBJECT,
    pub FileObject: *mut FILE_OBJECT,
    pub CompletionRoutine: *mut c_void,
    pub Context: *mut c_void,
}

/// Every member is `POINTER_ALIGNMENT`ed in the WDK, so 32-bit numbers lie 8 bytes apart.
#[repr(C)]
pub union PARAMETERS {
    pub Create: CREATE,
    pub Read: READ,
    pub DeviceIoControl: DEVICE_IO_CONTROL,
    pub Others: [usize; 4],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct CREATE {
    pub SecurityContext: *mut IO_SECURITY_CONTEXT,
    pub Options: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct READ {
    pub Length: u32,
}

#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub struct POINTER_ALIGNED(pub u32);

#[repr(C)]
#[derive(Clone, Copy)]
pub struct DEVICE_IO_CONTROL {
    pub OutputBufferLength: POINTER_ALIGNED,
    pub InputBufferLength: POINTER_ALIGNED,
    pub IoControlCode: POINTER_ALIGNED,
    pub Type3InputBuffer: *mut c_void,
}

#[repr(C)]
pub struct IO_SECURITY_CONTEXT {
    pub SecurityQos: *mut c_void,
    pub AccessState: *mut c_void,
    pub DesiredAccess: u32,
    pub FullCreateOptions: u32,
}

/// The driver tells file objects apart by their addresses, and looks at the name with which its device
/// was opened.
#[repr(C)]
pub struct FILE_OBJECT {
    pub Type: i16,
    pub Size: i16,
    pub DeviceObject: *mut DEVICE_OBJECT,
    pub Vpb: *mut c_void,
    pub FsContext: *mut c_void,
    pub FsContext2: *mut c_void,
    pub SectionObjectPointer: *mut c_void,
    pub PrivateCacheMap: *mut c_void,
    pub FinalStatus: NTSTATUS,
    pub RelatedFileObject: *mut Self,
    pub LockOperation: BOOLEAN,
    pub DeletePending: BOOLEAN,
    pub ReadAccess: BOOLEAN,
    pub WriteAccess: BOOLEAN,
    pub DeleteAccess: BOOLEAN,
    pub SharedRead: BOOLEAN,
    pub SharedWrite: BOOLEAN,
    pub SharedDelete: BOOLEAN,
    pub Flags: u32,
    pub FileName: UNICODE_STRING,
}

#[repr(C)]
pub struct DEVICE_OBJECT {
    pub Type: i16,
    pub Size: u16,
    pub ReferenceCount: i32,
    pub DriverObject: *mut DRIVER_OBJECT,
    pub NextDevice: *mut Self,
    pub AttachedDevice: *mut Self,
    pub CurrentIrp: *mut IRP,
    pub Timer: *mut c_void,
    pub Flags: u32,
    pub Characteristics: u32,
    pub Vpb: *mut c_void,
    pub DeviceExtension: *mut c_void,
}

pub type DRIVER_DISPATCH = unsafe extern "system" fn(*mut DEVICE_OBJECT, *mut IRP) -> NTSTATUS;
pub type DRIVER_CANCEL = unsafe extern "system" fn(*mut DEVICE_OBJECT, *mut IRP);
pub type DRIVER_UNLOAD = unsafe extern "system" fn(*mut DRIVER_OBJECT);

#[repr(C)]
pub struct DRIVER_OBJECT {
    pub Type: i16,
    pub Size: i16,
    pub DeviceObject: *mut DEVICE_OBJECT,
    pub Flags: u32,
    pub DriverStart: *mut c_void,
    pub DriverSize: u32,
    pub DriverSection: *mut c_void,
    pub DriverExtension: *mut c_void,
    pub DriverName: UNICODE_STRING,
    pub HardwareDatabase: *mut UNICODE_STRING,
    pub FastIoDispatch: *mut c_void,
    pub DriverInit: *mut c_void,
    pub DriverStartIo: *mut c_void,
    pub DriverUnload: Option<DRIVER_UNLOAD>,
    pub MajorFunction: [Option<DRIVER_DISPATCH>; 28],
}

#[repr(C)]
pub struct MDL {
    pub Next: *mut Self,
    pub Size: i16,
    pub MdlFlags: i16,
    pub Process: PVOID,
    pub MappedSystemVa: *mut c_void,
    pub StartVa: *mut c_void,
    pub ByteCount: u32,
    pub ByteOffset: u32,
}

pub type DEFERRED_ROUTINE = unsafe extern "system" fn(*mut KDPC, PVOID, PVOID, PVOID);

#[repr(C)]
pub struct KDPC {
    pub Type: u32,
    pub DpcListEntry: LIST_ENTRY,
    pub DeferredRoutine: Option<DEFERRED_ROUTINE>,
    pub DeferredContext: PVOID,
    pub SystemArgument1: PVOID,
    pub SystemArgument2: PVOID,
    pub DpcData: PVOID,
}

#[repr(C)]
pub struct KTIMER {
    pub Header: [u64; 3],
    pub DueTime: u64,
    pub TimerListEntry: LIST_ENTRY,
    pub Dpc: *mut KDPC,
    pub Processor: u32,
    pub Period: u32,
}

#[repr(C)]
#[derive(Debug)]
pub struct CLIENT_ID {
    pub UniqueProcess: HANDLE,
    pub UniqueThread: HANDLE,
}

#[repr(C)]
#[derive(Debug)]
pub struct PS_CREATE_NOTIFY_INFO {
    pub Size: usize,
    pub Flags: u32,
    pub ParentProcessId: HANDLE,
    pub CreatingThreadId: CLIENT_ID,
    pub FileObject: *mut FILE_OBJECT,
    pub ImageFileName: *const UNICODE_STRING,
    pub CommandLine: *const UNICODE_STRING,
    pub CreationStatus: NTSTATUS,
}

#[repr(C)]
#[derive(Debug)]
pub struct IMAGE_INFO {
    /// `ImageAddressingMode` in bits 0 to 7, `SystemModeImage` in bit 8, `ImageSignatureLevel` in
    /// bits 12 to 15, `ImageSignatureType` in bits 16 to 18.
    pub Properties: u32,
    pub ImageBase: *mut c_void,
    pub ImageSelector: u32,
    pub ImageSize: usize,
    pub ImageSectionNumber: u32,
}

pub type PROCESS_NOTIFY_ROUTINE =
    unsafe extern "system" fn(PVOID, HANDLE, *mut PS_CREATE_NOTIFY_INFO);
pub type THREAD_NOTIFY_ROUTINE = unsafe extern "system" fn(HANDLE, HANDLE, BOOLEAN);
pub type IMAGE_NOTIFY_ROUTINE =
    unsafe extern "system" fn(*const UNICODE_STRING, HANDLE, *const IMAGE_INFO);

#[repr(C)]
pub struct SECURITY_SUBJECT_CONTEXT {
    pub ClientToken: PVOID,
    pub ImpersonationLevel: i32,
    pub PrimaryToken: PVOID,
    pub ProcessAuditId: PVOID,
}

#[repr(C)]
pub struct SID_AND_ATTRIBUTES {
    pub Sid: *mut c_void,
    pub Attributes: u32,
}

#[repr(C)]
pub struct IO_ERROR_LOG_PACKET {
    pub MajorFunctionCode: u8,
    pub RetryCount: u8,
    pub DumpDataSize: u16,
    pub NumberOfStrings: u16,
    pub StringOffset: u16,
    pub EventCategory: u16,
    pub ErrorCode: NTSTATUS,
    pub UniqueErrorValue: u32,
    pub FinalStatus: NTSTATUS,
    pub SequenceNumber: u32,
    pub IoControlCode: u32,
    pub DeviceOffset: i64,
    pub DumpData: [u32; 1],
}

/// Up to the data, which begin at byte 12.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct KEY_VALUE_PARTIAL_INFORMATION {
    pub TitleIndex: u32,
    pub Type: u32,
    pub DataLength: u32,
    pub Data: [u8; 4],
}

pub const IRP_MJ_CREATE: usize = 0x00;
pub const IRP_MJ_CLOSE: usize = 0x02;
pub const IRP_MJ_READ: usize = 0x03;
pub const IRP_MJ_DEVICE_CONTROL: usize = 0x0e;
pub const IRP_MJ_CLEANUP: usize = 0x12;

/// `PS_CREATE_NOTIFY_INFO.FileOpenNameAvailable`
pub const FILE_OPEN_NAME_AVAILABLE: u32 = 0x1;
/// `PS_CREATE_NOTIFY_INFO.IsSubsystemProcess`
pub const IS_SUBSYSTEM_PROCESS: u32 = 0x2;
/// `PSCREATEPROCESSNOTIFYTYPE`
pub const PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS: i32 = 0;
/// `PSCREATETHREADNOTIFYTYPE`
pub const PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS: i32 = 1;
pub const PASSIVE_LEVEL: u64 = 0;
pub const DISPATCH_LEVEL: KIRQL = 2;
pub const METHOD_BUFFERED: u32 = 0;
/// The bits of a control code that hold its method; the greatest method has them all.
pub const METHOD_NEITHER: u32 = 3;
pub const SL_PENDING_RETURNED: u8 = 0x01;
pub const DO_DIRECT_IO: u32 = 0x10;
pub const FILE_DEVICE_UNKNOWN: u32 = 0x22;
pub const FILE_DEVICE_SECURE_OPEN: u32 = 0x100;

pub const MDL_MAPPED_TO_SYSTEM_VA: i16 = 0x0001;
pub const MDL_SOURCE_IS_NONPAGED_POOL: i16 = 0x0004;
pub const MM_CACHED: i32 = 1;
pub const NORMAL_PAGE_PRIORITY: u32 = 16;
pub const MDL_MAPPING_NO_EXECUTE: u32 = 0x4000_0000;

pub const KERNEL_MODE: i8 = 0;
pub const NON_PAGED_POOL_NX: i32 = 512;
pub const OBJ_CASE_INSENSITIVE: u32 = 0x40;
pub const OBJ_KERNEL_HANDLE: u32 = 0x200;
pub const KEY_READ: u32 = 0x2_0019;
pub const KEY_SET_VALUE: u32 = 0x2;
pub const KEY_CREATE_SUB_KEY: u32 = 0x4;
pub const DELETE: u32 = 0x1_0000;
pub const REG_OPTION_VOLATILE: u32 = 1;
pub const REG_CREATED_NEW_KEY: u32 = 1;
pub const SECURITY_MAX_SID_SIZE: usize = 68;
pub const REG_DWORD: u32 = 4;
pub const FILE_READ_DATA: u32 = 0x1;
pub const MAXIMUM_ALLOWED: u32 = 0x200_0000;
pub const GENERIC_ALL: u32 = 0x1000_0000;
pub const GENERIC_READ: u32 = 0x8000_0000;
pub const WRITE_DAC: u32 = 0x4_0000;
pub const DACL_SECURITY_INFORMATION: u32 = 4;
pub const KEY_VALUE_PARTIAL_INFORMATION_CLASS: i32 = 2;
pub const TOKEN_QUERY: u32 = 0x8;
pub const TOKEN_USER_CLASS: i32 = 1;
pub const TOKEN_SESSION_ID_CLASS: i32 = 12;
pub const TOKEN_ELEVATION_CLASS: i32 = 20;
pub const TOKEN_INTEGRITY_LEVEL_CLASS: i32 = 25;
pub const SECURITY_IMPERSONATION: i32 = 2;
pub const PROCESS_QUERY_LIMITED_INFORMATION: u32 = 0x1000;
pub const PROCESS_IMAGE_FILE_NAME: i32 = 27;
pub const PROCESS_PROTECTION_INFORMATION: i32 = 61;
pub const PROCESS_SUBSYSTEM_INFORMATION: i32 = 75;
pub const THREAD_QUERY_INFORMATION: u32 = 0x40;
pub const THREAD_QUERY_SET_WIN32_START_ADDRESS: i32 = 9;

link!("ntoskrnl.exe" "system" fn ExAllocatePoolWithTag(kind: i32, size: usize, tag: u32) -> PVOID);
link!("ntoskrnl.exe" "system" fn ExFreePoolWithTag(block: PVOID, tag: u32));
link!("ntoskrnl.exe" "system" fn IoAllocateErrorLogEntry(object: PVOID, size: u8) -> PVOID);
link!("ntoskrnl.exe" "system" fn IoCreateDevice(driver: *mut DRIVER_OBJECT, extension_size: u32, name: *const UNICODE_STRING, kind: u32, characteristics: u32, exclusive: BOOLEAN, device: *mut *mut DEVICE_OBJECT) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn IoCreateSymbolicLink(link: *const UNICODE_STRING, device: *const UNICODE_STRING) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn IoDeleteDevice(device: *mut DEVICE_OBJECT));
link!("ntoskrnl.exe" "system" fn IoDeleteSymbolicLink(link: *const UNICODE_STRING) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn IofCompleteRequest(irp: *mut IRP, boost: i8));
link!("ntoskrnl.exe" "system" fn IoGetCurrentProcess() -> PVOID);
link!("ntoskrnl.exe" "system" fn IoReleaseCancelSpinLock(irql: KIRQL));
link!("ntoskrnl.exe" "system" fn IoThreadToProcess(thread: PVOID) -> PVOID);
link!("ntoskrnl.exe" "system" fn IoWriteErrorLogEntry(entry: PVOID));
link!("ntoskrnl.exe" "system" fn KeAcquireSpinLockRaiseToDpc(lock: *mut usize) -> KIRQL);
link!("ntoskrnl.exe" "system" fn KeCancelTimer(timer: *mut KTIMER) -> BOOLEAN);
link!("ntoskrnl.exe" "system" fn KeFlushQueuedDpcs());
link!("ntoskrnl.exe" "system" fn KeInitializeDpc(dpc: *mut KDPC, routine: DEFERRED_ROUTINE, context: PVOID));
link!("ntoskrnl.exe" "system" fn KeInitializeTimer(timer: *mut KTIMER));
link!("ntoskrnl.exe" "system" fn KeInsertQueueDpc(dpc: *mut KDPC, argument1: PVOID, argument2: PVOID) -> BOOLEAN);
link!("ntoskrnl.exe" "system" fn KeLowerIrql(irql: KIRQL));
link!("ntoskrnl.exe" "system" fn KeQueryInterruptTimePrecise(counter: *mut u64) -> u64);
link!("ntoskrnl.exe" "system" fn KeQuerySystemTimePrecise(time: *mut i64));
link!("ntoskrnl.exe" "system" fn KeReleaseSpinLock(lock: *mut usize, irql: KIRQL));
link!("ntoskrnl.exe" "system" fn KeSetTimer(timer: *mut KTIMER, due: i64, dpc: *mut KDPC) -> BOOLEAN);
link!("ntoskrnl.exe" "system" fn KfRaiseIrql(irql: KIRQL) -> KIRQL);
link!("ntoskrnl.exe" "system" fn MmMapLockedPagesSpecifyCache(mdl: *mut MDL, mode: i8, cache: i32, address: PVOID, bugcheck: u32, priority: u32) -> PVOID);
link!("ntoskrnl.exe" "system" fn ObfDereferenceObject(object: PVOID) -> isize);
link!("ntoskrnl.exe" "system" fn ObOpenObjectByPointer(object: PVOID, attributes: u32, access_state: PVOID, access: u32, kind: PVOID, mode: i8, handle: *mut HANDLE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsDereferencePrimaryToken(token: PVOID));
link!("ntoskrnl.exe" "system" fn PsGetCurrentProcessId() -> HANDLE);
link!("ntoskrnl.exe" "system" fn PsGetCurrentThreadId() -> HANDLE);
link!("ntoskrnl.exe" "system" fn PsGetProcessCreateTimeQuadPart(process: PVOID) -> i64);
link!("ntoskrnl.exe" "system" fn PsGetProcessExitStatus(process: PVOID) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsLookupProcessByProcessId(id: HANDLE, process: *mut PVOID) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsLookupThreadByThreadId(id: HANDLE, thread: *mut PVOID) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsReferencePrimaryToken(process: PVOID) -> PVOID);
link!("ntoskrnl.exe" "system" fn PsRemoveCreateThreadNotifyRoutine(routine: THREAD_NOTIFY_ROUTINE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsRemoveLoadImageNotifyRoutine(routine: IMAGE_NOTIFY_ROUTINE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsSetCreateProcessNotifyRoutineEx2(kind: i32, routine: PROCESS_NOTIFY_ROUTINE, remove: BOOLEAN) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsSetCreateThreadNotifyRoutineEx(kind: i32, routine: THREAD_NOTIFY_ROUTINE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn PsSetLoadImageNotifyRoutine(routine: IMAGE_NOTIFY_ROUTINE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn SeCaptureSubjectContext(context: *mut SECURITY_SUBJECT_CONTEXT));
link!("ntoskrnl.exe" "system" fn SeQueryAuthenticationIdToken(token: PVOID, id: *mut c_void) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn SeReleaseSubjectContext(context: *mut SECURITY_SUBJECT_CONTEXT));
link!("ntoskrnl.exe" "system" fn SeTokenIsAdmin(token: PVOID) -> BOOLEAN);
link!("ntoskrnl.exe" "system" fn ZwClose(handle: HANDLE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwCreateKey(key: *mut HANDLE, access: u32, attributes: *const OBJECT_ATTRIBUTES, title_index: u32, class: *const UNICODE_STRING, options: u32, disposition: *mut u32) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwDeleteKey(key: HANDLE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwFlushKey(key: HANDLE) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwOpenKey(key: *mut HANDLE, access: u32, attributes: *const OBJECT_ATTRIBUTES) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwQueryInformationProcess(process: HANDLE, class: i32, information: PVOID, size: u32, needed: *mut u32) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwQueryInformationThread(thread: HANDLE, class: i32, information: PVOID, size: u32, needed: *mut u32) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwQueryInformationToken(token: HANDLE, class: i32, information: PVOID, size: u32, needed: *mut u32) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwQueryValueKey(key: HANDLE, name: *const UNICODE_STRING, class: i32, information: PVOID, size: u32, needed: *mut u32) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwSetSecurityObject(object: HANDLE, information: u32, descriptor: *const c_void) -> NTSTATUS);
link!("ntoskrnl.exe" "system" fn ZwSetValueKey(key: HANDLE, name: *const UNICODE_STRING, title_index: u32, kind: u32, data: *const c_void, size: u32) -> NTSTATUS);

/// The compiler calls these by name, and a driver has no C library to bring them.
#[cfg(windows)]
pub mod memory {
    use windows_link::link;

    link!("ntoskrnl.exe" "C" fn memcmp(left: *const u8, right: *const u8, size: usize) -> i32);
    link!("ntoskrnl.exe" "C" fn memcpy(target: *mut u8, source: *const u8, size: usize) -> *mut u8);
    link!("ntoskrnl.exe" "C" fn memmove(target: *mut u8, source: *const u8, size: usize) -> *mut u8);
    link!("ntoskrnl.exe" "C" fn memset(target: *mut u8, byte: i32, size: usize) -> *mut u8);
}

#[cfg(not(windows))]
link!("ntoskrnl.exe" "system" fn KeGetCurrentIrql() -> KIRQL);

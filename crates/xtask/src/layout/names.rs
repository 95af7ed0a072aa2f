//! What C calls the driver's structures, members and constants, where that is not the same name.

/// How C writes one of our structures.
#[derive(Clone, Copy, Debug)]
pub(super) struct CStructure<'n> {
    /// The type that is, or holds, the structure.
    outer: &'n str,
    /// The member that is the structure, where it has no type of its own.
    path: &'n str,
    /// Whether it is declared to its end; else up to what the driver touches.
    pub(super) is_whole: bool,
}

impl CStructure<'_> {
    pub(super) fn size(&self) -> String {
        if self.path.is_empty() {
            format!("sizeof({})", self.outer)
        } else {
            format!("sizeof((({} *)0)->{})", self.outer, self.path)
        }
    }

    pub(super) fn offset(&self, member: &str) -> String {
        let Self { outer, path, .. } = self;
        if path.is_empty() {
            format!("offsetof({outer}, {member})")
        } else {
            format!("offsetof({outer}, {path}.{member}) - offsetof({outer}, {path})")
        }
    }
}

/// Structures without a type of their own, and those declared in part: ours, type, member, whole.
const STRUCTURES: &[(&str, &str, &str, bool)] = &[
    ("PARAMETERS", "IO_STACK_LOCATION", "Parameters", true),
    ("CREATE", "IO_STACK_LOCATION", "Parameters.Create", false),
    ("READ", "IO_STACK_LOCATION", "Parameters.Read", false),
    (
        "DEVICE_IO_CONTROL",
        "IO_STACK_LOCATION",
        "Parameters.DeviceIoControl",
        true,
    ),
    ("DEVICE_OBJECT", "DEVICE_OBJECT", "", false),
    ("FILE_OBJECT", "FILE_OBJECT", "", false),
];

/// Members: ours, C's.
const MEMBERS: &[(&str, &str)] = &[
    ("IRP.SystemBuffer", "AssociatedIrp.SystemBuffer"),
    ("IRP.DriverContext", "Tail.Overlay.DriverContext"),
    ("IRP.Thread", "Tail.Overlay.Thread"),
    ("IRP.AuxiliaryBuffer", "Tail.Overlay.AuxiliaryBuffer"),
    ("IRP.ListEntry", "Tail.Overlay.ListEntry"),
    (
        "IRP.CurrentStackLocation",
        "Tail.Overlay.CurrentStackLocation",
    ),
    ("IRP.OriginalFileObject", "Tail.Overlay.OriginalFileObject"),
];

/// Constants: ours, C's.
const CONSTANTS: &[(&str, &str)] = &[
    ("MM_CACHED", "MmCached"),
    ("NORMAL_PAGE_PRIORITY", "NormalPagePriority"),
    ("KERNEL_MODE", "KernelMode"),
    ("NON_PAGED_POOL_NX", "NonPagedPoolNx"),
    (
        "KEY_VALUE_PARTIAL_INFORMATION_CLASS",
        "KeyValuePartialInformation",
    ),
    ("TOKEN_USER_CLASS", "TokenUser"),
    ("TOKEN_SESSION_ID_CLASS", "TokenSessionId"),
    ("TOKEN_ELEVATION_CLASS", "TokenElevation"),
    ("TOKEN_INTEGRITY_LEVEL_CLASS", "TokenIntegrityLevel"),
    ("SECURITY_IMPERSONATION", "SecurityImpersonation"),
    ("PROCESS_IMAGE_FILE_NAME", "ProcessImageFileName"),
    (
        "THREAD_QUERY_SET_WIN32_START_ADDRESS",
        "ThreadQuerySetWin32StartAddress",
    ),
    (
        "CODE_HANDSHAKE",
        "CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_BUFFERED, FILE_ANY_ACCESS)",
    ),
    (
        "CODE_COUNTERS",
        "CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_BUFFERED, FILE_ANY_ACCESS)",
    ),
    (
        "CODE_FLUSH",
        "CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_BUFFERED, FILE_READ_ACCESS)",
    ),
];

/// Arguments that C declares as a structure of a number's size: function, index, C's type.
const ARGUMENTS: &[(&str, usize, &str)] = &[("KeSetTimer", 1, "LARGE_INTEGER")];

/// Constants that are in the header of programs only.
pub(super) const OF_USERS: &[&str] = &[
    "PROCESS_QUERY_LIMITED_INFORMATION",
    "SECURITY_MAX_SID_SIZE",
    "THREAD_QUERY_INFORMATION",
];

/// What the headers cannot check: ours, what C would call it (nothing where it has no name in any
/// header), and where it comes from.
pub(super) const UNCHECKED: &[(&str, Option<&str>, &str)] = &[
    (
        "MDL_MAPPING_NO_EXECUTE",
        Some("MdlMappingNoExecute"),
        "learn.microsoft.com, MmMapLockedPagesSpecifyCache, Priority; wdm.h of the WDK",
    ),
    (
        "KeQueryInterruptTimePrecise",
        Some("KeQueryInterruptTimePrecise"),
        "learn.microsoft.com, wdm.h",
    ),
    (
        "KeQuerySystemTimePrecise",
        Some("KeQuerySystemTimePrecise"),
        "learn.microsoft.com, wdm.h",
    ),
    (
        "FILE_OPEN_NAME_AVAILABLE",
        None,
        "learn.microsoft.com, PS_CREATE_NOTIFY_INFO: the bit of FileOpenNameAvailable",
    ),
    (
        "IS_SUBSYSTEM_PROCESS",
        None,
        "learn.microsoft.com, PS_CREATE_NOTIFY_INFO: the bit of IsSubsystemProcess",
    ),
    (
        "PS_CREATE_PROCESS_NOTIFY_SUBSYSTEMS",
        Some("PsCreateProcessNotifySubsystems"),
        "learn.microsoft.com, PSCREATEPROCESSNOTIFYTYPE; ntddk.h of the WDK",
    ),
    (
        "PS_CREATE_THREAD_NOTIFY_SUBSYSTEMS",
        Some("PsCreateThreadNotifySubsystems"),
        "learn.microsoft.com, PSCREATETHREADNOTIFYTYPE; ntddk.h of the WDK",
    ),
    (
        "PROCESS_PROTECTION_INFORMATION",
        Some("ProcessProtectionInformation"),
        "learn.microsoft.com, ZwQueryInformationProcess, ProcessInformationClass",
    ),
    (
        "PROCESS_SUBSYSTEM_INFORMATION",
        Some("ProcessSubsystemInformation"),
        "learn.microsoft.com, ZwQueryInformationProcess, ProcessInformationClass",
    ),
    (
        "PsSetCreateProcessNotifyRoutineEx2",
        Some("PsSetCreateProcessNotifyRoutineEx2"),
        "learn.microsoft.com, ntddk.h",
    ),
    (
        "PsSetCreateThreadNotifyRoutineEx",
        Some("PsSetCreateThreadNotifyRoutineEx"),
        "learn.microsoft.com, ntddk.h",
    ),
    (
        "PsGetProcessExitStatus",
        Some("PsGetProcessExitStatus"),
        "learn.microsoft.com, ntddk.h",
    ),
    (
        "ZwQueryInformationThread",
        Some("ZwQueryInformationThread"),
        "learn.microsoft.com, NtQueryInformationThread, winternl.h",
    ),
    (
        "POINTER_ALIGNED",
        None,
        "ours: a ULONG with POINTER_ALIGNMENT; DEVICE_IO_CONTROL's offsets check it",
    ),
    (
        "POINTER_ALIGNED.0",
        None,
        "ours: the number in POINTER_ALIGNED",
    ),
    (
        "IRP.TailRest",
        None,
        "ours: what is left of Tail; IRP's size checks it",
    ),
];

pub(super) fn is_unchecked(name: &str) -> bool {
    UNCHECKED.iter().any(|(ours, ..)| *ours == name)
}

/// How C writes the structure, unless nothing can check it.
pub(super) fn structure(name: &str) -> Option<CStructure<'_>> {
    if is_unchecked(name) {
        return None;
    }
    let special = STRUCTURES.iter().find(|(ours, ..)| *ours == name);
    Some(special.map_or(
        CStructure {
            outer: name,
            path: "",
            is_whole: true,
        },
        |(_, outer, path, is_whole)| CStructure {
            outer,
            path,
            is_whole: *is_whole,
        },
    ))
}

/// How C writes the member `what`, the last part of which is `field`, unless nothing can check it.
pub(super) fn member<'n>(what: &str, field: &'n str) -> Option<&'n str> {
    let special = MEMBERS.iter().find(|(ours, _)| *ours == what);
    (!is_unchecked(what)).then(|| special.map_or(field, |(_, c)| c))
}

/// How C writes the constant, unless nothing can check it.
pub(super) fn constant(name: &str) -> Option<&str> {
    let special = CONSTANTS.iter().find(|(ours, _)| *ours == name);
    (!is_unchecked(name)).then(|| special.map_or(name, |(_, c)| c))
}

/// How C writes the argument `index` of `function`, where a number is not enough.
pub(super) fn argument(function: &str, index: usize) -> Option<&'static str> {
    let special = ARGUMENTS
        .iter()
        .find(|(name, position, _)| *name == function && *position == index);
    special.map(|(_, _, c)| *c)
}

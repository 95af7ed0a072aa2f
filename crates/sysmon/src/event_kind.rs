//! The kinds of events that are understood, and their fields.

/// A kind of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A process was created.
    ProcessCreate,
    /// A process ended.
    ProcessTerminate,
    /// A driver was loaded.
    DriverLoad,
    /// An image was loaded into a process.
    ImageLoad,
    /// A process made a thread in another.
    CreateRemoteThread,
}

impl EventKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] = [
        Self::ProcessCreate,
        Self::ProcessTerminate,
        Self::DriverLoad,
        Self::ImageLoad,
        Self::CreateRemoteThread,
    ];

    /// The kind whose sections have this name.
    pub fn from_element(element: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.element() == element)
    }

    /// The name of its sections.
    pub const fn element(self) -> &'static str {
        match self {
            Self::ProcessCreate => "ProcessCreate",
            Self::ProcessTerminate => "ProcessTerminate",
            Self::DriverLoad => "DriverLoad",
            Self::ImageLoad => "ImageLoad",
            Self::CreateRemoteThread => "CreateRemoteThread",
        }
    }

    /// The number of its events.
    pub const fn id(self) -> u32 {
        match self {
            Self::ProcessCreate => 1,
            Self::ProcessTerminate => 5,
            Self::DriverLoad => 6,
            Self::ImageLoad => 7,
            Self::CreateRemoteThread => 8,
        }
    }

    /// Whether its events are kept where no section is about it (`ruledefault` of `manifest.xml`).
    pub const fn is_kept_by_default(self) -> bool {
        matches!(self, Self::ProcessCreate | Self::ProcessTerminate)
    }

    /// The fields that a condition can ask for: of all schemas, since a newer one only adds.
    pub const fn fields(self) -> &'static [&'static str] {
        match self {
            Self::ProcessCreate => &PROCESS_CREATE,
            Self::ProcessTerminate => &PROCESS_TERMINATE,
            Self::DriverLoad => &DRIVER_LOAD,
            Self::ImageLoad => &IMAGE_LOAD,
            Self::CreateRemoteThread => &CREATE_REMOTE_THREAD,
        }
    }
}

const PROCESS_CREATE: [&str; 23] = [
    "RuleName",
    "UtcTime",
    "ProcessGuid",
    "ProcessId",
    "Image",
    "FileVersion",
    "Description",
    "Product",
    "Company",
    "OriginalFileName",
    "CommandLine",
    "CurrentDirectory",
    "User",
    "LogonGuid",
    "LogonId",
    "TerminalSessionId",
    "IntegrityLevel",
    "Hashes",
    "ParentProcessGuid",
    "ParentProcessId",
    "ParentImage",
    "ParentCommandLine",
    "ParentUser",
];

const PROCESS_TERMINATE: [&str; 6] = [
    "RuleName",
    "UtcTime",
    "ProcessGuid",
    "ProcessId",
    "Image",
    "User",
];

const DRIVER_LOAD: [&str; 7] = [
    "RuleName",
    "UtcTime",
    "ImageLoaded",
    "Hashes",
    "Signed",
    "Signature",
    "SignatureStatus",
];

const IMAGE_LOAD: [&str; 16] = [
    "RuleName",
    "UtcTime",
    "ProcessGuid",
    "ProcessId",
    "Image",
    "ImageLoaded",
    "FileVersion",
    "Description",
    "Product",
    "Company",
    "OriginalFileName",
    "Hashes",
    "Signed",
    "Signature",
    "SignatureStatus",
    "User",
];

const CREATE_REMOTE_THREAD: [&str; 14] = [
    "RuleName",
    "UtcTime",
    "SourceProcessGuid",
    "SourceProcessId",
    "SourceImage",
    "TargetProcessGuid",
    "TargetProcessId",
    "TargetImage",
    "NewThreadId",
    "StartAddress",
    "StartModule",
    "StartFunction",
    "SourceUser",
    "TargetUser",
];

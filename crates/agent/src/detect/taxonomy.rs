//! What rules call our fields: the one table of it, a part for each log source.
//!
//! The names are those of Sigma's taxonomy, which are Sysmon's. `ours` names the declarations in the
//! schema, so that a field that is renamed or goes is found by the compiler. `docs/DETECT.md` has the
//! same table; a test holds the two together.

use std::borrow::Cow;

use rsigma_eval::EventValue;

use crate::trail::schema::Field;
use crate::trail::{
    Body, Event, ExecDetails, ImageFile, ImageLoad, LoadDetails, Parent, ProcessExec, ProcessExit,
    ProcessStart, Program, ProgramFile, Setting, StartDetails, Text, ThreadDetails, ThreadStart,
    UserId,
};

/// The system a log is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum System {
    Linux,
    Windows,
}

impl System {
    /// The one this program runs on.
    pub(super) const HERE: Self = if cfg!(windows) {
        Self::Windows
    } else {
        Self::Linux
    };

    /// The name, Sigma's `product` and our `system`.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Linux => "linux",
            Self::Windows => "windows",
        }
    }

    /// The system of that name; `None` for one that no rules are tried on.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Linux, Self::Windows]
            .into_iter()
            .find(|system| system.name() == name)
    }
}

/// A log source: what rules with this product and category are tried on.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) system: System,
    pub(super) category: &'static str,
    pub(super) columns: &'static [Column],
}

/// One name that rules have for something of an event.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) sigma: &'static str,
    /// Our fields that it is made of.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "the table in the documents is made of it")
    )]
    pub(super) ours: &'static [&'static Field],
    /// Whether it is another for each process, whatever the program.
    pub(super) is_of_one_process: bool,
    pub(super) read: for<'e> fn(&'e Event) -> Option<EventValue<'e>>,
}

/// The places of the log sources in [`SOURCES`].
const LINUX_PROCESS_CREATION: usize = 0;
const WINDOWS_PROCESS_CREATION: usize = 1;
const WINDOWS_PROCESS_TERMINATION: usize = 2;
const WINDOWS_IMAGE_LOAD: usize = 3;
const WINDOWS_CREATE_REMOTE_THREAD: usize = 4;
const WINDOWS_DRIVER_LOAD: usize = 5;

/// Every log source there is.
pub(super) static SOURCES: [Source; 6] = [
    Source {
        system: System::Linux,
        category: "process_creation",
        columns: LINUX_PROCESS,
    },
    Source {
        system: System::Windows,
        category: "process_creation",
        columns: WINDOWS_PROCESS,
    },
    Source {
        system: System::Windows,
        category: "process_termination",
        columns: TERMINATION,
    },
    Source {
        system: System::Windows,
        category: "image_load",
        columns: IMAGE_LOAD,
    },
    Source {
        system: System::Windows,
        category: "create_remote_thread",
        columns: REMOTE_THREAD,
    },
    Source {
        system: System::Windows,
        category: "driver_load",
        columns: DRIVER_LOAD,
    },
];

/// The log source an event of a system is of. What was there before did not happen now; a fork runs
/// nothing that was not told when it was run.
pub(super) fn source_of(event: &Event, system: System) -> Option<usize> {
    match (system, &event.body) {
        (System::Linux, Body::ProcessExec(_)) => Some(LINUX_PROCESS_CREATION),
        (System::Windows, Body::ProcessStart(start)) if !start.existing => {
            Some(WINDOWS_PROCESS_CREATION)
        }
        (System::Windows, Body::ProcessExit(_)) => Some(WINDOWS_PROCESS_TERMINATION),
        (System::Windows, Body::ThreadStart(start)) if start.remote => {
            Some(WINDOWS_CREATE_REMOTE_THREAD)
        }
        (System::Windows, Body::ImageLoad(load)) if !load.existing => Some(if load.kernel_image {
            WINDOWS_DRIVER_LOAD
        } else {
            WINDOWS_IMAGE_LOAD
        }),
        (System::Linux | System::Windows, _) => None,
    }
}

/// The system an event is of by what it says itself, for a log whose beginning is not there.
pub(super) fn system_by_content(event: &Event) -> Option<System> {
    let is_sid = |program: &Program| matches!(program.user_id, Some(UserId::Sid(_)));
    let path = match &event.body {
        Body::ProcessExec(_) => return Some(System::Linux),
        Body::ProcessStart(start) if is_sid(&start.program) => return Some(System::Windows),
        Body::ProcessStart(start) => &start.program.image,
        Body::ProcessExit(exit) => &exit.image,
        Body::ImageLoad(load) => &load.image,
        Body::ThreadStart(start) => &start.process_image,
        _ => return None,
    };
    let path = path.as_ref()?.shown();
    if path.starts_with('/') {
        return Some(System::Linux);
    }
    path.contains('\\').then_some(System::Windows)
}

macro_rules! column {
    ($sigma:literal, [$($ours:path),+], $read:expr) => {
        Column { sigma: $sigma, ours: &[$(&$ours),+], is_of_one_process: false, read: $read }
    };
    ($sigma:literal, [$($ours:path),+], of one process $read:expr) => {
        Column { sigma: $sigma, ours: &[$(&$ours),+], is_of_one_process: true, read: $read }
    };
}

const LINUX_PROCESS: &[Column] = &[
    column!("Image", [Program::image], |event| text(
        exec(event)?.program.image.as_ref()
    )),
    column!("CommandLine", [Program::command_line], |event| {
        text(exec(event)?.program.command_line.as_ref())
    }),
    column!("CurrentDirectory", [Setting::working_directory], |event| {
        text(exec(event)?.setting.working_directory.as_ref())
    }),
    column!("User", [Program::user], |event| plain(
        exec(event)?.program.user.as_deref()
    )),
    // As Sysmon for Linux has it: the real user, whoever logged in.
    column!(
        "LogonId",
        [Program::real_user_id, Program::user_id],
        |event| {
            let program = &exec(event)?.program;
            let real = program.real_user_id.map(i64::from);
            let effective = match &program.user_id {
                Some(UserId::Uid(uid)) => Some(i64::from(*uid)),
                _ => None,
            };
            real.or(effective).map(EventValue::Int)
        }
    ),
    column!("ParentImage", [Parent::parent_image], |event| {
        text(exec(event)?.parent.parent_image.as_ref())
    }),
    column!(
        "ParentCommandLine",
        [Parent::parent_command_line],
        |event| { text(exec(event)?.parent.parent_command_line.as_ref()) }
    ),
    column!("ParentUser", [Parent::parent_user], |event| {
        plain(exec(event)?.parent.parent_user.as_deref())
    }),
    column!("Hashes", [ExecDetails::sha256], |event| {
        let sha256 = &exec(event)?.details.as_ref()?.sha256;
        hashes([&None, &None, sha256, &None])
    }),
    column!("sha256", [ExecDetails::sha256], |event| {
        plain(exec(event)?.details.as_ref()?.sha256.as_deref())
    }),
    column!("ProcessId", [Event::process_id], of one process |event| {
        Some(EventValue::Int(event.process_id.into()))
    }),
    column!("TerminalSessionId", [ProcessExec::session_id], of one process |event| {
        exec(event)?.session_id.map(|id| EventValue::Int(id.into()))
    }),
];

const WINDOWS_PROCESS: &[Column] = &[
    column!("Image", [Program::image], |event| text(
        start(event)?.program.image.as_ref()
    )),
    column!("CommandLine", [Program::command_line], |event| {
        text(start(event)?.program.command_line.as_ref())
    }),
    column!("CurrentDirectory", [Setting::working_directory], |event| {
        text(start(event)?.setting.working_directory.as_ref())
    }),
    column!("User", [Program::user], |event| plain(
        start(event)?.program.user.as_deref()
    )),
    column!("IntegrityLevel", [ProcessStart::integrity_level], |event| {
        integrity(start(event)?.integrity_level.as_deref()?)
    }),
    column!("ParentImage", [Parent::parent_image], |event| {
        text(start(event)?.parent.parent_image.as_ref())
    }),
    column!(
        "ParentCommandLine",
        [Parent::parent_command_line],
        |event| { text(start(event)?.parent.parent_command_line.as_ref()) }
    ),
    column!("ParentUser", [Parent::parent_user], |event| {
        plain(start(event)?.parent.parent_user.as_deref())
    }),
    column!(
        "OriginalFileName",
        [ProgramFile::original_file_name],
        |event| {
            let file = program_file(event)?;
            version(file.original_file_name.as_ref())
        }
    ),
    column!("Description", [ProgramFile::description], |event| {
        version(program_file(event)?.description.as_ref())
    }),
    column!("Product", [ProgramFile::product], |event| {
        version(program_file(event)?.product.as_ref())
    }),
    column!("Company", [ProgramFile::company], |event| {
        version(program_file(event)?.company.as_ref())
    }),
    column!("FileVersion", [ProgramFile::file_version], |event| {
        version(program_file(event)?.file_version.as_ref())
    }),
    column!(
        "Hashes",
        [
            ProgramFile::sha1,
            ProgramFile::md5,
            ProgramFile::sha256,
            ProgramFile::imphash
        ],
        |event| {
            let file = program_file(event)?;
            hashes([&file.sha1, &file.md5, &file.sha256, &file.imphash])
        }
    ),
    // As older rules and other collectors have them.
    column!("md5", [ProgramFile::md5], |event| plain(
        program_file(event)?.md5.as_deref()
    )),
    column!("sha1", [ProgramFile::sha1], |event| plain(
        program_file(event)?.sha1.as_deref()
    )),
    column!("sha256", [ProgramFile::sha256], |event| {
        plain(program_file(event)?.sha256.as_deref())
    }),
    column!("Imphash", [ProgramFile::imphash], |event| {
        plain(program_file(event)?.imphash.as_deref())
    }),
    column!("LogonId", [StartDetails::logon_id], of one process |event| {
        start(event)?.details.as_ref()?.logon_id.map(hex)
    }),
    column!("ProcessId", [Event::process_id], of one process |event| {
        Some(EventValue::Int(event.process_id.into()))
    }),
    column!("ParentProcessId", [ProcessStart::parent_process_id], of one process |event| {
        start(event)?.parent_process_id.map(|id| EventValue::Int(id.into()))
    }),
    column!("TerminalSessionId", [ProcessStart::session_id], of one process |event| {
        start(event)?.session_id.map(|id| EventValue::Int(id.into()))
    }),
];

const TERMINATION: &[Column] = &[
    column!("Image", [ProcessExit::image], |event| match &event.body {
        Body::ProcessExit(exit) => text(exit.image.as_ref()),
        _ => None,
    }),
    column!("ProcessId", [Event::process_id], of one process |event| {
        Some(EventValue::Int(event.process_id.into()))
    }),
];

/// The process is `Image`, and the file that it maps `ImageLoaded`.
const IMAGE_LOAD: &[Column] = &[
    column!("Image", [ImageLoad::process_image], |event| {
        text(load(event)?.process_image.as_ref())
    }),
    IMAGE_LOADED,
    column!(
        "OriginalFileName",
        [ImageFile::original_file_name],
        |event| { version(image_file(event)?.original_file_name.as_ref()) }
    ),
    column!("Description", [ImageFile::description], |event| {
        version(image_file(event)?.description.as_ref())
    }),
    column!("Product", [ImageFile::product], |event| {
        version(image_file(event)?.product.as_ref())
    }),
    column!("Company", [ImageFile::company], |event| {
        version(image_file(event)?.company.as_ref())
    }),
    column!("FileVersion", [ImageFile::file_version], |event| {
        version(image_file(event)?.file_version.as_ref())
    }),
    HASHES,
    IMPHASH,
    SIGNED,
    SIGNATURE,
    SIGNATURE_STATUS,
    column!("ProcessId", [Event::process_id], of one process |event| {
        Some(EventValue::Int(event.process_id.into()))
    }),
];

const DRIVER_LOAD: &[Column] = &[
    IMAGE_LOADED,
    HASHES,
    IMPHASH,
    SIGNED,
    SIGNATURE,
    SIGNATURE_STATUS,
];

const IMAGE_LOADED: Column = column!("ImageLoaded", [ImageLoad::image], |event| {
    text(load(event)?.image.as_ref())
});
const HASHES: Column = column!(
    "Hashes",
    [
        ImageFile::sha1,
        ImageFile::md5,
        ImageFile::sha256,
        ImageFile::imphash
    ],
    |event| {
        let file = image_file(event)?;
        hashes([&file.sha1, &file.md5, &file.sha256, &file.imphash])
    }
);
const IMPHASH: Column = column!("Imphash", [ImageFile::imphash], |event| {
    plain(image_file(event)?.imphash.as_deref())
});
/// A text there, and no truth.
const SIGNED: Column = column!("Signed", [LoadDetails::signed], |event| {
    let is_signed = load(event)?.details.as_ref()?.signed?;
    plain(Some(if is_signed { "true" } else { "false" }))
});
const SIGNATURE: Column = column!("Signature", [LoadDetails::signer], |event| {
    text(load(event)?.details.as_ref()?.signer.as_ref())
});
const SIGNATURE_STATUS: Column = column!(
    "SignatureStatus",
    [LoadDetails::signature_status],
    |event| text(load(event)?.details.as_ref()?.signature_status.as_ref())
);

/// Who made the thread is the source, and where it runs the target.
const REMOTE_THREAD: &[Column] = &[
    column!("SourceImage", [ThreadDetails::creator_image], |event| {
        text(thread(event)?.details.as_ref()?.creator_image.as_ref())
    }),
    column!(
        "SourceCommandLine",
        [ThreadDetails::creator_command_line],
        |event| {
            text(
                thread(event)?
                    .details
                    .as_ref()?
                    .creator_command_line
                    .as_ref(),
            )
        }
    ),
    column!("TargetImage", [ThreadStart::process_image], |event| {
        text(thread(event)?.process_image.as_ref())
    }),
    column!("SourceProcessId", [ThreadStart::creator_process_id], of one process |event| {
        thread(event)?.creator_process_id.map(|id| EventValue::Int(id.into()))
    }),
    column!("TargetProcessId", [Event::process_id], of one process |event| {
        Some(EventValue::Int(event.process_id.into()))
    }),
    column!("NewThreadId", [ThreadStart::thread_id], of one process |event| {
        Some(EventValue::Int(thread(event)?.thread_id.into()))
    }),
    column!("StartAddress", [ThreadStart::start_address], of one process |event| {
        // As Sysmon writes an address: sixteen digits, in capitals.
        let address = thread(event)?.start_address?;
        Some(EventValue::Str(Cow::Owned(format!("0x{address:016X}"))))
    }),
];

fn exec(event: &Event) -> Option<&ProcessExec> {
    match &event.body {
        Body::ProcessExec(exec) => Some(exec),
        _ => None,
    }
}

fn start(event: &Event) -> Option<&ProcessStart> {
    match &event.body {
        Body::ProcessStart(start) => Some(start),
        _ => None,
    }
}

fn load(event: &Event) -> Option<&ImageLoad> {
    match &event.body {
        Body::ImageLoad(load) => Some(load),
        _ => None,
    }
}

fn thread(event: &Event) -> Option<&ThreadStart> {
    match &event.body {
        Body::ThreadStart(start) => Some(start),
        _ => None,
    }
}

/// What is known of the program's file, where anything is.
fn program_file(event: &Event) -> Option<&ProgramFile> {
    let file = &start(event)?.details.as_ref()?.file;
    (*file != ProgramFile::default()).then_some(file)
}

/// The same of an image.
fn image_file(event: &Event) -> Option<&ImageFile> {
    let file = &load(event)?.details.as_ref()?.file;
    (*file != ImageFile::default()).then_some(file)
}

fn text(text: Option<&Text>) -> Option<EventValue<'_>> {
    plain(text.map(Text::shown))
}

fn plain(text: Option<&str>) -> Option<EventValue<'_>> {
    text.map(|text| EventValue::Str(Cow::Borrowed(text)))
}

/// A line of a version resource. Of a file that was looked at and has none, Sysmon says `-`, and rules
/// ask for that; of a file that nobody looked at there is nothing to say.
fn version(text: Option<&Text>) -> Option<EventValue<'_>> {
    plain(Some(text.map_or("-", Text::shown)))
}

/// A level by its name and by its SID: rules ask for either.
fn integrity(level: &str) -> Option<EventValue<'static>> {
    let (name, sid) = match level {
        "untrusted" => ("Untrusted", "S-1-16-0"),
        "low" => ("Low", "S-1-16-4096"),
        "medium" => ("Medium", "S-1-16-8192"),
        "medium_plus" => ("Medium Plus", "S-1-16-8448"),
        "high" => ("High", "S-1-16-12288"),
        "system" => ("System", "S-1-16-16384"),
        "protected" => ("Protected", "S-1-16-20480"),
        _ => return None,
    };
    let text = |text| EventValue::Str(Cow::Borrowed(text));
    Some(EventValue::Array(vec![text(name), text(sid)]))
}

/// All hashes in one text, as Sysmon writes them: `SHA1=...,MD5=...`, in capitals.
fn hashes(values: [&Option<std::sync::Arc<str>>; 4]) -> Option<EventValue<'static>> {
    let names = ["SHA1", "MD5", "SHA256", "IMPHASH"].into_iter();
    let mut all = String::new();
    for (name, value) in names.zip(values) {
        if let Some(value) = value {
            let comma = if all.is_empty() { "" } else { "," };
            all.extend([comma, name, "=", &value.to_uppercase()]);
        }
    }
    (!all.is_empty()).then_some(EventValue::Str(Cow::Owned(all)))
}

fn hex(number: u64) -> EventValue<'static> {
    EventValue::Str(Cow::Owned(format!("{number:#x}")))
}

//! The events of the trail: observed by a sensor, enriched, as sinks keep them.
//!
//! `event::Event` is what a kernel wrote, borrowed from its bytes; [`Event`] is what a person reads
//! later, complete by itself. `trail/json.rs` is its one JSON form.

pub mod account;
pub mod control_characters;
pub mod json;

use std::borrow::Cow;
use std::sync::Arc;

use event::{Kind, ProcessKey};

use account::Account;

/// A point in time: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

/// Text from the system, which may not be valid Unicode.
///
/// # Invariants
/// `raw` is there only when the bytes are not valid Unicode (UTF-8, or UTF-16 on Windows); then
/// `shown` is their lossy form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text {
    shown: Arc<str>,
    raw: Option<Arc<[u8]>>,
}

impl Text {
    /// The text these bytes are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                shown: Arc::from(text),
                raw: None,
            },
            Err(_invalid) => Self {
                shown: Arc::from(String::from_utf8_lossy(bytes)),
                raw: Some(Arc::from(bytes)),
            },
        }
    }

    /// The text that these bytes are in UTF-16, little-endian (Windows). Where they are not valid,
    /// `raw` is those very bytes.
    pub fn from_utf_16(bytes: &[u8]) -> Self {
        let (units, rest) = bytes.as_chunks::<2>();
        let units = || units.iter().map(|unit| u16::from_le_bytes(*unit));
        let text: Result<String, _> = char::decode_utf16(units()).collect();
        match text {
            Ok(text) if rest.is_empty() => Self {
                shown: Arc::from(text),
                raw: None,
            },
            _ => {
                let lossy = char::decode_utf16(units());
                let lossy = lossy.map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
                let cut = (!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER);
                Self {
                    shown: lossy.chain(cut).collect::<String>().into(),
                    raw: Some(Arc::from(bytes)),
                }
            }
        }
    }

    /// The same text with what is shown of it put another way.
    #[must_use]
    pub fn shown_as(mut self, show_fn: impl FnOnce(&str) -> String) -> Self {
        self.shown = Arc::from(show_fn(&self.shown));
        self
    }

    /// The text as Unicode; what is not valid is U+FFFD.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The bytes, where they are not valid Unicode.
    pub fn raw(&self) -> Option<&[u8]> {
        self.raw.as_deref()
    }

    /// The bytes as the system had them.
    pub fn as_bytes(&self) -> &[u8] {
        self.raw().unwrap_or(self.shown.as_bytes())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            shown: Arc::from(text),
            raw: None,
        }
    }
}

/// Who: a uid on Linux, a SID on Windows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserId {
    /// A Linux user id.
    Uid(u32),
    /// A Windows security identifier in its text form.
    Sid(Arc<str>),
}

/// Names of fields, as `truncated` and `missing` use them.
pub type Field = Cow<'static, str>;

/// Why a field could not be had.
pub mod missing {
    /// The sensor of this run cannot observe it.
    pub const UNAVAILABLE: &str = "unavailable";
    /// It was gone, or could not be read, by the time anybody looked.
    pub const GONE: &str = "gone";
    /// The process has no user mode.
    pub const KERNEL_THREAD: &str = "kernel_thread";
    /// The event that would have told was lost.
    pub const LOST: &str = "lost";
    /// There is no name for this id.
    pub const UNKNOWN: &str = "unknown";
    /// It changed while the snapshot was taken.
    pub const CHANGED: &str = "changed";
}

/// One event of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// From 1, without a gap in a run.
    pub sequence: u64,
    /// When the kernel saw it.
    pub time: Time,
    /// The machine.
    pub host: Arc<str>,
    /// The process it is about; the agent's own for `lost` and sensor events.
    pub process_id: u32,
    /// That process's identity.
    pub process_key: ProcessKey,
    /// What happened.
    pub body: Body,
    /// Fields whose text was cut.
    pub truncated: Vec<Field>,
    /// Fields that could not be had, and why.
    pub missing: Vec<(Field, Cow<'static, str>)>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// `process_start`
    ProcessStart(Box<ProcessStart>),
    /// `process_exec`
    ProcessExec(Box<ProcessExec>),
    /// `process_exit`
    ProcessExit(ProcessExit),
    /// `thread_start`
    ThreadStart(ThreadStart),
    /// `thread_exit`
    ThreadExit(ThreadExit),
    /// `image_load`
    ImageLoad(ImageLoad),
    /// `lost`
    Lost(Lost),
    /// `sensor_start`
    SensorStart(SensorStart),
    /// `sensor_stop`
    SensorStop(Box<SensorStop>),
}

impl Body {
    /// The kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ProcessStart(_) => Kind::PROCESS_START,
            Self::ProcessExec(_) => Kind::PROCESS_EXEC,
            Self::ProcessExit(_) => Kind::PROCESS_EXIT,
            Self::ThreadStart(_) => Kind::THREAD_START,
            Self::ThreadExit(_) => Kind::THREAD_EXIT,
            Self::ImageLoad(_) => Kind::IMAGE_LOAD,
            Self::Lost(_) => Kind::LOST,
            Self::SensorStart(_) => Kind::SENSOR_START,
            Self::SensorStop(_) => Kind::SENSOR_STOP,
        }
    }
}

/// The program a process runs and for whom. Shared, not copied, between the events of a process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// The image path.
    pub image: Option<Text>,
    /// Whether the image file had no name in any directory (deleted, memfd).
    pub image_deleted: bool,
    /// The command line as one text.
    pub command_line: Option<Text>,
    /// The arguments (Linux).
    pub arguments: Option<Arc<[Text]>>,
    /// The user's name.
    pub user: Option<Arc<str>>,
    /// The user.
    pub user_id: Option<UserId>,
    /// The script an interpreter was started for, as an absolute path.
    pub script: Option<Text>,
}

/// A process was created.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessStart {
    /// The process that will be told of the exit.
    pub parent_process_id: Option<u32>,
    /// Its identity.
    pub parent_process_key: Option<ProcessKey>,
    /// The process that made the call.
    pub creator_process_id: Option<u32>,
    /// The thread that made the call.
    pub creator_thread_id: Option<u32>,
    /// The program; `script` is not shown here.
    pub program: Program,
    /// The session.
    pub session_id: Option<u32>,
    /// Whether it was there before the sensor.
    pub existing: bool,
}

/// A process replaced its program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessExec {
    /// The program it runs now.
    pub program: Program,
}

/// A process ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProcessExit {
    /// The exit code; for a process killed by a signal 128 + the signal, as shells have it.
    pub exit_code: Option<u32>,
    /// The signal that killed it.
    pub signal: Option<u32>,
    /// Whether it left a core dump.
    pub core_dumped: bool,
    /// The image it ran last.
    pub image: Option<Text>,
    /// From its start to its exit.
    pub run_time_ns: Option<u64>,
}

/// A thread was created.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadStart {
    /// The thread.
    pub thread_id: u32,
    /// The process that made the call.
    pub creator_process_id: Option<u32>,
    /// The thread that made the call.
    pub creator_thread_id: Option<u32>,
    /// Whether another process made the call.
    pub remote: bool,
    /// Where it begins to run (Windows).
    pub start_address: Option<u64>,
}

/// A thread ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ThreadExit {
    /// The thread.
    pub thread_id: u32,
}

/// A file was mapped executable.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageLoad {
    /// The path.
    pub image: Option<Text>,
    /// Whether the file had no name in any directory (deleted, memfd).
    pub image_deleted: bool,
    /// Where the mapping begins.
    pub image_base: u64,
    /// Bytes of the mapping.
    pub image_size: u64,
    /// Whether it is in the kernel's address space.
    pub kernel_image: bool,
    /// Whether it was there before the sensor.
    pub existing: bool,
}

/// Events were lost here.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// The kind of the events.
    pub lost_kind: Kind,
    /// How many.
    pub lost_count: u64,
    /// Why, and for a sink's loss which sink: `buffer_full`, `log:write_failed`.
    pub lost_reason: Cow<'static, str>,
}

/// A sensor began to record.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorStart {
    /// The sensor.
    pub source: Cow<'static, str>,
    /// The version of the agent.
    pub version: Cow<'static, str>,
}

/// A sensor stopped.
#[derive(Clone, Debug, PartialEq)]
pub struct SensorStop {
    /// The sensor.
    pub source: Cow<'static, str>,
    /// The version of the agent.
    pub version: Cow<'static, str>,
    /// The account so far.
    pub account: Account,
}

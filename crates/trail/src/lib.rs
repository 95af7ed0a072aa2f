//! The events of a SysTrail trail: observed by a sensor, enriched, as a log keeps them.
//!
//! An [`Event`] is what a person reads later, complete by itself. [`json`] is its one written form:
//! [`json::read_line`] makes an event of a line of a log, [`json::write_line`] a line of an event;
//! [`csv`] is a table's.
//! [`schema`] tells every field there is; [`Event::visit`] shows those of one event, and
//! [`Event::field`] finds one by its name.
//!
//! ```
//! let line = br#"{"sequence":7,"time":"2026-11-22T15:59:59.000000007Z","kind":"process_exit",
//!     "host":"atlas","process_id":4242,"process_key":"0123456789abcdef","exit_code":2}"#;
//! let event = systrail_trail::json::read_line(line)?;
//! assert!(event.body.has_failed());
//! # Ok::<(), systrail_trail::json::LineError>(())
//! ```

pub mod account;
mod body;
pub mod control_characters;
pub mod csv;
mod details;
mod detection;
mod exec;
mod further;
mod image;
pub mod json;
mod kept_by;
mod process;
mod recording;
pub mod schema;
mod text;
mod thread;
pub mod value;
pub mod visit;

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use event::ProcessKey;

use schema::{Declared as _, Field, Type, field, fields};
use visit::Visitor;

pub use body::Body;
pub use details::{ExecDetails, ImageFile, LoadDetails, ProgramFile, StartDetails, ThreadDetails};
pub use detection::Detection;
pub use exec::ExecFailed;
pub use further::Further;
pub use image::{ImageDetails, ImageLoad, ImageUnload};
pub use kept_by::KeptBy;
pub use process::{Parent, ProcessExec, ProcessExit, ProcessStart, Program, Setting, Usage};
pub use recording::{Lost, LostRange, Mark, SensorStart, SensorStop};
pub use text::{Text, UserId};
pub use thread::{ThreadExit, ThreadStart};

/// A point in time: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub i64);

/// As the log has it: RFC 3339, UTC, nine fractional digits.
impl fmt::Display for Time {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&json::time_text(*self))
    }
}

/// The name of a field, or a word said of one, as `truncated` and `missing` use them.
pub type Name = Cow<'static, str>;

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
    /// The process never had a thread: it was made, and deleted again.
    pub const NEVER_RAN: &str = "never_ran";
    /// There is no name for this id.
    pub const UNKNOWN: &str = "unknown";
    /// Who knows it did not say in time; a later event may have it.
    pub const UNANSWERED: &str = "unanswered";
    /// It changed while it was looked at.
    pub const CHANGED: &str = "changed";
    /// It is being found out: an `image_details` that follows completes the event.
    pub const PENDING: &str = "pending";
    /// Too much else is being found out.
    pub const BUSY: &str = "busy";
    /// It is larger than what is read.
    pub const TOO_LARGE: &str = "too_large";
    /// It is no regular file.
    pub const NOT_A_FILE: &str = "not_a_file";
    /// Another machine or a program serves the file system, and might not answer.
    pub const REMOTE: &str = "remote";
}

fields! {
    /// What all events of a run share.
    #[derive(Clone, Debug, PartialEq)]
    pub struct Whence {
        /// the machine
        host: Arc<str> => PlainText in Apart since 1, ecs "host.name", ocsf "device.hostname";
        /// the machine's own id, which stays when it is renamed: 32 hex digits, not reversible
        host_id: Option<Arc<str>> => MaybePlainText in Apart since 2,
            ecs "host.id", ocsf "device.uid";
        /// when the run began, nanoseconds since the Unix epoch: with `host_id` and `sequence` the
        /// name of an event among those of all machines
        run: Option<u64> => MaybeNumber in Apart since 2;
    }
}

/// Where an event comes from, with its form in a line, which is made once.
#[derive(Debug)]
pub struct Origin {
    whence: Whence,
    json: Box<[u8]>,
}

impl Origin {
    /// An origin.
    pub fn new(whence: Whence) -> Self {
        let json = json::fields(&whence).into();
        Self { whence, json }
    }

    /// A machine of which nothing but its name is known.
    pub fn of_host(host: impl Into<Arc<str>>) -> Arc<Self> {
        Arc::new(Self::new(Whence {
            host: host.into(),
            host_id: None,
            run: None,
        }))
    }

    /// The fields as a line has them.
    pub(crate) const fn json(&self) -> &[u8] {
        &self.json
    }
}

impl Deref for Origin {
    type Target = Whence;

    fn deref(&self) -> &Whence {
        &self.whence
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.whence == other.whence
    }
}

/// One event of the trail.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// From 1, without a gap in a run.
    pub sequence: u64,
    /// When the kernel saw it.
    pub time: Time,
    /// The machine and the run.
    pub origin: Arc<Origin>,
    /// The process it is about; the agent's own for `lost` and sensor events.
    pub process_id: u32,
    /// That process's identity.
    pub process_key: ProcessKey,
    /// What happened.
    pub body: Body,
    /// The rule that kept it, where that has a name or tags.
    pub kept_by: Option<Arc<KeptBy>>,
    /// Fields whose text was cut.
    pub truncated: Vec<Name>,
    /// Fields that could not be had, and why.
    pub missing: Vec<(Name, Name)>,
    /// What a newer version said beyond that.
    pub further: Further,
}

#[expect(
    non_upper_case_globals,
    reason = "the declaration of a field is called as the field is"
)]
impl Event {
    /// The declaration of `sequence`.
    pub const sequence: Field = field!(
        sequence, ["from 1, without a gap in a run"], Type::Number, false, Apart, 1,
        ecs "event.sequence", ocsf "metadata.sequence"
    );
    /// The declaration of `time`.
    pub const time: Field = field!(
        time, ["when the kernel saw it"], Type::Time, false, Apart, 1,
        ecs "@timestamp", ocsf "time_dt"
    );
    /// The declaration of `kind`.
    pub const kind: Field = field!(
        kind, ["what happened"], Type::Kind, false, Apart, 1,
        ecs "event.action", ocsf "metadata.event_code"
    );
    /// The declaration of `process_id`.
    pub const process_id: Field = field!(
        process_id, ["the process it is about, in the host's own numbering; the agent's own for \
        `lost`, `sensor_start` and `sensor_stop`"], Type::Number, false, Apart, 1,
        ecs "process.pid", ocsf "process.pid"
    );
    /// The declaration of `process_key`.
    pub const process_key: Field = field!(
        process_key, ["that process's identity, never reused"], Type::Key, false, Apart, 1,
        ecs "process.entity_id", ocsf "process.uid"
    );
    /// The declaration of `truncated`.
    pub const truncated: Field = field!(
        truncated,
        ["the fields whose text was cut"],
        Type::Names,
        true,
        Apart,
        1
    );
    /// The declaration of `missing`.
    pub const missing: Field = field!(
        missing,
        ["the fields that could not be had, each with the reason"],
        Type::Reasons,
        true,
        Apart,
        1
    );
}

impl Event {
    /// Shows every field to `visitor`, in the order a line has them; what a newer version said
    /// beyond them is in [`further`](Self::further).
    #[inline]
    pub fn visit<'e, V: Visitor<'e>>(&'e self, visitor: &mut V) {
        visitor.number(&Self::sequence, self.sequence);
        visitor.time(&Self::time, self.time);
        visitor.kind(&Self::kind, self.body.kind());
        visitor.origin(&self.origin);
        visitor.number(&Self::process_id, self.process_id.into());
        visitor.key(&Self::process_key, self.process_key);
        self.body.visit(visitor);
        if let Some(kept_by) = &self.kept_by {
            kept_by.visit(visitor);
        }
        visitor.names(&Self::truncated, &self.truncated);
        visitor.reasons(&Self::missing, &self.missing);
    }
}

/// The programs in the README compile.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub const README: () = ();

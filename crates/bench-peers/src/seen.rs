//! What a recorder says it saw, read from its own output: one shape for every format, so that all
//! recorders are counted by the same code.

mod auditd;
mod bpftrace;
mod execsnoop;
mod forkstat;
mod perf;
mod sysdig;
mod systrail;

use serde::Serialize;

/// The kinds of event that recorders are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    ProcessStart,
    ProcessExec,
    ProcessExit,
    ThreadStart,
    ThreadExit,
    ImageLoad,
    /// A new process or a new thread; the recorder does not say which.
    TaskStart,
}

impl Kind {
    /// Those a workload can have done.
    pub(super) const ALL: [Self; 6] = [
        Self::ProcessStart,
        Self::ProcessExec,
        Self::ProcessExit,
        Self::ThreadStart,
        Self::ThreadExit,
        Self::ImageLoad,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::ProcessStart => "start",
            Self::ProcessExec => "exec",
            Self::ProcessExit => "exit",
            Self::ThreadStart => "thread start",
            Self::ThreadExit => "thread exit",
            Self::ImageLoad => "image",
            Self::TaskStart => "task start",
        }
    }

    /// Its name in `systrail`'s account.
    pub(super) const fn wire_name(self) -> &'static str {
        match self {
            Self::ProcessStart => "process_start",
            Self::ProcessExec => "process_exec",
            Self::ProcessExit => "process_exit",
            Self::ThreadStart => "thread_start",
            Self::ThreadExit => "thread_exit",
            Self::ImageLoad => "image_load",
            Self::TaskStart => "task_start",
        }
    }
}

/// What bpftrace is told to do.
pub(super) const BPFTRACE_SCRIPT: &str = bpftrace::SCRIPT;

/// What sysdig is told to print, and about what.
pub(super) const SYSDIG_FIELDS: &str = sysdig::FIELDS;
pub(super) const SYSDIG_FILTER: &str = sysdig::FILTER;

/// One event a recorder wrote down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// What orders the recorder's events, in any unit; 0 where they are in order as they stand.
    pub(super) order: u64,
    pub(super) kind: Kind,
    /// The process that began, ran a program, ended, or whose thread or image it is.
    pub(super) process: u32,
    /// Its parent where the recorder says so, else 0.
    pub(super) parent: u32,
    /// The program's or the image's name where the recorder says so.
    pub(super) name: String,
}

/// How a recorder's output is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Systrail,
    Auditd,
    Bpftrace,
    Execsnoop,
    Forkstat,
    Perf,
    Sysdig,
    /// Nothing to read: what the recorder writes goes nowhere, and its own account is taken.
    Account,
}

impl Format {
    /// All events in the text, in the order they happened as far as the recorder knows it.
    pub(super) fn read(self, text: &str) -> Vec<Seen> {
        let mut seen: Vec<Seen> = match self {
            Self::Systrail => text.lines().filter_map(systrail::event).collect(),
            Self::Auditd => text.lines().filter_map(auditd::event).collect(),
            Self::Bpftrace => text.lines().filter_map(bpftrace::event).collect(),
            Self::Execsnoop => text.lines().filter_map(execsnoop::event).collect(),
            Self::Forkstat => forkstat::events(text),
            Self::Perf => text.lines().filter_map(perf::event).collect(),
            Self::Sysdig => text.lines().filter_map(sysdig::event).collect(),
            Self::Account => Vec::new(),
        };
        seen.sort_by_key(|event| event.order);
        seen
    }
}

/// The last part of a path.
fn file_name(path: &str) -> String {
    path.rsplit('/').next().unwrap_or(path).to_owned()
}

//! Processes that are there now, as the system tells of them by id.

use std::os::unix::ffi::OsStrExt as _;

use event::Flags;

use super::pid_namespace;

/// Nanoseconds in the unit of a [`ProcessKey`](event::ProcessKey)'s start time: the clock tick in
/// which `/proc` tells start times (`USER_HZ` is 100 on every architecture this runs on).
pub const START_TICK_NS: u64 = 10_000_000;

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// What is known of the texts.
    pub flags: Flags,
    /// The image path.
    pub image: Vec<u8>,
    /// The command line, in the form of a record.
    pub command_line: Vec<u8>,
}

/// Whether the system tells of processes under the ids that events have.
pub fn are_told() -> bool {
    pid_namespace::is_proc_initial()
}

/// This process's own id as events have it, where it can be known.
pub fn own_id() -> Option<u32> {
    pid_namespace::own_id()
}

/// When the process that has this id now started, in ticks (`/proc/PID/stat`, field 22).
pub fn start_tick(process_id: u32) -> Option<u64> {
    if !are_told() {
        return None;
    }
    let process = procfs::process::Process::new(i32::try_from(process_id).ok()?).ok()?;
    process.stat().ok().map(|stat| stat.starttime)
}

/// What the process with this id that started at `start_time` runs now. It counts only when the
/// process is the same one before and after.
pub fn program(process_id: u32, start_time: u64) -> Option<Program> {
    if !are_told() {
        return None;
    }
    let image = std::fs::read_link(format!("/proc/{process_id}/exe")).ok()?;
    let command_line = std::fs::read(format!("/proc/{process_id}/cmdline")).ok()?;
    if start_time == 0 || start_tick(process_id) != Some(start_time / START_TICK_NS) {
        return None;
    }
    let image = image.as_os_str().as_bytes();
    let (image, flags) = match image.strip_suffix(b" (deleted)") {
        Some(image) => (image, Flags::IMAGE_DELETED),
        None => (image, Flags::NONE),
    };
    Some(Program {
        flags,
        image: image.to_vec(),
        command_line,
    })
}

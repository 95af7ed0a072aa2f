//! What was there when a sensor began, as a snapshot of any system tells it. `seam.rs` joins it with
//! the stream.

use event::Flags;
use event::process::Users;

/// A process that was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Its id.
    pub process_id: u32,
    /// When it started, on the sensor's clock; on Linux only the ticks are known.
    pub start_time: u64,
    /// Its parent.
    pub parent_process_id: u32,
    /// Its session.
    pub session_id: u32,
    /// Its effective user (Linux).
    pub user_id: u32,
    /// Who asked for what it runs (Linux), where that is known.
    pub asked: Option<Users>,
    /// Its user's SID (Windows), in its binary form; empty where it is not known.
    pub user_sid: Vec<u8>,
    /// What is known of its program.
    pub flags: Flags,
    /// Its program.
    pub image: Vec<u8>,
    /// Its command line, in the form of a record.
    pub command_line: Vec<u8>,
    /// The images that were mapped.
    pub images: Vec<ExistingImage>,
    /// Whether its first thread had exited.
    pub leader_has_ended: bool,
    /// Its first thread, where that is not told by the process's id (Windows) and is known to run.
    pub first_thread: Option<u32>,
    /// The number of its threads, the first one included.
    pub threads: u32,
    /// Whether its last thread had exited when it was read. It counts as existing only when the
    /// stream tells of that exit.
    pub has_ended: bool,
    /// When reading it began, on the stream's clock.
    pub read_from: u64,
    /// When reading it was done.
    pub read_until: u64,
}

/// An image that was mapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExistingImage {
    /// What is known of its path.
    pub flags: Flags,
    /// Where the mapping begins.
    pub base: u64,
    /// Its bytes.
    pub size: u64,
    /// Its path.
    pub path: Vec<u8>,
}

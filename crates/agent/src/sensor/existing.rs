//! What was there when a sensor began, as a snapshot of any system tells it. `seam.rs` joins it with
//! the stream.

use event::Flags;
use event::process::{Context, Setting, Users};

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
    /// Where it runs (Linux), where that is known.
    pub setting: Option<Setting>,
    /// What surrounds it (Linux), where that is known.
    pub context: Option<Surroundings>,
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

/// What surrounds a process, as [`Context`] has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// How good the texts are.
    pub flags: Flags,
    /// Its controlling terminal.
    pub terminal: u32,
    /// Its working directory.
    pub directory: Vec<u8>,
    /// The variables that are told.
    pub environment: Vec<u8>,
}

impl Surroundings {
    /// In the form of a record.
    pub fn context(&self) -> Context<'_> {
        Context {
            flags: self.flags,
            terminal: self.terminal,
            directory: &self.directory,
            environment: &self.environment,
        }
    }
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

/// Bytes of arguments and environment that a snapshot keeps of all processes together: it is in memory as a whole, and
/// how many processes wait with long arguments is any user's choice.
const ARGUMENTS_SIZE_MAX: usize = 4 << 20;

/// Bytes of arguments that are kept of each process after that.
const ARGUMENTS_SIZE_SHORT: usize = 1024;

/// The room a snapshot has for arguments.
#[derive(Debug)]
pub struct ArgumentRoom {
    left: usize,
}

impl Default for ArgumentRoom {
    fn default() -> Self {
        Self {
            left: ARGUMENTS_SIZE_MAX,
        }
    }
}

impl ArgumentRoom {
    /// Cuts the arguments and the environment of a process where there is no room for all of them, and
    /// says so.
    pub fn cut(&mut self, existing: &mut Existing) {
        let cut = Flags::COMMAND_LINE_TRUNCATED;
        let is_cut = self.cut_bytes(&mut existing.command_line);
        existing.flags = existing.flags.with_if(is_cut, cut);
        if let Some(context) = &mut existing.context {
            let is_cut = self.cut_bytes(&mut context.environment);
            context.flags = context.flags.with_if(is_cut, cut);
        }
    }

    fn cut_bytes(&mut self, bytes: &mut Vec<u8>) -> bool {
        let size = bytes.len();
        if size <= ARGUMENTS_SIZE_SHORT {
            return false;
        }
        if let Some(left) = self.left.checked_sub(size) {
            self.left = left;
            return false;
        }
        // A unit of UTF-16 is not torn: the size is even.
        bytes.truncate(ARGUMENTS_SIZE_SHORT);
        bytes.shrink_to_fit();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 4,000 sleepers with 100 KB of arguments each took 415 MiB of whoever began to record then.
    #[test]
    fn arguments_are_kept_as_far_as_there_is_room_and_a_kibibyte_always() {
        let mut room = ArgumentRoom::default();
        let mut size = 0;
        for index in 0..4_000 {
            let mut existing = Existing {
                command_line: vec![b'a'; 32 * 1024],
                ..Existing::default()
            };
            room.cut(&mut existing);
            let is_cut = existing.flags.contains(Flags::COMMAND_LINE_TRUNCATED);
            assert_eq!(is_cut, index >= 128);
            size += existing.command_line.capacity();
        }
        assert!(size < ARGUMENTS_SIZE_MAX + 4_000 * 2 * ARGUMENTS_SIZE_SHORT);
        let mut usual = Existing {
            command_line: vec![b'a'; ARGUMENTS_SIZE_SHORT],
            ..Existing::default()
        };
        room.cut(&mut usual);
        assert_eq!(usual.flags, Flags::NONE);
    }
}

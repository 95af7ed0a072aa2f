//! The snapshot: the processes and images that are there when a sensor begins.
//!
//! Taken from `/proc` after the stream was switched on, so the two overlap; `seam.rs` joins them.
//! For that each process carries the times between which it was read. A process that vanishes
//! while it is read stays in the snapshot with what was had of it: it was there, and its exit is
//! in the stream.

use std::io;

use event::{Flags, image};

use super::proc::{self, TICK_NS};

/// A process that was there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Existing {
    /// Its id.
    pub process_id: u32,
    /// When it started: `CLOCK_BOOTTIME` nanoseconds, of which only the ticks are known.
    pub start_time: u64,
    /// Its parent.
    pub parent_process_id: u32,
    /// Its session.
    pub session_id: u32,
    /// Its effective user.
    pub user_id: u32,
    /// What is known of its program.
    pub flags: Flags,
    /// Its program.
    pub image: Vec<u8>,
    /// Its arguments, each ended by a NUL byte.
    pub command_line: Vec<u8>,
    /// The images that were mapped.
    pub images: Vec<ExistingImage>,
    /// Whether its first thread had exited.
    pub leader_has_ended: bool,
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

/// Reads every process there is now, and what it has mapped where `images` says so. `now_fn` tells
/// the time on the stream's clock.
pub fn take(images: bool, now_fn: impl Fn() -> u64) -> io::Result<Vec<Existing>> {
    let ids = proc::process_ids()?;
    Ok(ids
        .into_iter()
        // One that is gone already leaves its exit in the stream, and that is enough.
        .filter_map(|id| read(id, images, &now_fn).ok())
        .collect())
}

/// Reads one process.
pub fn read(process_id: u32, images: bool, now_fn: &impl Fn() -> u64) -> io::Result<Existing> {
    let read_from = now_fn();
    let process = proc::Process::open(process_id)?;
    let stat = process.stat()?;
    let mut existing = Existing {
        process_id,
        start_time: stat.start_tick.saturating_mul(TICK_NS),
        parent_process_id: stat.parent_process_id,
        session_id: stat.session_id,
        leader_has_ended: stat.leader_has_ended,
        threads: stat.threads,
        has_ended: stat.has_ended(),
        read_from,
        ..Existing::default()
    };
    match process.user_id() {
        Ok(user_id) => existing.user_id = user_id,
        // Only a process that is gone has none; parent and user go together on the wire.
        Err(_gone) => existing.flags = existing.flags.with(Flags::ORIGIN_UNAVAILABLE),
    }
    if stat.is_kernel {
        existing.flags = existing.flags.with(Flags::KERNEL_PROCESS);
    } else {
        let program = process.program();
        existing.flags = existing.flags.with(program.flags);
        existing.image = program.image;
        existing.command_line = program.command_line;
        if images {
            // What was read before it went is kept; what it has mapped since is in the stream.
            let _gone = process.images(|flags, load| existing.images.push(own(flags, load)));
        }
    }
    existing.read_until = now_fn();
    Ok(existing)
}

fn own(flags: Flags, load: image::Load<'_>) -> ExistingImage {
    ExistingImage {
        flags,
        base: load.image_base,
        size: load.image_size,
        path: load.image.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_snapshot_has_this_process_its_parent_and_its_images() {
        let existing = take(true, || 7).unwrap();
        let by_id = |id: u32| existing.iter().find(|process| process.process_id == id);
        let this = by_id(std::process::id()).unwrap();
        assert!(by_id(this.parent_process_id).is_some());
        assert_eq!((this.read_from, this.read_until), (7, 7));
        assert!(!this.image.is_empty() && !this.command_line.is_empty());
        assert!(this.images.iter().any(|image| image.path == this.image));
        assert!(this.images.iter().all(|image| image.path.starts_with(b"/")));
    }

    #[test]
    fn without_images_none_is_read() {
        let existing = take(false, || 0).unwrap();
        assert!(existing.iter().all(|process| process.images.is_empty()));
    }
}

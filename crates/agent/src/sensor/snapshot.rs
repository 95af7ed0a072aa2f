//! The snapshot: the processes and images that are there when a sensor begins.
//!
//! Taken from `/proc` after the stream was switched on, so the two overlap; `seam.rs` joins them.
//! For that each process carries the times between which it was read. A process that vanishes
//! while it is read stays in the snapshot with what was had of it: it was there, and its exit is
//! in the stream.

use std::io;

use event::{Flags, image};

use super::existing::{ArgumentRoom, Existing, ExistingImage, Surroundings};
use crate::environment::Names;
use crate::sys::proc;
use crate::sys::processes::START_TICK_NS;

/// What is read of each process beside itself.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Whether to read what it has mapped.
    pub images: bool,
    /// Whether to read what surrounds it.
    pub surroundings: bool,
    /// The variables of its environment to read.
    pub environment: Names,
}

/// Reads every process there is now, and what is `wanted` of it. `now_fn` tells the time on the
/// stream's clock.
pub fn take(wanted: &Wanted, now_fn: impl Fn() -> u64) -> io::Result<Vec<Existing>> {
    let ids = proc::process_ids()?;
    let mut room = ArgumentRoom::default();
    Ok(ids
        .into_iter()
        // One that is gone already leaves its exit in the stream, and that is enough.
        .filter_map(|id| read(id, wanted, &mut room, &now_fn).ok())
        .collect())
}

/// Reads one process.
pub fn read(
    process_id: u32,
    wanted: &Wanted,
    room: &mut ArgumentRoom,
    now_fn: &impl Fn() -> u64,
) -> io::Result<Existing> {
    let read_from = now_fn();
    let process = proc::Process::open(process_id)?;
    let stat = process.stat()?;
    let mut existing = Existing {
        process_id,
        start_time: stat.start_tick.saturating_mul(START_TICK_NS),
        parent_process_id: stat.parent_process_id,
        session_id: stat.session_id,
        leader_has_ended: stat.leader_has_ended,
        threads: stat.threads,
        has_ended: stat.has_ended(),
        read_from,
        ..Existing::default()
    };
    match process.user_ids() {
        Ok((user_id, users)) => {
            existing.user_id = user_id;
            existing.asked = Some(users);
        }
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
        let context = || surroundings(&process, stat.terminal, wanted);
        existing.context = wanted.surroundings.then(context);
        room.cut(&mut existing);
        if wanted.images {
            existing.images = images(&process);
        }
    }
    existing.read_until = now_fn();
    Ok(existing)
}

/// What surrounds a process.
pub fn surroundings(process: &proc::Process, terminal: u32, wanted: &Wanted) -> Surroundings {
    let (flags, directory) = process.working_directory();
    let (environment_flags, environment) = if wanted.environment.is_empty() {
        (Flags::NONE, Vec::new())
    } else {
        process.environment(&wanted.environment)
    };
    Surroundings {
        flags: flags.with(environment_flags),
        terminal,
        directory,
        environment,
    }
}

/// What a process has mapped. What was read before it went is kept; what it has mapped since is in
/// the stream.
pub fn images(process: &proc::Process) -> Vec<ExistingImage> {
    let mut images = Vec::new();
    let _gone = process.images(|flags, load| images.push(own(flags, load)));
    images
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
        let wanted = Wanted {
            images: true,
            surroundings: true,
            environment: Names::new(&["PATH"]),
        };
        let existing = take(&wanted, || 7).unwrap();
        let by_id = |id: u32| existing.iter().find(|process| process.process_id == id);
        let this = by_id(std::process::id()).unwrap();
        assert!(by_id(this.parent_process_id).is_some());
        assert_eq!((this.read_from, this.read_until), (7, 7));
        assert!(!this.image.is_empty() && !this.command_line.is_empty());
        let context = this.context.as_ref().unwrap();
        let directory = std::env::current_dir().unwrap();
        assert!(
            context
                .directory
                .starts_with(directory.as_os_str().as_encoded_bytes())
        );
        let path = std::env::var("PATH").unwrap();
        assert_eq!(context.environment, format!("PATH={path}\0").as_bytes());
        assert!(this.images.iter().any(|image| image.path == this.image));
        assert!(this.images.iter().all(|image| image.path.starts_with(b"/")));
    }

    #[test]
    fn without_images_none_is_read() {
        let existing = take(&Wanted::default(), || 0).unwrap();
        assert!(existing.iter().all(|process| process.images.is_empty()));
    }
}

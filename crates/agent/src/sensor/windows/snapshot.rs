//! The snapshot on Windows: the processes and images that are there when the sensor begins.
//!
//! The driver has queued events since it was started, so stream and snapshot overlap; `seam.rs`
//! joins them. What a protected process does not let anybody read is told as missing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use event::Flags;

use super::driver_list::{self, Loaded};
use super::patience;
use super::process_list::{self, IDLE, Listed};
use crate::sensor::existing::{ArgumentRoom, Existing, ExistingImage};
use crate::sys::processes::{self, Process};
use crate::sys::{clock, privilege};

/// The longest that looking at one process takes. The start of a service may take 30 s in all.
const LOOK_TIME_MAX: Duration = Duration::from_secs(3);

/// Reads every process there is now, and what it has mapped where `images` says so.
pub(super) fn take(images: bool) -> io::Result<Vec<Existing>> {
    if let Err(error) = privilege::enable_debug() {
        // Other users' processes then lack what only their owner may read, and say so.
        tracing::debug!(%error, "no privilege to look into other users' processes");
    }
    let listed = process_list::read(&processes::list()?).map_err(io::Error::other)?;
    let look_fn: fn(&Listed) -> Existing = if images {
        |it| read(it, true)
    } else {
        |it| read(it, false)
    };
    let listed = Arc::new(listed);
    let looks = patience::look_at(&listed, look_fn, LOOK_TIME_MAX)?;
    let or_silent = |(look, listed): (Option<Existing>, _)| look.unwrap_or_else(|| silent(listed));
    let mut existing: Vec<Existing> = looks
        .into_iter()
        .zip(listed.iter())
        .map(or_silent)
        .collect();
    let mut room = ArgumentRoom::default();
    for process in &mut existing {
        room.cut(process);
    }
    if images {
        add_drivers(&mut existing, drivers());
    }
    Ok(existing)
}

/// What is loaded into the kernel.
fn drivers() -> Vec<ExistingImage> {
    let loaded = processes::list_drivers()
        .and_then(|bytes| driver_list::read(&bytes).map_err(io::Error::other));
    match loaded {
        Ok(loaded) => loaded.iter().map(of_kernel).collect(),
        Err(error) => {
            tracing::warn!(%error, "the drivers that are loaded already cannot be told");
            Vec::new()
        }
    }
}

/// Puts them where the driver tells of one that is loaded: into process 0.
fn add_drivers(existing: &mut Vec<Existing>, drivers: Vec<ExistingImage>) {
    if drivers.is_empty() {
        return;
    }
    let read_until = clock::now().0;
    if let Some(idle) = existing.iter_mut().find(|it| it.process_id == IDLE) {
        idle.images = drivers;
        idle.read_until = read_until;
        return;
    }
    // Wine lists no such process.
    let listed = Listed::default();
    let mut idle = told_of(&listed);
    lack(&mut idle);
    name_kernel(&listed, &mut idle);
    idle.images = drivers;
    idle.read_until = read_until;
    existing.push(idle);
}

fn of_kernel(loaded: &Loaded) -> ExistingImage {
    let image = own(processes::Image {
        base: loaded.base,
        size: loaded.size.into(),
        path: processes::from_code_page(&loaded.path),
    });
    ExistingImage {
        flags: image.flags.with(Flags::KERNEL_IMAGE),
        ..image
    }
}

fn read(listed: &Listed, images: bool) -> Existing {
    let mut existing = told_of(listed);
    match open_as_listed(&existing) {
        Some(process) => look(&process, &mut existing, images),
        None => lack(&mut existing),
    }
    name_kernel(listed, &mut existing);
    existing.read_until = clock::now().0;
    existing
}

/// A process that did not answer.
fn silent(listed: &Listed) -> Existing {
    tracing::warn!(
        "process {} does not answer; what it runs is told as missing",
        listed.process_id
    );
    let mut existing = told_of(listed);
    lack(&mut existing);
    name_kernel(listed, &mut existing);
    existing.read_until = clock::now().0;
    existing
}

/// What the list itself tells.
fn told_of(listed: &Listed) -> Existing {
    Existing {
        process_id: listed.process_id,
        start_time: clock::on_sensor_clock(listed.create_time),
        parent_process_id: listed.parent_process_id,
        session_id: listed.session_id,
        threads: listed.threads,
        first_thread: listed.first_thread,
        flags: Flags::UTF_16,
        read_from: clock::now().0,
        ..Existing::default()
    }
}

/// Says that a process is the kernel's own, and puts its name where a record has it.
fn name_kernel(listed: &Listed, existing: &mut Existing) {
    if listed.is_kernel(&existing.image) {
        existing.flags = existing.flags.with(Flags::KERNEL_PROCESS);
        existing.image.clone_from(&listed.name);
    }
}

/// The process, if it is still the one that was listed.
fn open_as_listed(existing: &Existing) -> Option<Process> {
    let process = Process::open(existing.process_id).ok()?;
    (process.start_time().ok()? == existing.start_time).then_some(process)
}

fn look(process: &Process, existing: &mut Existing, images: bool) {
    let program = process.program();
    existing.flags = existing.flags.with(program.flags);
    existing.image = program.image;
    existing.command_line = program.command_line;
    match process.user_sid() {
        Ok(sid) => existing.user_sid = sid,
        Err(_protected) => existing.flags = existing.flags.with(Flags::USER_UNAVAILABLE),
    }
    if images && let Ok(process) = Process::open_regions(existing.process_id) {
        // The id cannot have become another's: `process` above holds it.
        existing.images = process.images().into_iter().map(own).collect();
    }
}

fn lack(existing: &mut Existing) {
    for flag in [
        Flags::IMAGE_UNAVAILABLE,
        Flags::COMMAND_LINE_UNAVAILABLE,
        Flags::USER_UNAVAILABLE,
    ] {
        existing.flags = existing.flags.with(flag);
    }
}

fn own(image: processes::Image) -> ExistingImage {
    let flags = if image.path.is_empty() {
        Flags::UTF_16.with(Flags::IMAGE_UNAVAILABLE)
    } else {
        Flags::UTF_16
    };
    ExistingImage {
        flags,
        base: image.base,
        size: image.size,
        path: image.path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_in_the_snapshot_as_it_knows_itself() {
        let existing = take(true).unwrap();
        let by_id = |id: u32| existing.iter().find(|process| process.process_id == id);
        let this = by_id(std::process::id()).unwrap();
        let program = String::from_utf16_lossy(&units(&this.image));
        let own = std::env::current_exe().unwrap();
        let name = own.file_name().unwrap().to_str().unwrap();
        assert!(
            program.starts_with('\\') && program.ends_with(name),
            "{program}"
        );
        let command_line = String::from_utf16_lossy(&units(&this.command_line));
        // Wine does not tell it.
        if this.flags != Flags::UTF_16.with(Flags::COMMAND_LINE_UNAVAILABLE) {
            assert!(command_line.contains(name), "{command_line}");
            assert_eq!(this.flags, Flags::UTF_16);
        }
        assert!(this.start_time != 0 && this.start_time < this.read_from);
        assert_eq!(this.user_sid.first(), Some(&1), "the revision of every SID");
        assert!(this.threads > 0);
    }

    #[test]
    fn the_images_of_this_process_do_not_overlap_and_one_is_its_program() {
        let existing = take(true).unwrap();
        let is_this = |process: &&Existing| process.process_id == std::process::id();
        let this = existing.iter().find(is_this).unwrap();
        let is_program = |image: &ExistingImage| image.path == this.image;
        assert!(this.images.iter().any(is_program), "{:?}", this.images);
        assert!(this.images.iter().all(|image| image.size >= 0x1000));
        for [one, next] in this.images.array_windows() {
            assert!(one.base + one.size <= next.base);
        }
    }

    /// Wine tells of one, `ntdll.dll`.
    #[test]
    fn what_is_loaded_into_the_kernel_is_in_process_0() {
        let existing = take(true).unwrap();
        let is_in_kernel = |image: &ExistingImage| image.flags.contains(Flags::KERNEL_IMAGE);
        for process in &existing {
            let is_idle = process.process_id == IDLE;
            assert!(process.images.iter().all(|it| is_in_kernel(it) == is_idle));
        }
        let idle: Vec<&Existing> = existing
            .iter()
            .filter(|process| process.process_id == IDLE)
            .collect();
        let [idle] = idle[..] else {
            panic!("{} processes 0", idle.len());
        };
        assert_eq!(idle.start_time, 0);
        assert!(!idle.images.is_empty());
        for image in &idle.images {
            let path = String::from_utf16_lossy(&units(&image.path));
            assert!(path.starts_with('\\') && image.size > 0, "{path}");
        }
    }

    #[test]
    fn without_images_none_is_read() {
        let existing = take(false).unwrap();
        assert!(existing.iter().all(|process| process.images.is_empty()));
    }

    fn units(bytes: &[u8]) -> Vec<u16> {
        let units = bytes.as_chunks::<2>().0.iter();
        units.map(|unit| u16::from_le_bytes(*unit)).collect()
    }
}

//! The snapshot by the object's iterators: what was there before the stream began, read by the
//! kernel in one walk instead of a dozen files a process.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Read as _};

use event::{Event, Extension, Flags, HEADER_SIZE, Header, Record, image, process, wire};

use super::object::Object;
use crate::sensor::existing::{ArgumentRoom, Existing, ExistingImage, Surroundings};
use crate::sensor::snapshot::{self, Wanted};
use crate::sys::clock;
use crate::sys::proc;
use crate::sys::processes::{self, START_TICK_NS};

/// Reads every process there is now, and what is `wanted` of it: by iterators where they load, from
/// `/proc` otherwise.
pub(super) fn take(object: &mut Object, wanted: &Wanted) -> io::Result<Vec<Existing>> {
    let now = || clock::now().0;
    let is_told = processes::are_told();
    if !is_told {
        tracing::warn!(
            "a pid namespace of its own: what runs outside it already is not told, nor what /proc \
             alone knows of it; run it in the host's (--pid=host)"
        );
    }
    match iterate(object, wanted) {
        Ok(Some(existing)) => return Ok(existing),
        Ok(None) => {}
        Err(error) => tracing::warn!(%error, "the iterators broke off; reading /proc instead"),
    }
    if !is_told {
        return Ok(Vec::new());
    }
    snapshot::take(wanted, now)
}

/// `None` where this kernel does not take the iterators.
fn iterate(object: &mut Object, wanted: &Wanted) -> io::Result<Option<Vec<Existing>>> {
    let Some(processes) = object.iterate_processes()? else {
        return Ok(None);
    };
    let mut existing = Vec::new();
    let mut places = HashMap::new();
    read_records(processes, |record| {
        if let Event::ProcessStart(start) = record.event {
            let header = record.header;
            places.insert((header.process_id, header.start_time), existing.len());
            existing.push(own_process(&header, &start, &record.extension));
        }
    })?;
    if wanted.images {
        let Some(walk) = object.iterate_images()? else {
            return Ok(None);
        };
        read_records(walk, |Record { header, event, .. }| {
            // A process that the first walk did not meet has its start in the stream.
            let place = places.get(&(header.process_id, header.start_time));
            if let Event::ImageLoad(load) = event
                && let Some(process) = place.and_then(|&place| existing.get_mut(place))
            {
                process.images.push(own_image(&header, &load));
            }
        })?;
    }
    let mut room = ArgumentRoom::default();
    for process in &mut existing {
        complete(process, wanted);
        room.cut(process);
        process.read_until = clock::now().0;
    }
    add_unvisited(&mut existing, wanted, &mut room)?;
    Ok(Some(existing))
}

/// Adds what `/proc` has and the iterator did not visit: the kernel may keep it from showing a
/// process. One that started meanwhile is in the stream, and is dropped where the two are joined.
fn add_unvisited(
    existing: &mut Vec<Existing>,
    wanted: &Wanted,
    room: &mut ArgumentRoom,
) -> io::Result<()> {
    if !processes::are_told() {
        return Ok(());
    }
    let visited: HashSet<u32> = existing.iter().map(|process| process.process_id).collect();
    for id in proc::process_ids()? {
        if !visited.contains(&id)
            && let Ok(process) = snapshot::read(id, wanted, room, &|| clock::now().0)
        {
            existing.push(process);
        }
    }
    Ok(())
}

/// Hands every record of an iterator's file to `record_fn`.
fn read_records(mut file: File, mut record_fn: impl FnMut(Record<'_>)) -> io::Result<()> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let header = Header::read(&mut wire::Reader::new(rest)).map_err(io::Error::other)?;
        let size = usize::try_from(header.size).unwrap_or(usize::MAX);
        let (record, next) = rest
            .split_at_checked(size.max(HEADER_SIZE))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        record_fn(event::read(record).map_err(io::Error::other)?);
        rest = next;
    }
    Ok(())
}

fn own_process(header: &Header, start: &process::Start<'_>, extension: &Extension<'_>) -> Existing {
    Existing {
        asked: extension.users().copied(),
        setting: extension.setting().copied(),
        context: extension.context().map(|context| Surroundings {
            flags: context.flags,
            terminal: context.terminal,
            ..Surroundings::default()
        }),
        process_id: header.process_id,
        start_time: header.start_time,
        parent_process_id: start.parent_process_id,
        session_id: start.session_id,
        user_id: start.user_id,
        flags: header.flags,
        image: start.image.to_vec(),
        read_from: header.time,
        ..Existing::default()
    }
}

fn own_image(header: &Header, load: &image::Load<'_>) -> ExistingImage {
    ExistingImage {
        flags: header.flags,
        base: load.image_base,
        size: load.image_size,
        path: load.image.to_vec(),
    }
}

/// Reads what no iterator does: the command line and the environment are in the process's own memory,
/// and the directory would be a second walk. Where the first thread has ended, which alone they visit,
/// another has that memory.
fn complete(existing: &mut Existing, wanted: &Wanted) {
    if existing.flags.contains(Flags::KERNEL_PROCESS) {
        return;
    }
    let Some(process) = open(existing) else {
        existing.flags = existing.flags.with(Flags::COMMAND_LINE_UNAVAILABLE);
        return;
    };
    if existing.flags.contains(Flags::IMAGE_UNAVAILABLE) {
        let (flags, image) = process.image();
        existing.flags = existing.flags.without(Flags::IMAGE_UNAVAILABLE).with(flags);
        existing.image = image;
        if wanted.images && existing.images.is_empty() {
            existing.images = snapshot::images(&process);
        }
    }
    let (flags, command_line) = process.command_line();
    existing.flags = existing.flags.with(flags);
    existing.command_line = command_line;
    if let Some(context) = &mut existing.context {
        *context = snapshot::surroundings(&process, context.terminal, wanted);
    }
}

/// The very process, as `/proc` has it.
fn open(existing: &Existing) -> Option<proc::Process> {
    if !processes::are_told() {
        return None;
    }
    let process = proc::Process::open(existing.process_id).ok()?;
    let start_tick = process.stat().ok()?.start_tick;
    (start_tick == existing.start_time / START_TICK_NS).then_some(process)
}

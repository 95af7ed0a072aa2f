//! The seam: joins the snapshot and the stream, with no gap and no duplicate.
//!
//! The stream was switched on before the snapshot was taken, so what happened in between is in
//! both, or in the stream alone. [`join`] hands over, in this order: the processes that were there
//! when the stream began, by start time with parents before children; the images they had mapped;
//! the stream as it is. Its rules:
//!
//! - A process whose start is in the stream is not existing, whatever the snapshot says of it.
//! - A process the stream tells of, that is neither in the snapshot nor started in the stream,
//!   existed and ended meanwhile (or the snapshot may not see it). It is handed over as existing
//!   with nothing but its id.
//! - The dead that wait to be reaped existed only when the stream has their exit.
//! - The program of a process that execs in the stream is unavailable. The snapshot may have read
//!   the old one or the new one, and no time tells which: an exec changes `/proc` well before its
//!   record is written, as long as loading the program takes.
//! - An image the snapshot has and the stream loads at an overlapping address of the same process
//!   is the stream's, unless it was read clearly before that load.
//!
//! Start times are compared as they are where both are exact, as eBPF programs and iterators tell
//! them. `/proc`, and sensors that know the start from the time of an event, have ticks, and of these
//! one of difference is none, as an event may come in the next. Where an id was used twice within two
//! ticks the end of the one tells it from the other.

use std::collections::HashMap;

use event::{Event, Extension, Flags, Header, image, process};

use super::Batch;
use super::existing::{Existing, ExistingImage};
use crate::sys::processes::START_TICK_NS;

/// Appends to `batch` what was there when the stream began, then the stream.
///
/// `stream` is in time order and holds everything that happened until the snapshot was complete.
/// `began` is when the stream was switched on.
pub fn join(snapshot: Vec<Existing>, stream: &Batch, began: u64, batch: &mut Batch) {
    let told = Told::read(stream);
    let mut existing: Vec<Existing> = snapshot
        .into_iter()
        .filter(|process| !told.has_started(process))
        .collect();
    let missing = told.missing_from(&existing);
    existing.retain(|process| !process.has_ended || told.tells_of(process));
    existing.extend(missing);
    for process in &mut existing {
        told.correct(process);
    }
    sort_parents_first(&mut existing, began);
    write_processes(&existing, began, batch);
    write_images(&existing, began, batch);
    batch.extend(stream);
}

/// What the stream tells of processes, by id.
struct Told(HashMap<u32, Vec<Life>>);

/// One process of an id, as the stream has it.
#[derive(Debug, Default)]
struct Life {
    /// When it started; 0 while no record says: a perf record of an image load does not.
    start_time: u64,
    /// Whether its start is in the stream.
    has_start: bool,
    parent_process_id: u32,
    has_exec: bool,
    has_exit: bool,
    /// Time, base and size of its image loads.
    loads: Vec<(u64, u64, u64)>,
}

impl Life {
    /// Whether an event of a process with this id that started then is of this one.
    fn is_told_by(&self, start_time: u64, is_start: bool) -> bool {
        if !is_start {
            return !is_other(self.start_time, start_time);
        }
        // Neighbouring records may be out of order, so a start need not come first; but nobody starts
        // after his end, which in one tick is all there is to know two by.
        let is_exact = self.start_time == start_time && !is_tick(start_time);
        is_same(self.start_time, start_time) && (is_exact || !self.has_exit)
    }
}

impl Told {
    /// A record that is none tells nothing here; the pipeline, which gets it too, counts it.
    fn read(stream: &Batch) -> Self {
        let mut told = Self(HashMap::new());
        for record in stream.records().flat_map(event::read) {
            if record.header.kind.index().is_some() {
                told.add(&record.header, &record.event);
            }
        }
        told
    }

    fn add(&mut self, header: &Header, event: &Event<'_>) {
        let lives = self.0.entry(header.process_id).or_default();
        let is_start = matches!(event, Event::ProcessStart(_));
        let place = lives
            .iter()
            .rposition(|life| life.is_told_by(header.start_time, is_start));
        let place = place.unwrap_or_else(|| {
            lives.push(Life {
                start_time: header.start_time,
                ..Life::default()
            });
            lives.len() - 1
        });
        let Some(life) = lives.get_mut(place) else {
            return;
        };
        if life.start_time == 0 {
            life.start_time = header.start_time;
        }
        match event {
            Event::ProcessStart(_) => life.has_start = true,
            Event::ProcessExec(_) => life.has_exec = true,
            Event::ProcessExit(exit) => {
                life.has_exit = true;
                life.parent_process_id = exit.parent_process_id;
            }
            Event::ImageLoad(load) => {
                life.loads
                    .push((header.time, load.image_base, load.image_size));
            }
            _ => {}
        }
    }

    fn lives(&self, process_id: u32) -> &[Life] {
        self.0.get(&process_id).map_or(&[], Vec::as_slice)
    }

    fn has_started(&self, process: &Existing) -> bool {
        self.lives(process.process_id)
            .iter()
            .any(|life| life.has_start && is_same(life.start_time, process.start_time))
    }

    /// The life of a process that was there before the stream; at most one life of an id is.
    fn life_before(&self, process_id: u32) -> Option<&Life> {
        self.lives(process_id)
            .first()
            .filter(|life| !life.has_start)
    }

    fn life_of(&self, process: &Existing) -> Option<&Life> {
        self.life_before(process.process_id)
            .filter(|life| !is_other(life.start_time, process.start_time))
    }

    fn tells_of(&self, process: &Existing) -> bool {
        self.life_of(process).is_some()
    }

    /// The processes that only the stream knows, as far as it knows them.
    fn missing_from(&self, existing: &[Existing]) -> Vec<Existing> {
        let known: HashMap<u32, u64> = existing
            .iter()
            .map(|process| (process.process_id, process.start_time))
            .collect();
        self.0
            .iter()
            .filter_map(|(&process_id, _)| Some((process_id, self.life_before(process_id)?)))
            .filter(|(process_id, life)| {
                known
                    .get(process_id)
                    .is_none_or(|&start_time| is_other(life.start_time, start_time))
            })
            .map(|(process_id, life)| unseen(process_id, life))
            .collect()
    }

    /// Takes back what the snapshot may have read after the stream changed it.
    fn correct(&self, process: &mut Existing) {
        let Some(life) = self.life_of(process) else {
            return;
        };
        if is_tick(process.start_time) && life.start_time != 0 {
            process.start_time = life.start_time;
        }
        if life.has_exec {
            process.image.clear();
            process.command_line.clear();
            process.flags = process.flags.with(PROGRAM_UNAVAILABLE);
        }
        let read_until = process.read_until.saturating_add(LOAD_LATE_NS);
        process.images.retain(|image| {
            !life
                .loads
                .iter()
                .any(|&(time, base, size)| time <= read_until && overlaps(image, base, size))
        });
    }
}

/// How long after `/proc` shows a mapping its record may be written, at most.
const LOAD_LATE_NS: u64 = 10_000_000;

const PROGRAM_UNAVAILABLE: Flags = Flags::IMAGE_UNAVAILABLE.with(Flags::COMMAND_LINE_UNAVAILABLE);

fn unseen(process_id: u32, life: &Life) -> Existing {
    Existing {
        process_id,
        start_time: life.start_time,
        parent_process_id: life.parent_process_id,
        flags: PROGRAM_UNAVAILABLE.with(Flags::ORIGIN_UNAVAILABLE),
        // Nothing was read, so nothing the stream tells came before it was read.
        ..Existing::default()
    }
}

/// Whether both times are known and are of one process.
fn is_same(left: u64, right: u64) -> bool {
    let ticks_apart = || (left / START_TICK_NS).abs_diff(right / START_TICK_NS);
    let is_rough = || is_tick(left) || is_tick(right);
    left != 0 && right != 0 && (left == right || (is_rough() && ticks_apart() <= 1))
}

/// Whether of a start time only the tick is known.
const fn is_tick(time: u64) -> bool {
    time.is_multiple_of(START_TICK_NS)
}

/// Whether both times are known and are of two processes.
fn is_other(left: u64, right: u64) -> bool {
    left != 0 && right != 0 && !is_same(left, right)
}

fn overlaps(image: &ExistingImage, base: u64, size: u64) -> bool {
    image.base < base.saturating_add(size) && base < image.base.saturating_add(image.size)
}

/// Sorts by start time. Within a tick, where time does not tell, a parent comes before its
/// children.
fn sort_parents_first(existing: &mut [Existing], began: u64) {
    let tick_of = |process: &Existing| time_of(process, began) / START_TICK_NS;
    let by_id: HashMap<u32, (u64, u32)> = existing
        .iter()
        .map(|process| {
            let place = (tick_of(process), process.parent_process_id);
            (process.process_id, place)
        })
        .collect();
    existing.sort_by_cached_key(|process| {
        let tick = tick_of(process);
        let parent = by_id.get(&process.parent_process_id);
        // No chain of parents is longer than all processes, even if the snapshot, which is not of
        // one moment, has made it a circle.
        let depth = std::iter::successors(parent, |(_, parent)| by_id.get(parent))
            .take(by_id.len())
            .take_while(|(parent_tick, _)| *parent_tick == tick)
            .count();
        (tick, depth, process.process_id)
    });
}

fn write_processes(existing: &[Existing], began: u64, batch: &mut Batch) {
    let start_times: HashMap<u32, u64> = existing
        .iter()
        .map(|process| (process.process_id, process.start_time))
        .collect();
    for process in existing {
        let start = process::Start {
            parent_process_id: process.parent_process_id,
            session_id: process.session_id,
            user_id: process.user_id,
            parent_start_time: parent_start_time(process, &start_times),
            image: &process.image,
            command_line: &process.command_line,
            ..process::Start::default()
        };
        let header = Header {
            flags: process.flags.with(Flags::EXISTING),
            time: time_of(process, began),
            process_id: process.process_id,
            thread_id: process.process_id,
            start_time: process.start_time,
            ..Header::default()
        };
        let extension = match (process.asked, process.setting) {
            (Some(users), setting) if let Some(context) = &process.context => {
                Extension::Context(users, setting.unwrap_or_default(), context.context())
            }
            (Some(users), Some(setting)) => Extension::Origin(users, setting),
            (Some(users), None) => Extension::Users(users),
            (None, _) if process.user_sid.is_empty() => Extension::None,
            (None, _) => Extension::Token(process::Token {
                user_sid: &process.user_sid,
                ..process::Token::default()
            }),
        };
        let written = batch.write_extended(header, &Event::ProcessStart(start), &extension);
        debug_assert!(written, "a path and a command line of limited size");
    }
}

/// When no process started: the parent's start where its id is another's now, so that this one's
/// key is not told as the parent's. Windows does not give children another parent when theirs ends.
const NOBODY_STARTED: u64 = START_TICK_NS;

fn parent_start_time(process: &Existing, start_times: &HashMap<u32, u64>) -> u64 {
    match start_times.get(&process.parent_process_id) {
        Some(&parent) if parent > process.start_time && process.start_time != 0 => NOBODY_STARTED,
        Some(&parent) => parent,
        None => 0,
    }
}

/// When an existing process is said to have started: never after the stream began.
fn time_of(process: &Existing, began: u64) -> u64 {
    match process.start_time {
        0 => began,
        time => time.min(began),
    }
}

fn write_images(existing: &[Existing], began: u64, batch: &mut Batch) {
    for process in existing {
        for image in &process.images {
            let header = Header {
                flags: image.flags.with(Flags::EXISTING),
                time: began,
                process_id: process.process_id,
                start_time: process.start_time,
                ..Header::default()
            };
            let load = image::Load {
                image_base: image.base,
                image_size: image.size,
                image: &image.path,
            };
            let written = batch.write(header, &Event::ImageLoad(load));
            debug_assert!(written, "a path of limited size");
        }
    }
}

// The tests count in the ticks of Linux, which are longer than anything here takes.
#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests;

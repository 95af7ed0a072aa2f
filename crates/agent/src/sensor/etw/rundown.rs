//! The rundown: what the kernel tells, when a session starts, of the processes and images that are there.
//! It is told into the stream, among what happens meanwhile.

use std::collections::{HashMap, HashSet};

use etw::header::Event as Delivered;
use etw::kernel::{Act, IDLE, Image, Process, Told};
use event::Flags;

use super::stream::{decode, image_flags, name_of, program};
use crate::sensor::existing::{ArgumentRoom, Existing, ExistingImage};
use crate::sensor::windows::process_list::Listed;
use crate::sys::trace::Tracing;

/// Bytes of images that a snapshot keeps: it is in memory as a whole. What else was there is not told.
const IMAGES_SIZE_MAX: usize = 128 << 20;

/// What was there, as far as it was told.
#[derive(Debug, Default)]
pub(super) struct Rundown {
    existing: Vec<Existing>,
    places: HashMap<u32, usize>,
    /// The names of the processes, by their places.
    names: Vec<Vec<u8>>,
    /// Processes that have started meanwhile, and images that were loaded meanwhile: what is told of them
    /// as being there is told already.
    started: HashSet<u32>,
    loaded: HashSet<(u32, u64)>,
    images_size: usize,
    /// Images that there was no room for.
    images_left: u64,
}

impl Rundown {
    /// Takes the next event of the stream, in the order of time.
    pub(super) fn take(&mut self, event: &Delivered<'_>, time: u64) {
        match decode(event) {
            Ok(Some(Told::Process(act, process))) => self.process(act, &process, time),
            Ok(Some(Told::Image(Act::Began, image))) => {
                self.loaded.insert((image.process_id, image.base));
            }
            Ok(Some(Told::Image(Act::ThereAtBegin, image))) => self.image(&image, time),
            // What cannot be decoded the stream counts.
            _ => {}
        }
    }

    fn process(&mut self, act: Act, process: &Process<'_>, time: u64) {
        let process_id = process.process_id;
        match act {
            Act::Began => {
                self.started.insert(process_id);
            }
            Act::ThereAtBegin if !self.started.contains(&process_id) => {
                self.describe(process, time);
            }
            // One that had its turn neither here nor as a start was there, and is gone already.
            Act::Ended => {
                let has_started = self.started.remove(&process_id);
                if !has_started && !self.is_described(process_id) {
                    self.describe(process, time);
                }
            }
            _ => {}
        }
    }

    fn is_described(&self, process_id: u32) -> bool {
        let place = self.places.get(&process_id).copied();
        let name = place.and_then(|place| self.names.get(place));
        name.is_some_and(|name| !name.is_empty())
    }

    /// Says who a process is.
    fn describe(&mut self, process: &Process<'_>, time: u64) {
        let name = name_of(process);
        let (flags, (image, command_line)) = program(process, None, &name);
        let described = Existing {
            process_id: process.process_id,
            parent_process_id: process.parent_process_id.unwrap_or(0),
            session_id: process.session().unwrap_or(0),
            user_sid: process
                .user
                .map_or_else(Vec::new, |user| user.bytes().to_vec()),
            flags: if process.user.is_some() {
                flags
            } else {
                flags.with(Flags::USER_UNAVAILABLE)
            },
            image: image.to_vec(),
            command_line: command_line.to_vec(),
            read_from: time,
            read_until: time,
            ..Existing::default()
        };
        let place = self.place(process.process_id, time);
        if let Some(existing) = self.existing.get_mut(place) {
            let images = std::mem::take(&mut existing.images);
            *existing = Existing {
                images,
                ..described
            };
        }
        if let Some(known) = self.names.get_mut(place) {
            *known = process.name.to_vec();
        }
    }

    fn image(&mut self, image: &Image<'_>, time: u64) {
        let process_id = image.process_id;
        let is_told =
            self.started.contains(&process_id) || self.loaded.contains(&(process_id, image.base));
        if is_told {
            return;
        }
        self.images_size += image.path.len() + size_of::<ExistingImage>();
        if self.images_size > IMAGES_SIZE_MAX {
            self.images_left += 1;
            return;
        }
        let place = self.place(process_id, time);
        if let Some(existing) = self.existing.get_mut(place) {
            existing.read_until = existing.read_until.max(time);
            existing.images.push(ExistingImage {
                flags: image_flags(image),
                base: image.base,
                size: image.size,
                path: image.path.to_vec(),
            });
        }
    }

    /// The place of a process, of which nothing may be known but its id.
    fn place(&mut self, process_id: u32, time: u64) -> usize {
        let existing = &mut self.existing;
        let names = &mut self.names;
        *self.places.entry(process_id).or_insert_with(|| {
            let unknown = Flags::UTF_16
                .with(Flags::IMAGE_UNAVAILABLE)
                .with(Flags::COMMAND_LINE_UNAVAILABLE);
            let flags = if process_id == IDLE {
                unknown
                    .with(Flags::KERNEL_PROCESS)
                    .with(Flags::USER_UNAVAILABLE)
            } else {
                unknown.with(Flags::ORIGIN_UNAVAILABLE)
            };
            existing.push(Existing {
                process_id,
                flags,
                read_from: time,
                read_until: time,
                ..Existing::default()
            });
            names.push(Vec::new());
            existing.len() - 1
        })
    }

    /// The processes that were there, with what the list of processes adds. A session began at `began`:
    /// who was created later has the id of one that was there.
    pub(super) fn finish(
        mut self,
        listed: &[Listed],
        began: u64,
        tracing: &mut impl Tracing,
    ) -> Vec<Existing> {
        if self.images_left > 0 {
            tracing::warn!(
                images = self.images_left,
                "there are more images than a snapshot has room for; these are not told"
            );
        }
        for process in listed {
            if start_time(process) > began {
                continue;
            }
            let place = self.places.get(&process.process_id).copied();
            let Some(existing) = place.and_then(|place| self.existing.get_mut(place)) else {
                continue;
            };
            existing.start_time = start_time(process);
            existing.session_id = process.session_id;
            existing.first_thread = process.first_thread;
        }
        let mut room = ArgumentRoom::default();
        for (existing, name) in self.existing.iter_mut().zip(&self.names) {
            room.cut(existing);
            if !existing.flags.contains(Flags::KERNEL_PROCESS)
                && let Some(path) = path_of(existing, name, tracing)
            {
                existing.image = path;
                existing.flags = existing.flags.without(Flags::IMAGE_UNAVAILABLE);
            }
        }
        self.existing
    }
}

/// When a process was created, on the sensor's clock; 0 where the list does not tell.
pub(super) fn start_time(process: &Listed) -> u64 {
    let file_time = i64::try_from(process.create_time).unwrap_or(i64::MAX);
    u64::try_from(etw::clock::unix_ns(file_time)).unwrap_or(0)
}

/// What a process runs: its image of that name, or as it says itself.
fn path_of(existing: &Existing, name: &[u8], tracing: &mut impl Tracing) -> Option<Vec<u8>> {
    let mut images = existing.images.iter();
    let named = images.find(|image| {
        let image = Image {
            path: &image.path,
            ..Image::default()
        };
        image.has_name(name, false)
    });
    match named {
        Some(image) => Some(image.path.clone()),
        None if existing.start_time == 0 => None,
        None => tracing.image(existing.process_id, existing.start_time),
    }
}

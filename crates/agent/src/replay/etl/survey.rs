//! What has to be known of a trace before its first event is told, and stands anywhere in it: what the
//! machine is called and where its volumes are, and of each process its path, which comes with its first
//! image or in a rundown at the end.

use std::collections::HashMap;
use std::io::{Read, Seek};

use etw::file::{Error, Trace};
use etw::kernel::{self, Act, Image, Input, Process, Teller, Told};

use super::paths::Paths;
use super::processes::{self, Processes};
use crate::trail::Text;

/// Processes of a trace of which something is kept; of later ones only what their own events tell is
/// known.
const FACTS_MAX: usize = 256 * 1024;
/// Bytes of paths that are kept.
const PATHS_SIZE_MAX: usize = 8 << 20;

/// What is learned of a process.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Its path, by its place among all; see [`Survey::path`].
    path: Option<u32>,
    rank: Rank,
    /// When it was created, as a `FILETIME`.
    pub(super) created: Option<i64>,
    /// Whether the kernel logger tells of its start or of it at a rundown, and so the provider need not.
    pub(super) is_of_logger: bool,
    pub(super) integrity_level: Option<u32>,
    pub(super) elevated: Option<bool>,
}

/// How good a path is, the best last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    #[default]
    None,
    /// That of the first image that was loaded since its start.
    First,
    /// That of an image with the process's name.
    Named,
    /// As it was told.
    Told,
}

/// What is learned of a trace.
#[derive(Debug, Default)]
pub(super) struct Survey {
    facts: Vec<Facts>,
    paths: Vec<Text>,
    path_places: HashMap<Box<[u8]>, u32, foldhash::fast::RandomState>,
    paths_size: usize,
    pub(super) places: Paths,
    pub(super) host: Option<String>,
    /// Whether both tellers tell of threads or images, so that each may be told twice.
    pub(super) has_doubles: bool,
    /// Whether there was more than is kept.
    pub(super) is_cut: bool,
    tellers: [bool; 2],
}

impl Survey {
    /// Reads a trace once. What breaks off here breaks off when it is read for its events.
    pub(super) fn of<R: Read + Seek>(trace: &mut Trace<R>) -> Result<Self, Error> {
        let mut survey = Self::default();
        let mut processes = Processes::default();
        let about = trace.about().clone();
        while let Some(event) = trace.next_event()? {
            let Some(stamp) = event.stamp else {
                continue;
            };
            let input = Input::of_file(&event, about.pointer_size);
            let Ok(Some(told)) = kernel::decode(&input) else {
                continue;
            };
            let time = about.times.unix_ns(stamp);
            let teller = kernel::teller(event.source).unwrap_or(Teller::Logger);
            survey.take(&told, teller, time, &mut processes);
        }
        trace.rewind();
        let taken = std::mem::take(&mut survey.path_places);
        let mut paths: Vec<_> = taken.into_iter().collect();
        paths.sort_unstable_by_key(|(_, place)| *place);
        let texts = paths.iter().map(|(path, _)| survey.text(path));
        survey.paths = texts.collect();
        Ok(survey)
    }

    /// The text of a path, as people write it.
    pub(super) fn text(&self, path: &[u8]) -> Text {
        Text::from_utf_16(path).shown_as(|path| self.places.dos_path(path))
    }

    /// What is known of the process with this number.
    pub(super) fn facts(&self, number: usize) -> Facts {
        self.facts.get(number).copied().unwrap_or_default()
    }

    /// The path of the process with this number.
    pub(super) fn path(&self, number: usize) -> Option<&Text> {
        let place = usize::try_from(self.facts(number).path?).ok()?;
        self.paths.get(place)
    }

    fn take(&mut self, told: &Told<'_>, teller: Teller, time: i64, processes: &mut Processes) {
        match told {
            Told::Process(act, process) => self.process(*act, process, teller, time, processes),
            Told::Image(act, image) => {
                self.see_teller(teller);
                self.image(*act, image, time, processes);
            }
            Told::Thread(act, thread) => {
                if matches!(act, Act::Began | Act::Ended) {
                    self.see_teller(teller);
                    processes.at(thread.process_id, time);
                }
            }
            Told::Machine(name) => {
                let name = Text::from_utf_16(name);
                if self.host.is_none() && !name.shown().is_empty() {
                    self.host = Some(name.shown().to_owned());
                }
            }
            Told::Volume(volume) => {
                let [kernel, dos] = [volume.kernel, volume.dos].map(Text::from_utf_16);
                self.places.add_place(kernel.shown(), dos.shown());
            }
            Told::SystemRoot(directory) => {
                let directory = Text::from_utf_16(directory);
                self.places.set_system_root(directory.shown());
            }
        }
    }

    fn see_teller(&mut self, teller: Teller) {
        let [logger, provider] = &mut self.tellers;
        match teller {
            Teller::Logger => *logger = true,
            Teller::Provider => *provider = true,
        }
        self.has_doubles = *logger && *provider;
    }

    fn process(
        &mut self,
        act: Act,
        process: &Process<'_>,
        teller: Teller,
        time: i64,
        processes: &mut Processes,
    ) {
        let known = match act {
            Act::Began => processes.start(process, teller, time),
            Act::ThereAtBegin | Act::ThereAtEnd => processes.run_down(process, time),
            Act::Ended => processes.exit(process.process_id, teller, time).0,
            Act::Defunct => return,
        };
        let number = known.number;
        let path = process.path.and_then(|path| self.keep(path));
        let Some(facts) = self.facts_of(number) else {
            return;
        };
        facts.is_of_logger |= teller == Teller::Logger && act != Act::Ended;
        facts.created = facts.created.or(process.created);
        facts.integrity_level = facts.integrity_level.or(process.integrity_level);
        facts.elevated = facts.elevated.or(process.elevated);
        if path.is_some() {
            (facts.path, facts.rank) = (path, Rank::Told);
        }
    }

    fn image(&mut self, act: Act, image: &Image<'_>, time: i64, processes: &mut Processes) {
        let known = processes.at(image.process_id, time);
        let rank = match act {
            _ if is_named(image, &known.name) => Rank::Named,
            Act::Began if known.started.is_some() => Rank::First,
            _ => return,
        };
        let number = known.number;
        if self.facts(number).rank < rank
            && let Some(path) = self.keep(image.path)
            && let Some(facts) = self.facts_of(number)
        {
            (facts.path, facts.rank) = (Some(path), rank);
        }
    }

    fn facts_of(&mut self, number: usize) -> Option<&mut Facts> {
        if number >= FACTS_MAX {
            self.is_cut = true;
            return None;
        }
        if number >= self.facts.len() {
            self.facts.resize(number + 1, Facts::default());
        }
        self.facts.get_mut(number)
    }

    /// The place of a path among those that are kept.
    fn keep(&mut self, path: &[u8]) -> Option<u32> {
        if let Some(place) = self.path_places.get(path) {
            return Some(*place);
        }
        let size = path.len().saturating_mul(2);
        if self.paths_size + size > PATHS_SIZE_MAX {
            self.is_cut = true;
            return None;
        }
        self.paths_size += size;
        let place = u32::try_from(self.path_places.len()).ok()?;
        self.path_places.insert(path.into(), place);
        Some(place)
    }
}

/// Whether an image has the name of a process, of which so much is kept.
fn is_named(image: &Image<'_>, name: &[u8]) -> bool {
    image.has_name(name, name.len() >= processes::NAME_SIZE_MAX)
}

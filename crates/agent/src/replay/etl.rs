//! Traces of Windows (`.etl`), made by `xperf`, `wpr`, `logman` or at a boot: what the kernel told of
//! processes, threads and images becomes a trail (`docs/TRACES.md`).
//!
//! A trace is read twice: what is told last, such as the path of a process that ran all the time, is
//! known when its first event is told.

mod doubles;
mod paths;
mod processes;
mod remarks;
mod survey;
mod tell;

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read as _};
use std::path::Path;
use std::sync::Arc;

use etw::clock::unix_ns;
use etw::file::{self, Trace};
use etw::kernel::{self, Input};
use event::Kind;

use super::format::{Format, Opened, Remark};
use super::{Error, Progress};
use crate::account::Account;
use crate::trail::{self, Body, Event, Origin, Whence};
use remarks::Undecoded;
use survey::Survey;
use tell::Telling;

/// What the sensor of such a trail is called.
const SOURCE: &str = "etl";
/// The machine, where the trace does not tell its name.
const NO_HOST: &str = "unknown";
/// As much as is asked of the system at once, beyond what a buffer takes.
const READ_SIZE: usize = 64 * 1024;

/// A trace, as the events of a trail.
pub(super) struct Etl {
    trace: Trace<BufReader<File>>,
    telling: Telling,
    undecoded: Undecoded,
    /// Events that are ready to be returned.
    ready: VecDeque<Event>,
    stage: Stage,
    /// The greatest time that was told, nanoseconds since the epoch.
    last_time: i64,
    /// How far it has been read for its events, where somebody wants to know.
    progress: Option<Progress>,
    /// As far as that was told.
    reached: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Begin,
    Events,
    Done,
}

/// Opens a trace and reads it for the first time.
pub(super) fn open(opened: &Opened) -> Result<Box<dyn Format>, Error> {
    let path = opened.path.as_path();
    let file = open_file(path).map_err(|source| Error::Open {
        path: path.to_path_buf(),
        source,
    })?;
    let broke_off = |error| broke_off(error, 0);
    let input = BufReader::with_capacity(READ_SIZE, file);
    let mut trace = Trace::open(input).map_err(broke_off)?;
    let survey = Survey::of(&mut trace).map_err(broke_off)?;
    let about = trace.about();
    let host = survey.host.as_deref().unwrap_or(NO_HOST);
    let began = unix_ns(about.began).max(0);
    let origin = Arc::new(Origin::new(Whence {
        host: host.into(),
        host_id: None,
        run: u64::try_from(began).ok(),
    }));
    let telling = Telling::new(survey, origin, about.booted);
    Ok(Box::new(Etl {
        trace,
        telling,
        undecoded: Undecoded::default(),
        ready: VecDeque::new(),
        stage: Stage::Begin,
        last_time: began,
        progress: opened.progress.clone(),
        reached: 0,
    }))
}

/// The file, which can be sought in and begins as a trace does: standard input and what is compressed
/// cannot.
fn open_file(path: &Path) -> io::Result<File> {
    let refused = |why: &str| io::Error::new(io::ErrorKind::Unsupported, why);
    if path == Path::new("-") {
        return Err(refused(
            "a Windows trace has to be a file, because its buffers are not in order; save it and \
             name it",
        ));
    }
    let mut file = File::open(path)?;
    let mut beginning = Vec::new();
    let size = u64::try_from(file::PEEK_SIZE).unwrap_or(u64::MAX);
    (&mut file).take(size).read_to_end(&mut beginning)?;
    if !file::is_trace(&beginning) {
        return Err(refused(
            "a Windows trace cannot be read compressed, because its buffers are not in order; \
             decompress it first",
        ));
    }
    Ok(file)
}

fn broke_off(error: file::Error, position: u64) -> Error {
    let source = match error {
        file::Error::Read(error) => error,
        other @ (file::Error::NoTrace | file::Error::Header) => {
            io::Error::new(io::ErrorKind::InvalidData, other.to_string())
        }
    };
    let position = match position {
        0 => "as a Windows trace".to_owned(),
        bytes => format!("after {bytes} bytes of its buffers"),
    };
    Error::ReadPart { position, source }
}

impl Etl {
    fn begin(&mut self) {
        let start = trail::SensorStart {
            source: SOURCE.into(),
            version: crate::VERSION.into(),
            system: Some("windows".into()),
        };
        let event = self.telling.mark(self.last_time, Body::SensorStart(start));
        self.ready.push_back(event);
        self.stage = Stage::Events;
    }

    /// Takes the next event of the trace that is one of the trail.
    fn advance(&mut self) -> Result<Option<Event>, file::Error> {
        let (pointer_size, times) = {
            let about = self.trace.about();
            (about.pointer_size, about.times)
        };
        loop {
            let taken = self.trace.taken_size();
            if taken != self.reached {
                self.reached = taken;
                self.progress
                    .iter()
                    .for_each(|progress| progress.reach(taken));
            }
            let Some(event) = self.trace.next_event()? else {
                return Ok(None);
            };
            let Some(stamp) = event.stamp else {
                continue;
            };
            let told = match kernel::decode(&Input::of_file(&event, pointer_size)) {
                Ok(Some(told)) => told,
                Ok(None) => continue,
                Err(undecoded) => {
                    self.undecoded.add(undecoded);
                    continue;
                }
            };
            let time = times.unix_ns(stamp);
            self.last_time = self.last_time.max(time);
            let teller = kernel::teller(event.source).unwrap_or(kernel::Teller::Logger);
            let whence = tell::Whence::of(&event, teller, time);
            if let Some(event) = self.telling.tell(&told, whence) {
                return Ok(Some(event));
            }
        }
    }

    /// Tells what was lost, and that it ends.
    fn end(&mut self) {
        self.stage = Stage::Done;
        let about = self.trace.about();
        let ended = unix_ns(about.ended);
        let time = ended.max(self.last_time);
        let began = unix_ns(about.began).max(0);
        let losses = [
            (about.events_lost, "buffer_full"),
            // Nobody counted what was in them: it is this many at the least.
            (about.buffers_lost, "buffers_lost"),
        ];
        for (count, reason) in losses.into_iter().filter(|(count, _)| *count > 0) {
            let lost = trail::Lost {
                lost_kind: Kind::ANY,
                lost_count: count.into(),
                lost_reason: reason.into(),
                range: trail::LostRange::default(),
            };
            let event = self.telling.mark(time, Body::Lost(lost));
            self.ready.push_back(event);
        }
        let kinds = self.telling.counts().clone();
        let account = Account {
            source: SOURCE.to_owned(),
            duration_ns: u64::try_from(time.saturating_sub(began)).unwrap_or(0),
            balanced: kinds.is_balanced(),
            kinds,
            ..Account::default()
        };
        let stop = trail::SensorStop {
            source: SOURCE.into(),
            version: crate::VERSION.into(),
            account,
        };
        let event = self.telling.mark(time, Body::from(stop));
        self.ready.push_back(event);
    }
}

impl Iterator for Etl {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            match self.stage {
                Stage::Begin => self.begin(),
                Stage::Events => match self.advance() {
                    Ok(Some(event)) => return Some(Ok(event)),
                    Ok(None) => self.end(),
                    Err(error) => {
                        self.stage = Stage::Done;
                        return Some(Err(broke_off(error, self.trace.taken_size())));
                    }
                },
                Stage::Done => return None,
            }
        }
    }
}

impl Format for Etl {
    fn invalid_count(&self) -> u64 {
        0
    }

    fn part_names(&self) -> (&'static str, &'static str) {
        ("event", "events")
    }

    fn remarks(&mut self) -> Vec<Remark> {
        remarks::of(
            self.trace.about(),
            self.trace.damage(),
            &self.undecoded,
            &self.telling,
        )
    }
}

//! How the machine was at a moment, as the store or a log tells it, and the story of a process then.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use event::{Kind, ProcessKey};

use super::feed::{At, Source};
use super::model::{JUST_NS, Loss, Model, Recording};
use super::rates::{Rates, SECONDS_MAX};
use crate::moment;
use crate::replay;
use crate::store::{self, Guard, Limits, ReadError, Tail, Window};
use crate::story::{self, Collector, Story};
use crate::trail::{Event, Time};
use crate::tree::live::Alive;
use crate::tree::{End, Losses, Span, Style, Who, stored};

/// A look at the store is given up after this long.
const LOOK_TIME_MAX: Duration = Duration::from_mins(1);

/// Rates are counted for as long at most: the rest of the picture does not wait for them.
const COUNT_TIME_MAX: Duration = Duration::from_secs(2);

/// Recordings and losses that are looked at, at most.
const MARKS_MAX: u32 = 10_000;

/// Why it cannot be told.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Store(#[from] stored::Error),
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error("the store cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    #[error(transparent)]
    Log(#[from] replay::Error),
    #[error(transparent)]
    TooMany(#[from] crate::tree::TooMany),
    #[error(transparent)]
    NotOne(#[from] crate::tree::NotOne),
}

/// What a look brings.
pub(super) struct Looked {
    pub(super) model: Model,
    /// Tells what happens from then on, where that is wanted.
    pub(super) tail: Option<Tail>,
}

/// Looks at a trail.
#[derive(Debug)]
pub(super) struct Look {
    source: Source,
}

impl Look {
    pub(super) const fn new(source: Source) -> Self {
        Self { source }
    }

    pub(super) const fn is_of_store(&self) -> bool {
        matches!(self.source, Source::Store(_))
    }

    /// Whether a recorder writes the store now.
    pub(super) fn is_written(&self) -> bool {
        let Source::Store(directory) = &self.source else {
            return false;
        };
        store::is_written(directory)
    }

    /// How it is or was.
    pub(super) fn at(&self, at: At) -> Result<Looked, Error> {
        match &self.source {
            Source::Store(directory) => self.at_store(directory, at),
            Source::Log(path) => Ok(Looked {
                model: of_log(path, at)?,
                tail: None,
            }),
        }
    }

    fn at_store(&self, directory: &Path, at: At) -> Result<Looked, Error> {
        let guard = guard(LOOK_TIME_MAX);
        let mut model = Model::default();
        // Asked for first: what comes meanwhile is told twice, and not never.
        let tail = match at {
            At::Live => Some(Tail::from_end(directory)?),
            At::Time(_) => None,
        };
        let moment = match at {
            At::Time(time) => Some(time),
            At::Live => store::overview(directory, &guard)?.newest,
        };
        let Some(moment) = moment else {
            // Nothing was recorded yet.
            return Ok(Looked { model, tail });
        };
        let until = match at {
            At::Live => None,
            At::Time(Time(time)) => Some(Time(time.saturating_add(1))),
        };
        let window = Window {
            since: Some(Time(moment.0.saturating_sub(JUST_NS))),
            until,
        };
        let reader = stored::open(directory, &window, &guard)?;
        let begun = stored::recordings(&reader)?;
        let mut tree = stored::read_told_alone(&reader, &window, &begun)?;
        let run = begun.iter().copied().filter(|run| *run <= moment).max();
        let of_run = Window {
            since: run.map(|run| run.min(moment)).or(window.since),
            until,
        };
        model.recording = read_recording(directory, &of_run, run, &guard)?;
        read_losses(&mut model, directory, &of_run, run, &guard)?;
        let end = reader.end().unwrap_or(moment);
        if at == At::Live && !self.is_written() {
            model.recording.ended = model.recording.ended.or(Some(end));
            let alive = Alive::look(end);
            tree.processes_mut()
                .iter_mut()
                .for_each(|one| alive.settle(one));
        } else if let Some(ended) = model.recording.ended {
            let running = tree.processes_mut().iter_mut();
            for process in running.filter(|one| one.end == End::Running) {
                process.known_until = Some(ended);
            }
        }
        model.begin(tree.processes());
        model.end = Some(moment.min(end));
        if let Err(error) = count(&mut model.rates, directory, moment) {
            tracing::debug!(%error, "no rates");
        }
        Ok(Looked { model, tail })
    }

    /// The story of a process, as `show` tells it, in lines.
    pub(super) fn story(&self, key: ProcessKey, at: At, width: u16) -> Result<Vec<String>, Error> {
        let (until, now, moment) = match at {
            At::Live => (None, moment::now(), None),
            At::Time(time) => (Some(Time(time.0.saturating_add(1))), time, Some(time)),
        };
        let window = Window { since: None, until };
        let (mut story, losses, end) = match &self.source {
            Source::Store(directory) => {
                let reader = stored::open(directory, &window, &guard(LOOK_TIME_MAX))?;
                let story = story::stored::read(&reader, &window, Who::Key(key), moment)?;
                let losses = Losses::of_store(&reader, &window)?;
                (story, losses, reader.end())
            }
            Source::Log(path) => story_of_log(path, &window, key, moment)?,
        };
        if at == At::Live && !self.is_written() {
            let alive = Alive::look(end.unwrap_or_default());
            story.processes_mut().for_each(|one| alive.settle(one));
        }
        let style = Style {
            colour: false,
            width: Some(width),
            now,
        };
        let told = story::tell(&story, style, false);
        let told = String::from_utf8_lossy(&told);
        let mut lines: Vec<String> = told.lines().map(str::to_owned).collect();
        let process = &story.process;
        if let Some(lost) = losses.told(process.begin(), process.end_or(Time(i64::MAX))) {
            lines.insert(0, lost);
        }
        Ok(lines)
    }
}

fn guard(timeout: Duration) -> Guard {
    Guard::new(Limits {
        timeout: Some(timeout),
        ..Limits::default()
    })
}

/// Of the run that began then: where, by what, since when and until when.
fn read_recording(
    directory: &Path,
    window: &Window,
    run: Option<Time>,
    guard: &Guard,
) -> Result<Recording, Error> {
    let reader = stored::open(directory, window, guard)?;
    let mut recording = Recording {
        since: run,
        ..Recording::default()
    };
    let (since, until) = bounds(window);
    for kind in ["sensor_start", "sensor_stop"] {
        let sql = "SELECT time, host, source FROM events WHERE kind = ?1 AND time >= ?2 \
                   AND time < ?3 ORDER BY time LIMIT ?4";
        let mut statement = reader.connection().prepare(sql)?;
        let mut rows = statement.query((kind, since, until, MARKS_MAX))?;
        while let Some(row) = rows.next()? {
            let host: Option<String> = row.get(1)?;
            recording.host = Arc::from(host.unwrap_or_default());
            recording.source = row.get(2)?;
            recording.ended = (kind == "sensor_stop").then_some(Time(row.get(0)?));
        }
    }
    Ok(recording)
}

fn read_losses(
    model: &mut Model,
    directory: &Path,
    window: &Window,
    run: Option<Time>,
    guard: &Guard,
) -> Result<(), Error> {
    let reader = stored::open(directory, window, guard)?;
    let sql = "SELECT time, lost_kind, lost_count, lost_reason FROM losses \
               WHERE time >= ?1 AND time < ?2 ORDER BY time LIMIT ?3";
    let (_, until) = bounds(window);
    let since = run.map_or(i64::MIN, |run| run.0);
    let mut statement = reader.connection().prepare(sql)?;
    let mut rows = statement.query((since, until, MARKS_MAX))?;
    while let Some(row) = rows.next()? {
        let text = |column| -> rusqlite::Result<String> {
            Ok(row.get::<_, Option<String>>(column)?.unwrap_or_default())
        };
        let count: i64 = row.get(2)?;
        model.lose(Loss {
            time: Time(row.get(0)?),
            kind: text(1)?,
            count: count.unsigned_abs(),
            reason: text(3)?,
        });
    }
    Ok(())
}

fn bounds(window: &Window) -> (i64, i64) {
    let bound = |time: Option<Time>, open: i64| time.map_or(open, |time| time.0);
    (bound(window.since, i64::MIN), bound(window.until, i64::MAX))
}

/// Counts what happened before a moment, by second. Where that takes too long there are no rates.
fn count(rates: &mut Rates, directory: &Path, moment: Time) -> Result<(), Error> {
    let seconds = i64::try_from(SECONDS_MAX).unwrap_or(0);
    let window = Window {
        since: Some(Time(moment.0.saturating_sub(seconds * 1_000_000_000))),
        until: Some(Time(moment.0.saturating_add(1))),
    };
    let reader = stored::open(directory, &window, &guard(COUNT_TIME_MAX))?;
    let sql = "SELECT kind, time / 1000000000, count(*) FROM events \
               WHERE time >= ?1 AND time < ?2 GROUP BY 1, 2 ORDER BY 2";
    let mut statement = reader.connection().prepare(sql)?;
    let mut rows = statement.query(bounds(&window))?;
    while let Some(row) = rows.next()? {
        let kind: String = row.get(0)?;
        let kind = Kind::ALL.iter().find(|one| one.name() == Some(&*kind));
        let second: i64 = row.get(1)?;
        let time = Time(second.saturating_mul(1_000_000_000));
        if let Some(kind) = kind {
            let count: i64 = row.get(2)?;
            rates.add(*kind, time, count.unsigned_abs());
        }
    }
    Ok(())
}

/// The events of a log before the end of a window, and when the log ends.
fn read_log(
    path: &Path,
    until: Option<Time>,
    mut event_fn: impl FnMut(Event) -> Result<(), Error>,
) -> Result<Option<Time>, Error> {
    let mut end = None;
    for event in replay::open(path)? {
        match event {
            Ok(event) if until.is_none_or(|until| event.time < until) => {
                end = end.max(Some(event.time));
                event_fn(event)?;
            }
            Ok(_later) => {}
            Err(error) if error.is_passed_over() || error.is_damage() => {}
            Err(replay::Error::NewerKind { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(end)
}

/// How it was at a moment of a log.
fn of_log(path: &Path, at: At) -> Result<Model, Error> {
    /// Events between two looks for processes that can be forgotten.
    const TIDY_COUNT: u64 = 1_024;
    let until = match at {
        At::Live => None,
        At::Time(time) => Some(Time(time.0.saturating_add(1))),
    };
    let mut model = Model::default();
    let mut count: u64 = 0;
    let end = read_log(path, until, |event| {
        let now = event.time;
        model.add(event);
        count += 1;
        if count.is_multiple_of(TIDY_COUNT) {
            model.tidy(now);
        }
        Ok(())
    })?;
    model.end = end;
    // A log is not followed: it ends where it ends.
    if at == At::Live {
        model.recording.ended = model.recording.ended.or(end);
    }
    if let Some(ended) = model.recording.ended {
        let running = model.tree.processes_mut().iter_mut();
        for process in running.filter(|one| one.end == End::Running) {
            process.known_until = Some(ended);
        }
    }
    Ok(model)
}

fn story_of_log(
    path: &Path,
    window: &Window,
    key: ProcessKey,
    at: Option<Time>,
) -> Result<(Story, Losses, Option<Time>), Error> {
    let mut collector = Collector::new(Who::Key(key));
    let mut losses = Losses::default();
    let end = read_log(path, window.until, |event| {
        losses.add(&event);
        Ok(collector.add(&event)?)
    })?;
    let story = collector.story(Span::new(at, window))?;
    Ok((story, losses, end))
}

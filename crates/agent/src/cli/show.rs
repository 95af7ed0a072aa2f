//! `systrail show`: one process's whole story.

use std::path::Path;

use clap::Args;
use systrail::moment;
use systrail::store::{ReadError, Window};
use systrail::story::{self, Collector, Story};
use systrail::trail::Time;
use systrail::tree::live::Alive;
use systrail::tree::{Losses, NotOne, Process, Span, Style, Who, stored};

use super::console::say;
use super::local::Local;
use super::log::Log;
use super::timeout::Timeout;
use super::trail::{TrailArguments, store_directory, time};
use super::{Exit, Failure, console, passed_over};

/// Tells one process's story: who started it and for whom, every program it ran, what it started
/// and loaded, its threads, how it ended and how long it ran. An id that several processes have had
/// needs the key of one of them, which are listed, or --at.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail show 1161                               from the store, else as it runs now
  systrail show 64d8d5bc4412da6f                   by its key, which is never used again
  systrail show 1161 --at 02:10                    the one that had this id then
  systrail show 1161 --log trail.jsonl --format json | jq .children")]
pub(super) struct Arguments {
    /// A process id, or a key of 16 hex digits
    #[arg(value_name = "PID|KEY")]
    who: Who,
    #[command(flatten)]
    pub(super) local: Local,
    #[command(flatten)]
    trail: TrailArguments,
    #[command(flatten)]
    timeout: Timeout,
    /// The process that was running at this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    at: Option<Time>,
    /// Print every line of long lists
    #[arg(long)]
    all: bool,
    /// How to print it
    #[arg(long, value_name = "FORMAT", value_parser = ["table", "json"], default_value = "table")]
    format: String,
}

/// Does `systrail show`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    arguments.trail.check()?;
    let (story, now, passed_over_count) = read(arguments)?;
    let text = if arguments.format == "json" {
        let mut text = Vec::new();
        story::write_json(&story, now, &mut text)?;
        text
    } else {
        let style = Style {
            colour: console::colour_on_standard_output(),
            width: console::width_of_standard_output(),
            now,
        };
        story::tell(&story, style, arguments.all)
    };
    console::result(&String::from_utf8_lossy(&text))?;
    arguments.trail.strict.exit(passed_over_count)
}

/// The story, the moment up to which it is told, and how much was passed over.
fn read(arguments: &Arguments) -> Result<(Story, Time, u64), Failure> {
    if let Some(path) = &arguments.trail.log {
        return read_log(arguments, path);
    }
    let guard = arguments.timeout.guard();
    let _deadline = arguments.timeout.start_deadline(&guard);
    let asks_for_store = arguments.asks_for_store();
    let (directory, window) = if asks_for_store {
        arguments.trail.store(&guard)?
    } else {
        (store_directory(None)?, Window::default())
    };
    let (mut end, mut passed_over_count) = (None, 0);
    let told = stored::open(&directory, &window, &guard).and_then(|reader| {
        passed_over_count = passed_over::tell_of(&reader, &directory, &window);
        end = reader.end();
        let story = story::stored::read(&reader, &window, arguments.who, arguments.at)?;
        let losses = Losses::of_store(&reader, &window)?;
        passed_over_count += passed_over::tell(&reader.take_failed());
        Ok((story, losses))
    });
    match told {
        Ok((mut story, losses)) => {
            tell(&losses, &story.process);
            let now = arguments.settle(&mut story, end.unwrap_or_default());
            Ok((story, now, passed_over_count))
        }
        // Where there is no store, or it has never heard of the process, the machine may know it.
        Err(
            stored::Error::Store(ReadError::NotThere { .. })
            | stored::Error::NotOne(NotOne::Nobody(_)),
        ) if !asks_for_store => {
            let story = story::live::story(arguments.who)?;
            if !cfg!(target_os = "linux") {
                say!("threads and images are told of what was recorded; see `systrail run`");
            }
            Ok((story, moment::now(), passed_over_count))
        }
        Err(error) => Err(error.into()),
    }
}

/// The same of a log.
fn read_log(arguments: &Arguments, path: &Path) -> Result<(Story, Time, u64), Failure> {
    let TrailArguments { since, until, .. } = arguments.trail;
    let window = Window { since, until };
    let mut collector = Collector::new(arguments.who);
    let mut log = Log::open(path, true)?;
    let (mut losses, mut end) = (Losses::default(), Time(i64::MIN));
    for event in log.by_ref() {
        end = end.max(event.time);
        if until.is_none_or(|until| event.time < until) {
            losses.add(&event);
            collector.add(&event)?;
        }
    }
    let passed_over_count = log.end()?;
    let mut story = collector.story(Span::new(arguments.at, &window))?;
    tell(&losses, &story.process);
    let now = arguments.settle(&mut story, end);
    Ok((story, now, passed_over_count))
}

/// Says what was lost in the life of a process.
fn tell(losses: &Losses, process: &Process) {
    /// A loss is told where a later record found room.
    const SLACK_NS: i64 = 10_000_000_000;
    let first = process.start_time.unwrap_or(Time(i64::MIN));
    let Time(last) = process.end_or(Time(i64::MAX));
    let last = Time(last.saturating_add(SLACK_NS));
    if let Some(told) = losses.told(first, last) {
        say!("{told}");
    }
}

impl Arguments {
    const fn asks_for_store(&self) -> bool {
        self.at.is_some() || self.trail.asks_for_trail()
    }

    /// The moment up to which a story is told of a trail that ended then. What was running at the end
    /// either runs now or is not known any more, unless an earlier moment is asked for.
    fn settle(&self, story: &mut Story, end: Time) -> Time {
        if let Some(until) = self.trail.until {
            return until.min(end);
        }
        let alive = Alive::look(end);
        for process in story.processes_mut() {
            alive.settle(process);
        }
        moment::now()
    }
}

//! `systrail show`: one process's whole story.

use clap::Args;
use systrail::moment;
use systrail::store::{ReadError, Window};
use systrail::story::{self, Collector, Story};
use systrail::trail::Time;
use systrail::tree::{NotOne, Style, Who, stored};

use super::console::say;
use super::log::Log;
use super::timeout::Timeout;
use super::trail::{TrailArguments, store_directory, time};
use super::{Exit, Failure, console};

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
    trail: TrailArguments,
    #[command(flatten)]
    timeout: Timeout,
    /// The process that was running at this time
    #[arg(long, value_name = "TIME", value_parser = time)]
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
    let (story, now) = read(arguments)?;
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
    Ok(Exit::Done)
}

/// The story, and the moment up to which it is told.
fn read(arguments: &Arguments) -> Result<(Story, Time), Failure> {
    let trail = &arguments.trail;
    if let Some(path) = &trail.log {
        let mut collector = Collector::new(arguments.who);
        let mut log = Log::open(path, true)?;
        let mut end = Time(i64::MIN);
        let until = trail.until.unwrap_or(Time(i64::MAX));
        for event in log.by_ref().filter(|event| event.time < until) {
            end = end.max(event.time);
            collector.add(&event)?;
        }
        log.end(trail.strict)?;
        return Ok((collector.story(arguments.at)?, trail.until.unwrap_or(end)));
    }
    let now = trail.until.unwrap_or_else(moment::now);
    let guard = arguments.timeout.guard();
    let _deadline = arguments.timeout.start_deadline(&guard);
    if !arguments.asks_for_store() {
        let directory = store_directory(None)?;
        let window = Window::default();
        // Where there is no store, or it has never heard of the process, the machine may know it.
        return match story::stored::read(&directory, &window, arguments.who, None, &guard) {
            Ok(story) => Ok((story, now)),
            Err(
                stored::Error::Store(ReadError::NotThere { .. })
                | stored::Error::NotOne(NotOne::Nobody(_)),
            ) => {
                let story = story::live::story(arguments.who)?;
                if !cfg!(target_os = "linux") {
                    say!("threads and images are told of what was recorded; see `systrail run`");
                }
                Ok((story, now))
            }
            Err(error) => Err(error.into()),
        };
    }
    let (directory, window) = trail.store(&guard)?;
    let story = story::stored::read(&directory, &window, arguments.who, arguments.at, &guard)?;
    Ok((story, now))
}

impl Arguments {
    const fn asks_for_store(&self) -> bool {
        self.at.is_some() || self.trail.asks_for_trail()
    }
}

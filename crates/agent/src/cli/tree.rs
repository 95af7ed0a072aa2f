//! `systrail tree`: who started whom.

use std::io::{self, BufWriter, IsTerminal as _, Write};
use std::path::Path;

use clap::Args;
use systrail::moment;
use systrail::shown;
use systrail::store::Window;
use systrail::trail::Time;
use systrail::tree::live::Alive;
use systrail::tree::{self, Forest, Losses, NotOne, Style, Tree, Who};

use super::console::say;
use super::log::Log;
use super::timeout::Timeout;
use super::trail::{TrailArguments, time};
use super::{Exit, Failure, console, passed_over};

/// Prints the processes that run now, or those of a log or of the store, each under its parent,
/// with when it started, how it ended and how long it ran. With a process id or key, that process
/// and what it started.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail tree                              what runs now
  systrail tree --log trail.jsonl            everything a log tells
  systrail tree --since 10m                  the last ten minutes, from the store
  systrail tree --at 02:10                   what ran at ten past two
  systrail tree 1161 --log trail.jsonl       a process and what it started
  systrail tree --last-run --format dot | dot -Tsvg > tree.svg")]
pub(super) struct Arguments {
    /// A process id, or a key of 16 hex digits
    #[arg(value_name = "PID|KEY")]
    who: Option<Who>,
    #[command(flatten)]
    trail: TrailArguments,
    #[command(flatten)]
    timeout: Timeout,
    /// What was running at this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["since", "until", "last_run"])]
    at: Option<Time>,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    #[arg(value_parser = ["table", "json", "jsonl", "csv", "dot"])]
    format: String,
}

/// Does `systrail tree`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    arguments.trail.check()?;
    let (tree, now, passed_over_count) = read(arguments)?;
    let since = arguments.at.or(arguments.trail.since);
    let until = arguments.at.or(arguments.trail.until);
    let (since, until) = (
        since.unwrap_or(Time(i64::MIN)),
        until.unwrap_or(Time(i64::MAX)),
    );
    let mut forest = Forest::new(tree.processes(), |one| one.was_there(since, until));
    if let Some(who) = arguments.who {
        forest = forest.under(who.among(tree.processes()));
        if forest.is_empty() {
            return Err(arguments.nobody(who).into());
        }
    }
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = print(&forest, &arguments.format, now, &mut out).and_then(|()| out.flush());
    console::printed(printed)?;
    arguments.trail.strict.exit(passed_over_count)
}

impl Arguments {
    /// Whether the trail is asked, and not the machine as it is now.
    const fn asks_for_trail(&self) -> bool {
        self.at.is_some() || self.trail.asks_for_trail()
    }

    /// Why there is no process of that name.
    const fn nobody(&self, who: Who) -> NotOne {
        if self.asks_for_trail() {
            NotOne::Nobody(who)
        } else {
            NotOne::NotRunning(who)
        }
    }
}

/// The tree, the moment of which it is, and how much was passed over.
fn read(arguments: &Arguments) -> Result<(Tree, Time, u64), Failure> {
    // The moment itself is in the time that is looked at.
    let at = arguments.at.map(|at| Window {
        since: Some(at),
        until: Some(Time(at.0.saturating_add(1))),
    });
    let now = arguments.at.or(arguments.trail.until);
    if let Some(path) = &arguments.trail.log {
        let until = at.map_or(arguments.trail.until, |at| at.until);
        let (tree, losses, end, passed_over_count) = read_log(path, until)?;
        tell(&losses, arguments.trail.since);
        // Nothing is known of what is after the end.
        let now = now.map_or(end, |now| now.min(end));
        return Ok((tree, now, passed_over_count));
    }
    if arguments.asks_for_trail() {
        let guard = arguments.timeout.guard();
        let _deadline = arguments.timeout.start_deadline(&guard);
        let (directory, window) = arguments.trail.store(&guard)?;
        // A tree of a moment is of all that was before.
        let since = window.since.filter(|_| at.is_none());
        let window = at.unwrap_or(window);
        let reader = tree::stored::open(&directory, &window, &guard)?;
        let mut passed_over_count = passed_over::tell_of(&reader, &directory, &window);
        let mut tree = tree::stored::read(&reader, &window)?;
        tell(&Losses::of_store(&reader, &window)?, since);
        passed_over_count += passed_over::tell(&reader.take_failed());
        let end = reader.end().unwrap_or_default();
        if let Some(now) = now {
            return Ok((tree, now.min(end), passed_over_count));
        }
        let alive = Alive::look(end);
        for process in tree.processes_mut() {
            alive.settle(process);
        }
        return Ok((tree, moment::now(), passed_over_count));
    }
    let mut tree = Tree::default();
    for event in tree::live::events()? {
        tree.add(&event)?;
    }
    Ok((tree, moment::now(), 0))
}

/// Says what the trail tells of as lost from a time on.
fn tell(losses: &Losses, since: Option<Time>) {
    let first = since.unwrap_or(Time(i64::MIN));
    if let Some(told) = losses.told(first, Time(i64::MAX)) {
        say!("{told}");
    }
}

/// The tree of a log, what was lost, when the log ends, and how much of it was passed over.
fn read_log(path: &Path, until: Option<Time>) -> Result<(Tree, Losses, Time, u64), Failure> {
    let mut tree = Tree::default();
    let mut log = Log::open(path, true)?;
    // What happened afterwards is not known then: who exits later is running.
    let is_meant = |time| until.is_none_or(|until| time < until);
    let (mut losses, mut end) = (Losses::default(), Time(i64::MIN));
    for event in log.by_ref() {
        end = end.max(event.time);
        if is_meant(event.time) {
            losses.add(&event);
            tree.add(&event)?;
        }
    }
    let passed_over_count = log.end()?;
    tree.finish();
    Ok((tree, losses, end, passed_over_count))
}

fn print(forest: &Forest<'_>, format: &str, now: Time, out: &mut impl Write) -> io::Result<()> {
    match format {
        "json" => tree::write_json(forest, now, out),
        "jsonl" => tree::write_json_lines(forest, now, out),
        "csv" if io::stdout().is_terminal() => {
            let mut text = Vec::new();
            tree::write_csv(forest, now, &mut text)?;
            out.write_all(shown::safe(&String::from_utf8_lossy(&text)).as_bytes())
        }
        "csv" => tree::write_csv(forest, now, out),
        "dot" => tree::write_dot(forest, out),
        _ => {
            let style = Style {
                colour: console::colour_on_standard_output(),
                width: console::width_of_standard_output(),
                now,
            };
            out.write_all(&tree::heading(style))?;
            tree::draw(forest, style, |line| out.write_all(line))
        }
    }
}

//! `systrail tree`: who started whom.

use std::io::{self, IsTerminal as _, Write};
use std::path::Path;
use std::time::Duration;

use clap::Args;
use systrail::moment;
use systrail::quantity;
use systrail::shown;
use systrail::store::Window;
use systrail::trail::Time;
use systrail::tree::live::Alive;
use systrail::tree::stored::Wanted;
use systrail::tree::{self, Forest, Losses, NotOne, Process, Style, Tree, Who};

use super::console::say;
use super::local::Local;
use super::log::Log;
use super::pager::Out;
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
  systrail tree --last-run --failed          what failed, and what it stands under
  systrail tree --since 1h --min 10s         what ran for ten seconds or more
  systrail tree --last-run --format dot | dot -Tsvg > tree.svg")]
pub(super) struct Arguments {
    /// A process id, or a key of 16 hex digits
    #[arg(value_name = "PID|KEY")]
    who: Option<Who>,
    #[command(flatten)]
    pub(super) local: Local,
    #[command(flatten)]
    trail: TrailArguments,
    #[command(flatten)]
    timeout: Timeout,
    /// What was running at this time
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    #[arg(conflicts_with_all = ["since", "until", "last_run"])]
    at: Option<Time>,
    #[command(flatten)]
    choice: ChoiceArguments,
    /// Print a long tree straight to the terminal, not through $PAGER (else less)
    #[arg(long)]
    no_pager: bool,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    #[arg(value_parser = ["table", "json", "jsonl", "csv", "dot"])]
    format: String,
}

/// Which processes are printed; those they stand under are too.
#[derive(Debug, Args)]
struct ChoiceArguments {
    /// Those that ended otherwise than well
    #[arg(long)]
    failed: bool,
    /// Those of this user: a name or an id
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Those that ran, or have run, for this long
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    min: Option<Duration>,
    /// Levels below the first that are printed; what is left out below one is counted
    #[arg(long, value_name = "LEVELS")]
    depth: Option<usize>,
}

impl ChoiceArguments {
    /// What of a forest is chosen.
    fn of<'t>(&self, forest: Forest<'t>, now: Time) -> Forest<'t> {
        let mut forest = forest;
        if self.failed || self.user.is_some() || self.min.is_some() {
            forest = forest.keeping(|process| self.has(process, now));
        }
        match self.depth {
            Some(depth) => forest.to_depth(depth),
            None => forest,
        }
    }

    fn has(&self, process: &Process, now: Time) -> bool {
        let has_user = |user: &String| process.program.is_of_user(user);
        let has_run = |min: Duration| {
            let ran = process.run_time_ns(now).map(Duration::from_nanos);
            ran.is_some_and(|ran| ran >= min)
        };
        (!self.failed || process.has_failed())
            && self.user.as_ref().is_none_or(has_user)
            && self.min.is_none_or(has_run)
    }
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
    let mut forest = Forest::of(&tree, |one| one.was_there(since, until));
    if let Some(who) = arguments.who {
        forest = forest.under(who.among(tree.processes()));
        if forest.is_empty() {
            return Err(arguments.nobody(who).into());
        }
    }
    let was_empty = forest.is_empty();
    forest = arguments.choice.of(forest, now);
    if forest.is_empty() && !was_empty {
        let count = quantity::show_count(tree.processes().len(), "process");
        say!("none of {count} is what --failed, --user and --min ask for");
    }
    let is_table = arguments.format == "table";
    let mut out = Out::open(is_table && !arguments.no_pager);
    let width = if out.is_paged() {
        None
    } else {
        console::width_of_standard_output()
    };
    let printed = print(&forest, &arguments.format, (now, width), &mut out);
    let printed = printed.and_then(|()| out.flush());
    drop(out);
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
        let wanted = Wanted {
            who: arguments.who,
            arguments: arguments.format != "table" && arguments.format != "dot",
        };
        let mut tree = tree::stored::read(&reader, &window, wanted)?;
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

/// Prints the forest as it is at a moment, lines cut to a width.
fn print(
    forest: &Forest<'_>,
    format: &str,
    (now, width): (Time, Option<u16>),
    out: &mut impl Write,
) -> io::Result<()> {
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
                width,
                now,
            };
            out.write_all(&tree::heading(style))?;
            tree::draw(forest, style, |line| out.write_all(line))
        }
    }
}

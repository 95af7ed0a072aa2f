//! `systrail watch`: what the machine does, for a person who looks on.

use std::io;
use std::sync::Arc;

use clap::Args;
use systrail::pipeline::scope::Scope;
use systrail::rules::{Kinds, Pattern, PatternSet};
use systrail::sink::Sink;
use systrail::sink::stream;
use systrail::sink::terminal::{Lives, Style, Terminal, Wanted};
use systrail::sys::wake::Waker;

use super::console;
use super::launch::LaunchArguments;
use super::local::Local;
use super::options::{Log, Options, scope_of_running};
use super::record::Recording;
use super::{Exit, Failure, stop};

/// Prints a line a process on standard output when it has ended: what it ran, how it ended, who started it.
/// One that runs for longer than a second has a line when it begins, too. More lines than can be read are
/// counted instead. With --all, --kind or --rule it is a line an event.
///
/// Files are written only where --log, --store or --summary ask for one.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
#[command(after_help = "\
Examples:
  systrail watch                                   what starts and how it ends
  systrail watch --failed                          what fails
  systrail watch --image 'python*' --user ada      her Pythons
  systrail watch --under 1161                      what a process starts, and what that starts
  systrail watch --kind image_load --image nginx   what it loads
  systrail watch --rule '*reverse shell*'          what a rule finds
  systrail watch --all | grep --line-buffered exec every event, filtered by another program")]
pub(super) struct Arguments {
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    launch: LaunchArguments,
    /// Print every event, a line each
    #[arg(long)]
    all: bool,
    /// Print events of these kinds alone, a line each: `process_exec`, `image_load`, ...
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = kind)]
    kind: Option<Vec<event::Kind>>,
    /// Print every line, even more than can be read
    #[arg(long)]
    every_line: bool,
    /// Print what was there before as well
    #[arg(long)]
    existing: bool,
    /// Ends that were no success alone
    #[arg(long)]
    failed: bool,
    /// Processes of this user alone: a name or an id
    #[arg(long, value_name = "USER")]
    user: Option<String>,
    /// Processes of this program alone: a pattern of its path or its name
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    image: Option<PatternSet>,
    /// Processes with this command line alone: a pattern of the whole
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    command_line: Option<PatternSet>,
    /// What a rule kept or found alone, a line an event: a pattern of the rule's name, title or id
    #[arg(long, value_name = "PATTERN", value_parser = pattern)]
    rule: Option<PatternSet>,
    /// What is below this process alone
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    under: Option<u32>,
    #[command(flatten)]
    pub(super) local: Local,
}

/// Does `systrail watch`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    console::wait_for_nobody();
    let options = &arguments.options;
    let log = options.explicit_log();
    let scope = arguments.under.map(scope_of_running).transpose()?;
    let waker = Waker::new()?;
    let signals = stop::on_signals(&waker)?;
    let recording = Recording {
        config: options.configuration()?,
        // JSON Lines on standard output take the place of the lines for a person.
        watcher: (log != Log::StandardOutput).then(|| arguments.watcher()),
        log,
        store: options.explicit_store(),
        scope: scope.map(Scope::without_root),
        is_live: false,
        says_source: true,
        status: Arc::default(),
    };
    let exit = recording.record(options, arguments.launch, &waker)?;
    Ok(signals.exit_of(exit))
}

impl Arguments {
    fn watcher(&self) -> Watcher {
        let kinds = self.kind.as_ref().map(|kinds| {
            let one = |kinds: Kinds, kind: &event::Kind| kinds.with(*kind);
            kinds.iter().fold(Kinds::NONE, one)
        });
        Watcher {
            is_of_events: self.all || kinds.is_some() || self.rule.is_some(),
            every_line: self.every_line,
            wanted: Wanted {
                kinds,
                user: self.user.clone(),
                image: self.image.clone(),
                command_line: self.command_line.clone(),
                rule: self.rule.clone(),
                failed: self.failed,
                existing: self.existing,
            },
        }
    }
}

/// What prints events for a person, and which.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    /// A line an event, not a process.
    is_of_events: bool,
    every_line: bool,
    wanted: Wanted,
}

impl Watcher {
    /// A line an event, whatever it is.
    pub(super) fn of_every_event() -> Self {
        let wanted = Wanted {
            existing: true,
            ..Wanted::default()
        };
        Self {
            is_of_events: true,
            every_line: true,
            wanted,
        }
    }

    /// Lines on standard output, under their heading. Who reads them and goes away ends the recording.
    pub(super) fn open(&self, waker: &Waker) -> io::Result<Box<dyn Sink>> {
        let ended = waker.clone();
        let ended_fn = move || ended.wake();
        let (out, wanted) = (stream::stdout()?, self.wanted.clone());
        if !self.is_of_events {
            console::result(&format!("{}\n", Lives::heading()))?;
            let lives = Lives::new(out, style, wanted, self.every_line);
            return Ok(Box::new(lives.when_ended(ended_fn)));
        }
        console::result(&format!("{}\n", Terminal::heading()))?;
        let Style { colour, width } = style();
        let terminal = Terminal::new(out, colour, width).only(wanted);
        Ok(Box::new(terminal.when_ended(ended_fn)))
    }
}

/// How lines on standard output look now.
fn style() -> Style {
    Style {
        colour: console::colour_on_standard_output(),
        width: console::width_of_standard_output(),
    }
}

fn kind(text: &str) -> Result<event::Kind, String> {
    event::Kind::from_name(text).ok_or_else(|| {
        let known: Vec<_> = event::Kind::ALL
            .iter()
            .filter_map(|kind| kind.name())
            .collect();
        format!("there is no such kind; kinds are {}", known.join(", "))
    })
}

fn pattern(text: &str) -> Result<PatternSet, String> {
    let pattern = Pattern::new(text).map_err(|error| error.to_string())?;
    PatternSet::new(&[pattern]).map_err(|error| error.to_string())
}

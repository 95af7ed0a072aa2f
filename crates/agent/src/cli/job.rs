//! `systrail run`: what the machine does, or one command and everything below it.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::Arc;
use std::thread::JoinHandle;

use clap::Args;
use systrail::account::Account;
use systrail::job::{self, Collector, Ended, Job};
use systrail::moment;
use systrail::pipeline::scope::{Scope, Started};
use systrail::sink::Sink;
use systrail::sys::wake::Waker;
use systrail::trail::Time;
use systrail::tree::Style;

use super::console::{self, say};
use super::foreground::{self, Running};
use super::options::{Log, exit_of, keep_from_summary, scope_of_running, summary_file};
use super::record::{self, Recording, RunArguments};
use super::{Exit, Failure, report};

/// What a shell's exit code is for a command that is not there, and for one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUN: u8 = 126;

/// Records to a log file and a store until Ctrl-C, SIGTERM or --duration; then drains, closes them and
/// prints the account on standard error.
///
/// With a command, or a process, it records that and everything below it, and says at the end what
/// failed, what took how long and what was waited for. Files are written then only where --log, --store,
/// --report or --trace ask for them, and the exit code is the command's: 128 and the signal that killed it, 127 when it
/// is not there, 126 when it cannot be run.
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  systrail run                                 log and store under /var/lib/systrail (as root)
  systrail run --log - | jq .image             to another program
  systrail run --duration 10s --summary account.json --on-loss fail
  systrail run --events process --metrics      processes alone, metrics on 127.0.0.1:9477
  systrail run -- make -j2                     a command: what failed, what took how long
  systrail run --report build.html -- make     and a page to look at, for any browser
  systrail run --trace build.json -- make      and a picture for ui.perfetto.dev
  systrail run --pid 1161 --duration 30s       half a minute of a process and what it starts")]
pub(super) struct Arguments {
    #[command(flatten)]
    run: RunArguments,
    #[command(flatten)]
    job: JobArguments,
}

/// Whose events are recorded, where not everybody's are.
#[derive(Clone, Debug, Args)]
struct JobArguments {
    /// Record this process and everything below it, until it ends
    #[arg(long, value_name = "PID", conflicts_with_all = ["under", "command"])]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pid: Option<u32>,
    /// Record everything below this process without itself
    #[arg(long, value_name = "PID", conflicts_with = "command")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    under: Option<u32>,
    /// Write the processes as a trace for Perfetto and other viewers (Trace Event Format)
    #[arg(long, value_name = "FILE", value_parser = summary_file)]
    trace: Option<PathBuf>,
    /// Write what happened as a page to look at: one HTML file with the failures, a timeline and the times
    #[arg(long, value_name = "FILE", value_parser = summary_file)]
    report: Option<PathBuf>,
    /// Print every line of long tables
    #[arg(long)]
    all: bool,
    /// Run this command, and record it and everything below it
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

impl JobArguments {
    /// Whose events are recorded, where not everybody's are. `started` is the command once it is started.
    fn scope(&self, started: &Started) -> Result<Option<Scope>, Failure> {
        if !self.command.is_empty() {
            return Ok(Some(Scope::of_new(started.clone())));
        }
        let whole = self.pid.map(scope_of_running).transpose()?;
        let below = self.under.map(scope_of_running).transpose()?;
        Ok(whole.or_else(|| below.map(Scope::without_root)))
    }

    /// What the job is called.
    fn title(&self) -> String {
        if let Some(id) = self.pid {
            return format!("process {id}");
        }
        if let Some(id) = self.under {
            return format!("what is below process {id}");
        }
        let words = self.command.iter().map(|word| word.to_string_lossy());
        words.collect::<Vec<_>>().join(" ")
    }
}

/// Does `systrail run`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let started = Started::default();
    let Some(scope) = arguments.job.scope(&started)? else {
        let JobArguments {
            trace, report, all, ..
        } = &arguments.job;
        if trace.is_some() || report.is_some() || *all {
            return Err(Failure::usage(anyhow::anyhow!(
                "--report, --trace and --all are of one command or process: add `-- COMMAND` or --pid PID"
            )));
        }
        return record::run(&arguments.run);
    };
    let options = &arguments.run.options;
    let recording = Recording {
        config: options.configuration()?,
        log: options.explicit_log(),
        store: options.explicit_store(),
        watcher: None,
        scope: Some(scope),
        is_live: false,
        says_source: false,
        status: Arc::default(),
    };
    if recording.log == Log::StandardOutput && !arguments.job.command.is_empty() {
        return Err(Failure::usage(anyhow::anyhow!(
            "standard output is the command's; name a file for --log"
        )));
    }
    console::wait_for_nobody();
    record_job(arguments, recording, &started)
}

fn record_job(
    arguments: &Arguments,
    recording: Recording,
    started: &Started,
) -> Result<Exit, Failure> {
    let options = &arguments.run.options;
    check_pictures(arguments, &recording)?;
    let on_loss = recording.config.on_loss;
    let waker = Waker::new()?;
    let running = Running::default();
    let listening = foreground::listen(&running, &waker)?;
    let collector = match arguments.job.pid {
        Some(id) => {
            let ended = waker.clone();
            Collector::default().when_ended(id, move || ended.wake())
        }
        None => Collector::default(),
    };
    let mut command = Commanded::default();
    let mut begin = Time::default();
    let recording_fn = || {
        begin = moment::now();
        match arguments.job.command.split_first() {
            // Somebody may have asked for the end already.
            Some(_) if waker.is_woken() => {}
            Some(words) => command = Commanded::start(words, started, &running, &waker),
            None => say!(
                "recording {} until it ends, or Ctrl-C",
                arguments.job.title()
            ),
        }
    };
    let sinks: Vec<Box<dyn Sink>> = vec![Box::new(collector.clone())];
    let result = recording.account(options, arguments.run.launch, &waker, sinks, recording_fn);
    let end = command.end();
    drop(listening);
    let account = result?;
    if let Some(path) = &options.summary {
        report::write_summary(path, &account)?;
    }
    let ended = Ended {
        title: arguments.job.title(),
        how: end
            .as_ref()
            .map_or_else(|| "was recorded".to_owned(), CommandEnd::told),
        begin,
        end: end
            .as_ref()
            .and_then(|end| end.time)
            .unwrap_or_else(moment::now),
    };
    tell(arguments, &collector.take(), &ended, &account, end.as_ref())?;
    // The command's own end comes before what is said of the recording.
    let exit = exit_of(&account, on_loss);
    Ok(match end.map(|end| end.code) {
        None | Some(0) => exit,
        Some(code) => Exit::Command(code),
    })
}

/// Refuses a report or a trace that could not be written in the end.
fn check_pictures(arguments: &Arguments, recording: &Recording) -> Result<(), Failure> {
    let JobArguments { report, trace, .. } = &arguments.job;
    if report.is_some() && report == trace {
        return Err(Failure::usage(anyhow::anyhow!(
            "--report and --trace are two files: name another for one of them"
        )));
    }
    for (what, path) in [("report", report), ("trace", trace)] {
        let Some(path) = path else {
            continue;
        };
        if let Log::File(log) = &recording.log {
            keep_from_summary(log, Some(path))?;
        }
        report::check(what, path)?;
    }
    Ok(())
}

/// Says how it went, on standard error, and writes report and trace.
fn tell(
    arguments: &Arguments,
    job: &Job,
    ended: &Ended,
    account: &Account,
    end: Option<&CommandEnd>,
) -> Result<(), Failure> {
    if let Some(CommandEnd {
        failure: Some(failure),
        ..
    }) = end
    {
        say!("{}: {failure}", ended.title);
        return Ok(());
    }
    let style = Style {
        colour: console::colour_on_standard_error(),
        width: console::width_of_standard_error(),
        now: ended.end,
    };
    let text = job::tell(job, ended, style, arguments.job.all);
    console::told(&text);
    if let Some(path) = &arguments.job.report {
        let mut page = Vec::new();
        job::page::write(job, ended, &report::table(account), &mut page)?;
        report::write("report", path, &page)?;
    }
    if let Some(path) = &arguments.job.trace {
        let mut trace = Vec::new();
        job::trace::write(job, ended, &mut trace)?;
        report::write("trace", path, &trace)?;
    }
    Ok(())
}

/// The command that is recorded, once it is started.
#[derive(Debug, Default)]
struct Commanded {
    waiting: Option<JoinHandle<CommandEnd>>,
    failed: Option<CommandEnd>,
}

/// How it ended.
#[derive(Debug)]
struct CommandEnd {
    code: u8,
    signal: Option<i32>,
    /// When; `None` of one that never began.
    time: Option<Time>,
    /// Why it did not begin.
    failure: Option<io::Error>,
}

impl Commanded {
    /// Starts the command, whose end wakes `waker`.
    fn start(
        (program, arguments): (&OsString, &[OsString]),
        started: &Started,
        running: &Running,
        waker: &Waker,
    ) -> Self {
        let mut command = Command::new(program);
        command.args(arguments);
        let waiting = running.begin(|| command.spawn()).and_then(|child| {
            started.choose(child.id());
            let (running, ended) = (running.clone(), waker.clone());
            // Where the thread cannot be had the command is left alone, and the recording ends.
            systrail::sys::thread::named("command").spawn(move || {
                let end = wait(child, &running);
                ended.wake();
                end
            })
        });
        match waiting {
            Ok(waiting) => Self {
                waiting: Some(waiting),
                failed: None,
            },
            Err(error) => {
                waker.wake();
                Self {
                    waiting: None,
                    failed: Some(CommandEnd::not_begun(error)),
                }
            }
        }
    }

    /// How it ended; `None` where there was none. Of one that still runs the end is waited for.
    fn end(self) -> Option<CommandEnd> {
        // A panic there aborts the process.
        let waited = self.waiting.and_then(|waiting| waiting.join().ok());
        waited.or(self.failed)
    }
}

fn wait(mut child: Child, running: &Running) -> CommandEnd {
    match running.wait().and_then(|()| child.wait()) {
        Ok(status) => CommandEnd::of(status),
        Err(error) => CommandEnd::not_begun(error),
    }
}

impl CommandEnd {
    fn of(status: ExitStatus) -> Self {
        #[cfg(unix)]
        let signal = std::os::unix::process::ExitStatusExt::signal(&status);
        #[cfg(not(unix))]
        let signal = None;
        let code = match (status.code(), signal) {
            // Of a code that does not fit, success must not be what is left.
            (Some(code), _) => u8::try_from(code).unwrap_or(1),
            (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
            (None, None) => 1,
        };
        Self {
            code,
            signal,
            time: Some(moment::now()),
            failure: None,
        }
    }

    fn not_begun(error: io::Error) -> Self {
        let is_there = error.kind() != io::ErrorKind::NotFound;
        Self {
            code: if is_there { NOT_RUN } else { NOT_FOUND },
            signal: None,
            time: None,
            failure: Some(error),
        }
    }

    fn told(&self) -> String {
        match self.signal {
            Some(signal) => format!("was killed by signal {signal}"),
            None => format!("ended with {}", self.code),
        }
    }
}

//! `systrail export`: the trail under the names other systems know.

mod follow;
mod printer;

use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use systrail::export::Format;
#[cfg(feature = "parquet")]
use systrail::export::Unit;
use systrail::quantity;
use systrail::store::{self, Guard};
use systrail::sys::wake::Waker;
use systrail::trail::Time;

use self::printer::{End, Printer};
use super::log::{self, Log};
use super::options::named;
use super::report::{self, Unfinished};
use super::trail::TrailArguments;
use super::{Exit, Failure, console, passed_over, stop};

/// Prints the events of the store, or of a log, for another system: as JSON Lines, CSV or Parquet with
/// our names, or as JSON Lines with the names of the Elastic Common Schema or of OCSF. docs/EXPORT.md
/// says which field goes where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail export --format parquet --output trail.parquet    the whole store for DuckDB, pandas, Spark
  systrail export --format ecs --since 1h > trail.ndjson     the last hour for Elasticsearch
  systrail export --format ocsf --log trail.jsonl.gz         a log for a security lake
  systrail export --log trail.jsonl --strict > copy.jsonl    fails unless the copy is whole
  systrail export --format csv --last-run > trail.csv        the newest recording for a table
  systrail export --follow --since now | nc collector 5170   what happens from now on, as it happens
  systrail export > trail.jsonl                              the whole store as a log")]
pub(super) struct Arguments {
    #[command(flatten)]
    trail: TrailArguments,
    /// The names to use
    #[arg(long, value_name = "FORMAT", default_value = "jsonl")]
    #[arg(value_parser = ["jsonl", "csv", "ecs", "ocsf", "parquet"])]
    format: String,
    /// What times are in Parquet: nanoseconds, or microseconds for readers that have nothing finer, as
    /// Spark before 4.0
    #[arg(long, value_name = "UNIT", default_value = "ns", value_parser = ["ns", "us"])]
    time_unit: String,
    /// Write to this file, which is replaced once the export is whole; standard output when not said
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Go on with what is recorded, until told to stop
    #[arg(long, conflicts_with_all = ["log", "until", "output"])]
    follow: bool,
}

/// Does `systrail export`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    arguments.trail.check()?;
    let format = arguments.format()?;
    if let Some(path) = &arguments.output {
        return arguments.write(path, format);
    }
    let is_terminal = io::stdout().is_terminal();
    if is_terminal && !format.is_lines() {
        return Err(Failure::usage(anyhow::anyhow!(
            "a file of Parquet is nothing to look at: name one with --output FILE"
        )));
    }
    let mut printer = Printer::new(io::stdout().lock(), format, is_terminal);
    if arguments.follow {
        return arguments.follow(&mut printer);
    }
    // A line of progress would be drawn over by events on the same terminal.
    let read = arguments.print(&mut printer, !is_terminal);
    match read.and_then(|read| printer.finish().map(|()| read)) {
        Ok(read) => arguments.trail.strict.exit(read?),
        // Whoever closed the pipe has seen enough.
        Err(End::Closed | End::Stopped) => Ok(Exit::Done),
        Err(End::Failed(failure)) => Err(failure),
    }
}

/// What reading came to: how much was passed over, or why not all could be read. What was read has been
/// printed either way.
type Read = Result<u64, Failure>;

impl Arguments {
    /// The format that is asked for, and that there is.
    fn format(&self) -> Result<Format, Failure> {
        let format = named(&self.format, Format::NAMES);
        #[cfg(feature = "parquet")]
        let format = format.map(|format| match format {
            Format::Parquet(_) => {
                Format::Parquet(named(&self.time_unit, &Unit::NAMES).unwrap_or_default())
            }
            other => other,
        });
        #[cfg(not(feature = "parquet"))]
        let format = format.ok_or_else(|| Failure::not_built_in("Parquet", "parquet"))?;
        #[cfg(feature = "parquet")]
        let format = format.unwrap_or(Format::JsonLines);
        if self.time_unit != "ns" && format.is_lines() {
            let error = "--time-unit is of Parquet: times of other formats are texts";
            return Err(Failure::usage(anyhow::anyhow!(error)));
        }
        if self.follow && !format.is_lines() {
            return Err(Failure::usage(anyhow::anyhow!(
                "a file of Parquet can be read once it has ended, which it has not with --follow; export \
                 --since the last time instead, or follow in another format"
            )));
        }
        Ok(format)
    }

    /// Writes to a file, which is as it was until all is there.
    fn write(&self, path: &Path, format: Format) -> Result<Exit, Failure> {
        report::check("export", path)?;
        let target = target_of(path)?;
        let waker = Waker::new()?;
        let signals =
            stop::on_signals_saying(&waker, "aborted; what was begun may lie beside the file")?;
        let file_error = |error: io::Error| anyhow::anyhow!("export {}: {error}", path.display());
        let file = Unfinished::create(&target).map_err(file_error)?;
        let mut printer = Printer::new(&file.file, format, false).into_file(path, waker);
        let read = self.print(&mut printer, true);
        let written = read.and_then(|read| printer.finish().map(|()| read));
        drop(printer);
        match written {
            Ok(read) => {
                file.finish().map_err(file_error)?;
                Ok(signals.exit_of(self.trail.strict.exit(read?)?))
            }
            Err(End::Closed | End::Stopped) => {
                let path = path.display();
                Err(anyhow::anyhow!("stopped before all was written; {path} is as it was").into())
            }
            Err(End::Failed(failure)) => Err(failure),
        }
    }

    fn print<W: Write>(&self, printer: &mut Printer<W>, shows: bool) -> Result<Read, End> {
        match &self.trail.log {
            Some(path) => self.print_log(path, printer, shows),
            None => self.print_store(printer, shows),
        }
    }

    fn follow<W: Write>(&self, printer: &mut Printer<W>) -> Result<Exit, Failure> {
        let (directory, window) = self.trail.store(&Guard::default())?;
        let waker = Waker::new()?;
        let signals = stop::on_signals_saying(&waker, "aborted; the last line may be cut")?;
        let followed = printer
            .begin()
            .and_then(|()| follow::follow(&directory, window.since, printer, &waker));
        match followed {
            Ok(passed_over_count) => {
                console::printed(printer.flush())?;
                Ok(signals.exit_of(self.trail.strict.exit(passed_over_count)?))
            }
            Err(End::Closed | End::Stopped) => Ok(Exit::Done),
            Err(End::Failed(failure)) => Err(failure),
        }
    }

    /// Prints what a log has.
    fn print_log<W: Write>(
        &self,
        path: &Path,
        printer: &mut Printer<W>,
        shows: bool,
    ) -> Result<Read, End> {
        let mut log = Log::open(path, shows).map_err(Failure::from)?;
        printer.begin()?;
        let since = self.trail.since.unwrap_or(Time(i64::MIN));
        let until = self.trail.until.unwrap_or(Time(i64::MAX));
        for event in log.by_ref() {
            if event.time >= since && event.time < until {
                printer.print(&event)?;
            }
        }
        Ok(log.end())
    }

    /// Prints what the store has. A segment that cannot be read fails the export: it is a copy, and may be all
    /// that is kept.
    fn print_store<W: Write>(&self, printer: &mut Printer<W>, shows: bool) -> Result<Read, End> {
        let (directory, window) = self.trail.store(&Guard::default())?;
        let never_asked = store::never_asked(&directory, &window).map_err(Failure::from)?;
        let passed_over_count = passed_over::tell(&never_asked);
        let mut events = store::events(&directory, &window).map_err(Failure::from)?;
        printer.begin()?;
        let mut is_whole = true;
        let mut count = 0_u64;
        let mut bar = Bar::new(shows);
        while let Some(event) = events.next() {
            match event {
                Ok(event) => {
                    printer.print(&event)?;
                    count += 1;
                    bar.draw(count, &events);
                }
                // A damaged segment does not keep the others back; the export is not whole.
                Err(error) => {
                    console::line(format_args!("systrail: {error}"));
                    is_whole = false;
                }
            }
        }
        drop(bar);
        if !is_whole {
            let error = anyhow::anyhow!("the export lacks what could not be read");
            return Ok(Err(error.into()));
        }
        if count == 0 && passed_over_count == 0 {
            passed_over::tell_nothing(&directory, &window);
        }
        Ok(Ok(passed_over_count))
    }
}

/// The file a path leads to. One that is no regular file cannot be replaced.
fn target_of(path: &Path) -> Result<PathBuf, Failure> {
    if path.metadata().is_ok_and(|metadata| !metadata.is_file()) {
        let path = path.display();
        return Err(Failure::usage(anyhow::anyhow!(
            "export {path}: it is no regular file; name one, or send standard output there"
        )));
    }
    Ok(path
        .canonicalize()
        .unwrap_or_else(|_new| path.to_path_buf()))
}

/// The line of progress of a store, on a terminal.
struct Bar {
    began: Instant,
    drawn: Option<Instant>,
}

impl Bar {
    fn new(shows: bool) -> Self {
        let began = Instant::now();
        Self {
            began,
            drawn: (shows && io::stderr().is_terminal()).then_some(began),
        }
    }

    fn draw(&mut self, count: u64, events: &store::Events) {
        let Some(drawn) = &mut self.drawn else { return };
        if !count.is_multiple_of(log::DRAW_COUNT) || drawn.elapsed() < log::DRAW_INTERVAL {
            return;
        }
        *drawn = Instant::now();
        let rate = count / self.began.elapsed().as_secs().max(1);
        let bar = log::bar(events.thousandths(), 1_000);
        let count = quantity::show_count(count, "event");
        console::live_line(&format!("{bar}  {count}  {rate} events/s"));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if self.drawn.is_some() {
            console::end_live_line();
        }
    }
}

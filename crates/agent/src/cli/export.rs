//! `systrail export`: the trail under the names other systems know.

mod follow;

use std::io::{self, BufWriter, IsTerminal as _, Write};

use clap::Args;
use systrail::export::{self, Exporter, Format};
use systrail::shown;
use systrail::store::{self, Guard};
use systrail::sys::wake::Waker;
use systrail::trail::{Event, Time};

use super::log::Log;
use super::options::named;
use super::trail::TrailArguments;
use super::{Exit, Failure, console, passed_over, stop};

/// Prints the events of the store, or of a log, for another system: as JSON Lines or CSV with our
/// names, or as JSON Lines with the names of the Elastic Common Schema or of OCSF. docs/EXPORT.md
/// says which field goes where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
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
    #[arg(value_parser = ["jsonl", "csv", "ecs", "ocsf"])]
    format: String,
    /// Go on with what is recorded, until told to stop
    #[arg(long, conflicts_with_all = ["log", "until"])]
    follow: bool,
}

/// Does `systrail export`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    arguments.trail.check()?;
    let format = named(&arguments.format, &Format::NAMES).unwrap_or(Format::JsonLines);
    let out = BufWriter::with_capacity(1 << 18, io::stdout().lock());
    let mut printer = Printer {
        out,
        line: Vec::new(),
        format,
        exporter: Exporter::new(format),
        is_terminal: io::stdout().is_terminal(),
    };
    if arguments.follow {
        return arguments.follow(&mut printer);
    }
    let read = if arguments.trail.log.is_some() {
        arguments.print_log(&mut printer)
    } else {
        arguments.print_store(&mut printer)
    };
    match read {
        Ok(passed_over_count) => {
            console::printed(printer.out.flush())?;
            arguments.trail.strict.exit(passed_over_count)
        }
        // Whoever closed the pipe has seen enough.
        Err(End::Closed) => Ok(Exit::Done),
        Err(End::Failed(failure)) => Err(failure),
    }
}

/// Why an export ended early.
enum End {
    Closed,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

impl Arguments {
    fn follow<W: Write>(&self, printer: &mut Printer<W>) -> Result<Exit, Failure> {
        let (directory, window) = self.trail.store(&Guard::default())?;
        let waker = Waker::new()?;
        let signals = stop::on_signals_saying(&waker, "aborted; the last line may be cut")?;
        let followed = printer
            .begin()
            .and_then(|()| follow::follow(&directory, window.since, printer, &waker));
        match followed {
            Ok(passed_over_count) => {
                console::printed(printer.out.flush())?;
                Ok(signals.exit_of(self.trail.strict.exit(passed_over_count)?))
            }
            Err(End::Closed) => Ok(Exit::Done),
            Err(End::Failed(failure)) => Err(failure),
        }
    }

    /// Prints what a log has, and returns how much of it was passed over.
    fn print_log<W: Write>(&self, printer: &mut Printer<W>) -> Result<u64, End> {
        let Some(path) = &self.trail.log else {
            return Ok(0);
        };
        // A line of progress would be drawn over by events on the same terminal.
        let mut log = Log::open(path, !io::stdout().is_terminal()).map_err(Failure::from)?;
        printer.begin()?;
        let since = self.trail.since.unwrap_or(Time(i64::MIN));
        let until = self.trail.until.unwrap_or(Time(i64::MAX));
        for event in log.by_ref() {
            if event.time >= since && event.time < until {
                printer.print(&event)?;
            }
        }
        log.end().map_err(End::Failed)
    }

    /// Prints what the store has, and returns how many segments had been set aside before. One that
    /// cannot be read fails the export: it is a copy, and may be all that is kept.
    fn print_store<W: Write>(&self, printer: &mut Printer<W>) -> Result<u64, End> {
        let (directory, window) = self.trail.store(&Guard::default())?;
        let never_asked = store::never_asked(&directory, &window).map_err(Failure::from)?;
        let passed_over_count = passed_over::tell(&never_asked);
        let events = store::events(&directory, &window).map_err(Failure::from)?;
        printer.begin()?;
        let mut unreadable = None;
        let mut count = 0_u64;
        for event in events {
            match event {
                Ok(event) => {
                    printer.print(&event)?;
                    count += 1;
                }
                // A damaged segment does not keep the others back; the export is not whole.
                Err(error) => {
                    console::line(format_args!("systrail: {error}"));
                    unreadable = Some(error);
                }
            }
        }
        if count == 0 && unreadable.is_none() && passed_over_count == 0 {
            passed_over::tell_nothing(&directory, &window);
        }
        match unreadable {
            None => Ok(passed_over_count),
            Some(_told) => {
                let error = anyhow::anyhow!("the export lacks what could not be read");
                Err(End::Failed(error.into()))
            }
        }
    }
}

/// Prints events.
struct Printer<W> {
    out: W,
    line: Vec<u8>,
    format: Format,
    exporter: Exporter,
    is_terminal: bool,
}

impl<W: Write> Printer<W> {
    fn begin(&mut self) -> Result<(), End> {
        match self.format {
            Format::Csv => written(self.out.write_all(export::csv_heading().as_bytes())),
            _ => Ok(()),
        }
    }

    fn print(&mut self, event: &Event) -> Result<(), End> {
        self.line.clear();
        written(self.exporter.write(event, &mut self.line))?;
        if self.is_terminal {
            // JSON has an escape for what a terminal acts on; CSV has it as it is.
            self.line = shown::safe(&String::from_utf8_lossy(&self.line)).into_bytes();
        }
        written(self.out.write_all(&self.line))
    }
}

fn written(result: io::Result<()>) -> Result<(), End> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => End::Closed,
        _ => End::Failed(console::named(&error).into()),
    })
}

#[cfg(test)]
mod tests {
    use systrail::trail::control_characters::is_control;
    use systrail::trail::json;

    use super::*;

    /// CSV has no escapes, so an argument of any process reached the terminal as it was.
    #[test]
    fn no_format_lets_an_argument_act_on_a_terminal() {
        let line = br#"{"sequence":1,"time":"2026-01-01T00:00:00.000000000Z","kind":"process_exec","host":"h","process_id":1,"process_key":"0000000000000001","command_line":"evil \u001b]0;owned\u0007"}"#;
        let event = json::read_line(line).unwrap();
        for (name, format) in Format::NAMES {
            let mut printer = Printer {
                out: Vec::new(),
                line: Vec::new(),
                format,
                exporter: Exporter::new(format),
                is_terminal: true,
            };
            assert!(printer.begin().is_ok() && printer.print(&event).is_ok());
            let text = String::from_utf8(printer.out).unwrap();
            assert!(text.contains("evil"), "{name}: {text}");
            let control = text
                .chars()
                .find(|&character| character != '\n' && is_control(character));
            assert_eq!(control, None, "{name}: {text:?}");
        }
    }
}

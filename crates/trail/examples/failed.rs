//! Prints the processes of a log that failed, a line each: when, which, what, and how.
//!
//! ```console
//! $ cargo run -p systrail-trail --example failed -- trail.jsonl
//! $ zcat trail.jsonl.gz | cargo run -p systrail-trail --example failed
//! ```

#![expect(clippy::print_stderr, reason = "a program's words")]

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Write as _};
use std::process::ExitCode;

use systrail_trail::json::{self, LINE_SIZE_MAX, LineError};
use systrail_trail::{Body, Event, ProcessExit};

fn main() -> ExitCode {
    match run(std::env::args().nth(1).as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("failed: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: Option<&str>) -> Result<(), String> {
    let Some(path) = path else {
        return read(io::stdin().lock());
    };
    let file = File::open(path).map_err(|error| format!("{path}: {error}"))?;
    read(BufReader::new(file))
}

fn read(mut log: impl BufRead) -> Result<(), String> {
    let mut line = Vec::new();
    let mut newer_count = 0_u64;
    for number in 1_u64.. {
        line.clear();
        // A line may be anybody's: no more of it is read than shows that it is too long.
        let mut bounded = log.by_ref().take(LINE_SIZE_MAX as u64 + 2);
        let size = bounded
            .read_until(b'\n', &mut line)
            .map_err(|error| format!("cannot read line {number}: {error}"))?;
        if size == 0 {
            break;
        }
        match json::read_line(&line) {
            Ok(event) => tell(&event).map_err(|error| format!("cannot write: {error}"))?,
            // A newer version's; nothing is wrong with it.
            Err(LineError::UnknownKind { .. }) => newer_count += 1,
            Err(error) => return Err(format!("line {number} is no event: {error}")),
        }
    }
    if newer_count > 0 {
        eprintln!("events of newer kinds that were passed over: {newer_count}");
    }
    Ok(())
}

fn tell(event: &Event) -> io::Result<()> {
    let Body::ProcessExit(exit) = &event.body else {
        return Ok(());
    };
    if !event.body.has_failed() {
        return Ok(());
    }
    let image = exit.image.as_ref().map_or("", |image| image.shown());
    // Debug's form escapes what a terminal would act on; the name is anybody's.
    writeln!(
        io::stdout(),
        "{} {} {image:?} {}",
        event.time,
        event.process_id,
        end(exit)
    )
}

fn end(exit: &ProcessExit) -> String {
    match (exit.signal, exit.exit_code) {
        (Some(signal), _) => format!("signal {signal}"),
        (None, Some(code)) => format!("exit code {code}"),
        (None, None) => String::from("unknown"),
    }
}

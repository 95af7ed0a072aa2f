//! Puts events where an export goes: standard output, or a file.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use systrail::export::{self, Exporter, Format};
use systrail::shown;
use systrail::sys::wake::Waker;
use systrail::trail::Event;

use crate::cli::{Failure, console};

/// Why an export ended early.
pub(super) enum End {
    /// Nobody reads it any more.
    Closed,
    /// It was told to.
    Stopped,
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for End {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Prints events.
pub(super) struct Printer<W: Write> {
    out: BufWriter<W>,
    pub(super) line: Vec<u8>,
    format: Format,
    exporter: Exporter,
    is_terminal: bool,
    file: Option<(PathBuf, Waker)>,
}

impl<W: Write> Printer<W> {
    /// One for standard output.
    pub(super) fn new(out: W, format: Format, is_terminal: bool) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 18, out),
            line: Vec::new(),
            format,
            exporter: Exporter::new(format),
            is_terminal,
            file: None,
        }
    }

    /// The same for a file, until `waker` is woken.
    pub(super) fn into_file(mut self, path: &Path, waker: Waker) -> Self {
        self.file = Some((path.to_path_buf(), waker));
        self
    }

    pub(super) fn begin(&mut self) -> Result<(), End> {
        match self.format {
            Format::Csv => self.put(export::csv_heading().as_bytes()),
            _ => Ok(()),
        }
    }

    pub(super) fn print(&mut self, event: &Event) -> Result<(), End> {
        self.line.clear();
        let written = self.exporter.write(event, &mut self.line);
        written.map_err(|error| self.ended(&error))?;
        if self.is_terminal {
            // JSON has an escape for what a terminal acts on; CSV has it as it is.
            self.line = shown::safe(&String::from_utf8_lossy(&self.line)).into_bytes();
        }
        let line = std::mem::take(&mut self.line);
        let put = self.put(&line);
        self.line = line;
        put?;
        match &self.file {
            Some((_, waker)) if waker.is_woken() => Err(End::Stopped),
            _ => Ok(()),
        }
    }

    /// Prints what comes after the last event.
    pub(super) fn finish(&mut self) -> Result<(), End> {
        let mut rest = Vec::new();
        let finished = self.exporter.finish(&mut rest);
        finished.map_err(|error| self.ended(&error))?;
        self.put(&rest)?;
        let flushed = self.out.flush();
        flushed.map_err(|error| self.ended(&error))
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), End> {
        let written = self.out.write_all(bytes);
        written.map_err(|error| self.ended(&error))
    }

    /// Why the export ends, of which `error` told.
    pub(super) fn ended(&self, error: &io::Error) -> End {
        match &self.file {
            Some((path, _)) => {
                let path = path.display();
                End::Failed(anyhow::anyhow!("export {path}: {error}").into())
            }
            None if error.kind() == io::ErrorKind::BrokenPipe => End::Closed,
            None => End::Failed(console::named(error).into()),
        }
    }
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
            if !format.is_lines() {
                // It is refused on a terminal.
                continue;
            }
            let mut text = Vec::new();
            let mut printer = Printer::new(&mut text, *format, true);
            assert!(printer.begin().is_ok() && printer.print(&event).is_ok());
            assert!(printer.finish().is_ok());
            drop(printer);
            let text = String::from_utf8(text).unwrap();
            assert!(text.contains("evil"), "{name}: {text}");
            let control = text
                .chars()
                .find(|&character| character != '\n' && is_control(character));
            assert_eq!(control, None, "{name}: {text:?}");
        }
    }
}

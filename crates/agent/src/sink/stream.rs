//! JSON Lines to a stream: standard output or a pipe (`--log -`). What is written is gone, so there
//! is nothing to rotate, repair or make durable.

use std::fmt;
use std::io::{self, Write};

use super::lines::Lines;
use super::{Sink, Tally};
use crate::trail::Event;
use crate::trail::json;

/// The sink that writes JSON Lines to a stream.
#[derive(Debug)]
pub struct Stream {
    out: Out,
}

impl Stream {
    /// A sink that writes to `out`. Give it something unbuffered: a batch is one write already.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out: Out::new("log", out),
        }
    }

    /// A sink that writes to standard output.
    pub fn stdout() -> io::Result<Self> {
        stdout().map(Self::new)
    }

    /// Has `ended_fn` called once when the reader at the other end has gone; nothing is written
    /// from then on.
    #[must_use]
    pub fn when_ended(mut self, ended_fn: impl FnOnce() + Send + 'static) -> Self {
        self.out.ended_fn = Some(Box::new(ended_fn));
        self
    }
}

impl Sink for Stream {
    fn name(&self) -> &'static str {
        "log"
    }

    fn write(&mut self, events: &[Event], tally: &Tally) {
        self.out.write(events, json::write_line, tally);
    }

    fn flush(&mut self, _tally: &Tally) {
        self.out.flush();
    }

    fn close(&mut self, tally: &Tally) {
        self.out.close(json::write_line, tally);
    }
}

/// Standard output without the line buffer that `std` puts in front of it, for a sink.
#[cfg(target_os = "linux")]
pub fn stdout() -> io::Result<Box<dyn Write + Send>> {
    use std::os::fd::AsFd as _;
    let stdout = io::stdout().as_fd().try_clone_to_owned()?;
    Ok(Box::new(Waiting(std::fs::File::from(stdout))))
}

/// Standard output, for a sink.
#[cfg(not(target_os = "linux"))]
pub fn stdout() -> io::Result<Box<dyn Write + Send>> {
    Ok(Box::new(io::stdout()))
}

/// A file that may have been set non-blocking by another program that shares it, as some do with
/// terminals and pipes; writing waits all the same.
#[cfg(target_os = "linux")]
struct Waiting(std::fs::File);

#[cfg(target_os = "linux")]
impl Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd as _;
        loop {
            match self.0.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let mut wanted = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
                    poll(&mut wanted, PollTimeout::NONE)?;
                }
                done => return done,
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A stream with the memory of what went wrong on it.
pub(super) struct Out {
    name: &'static str,
    stream: Box<dyn Write + Send>,
    lines: Lines,
    state: State,
    /// The last line is torn; it must be ended before another begins.
    is_torn: bool,
    pub(super) ended_fn: Option<Box<dyn FnOnce() + Send>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Good,
    Failing,
    /// The reader has gone; it does not come back.
    Ended,
}

impl Out {
    pub(super) fn new(name: &'static str, stream: Box<dyn Write + Send>) -> Self {
        Self {
            name,
            stream,
            lines: Lines::default(),
            state: State::Good,
            is_torn: false,
            ended_fn: None,
        }
    }

    /// Writes a line for each event, which `line_fn` appends to the bytes it is given, and counts it
    /// as written or lost.
    pub(super) fn write(
        &mut self,
        events: &[Event],
        line_fn: impl Fn(&Event, &mut Vec<u8>),
        tally: &Tally,
    ) {
        for event in events {
            self.lines.push(event, &line_fn);
            if self.lines.is_full() {
                self.write_lines(tally);
            }
        }
        self.write_lines(tally);
    }

    /// Writes the lines there are, counts them, and empties them.
    fn write_lines(&mut self, tally: &Tally) {
        if self.lines.is_empty() {
            return;
        }
        let written_count = match self.state {
            State::Ended => 0,
            State::Good | State::Failing => self.try_write(),
        };
        self.lines.settle(written_count, tally);
    }

    fn try_write(&mut self) -> usize {
        if self.is_torn {
            if let Err(error) = self.stream.write_all(b"\n") {
                self.fail(&error);
                return 0;
            }
            self.is_torn = false;
        }
        match self.lines.write_to(&mut self.stream) {
            Ok(()) => {
                self.recover();
                self.lines.count()
            }
            Err(failed) => {
                self.is_torn = failed.torn_size > 0;
                self.fail(&failed.error);
                failed.line_count
            }
        }
    }

    /// Writes text that is of no event; where it cannot be written it is let go.
    pub(super) fn write_text(&mut self, text: &[u8]) {
        if text.is_empty() || self.is_torn || self.state != State::Good {
            return;
        }
        if let Err(error) = self.stream.write_all(text) {
            self.is_torn = true;
            self.fail(&error);
        }
    }

    pub(super) fn flush(&mut self) {
        if self.state != State::Ended
            && let Err(error) = self.stream.flush()
        {
            self.fail(&error);
        }
    }

    /// Writes what is owed still, now or never, and flushes.
    pub(super) fn close(&mut self, line_fn: impl Fn(&Event, &mut Vec<u8>), tally: &Tally) {
        self.lines.push_owed(line_fn);
        self.write_lines(tally);
        self.flush();
    }

    fn fail(&mut self, error: &io::Error) {
        if error.kind() == io::ErrorKind::BrokenPipe {
            // Quietly: `systrail watch | head` is no fault of anybody.
            self.state = State::Ended;
            if let Some(ended_fn) = self.ended_fn.take() {
                ended_fn();
            }
        } else if self.state == State::Good {
            self.state = State::Failing;
            tracing::warn!(
                %error,
                sink = self.name,
                "output cannot be written; its events are lost and counted until it can be"
            );
        }
    }

    fn recover(&mut self) {
        if self.state == State::Failing {
            self.state = State::Good;
            tracing::warn!(sink = self.name, "output is written again");
        }
    }
}

impl fmt::Debug for Out {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Out")
            .field("name", &self.name)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

//! The lines of a log of JSON Lines: a line that is no event is an error of its own, and the next
//! may be one.

use std::io::{self, BufRead};

use super::Error;
use crate::trail::Event;
use crate::trail::json::{self, LINE_SIZE_MAX, LineError};

/// The byte-order mark of UTF-8, which some editors and shells put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The events of a log, in its order.
#[derive(Debug)]
pub struct Events<R> {
    input: R,
    line: Vec<u8>,
    line_number: u64,
    invalid_count: u64,
    has_ended: bool,
}

impl<R: BufRead> Events<R> {
    /// The events in `input`.
    pub const fn new(input: R) -> Self {
        Self {
            input,
            line: Vec::new(),
            line_number: 0,
            invalid_count: 0,
            has_ended: false,
        }
    }

    /// How many lines were no events, so far; those of newer kinds are not among them.
    pub const fn invalid_count(&self) -> u64 {
        self.invalid_count
    }

    /// Reads the next line into `self.line`, of which no more than [`LINE_SIZE_MAX`] is kept, and
    /// returns its whole size; `None` at the end.
    fn next_line(&mut self) -> io::Result<Option<usize>> {
        self.line.clear();
        let mut size = 0_usize;
        loop {
            let input = match self.input.fill_buf() {
                Ok(input) => input,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if input.is_empty() {
                return Ok((size > 0).then_some(size));
            }
            let line_feed = input.iter().position(|byte| *byte == b'\n');
            let piece = &input[..line_feed.unwrap_or(input.len())];
            let room = LINE_SIZE_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&piece[..piece.len().min(room)]);
            size = size.saturating_add(piece.len());
            let used = piece.len() + usize::from(line_feed.is_some());
            self.input.consume(used);
            if line_feed.is_some() {
                return Ok(Some(size));
            }
        }
    }

    fn read_event(&mut self, size: usize) -> Result<Event, Error> {
        let read = if size > LINE_SIZE_MAX {
            Err(LineError::TooLong { size })
        } else {
            json::read_line(&self.line)
        };
        let line_number = self.line_number;
        read.map_err(|error| match error {
            LineError::UnknownKind { kind } => Error::NewerKind { line_number, kind },
            source => {
                self.invalid_count += 1;
                Error::Line {
                    line_number,
                    source,
                }
            }
        })
    }
}

impl<R: BufRead> Iterator for Events<R> {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.has_ended {
            match self.next_line() {
                Ok(Some(size)) => {
                    self.line_number += 1;
                    if self.line_number == 1 && self.line.starts_with(BYTE_ORDER_MARK) {
                        self.line.drain(..BYTE_ORDER_MARK.len());
                    }
                    // An empty line says nothing, right or wrong.
                    if !self.line.trim_ascii().is_empty() {
                        return Some(self.read_event(size));
                    }
                }
                Ok(None) => self.has_ended = true,
                Err(source) => {
                    self.has_ended = true;
                    return Some(Err(Error::Read {
                        line_number: self.line_number,
                        source,
                    }));
                }
            }
        }
        None
    }
}

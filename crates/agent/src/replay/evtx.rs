//! Windows event logs (`.evtx`) as logs: Sysmon's events of processes, threads and images, and the
//! starts and exits that the Security log audits, become events of the trail.
//!
//! `file` reads one log, `merge` several in the order of time, `convert` makes events of their
//! records; `docs/TRACES.md` says how each field is had. The format was worked out by others from the
//! outside (libevtx's documentation is the reference); records are decoded by the crate `evtx`.

mod convert;
mod data;
mod file;
mod folder;
mod hosts;
mod merge;
mod others;
mod processes;
mod raw;
mod record;
mod security;
mod sysmon;

use std::collections::VecDeque;
use std::io;
use std::path::Path;

use self::convert::Converter;
use self::file::EventLog;
use self::folder::Folder;
use self::merge::Merge;
use super::format::{Format, Opened, Remark};
use super::{Error, Progress};
use crate::trail::Event;

/// One event log, or several that are read as one.
pub struct Evtx {
    merge: Merge,
    converter: Converter,
    /// What comes next.
    ready: VecDeque<Event>,
    invalid_count: u64,
    has_ended: bool,
    /// What is to be said of the folder.
    remarks: Vec<Remark>,
}

impl Evtx {
    /// The log that was opened.
    pub fn open(opened: Opened) -> Self {
        Self::of(Merge::of_one(EventLog::of_opened(opened)))
    }

    /// The event logs in a folder, but for those in folders of it, and their size.
    pub(super) fn open_folder(path: &Path) -> io::Result<(Box<dyn Format>, Progress)> {
        let (folder, progress) = Folder::read(path)?;
        let logs = Self {
            remarks: folder.remarks(),
            ..Self::of(Merge::of(folder.logs))
        };
        Ok((Box::new(logs), progress))
    }

    fn of(merge: Merge) -> Self {
        Self {
            merge,
            converter: Converter::default(),
            ready: VecDeque::new(),
            invalid_count: 0,
            has_ended: false,
            remarks: Vec::new(),
        }
    }
}

impl Iterator for Evtx {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Ok(event));
            }
            if self.has_ended {
                return None;
            }
            let error = match self.merge.next() {
                Some(Ok(record)) => match self.converter.convert(&record, &mut self.ready) {
                    Ok(()) => continue,
                    Err(reason) => self.merge.wrap(
                        record.log_index,
                        Error::Part {
                            part: format!("record {}", record.number),
                            reason,
                        },
                    ),
                },
                Some(Err(error)) => error,
                None => {
                    self.has_ended = true;
                    self.converter.finish(&mut self.ready);
                    continue;
                }
            };
            if error.is_passed_over() {
                self.invalid_count += 1;
            } else if !error.is_damage() {
                self.has_ended = true;
            }
            return Some(Err(error));
        }
    }
}

impl Format for Evtx {
    fn invalid_count(&self) -> u64 {
        self.invalid_count
    }

    fn part_names(&self) -> (&'static str, &'static str) {
        ("part", "parts")
    }

    fn remarks(&mut self) -> Vec<Remark> {
        let mut remarks = std::mem::take(&mut self.remarks);
        remarks.extend(self.merge.remarks());
        remarks
    }
}

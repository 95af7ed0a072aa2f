//! Several event logs as one, in the order of the times at which their records were written.
//!
//! A log is read chunk by chunk, and only once its turn has come; so what is held at a time is a
//! chunk's records of each log that tells of the same time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::file::EventLog;
use super::others::Others;
use super::record::Record;
use crate::replay::Error;
use crate::replay::format::Remark;

/// The logs, and of each the record that comes next.
pub(super) struct Merge {
    logs: Vec<Member>,
    /// The time of the next record of each log, as far as it is known, and the log.
    order: BinaryHeap<Reverse<(i64, usize)>>,
    /// The log whose next record is to be read before anything else.
    unread: Option<usize>,
    /// Whether a log is told with what is said of it.
    has_several: bool,
}

struct Member {
    log: EventLog,
    next: Option<Record>,
}

impl Merge {
    pub(super) fn of_one(log: EventLog) -> Self {
        Self {
            has_several: false,
            ..Self::of(vec![log])
        }
    }

    pub(super) fn of(logs: Vec<EventLog>) -> Self {
        let logs: Vec<_> = logs
            .into_iter()
            .map(|log| Member { log, next: None })
            .collect();
        let first = |(index, member): (usize, &Member)| Reverse((member.log.first_time(), index));
        Self {
            order: logs.iter().enumerate().map(first).collect(),
            logs,
            unread: None,
            has_several: true,
        }
    }

    /// An error with the log it is about, where there are several.
    pub(super) fn wrap(&self, log_index: usize, error: Error) -> Error {
        match self.logs.get(log_index) {
            Some(member) if self.has_several => Error::In {
                path: member.log.path().to_path_buf(),
                source: Box::new(error),
            },
            _ => error,
        }
    }

    /// Reads on in a log to its next record; what is to be said before that is returned.
    fn advance(&mut self, index: usize) -> Option<Error> {
        let member = self.logs.get_mut(index)?;
        match member.log.next()? {
            Ok(record) => {
                self.order.push(Reverse((record.time, index)));
                member.next = Some(Record {
                    log_index: index,
                    ..record
                });
                None
            }
            Err(error) => {
                // It may have more.
                self.unread = Some(index);
                Some(self.of_one_log(index, error))
            }
        }
    }

    /// One log of several that cannot be read on is passed over from there, and the others are read.
    fn of_one_log(&self, index: usize, error: Error) -> Error {
        let is_end = !error.is_passed_over() && !error.is_damage();
        let error = if is_end && self.has_several {
            Error::Part {
                part: "the rest of it".to_owned(),
                reason: error.to_string(),
            }
        } else {
            error
        };
        self.wrap(index, error)
    }

    /// What is to be said of the logs when they have been read.
    pub(super) fn remarks(&self) -> Vec<Remark> {
        let mut remarks = Vec::new();
        let mut others = Others::new();
        for member in &self.logs {
            for remark in member.log.remarks() {
                let text = if self.has_several {
                    format!("{}: {}", member.log.path().display(), remark.text)
                } else {
                    remark.text
                };
                remarks.push(Remark { text, ..remark });
            }
            others.extend(member.log.others());
        }
        if others.count() > 0 {
            remarks.push(Remark {
                text: others.to_string(),
                passed_over_count: 0,
            });
        }
        remarks
    }
}

impl Iterator for Merge {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(index) = self.unread.take()
                && let Some(error) = self.advance(index)
            {
                return Some(Err(error));
            }
            let Reverse((_, index)) = self.order.pop()?;
            // One that has not been read yet has no record, and gets its place by its first.
            self.unread = Some(index);
            if let Some(record) = self.logs.get_mut(index)?.next.take() {
                return Some(Ok(record));
            }
        }
    }
}

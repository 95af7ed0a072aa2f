//! What a trail says of its own gaps: a tree or a story of it may lack what was lost.

use std::collections::BTreeMap;

use rusqlite::Row;

use super::stored::Error;
use crate::quantity;
use crate::shown::{date_and_time, date_time_and_zone};
use crate::store::{Reader, Window};
use crate::trail::{Body, Event, Time};

/// Losses that are remembered one by one. Those after them are added to the last: its time grows.
const REMEMBERED_MAX: usize = 65_536;

/// Kinds that are named. A store of anybody's could have a kind a row.
const NAMED_MAX: usize = 8;

/// The losses of a trail.
#[derive(Debug, Default)]
pub struct Losses {
    losses: Vec<Loss>,
}

#[derive(Debug)]
struct Loss {
    first: Time,
    last: Time,
    kind: String,
    count: u64,
}

impl Losses {
    /// Those that a store tells of before the end of the window.
    pub fn of_store(reader: &Reader, window: &Window) -> Result<Self, Error> {
        let mut losses = Self::default();
        losses
            .read(reader, window)
            .map_err(|error| Error::from(error).seen_by(reader.guard()))?;
        Ok(losses)
    }

    fn read(&mut self, reader: &Reader, window: &Window) -> rusqlite::Result<()> {
        let sql = "SELECT time, lost_kind, lost_count, lost_reason FROM losses \
                   WHERE time < ?1 ORDER BY time";
        let until = window.until.map_or(i64::MAX, |until| until.0);
        let mut statement = reader.connection().prepare(sql)?;
        let mut rows = statement.query([until])?;
        while let Some(row) = rows.next()? {
            // What is no text or number there was written by somebody else.
            let text = |row: &Row<'_>, column| {
                let text = row.get::<_, Option<String>>(column).ok().flatten();
                text.unwrap_or_else(|| "?".to_owned())
            };
            let count: i64 = row.get("lost_count").unwrap_or(0);
            let time = Time(row.get("time")?);
            let (kind, reason) = (text(row, "lost_kind"), text(row, "lost_reason"));
            self.lose(time, &kind, count.unsigned_abs(), &reason);
        }
        Ok(())
    }

    /// Takes an event, which may tell of a loss.
    pub fn add(&mut self, event: &Event) {
        if let Body::Lost(lost) = &event.body {
            let kind = lost.lost_kind.to_string();
            self.lose(event.time, &kind, lost.lost_count, &lost.lost_reason);
        }
    }

    fn lose(&mut self, time: Time, kind: &str, count: u64, reason: &str) {
        if count == 0 {
            return;
        }
        // What another sink than this trail's lost may be here; who reads it knows.
        let kind = match reason.split_once(':') {
            Some((sink, _)) => format!("{kind} by {sink}"),
            None => kind.to_owned(),
        };
        let is_full = self.losses.len() >= REMEMBERED_MAX;
        match self.losses.last_mut().filter(|_| is_full) {
            Some(last) => {
                last.first = last.first.min(time);
                last.last = last.last.max(time);
                last.count = last.count.saturating_add(count);
            }
            None => self.losses.push(Loss {
                first: time,
                last: time,
                kind,
                count,
            }),
        }
    }

    /// In a sentence: how many were lost from `first` to `last`, of what kinds and when; `None` where
    /// nothing was.
    pub fn told(&self, first: Time, last: Time) -> Option<String> {
        let meant = |loss: &&Loss| loss.first <= last && loss.last >= first;
        let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
        let mut span: Option<(Time, Time)> = None;
        for loss in self.losses.iter().filter(meant) {
            let sum = kinds.entry(&loss.kind).or_default();
            *sum = sum.saturating_add(loss.count);
            let (begin, end) = span.unwrap_or((loss.first, loss.last));
            span = Some((begin.min(loss.first), end.max(loss.last)));
        }
        let (begin, end) = span?;
        let total = kinds.values().copied().fold(0, u64::saturating_add);
        let mut named: Vec<_> = kinds.into_iter().collect();
        named.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let more = if named.len() > NAMED_MAX {
            " and more"
        } else {
            ""
        };
        let named: Vec<String> = named
            .iter()
            .take(NAMED_MAX)
            .map(|(kind, count)| format!("{count} {kind}"))
            .collect();
        let (begin, end) = (date_and_time(begin), date_time_and_zone(end));
        let when = if end.starts_with(&begin) {
            format!("at {end}")
        } else {
            format!("from {begin} to {end}")
        };
        let were = if total == 1 { "was" } else { "were" };
        Some(format!(
            "{} {were} lost {when}, {}{more}: what they told may be missing",
            quantity::show_count(total, "event"),
            named.join(", ")
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALWAYS: (Time, Time) = (Time(i64::MIN), Time(i64::MAX));

    fn told(losses: &[(i64, &str, u64, &str)], (first, last): (Time, Time)) -> Option<String> {
        let mut all = Losses::default();
        for (time, kind, count, reason) in losses {
            all.lose(Time(*time), kind, *count, reason);
        }
        all.told(first, last)
    }

    #[test]
    fn is_one_sentence_with_each_kind_once() {
        let second = 1_000_000_000;
        let losses = [
            (second, "image_load", 2, "buffer_full"),
            (2 * second, "thread_exit", 3, "log:write_failed"),
            (3 * second, "image_load", 5, "buffer_full"),
        ];
        assert_eq!(
            told(&losses, ALWAYS).unwrap(),
            "10 events were lost from 1970-01-01 00:00:01.000000000 to 1970-01-01 \
             00:00:03.000000000 UTC, 7 image_load, 3 thread_exit by log: what they told \
             may be missing"
        );
        assert_eq!(
            told(&losses, (Time(second + 1), Time(2 * second))).unwrap(),
            "3 events were lost at 1970-01-01 00:00:02.000000000 UTC, 3 thread_exit by log: \
             what they told may be missing"
        );
        assert_eq!(told(&losses, (Time(4 * second), Time(5 * second))), None);
    }

    #[test]
    fn stays_short_and_whole_however_many_there_are() {
        let mut all = Losses::default();
        for time in 0..100_000 {
            all.lose(Time(time), &time.to_string(), 1, "buffer_full");
        }
        let told = all.told(ALWAYS.0, ALWAYS.1).unwrap();
        assert!(told.starts_with("100000 events were lost from "), "{told}");
        assert!(told.len() < 300 && told.contains(" and more: "), "{told}");
        let late = all.told(Time(99_999), Time(i64::MAX));
        assert!(late.is_some(), "those after the limit have their time");
    }
}

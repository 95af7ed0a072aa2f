//! The whole store at a glance: how much happened when, what was lost, when nobody recorded.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _};
use serde_json::{Value, json};

use super::processes::{EVENTS_SHOWN, milliseconds};
use crate::moment;
use crate::shown::safe;
use crate::store::{self, Activity, Guard, Window};
use crate::trail::Time;
use crate::tree::stored;

/// Spans of the picture.
const SPANS: usize = 400;

/// Losses, and beginnings and ends of recordings, that are shown one by one.
const MARKS_MAX: u32 = 5_000;

/// A mark: when, what, by which sensor, on which machine.
type Mark = (Time, String, Option<String>, Option<String>);

/// Looks at the store.
pub(super) fn read(directory: &Path, guard: &Guard) -> Result<Value, stored::Error> {
    let activity = store::activity(directory, guard)?;
    let reader = stored::open(directory, &Window::default(), guard)?;
    let marks = marks(reader.connection())?;
    let losses = losses(reader.connection())?;
    let mut notes: Vec<String> = activity
        .passed_over
        .iter()
        .map(|it| it.why.to_string())
        .collect();
    notes.extend(reader.take_failed().iter().map(|it| it.why.to_string()));
    if activity.is_cut {
        notes.push("there is more than the bar on top shows".to_owned());
    }
    if losses.len() as u64 >= u64::from(MARKS_MAX) {
        notes.push(format!(
            "there are more than the first {MARKS_MAX} losses that are shown"
        ));
    }
    let is_written = store::is_written(directory);
    let (begin, end) = activity
        .span()
        .unwrap_or_else(|| (moment::now(), moment::now()));
    let last = marks.last();
    let host = match last.and_then(|(.., host)| host.clone()) {
        Some(host) => host,
        None => host_of_any(reader.connection())?.unwrap_or_default(),
    };
    let source = marks
        .iter()
        .rev()
        .find_map(|(_, _, source, _)| source.clone());
    Ok(json!({
        "host": safe(&host),
        "source": source.map(|source| safe(&source)),
        "is_written": is_written,
        "begin_ms": milliseconds(begin),
        "end_ms": milliseconds(end),
        "spans": activity.spans(SPANS),
        "event_count": activity.count(),
        "size": activity.size,
        "since_ms": activity.since_last(EVENTS_SHOWN).map(milliseconds),
        "losses": losses,
        "stops": stops(&marks, &activity, is_written),
        "notes": notes.iter().map(|note| safe(note)).collect::<Vec<_>>(),
    }))
}

fn marks(connection: &Connection) -> Result<Vec<Mark>, stored::Error> {
    let mut marks = Vec::new();
    for kind in ["sensor_start", "sensor_stop"] {
        let sql =
            "SELECT time, kind, source, host FROM events WHERE kind = ?1 ORDER BY time LIMIT ?2";
        let mut statement = connection.prepare(sql)?;
        let rows = statement.query_map((kind, MARKS_MAX), |row| {
            Ok((Time(row.get(0)?), row.get(1)?, row.get(2)?, row.get(3)?))
        })?;
        for mark in rows {
            marks.push(mark?);
        }
    }
    marks.sort_by_key(|(time, ..)| *time);
    Ok(marks)
}

/// The machine of some event: of a trail without a mark, as another recorder's is.
fn host_of_any(connection: &Connection) -> Result<Option<String>, stored::Error> {
    let sql = "SELECT host FROM events LIMIT 1";
    let host = connection.query_row(sql, [], |row| row.get(0)).optional()?;
    Ok(host.flatten())
}

/// When, what, how many and why.
fn losses(connection: &Connection) -> Result<Vec<(f64, String, i64, String)>, stored::Error> {
    let sql = "SELECT time, lost_kind, lost_count, lost_reason FROM losses ORDER BY time LIMIT ?1";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([MARKS_MAX], |row| {
        // What is no text or number there was written by somebody else.
        let text = |column| row.get::<_, Option<String>>(column).ok().flatten();
        Ok((
            milliseconds(Time(row.get(0)?)),
            safe(&text(1).unwrap_or_default()),
            row.get(2).unwrap_or(0),
            safe(&text(3).unwrap_or_default()),
        ))
    })?;
    rows.map(|row| row.map_err(stored::Error::from)).collect()
}

/// When nobody recorded: from the end of a recording to the beginning of the next. Of one that was killed
/// the last event is the end.
fn stops(marks: &[Mark], activity: &Activity, is_written: bool) -> Vec<(f64, Option<f64>)> {
    let mut stops = Vec::new();
    let mut ended: Option<Time> = None;
    let mut is_first = true;
    let mut lasts: Vec<Time> = activity.ranges.iter().map(|range| range.last).collect();
    lasts.sort_unstable();
    for (time, kind, ..) in marks {
        if kind == "sensor_stop" {
            ended = Some(*time);
            continue;
        }
        if !std::mem::take(&mut is_first) {
            let before = lasts.partition_point(|last| last < time).checked_sub(1);
            let end = ended.or_else(|| before.and_then(|before| lasts.get(before).copied()));
            if let Some(end) = end {
                stops.push((milliseconds(end), Some(milliseconds(*time))));
            }
        }
        ended = None;
    }
    if !is_written && let Some(last) = lasts.last() {
        stops.push((milliseconds(ended.unwrap_or(*last)), None));
    }
    stops
}

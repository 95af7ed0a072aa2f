//! Between which times the events of a segment are, range by range: what finds the events of a time.
//!
//! Events are recorded nearly in the order of their times, so a row for a few hundred of them tells as
//! much as an entry for each in an index, which would be a fifth of the segment (a block range index,
//! as others call it). The times of a range may overlap those of its neighbours; whoever follows it
//! compares the times of the rows too.

use rusqlite::{Connection, Result, Row};

use super::segment::Shape;
use crate::trail::Time;

/// The table: the events up to `last_id` that no row before tells of are between these times.
pub(super) const TIME_RANGE: &str = "time_range";

/// Its columns.
pub(super) const COLUMNS: [&str; 3] = ["last_id", "first_time", "last_time"];

/// Events of a range. The events that no range tells of yet, fewer than this, are looked through.
const EVENT_COUNT: u32 = 512;

/// The range that is written.
#[derive(Debug, Default)]
pub(super) struct Open {
    event_count: u32,
    times: Option<(i64, i64)>,
}

impl Open {
    /// Goes on after the last range of a segment: the events behind it become part of the next.
    pub(super) fn resume(connection: &Connection, shape: &Shape) -> Result<Self> {
        let times = times_behind(connection, shape)?;
        Ok(Self {
            // There may be any number; what matters is that the range ends soon.
            event_count: if times.is_some() { EVENT_COUNT - 1 } else { 0 },
            times,
        })
    }

    /// An event was written; its range ends with it when it is full.
    pub(super) fn add(&mut self, connection: &Connection, id: i64, time: Time) -> Result<()> {
        self.times = Some(widened(self.times, (time.0, time.0)));
        self.event_count += 1;
        if self.event_count < EVENT_COUNT {
            return Ok(());
        }
        self.end(connection, id)
    }

    /// Ends the range with this event.
    pub(super) fn end(&mut self, connection: &Connection, id: i64) -> Result<()> {
        let ended = std::mem::take(self);
        let Some((first, last)) = ended.times else {
            return Ok(());
        };
        let sql = "INSERT OR REPLACE INTO time_range(last_id, first_time, last_time) \
                   VALUES (?1, ?2, ?3)";
        let mut add = connection.prepare_cached(sql)?;
        add.execute((id, first, last)).map(drop)
    }
}

/// The first and the last id of events with these times, both included; events between them may have
/// other times. `None` where there are none.
pub(super) fn ids(
    connection: &Connection,
    shape: &Shape,
    (since, until): (i64, i64),
) -> Result<Option<(i64, i64)>> {
    if (since, until) == (i64::MIN, i64::MAX) {
        return all_ids(connection, shape);
    }
    if !shape.has_table(TIME_RANGE) {
        // Segments before version 3 have an index of the times of each table.
        let condition = "time BETWEEN ?1 AND ?2 AND ?3 IS NOT NULL";
        return ids_where(connection, shape, condition, (since, until, 0));
    }
    let mut found: Option<(i64, i64)> = None;
    let mut after = i64::MIN;
    let mut ranges = connection
        .prepare_cached("SELECT last_id, first_time, last_time FROM time_range ORDER BY last_id")?;
    let mut rows = ranges.query([])?;
    while let Some(row) = rows.next()? {
        let (last_id, first, last): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        if first <= until && last >= since {
            found = Some(widened(found, (after.saturating_add(1), last_id)));
        }
        after = last_id;
    }
    let condition = "+time BETWEEN ?1 AND ?2 AND id > ?3";
    let behind = ids_where(connection, shape, condition, (since, until, after))?;
    Ok(match behind {
        Some(behind) => Some(widened(found, behind)),
        None => found,
    })
}

/// A range, as it is told.
#[cfg(feature = "web")]
#[derive(Clone, Copy, Debug)]
pub(super) struct Told {
    pub(super) last_id: i64,
    /// Events in it, at most.
    pub(super) count: u64,
    /// The first and the last time.
    pub(super) times: (i64, i64),
}

/// All ranges, no more than `count_max`. What no range tells of comes last.
#[cfg(feature = "web")]
pub(super) fn ranges(
    connection: &Connection,
    shape: &Shape,
    count_max: usize,
) -> Result<Vec<Told>> {
    let mut found = Vec::new();
    let Some((first_id, newest_id)) = all_ids(connection, shape)? else {
        return Ok(found);
    };
    let mut before = first_id.saturating_sub(1);
    if shape.has_table(TIME_RANGE) {
        let sql = "SELECT last_id, first_time, last_time FROM time_range ORDER BY last_id LIMIT ?1";
        let mut ranges = connection.prepare(sql)?;
        let mut rows = ranges.query([i64::try_from(count_max).unwrap_or(i64::MAX)])?;
        while let Some(row) = rows.next()? {
            let last_id: i64 = row.get(0)?;
            let count = last_id.saturating_sub(before).max(0).unsigned_abs();
            found.push(Told {
                last_id,
                count,
                times: (row.get(1)?, row.get(2)?),
            });
            before = last_id;
        }
    }
    // Those that no range tells of are few, and told one by one.
    let few = 4 * i64::from(EVENT_COUNT);
    for table in shape.event_tables() {
        let sql = format!("SELECT id, time FROM {table} WHERE id > ?1 LIMIT ?2");
        let mut behind = connection.prepare(&sql)?;
        let mut rows = behind.query((before, few))?;
        while let Some(row) = rows.next()? {
            let time = row.get(1)?;
            found.push(Told {
                last_id: row.get(0)?,
                count: 1,
                times: (time, time),
            });
        }
    }
    let told = found
        .iter()
        .map(|told| told.count)
        .fold(0, u64::saturating_add);
    let rest = newest_id
        .abs_diff(first_id)
        .saturating_add(1)
        .saturating_sub(told);
    if rest > EVENT_COUNT.into()
        && let Some(times) = times_behind(connection, shape)?
    {
        found.push(Told {
            last_id: newest_id,
            count: rest,
            times,
        });
    }
    Ok(found)
}

/// The first and the last time of an event.
pub(super) fn times(connection: &Connection, shape: &Shape) -> Result<Option<(Time, Time)>> {
    let mut times = None;
    if shape.has_table(TIME_RANGE) {
        let sql = "SELECT min(first_time), max(last_time) FROM time_range";
        times = connection.query_row(sql, [], ends)?;
    }
    if let Some(behind) = times_behind(connection, shape)? {
        times = Some(widened(times, behind));
    }
    Ok(times.map(|(first, last)| (Time(first), Time(last))))
}

/// The first and the last time of the events that no range tells of.
fn times_behind(connection: &Connection, shape: &Shape) -> Result<Option<(i64, i64)>> {
    let mut condition = String::new();
    if shape.has_table(TIME_RANGE) {
        let sql = "SELECT max(last_id) FROM time_range";
        let last: Option<i64> = connection.query_row(sql, [], |row| row.get(0))?;
        if let Some(last) = last {
            condition = format!(" WHERE id > {last}");
        }
    }
    let mut times = None;
    for table in shape.event_tables() {
        // Two questions, because SQLite takes only one end from an index at a time.
        let sql = format!(
            "SELECT (SELECT min(time) FROM {table}{condition}), \
             (SELECT max(time) FROM {table}{condition})"
        );
        if let Some(of_table) = connection.query_row(&sql, [], ends)? {
            times = Some(widened(times, of_table));
        }
    }
    Ok(times)
}

fn all_ids(connection: &Connection, shape: &Shape) -> Result<Option<(i64, i64)>> {
    let mut found = None;
    for table in shape.event_tables() {
        // Each end by itself is one step in the table.
        let sql = format!("SELECT (SELECT min(id) FROM {table}), (SELECT max(id) FROM {table})");
        if let Some(of_table) = connection.query_row(&sql, [], ends)? {
            found = Some(widened(found, of_table));
        }
    }
    Ok(found)
}

fn ids_where(
    connection: &Connection,
    shape: &Shape,
    condition: &str,
    values: (i64, i64, i64),
) -> Result<Option<(i64, i64)>> {
    let mut found = None;
    for table in shape.event_tables() {
        let sql = format!("SELECT min(id), max(id) FROM {table} WHERE {condition}");
        let mut statement = connection.prepare_cached(&sql)?;
        if let Some(of_table) = statement.query_row(values, ends)? {
            found = Some(widened(found, of_table));
        }
    }
    Ok(found)
}

/// Both ends, where there are any.
fn ends(row: &Row<'_>) -> Result<Option<(i64, i64)>> {
    let (first, last): (Option<i64>, Option<i64>) = (row.get(0)?, row.get(1)?);
    Ok(first.zip(last))
}

fn widened(known: Option<(i64, i64)>, (first, last): (i64, i64)) -> (i64, i64) {
    let (known_first, known_last) = known.unwrap_or((first, last));
    (known_first.min(first), known_last.max(last))
}

//! Reading a view over all segments: portion by portion, so that no segment has to stay open for a
//! question and nothing but a portion is in memory.

use std::collections::HashSet;
use std::sync::Arc;

use event::ProcessKey;
use rusqlite::types::ValueRef;
use rusqlite::{CachedStatement, Connection, OptionalExtension as _, Result};

use super::super::cells::{Cell, Cells, number, text};
use super::super::time_ranges;
use super::super::virtual_table::{self, AsIs};
use super::plan::Plan;
use super::{Merge, Union, in_segment, render};
use crate::trail::Time;

/// Rows of a portion at most.
const ROW_COUNT: i64 = 1024;

/// Bytes of the texts of a portion, after which it ends.
const SIZE_MAX: usize = 1 << 20;

/// Where the next portion is.
#[derive(Clone, Copy, Debug)]
struct Place {
    segment: usize,
    arm: usize,
    /// The number of the last row that was read there.
    after: i64,
}

/// Every time there is.
const ALL: (i64, i64) = (i64::MIN, i64::MAX);

/// Before every row.
const BEGIN: i64 = i64::MIN;

/// A place in a view over all segments.
pub(in crate::store) struct Cursor {
    union: Arc<Union>,
    plan_text: String,
    plan: Plan,
    /// Where the cells of a column are in a row.
    places: Vec<Option<usize>>,
    values: Cells,
    next: Option<Place>,
    /// The rows of the segment that are asked for: after the first number, up to the last.
    bounds: (i64, i64),
    rows: Cells,
    row: usize,
    /// The processes that a newer segment told of.
    told: HashSet<(Option<ProcessKey>, Option<i64>)>,
}

impl Cursor {
    pub(super) fn new(union: &Arc<Union>) -> Self {
        Self {
            union: Arc::clone(union),
            plan_text: String::new(),
            plan: Plan::default(),
            places: Vec::new(),
            values: Cells::default(),
            next: None,
            bounds: (BEGIN, i64::MAX),
            rows: Cells::default(),
            row: 0,
            told: HashSet::new(),
        }
    }

    fn follow(&mut self, plan: &str) -> Result<()> {
        if self.plan_text == plan && !self.places.is_empty() {
            return Ok(());
        }
        self.plan = plan.parse()?;
        plan.clone_into(&mut self.plan_text);
        let count = self.union.view.columns.len();
        self.places = vec![None; count];
        for (place, column) in self.plan.columns(count).enumerate() {
            if let Some(cell) = self.places.get_mut(column) {
                *cell = Some(place);
            }
        }
        Ok(())
    }

    /// The segment that is asked first, or after that one.
    fn segment_after(&self, segment: Option<usize>) -> Option<usize> {
        let count = self.union.segments.len();
        match (self.union.merge, segment) {
            // The newest first: it has a process whole.
            (Merge::Processes, None) => count.checked_sub(1),
            (Merge::Processes, Some(segment)) => segment.checked_sub(1),
            (_, None) => (count > 0).then_some(0),
            (_, Some(segment)) => Some(segment + 1).filter(|next| *next < count),
        }
    }

    fn begin_of(segment: Option<usize>) -> Option<Place> {
        segment.map(|segment| Place {
            segment,
            arm: 0,
            after: BEGIN,
        })
    }

    /// Reads portions until one has a row.
    fn fill(&mut self) -> Result<()> {
        self.row = 0;
        self.rows.clear();
        while let Some(place) = self.next {
            let questions = self.union.questions(&self.plan, place.segment);
            let question = questions.as_deref().and_then(|all| all.get(place.arm));
            let begins = place.arm == 0 && place.after == BEGIN;
            let question = match question {
                Some(question) if !begins || self.enter(place.segment)? => Some(question),
                _ => None,
            };
            let Some(question) = question else {
                self.next = Self::begin_of(self.segment_after(Some(place.segment)));
                continue;
            };
            let (rows, values) = (&mut self.rows, &self.values);
            let bounds = (place.after.max(self.bounds.0), self.bounds.1);
            let last = self.union.segments.ask(place.segment, |connection| {
                rows.clear();
                portion(connection, question, bounds, values, rows)
            })?;
            self.next = match last {
                // It cannot be read any further, and what it said before stays said.
                None => Self::begin_of(self.segment_after(Some(place.segment))),
                Some(None) => Some(Place {
                    arm: place.arm + 1,
                    after: BEGIN,
                    ..place
                }),
                Some(Some(after)) => Some(Place { after, ..place }),
            };
            self.merge(place.segment)?;
            if self.rows.count() > 0 {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a segment may have a row that is asked for; notes between which numbers it is.
    fn enter(&mut self, segment: usize) -> Result<bool> {
        if !self.may_have(segment)? {
            return Ok(false);
        }
        self.bounds = (BEGIN, i64::MAX);
        let times = self.times();
        let Some((_, shape)) = self.union.segments.shape(segment).filter(|_| times != ALL) else {
            return Ok(true);
        };
        let ask_fn = |connection: &Connection| time_ranges::ids(connection, shape, times);
        let Some((first, last)) = self.union.segments.ask(segment, ask_fn)?.flatten() else {
            return Ok(false);
        };
        self.bounds = (first.saturating_sub(1), last);
        Ok(true)
    }

    /// The times of the events that are asked for: no others can meet the conditions.
    fn times(&self) -> (i64, i64) {
        let mut times = ALL;
        let Some(column) = self.union.column("time") else {
            return times;
        };
        for (condition, value) in self.plan.conditions().iter().zip(self.values.all()) {
            let Some(value) = whole(value).filter(|_| condition.column == column) else {
                continue;
            };
            if condition.operator != "<" && condition.operator != "<=" {
                times.0 = times.0.max(value);
            }
            if condition.operator != ">" && condition.operator != ">=" {
                times.1 = times.1.min(value);
            }
        }
        times
    }

    /// Whether a segment may have a row that is asked for: most have nothing of a process, which one
    /// short question tells.
    fn may_have(&self, segment: usize) -> Result<bool> {
        for name in ["process_key", "process_id"] {
            let column = self.union.column(name);
            let conditions = self.plan.conditions().iter();
            let place = conditions
                .into_iter()
                .position(|it| Some(it.column) == column && it.operator == "=");
            let Some(value) = place.and_then(|place| self.values.all().nth(place)) else {
                continue;
            };
            let sql = format!("SELECT 1 FROM process WHERE {name} = ?1");
            let known = self.union.segments.ask(segment, |connection| {
                connection.prepare_cached(&sql)?.exists([AsIs(value)])
            })?;
            return Ok(known.unwrap_or(false));
        }
        Ok(true)
    }

    /// Makes the rows of a segment those of the store.
    fn merge(&mut self, segment: usize) -> Result<()> {
        if self.union.segments.len() <= 1 || self.rows.count() == 0 {
            return Ok(());
        }
        match self.union.merge {
            Merge::Each => Ok(()),
            Merge::Processes => {
                let key = self.place("process_key");
                let id = self.place("process_id");
                let told = &mut self.told;
                self.rows.retain(|row| {
                    let key = text(row.cell(key)).and_then(ProcessKey::from_hex);
                    // What has no key was written by somebody else, and is no other's.
                    key.is_none() || told.insert((key, number(row.cell(id))))
                });
                Ok(())
            }
            Merge::Threads => self.merge_threads(segment),
        }
    }

    fn place(&self, name: &str) -> Option<usize> {
        let column = self.union.column(name)?;
        self.places.get(column).copied().flatten()
    }

    fn merge_threads(&mut self, segment: usize) -> Result<()> {
        let names = ["process_key", "thread_id", "start_time", "exit_time"];
        let [key, thread, start, exit] = names.map(|name| self.place(name));
        let exit_text = self.place("exit_time_text");
        let run_time = self.place("run_time_ns");
        let mut dropped = HashSet::new();
        for n in 0..self.rows.count() {
            let row = self.rows.row(n);
            let of_thread = (row.cell(key), row.cell(thread));
            match (number(row.cell(start)), number(row.cell(exit))) {
                (Some(start), None) => {
                    let Some(end) = self.later_exit(segment, of_thread, start)? else {
                        continue;
                    };
                    self.rows.set(n, exit, Cell::Integer(end));
                    self.rows
                        .set(n, run_time, Cell::Integer(end.saturating_sub(start)));
                    if exit_text.is_some() {
                        let shown = Time(end).to_string();
                        self.rows.set_text(n, exit_text, &shown);
                    }
                }
                (None, Some(end)) if self.has_earlier_start(segment, of_thread, end)? => {
                    dropped.insert(n);
                }
                _ => {}
            }
        }
        let mut n = 0;
        self.rows.retain(|_row| {
            n += 1;
            !dropped.contains(&(n - 1))
        });
        Ok(())
    }

    /// When a thread ended, in the first of the segments after that one that knows.
    fn later_exit(
        &self,
        segment: usize,
        thread: (ValueRef<'_>, ValueRef<'_>),
        start: i64,
    ) -> Result<Option<i64>> {
        let later = segment + 1..self.union.segments.len();
        let sql = "SELECT min(o.time) FROM @process AS q JOIN @thread_exit AS o \
                   ON o.process = q.id AND o.thread_id = ?2 \
                   WHERE q.process_key = ?1 AND o.time >= ?3";
        for segment in later {
            if let Some(exit) = self.ask_of_thread(segment, sql, thread, start)? {
                return Ok(Some(exit));
            }
        }
        Ok(None)
    }

    fn has_earlier_start(
        &self,
        segment: usize,
        thread: (ValueRef<'_>, ValueRef<'_>),
        end: i64,
    ) -> Result<bool> {
        let sql = "SELECT 1 FROM @process AS q JOIN @thread_start AS o \
                   ON o.process = q.id AND o.thread_id = ?2 \
                   WHERE q.process_key = ?1 AND o.time <= ?3 LIMIT 1";
        for segment in (0..segment).rev() {
            if self.ask_of_thread(segment, sql, thread, end)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn ask_of_thread(
        &self,
        segment: usize,
        sql: &str,
        (key, thread): (ValueRef<'_>, ValueRef<'_>),
        time: i64,
    ) -> Result<Option<i64>> {
        let Some((_, shape)) = self.union.segments.shape(segment) else {
            return Ok(None);
        };
        let sql = render(sql, |table| in_segment(shape, table));
        let answer = self.union.segments.ask(segment, |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let parameters = (AsIs(key), AsIs(thread), time);
            let time = statement.query_row(parameters, |row| row.get(0));
            time.optional().map(Option::flatten)
        })?;
        Ok(answer.flatten())
    }
}

impl virtual_table::Cursor for Cursor {
    fn begin(&mut self, plan: &str, values: &mut dyn Iterator<Item = ValueRef<'_>>) -> Result<()> {
        self.follow(plan)?;
        self.values.clear();
        for value in values {
            self.values.push(value);
        }
        self.told.clear();
        self.next = Self::begin_of(self.segment_after(None));
        self.fill()
    }

    fn next(&mut self) -> Result<()> {
        self.row += 1;
        if self.row < self.rows.count() {
            return Ok(());
        }
        self.fill()
    }

    fn is_done(&self) -> bool {
        self.row >= self.rows.count()
    }

    fn cell(&self, column: usize) -> ValueRef<'_> {
        let place = self.places.get(column).copied().flatten();
        self.rows.row(self.row).cell(place)
    }
}

/// A number as the times of events can be compared with it: a fraction is never reached.
fn whole(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Integer(number) => Some(number),
        #[expect(clippy::cast_possible_truncation, reason = "saturates, as times do")]
        ValueRef::Real(number) => Some(number.floor() as i64),
        _ => None,
    }
}

/// Reads a portion; the last row's number where there may be more.
fn portion(
    connection: &Connection,
    sql: &str,
    (after, last_row): (i64, i64),
    values: &Cells,
    into: &mut Cells,
) -> Result<Option<i64>> {
    let mut statement: CachedStatement<'_> = connection.prepare_cached(sql)?;
    let width = statement.column_count();
    into.width = width.saturating_sub(1);
    statement.raw_bind_parameter(1, after)?;
    statement.raw_bind_parameter(2, last_row)?;
    statement.raw_bind_parameter(3, ROW_COUNT)?;
    for (n, value) in (4..).zip(values.all()) {
        statement.raw_bind_parameter(n, AsIs(value))?;
    }
    let mut rows = statement.raw_query();
    let mut last = None;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        last = Some(row.get(0)?);
        for column in 1..width {
            into.push(row.get_ref(column)?);
        }
        count += 1;
        if into.size() > SIZE_MAX {
            return Ok(last);
        }
    }
    into.lone_rows = if width > 1 { 0 } else { count };
    Ok(last.filter(|_| i64::try_from(count) == Ok(ROW_COUNT)))
}

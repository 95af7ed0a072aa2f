//! The views over all segments of a store: virtual tables that ask one segment after the other, in
//! portions, and the views of the usual names upon them.
//!
//! SQLite could attach the segments and unite them in SQL, but only 125 of them, and its queries
//! nest too deep long before. What a segment's views have must not matter either: they are for other
//! programs, and may be of any version, damaged, or somebody else's.

mod cursor;
mod plan;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::vtab::IndexInfo;
use rusqlite::{Connection, Result};

use super::layout;
use super::segment::Shape;
use super::segments::Segments;
use super::views::{Arm, View, affinity, arms, render, views, whole};
use super::virtual_table::{self, Table};
use cursor::Cursor;
use plan::Plan;

/// What the virtual table of a view is called.
fn table_name(view: &str) -> String {
    format!("all_{view}")
}

/// Makes the views in `connection`.
pub(super) fn create_views(connection: &Connection, segments: &Arc<Segments>) -> Result<()> {
    let mut sql = String::new();
    for view in views() {
        let name = view.name;
        let table = table_name(name);
        virtual_table::add(connection, &table, Union::new(view, segments))?;
        let rows = format!("SELECT * FROM {table}");
        // Writing to a String cannot fail.
        let _infallible = writeln!(sql, "CREATE TEMP VIEW {name} AS {};", whole(name, &rows));
    }
    connection.execute_batch(&sql)
}

/// How rows of several segments become those of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Merge {
    /// They are those of the store.
    Each,
    /// A process is in each segment it was running in, whole in the newest of them.
    Processes,
    /// A thread's exit may be in a later segment than its start.
    Threads,
}

impl Merge {
    fn of(view: &str) -> Self {
        match view {
            "processes" => Self::Processes,
            "threads" => Self::Threads,
            _ => Self::Each,
        }
    }

    /// Columns that are needed whatever is asked, and that are the same in every segment.
    const fn keys(self) -> &'static [&'static str] {
        match self {
            Self::Each => &[],
            Self::Processes => &["process_key", "process_id"],
            Self::Threads => &["process_key", "thread_id", "process_id"],
        }
    }
}

/// The SQL of each arm, by a plan's text and the number of a shape.
type Questions = HashMap<(String, usize), Arc<[String]>>;

/// A view over all segments.
pub(super) struct Union {
    view: &'static View,
    merge: Merge,
    arms: Vec<Arm>,
    segments: Arc<Segments>,
    questions: Mutex<Questions>,
}

impl Union {
    fn new(view: &'static View, segments: &Arc<Segments>) -> Self {
        let merge = Merge::of(view.name);
        let mut arms = arms(view.name);
        if merge == Merge::Processes && segments.len() > 1 {
            for arm in &mut arms {
                run_in_newest(view, arm, segments.newest_run());
            }
        }
        Self {
            view,
            merge,
            arms,
            segments: Arc::clone(segments),
            questions: Mutex::default(),
        }
    }

    fn column(&self, name: &str) -> Option<usize> {
        let mut columns = self.view.columns.iter();
        columns.position(|column| column.name == name)
    }

    /// What is asked of a segment, an arm after the other.
    fn questions(&self, plan: &Plan, segment: usize) -> Option<Arc<[String]>> {
        let (number, shape) = self.segments.shape(segment)?;
        let questions = self.questions.lock();
        let mut questions = questions.unwrap_or_else(PoisonError::into_inner);
        let known = questions.entry((plan.to_string(), number));
        let known = known.or_insert_with(|| {
            let arms = self.arms.iter();
            arms.map(|arm| question(arm, plan, shape)).collect()
        });
        Some(Arc::clone(known))
    }
}

impl Table for Union {
    type Cursor = Cursor;

    fn declaration(&self) -> String {
        let columns = self.view.columns.iter();
        let columns = columns.map(|column| format!("{} {}", column.name, affinity(column.name)));
        let columns: Vec<_> = columns.collect();
        format!("CREATE TABLE it({})", columns.join(", "))
    }

    fn plan(&self, info: &mut IndexInfo) -> Result<bool> {
        let keys: Vec<_> = self
            .merge
            .keys()
            .iter()
            .map(|key| self.column(key))
            .collect();
        // What a row becomes by merging cannot be asked of a segment.
        let may_ask = |column| self.merge == Merge::Each || keys.contains(&Some(column));
        let mut plan = Plan::choose(info, |column| {
            may_ask(column).then(|| self.view.columns.get(column).map(|column| column.name))?
        })?;
        plan.uses(keys.into_iter().flatten());
        if self.merge == Merge::Threads {
            plan.uses(
                ["start_time", "exit_time"]
                    .iter()
                    .filter_map(|name| self.column(name)),
            );
        }
        info.set_idx_str(&plan.to_string());
        Ok(true)
    }

    fn cursor(self: &Arc<Self>) -> Cursor {
        Cursor::new(self)
    }
}

/// `running` as it is over several segments: the newest run of all must have told of the process.
fn run_in_newest(view: &View, arm: &mut Arm, newest_run: Option<i64>) {
    let place = |name: &str| view.columns.iter().position(|column| column.name == name);
    let expression = |name| place(name).and_then(|place| arm.columns.get(place));
    let (Some(exit_time), Some(run_began)) = (expression("exit_time"), expression("run_began"))
    else {
        return;
    };
    let newest_run = newest_run.map_or_else(|| "NULL".to_owned(), |run| run.to_string());
    let running = format!("({exit_time}) IS NULL AND ({run_began}) IS {newest_run}");
    if let Some(cell) = place("running").and_then(|place| arm.columns.get_mut(place)) {
        *cell = running;
    }
}

/// The SQL of a portion of an arm: first the row's number, then the columns that the plan uses. Its
/// parameters are the number of the row before and of the last row, the most rows, and those of the
/// plan.
fn question(arm: &Arm, plan: &Plan, shape: &Shape) -> String {
    let row = arm.row;
    let none = "NULL".to_owned();
    let expression = |column: usize| arm.columns.get(column).unwrap_or(&none);
    let mut sql = format!("SELECT {row}");
    for column in plan.columns(arm.columns.len()) {
        let _infallible = write!(sql, ", {}", expression(column));
    }
    let _infallible = write!(sql, " FROM {} WHERE ({})", arm.from, arm.condition);
    for (n, condition) in plan.conditions().iter().enumerate() {
        let (column, operator) = (expression(condition.column), condition.operator);
        // The numbers of the rows are the bound to follow, not an older segment's index of times.
        let plus = if column == "e.time" { "+" } else { "" };
        let _infallible = write!(sql, " AND {plus}({column}) {operator} ?{}", n + 4);
    }
    let _infallible = write!(
        sql,
        " AND {row} > ?1 AND {row} <= ?2 ORDER BY {row} LIMIT ?3"
    );
    render(&sql, |table| in_segment(shape, table))
}

/// A table of a segment, with NULL for what is later than the segment or not there.
pub(super) fn in_segment(shape: &Shape, table: &str) -> String {
    let columns = layout::known_columns(table).unwrap_or_default();
    let has = |column: &str| shape.has(table, column);
    if columns.iter().all(|(column, _)| has(column)) {
        return table.to_owned();
    }
    let columns = columns.iter().map(|(column, _)| {
        if has(column) {
            (*column).to_owned()
        } else {
            format!("NULL AS {column}")
        }
    });
    let columns: Vec<_> = columns.collect();
    let rows = if shape.has_table(table) {
        format!(" FROM {table}")
    } else {
        " WHERE 0".to_owned()
    };
    format!("(SELECT {}{rows})", columns.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::directory;
    use super::super::live::Live;
    use super::super::segment;
    use super::super::writer::Writer;
    use super::super::{Guard, Reader, Window};
    use super::*;
    use crate::trail::Time;

    /// What SQLite does for a question of each segment, step by step.
    fn steps(sql: &str) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        drop(Writer::create(path, Time(1), &Live::default()).unwrap());
        let (connection, shape) = segment::open(&path.join(directory::name_at(Time(1)))).unwrap();
        let guard = Guard::default();
        let reader = Reader::open(path, &Window::default(), &guard).unwrap();
        let explain = |connection: &Connection, sql: &str| -> Vec<String> {
            let sql = format!("EXPLAIN QUERY PLAN {sql}");
            let mut statement = connection.prepare(&sql).unwrap();
            // Without values: only the plan is wanted.
            let steps = statement.raw_query().mapped(|row| row.get("detail"));
            steps.collect::<Result<_>>().unwrap()
        };
        let outer = explain(reader.connection(), sql);
        let (table, plan) = outer
            .iter()
            .find_map(|step| step.split_once(" VIRTUAL TABLE INDEX 0:"))
            .unwrap();
        let view = table.trim_start_matches("SCAN all_");
        let plan: Plan = plan.parse().unwrap();
        let arms = arms(view).into_iter();
        arms.flat_map(|arm| explain(&connection, &question(&arm, &plan, &shape)))
            .collect()
    }

    /// Grouping all events by kind took 173 ms of a processor for 308,000 of them.
    #[test]
    fn events_of_a_kind_are_counted_without_reading_them() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        drop(Writer::create(path, Time(1), &Live::default()).unwrap());
        let (connection, shape) = segment::open(&path.join(directory::name_at(Time(1)))).unwrap();
        let mut plan = Plan::default();
        plan.uses([0, 1].into_iter());
        let arms = arms("kind_totals");
        let (marks, tables) = arms.split_last().unwrap();
        assert!(marks.from.contains("@mark ") && tables.len() > 5);
        for arm in tables {
            let sql = format!("EXPLAIN {}", question(arm, &plan, &shape));
            let mut statement = connection.prepare(&sql).unwrap();
            let steps = statement.raw_query().mapped(|row| row.get("opcode"));
            let steps: Vec<String> = steps.collect::<Result<_>>().unwrap();
            assert!(steps.iter().any(|step| step == "Count"), "{sql}\n{steps:?}");
            assert!(
                !steps.iter().any(|step| step == "Rewind"),
                "{sql}\n{steps:?}"
            );
        }
    }

    /// Whether a step goes over the steps before it, over rows of a stretch, or over nothing at all.
    fn is_small(step: &str) -> bool {
        let name = step.trim_start_matches("SCAN ").split(' ').next().unwrap();
        !["e", "p", "process", "x", "o", "s", "g"].contains(&name)
    }

    #[test]
    fn questions_that_are_asked_often_use_an_index() {
        for (sql, index) in [
            (
                "SELECT * FROM processes WHERE process_id = 1",
                "process_id=?",
            ),
            (
                "SELECT * FROM processes WHERE process_key = 'a'",
                "process_key=?",
            ),
            (
                "SELECT * FROM events WHERE process_key = 'a'",
                "process_key=?",
            ),
            ("SELECT * FROM events WHERE process_id = 1", "process_id=?"),
            (
                "SELECT * FROM events WHERE time BETWEEN 1 AND 2",
                "rowid>? AND rowid<?",
            ),
            (
                "SELECT * FROM images WHERE time BETWEEN 1 AND 2",
                "rowid>? AND rowid<?",
            ),
            (
                "SELECT * FROM events WHERE process_id = 1 AND time BETWEEN 1 AND 2",
                "process_id=?",
            ),
            ("SELECT * FROM threads WHERE process_id = 1", "process_id=?"),
        ] {
            let steps = steps(sql);
            let scans = |step: &&String| step.starts_with("SCAN ") && !is_small(step);
            assert_eq!(steps.iter().find(scans), None, "{sql}\n{steps:#?}");
            let uses = steps.iter().any(|step| step.contains(index));
            assert!(uses, "{sql}\n{steps:#?}");
        }
    }
}

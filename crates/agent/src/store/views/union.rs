//! Temporary views over many segments, attached as `s0` (the oldest), `s1` and so on.
//!
//! They are made over the tables. The views a segment brings are for other programs: they may be of
//! any version, damaged, or somebody else's, and are not looked at.

use super::described::{Column, columns_of, views};
use super::{body, create, render, time_text};
use crate::store::layout;
use crate::store::segment::Shape;

/// The statements that make temporary views over the attached segments `s0`, `s1` and so on.
pub(in crate::store) fn union(shapes: &[Shape]) -> String {
    let mut sql = String::new();
    for (n, shape) in shapes.iter().enumerate() {
        of_attached(&mut sql, n, shape);
    }
    let count = shapes.len();
    for view in views() {
        let body = match view.name {
            "processes" => union_of_processes(shapes),
            "threads" => union_of_threads(shapes),
            "image_totals" => format!(
                "SELECT image, sum(load_count) AS load_count FROM ({}) GROUP BY image",
                union_all(count, view.name, "")
            ),
            name => union_all(count, name, ""),
        };
        create(&mut sql, "TEMP", view.name, &body);
    }
    sql
}

/// The views of segment `n`, called `events_n` and so on. A table that is not all there is first
/// made whole, with NULL for what is later than the segment.
fn of_attached(sql: &mut String, n: usize, shape: &Shape) {
    for table in layout::all_tables().filter(|table| !is_whole(shape, table)) {
        let columns = layout::known_columns(table).unwrap_or_default();
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, _)| {
                if shape.has(table, name) {
                    (*name).to_owned()
                } else {
                    format!("NULL AS {name}")
                }
            })
            .collect();
        let rows = if shape.has_table(table) {
            format!("FROM s{n}.{table}")
        } else {
            "WHERE 0".to_owned()
        };
        let body = format!("SELECT {} {rows}", columns.join(", "));
        create(sql, "TEMP", &format!("{table}_of_{n}"), &body);
    }
    for view in views() {
        let body = render(&body(view), |table| in_attached(n, shape, table));
        create(sql, "TEMP", &format!("{}_{n}", view.name), &body);
    }
}

/// Whether a segment has every column of the table.
fn is_whole(shape: &Shape, table: &str) -> bool {
    let columns = layout::known_columns(table).unwrap_or_default();
    columns.iter().all(|(column, _)| shape.has(table, column))
}

/// What a table of segment `n` is called.
fn in_attached(n: usize, shape: &Shape, table: &str) -> String {
    if is_whole(shape, table) {
        format!("s{n}.{table}")
    } else {
        format!("{table}_of_{n}")
    }
}

/// One `SELECT` a segment, each of the view's own columns; `{n}` in `extra` is the segment's number.
fn union_all(count: usize, view: &str, extra: &str) -> String {
    let columns = columns_of(view).iter().map(|column| column.name);
    if count == 0 {
        let nothing: Vec<_> = columns.map(|name| format!("NULL AS {name}")).collect();
        let extra = extra.replace("{n}", "0");
        return format!("SELECT {extra}{} WHERE 0", nothing.join(", "));
    }
    let columns = columns.collect::<Vec<_>>().join(", ");
    let arms: Vec<_> = (0..count)
        .map(|n| {
            let extra = extra.replace("{n}", &n.to_string());
            format!("SELECT {extra}{columns} FROM {view}_{n}")
        })
        .collect();
    arms.join(" UNION ALL ")
}

/// A `SELECT` a segment, made by `arm_fn` of the segment's number and what it calls its tables.
fn of_each(shapes: &[Shape], arm_fn: impl Fn(usize) -> String) -> String {
    let arms: Vec<_> = shapes
        .iter()
        .enumerate()
        .map(|(n, shape)| render(&arm_fn(n), |table| in_attached(n, shape, table)))
        .collect();
    arms.join(" UNION ALL ")
}

/// A process is in each segment it was running in, whole in the newest of them, which is the one
/// that is shown.
///
/// A `GROUP BY` would say the same, but no condition on the process would reach the indexes
/// through it.
fn union_of_processes(shapes: &[Shape]) -> String {
    let view = "processes";
    if shapes.len() <= 1 {
        return union_all(shapes.len(), view, "");
    }
    let newest_run = of_each(shapes, |_n| {
        "SELECT max(run_began) AS began FROM @stretch".to_owned()
    });
    let in_newer = of_each(shapes, |n| {
        let tables = [
            "process_carried",
            "process_start",
            "process_exec",
            "process_exit",
        ];
        let told =
            tables.map(|table| format!("EXISTS (SELECT 1 FROM @{table} WHERE process = q.id)"));
        format!(
            "SELECT 1 FROM @process AS q WHERE {n} > t.part \
             AND q.process_key = t.process_key AND q.process_id IS t.process_id AND ({})",
            told.join(" OR ")
        )
    });
    let columns = list(columns_of(view), |name| match name {
        "running" => Some(format!(
            "t.exit_time IS NULL AND t.run_began IS (SELECT max(began) FROM ({newest_run}))"
        )),
        _ => None,
    });
    format!(
        "SELECT {columns} FROM ({}) AS t WHERE NOT EXISTS ({in_newer})",
        union_all(shapes.len(), view, "{n} AS part, "),
    )
}

/// A thread whose exit is not in the segment of its start is looked for in the others.
fn union_of_threads(shapes: &[Shape]) -> String {
    let view = "threads";
    if shapes.len() <= 1 {
        return union_all(shapes.len(), view, "");
    }
    let in_others = |table: &str, side: &str| {
        of_each(shapes, |_n| {
            format!(
                "SELECT o.time AS time FROM @process AS q \
                 JOIN @{table} AS o ON o.process = q.id AND o.thread_id = t.thread_id \
                 WHERE q.process_key = t.process_key AND {side}"
            )
        })
    };
    let exit_time = format!(
        "coalesce(t.exit_time, (SELECT min(time) FROM ({})))",
        in_others("thread_exit", "o.time >= t.start_time")
    );
    let columns = list(columns_of(view), |name| match name {
        "exit_time" => Some(exit_time.clone()),
        "exit_time_text" => Some(time_text(&exit_time)),
        "run_time_ns" => Some(format!("{exit_time} - t.start_time")),
        _ => None,
    });
    format!(
        "SELECT {columns} FROM ({}) AS t \
         WHERE t.start_time IS NOT NULL OR NOT EXISTS ({})",
        union_all(shapes.len(), view, ""),
        in_others("thread_start", "o.time <= t.exit_time")
    )
}

/// The columns of `t`, those that `other_fn` has an expression for with that.
fn list(columns: &[Column], other_fn: impl Fn(&str) -> Option<String>) -> String {
    let columns: Vec<_> = columns
        .iter()
        .map(|column| match other_fn(column.name) {
            Some(expression) => format!("{expression} AS {}", column.name),
            None => format!("t.{0} AS {0}", column.name),
        })
        .collect();
    columns.join(", ")
}

//! Temporary views over many segments, attached as `s0` (the oldest), `s1` and so on.

use super::described::{VIEWS, View};
use super::{create, time_text};

/// The statements that make temporary views over the attached segments `s0` to `s(count - 1)`.
pub(in crate::store) fn union(count: usize) -> String {
    let mut sql = String::new();
    for view in VIEWS {
        let body = match view.name {
            "processes" => union_of_processes(count),
            "threads" => union_of_threads(count),
            "image_totals" => format!(
                "SELECT image, sum(load_count) AS load_count FROM ({}) GROUP BY image",
                union_all(count, view, "")
            ),
            _ => union_all(count, view, ""),
        };
        create(&mut sql, "TEMP", view.name, &body);
    }
    sql
}

/// One `SELECT` a segment, each of the view's own columns; `{n}` in `extra` is the segment's number.
fn union_all(count: usize, view: &View, extra: &str) -> String {
    let columns: Vec<_> = view
        .columns
        .iter()
        .map(|column| match column.name {
            // Not in the views of every segment: some are older than these columns.
            "exec_time_text" => format!("{} AS exec_time_text", time_text("exec_time")),
            "run_began_text" => format!("{} AS run_began_text", time_text("run_began")),
            name => name.to_owned(),
        })
        .collect();
    let columns = columns.join(", ");
    if count == 0 {
        let nothing: Vec<_> = view
            .columns
            .iter()
            .map(|column| format!("NULL AS {}", column.name))
            .collect();
        let extra = extra.replace("{n}", "0");
        return format!("SELECT {extra}{} WHERE 0", nothing.join(", "));
    }
    let arms: Vec<_> = (0..count)
        .map(|n| {
            let extra = extra.replace("{n}", &n.to_string());
            format!("SELECT {extra}{columns} FROM s{n}.{}", view.name)
        })
        .collect();
    arms.join(" UNION ALL ")
}

/// A process is in each segment it was running in, whole in the newest of them, which is the one
/// that is shown.
///
/// A `GROUP BY` would say the same, but no condition on the process would reach the indexes
/// through it.
fn union_of_processes(count: usize) -> String {
    let Some(view) = VIEWS.iter().find(|view| view.name == "processes") else {
        return String::new();
    };
    if count <= 1 {
        return union_all(count, view, "");
    }
    let of_each = |arm_fn: &dyn Fn(usize) -> String| {
        let arms: Vec<_> = (0..count).map(arm_fn).collect();
        arms.join(" UNION ALL ")
    };
    let newest_run = of_each(&|n| format!("SELECT max(run_began) AS began FROM s{n}.stretch"));
    let in_newer = of_each(&|n| {
        let tables = [
            "process_carried",
            "process_start",
            "process_exec",
            "process_exit",
        ];
        let told =
            tables.map(|table| format!("EXISTS (SELECT 1 FROM s{n}.{table} WHERE process = q.id)"));
        format!(
            "SELECT 1 FROM s{n}.process AS q WHERE {n} > t.part \
             AND q.process_key = t.process_key AND q.process_id IS t.process_id AND ({})",
            told.join(" OR ")
        )
    });
    let columns: Vec<_> = view
        .columns
        .iter()
        .map(|column| match column.name {
            "running" => format!(
                "t.exit_time IS NULL AND t.run_began IS \
                 (SELECT max(began) FROM ({newest_run})) AS running"
            ),
            name => format!("t.{name} AS {name}"),
        })
        .collect();
    format!(
        "SELECT {} FROM ({}) AS t WHERE NOT EXISTS ({in_newer})",
        columns.join(", "),
        union_all(count, view, "{n} AS part, "),
    )
}

/// A thread whose exit is not in the segment of its start is looked for in the others.
fn union_of_threads(count: usize) -> String {
    let Some(view) = VIEWS.iter().find(|view| view.name == "threads") else {
        return String::new();
    };
    if count <= 1 {
        return union_all(count, view, "");
    }
    let in_others = |table: &str, side: &str| {
        let arms: Vec<_> = (0..count)
            .map(|n| {
                format!(
                    "SELECT o.time AS time FROM s{n}.process AS q \
                     JOIN s{n}.{table} AS o ON o.process = q.id AND o.thread_id = t.thread_id \
                     WHERE q.process_key = t.process_key AND {side}"
                )
            })
            .collect();
        arms.join(" UNION ALL ")
    };
    let exit_time = format!(
        "coalesce(t.exit_time, (SELECT min(time) FROM ({})))",
        in_others("thread_exit", "o.time >= t.start_time")
    );
    let columns: Vec<_> = view
        .columns
        .iter()
        .map(|column| match column.name {
            "exit_time" => format!("{exit_time} AS exit_time"),
            "exit_time_text" => format!("{} AS exit_time_text", time_text(&exit_time)),
            "run_time_ns" => format!("{exit_time} - t.start_time AS run_time_ns"),
            name => format!("t.{name} AS {name}"),
        })
        .collect();
    format!(
        "SELECT {} FROM ({}) AS t \
         WHERE t.start_time IS NOT NULL OR NOT EXISTS ({})",
        columns.join(", "),
        union_all(count, view, ""),
        in_others("thread_start", "o.time <= t.exit_time")
    )
}

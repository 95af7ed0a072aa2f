//! The views people ask: `events`, `processes`, `threads`, `images`, `detections`, `losses`,
//! `image_totals`, `kind_totals`, in each segment and over many of them.
//!
//! Every segment brings its own views, so that any SQLite tool can be pointed at one file. Over many
//! segments there are views of the same names over virtual tables, which ask one segment after the
//! other: `store/union.rs`. Both show what `views/segment.rs` says; `views/described.rs` says what
//! their columns are.

mod described;
mod hashes;
mod segment;

use std::fmt::Write as _;

pub(super) use described::affinity;
pub use described::{Column, View, views};
pub(super) use segment::{Arm, arms};

/// The statements that make a segment's own views.
pub(super) fn of_segment() -> String {
    let mut sql = String::new();
    for view in views() {
        let selects = arms(view.name).into_iter().map(|arm| {
            let named = arm.columns.iter().zip(&view.columns);
            let columns =
                named.map(|(expression, column)| format!("{expression} AS {}", column.name));
            let columns: Vec<_> = columns.collect();
            let select = format!("SELECT {} FROM {}", columns.join(", "), arm.from);
            if arm.condition == segment::ALL {
                select
            } else {
                format!("{select} WHERE {}", arm.condition)
            }
        });
        let selects: Vec<_> = selects.collect();
        let body = whole(view.name, &selects.join(" UNION ALL "));
        // Writing to a String cannot fail.
        let _infallible = writeln!(
            sql,
            "CREATE VIEW {} AS {};",
            view.name,
            render(&body, str::to_owned)
        );
    }
    sql
}

/// What a view shows of `rows`, which are a `SELECT`. Images of one file are counted together, and events
/// of one kind.
pub(super) fn whole(view: &str, rows: &str) -> String {
    let (of, count) = match view {
        "image_totals" => ("image", "load_count"),
        "kind_totals" => ("kind", "event_count"),
        _ => return rows.to_owned(),
    };
    format!("SELECT {of}, sum({count}) AS {count} FROM ({rows}) GROUP BY {of}")
}

/// SQL with each `@table` in it as `name_fn` calls the table.
pub(super) fn render(sql: &str, name_fn: impl Fn(&str) -> String) -> String {
    let mut parts = sql.split('@');
    let mut rendered = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_other = |character: char| !(character.is_ascii_alphanumeric() || character == '_');
        let (table, rest) = part.split_at(part.find(is_other).unwrap_or(part.len()));
        rendered.push_str(&name_fn(table));
        rendered.push_str(rest);
    }
    rendered
}

/// RFC 3339 with nine fractional digits of a time in nanoseconds.
pub(super) fn time_text(time: &str) -> String {
    format!(
        "strftime('%Y-%m-%dT%H:%M:%S', ({time}) / 1000000000, 'unixepoch') \
         || printf('.%09dZ', ({time}) % 1000000000)"
    )
}

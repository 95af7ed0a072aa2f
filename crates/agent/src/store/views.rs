//! The views people ask: `events`, `processes`, `threads`, `images`, `losses`, `image_totals`, in
//! each segment and over many of them.
//!
//! Every segment brings its own views, so that any SQLite tool can be pointed at one file:
//! `views/segment.rs`. Over many segments, attached as `s0`, `s1` and so on, there are temporary
//! views of the same names over the tables: `views/union.rs`. `views/described.rs` says what their
//! columns are.

mod described;
mod segment;
mod union;

use std::fmt::Write as _;

pub use described::{Column, View, views};
pub(super) use union::union;

fn create(sql: &mut String, temp: &str, name: &str, body: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(sql, "CREATE {temp} VIEW {name} AS {body};");
}

/// The statements that make a segment's own views.
pub(super) fn of_segment() -> String {
    let mut sql = String::new();
    for view in views() {
        create(&mut sql, "", view.name, &render(&body(view), str::to_owned));
    }
    sql
}

/// What a view shows of a segment.
fn body(view: &View) -> String {
    let selects = segment::arms(view.name).into_iter().map(|arm| {
        let named = arm.columns.iter().zip(&view.columns);
        let columns = named.map(|(expression, column)| format!("{expression} AS {}", column.name));
        let columns: Vec<_> = columns.collect();
        let select = format!("SELECT {} FROM {}", columns.join(", "), arm.from);
        if arm.condition == segment::ALL {
            select
        } else {
            format!("{select} WHERE {}", arm.condition)
        }
    });
    let selects: Vec<_> = selects.collect();
    whole(view.name, &selects.join(" UNION ALL "))
}

/// What a view shows of `rows`, which are a `SELECT`. Images of one file are counted together.
fn whole(view: &str, rows: &str) -> String {
    if view == "image_totals" {
        return format!("SELECT image, sum(load_count) AS load_count FROM ({rows}) GROUP BY image");
    }
    rows.to_owned()
}

/// SQL with each `@table` in it as `name_fn` calls the table.
fn render(sql: &str, name_fn: impl Fn(&str) -> String) -> String {
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
fn time_text(time: &str) -> String {
    format!(
        "strftime('%Y-%m-%dT%H:%M:%S', ({time}) / 1000000000, 'unixepoch') \
         || printf('.%09dZ', ({time}) % 1000000000)"
    )
}

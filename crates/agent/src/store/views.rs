//! The views people ask: `events`, `processes`, `threads`, `images`, `losses`, `image_totals`, in
//! each segment and over many of them.
//!
//! Every segment brings its own views, so that any SQLite tool can be pointed at one file:
//! `views/segment.rs`. Over many segments, attached as `s0`, `s1` and so on, there are temporary
//! views of the same names: `views/union.rs`. `views/described.rs` says what their columns are.

mod described;
mod segment;
mod union;

use std::fmt::Write as _;

pub use described::{Column, VIEWS, View};
pub(super) use segment::of_segment;
pub(super) use union::union;

fn create(sql: &mut String, temp: &str, name: &str, body: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(sql, "CREATE {temp} VIEW {name} AS {body};");
}

/// RFC 3339 with nine fractional digits of a time in nanoseconds.
fn time_text(time: &str) -> String {
    format!(
        "strftime('%Y-%m-%dT%H:%M:%S', ({time}) / 1000000000, 'unixepoch') \
         || printf('.%09dZ', ({time}) % 1000000000)"
    )
}

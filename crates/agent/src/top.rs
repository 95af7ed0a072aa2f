//! `systrail top`: what the machine runs, on one screen, live or as it was.
//!
//! It reads a store or a log and nothing else, and nothing below knows of it. A thread reads
//! (`feed.rs`, by `look.rs`), another takes keys; the screen's state (`app.rs`) is told by them what
//! happened, and is drawn (`draw.rs`, `list.rs`, `page.rs`) into cells, which alone reach the terminal
//! (`screen.rs`).

mod app;
mod draw;
mod feed;
mod keys;
mod lines;
mod list;
mod look;
mod model;
mod page;
mod rates;
mod run;
mod screen;
mod starters;
#[cfg(test)]
mod tests;
mod text;

pub use self::app::Style;
pub use self::feed::{At, Source};
pub use self::run::{Ending, run};
pub use self::screen::{Screen, is_there};
pub use self::text::Charset;

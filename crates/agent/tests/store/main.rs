//! The store: what is written comes back, whatever happens to the medium, and SQL sees it.

#[path = "../log/any_event.rs"]
#[expect(dead_code, reason = "the tests of the log use more of it")]
mod any_event;
#[path = "../log/disk.rs"]
mod disk;
mod follow;
mod history;
mod kills;
mod medium;
mod round_trip;
mod shelf;
mod tail;
mod times;
mod versions;
mod views;
#[path = "../log/warnings.rs"]
mod warnings;

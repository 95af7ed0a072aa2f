//! The trail to a receiver of the whole fleet: a follower of the store on a thread of its own.
//!
//! The store is the spool. What is in it is sent in batches of one run, each under a key that always
//! means the same bytes, and the cursor is written before and after; killed at any moment, the next
//! forwarder goes on where this one was. The recording never waits for it. `worker.rs` is the place to
//! read first; `docs/FLEET.md` is for people.
//!
//! It reads the store, and writes nothing of it: its own files are beside the segments, and
//! [`Hold`](crate::store::Hold) tells retention what is still needed.

#![expect(dead_code, reason = "the thread that needs it comes next")]

mod answer;
mod aside;
mod batch;
mod cursor;
mod http;
mod retry;
mod secrets;
mod tally;

pub use cursor::{CursorError, State, read as read_cursor};
pub use tally::{Counts, Tally};

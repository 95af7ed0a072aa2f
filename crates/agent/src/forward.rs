//! The trail to a receiver of the whole fleet: a follower of the store on a thread of its own.
//!
//! The store is the spool. What is in it is sent in batches of one run, each under a key that always
//! means the same bytes, and the cursor is written before and after; killed at any moment, the next
//! forwarder goes on where this one was. The recording never waits for it. `worker.rs` is the place to
//! read first; `docs/FLEET.md` is for people.
//!
//! It reads the store, and writes nothing of it: its own files are beside the segments, and
//! [`Hold`](crate::store::Hold) tells retention what is still needed.

#[cfg(feature = "forward")]
mod answer;
#[cfg(feature = "forward")]
mod aside;
#[cfg(feature = "forward")]
mod batch;
#[cfg(feature = "forward")]
mod cursor;
#[cfg(feature = "forward")]
mod forwarder;
#[cfg(feature = "forward")]
mod http;
#[cfg(feature = "forward")]
mod retry;
#[cfg(feature = "forward")]
mod secrets;
mod tally;
#[cfg(feature = "forward")]
mod worker;

pub use tally::{Counts, Tally};

#[cfg(feature = "forward")]
pub use cursor::{CursorError, State, read as read_cursor};
#[cfg(feature = "forward")]
pub use forwarder::{
    FLUSH_TIME, Forwarder, Prepared, Progress, ProgressFn, Request, Settings, ask_again,
};

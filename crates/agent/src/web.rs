//! `systrail web`: a store in a browser.
//!
//! It reads the store and nothing else, and changes nothing. Whoever is served has shown the token first
//! (`access.rs`), and costs a thread, a bounded request and a bounded answer (`server.rs`, `request.rs`,
//! `answer.rs`). `routes.rs` says what there is to ask for; a file each puts an answer together. What happens
//! while somebody looks is read once for all who do (`live.rs`).
//!
//! The little of HTTP/1.1 that is needed is here: one request a connection, of which `httparse` reads the head.
//! An HTTP library would bring threads, queues and limits of its own, and take the sockets out of reach whose
//! time limits are the point.

mod access;
mod answer;
mod live;
mod overview;
mod processes;
mod request;
mod routes;
mod saved;
mod server;
mod sql;
mod stream;

use std::path::PathBuf;
use std::time::Duration;

pub use self::access::Token;
pub use self::server::{Error, Server};
pub use self::stream::Place;

/// What is served, and how.
#[derive(Debug)]
pub struct Options {
    /// The store.
    pub directory: PathBuf,
    /// What opens it.
    pub token: Token,
    /// Names under which it is reached, beside those of where it listens: of a tunnel or a proxy.
    pub hosts: Vec<String>,
    /// How long a query may take.
    pub query_time: Duration,
}

//! The account of a running pipeline for Prometheus, over HTTP.
//!
//! One thread, a few clients at a time, a bounded request and a deadline for each: whoever connects
//! can cost at most that thread's time, never memory or descriptors, and can hold up neither who
//! asks after it nor the end of a recording. The thread waits for clients or for its end and does
//! not wake up for anything else. When no connection can be taken, as where the process has no
//! descriptor left, it tries again a little later, for as long as it runs. The little of HTTP/1.1
//! that is needed is here: an HTTP library would bring threads, queues and limits of its own.

mod client;
mod exposition;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::exposition::{Numbers, exposition};

use self::client::{Client, Request};
use crate::forward::Tally;
use crate::pipeline::Status;
use crate::store;
use crate::sys::sockets::{self, Readiness, Waited};
use crate::sys::usage;
use crate::sys::wake::Waker;

/// Clients that are served at once. One more takes the place of the one that came first, so that
/// those who say nothing keep nobody out.
const CLIENTS_MAX: usize = 16;

/// How long no connection is taken after the system refused to.
const REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// Why metrics are not served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be had.
    #[error("metrics on {address}: {source}; name another address with --metrics")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// A resource of the system.
    #[error("metrics: {0}")]
    Io(#[from] io::Error),
}

/// Serves `/metrics` until it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Begins to serve on `address`; port 0 takes any that is free.
    pub fn start(address: SocketAddr, told: Told) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
        let address = listener.local_addr()?;
        // A client that went away between poll and accept must not block the thread.
        listener.set_nonblocking(true)?;
        let stop = Waker::new()?;
        let stopped = stop.clone();
        let thread = crate::sys::thread::named("metrics")
            .spawn(move || serve(&listener, &told, &stopped))?;
        Ok(Self {
            address,
            stop,
            thread: Some(thread),
        })
    }

    /// Where it serves.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.wake();
        if let Some(thread) = self.thread.take() {
            // A panic there aborts the process, so there is nothing else it can say.
            let _ended = thread.join();
        }
    }
}

/// What is told to who asks.
#[derive(Debug, Default)]
pub struct Told {
    /// Of the recording.
    pub status: Arc<Status>,
    /// Of what is forwarded, where there is a receiver.
    pub forwarded: Option<Arc<Tally>>,
    /// Of the store, where there is one: its directory.
    pub store: Option<PathBuf>,
}

impl Told {
    fn exposition(&self) -> String {
        let status = &self.status;
        exposition(&Numbers {
            account: &status.account(),
            is_recording: status.is_recording(),
            found: status.found_so_far(),
            reloads: status.reloads_so_far(),
            hashes: status.hashed_so_far(),
            forwarded: self.forwarded.as_ref().map(|tally| tally.counts()),
            usage: usage::own(),
            // One that is not there yet has nothing to tell.
            kept: self.store.as_deref().and_then(|it| store::kept(it).ok()),
        })
    }
}

fn serve(listener: &TcpListener, told: &Told, stop: &Waker) {
    let mut clients: Vec<Client> = Vec::new();
    // Until when no connection is taken.
    let mut paused: Option<Instant> = None;
    while !stop.is_woken() {
        let now = Instant::now();
        paused = paused.filter(|until| *until > now);
        clients.retain(|client| client.deadline() > now);
        let mut waited: Vec<Waited<'_>> = clients.iter().map(Client::waited).collect();
        if paused.is_none() {
            waited.push(Waited::new(listener, Readiness::Readable));
        }
        let next = clients.iter().map(Client::deadline).chain(paused).min();
        let timeout = next.map(|next| next.saturating_duration_since(now));
        if let Err(error) = sockets::wait(&waited, stop, timeout) {
            // For want of memory; it must not be asked again at once.
            tracing::debug!(%error, "metrics: not waited");
            stop.wait(REFUSED_PAUSE);
        }
        if paused.is_none()
            && let Err(error) = accept(listener, &mut clients)
        {
            tracing::warn!(%error, "metrics: a client was not served; trying on");
            paused = Some(Instant::now() + REFUSED_PAUSE);
        }
        // A client that breaks off is its own concern.
        clients.retain_mut(|client| {
            let answered = client.go_on(|request| respond(request, told));
            answered.is_ok_and(|is_done| !is_done)
        });
    }
}

/// Takes the connections there are, at most so many as are served at once.
fn accept(listener: &TcpListener, clients: &mut Vec<Client>) -> io::Result<()> {
    for _ in 0..CLIENTS_MAX {
        match listener.accept() {
            Ok((stream, _)) => {
                if clients.len() == CLIENTS_MAX {
                    clients.remove(0);
                }
                clients.push(Client::new(stream)?);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // It went away before it was taken.
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Whether the next client may have more luck.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

const TEXT: &str = "text/plain; charset=utf-8";
/// The content type of Prometheus's text format, version 0.0.4.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

fn respond(request: Request<'_>, told: &Told) -> String {
    let Request::Whole(request) = request else {
        return response("431 Request Header Fields Too Large", TEXT, "", "");
    };
    let line = request.split(|&byte| byte == b'\r').next();
    let mut words = line.unwrap_or_default().split(|&byte| byte == b' ');
    let (method, target) = (words.next(), words.next());
    let is_http = words
        .next()
        .is_some_and(|word| word.starts_with(b"HTTP/1."));
    let path = target.and_then(|target| target.split(|&byte| byte == b'?').next());
    match (method, path) {
        (Some(b"GET"), Some(b"/metrics")) if is_http => {
            let body = told.exposition();
            response("200 OK", EXPOSITION, "", &body)
        }
        (Some(b"GET"), Some(_)) if is_http => {
            response("404 Not Found", TEXT, "", "metrics are at /metrics\n")
        }
        (Some(_), Some(_)) if is_http => {
            response("405 Method Not Allowed", TEXT, "Allow: GET\r\n", "")
        }
        _ => response("400 Bad Request", TEXT, "", ""),
    }
}

fn response(status: &str, content_type: &str, headers: &str, body: &str) -> String {
    let size = body.len();
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {size}\r\n{headers}\
         Connection: close\r\n\r\n{body}"
    )
}

#[cfg(test)]
mod tests;

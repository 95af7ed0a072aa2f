//! The account of a running pipeline for Prometheus, over HTTP.
//!
//! One thread, one client at a time, a bounded request and a deadline for each: whoever connects
//! can cost at most that thread's time, never memory, and never hold up the end of a recording. It
//! waits for a client or for its end and does not wake up for anything else. The little of HTTP/1.1
//! it needs is here: an HTTP library would bring threads, queues and limits of its own.

mod exposition;

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub use self::exposition::exposition;

use crate::pipeline::Status;
use crate::sys::sockets::{self, Readiness};
use crate::sys::wake::Waker;

/// The most bytes of a request, headers included.
const REQUEST_SIZE_MAX: usize = 8 * 1024;

/// The longest one client is served.
const CLIENT_TIME_MAX: Duration = Duration::from_secs(2);

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
    pub fn start(address: SocketAddr, status: Arc<Status>) -> Result<Self, Error> {
        let listener =
            TcpListener::bind(address).map_err(|source| Error::Listen { address, source })?;
        let address = listener.local_addr()?;
        // A client that went away between poll and accept must not block the thread.
        listener.set_nonblocking(true)?;
        let stop = Waker::new()?;
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("metrics".to_owned())
            .spawn(move || serve(&listener, &status, &stopped))?;
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

fn serve(listener: &TcpListener, status: &Status, stop: &Waker) {
    loop {
        if let Err(error) = sockets::wait(listener, Readiness::Readable, stop, None) {
            tracing::warn!(%error, "metrics are not served any more");
            return;
        }
        if stop.is_woken() {
            return;
        }
        match listener.accept() {
            Ok((client, _)) => {
                // A client that breaks off, or is too slow, is its own concern.
                let _served = answer(client, status, stop);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => {
                tracing::warn!(%error, "metrics are not served any more");
                return;
            }
        }
    }
}

/// Whether the next client may have more luck.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
    )
}

/// Reads one request and writes one response.
fn answer(mut client: TcpStream, status: &Status, stop: &Waker) -> io::Result<()> {
    let deadline = Instant::now() + CLIENT_TIME_MAX;
    client.set_nonblocking(true)?;
    let mut request = Vec::new();
    let complete = loop {
        if request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            break true;
        }
        if request.len() >= REQUEST_SIZE_MAX {
            break false;
        }
        wait(&client, Readiness::Readable, stop, deadline)?;
        let mut bytes = [0; 1024];
        match client.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(size) => request.extend_from_slice(&bytes[..size]),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    };
    let response = if complete {
        respond(&request, status)
    } else {
        response("431 Request Header Fields Too Large", TEXT, "", "")
    };
    let mut rest = response.as_bytes();
    while !rest.is_empty() {
        wait(&client, Readiness::Writable, stop, deadline)?;
        match client.write(rest) {
            Ok(size) => rest = rest.get(size..).unwrap_or_default(),
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    client.shutdown(std::net::Shutdown::Write)
}

/// Waits until the client is ready; fails when it is too late or the server ends.
fn wait(
    client: &TcpStream,
    readiness: Readiness,
    stop: &Waker,
    deadline: Instant,
) -> io::Result<()> {
    let left = deadline.saturating_duration_since(Instant::now());
    sockets::wait(client, readiness, stop, Some(left))?;
    if stop.is_woken() || left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    Ok(())
}

const TEXT: &str = "text/plain; charset=utf-8";
/// The content type of Prometheus's text format, version 0.0.4.
const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

fn respond(request: &[u8], status: &Status) -> String {
    let line = request.split(|&byte| byte == b'\r').next();
    let mut words = line.unwrap_or_default().split(|&byte| byte == b' ');
    let (method, target) = (words.next(), words.next());
    let is_http = words
        .next()
        .is_some_and(|word| word.starts_with(b"HTTP/1."));
    let path = target.and_then(|target| target.split(|&byte| byte == b'?').next());
    match (method, path) {
        (Some(b"GET"), Some(b"/metrics")) if is_http => {
            let body = exposition(&status.account(), status.is_recording());
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

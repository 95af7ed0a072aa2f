//! An answer, with what keeps a browser from doing more with it than to show it.

use std::io;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::stream::Stream;

/// An answer is taken after this long, or not at all.
const TIME_MAX: Duration = Duration::from_secs(30);

/// What every answer says. Scripts and styles are files of ours and nothing else is loaded from anywhere: no
/// text that is shown can become either. Nothing is kept on the disk, and no other page looks in.
const HEADERS: &str = "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; \
img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n\
X-Content-Type-Options: nosniff\r\n\
X-Frame-Options: DENY\r\n\
Referrer-Policy: no-referrer\r\n\
Cross-Origin-Opener-Policy: same-origin\r\n\
Cross-Origin-Resource-Policy: same-origin\r\n\
Cache-Control: no-store\r\n\
Connection: close\r\n";

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    status: u16,
    kind: &'static str,
    /// Further headers, each with its end of line.
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    /// A file of ours.
    pub(super) fn file(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status: 200,
            kind,
            headers: String::new(),
            body: body.into(),
        }
    }

    /// A page of ours.
    pub(super) fn page(status: u16, page: &'static str) -> Self {
        Self {
            status,
            ..Self::file("text/html; charset=utf-8", page)
        }
    }

    /// Data for our script.
    pub(super) fn json(status: u16, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self {
                status,
                ..Self::file("application/json", body)
            },
            Err(error) => Self::text(500, &format!("the answer cannot be written: {error}")),
        }
    }

    /// A line for a person.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self {
            status,
            ..Self::file("text/plain; charset=utf-8", format!("{text}\n"))
        }
    }

    /// Why something cannot be had, for our script to show.
    pub(super) fn error(status: u16, why: &str) -> Self {
        Self::json(
            status,
            &serde_json::json!({ "error": crate::shown::safe(why) }),
        )
    }

    /// With a header more. What it says is ours.
    pub(super) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.extend([name, ": ", value, "\r\n"]);
        self
    }

    /// Writes it whole, or fails.
    pub(super) fn write(&self, stream: &mut Stream) -> io::Result<()> {
        let deadline = Instant::now() + TIME_MAX;
        let size = self.body.len();
        let head = format!("{}Content-Length: {size}\r\n\r\n", self.head());
        let bytes = [head.as_bytes(), &self.body].concat();
        stream.write_by(&bytes, deadline)
    }

    /// The head of an answer that goes on until somebody has enough.
    pub(super) fn write_head(&self, stream: &mut Stream) -> io::Result<()> {
        let head = format!("{}\r\n", self.head());
        stream.write_by(head.as_bytes(), Instant::now() + TIME_MAX)
    }

    fn head(&self) -> String {
        let Self {
            status,
            kind,
            headers,
            body: _,
        } = self;
        let reason = reason(*status);
        format!("HTTP/1.1 {status} {reason}\r\nContent-Type: {kind}\r\n{HEADERS}{headers}")
    }
}

const fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        303 => "See Other",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Internal Server Error",
    }
}

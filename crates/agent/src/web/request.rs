//! A request, as far as it is believed: its size, its time and its form have limits, and what is not understood
//! is refused with what is wrong.

use std::time::{Duration, Instant};

use super::stream::Stream;
use crate::query::SQL_SIZE_MAX;

/// Bytes of a request's head.
const HEAD_SIZE_MAX: usize = 16 << 10;

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// A request is there after this long, its body too.
const TIME_MAX: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
}

/// A request.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Without what follows the question mark.
    pub(super) path: String,
    query: String,
    headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The other side has gone, or said nothing at all.
    Nothing,
    /// It took too long.
    Slow,
    /// A status, and why.
    Status(u16, &'static str),
}

impl Request {
    /// Reads a request.
    pub(super) fn read(stream: &mut Stream) -> Result<Self, Refused> {
        let deadline = Instant::now() + TIME_MAX;
        let mut bytes = Vec::new();
        let (mut request, head_size, body_size) = loop {
            let is_empty = bytes.is_empty();
            if !read_more(stream, &mut bytes, deadline)? {
                let status = Refused::Status(400, "the request has no end");
                return Err(if is_empty { Refused::Nothing } else { status });
            }
            if let Some(parsed) = parse(&bytes)? {
                break parsed;
            }
            if bytes.len() >= HEAD_SIZE_MAX {
                return Err(Refused::Status(431, "the head of the request is too large"));
            }
        };
        let mut body = bytes.split_off(head_size);
        while body.len() < body_size {
            if !read_more(stream, &mut body, deadline)? {
                return Err(Refused::Status(400, "the request has no end"));
            }
        }
        body.truncate(body_size);
        request.body = body;
        Ok(request)
    }

    /// The value of a header; nothing where it is not there, or there twice.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known == name);
        let (_, value) = values.next()?;
        values.next().is_none().then_some(value)
    }

    /// Whether a header is there, however often.
    pub(super) fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known == name)
    }

    /// The value of a cookie, in whichever header it stands.
    pub(super) fn cookies<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        let headers = self.headers.iter().filter(|(known, _)| known == "cookie");
        let cookies = headers.flat_map(|(_, value)| value.split(';'));
        cookies.filter_map(move |cookie| {
            let (known, value) = cookie.trim().split_once('=')?;
            (known == name).then_some(value)
        })
    }

    /// The first value of a name behind the question mark.
    pub(super) fn parameter(&self, name: &str) -> Option<String> {
        let pairs = self.query.split('&').map(|pair| pair.split_once('='));
        let mut values = pairs.flatten().filter(|(known, _)| *known == name);
        values.next().map(|(_, value)| decoded(value))
    }
}

/// Reads what is there behind `bytes`; `false` at the end.
fn read_more(stream: &mut Stream, bytes: &mut Vec<u8>, deadline: Instant) -> Result<bool, Refused> {
    let mut more = [0; 8_192];
    match stream.read_by(&mut more, deadline) {
        Ok(count) => {
            bytes.extend_from_slice(more.get(..count).unwrap_or_default());
            Ok(count > 0)
        }
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Err(if bytes.is_empty() {
            Refused::Nothing
        } else {
            Refused::Slow
        }),
        Err(_gone) => Err(Refused::Nothing),
    }
}

/// The request, the size of its head, and that of its body; nothing while the head has no end.
fn parse(bytes: &[u8]) -> Result<Option<(Request, usize, usize)>, Refused> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let head_size = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(size)) => size,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(Refused::Status(431, "the request has too many headers"));
        }
        Err(_malformed) => return Err(Refused::Status(400, "that is no request of HTTP/1.1")),
    };
    let method = match parsed.method {
        Some("GET") => Method::Get,
        Some("POST") => Method::Post,
        _ => return Err(Refused::Status(405, "there are GET and POST alone")),
    };
    let target = parsed.path.unwrap_or_default();
    if !target.starts_with('/') {
        return Err(Refused::Status(400, "the target of the request is no path"));
    }
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let texts = parsed.headers.iter().map(|header| {
        let value = String::from_utf8_lossy(header.value).into_owned();
        (header.name.to_ascii_lowercase(), value)
    });
    let request = Request {
        method,
        path: path.to_owned(),
        query: query.to_owned(),
        headers: texts.collect(),
        body: Vec::new(),
    };
    let body_size = body_size(&request)?;
    Ok(Some((request, head_size, body_size)))
}

fn body_size(request: &Request) -> Result<usize, Refused> {
    if request.has_header("transfer-encoding") {
        return Err(Refused::Status(
            411,
            "the request does not say how long its body is",
        ));
    }
    if !request.has_header("content-length") {
        return match request.method {
            Method::Get => Ok(0),
            Method::Post => Err(Refused::Status(
                411,
                "the request does not say how long its body is",
            )),
        };
    }
    let length = request.header("content-length");
    let length = length.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match length.map(str::parse) {
        Some(Ok(size)) if size <= SQL_SIZE_MAX => Ok(size),
        Some(Ok(_)) => Err(Refused::Status(
            413,
            "the body of the request is larger than a megabyte",
        )),
        _ => Err(Refused::Status(400, "the length of the body is no number")),
    }
}

/// Text with its `%41` and `+` undone; what is none of them stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        rest = behind;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let escape = match (first, behind) {
            (b'%', [high, low, ..]) => digit(high).zip(digit(low)),
            _ => None,
        };
        match (escape, first) {
            (Some((high, low)), _) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                rest = behind.get(2..).unwrap_or_default();
            }
            (None, b'+') => bytes.push(b' '),
            (None, other) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> Result<Request, Refused> {
        parse(text.as_bytes()).map(|parsed| parsed.unwrap().0)
    }

    fn status(text: &str) -> u16 {
        match request(text).unwrap_err() {
            Refused::Status(status, _) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_taken_apart() {
        let text = "GET /a/b?x=1&y=a%20b%2Bc+d%zz HTTP/1.1\r\nHost: h\r\nCookie: a=1; b=2\r\n\r\n";
        let request = request(text).unwrap();
        assert_eq!(request.path, "/a/b");
        assert_eq!(request.parameter("y").unwrap(), "a b+c d%zz");
        assert_eq!(request.parameter("z"), None);
        assert_eq!(request.header("host"), Some("h"));
        assert_eq!(request.cookies("b").collect::<Vec<_>>(), ["2"]);
        assert!(parse(b"GET / HTTP/1.1\r\nHost: h\r\n").unwrap().is_none());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        assert_eq!(status("GET http://evil/ HTTP/1.1\r\n\r\n"), 400);
        assert_eq!(status("DELETE / HTTP/1.1\r\n\r\n"), 405);
        assert_eq!(status("POST / HTTP/1.1\r\n\r\n"), 411);
        assert_eq!(
            status("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"),
            411
        );
        assert_eq!(
            status("POST / HTTP/1.1\r\nContent-Length: 9999999\r\n\r\n"),
            413
        );
        assert_eq!(status("POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\n"), 400);
        let twice = "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n";
        assert_eq!(status(twice), 400);
        assert_eq!(status("\u{1}\u{2}\r\n\r\n"), 400);
        let many = "x: y\r\n".repeat(HEADERS_MAX + 1);
        assert_eq!(status(&format!("GET / HTTP/1.1\r\n{many}\r\n")), 431);
        let hosts = request("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap();
        assert_eq!(hosts.header("host"), None);
    }
}

//! One client: a bounded request, a response, a deadline. Nothing here blocks.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::sys::sockets::{Readiness, Waited};

/// The most bytes of a request, headers included.
const REQUEST_SIZE_MAX: usize = 8 * 1024;

/// The longest one client is served.
const TIME_MAX: Duration = Duration::from_secs(2);

/// A client that is being served.
#[derive(Debug)]
pub(super) struct Client {
    stream: TcpStream,
    deadline: Instant,
    request: Vec<u8>,
    response: Option<Response>,
}

#[derive(Debug)]
struct Response {
    text: String,
    written: usize,
}

/// What a client's request has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request<'r> {
    /// All its headers.
    Whole(&'r [u8]),
    /// More than [`REQUEST_SIZE_MAX`].
    TooLarge,
}

impl Client {
    /// A client that has just connected.
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            deadline: Instant::now() + TIME_MAX,
            request: Vec::new(),
            response: None,
        })
    }

    /// When it is dropped at the latest.
    pub(super) const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// What it is waited for.
    pub(super) fn waited(&self) -> Waited<'_> {
        let readiness = match self.response {
            None => Readiness::Readable,
            Some(_) => Readiness::Writable,
        };
        Waited::new(&self.stream, readiness)
    }

    /// Reads and writes what can be without waiting; says whether it is served to the end.
    pub(super) fn go_on(
        &mut self,
        respond_fn: impl FnOnce(Request<'_>) -> String,
    ) -> io::Result<bool> {
        if self.response.is_none() {
            let Some(request) = self.read()? else {
                return Ok(false);
            };
            self.response = Some(Response {
                text: respond_fn(request),
                written: 0,
            });
        }
        self.write()
    }

    fn read(&mut self) -> io::Result<Option<Request<'_>>> {
        loop {
            if self.request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
                return Ok(Some(Request::Whole(&self.request)));
            }
            if self.request.len() >= REQUEST_SIZE_MAX {
                return Ok(Some(Request::TooLarge));
            }
            let mut bytes = [0; 1024];
            match self.stream.read(&mut bytes) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(size) => self.request.extend_from_slice(&bytes[..size]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn write(&mut self) -> io::Result<bool> {
        let Some(response) = &mut self.response else {
            return Ok(false);
        };
        while let Some(rest) = response.text.as_bytes().get(response.written..)
            && !rest.is_empty()
        {
            match self.stream.write(rest) {
                Ok(size) => response.written += size,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.stream.shutdown(Shutdown::Write)?;
        Ok(true)
    }
}

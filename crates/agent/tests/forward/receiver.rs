//! A receiver on this machine that does what it is told: takes, refuses, breaks off, is slow. What it took
//! is kept by key, and a key that comes with other bytes is a fault.

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use systrail::trail::{Event, json};

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) target: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
    /// Which connection it came on, from 0.
    pub(crate) connection: usize,
}

impl Request {
    pub(crate) fn key(&self) -> &str {
        self.headers.get("idempotency-key").map_or("", |key| key)
    }

    /// The lines of the body.
    pub(crate) fn lines(&self) -> Vec<u8> {
        zstd::decode_all(&self.body[..]).unwrap()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let lines = self.lines();
        let lines = lines.split_inclusive(|byte| *byte == b'\n');
        lines.map(|line| json::read_line(line).unwrap()).collect()
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// It is kept, and yes.
    Take,
    /// It is kept, and yes; then the connection is closed without a word.
    TakeAndClose,
    /// It is kept, and the connection breaks off before the answer.
    TakeAndBreakOff,
    /// It is not kept; these bytes are the answer.
    Say(Vec<u8>),
    /// The same, and the connection is closed.
    SayAndClose(Vec<u8>),
    /// It is not kept, and half of the body is read.
    BreakOff,
    /// It is not kept; the answer comes a byte a second.
    Trickle,
    /// It is not kept, and nobody answers.
    Nothing,
}

impl Reply {
    /// An answer of that status, with headers, each ended.
    pub(crate) fn status(status: u16, headers: &str, body: &str) -> Self {
        let size = body.len();
        let text =
            format!("HTTP/1.1 {status} Told\r\nContent-Length: {size}\r\n{headers}\r\n{body}");
        Self::Say(text.into_bytes())
    }
}

/// What came, and what was kept.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) requests: Vec<Request>,
    /// The bodies that were kept, by key.
    pub(crate) kept: BTreeMap<String, Request>,
    /// Every body that came, by key.
    seen: BTreeMap<String, Vec<u8>>,
    pub(crate) faults: Vec<String>,
}

impl Ledger {
    fn come(&mut self, request: &Request) {
        let body = self.seen.entry(request.key().to_owned());
        let known = body.or_insert_with(|| request.body.clone());
        if *known != request.body {
            self.faults
                .push(format!("{} has two bodies", request.key()));
        }
        self.requests.push(request.clone());
    }

    /// Fails unless exactly these events were kept, each once.
    pub(crate) fn check(&self, expected: &[(u64, u64)]) {
        let events = self.events();
        let count = events.len();
        let differs = events
            .iter()
            .zip(expected)
            .position(|(one, other)| one != other);
        let place = differs.map(|place| (events[place], expected[place]));
        assert_eq!((count, place), (expected.len(), None), "kept, expected");
        assert_eq!(self.faults, [""; 0], "a key is always of the same bytes");
    }

    /// Run and sequence of every event that was kept, in their order; one that was kept twice is there twice.
    fn events(&self) -> Vec<(u64, u64)> {
        let events = self.kept.values().flat_map(Request::events);
        let mut names: Vec<_> = events
            .map(|event| (event.origin.run.unwrap(), event.sequence))
            .collect();
        names.sort_unstable();
        names
    }
}

type ReplyFn = dyn Fn(&Request, usize) -> Reply + Send + Sync;
type TlsFn = dyn Fn() -> Arc<rustls::ServerConfig> + Send + Sync;

/// A receiver; dropping it closes its port and every connection.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    ledger: Mutex<Ledger>,
    reply_fn: Box<ReplyFn>,
    tls_fn: Option<Box<TlsFn>>,
    is_ending: AtomicBool,
    connection_count: AtomicUsize,
    streams: Mutex<Vec<TcpStream>>,
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

impl Receiver {
    /// One whose answer to the nth request, from 0, is what `reply_fn` says.
    pub(crate) fn start(
        reply_fn: impl Fn(&Request, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(Box::new(reply_fn), None, "127.0.0.1:0")
    }

    /// One that takes everything.
    pub(crate) fn taking() -> Self {
        Self::start(|_, _| Reply::Take)
    }

    /// One that takes everything, encrypted; asked for its certificate at each connection.
    pub(crate) fn encrypted(
        tls_fn: impl Fn() -> Arc<rustls::ServerConfig> + Send + Sync + 'static,
    ) -> Self {
        Self::start_with(
            Box::new(|_, _| Reply::Take),
            Some(Box::new(tls_fn)),
            "127.0.0.1:0",
        )
    }

    fn start_with(reply_fn: Box<ReplyFn>, tls_fn: Option<Box<TlsFn>>, address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            ledger: Mutex::default(),
            reply_fn,
            tls_fn,
            is_ending: AtomicBool::new(false),
            connection_count: AtomicUsize::new(0),
            streams: Mutex::default(),
        });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || own.listen(&listener));
        Self {
            address,
            shared,
            thread: Some(thread),
        }
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.tls_fn.is_some() {
            "https"
        } else {
            "http"
        };
        let port = self.address.port();
        format!("{scheme}://localhost:{port}/systrail?query=x")
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.shared.ledger.lock().unwrap()
    }

    pub(crate) fn connection_count(&self) -> usize {
        self.shared.connection_count.load(Ordering::SeqCst)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.is_ending.store(true, Ordering::SeqCst);
        for stream in self.shared.streams.lock().unwrap().drain(..) {
            let _gone = stream.shutdown(std::net::Shutdown::Both);
        }
        // Wakes the one that listens.
        let _woken = TcpStream::connect(self.address);
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Shared {
    fn listen(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming() {
            let stream = stream.unwrap();
            if self.is_ending.load(Ordering::SeqCst) {
                return;
            }
            let connection = self.connection_count.fetch_add(1, Ordering::SeqCst);
            let mut streams = self.streams.lock().unwrap();
            streams.push(stream.try_clone().unwrap());
            drop(streams);
            let own = Arc::clone(self);
            let end = stream.try_clone().unwrap();
            std::thread::spawn(move || {
                // Whoever goes away is the sender's affair.
                let _broken_off = own.serve(stream, connection);
                let _gone = end.shutdown(std::net::Shutdown::Both);
            });
        }
    }

    fn serve(&self, stream: TcpStream, connection: usize) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &self.tls_fn {
            None => Box::new(stream),
            Some(tls_fn) => {
                let session = rustls::ServerConnection::new(tls_fn()).map_err(io::Error::other)?;
                Box::new(rustls::StreamOwned::new(session, stream))
            }
        };
        let mut stream = BufReader::new(stream);
        while let Some((mut request, size)) = head(&mut stream, connection)? {
            let nth = self.ledger.lock().unwrap().requests.len();
            // A body that is broken off is never there as a whole.
            let reply = (self.reply_fn)(&request, nth);
            if matches!(reply, Reply::BreakOff) {
                request.body.resize(size / 2, 0);
                stream.read_exact(&mut request.body)?;
                self.ledger.lock().unwrap().requests.push(request);
                return Ok(());
            }
            request.body.resize(size, 0);
            stream.read_exact(&mut request.body)?;
            // Asked again, of the whole.
            let reply = (self.reply_fn)(&request, nth);
            if !self.answer(stream.get_mut(), request, reply)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether the connection goes on.
    fn answer(&self, stream: &mut dyn Stream, request: Request, reply: Reply) -> io::Result<bool> {
        let mut ledger = self.ledger.lock().unwrap();
        ledger.come(&request);
        if matches!(
            reply,
            Reply::Take | Reply::TakeAndClose | Reply::TakeAndBreakOff
        ) {
            ledger.kept.insert(request.key().to_owned(), request);
        }
        drop(ledger);
        match reply {
            Reply::Take | Reply::TakeAndClose => {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
                stream.flush()?;
                return Ok(matches!(reply, Reply::Take));
            }
            Reply::TakeAndBreakOff | Reply::BreakOff => return Ok(false),
            Reply::Say(bytes) => stream.write_all(&bytes)?,
            Reply::SayAndClose(bytes) => {
                stream.write_all(&bytes)?;
                stream.flush()?;
                return Ok(false);
            }
            Reply::Trickle => {
                for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"
                    .iter()
                    .cycle()
                {
                    stream.write_all(&[*byte])?;
                    stream.flush()?;
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            Reply::Nothing => {
                // Until the other end has enough.
                let _end = stream.read(&mut [0])?;
                return Ok(false);
            }
        }
        stream.flush()?;
        Ok(true)
    }
}

/// The head of the next request, and the size of its body.
fn head(
    stream: &mut BufReader<Box<dyn Stream>>,
    connection: usize,
) -> io::Result<Option<(Request, usize)>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    let size = headers["content-length"].parse().unwrap();
    let request = Request {
        target,
        headers,
        body: Vec::new(),
        at: Instant::now(),
        connection,
    };
    Ok(Some((request, size)))
}

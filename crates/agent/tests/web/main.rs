//! `systrail web` as a browser and as whoever means ill sees it: the real program, asked over TCP by requests
//! that are written by hand.
//!
//! Nothing here needs root or a browser. What is looked at was recorded on paper: a log that is replayed into a
//! store, now and then while it is looked at.
#![cfg(all(feature = "web", target_os = "linux"))]

mod access;
mod browser;
mod hostile;
mod live;
mod shown;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

const NIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/night.jsonl");

/// Longer than anything takes here, and not for ever.
const PATIENCE: Duration = Duration::from_mins(1);

/// The program, with no configuration of this machine's in reach, and signals as they are by default.
fn systrail() -> Command {
    let mut command = Command::new("env");
    command
        .args(["--default-signal", env!("CARGO_BIN_EXE_systrail")])
        .env_remove("JOURNAL_STREAM")
        .stdin(Stdio::null());
    command
}

/// Makes a store of a log.
fn store_of(log: &Path, directory: &Path) -> PathBuf {
    let store = directory.join("store");
    let replayed = systrail()
        .arg("replay")
        .arg(log)
        .arg("--store")
        .arg(&store)
        .output();
    let replayed = replayed.expect("the program");
    let said = String::from_utf8_lossy(&replayed.stderr);
    assert!(replayed.status.success(), "{said}");
    store
}

/// A store of one night.
fn night(directory: &Path) -> PathBuf {
    store_of(Path::new(NIGHT), directory)
}

/// The program, while it serves a store.
struct Served {
    child: Child,
    address: SocketAddr,
    token: String,
    cookie: String,
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _waited = self.child.wait();
    }
}

impl Served {
    /// Serves `store`, and lets this test in.
    fn start(store: &Path) -> Self {
        Self::start_with(store, &[])
    }

    fn start_with(store: &Path, arguments: &[&str]) -> Self {
        let mut served = Self::start_closed(store, arguments);
        let reply = served.send("GET", &format!("/?token={}", served.token), "", "");
        assert_eq!(reply.status, 303, "{}", reply.head);
        let cookie = reply.header("set-cookie").expect("a cookie");
        let cookie = cookie.split(';').next().expect("its value");
        served.cookie = format!("Cookie: {cookie}\r\n");
        served
    }

    /// The same, without having shown the token.
    fn start_closed(store: &Path, arguments: &[&str]) -> Self {
        let mut command = systrail();
        command.args(["web", "--listen", "127.0.0.1:0"]);
        command.arg("--store").arg(store).args(arguments);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program");
        let mut line = String::new();
        let out = child.stdout.take().expect("its output");
        BufReader::new(out).read_line(&mut line).expect("a line");
        let rest = line.trim().strip_prefix("http://").expect("an address");
        let (address, rest) = rest.split_once('/').expect("a path");
        Self {
            child,
            address: address.parse().expect("an address"),
            token: rest.strip_prefix("?token=").unwrap_or_default().to_owned(),
            cookie: String::new(),
        }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a limit");
        stream.set_write_timeout(Some(PATIENCE)).expect("a limit");
        stream
    }

    /// Sends those very bytes, and takes what comes.
    fn raw(&self, request: &[u8]) -> Reply {
        let mut stream = self.connect();
        // Whoever is refused in the middle of it cannot send the rest.
        let _refused = stream.write_all(request);
        Reply::read(&mut stream)
    }

    /// Asks under our name, with further headers and a body.
    fn send(&self, method: &str, target: &str, headers: &str, body: &str) -> Reply {
        let host = self.address;
        let length = if method == "POST" {
            format!("Content-Length: {}\r\n", body.len())
        } else {
            String::new()
        };
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{length}{headers}\r\n");
        self.raw(format!("{head}{body}").as_bytes())
    }

    /// Asks as our page does.
    fn get(&self, target: &str) -> Reply {
        self.send("GET", target, &self.cookie, "")
    }

    /// What our page is told.
    fn told(&self, target: &str) -> Value {
        let reply = self.get(target);
        assert_eq!(reply.status, 200, "{target}: {}", reply.body);
        reply.json()
    }

    fn query(&self, sql: &str) -> Reply {
        let headers = format!("Origin: http://{}\r\n{}", self.address, self.cookie);
        self.send("POST", "/api/query", &headers, sql)
    }
}

/// An answer.
#[derive(Debug)]
struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    fn read(stream: &mut TcpStream) -> Self {
        let mut bytes = Vec::new();
        let _reset = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        Self {
            status: status.unwrap_or(0),
            head: head.to_owned(),
            body: body.to_owned(),
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut values = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        values.next().map(|(_, value)| value)
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Writes a log of starts with these command lines.
fn log_of(directory: &Path, commands: &[&str]) -> PathBuf {
    let path = directory.join("log.jsonl");
    let lines = commands
        .iter()
        .zip(1_u64..)
        .map(|(command, number)| line(number, &serde_json::json!([command]), command));
    fs::write(&path, lines.collect::<String>()).expect("a log");
    path
}

/// The start of a process, as a line of a log.
fn line(number: u64, arguments: &Value, command: &str) -> String {
    let event = serde_json::json!({
        "sequence": number,
        "time": format!("2026-11-27T02:{:02}:{:02}.000000000Z", number / 60 % 60, number % 60),
        "kind": "process_start", "host": "atlas", "run": 1_795_744_800_000_000_000_u64,
        "process_id": 1_000 + number, "process_key": format!("c{number:015x}"),
        "parent_process_id": 1, "parent_process_key": "c000000000000000",
        "image": "/usr/bin/x", "command_line": command, "arguments": arguments, "user": "ada",
        "user_id": 1000, "existing": false,
    });
    format!("{event}\n")
}

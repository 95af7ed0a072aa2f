//! Metrics where the process has no file descriptor left; alone in its process, whose limit it lowers.
#![cfg(target_os = "linux")]

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{self, Sender};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use systrail::metrics::{self, Server};

/// Hands over what is logged.
struct Told(Sender<String>);

impl io::Write for Told {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes).into_owned();
        self.0.send(text).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One connection that could not be taken ended the metrics for the rest of the run.
#[test]
fn metrics_are_served_again_when_there_are_descriptors_again() {
    const FILES_MAX: u64 = 64;
    let (sender, told) = mpsc::channel();
    tracing_subscriber::fmt()
        .with_writer(move || Told(sender.clone()))
        .init();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let server = Server::start(address, metrics::Told::default()).unwrap();

    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, FILES_MAX, hard).unwrap();
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    // The one that is free again is the client's, and none is left for the server.
    files.pop();
    let mut client = TcpStream::connect(server.address()).unwrap();
    let said = told.recv().unwrap();
    assert!(said.contains("metrics: a client was not served"), "{said}");

    drop(files);
    client.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
    let mut response = String::new();
    client.read_to_string(&mut response).unwrap();
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    // It was told once a pause, not as often as the system said so.
    assert!(told.try_iter().count() < 10);
}

//! What the metrics promise.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use super::{Numbers, Server, Told, exposition};
use crate::account::{Account, QueuePeak, SinkCount};
use crate::image_hash::Counts;
use crate::pipeline::Found;
use crate::store::Kept;
use crate::sys::usage::Usage;

/// The least there is to tell.
fn numbers(account: &Account) -> Numbers<'_> {
    Numbers {
        account,
        is_recording: true,
        found: Found::default(),
        reloads: [3, 1],
        hashes: None,
        forwarded: None,
        usage: None,
        kept: None,
    }
}

fn server() -> Server {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::start(address, Told::default()).expect("a server")
}

fn ask(server: &Server, request: &[u8]) -> String {
    let mut client = TcpStream::connect(server.address()).expect("a connection");
    client.write_all(request).expect("a request");
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a response");
    response
}

#[test]
fn every_kind_has_its_counters() {
    let response = ask(
        &server(),
        b"GET /metrics?x=1 HTTP/1.1\r\nHost: here\r\n\r\n",
    );
    assert!(response.starts_with("HTTP/1.1 200 OK\r\n"), "{response}");
    for family in ["produced", "delivered", "lost", "excluded"] {
        for kind in event::Kind::OBSERVED {
            let line = format!("systrail_events_{family}_total{{kind=\"{kind}\"}} 0\n");
            assert!(response.contains(&line), "{line} in {response}");
        }
    }
}

#[test]
fn every_sample_has_its_help_and_type() {
    let account = Account {
        source: "a \"quoted\" source".to_owned(),
        queues: vec![QueuePeak {
            name: "events".to_owned(),
            peak: 3,
            limit: 8,
            unit: "bytes".to_owned(),
        }],
        sinks: vec![SinkCount {
            name: "log".to_owned(),
            written: 7,
            lost: 1,
            waiting: 2,
        }],
        ..Account::default()
    };
    let found = Found {
        counts: [0, 0, 0, 5, 0],
        off_count: 2,
        alerts: Some([4, 1, 0, 3, 0]),
    };
    let hashes = Some(Counts {
        busy: 9,
        ..Counts::default()
    });
    let text = exposition(&Numbers {
        found,
        hashes,
        ..numbers(&account)
    });
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().expect("a name");
        assert!(text.contains(&format!("# HELP {name} ")), "{line}");
        assert!(text.contains(&format!("# TYPE {name} ")), "{line}");
    }
    assert!(text.contains("source=\"a \\\"quoted\\\" source\""));
    assert!(text.contains("systrail_queue_peak{queue=\"events\",unit=\"bytes\"} 3\n"));
    assert!(text.contains("systrail_sink_lost_total{sink=\"log\"} 1\n"));
    assert!(text.contains("systrail_sink_waiting{sink=\"log\"} 2\n"));
    assert!(text.contains("systrail_recording 1\n"));
    assert!(text.contains("systrail_detections_total{level=\"high\"} 5\n"));
    assert!(text.contains("systrail_detection_rules_off_total 2\n"));
    assert!(text.contains("systrail_alerts_total{result=\"passed_over\"} 3\n"));
    assert!(text.contains("systrail_hash_busy_total 9\n"));
    assert!(text.contains("systrail_reloads_total{result=\"refused\"} 1\n"));
    let without = exposition(&numbers(&account));
    assert!(
        !without.contains("systrail_alerts"),
        "no command, no alerts"
    );
    assert!(!without.contains("systrail_hash"), "no hashes are counted");
}

/// No metric was named in any document.
#[test]
fn the_document_names_every_metric_with_its_type_and_labels() {
    let document = include_str!("../../../../docs/LINUX.md");
    let account = Account {
        queues: vec![QueuePeak::default()],
        sinks: vec![SinkCount::default()],
        ..Account::default()
    };
    let found = Found {
        alerts: Some([0; 5]),
        ..Found::default()
    };
    let hashes = Some(Counts {
        busy: 9,
        ..Counts::default()
    });
    let forwarded = crate::forward::Counts::default();
    let text = exposition(&Numbers {
        found,
        hashes,
        forwarded: Some(forwarded),
        // As on every system, also where nobody asks for it.
        usage: Some(Usage {
            memory_size: 1,
            processor_time: Duration::from_secs(1),
        }),
        kept: Some(Kept {
            size: 1,
            begun: Some(SystemTime::UNIX_EPOCH),
            written: Some(SystemTime::UNIX_EPOCH),
        }),
        ..numbers(&account)
    });
    let mut names = 0;
    for line in text.lines() {
        let Some((name, family)) = line
            .strip_prefix("# TYPE ")
            .and_then(|it| it.split_once(' '))
        else {
            continue;
        };
        names += 1;
        let row = document
            .lines()
            .find(|row| row.starts_with(&format!("| `{name}` | {family}")));
        let row = row.unwrap_or_else(|| panic!("no row of {name}, a {family}"));
        let sample = text.lines().find(|it| it.starts_with(&format!("{name}{{")));
        let labels = sample.and_then(|it| it.split(['{', '}']).nth(1));
        for label in labels
            .unwrap_or_default()
            .split(',')
            .filter(|it| !it.is_empty())
        {
            let label = label.split('=').next().unwrap_or_default();
            assert!(row.contains(&format!("`{label}`")), "{label} in {row}");
        }
    }
    let told = document
        .lines()
        .filter(|row| row.starts_with("| `systrail_"));
    assert_eq!(told.count(), names, "a row of what is not there");
}

#[test]
fn other_requests_are_refused() {
    let server = server();
    for (request, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\n\r\n", "405"),
        ("nonsense\r\n\r\n", "400"),
    ] {
        let response = ask(&server, request.as_bytes());
        assert!(
            response.starts_with(&format!("HTTP/1.1 {status} ")),
            "{response}"
        );
    }
}

#[test]
fn a_request_without_an_end_is_cut_off() {
    let server = server();
    let mut client = TcpStream::connect(server.address()).expect("a connection");
    // The server may answer and close before all of it is written.
    let _written = client.write_all("x".repeat(64 * 1024).as_bytes());
    let mut response = Vec::new();
    let _read = client.read_to_end(&mut response);
    assert!(response.is_empty() || response.starts_with(b"HTTP/1.1 431 "));
    let next = ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n");
    assert!(next.starts_with("HTTP/1.1 200 "));
}

#[test]
fn a_client_that_says_nothing_holds_up_nobody_at_the_end() {
    let server = server();
    let _silent = TcpStream::connect(server.address()).expect("a connection");
    let began = Instant::now();
    drop(server);
    assert!(began.elapsed() < Duration::from_secs(1));
}

/// They were served one after the other, each for two seconds: a handful of them kept Prometheus out.
#[test]
fn clients_that_say_nothing_hold_up_nobody() {
    let server = server();
    let connect = || TcpStream::connect(server.address()).expect("a connection");
    let _silent: Vec<TcpStream> = (0..64).map(|_| connect()).collect();
    let began = Instant::now();
    let response = ask(&server, b"GET /metrics HTTP/1.1\r\n\r\n");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_request_in_pieces_is_answered() {
    let server = server();
    let mut client = TcpStream::connect(server.address()).expect("a connection");
    for piece in ["GET /metr", "ics HTTP/1.1\r\nHost: x\r\n", "\r\n"] {
        client.write_all(piece.as_bytes()).expect("a piece");
        // Somebody else is served between two pieces.
        let other = ask(&server, b"GET / HTTP/1.1\r\n\r\n");
        assert!(other.starts_with("HTTP/1.1 404 "));
    }
    let mut response = String::new();
    client.read_to_string(&mut response).expect("a response");
    assert!(response.starts_with("HTTP/1.1 200 "), "{response}");
}

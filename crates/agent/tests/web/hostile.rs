//! Whoever means ill: requests that are none, that have no end, that are too many; texts that would be more.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{PATIENCE, Reply, Served, log_of, night, store_of};

#[test]
fn what_is_no_request_is_refused_and_said() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let host = format!("Host: {}\r\n", served.address);
    let post = format!(
        "POST /api/query HTTP/1.1\r\n{host}Origin: http://{}\r\n{}",
        served.address, served.cookie
    );
    let cases: [(u16, String); 14] = [
        (400, "\u{16}\u{3}\u{1} TLS\r\n\r\n".to_owned()),
        (400, "GET\r\n\r\n".to_owned()),
        (
            400,
            format!("GET http://{}/ HTTP/1.1\r\n{host}\r\n", served.address),
        ),
        (400, format!("GET * HTTP/1.1\r\n{host}\r\n")),
        (400, format!("GET / HTTP/1.1\r\n{host}a b: c\r\n\r\n")),
        (405, format!("PUT / HTTP/1.1\r\n{host}\r\n")),
        (405, format!("OPTIONS /api/query HTTP/1.1\r\n{host}\r\n")),
        (
            431,
            format!("GET / HTTP/1.1\r\n{host}X: {}\r\n\r\n", "x".repeat(1 << 20)),
        ),
        (
            431,
            format!("GET /{} HTTP/1.1\r\n{host}\r\n", "x".repeat(1 << 20)),
        ),
        (
            431,
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "X: y\r\n".repeat(100)),
        ),
        (411, format!("{post}\r\nSELECT 1")),
        (
            411,
            format!("{post}Transfer-Encoding: chunked\r\n\r\n8\r\nSELECT 1\r\n0\r\n\r\n"),
        ),
        (
            413,
            format!("{post}Content-Length: 99999999\r\n\r\nSELECT 1"),
        ),
        (400, format!("{post}Content-Length: -1\r\n\r\nSELECT 1")),
    ];
    for (status, request) in cases {
        let begin: String = request.chars().take(60).collect();
        let reply = served.raw(request.as_bytes());
        assert_eq!(reply.status, status, "{begin}");
        assert!(!reply.body.trim().is_empty(), "{begin}");
    }
    // No path leads out of what there is.
    for target in [
        "/../../etc/passwd",
        "/page.css/..",
        "//etc/passwd",
        "/%2e%2e/etc/passwd",
        "/api/",
        "/api/query",
    ] {
        let reply = served.get(target);
        assert_eq!(reply.status, 404, "{target}");
    }
    for target in [
        "/api/story",
        "/api/story?key=zz",
        "/api/processes?since=x",
        "/api/processes?until=99999999999999999999",
    ] {
        assert_eq!(served.get(target).status, 400, "{target}");
    }
    assert_eq!(served.get("/api/story?key=0123456789abcdef").status, 422);
    let odd = served.told("/api/processes?since=9223372036854775807&until=-9223372036854775808");
    assert_eq!(odd["processes"].as_array().map(Vec::len), Some(0));
}

/// Whoever says a byte a second held up everybody in other servers.
#[test]
fn who_is_slow_holds_up_nobody_and_is_let_go() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let begun = Instant::now();
    let mut slow: Vec<_> = (0..20).map(|_| served.connect()).collect();
    for stream in &mut slow {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHo")
            .expect("some bytes");
    }
    let mut patient = served.connect();
    let request = format!(
        "GET /page.js HTTP/1.1\r\nHost: {}\r\n{}\r\n",
        served.address, served.cookie
    );
    patient.write_all(request.as_bytes()).expect("a request");
    assert_eq!(served.get("/api/overview").status, 200);
    assert!(begun.elapsed() < Duration::from_secs(9));
    let reply = Reply::read(&mut slow[0]);
    assert_eq!(reply.status, 408, "{}", reply.head);
    assert!(begun.elapsed() >= Duration::from_secs(5));
    // Who says nothing is let go without a word.
    assert_eq!(Reply::read(&mut patient).status, 200);
}

#[test]
fn of_too_many_connections_the_last_are_refused_and_others_come_in_their_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let idle: Vec<_> = (0..64).map(|_| served.connect()).collect();
    let mut further = served.connect();
    let reply = Reply::read(&mut further);
    assert_eq!(reply.status, 503, "{}", reply.head);
    assert!(reply.body.contains("try again"), "{}", reply.body);
    drop(idle);
    let begun = Instant::now();
    while served.get("/api/schema").status != 200 {
        assert!(begun.elapsed() < PATIENCE);
    }
}

/// A name that ends a script, moves a terminal's cursor or turns the rest of the line around.
#[test]
fn texts_of_others_stay_data() {
    let directory = tempfile::tempdir().expect("a directory");
    let hostile = "</script><img src=x onerror=alert(1)>\u{202e}gpj.exe\u{7}\u{1b}[2J\" onload=\"x";
    let lengthy = "y".repeat(32 << 10);
    let path = log_of(directory.path(), &[hostile, &lengthy, "a\nb\rc", "\u{0}"]);
    let site = Served::start(&store_of(&path, directory.path()));
    let replies = [
        site.get("/api/processes"),
        site.get("/api/story?key=c000000000000001"),
        site.query("SELECT command_line, process_key AS \"<b>\u{202e}\" FROM processes"),
        site.query("SELECT \"</script>\u{202e}\" FROM nowhere"),
        site.get("/api/story?key=</script>"),
    ];
    for reply in &replies {
        assert_eq!(
            reply.header("content-type"),
            Some("application/json"),
            "{}",
            reply.body
        );
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
        let is_shown = |c: char| c >= ' ' && !"\u{202e}\u{7f}\u{2028}".contains(c);
        assert!(reply.body.chars().all(is_shown), "{}", reply.body);
    }
    let told = replies[0].json().to_string();
    // As it is, but for what cannot be looked at.
    assert!(
        told.contains("</script><img src=x onerror=alert(1)>"),
        "{told}"
    );
    assert!(
        told.contains("u{202e}gpj.exe") && told.contains("u{1b}[2J"),
        "{told}"
    );
    // A story has all of a text, the picture what fits into it.
    assert!(
        replies[0].body.len() < 32 << 10,
        "{}",
        replies[0].body.len()
    );
    let story = site.told("/api/story?key=c000000000000002");
    assert_eq!(
        story["story"]["command_line"].as_str().map(str::len),
        Some(32 << 10)
    );
}

#[test]
fn a_signal_ends_it_at_once_whoever_looks() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut served = Served::start(&store);
        let mut stream = served.connect();
        let request = format!(
            "GET /api/events HTTP/1.1\r\nHost: {}\r\n{}\r\n",
            served.address, served.cookie
        );
        stream.write_all(request.as_bytes()).expect("a request");
        let mut bytes = [0; 16];
        stream.read_exact(&mut bytes).expect("an answer");
        let _idle = served.connect();
        let begun = Instant::now();
        kill(Pid::from_raw(served.child.id().cast_signed()), signal).expect("a signal");
        let ended = served.child.wait().expect("its end");
        assert_eq!(ended.code(), Some(0), "{signal}");
        assert!(begun.elapsed() < Duration::from_secs(2), "{signal}");
    }
}

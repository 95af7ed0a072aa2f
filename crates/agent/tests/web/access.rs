//! Who is let in.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Stdio;

use crate::{Reply, Served, night, systrail};

/// Everything there is to ask for.
const ROUTES: [(&str, &str); 9] = [
    ("GET", "/page.css"),
    ("GET", "/page.js"),
    ("GET", "/icon.svg"),
    ("GET", "/api/overview"),
    ("GET", "/api/processes"),
    ("GET", "/api/story?key=a000000000000208"),
    ("GET", "/api/schema"),
    ("GET", "/api/events"),
    ("POST", "/api/query"),
];

#[test]
fn the_token_becomes_a_cookie_and_is_gone_from_the_address() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start_closed(&night(directory.path()), &[]);
    assert_eq!(served.token.len(), 64);
    let reply = served.send("GET", &format!("/?token={}", served.token), "", "");
    assert_eq!(reply.status, 303);
    // Relative, as everything is: it works below the path of a proxy.
    assert_eq!(reply.header("location"), Some("./"));
    assert_eq!(reply.header("referrer-policy"), Some("no-referrer"));
    assert!(!reply.head.contains(&served.token), "{}", reply.head);
    let cookie = reply.header("set-cookie").expect("a cookie");
    let name = format!("systrail-{}=", served.address.port());
    assert!(cookie.starts_with(&name), "{cookie}");
    assert!(
        cookie.contains("; HttpOnly") && cookie.contains("; SameSite=Strict"),
        "{cookie}"
    );
    assert!(
        !cookie.contains("Max-Age") && !cookie.contains("Expires"),
        "{cookie}"
    );
    // Each browser has one of its own, and all of them are let in.
    let again = served.send("GET", &format!("/?token={}", served.token), "", "");
    let other = again.header("set-cookie").expect("a cookie");
    assert_ne!(cookie, other);
    for cookie in [cookie, other] {
        let cookie = cookie.split(';').next().expect("its value");
        let page = served.send("GET", "/", &format!("Cookie: other=1; {cookie}\r\n"), "");
        assert_eq!(page.status, 200);
        assert!(!page.body.contains(&served.token));
    }
}

/// Loopback is open to every user of the machine.
#[test]
fn who_has_not_shown_the_token_sees_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start_closed(&night(directory.path()), &[]);
    let port = served.address.port();
    let own = format!("Origin: http://{}\r\n", served.address);
    let nothing = "0".repeat(64);
    let cookies = [
        String::new(),
        format!("Cookie: systrail-{port}={nothing}\r\n"),
        // The token is none: it was never in a cookie.
        format!("Cookie: systrail-{port}={}\r\n", served.token),
        format!("Cookie: systrail-{port}=\r\n"),
    ];
    for cookie in &cookies {
        for (method, target) in ROUTES {
            let reply = served.send(method, target, &format!("{own}{cookie}"), "SELECT 1");
            assert_eq!(reply.status, 401, "{method} {target}");
            assert!(!reply.body.contains("atlas"), "{}", reply.body);
        }
        let door = served.send("GET", "/", cookie, "");
        assert_eq!(door.status, 401);
        assert!(door.body.contains("systrail web"), "{}", door.body);
    }
    for token in [&nothing, "", &served.token[..63], "%00"] {
        let reply = served.send("GET", &format!("/?token={token}"), "", "");
        assert_eq!(reply.status, 403, "{token}");
        assert_eq!(reply.header("set-cookie"), None);
    }
    // Another systrail's browser is none of ours.
    let other = Served::start(&directory.path().join("store"));
    let reply = served.send("GET", "/api/overview", &other.cookie, "");
    assert_eq!(reply.status, 401);
}

/// A page whose name leads here all of a sudden is of one origin with what it asks for.
#[test]
fn only_names_that_are_ours_are_answered() {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["--allow-host", "Tunnel.example:9000"];
    let served = Served::start_with(&night(directory.path()), &arguments);
    let port = served.address.port();
    let ask = |method: &str, target: &str, hosts: &str, origin: &str| -> Reply {
        let head = format!(
            "{method} {target} HTTP/1.1\r\n{hosts}{origin}{}Content-Length: 8\r\n\r\nSELECT 1",
            served.cookie
        );
        served.raw(head.as_bytes())
    };
    let strangers = [
        format!("Host: evil.example:{port}\r\n"),
        format!("Host: 127.0.0.1.evil.example:{port}\r\n"),
        format!("Host: 127.0.0.1:{}\r\n", port ^ 1),
        "Host: 127.0.0.1\r\n".to_owned(),
        "Host: tunnel.example\r\n".to_owned(),
        "Host: \r\n".to_owned(),
        String::new(),
        format!("Host: 127.0.0.1:{port}\r\nHost: evil.example:{port}\r\n"),
    ];
    let token = format!("/?token={}", served.token);
    for hosts in &strangers {
        let name = hosts.trim().trim_start_matches("Host: ");
        let origin = format!("Origin: http://{name}\r\n");
        for (method, target) in ROUTES.into_iter().chain([("GET", "/"), ("GET", &*token)]) {
            let reply = ask(method, target, hosts, &origin);
            assert_eq!(reply.status, 421, "{method} {target} {hosts}");
            assert_eq!(reply.header("set-cookie"), None);
        }
    }
    for name in ["127.0.0.1", "localhost", "LOCALHOST", "[::1]"] {
        let reply = ask(
            "GET",
            "/api/schema",
            &format!("Host: {name}:{port}\r\n"),
            "",
        );
        assert_eq!(reply.status, 200, "{name}");
    }
    let hosts = "Host: tunnel.example:9000\r\n";
    let reply = ask(
        "POST",
        "/api/query",
        hosts,
        "Origin: https://tunnel.example:9000\r\n",
    );
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// A page of another port of this machine is of one site with us: its browser sends our cookie along.
#[test]
fn another_page_can_ask_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let own = format!("http://{}", served.address);
    let post = |headers: &str| {
        let headers = format!("{headers}{}", served.cookie);
        served
            .send("POST", "/api/query", &headers, "SELECT 1")
            .status
    };
    assert_eq!(post(""), 403);
    for origin in [
        "null",
        "http://127.0.0.1:3000",
        "http://evil.example",
        "",
        "127.0.0.1",
    ] {
        assert_eq!(post(&format!("Origin: {origin}\r\n")), 403, "{origin}");
    }
    assert_eq!(post(&format!("Origin: {own}\r\nOrigin: {own}\r\n")), 403);
    assert_eq!(
        post(&format!("Origin: {own}\r\nSec-Fetch-Site: same-site\r\n")),
        403
    );
    assert_eq!(
        post(&format!("Origin: {own}\r\nSec-Fetch-Site: same-origin\r\n")),
        200
    );
    let get = |target: &str, site: &str| {
        let headers = format!("Sec-Fetch-Site: {site}\r\n{}", served.cookie);
        served.send("GET", target, &headers, "").status
    };
    for site in ["cross-site", "same-site"] {
        assert_eq!(get("/api/events", site), 403);
        assert_eq!(get("/api/overview", site), 403);
        assert_eq!(get("/page.js", site), 403);
        // A link to the page is a link.
        assert_eq!(get("/", site), 200);
    }
    assert_eq!(get("/api/overview", "same-origin"), 200);
}

#[test]
fn every_answer_says_what_a_browser_may_do_with_it() {
    let directory = tempfile::tempdir().expect("a directory");
    let served = Served::start(&night(directory.path()));
    let replies = [
        served.get("/"),
        served.get("/api/overview"),
        served.get("/nothing"),
        served.send("GET", "/", "", ""),
        served.send("GET", "/?token=x", "", ""),
        served.raw(b"GET / HTTP/1.1\r\n\r\n"),
        served.raw(b"BREW / HTTP/1.1\r\n\r\n"),
    ];
    let statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    assert_eq!(statuses, [200, 200, 404, 401, 403, 421, 405]);
    for reply in &replies {
        let policy = reply.header("content-security-policy").expect("a policy");
        assert!(
            policy.starts_with("default-src 'none'; script-src 'self';"),
            "{policy}"
        );
        assert!(
            !policy.contains("unsafe") && !policy.contains("http"),
            "{policy}"
        );
        assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cross-origin-opener-policy", "same-origin"),
        ] {
            assert_eq!(reply.header(name), Some(value), "{name}");
        }
        assert_eq!(reply.header("access-control-allow-origin"), None);
    }
}

#[test]
fn a_token_in_a_file_is_nobody_elses_and_is_not_printed() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    let path = directory.path().join("token");
    let name = path.to_str().expect("a name of text");
    let served = Served::start_closed(&store, &["--token-file", name]);
    assert_eq!(served.token, "");
    let token = fs::read_to_string(&path).expect("a token");
    let mode = fs::metadata(&path).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let target = format!("/?token={}", token.trim());
    assert_eq!(served.send("GET", &target, "", "").status, 303);
    drop(served);
    // The same the next time.
    let served = Served::start_closed(&store, &["--token-file", name]);
    assert_eq!(served.send("GET", &target, "", "").status, 303);
    let refused = |why: &str| {
        let mut command = systrail();
        command.args(["web", "--listen", "127.0.0.1:0", "--token-file", name]);
        let output = command
            .arg("--store")
            .arg(&store)
            .output()
            .expect("the program");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(why), "{said}");
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("permissions");
    refused("others can read it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("permissions");
    fs::write(&path, "secret\n").expect("a file");
    refused("64 hex digits");
}

/// What a service prints stays in the journal, which a group of people reads.
#[test]
fn no_token_goes_to_the_journal() {
    use std::os::unix::fs::MetadataExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    let journal = fs::File::create(directory.path().join("journal")).expect("a file");
    let data = journal.metadata().expect("the file");
    let mut command = systrail();
    command.env("JOURNAL_STREAM", format!("{}:{}", data.dev(), data.ino()));
    command
        .args(["web", "--listen", "127.0.0.1:0", "--store"])
        .arg(&store);
    let output = command
        .stdout(Stdio::from(journal))
        .output()
        .expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--token-file"), "{said}");
    assert_eq!(fs::read(directory.path().join("journal")).expect("it"), b"");
}

#[test]
fn a_socket_is_its_owners_alone_and_goes_with_the_program() {
    use std::io::{BufRead as _, BufReader, Read as _, Write as _};
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    let socket = directory.path().join("socket");
    // One that nobody listens at any more is in nobody's way.
    drop(UnixListener::bind(&socket).expect("a socket"));
    let start = || {
        let mut command = systrail();
        command.args(["web", "--socket"]).arg(&socket);
        command.arg("--store").arg(&store);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().expect("the program")
    };
    let mut child = start();
    let mut line = String::new();
    let out = child.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let token = line
        .trim()
        .strip_prefix("http://localhost/?token=")
        .expect("a token");
    let mode = fs::metadata(&socket)
        .expect("the socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut stream = UnixStream::connect(&socket).expect("a connection");
    let request = format!("GET /?token={token} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut reply = String::new();
    stream.read_to_string(&mut reply).expect("an answer");
    assert!(reply.starts_with("HTTP/1.1 303 "), "{reply}");
    assert!(reply.contains("Set-Cookie: systrail-socket="), "{reply}");
    let second = start().wait_with_output().expect("its end");
    assert_eq!(second.status.code(), Some(1));
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(said.contains("in use"), "{said}");
    let id = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM).expect("a signal");
    assert_eq!(child.wait().expect("its end").code(), Some(0));
    assert!(!socket.exists());
}

#[test]
fn what_other_machines_reach_must_be_meant() {
    let directory = tempfile::tempdir().expect("a directory");
    let store = night(directory.path());
    let ended = |arguments: &[&str]| {
        let mut command = systrail();
        command
            .arg("web")
            .args(arguments)
            .arg("--store")
            .arg(&store);
        let output = command.output().expect("the program");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), said)
    };
    let (code, said) = ended(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("not encrypted") && said.contains("--allow-host"),
        "{said}"
    );
    let served = Served::start_closed(&store, &[]);
    let taken = served.address.to_string();
    let (code, said) = ended(&["--listen", &taken]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&taken) && said.contains("--listen"), "{said}");
    let (code, said) = ended(&["--timeout", "0s"]);
    assert_eq!(code, Some(2), "{said}");
    assert_eq!(
        ended(&["--listen", "127.0.0.1:0", "--socket", "x"]).0,
        Some(2)
    );
}

#[test]
fn without_a_store_it_says_how_to_get_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = systrail();
    command.args(["web", "--listen", "127.0.0.1:0", "--store"]);
    command.arg(directory.path().join("none"));
    let output = command.output().expect("the program");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("nothing to show") && said.contains("systrail run"),
        "{said}"
    );
    assert_eq!(output.stdout, b"");
}

//! A recorder that is told to read its configuration again goes on as if nothing had happened.

use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::iter;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use systrail::account::Account;

use crate::run::{Recording, run};
use crate::{file, run_script};

/// A test fails rather than waits for what does not come.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// What a service manager hears.
struct Manager(UnixDatagram);

impl Manager {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
        Self(socket)
    }

    fn hear(&self) -> String {
        let mut bytes = [0; 4_096];
        // With a time limit a signal that comes meanwhile ends the waiting.
        let size = loop {
            match self.0.recv(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                received => break received.unwrap(),
            }
        };
        String::from_utf8_lossy(&bytes[..size]).trim().to_owned()
    }

    /// The status after a reload, which it is told of as systemd wants it.
    fn hear_of_reload(&self) -> String {
        let begin = self.hear();
        let time = begin.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
        assert!(time.parse::<u64>().unwrap() > 0, "{begin}");
        let end = self.hear();
        let status = end.strip_prefix("READY=1\nSTATUS=").unwrap();
        assert!(!status.contains('\n'), "{status}");
        status.to_owned()
    }
}

/// A recording whose configuration is `text`, and its service manager.
struct Scene {
    directory: tempfile::TempDir,
    manager: Manager,
    recording: Recording,
}

impl Scene {
    fn begin(text: &str) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let manager = Manager::listen(&directory.path().join("notify"));
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        file(directory.path(), "systrail.toml", text);
        let mut command = run(&["--config", &path("systrail.toml"), "--log", &path("log")]);
        command.args(["--summary", &path("account"), "--events", "process"]);
        command.env("NOTIFY_SOCKET", directory.path().join("notify"));
        let recording = Recording::start(command)?;
        assert_eq!(manager.hear(), "READY=1");
        Some(Self {
            directory,
            manager,
            recording,
        })
    }

    fn reload(&self, text: &str) -> String {
        file(self.directory.path(), "systrail.toml", text);
        self.recording.signal(Signal::SIGHUP);
        self.manager.hear_of_reload()
    }

    /// What it said, its events and its account.
    fn end(self) -> (String, String, Account) {
        self.recording.signal(Signal::SIGTERM);
        let (code, said) = self.recording.end();
        assert_eq!(code, Some(0), "{said}");
        let read = |name| fs::read_to_string(self.directory.path().join(name)).unwrap();
        let account = serde_json::from_str(&read("account")).unwrap();
        (said, read("log"), account)
    }
}

/// Runs a copy of `true` that has this name.
fn start(directory: &Path, name: &str) {
    let path = directory.join(name);
    if !path.exists() {
        fs::copy("/bin/true", &path).unwrap();
    }
    // Another test's child may hold the file open for writing until its exec.
    while Command::new(&path).status().is_err() {}
}

/// A hang-up ended the recorder, and a new rule was the end of a run and the begin of another.
#[test]
fn new_rules_are_in_force_without_a_gap_and_in_time() {
    let Some(scene) = Scene::begin("") else {
        return;
    };
    let place = scene.directory.path().to_owned();
    start(&place, "before");
    let began = Instant::now();
    let status = scene.reload("[[exclude]]\nimage = \"*/secret\"\n");
    let taken = began.elapsed();
    assert!(
        status.contains("1 rule") && !status.contains("restart"),
        "{status}"
    );
    // Of a machine on which tests run beside it; by itself it takes some milliseconds.
    assert!(taken < Duration::from_secs(2), "{taken:?}");
    start(&place, "secret");
    start(&place, "after");
    let (said, log, account) = scene.end();
    assert!(said.contains("configuration read again in "), "{said}");
    let image = |name| format!("\"image\":\"{}/{name}\"", place.display());
    assert!(log.contains(&image("before")) && log.contains(&image("after")));
    assert!(!log.contains(&image("secret")));
    assert_eq!(log.matches("\"kind\":\"sensor_start\"").count(), 1);
    assert!(account.balanced);
}

/// What runs already is judged by the new rules as well: its exit is left out.
#[test]
fn what_runs_already_goes_by_the_new_rules() {
    let Some(scene) = Scene::begin("") else {
        return;
    };
    let mut child = Command::new("/bin/sleep").arg("1000.5").spawn().unwrap();
    let status = scene.reload("[[exclude]]\nimage = \"*/sleep\"\n");
    assert!(status.contains("1 rule"), "{status}");
    child.kill().unwrap();
    child.wait().unwrap();
    let id = child.id();
    let (_, log, _) = scene.end();
    let exit = format!("\"process_id\":{id},");
    let exits = log.lines().filter(|line| line.contains("\"process_exit\""));
    assert_eq!(exits.filter(|line| line.contains(&exit)).count(), 0);
}

#[test]
fn a_wrong_configuration_leaves_the_one_before_in_force_and_is_told() {
    let Some(scene) = Scene::begin("[[exclude]]\nimage = \"*/secret\"\n") else {
        return;
    };
    let place = scene.directory.path().to_owned();
    let text = "[limits]\nprocesses = 4096\n[[exclude]]\nimage = \"*/secret\"\n";
    assert!(
        scene
            .reload(text)
            .ends_with("1 rule; what changed in [limits] needs a restart")
    );
    for wrong in [
        "[[exclude]]\nimage = \"[\"\n",
        "[detect]\nrules = \"/no/such/directory\"\n",
        "rubbish",
    ] {
        let status = scene.reload(wrong);
        assert!(
            status.ends_with("what was in force stays in force"),
            "{status}"
        );
    }
    start(&place, "secret");
    start(&place, "open");
    let (said, log, _) = scene.end();
    assert!(said.contains("systrail.toml:2:9: error: "), "{said}");
    assert!(!log.contains("/secret\"") && log.contains("/open\""));
}

/// What happens while it reads is seen, counted and in order.
#[test]
fn a_reload_loses_no_event() {
    const COUNT: usize = 300;
    let Some(scene) = Scene::begin("") else {
        return;
    };
    let place = scene.directory.path().to_owned();
    start(&place, "witness");
    let (program, stop) = (
        place.join("witness"),
        std::sync::atomic::AtomicBool::new(false),
    );
    let reloads = std::thread::scope(|scope| {
        let starter = scope.spawn(|| {
            for _ in 0..COUNT {
                Command::new(&program).status().unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        let mut reloads = 0;
        while !stop.load(std::sync::atomic::Ordering::SeqCst) {
            scene.reload(&format!("[[exclude]]\nimage = \"/no/such/{reloads}\"\n"));
            reloads += 1;
        }
        starter.join().unwrap();
        reloads
    });
    assert!(reloads > 1);
    let (_, log, account) = scene.end();
    assert!(account.balanced);
    let lost: u64 = account.kinds.by_kind().map(|(_, count)| count.lost).sum();
    assert_eq!(lost, 0);
    let image = format!("\"image\":\"{}\"", program.display());
    let execs = log
        .lines()
        .filter(|line| line.contains("\"kind\":\"process_exec\""));
    assert_eq!(
        execs.filter(|line| line.contains(&image)).count(),
        COUNT + 1
    );
    for (line, sequence) in log.lines().zip(1_u64..) {
        assert!(
            line.starts_with(&format!("{{\"sequence\":{sequence},")),
            "{line}"
        );
    }
}

/// In a terminal that stays it goes on; when the terminal is closed it ends, with its account.
#[test]
fn a_hang_up_ends_what_its_terminal_is_gone_of() {
    let directory = tempfile::tempdir().unwrap();
    let said = directory.path().join("said");
    let program = env!("CARGO_BIN_EXE_systrail");
    let command = [program, "run", "--no-log", "--no-store"].map(OsStr::new);
    run_script("hang_up.py", iter::once(said.as_os_str()).chain(command));
}

/// Rules that come later know which system the run is of, which its begin told.
#[cfg(feature = "detect")]
#[test]
fn detections_that_come_with_a_reload_find_what_happens_then() {
    let Some(scene) = Scene::begin("") else {
        return;
    };
    let place = scene.directory.path().to_owned();
    fs::create_dir(place.join("rules")).unwrap();
    let rule = "title: a suspect\nlevel: high\nlogsource:\n  category: process_creation\n  product: linux\n\
                detection:\n  selection:\n    Image|endswith: /suspect\n  condition: selection\n";
    file(&place.join("rules"), "suspect.yml", rule);
    let text = format!("[detect]\nrules = \"{}\"\n", place.join("rules").display());
    assert!(scene.reload(&text).contains("0 rules"));
    start(&place, "suspect");
    let (_, log, _) = scene.end();
    let found = log
        .lines()
        .filter(|line| line.contains("\"rule_title\":\"a suspect\""));
    assert_eq!(found.count(), 1);
}

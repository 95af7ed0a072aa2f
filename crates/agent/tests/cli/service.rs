//! `systrail service`, and what a service manager is told.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::run::{Recording, run};
use crate::{output, printed, said};

/// A test fails rather than waits for what does not come.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[test]
fn a_service_unit_can_be_looked_at_and_put_into_an_image() {
    let program = "--program=/usr/bin/systrail";
    let printed_unit = output(["service", "install", "--print", program]);
    assert_eq!(printed_unit.status.code(), Some(0));
    assert!(printed(&printed_unit).contains("\nExecStart=/usr/bin/systrail run "));

    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().to_str().unwrap();
    for done in ["installed", "already installed"] {
        let installed = output(["service", "install", "--root", root, program]);
        assert_eq!(installed.status.code(), Some(0), "{}", said(&installed));
        assert!(printed(&installed).contains(done));
    }
    for done in ["uninstalled", "was not installed"] {
        let removed = output(["service", "uninstall", "--root", root]);
        assert_eq!(removed.status.code(), Some(0), "{}", said(&removed));
        assert!(printed(&removed).contains(done));
    }
}

// Windows refused such a program, Linux had it run as root.
#[test]
fn a_program_of_another_user_is_not_made_a_service() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("systrail");
    std::fs::write(&program, "").unwrap();
    std::os::unix::fs::chown(&program, Some(65_534), None).unwrap();
    let option = format!("--program={}", program.display());
    let refused = output(["service", "install", &option]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    let text = said(&refused);
    assert!(text.contains("belongs to the user 65534") && text.contains("--allow-writable"));
    // It is in /tmp still, which the unit hides.
    let allowed = output(["service", "install", &option, "--allow-writable"]);
    assert!(!said(&allowed).contains("belongs to"), "{}", said(&allowed));
}

#[test]
fn without_systemd_a_service_is_refused_with_what_to_do_instead() {
    if sd_notify::booted().unwrap_or(false) {
        return;
    }
    for command in ["start", "stop", "restart", "status", "uninstall"] {
        let output = output(["service", command]);
        assert_eq!(output.status.code(), Some(1));
        assert!(
            said(&output).contains("not booted with systemd"),
            "{}",
            said(&output)
        );
    }
}

#[test]
fn the_service_manager_is_told_when_everything_is_seen_and_when_it_ends() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    check_service_manager_is_told(&socket, path.as_os_str());
}

/// Its name used to be taken for a path, and the manager waited for READY=1 in vain.
#[test]
fn a_service_manager_with_an_abstract_socket_is_told_too() {
    let name = format!("systrail-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    check_service_manager_is_told(&socket, OsStr::new(&format!("@{name}")));
}

fn check_service_manager_is_told(socket: &UnixDatagram, name: &OsStr) {
    socket.set_read_timeout(Some(WAIT_MAX)).unwrap();
    let mut command = run(&["--no-log"]);
    command.env("NOTIFY_SOCKET", name);
    command.env("WATCHDOG_USEC", "20000");
    let Some(recording) = Recording::start(command) else {
        return;
    };
    let mut bytes = [0; 64];
    let mut receive = || {
        let size = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..size]).trim().to_owned()
    };
    assert_eq!(receive(), "READY=1");
    assert_eq!(receive(), "WATCHDOG=1");
    recording.signal(Signal::SIGTERM);
    while receive() != "STOPPING=1" {}
    assert_eq!(recording.end().0, Some(0));
}

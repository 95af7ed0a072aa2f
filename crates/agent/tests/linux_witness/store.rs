//! A build recorded into the log and the store at once: both tell the same, to the byte, and SQL
//! counts what the account counts.

use std::fs;
use std::process::{Command, Stdio};

use systrail::store::{self, Guard, Reader, Window};
use systrail::trail::json::write_line;

use crate::real_build::write_package;
use crate::recorder::{Kind, Plan, Recorder, log_path};
use crate::witness::{Machine, directory};

#[test]
fn log_store_and_account_tell_the_same_of_a_build() {
    let Some(_machine) = Machine::take_with_programs(&["cargo", "cc"]) else {
        return;
    };
    let directory = directory();
    let package = directory.path().join("package");
    write_package(&package);
    let store = directory.path().join("store");
    let plan = Plan {
        arguments: &["--store", store.to_str().unwrap()],
        ..Plan::default()
    };
    let recorder = Recorder::start(directory.path(), plan);
    let built = Command::new("cargo")
        .args(["build", "--offline", "--quiet"])
        .current_dir(&package)
        .env_remove("CARGO_TARGET_DIR")
        .env_remove("RUSTC_WRAPPER")
        .stdin(Stdio::null())
        .status();
    assert!(built.unwrap().success());
    let recording = recorder.stop();

    let mut lines = Vec::new();
    for event in store::events(&store, &Window::default()).unwrap() {
        write_line(&event.unwrap(), &mut lines);
    }
    let log = fs::read(log_path(directory.path())).unwrap();
    assert!(lines == log, "the store and the log differ");

    let reader = Reader::open(&store, &Window::default(), &Guard::default()).unwrap();
    let count = |sql: &str, kind: &str| -> u64 {
        let count: i64 = reader
            .connection()
            .query_row(sql, [kind], |row| row.get(0))
            .unwrap();
        u64::try_from(count).unwrap()
    };
    let kinds = [
        (Kind::ProcessStart, "process_start"),
        (Kind::ProcessExec, "process_exec"),
        (Kind::ProcessExit, "process_exit"),
        (Kind::ThreadStart, "thread_start"),
        (Kind::ThreadExit, "thread_exit"),
        (Kind::ImageLoad, "image_load"),
    ];
    for (kind, name) in kinds {
        let account = recording.account.of(kind);
        let events = count("SELECT count(*) FROM events WHERE kind = ?1", name);
        assert_eq!(events, account.delivered, "{name}");
        let lost = "SELECT coalesce(sum(lost_count), 0) FROM losses WHERE lost_kind = ?1";
        assert_eq!(count(lost, name), account.lost, "{name}");
    }
    let linkers = "SELECT count(*) FROM processes \
                   WHERE ancestry LIKE ?1 AND exit_code = 0 AND NOT running";
    let linked = count(linkers, "%rustc%");
    assert!(linked > 0, "rustc starts a linker, which ends well");
}

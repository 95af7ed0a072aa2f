//! Execs that fail. Whoever tried says what error it got.

use event::{Event, Flags, Kind};
use systrail::sensor::Settings;

use super::recording::{Recorded, is_root, record, record_unread, settings};
use super::role;

fn with_failures() -> Settings {
    Settings {
        failed_execs: true,
        ..settings()
    }
}

/// Error, path and flags of each exec of the process that failed, in order.
fn failures(recorded: &Recorded, id: u32) -> Vec<(u32, Vec<u8>, Flags)> {
    let events = recorded.of_kind(id, Kind::EXEC_FAILED);
    let failures = events.iter().map(|(header, event)| match event {
        Event::ExecFailed(failed) => (failed.error, failed.path.to_vec(), header.flags),
        other => panic!("a failed exec expected, not {other:?}"),
    });
    failures.collect()
}

#[test]
fn an_exec_that_fails_is_told_with_the_path_and_the_error_its_process_got() {
    const NOT_THERE: usize = 11;
    if !is_root() {
        return;
    }
    let (recorded, (id, output)) = record(&with_failures(), || {
        let child = role::command("failed execs").spawn().unwrap();
        (child.id(), child.wait_with_output().unwrap())
    });
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let tried = role::tried(&output);
    assert_eq!(tried.len(), 14);
    let told = failures(&recorded, id);
    for (index, (tried, told)) in tried.iter().zip(&told).enumerate() {
        let (error, path) = tried;
        let whole = path.len() < 4096;
        let path = &path[..path.len().min(4096)];
        assert_eq!((told.0, &*told.1), (*error, path), "{index}");
        let flags = match index {
            NOT_THERE => Flags::IMAGE_UNAVAILABLE,
            _ => Flags::NONE.with_if(!whole, Flags::IMAGE_TRUNCATED),
        };
        assert_eq!(told.2, flags, "{index}");
    }
    assert_eq!(told.len(), tried.len());
    assert_eq!(tried[0], (2, b"/nothing/here".to_vec()));
    // The exec of the role itself went well, and is not among them.
    let _ = recorded.one(id, Kind::PROCESS_EXEC);
}

#[test]
fn a_call_by_the_numbers_of_32_bits_is_told_as_well() {
    if !is_root() {
        return;
    }
    let (recorded, (id, output)) = record(&with_failures(), || {
        let role = "failed exec by the numbers of 32 bits";
        let child = role::command(role).spawn().unwrap();
        (child.id(), child.wait_with_output().unwrap())
    });
    let told = failures(&recorded, id);
    let tried = role::tried(&output);
    // A kernel that takes no such calls ends who makes one.
    assert_eq!(
        output.status.code() == Some(7),
        tried.len() == 1,
        "{output:?}"
    );
    let told: Vec<_> = told
        .into_iter()
        .map(|(error, path, _)| (error, path))
        .collect();
    assert_eq!(told, tried);
}

/// Whoever tries the same again and again fills the buffer of threads and images, and no other.
#[test]
fn many_failures_are_told_or_counted_and_push_out_no_process() {
    if !is_root() {
        return;
    }
    let settings = Settings {
        event_buffer_size: 64 << 10,
        process_buffer_size: 64 << 10,
        images: false,
        threads: false,
        ..with_failures()
    };
    let (recorded, (id, output)) = record_unread(&settings, || {
        let child = role::command("many failed execs").spawn().unwrap();
        (child.id(), child.wait_with_output().unwrap())
    });
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let lost = recorded.lost(Kind::EXEC_FAILED);
    assert!(lost > 10_000, "{lost}");
    assert!(failures(&recorded, id).len() as u64 + lost >= 20_000);
    for kind in [Kind::PROCESS_START, Kind::PROCESS_EXEC, Kind::PROCESS_EXIT] {
        let _ = recorded.one(id, kind);
    }
}

#[test]
fn nothing_is_told_of_failures_that_nobody_asked_for() {
    if !is_root() {
        return;
    }
    let (recorded, output) = record(&settings(), || {
        let child = role::command("failed execs").spawn().unwrap();
        child.wait_with_output().unwrap()
    });
    assert_eq!(role::tried(&output).len(), 14);
    assert_eq!(recorded.counters.produced.count(Kind::EXEC_FAILED), 0);
}

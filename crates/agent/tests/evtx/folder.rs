//! A folder of event logs is read as one log.

use std::fs;

use systrail::replay;

use crate::encoder::{Entry, log};
use crate::{finish, said, systrail};

fn exit(process_id: &str, second: u64) -> Entry {
    let values = [("ProcessId", process_id), ("Image", r"C:\a.exe")];
    Entry::sysmon(5, &values).after(second)
}

#[test]
fn logs_are_merged_by_time_and_named_where_something_is_amiss() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(directory.path().join(name), bytes).unwrap();
    write(
        "b.evtx",
        &log(&[&[exit("1", 1), exit("4", 4)], &[exit("6", 6)]]),
    );
    let mut damaged = log(&[&[exit("2", 2), exit("5", 5)]]);
    damaged[4096 + 0x60] ^= 1;
    write("a.log", &damaged);
    write("c.evtx", &log(&[&[exit("3", 3)]]));
    write("broken.EVTX", b"no event log");
    write("readme.txt", b"read me");
    fs::create_dir(directory.path().join("more.evtx")).unwrap();
    let read = finish(replay::open(directory.path()).unwrap());
    let ids: Vec<u32> = read.events.iter().map(|event| event.process_id).collect();
    assert_eq!(ids, [1, 2, 3, 4, 5, 6]);
    assert!(
        read.errors[0].contains("a.log: chunk 1 is damaged"),
        "{:?}",
        read.errors
    );
    let remarks = read.remarks.join("\n");
    assert!(
        remarks.contains("broken.EVTX is passed over: its content"),
        "{remarks}"
    );
    assert!(remarks.contains("1 file in "), "{remarks}");
}

#[test]
fn a_folder_without_an_event_log_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("a"), "b").unwrap();
    let output = systrail(&["replay", directory.path().to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("none of its files is a Windows event log"),
        "{}",
        said(&output)
    );
}

//! The cursor when it is torn, another's, ahead, or of a later version, and when the store is gone.

use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use sha2::{Digest as _, Sha256};
use systrail::forward::{self, CursorError, Prepared, Progress, Request};
use systrail::trail::Time;

use super::receiver::Receiver;
use super::spool::{self, RUN, Spool, forward_until, names};
use super::warnings::warnings_of;

/// A store that was forwarded, and what its receiver has.
fn forwarded() -> (Spool, Receiver) {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=100);
    let receiver = Receiver::taking();
    assert_eq!(spool.forward(&receiver.url()).forwarded, 100);
    (spool, receiver)
}

/// Forwards, and says what was told of the cursor.
fn told_forwarding(spool: &Spool, receiver: &Receiver, count: u64) -> String {
    let told = warnings_of(|| {
        assert_eq!(spool.forward(&receiver.url()).forwarded, count);
    });
    told.join("\n")
}

/// Writes a cursor that is whole.
fn write_cursor(spool: &Spool, json: &str) {
    let text = format!("{json}\n");
    let mut whole = text.clone();
    for byte in Sha256::digest(&text) {
        write!(whole, "{byte:02x}").unwrap();
    }
    whole.push('\n');
    fs::write(spool.cursor(), whole).unwrap();
}

fn cursor(spool: &Spool) -> String {
    let text = fs::read_to_string(spool.cursor()).unwrap();
    text.lines().next().unwrap().to_owned()
}

#[test]
fn a_cursor_that_is_no_cursor_is_told_and_everything_is_sent_again() {
    let (spool, receiver) = forwarded();
    let whole = fs::read(spool.cursor()).unwrap();
    let mut flipped = whole.clone();
    flipped[40] ^= 1;
    let damages = [
        vec![0; whole.len()],
        whole[..whole.len() / 2].to_vec(),
        whole[..whole.len() - 3].to_vec(),
        Vec::new(),
        flipped,
        vec![0xff; 1 << 20],
        b"{\"version\":1}\n".to_vec(),
    ];
    for damage in damages {
        fs::write(spool.cursor(), &damage).unwrap();
        assert!(forward::read_cursor(&spool.path()).is_err());
        let told = told_forwarding(&spool, &receiver, 100);
        let expected = "it is damaged; sending begins at the oldest event";
        assert!(told.contains(expected), "{told}");
    }
    receiver.ledger().check(&names(RUN, 1..=100));
}

#[test]
fn a_cursor_of_another_machine_or_a_later_version_or_ahead_is_told() {
    let (spool, receiver) = forwarded();
    let own = cursor(&spool);
    let segment = forward::read_cursor(&spool.path()).unwrap().unwrap();
    let segment = segment.position().segment;
    for (json, reason) in [
        (own.replace(spool::HOST_ID, "4711"), "another machine's"),
        (
            own.replace("\"version\":1", "\"version\":2"),
            "of version 2",
        ),
        (
            own.replace(&segment, "20990101T000000.000Z.sqlite"),
            "ahead of the store",
        ),
        // After a power cut the store has lost its end, and has another there by now.
        (
            own.replace("\"sequence\":100", "\"sequence\":101"),
            "another event at its place",
        ),
        (
            own.replace("\"id\":100", "\"id\":105"),
            "another event at its place",
        ),
    ] {
        assert_ne!(json, own);
        write_cursor(&spool, &json);
        let told = told_forwarding(&spool, &receiver, 100);
        assert!(told.contains(reason), "{reason}: {told}");
    }
    receiver.ledger().check(&names(RUN, 1..=100));
}

/// A release that forgets what the one before wrote sends everything again.
#[test]
fn a_cursor_of_the_first_version_is_understood() {
    let (spool, receiver) = forwarded();
    let segment = forward::read_cursor(&spool.path()).unwrap().unwrap();
    let segment = segment.position().segment;
    let host_id = spool::HOST_ID;
    write_cursor(
        &spool,
        &format!(
            r#"{{"version":1,"host_id":"{host_id}","at":{{"segment":"{segment}","id":60,"run":{RUN},"sequence":60}},"noted":null}}"#
        ),
    );
    assert_eq!(told_forwarding(&spool, &receiver, 40), "");
}

/// A batch that was noted by a version that makes other bytes of it.
#[test]
fn a_noted_batch_that_is_not_as_it_was_gets_another_key() {
    let (mut spool, receiver) = forwarded();
    spool.write(RUN, 101..=200);
    let own = cursor(&spool);
    let state = forward::read_cursor(&spool.path()).unwrap().unwrap();
    let segment = state.position().segment;
    let key = format!("{}.{RUN}.101-200", spool::HOST_ID);
    let noted = format!(
        r#""noted":{{"segment":"{segment}","first_id":101,"last_id":200,"key":"{key}","digest":"0"}}"#
    );
    write_cursor(&spool, &own.replace("\"noted\":null", &noted));
    assert_eq!(told_forwarding(&spool, &receiver, 100), "");
    let ledger = receiver.ledger();
    ledger.check(&names(RUN, 1..=200));
    assert!(!ledger.kept.contains_key(&key));
}

#[test]
fn two_forwarders_of_one_store_are_refused() {
    let (mut spool, receiver) = forwarded();
    let mut first = Prepared::new(spool.settings(&receiver.url()));
    first.lock().unwrap();
    let locked = Prepared::new(spool.settings(&receiver.url())).lock();
    assert!(matches!(locked, Err(CursorError::Locked { .. })));
    let configuration = spool.directory.path().join("systrail.toml");
    fs::write(
        &configuration,
        format!("[forward]\nurl = \"{}\"\n", receiver.url()),
    )
    .unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_systrail"));
    program.args(["forward", "--store"]).arg(spool.path());
    let output = program.arg("--config").arg(configuration).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("is being forwarded by another process"),
        "{said}"
    );

    // A recorder goes on recording, and forwards when the other is gone.
    spool.write(RUN, 101..=110);
    let (second, told) = spool::start(spool.settings(&receiver.url()));
    assert_eq!(told.recv().unwrap(), Progress::Failed);
    drop(first);
    while told.recv().unwrap() != Progress::Done {}
    assert_eq!(second.finish().forwarded, 10);
}

#[test]
fn what_is_asked_for_is_sent_again() {
    let (spool, receiver) = forwarded();
    // The times of the events are a nanosecond apart, and of the year of the run.
    let first = systrail::store::events(&spool.path(), &systrail::store::Window::default());
    let Time(first) = first.unwrap().next().unwrap().unwrap().time;
    let from = Time(first + 50);
    forward::ask_again(&spool.path(), Request { from }).unwrap();
    let again = spool.forward(&receiver.url()).forwarded;
    assert!((50..=100).contains(&again), "{again}");
    assert_eq!(spool.forward(&receiver.url()).forwarded, 0, "once");
    fs::write(spool.path().join("forward.again"), "soon").unwrap();
    let (_, _) = forward_until(spool.settings(&receiver.url()), |progress, tally| {
        assert!(progress != Progress::Failed || tally.error().unwrap().contains("it is no time"));
        progress == Progress::Done
    });
}

/// Somebody deletes it, and the recorder begins a new one.
#[test]
fn a_store_that_is_deleted_is_followed_again_when_there_is_one() {
    let (mut spool, receiver) = forwarded();
    let (forwarder, told) = spool::start(spool.settings(&receiver.url()));
    assert_eq!(told.recv().unwrap(), Progress::Done);
    spool.close();
    fs::remove_dir_all(spool.path()).unwrap();
    spool.write(RUN + 1, 1..=10);
    let counts = forwarder.finish();
    assert_eq!((counts.forwarded, counts.owed), (10, 0));
    let mut expected = names(RUN, 1..=100);
    expected.extend(names(RUN + 1, 1..=10));
    receiver.ledger().check(&expected);
    assert!(spool.cursor().exists());
}

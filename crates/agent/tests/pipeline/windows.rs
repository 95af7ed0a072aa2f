//! What Windows' sensors hand over and others do not: losses without a kind, tokens of which little is
//! known, processes that never run their creator's program.

use event::process::Unavailable;
use event::{Extension, Flags, Header, Kind, process};
use systrail::trail::Body;

use super::{Step, TICK, fork, losses, lost, record, step, thread_exit};

/// No sensor counts what has no kind, and an account of it did not balance.
#[test]
fn a_loss_without_a_kind_is_in_the_account_and_ends_what_may_have_exited() {
    let script = vec![
        fork(TICK, 1, 4_194_304),
        lost(2 * TICK, Kind::ANY, 7),
        thread_exit(3 * TICK, 4_194_304, 11),
    ];
    let (events, account) = record(vec![script]);
    assert_eq!(losses(&events), [(Kind::ANY, 7, "buffer_full")]);
    let any = account.kinds.get(Kind::ANY);
    assert_eq!((any.produced, any.lost, any.delivered), (7, 7, 0));
    assert!(account.balanced, "{account:?}");
    // No such process is there, so whoever has the id after the loss is another one.
    assert_ne!(events[1].process_key, events[3].process_key);
}

/// Where a sensor knows the user and no more, the token would be that of an untrusted process.
#[test]
fn a_token_of_which_only_the_user_is_known_says_no_more() {
    let told = |unavailable| {
        let start = fork(TICK, 1, 10);
        let header = Header {
            flags: Flags::UTF_16,
            ..start.header
        };
        let token = process::Token {
            user_sid: &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
            unavailable,
            ..process::Token::default()
        };
        let extension = Extension::Token(token);
        let (events, _) = record(vec![vec![Step {
            header,
            extension,
            ..start
        }]]);
        let Body::ProcessStart(start) = &events[1].body else {
            panic!("{:?}", events[1]);
        };
        assert!(start.program.user_id.is_some());
        let is_missing = |field: &&str| events[1].missing.iter().any(|(name, _)| name == field);
        let missing = ["integrity_level", "elevated"]
            .iter()
            .filter(|it| is_missing(it));
        (start.integrity_level.is_some(), missing.count())
    };
    assert_eq!(told(Unavailable::default()), (true, 0));
    let level = Unavailable::INTEGRITY_LEVEL.with(Unavailable::ELEVATED);
    assert_eq!(told(level), (false, 2));
}

/// It was told as running what its creator does, and its own command line was not told.
#[test]
fn a_process_of_windows_never_runs_its_creators_program() {
    let utf_16 = |process_id, parent, image: &'static [u8], command_line: &'static [u8]| {
        let forked = fork(TICK, parent, process_id);
        let unavailable = if image.is_empty() {
            Flags::IMAGE_UNAVAILABLE
        } else {
            Flags::NONE
        };
        let header = Header {
            flags: Flags::UTF_16.with(unavailable),
            ..forked.header
        };
        let start = process::Start {
            parent_process_id: parent,
            creator_process_id: parent,
            image,
            command_line,
            ..process::Start::default()
        };
        step(header, event::Event::ProcessStart(start))
    };
    let script = vec![
        utf_16(10, 1, b"\\\0a\0", b"a\0"),
        utf_16(20, 10, b"", b"b\0 \0x\0"),
    ];
    let (events, _) = record(vec![script]);
    let Body::ProcessStart(start) = &events[2].body else {
        panic!("{:?}", events[2]);
    };
    assert_eq!(start.program.image, None);
    assert_eq!(start.program.command_line, Some("b x".into()));
}

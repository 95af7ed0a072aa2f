//! What a receiver can say, and what comes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::receiver::{Receiver, Reply};
use super::spool::{self, RUN, Spool, exported, names};

#[test]
fn every_event_arrives_once_as_the_log_has_it() {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=9_000);
    spool.write(RUN + 1, 1..=1_000);
    let receiver = Receiver::taking();
    let counts = spool.forward(&receiver.url());
    assert_eq!((counts.forwarded, counts.owed), (10_000, 0));
    let ledger = receiver.ledger();
    let bodies = ledger
        .requests
        .iter()
        .flat_map(super::receiver::Request::lines);
    assert!(bodies.eq(exported(&spool.path())), "the same bytes");
    let mut expected = names(RUN, 1..=9_000);
    expected.extend(names(RUN + 1, 1..=1_000));
    ledger.check(&expected);
    for request in &ledger.requests {
        let events = request.events();
        assert!((1..=4_096).contains(&events.len()));
        let (first, last) = (&events[0], &events[events.len() - 1]);
        let run = first.origin.run.unwrap();
        let key = format!(
            "{}.{run}.{}-{}",
            spool::HOST_ID,
            first.sequence,
            last.sequence
        );
        assert_eq!(request.key(), key);
        assert_eq!(request.headers["content-encoding"], "zstd");
        assert_eq!(request.target, "/systrail?query=x");
        // The frame has its checksum: bit 2 of the byte behind the magic number.
        assert_eq!(request.body[4] & 4, 4);
    }
    drop(ledger);

    // Nothing is sent twice, and what comes is sent.
    assert_eq!(spool.forward(&receiver.url()).forwarded, 0);
    spool.write(RUN + 1, 1_001..=1_010);
    assert_eq!(spool.forward(&receiver.url()).forwarded, 10);
}

#[test]
fn an_answer_that_never_came_has_the_same_bytes_come_again() {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=5_000);
    let receiver = Receiver::start(|_, nth| match nth {
        0 => Reply::BreakOff,
        1 => Reply::TakeAndBreakOff,
        _ => Reply::Take,
    });
    let counts = spool.forward(&receiver.url());
    assert_eq!(counts.forwarded, 5_000);
    assert!(counts.failures >= 2);
    let ledger = receiver.ledger();
    ledger.check(&names(RUN, 1..=5_000));
    assert_eq!(ledger.requests[1].key(), ledger.requests[2].key());
}

#[test]
fn what_is_refused_is_kept_aside_and_all_else_goes_on() {
    let mut spool = Spool::new();
    let mut events: Vec<_> = (1..=4_000)
        .map(|sequence| spool::event(RUN, sequence))
        .collect();
    events[1_233] = spool::with_command(RUN, 1_234, "/bin/poison");
    spool.write_events(&events);
    let is_poisoned = |body: &[u8]| body.windows(6).any(|word| word == b"poison");
    let receiver = Receiver::start(move |request, _| {
        if !request.body.is_empty() && is_poisoned(&request.lines()) {
            Reply::status(400, "", "cannot parse it")
        } else {
            Reply::Take
        }
    });
    let counts = spool.forward(&receiver.url());
    assert_eq!((counts.forwarded, counts.refused), (3_999, 1));
    let kept = std::fs::read_to_string(spool.path().join("forward.refused.jsonl")).unwrap();
    assert_eq!(kept.lines().count(), 1);
    assert!(kept.contains("/bin/poison"));
    let mut expected = names(RUN, 1..=4_000);
    expected.remove(1_233);
    let ledger = receiver.ledger();
    ledger.check(&expected);
    assert!(
        ledger.requests.len() < 40,
        "{} requests",
        ledger.requests.len()
    );
}

#[test]
fn a_limit_of_the_receiver_is_met_and_remembered() {
    let mut spool = Spool::new();
    let random = |sequence: u64| format!("{:x}", sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let events = (1..=4_000).map(|n| spool::with_command(RUN, n, &random(n).repeat(3)));
    spool.write_events(&events.collect::<Vec<_>>());
    let receiver = Receiver::start(|request, _| {
        if request.body.len() > 30_000 {
            Reply::status(413, "", "")
        } else {
            Reply::Take
        }
    });
    let counts = spool.forward(&receiver.url());
    assert_eq!((counts.forwarded, counts.refused), (4_000, 0));
    let ledger = receiver.ledger();
    let is_refused = |size: usize| size > 30_000;
    let sizes: Vec<_> = ledger
        .requests
        .iter()
        .map(|request| request.body.len())
        .collect();
    let first_taken = sizes.iter().position(|size| !is_refused(*size)).unwrap();
    assert!((1..10).contains(&first_taken), "{sizes:?}");
    assert!(
        !sizes[first_taken..].iter().any(|size| is_refused(*size)),
        "{sizes:?}"
    );
}

/// The answer to everything is no, which is hardly the events' fault.
#[test]
fn a_receiver_that_refuses_everything_does_not_empty_the_spool() {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=200);
    let is_open = Arc::new(AtomicBool::new(false));
    let opened = Arc::clone(&is_open);
    let receiver = Receiver::start(move |_, _| {
        if opened.load(Ordering::SeqCst) {
            Reply::Take
        } else {
            Reply::status(400, "", "no such table")
        }
    });
    let (counts, _) = spool::forward_until(spool.settings(&receiver.url()), |progress, tally| {
        progress == systrail::forward::Progress::Failed && tally.counts().refused >= 8
    });
    assert_eq!((counts.forwarded, counts.refused), (0, 8));
    is_open.store(true, Ordering::SeqCst);
    assert_eq!(spool.forward(&receiver.url()).forwarded, 192);
}

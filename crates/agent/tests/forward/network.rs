//! What the network and the other end do on the way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use systrail::forward::{FLUSH_TIME, Prepared, Progress};

use super::receiver::{Receiver, Reply};
use super::spool::{self, RUN, Spool, forward_until, names, with_command};

fn spool_of(count: u64) -> Spool {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=count);
    spool
}

/// A receiver that says this once, and takes everything after it.
fn saying_once(reply: Reply) -> Receiver {
    Receiver::start(move |_, nth| if nth == 0 { reply.clone() } else { Reply::Take })
}

#[test]
fn a_token_never_goes_to_another_host() {
    let spool = spool_of(10);
    let other = Receiver::taking();
    for status in [301, 302, 303, 307, 308] {
        let location = format!("Location: {}\r\n", other.url());
        let receiver = Receiver::start(move |_, _| Reply::status(status, &location, ""));
        let settings = spool.settings(&receiver.url());
        let (forwarder, told) = spool::start(settings);
        assert_eq!(told.recv().unwrap(), Progress::Failed, "{status}");
        let error = forwarder.tally().error().unwrap();
        assert!(error.contains("another address"), "{error}");
    }
    assert_eq!(other.connection_count(), 0);
}

#[test]
fn what_is_no_plain_yes_is_sent_again() {
    let error = "X-ClickHouse-Exception-Code: 241\r\n";
    let page = "Content-Type: text/html\r\n";
    for (reply, reason) in [
        (Reply::status(200, error, "Code: 241"), "has an error 241"),
        (Reply::status(200, page, "<p>Log in"), "a page for people"),
        (Reply::status(503, "", "busy"), "it answers 503: busy"),
        (
            Reply::Say(b"220 mail.example ESMTP\r\n\r\n".into()),
            "does not speak HTTP",
        ),
        (
            Reply::SayAndClose(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nno".into()),
            "broke off",
        ),
        (Reply::BreakOff, ""),
    ] {
        let spool = spool_of(10);
        let receiver = saying_once(reply);
        let failed = AtomicBool::new(false);
        let (counts, _) = forward_until(spool.settings(&receiver.url()), |progress, tally| {
            if progress == Progress::Failed {
                let error = tally.error().unwrap();
                assert!(error.contains(reason), "{reason}: {error}");
                failed.store(true, Ordering::SeqCst);
            }
            progress == Progress::Done
        });
        assert!(failed.load(Ordering::SeqCst), "{reason}");
        assert_eq!(counts.forwarded, 10, "{reason}");
        receiver.ledger().check(&names(RUN, 1..=10));
    }
}

#[test]
fn a_receiver_that_asks_for_time_is_given_it() {
    let spool = spool_of(10);
    let receiver = saying_once(Reply::status(429, "Retry-After: 1\r\n", ""));
    assert_eq!(spool.forward(&receiver.url()).forwarded, 10);
    let ledger = receiver.ledger();
    let pause = ledger.requests[1].at - ledger.requests[0].at;
    assert!(pause >= Duration::from_millis(950), "{pause:?}");
}

/// So many runs, and a batch for each.
fn spool_of_runs(count: u64) -> (Spool, Vec<(u64, u64)>) {
    let mut spool = Spool::new();
    let mut expected = Vec::new();
    for run in RUN..RUN + count {
        spool.write(run, 1..=50);
        expected.extend(names(run, 1..=50));
    }
    (spool, expected)
}

#[test]
fn one_connection_does_for_many_batches() {
    let (spool, expected) = spool_of_runs(6);
    let receiver = Receiver::taking();
    assert_eq!(spool.forward(&receiver.url()).failures, 0);
    let ledger = receiver.ledger();
    ledger.check(&expected);
    assert_eq!(ledger.requests.len(), 6);
    assert_eq!(receiver.connection_count(), 1);
}

/// Balancers drop what is idle without a word.
#[test]
fn a_connection_that_was_closed_meanwhile_is_no_failure() {
    let (spool, expected) = spool_of_runs(6);
    let receiver = Receiver::start(|_, _| Reply::TakeAndClose);
    assert_eq!(spool.forward(&receiver.url()).failures, 0);
    let ledger = receiver.ledger();
    ledger.check(&expected);
    let last = ledger.requests.last().unwrap();
    assert_eq!(last.connection + 1, ledger.requests.len());
}

/// The last request of all has as much time as its end.
#[test]
fn the_end_does_not_wait_for_an_answer_that_comes_a_byte_a_second() {
    let spool = spool_of(10);
    let receiver = Receiver::start(|_, _| Reply::Trickle);
    let prepared = Prepared::new(spool.settings(&receiver.url()));
    let began = Instant::now();
    let counts = prepared.start(None).unwrap().finish();
    assert!(began.elapsed() < FLUSH_TIME + Duration::from_secs(4));
    assert_eq!((counts.forwarded, counts.owed), (0, 10));
    assert_eq!(receiver.ledger().requests.len(), 1);
}

/// A request that waits may take a minute, and is broken off.
#[test]
fn the_end_does_not_wait_for_no_answer() {
    let spool = spool_of(10);
    let receiver = Receiver::start(|_, _| Reply::Nothing);
    let (forwarder, _told) = spool::start(spool.settings(&receiver.url()));
    while receiver.ledger().requests.is_empty() {
        std::thread::yield_now();
    }
    let began = Instant::now();
    forwarder.finish();
    assert!(began.elapsed() < FLUSH_TIME + Duration::from_secs(4));
}

#[test]
fn an_answer_without_an_end_is_read_to_a_limit() {
    let spool = spool_of(10);
    let mut endless = b"HTTP/1.1 500 No\r\nContent-Length: 67108864\r\n\r\n".to_vec();
    endless.resize(16 << 20, b'x');
    let receiver = saying_once(Reply::Say(endless));
    let began = Instant::now();
    assert_eq!(spool.forward(&receiver.url()).forwarded, 10);
    assert!(began.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_receiver_that_is_not_there_is_not_called_all_the_time() {
    let spool = spool_of(10);
    let url = Receiver::taking().url();
    let (forwarder, told) = spool::start(spool.settings(&url));
    let began = Instant::now();
    let mut count = 0;
    while began.elapsed() < Duration::from_secs(3) {
        if told.recv_timeout(Duration::from_millis(100)).is_ok() {
            count += 1;
        }
    }
    assert!((1..=12).contains(&count), "{count} attempts in 3 s");
    let error = forwarder.tally().error().unwrap();
    assert!(error.contains("refused"), "{error}");
}

/// A megabyte that does not compress is more than a batch may have.
#[test]
fn an_event_larger_than_a_batch_goes_alone() {
    let mut spool = Spool::new();
    let mut state = 1_u64;
    let noise: String = std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        format!("{:08x}", state >> 32)
    })
    .take(330_000)
    .collect();
    let events = [
        spool::event(RUN, 1),
        with_command(RUN, 2, &noise),
        spool::event(RUN, 3),
    ];
    spool.write_events(&events);
    let receiver = Receiver::taking();
    assert_eq!(spool.forward(&receiver.url()).forwarded, 3);
    let ledger = receiver.ledger();
    ledger.check(&names(RUN, 1..=3));
    let sizes: Vec<_> = ledger
        .requests
        .iter()
        .map(|request| request.body.len())
        .collect();
    assert!(
        sizes.iter().filter(|size| **size > 1 << 20).count() == 1,
        "{sizes:?}"
    );
}

/// A recording's disk is not the receiver's affair.
#[test]
fn events_that_are_written_meanwhile_are_sent() {
    let mut spool = spool_of(10);
    let receiver = Receiver::taking();
    let (forwarder, told) = spool::start(spool.settings(&receiver.url()));
    assert_eq!(told.recv().unwrap(), Progress::Done);
    let is_done = Arc::new(AtomicBool::new(false));
    spool.write(RUN, 11..=20);
    spool.close();
    let counts = forwarder.finish();
    is_done.store(true, Ordering::SeqCst);
    assert_eq!((counts.forwarded, counts.owed), (20, 0));
    receiver.ledger().check(&names(RUN, 1..=20));
}

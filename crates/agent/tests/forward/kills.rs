//! Forwarders and receivers that are killed at any moment.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::receiver::{Receiver, Reply};
use super::spool::{RUN, Spool, names};

/// How often a forwarder is killed.
const KILL_COUNT: u64 = 8;

/// Events that are written between two kills.
const STEP: u64 = 800;

/// The real program.
struct Program(Child);

impl Program {
    fn start(spool: &Spool, configuration: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_systrail"));
        command.arg("forward").args(flags).arg("--store");
        command.arg(spool.path()).arg("--config").arg(configuration);
        command.stdin(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn configuration(spool: &Spool, url: &str) -> std::path::PathBuf {
    let path = spool.directory.path().join("systrail.toml");
    std::fs::write(&path, format!("[forward]\nurl = \"{url}\"\n")).unwrap();
    path
}

/// Numbers that are the same each time.
struct Moments(u64);

impl Moments {
    fn next(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[test]
fn killed_again_and_again_nothing_is_missing_and_nothing_comes_under_two_keys() {
    let mut spool = Spool::with_segments(1 << 20);
    let receiver = Receiver::start(|request, nth| match nth % 5 {
        // Long enough to be killed between the sending and the answer.
        1 => {
            if !request.body.is_empty() {
                std::thread::sleep(Duration::from_millis(60));
            }
            Reply::Take
        }
        3 => Reply::TakeAndBreakOff,
        _ => Reply::Take,
    });
    let configuration = configuration(&spool, &receiver.url());
    let mut moments = Moments(0x9e37_79b9_7f4a_7c15);
    let mut last = 0;
    for _ in 0..KILL_COUNT {
        spool.write(RUN, last + 1..=last + STEP);
        last += STEP;
        let come = receiver.ledger().requests.len();
        let mut program = Program::start(&spool, &configuration, &["--follow"]);
        let deadline = Instant::now() + Duration::from_secs(20);
        // Killed about when the first request comes, or some time after.
        while receiver.ledger().requests.len() == come && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(moments.next(90)));
        program.kill();
    }
    spool.close();
    let mut program = Program::start(&spool, &configuration, &[]);
    assert!(
        program.0.wait().unwrap().success(),
        "it ends when all is sent"
    );
    let ledger = receiver.ledger();
    ledger.check(&names(RUN, 1..=last));
    assert!(ledger.requests.len() > ledger.kept.len(), "some came again");
}

/// It had taken the batch, and nobody knows; another takes its place.
#[test]
fn a_receiver_that_is_killed_gets_the_same_again() {
    let mut spool = Spool::new();
    spool.write(RUN, 1..=10_000);
    let first = Receiver::start(|_, nth| match nth {
        0 => Reply::Take,
        _ => Reply::TakeAndBreakOff,
    });
    let settings = spool.settings(&first.url());
    let failed = |progress, _: &_| progress == systrail::forward::Progress::Failed;
    super::spool::forward_until(settings, failed);
    let came: Vec<_> = first.ledger().kept.clone().into_iter().collect();
    assert_eq!(came.len(), 2);
    drop(first);
    let second = Receiver::taking();
    spool.forward(&second.url());
    let ledger = second.ledger();
    let again = &ledger.kept[&came[1].0];
    assert_eq!(again.body, came[1].1.body);
    assert!(
        !ledger.kept.contains_key(&came[0].0),
        "what was accepted is not sent"
    );
    ledger.check(&names(RUN, 4_097..=10_000));
}

//! What a fleet is told beside events: what of them it will not get, and that the recording goes on, for a
//! host that says nothing is silent.

use std::time::{Duration, Instant};

use event::Kind;

use super::Recorder;
use crate::trail::{self, Body, LostRange};

impl Recorder {
    /// Tells what went of the store before it was handed on.
    pub(super) fn tell_gone(&mut self, time: u64) {
        let gone = self.hold.as_ref().map(|hold| hold.take_gone());
        for gone in gone.into_iter().flatten() {
            let lost = trail::Lost {
                lost_kind: Kind::ANY,
                lost_count: gone.count,
                lost_reason: gone.reason.into(),
                range: LostRange {
                    lost_run: gone.run,
                    lost_from: Some(gone.from),
                    lost_to: Some(gone.to),
                },
            };
            self.emit_mark(time, Body::Lost(lost));
        }
    }

    /// Says that the recording goes on, where nothing else was said for a while.
    pub(super) fn beat(&mut self, time: u64) {
        let sequence = self.sequence;
        let heartbeat = self.heartbeat.as_mut();
        if heartbeat.is_some_and(|heartbeat| heartbeat.is_due(sequence, Instant::now())) {
            let mark = trail::Mark {
                mark_reason: "heartbeat".into(),
            };
            self.emit_mark(time, Body::Mark(mark));
        }
    }
}

/// When something was said last.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    /// The sequence at the last look that found something new, and when that was.
    last: Option<(u64, Instant)>,
}

impl Heartbeat {
    pub(super) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
        }
    }

    /// Whether nothing was said since the event of that `sequence`, which is the newest, for so long. Asked
    /// once a batch, and not of each event.
    pub(super) fn is_due(&mut self, sequence: u64, now: Instant) -> bool {
        match self.last {
            Some((last, at)) if last == sequence => {
                now.saturating_duration_since(at) >= self.interval
            }
            _ => {
                self.last = Some((sequence, now));
                false
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_when_nothing_was_said_and_not_sooner() {
        let begin = Instant::now();
        let mut heartbeat = Heartbeat::new(Duration::from_secs(10));
        let mut is_due = |sequence, second| {
            let now = begin + Duration::from_secs(second);
            heartbeat.is_due(sequence, now)
        };
        assert!(!is_due(5, 0));
        assert!(!is_due(5, 9));
        assert!(!is_due(6, 11), "something was said");
        assert!(!is_due(6, 20));
        assert!(is_due(6, 21));
        assert!(!is_due(7, 22), "the beat itself");
        assert!(is_due(7, 32));
    }
}

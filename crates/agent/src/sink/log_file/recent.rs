//! What was written last, for when somebody cuts the log.
//!
//! `logrotate` with `copytruncate` copies a log and then cuts it. What is written between the two is
//! in neither, and nobody can tell how much that was; so what may be lost is written once more.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// How long before the cut the copy can have ended: it may have been made durable in between.
const AGE_MAX: Duration = Duration::from_secs(5);

/// Bytes that are remembered at most.
const SIZE_MAX: usize = 4 << 20;

/// The lines of the last seconds.
#[derive(Debug, Default)]
pub(super) struct Recent {
    writes: VecDeque<(Instant, Vec<u8>)>,
    size: usize,
}

impl Recent {
    /// Remembers lines that were written just now, and forgets those that are too old.
    pub(super) fn add(&mut self, lines: &[u8], now: Instant) {
        self.forget(now, lines.len());
        self.writes.push_back((now, lines.to_vec()));
        self.size += lines.len();
    }

    fn forget(&mut self, now: Instant, room: usize) {
        while let Some((written, lines)) = self.writes.front() {
            let is_too_old = now.saturating_duration_since(*written) > AGE_MAX;
            if !is_too_old && self.size.saturating_add(room) <= SIZE_MAX {
                return;
            }
            self.size = self.size.saturating_sub(lines.len());
            self.writes.pop_front();
        }
    }

    /// All of them, the oldest first.
    pub(super) fn lines(&self) -> Vec<u8> {
        let writes = self.writes.iter().map(|(_, lines)| &**lines);
        writes.collect::<Vec<_>>().concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seconds_are_remembered_and_no_more_than_the_limit() {
        let begin = Instant::now();
        let mut recent = Recent::default();
        recent.add(b"a\n", begin);
        recent.add(b"b\n", begin + AGE_MAX);
        assert_eq!(recent.lines(), b"a\nb\n");
        recent.add(b"c\n", begin + AGE_MAX + Duration::from_millis(1));
        assert_eq!(recent.lines(), b"b\nc\n");
        recent.add(&vec![b'x'; SIZE_MAX], begin + AGE_MAX);
        assert_eq!(recent.lines().len(), SIZE_MAX);
    }
}

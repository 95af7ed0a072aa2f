//! Whether the machine does other things while it is measured. Then a bench still says what was
//! seen, lost, written and held in memory; its times are worth little, and it says so itself.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::interrupt;

/// How long the machine is watched.
const WATCH: Duration = Duration::from_secs(3);

/// A machine at rest is below this, in percent of all its processors.
const QUIET_PERCENT_MAX: u64 = 5;

/// Watches a machine on which we do nothing. Returns what a reader must know, if anything.
pub(super) fn note() -> Result<Option<String>> {
    let before = Ticks::read()?;
    interrupt::pause(WATCH)?;
    let percent = Ticks::read()?.busy_percent_since(before);
    Ok((percent > QUIET_PERCENT_MAX).then(|| {
        format!(
            "**The machine was busy with other work ({percent} % of its processors): what was \
             seen, lost, written and held in memory holds, times and ratios of times do not.**"
        )
    }))
}

/// Of all processors since the machine started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks {
    all: u64,
    idle: u64,
}

impl Ticks {
    fn read() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&text).context("cannot read /proc/stat")
    }

    fn parse(text: &str) -> Option<Self> {
        let first = text.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = first
            .split_whitespace()
            .map(|tick| tick.parse().ok())
            .collect::<Option<_>>()?;
        // user, nice, system, idle, waiting for a disk, interrupts, ...; guests are in user.
        let idle = ticks.get(3)? + ticks.get(4)?;
        let all = ticks.iter().take(8).sum();
        Some(Self { all, idle })
    }

    fn busy_percent_since(self, before: Self) -> u64 {
        let all = self.all.saturating_sub(before.all);
        let idle = self.idle.saturating_sub(before.idle);
        (all.saturating_sub(idle) * 100)
            .checked_div(all)
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_idle_is_busy() {
        let before = Ticks::parse("cpu  100 0 50 800 50 0 0 0 0 0\ncpu0 1 2\n");
        let after = Ticks::parse("cpu  140 0 60 840 60 0 0 0 0 0\n");
        let percent = before
            .zip(after)
            .map(|(before, after)| after.busy_percent_since(before));
        assert_eq!(percent, Some(50));
        assert_eq!(Ticks::parse("cpu  100 0\n"), None);
        assert_eq!(Ticks::parse(""), None);
    }
}

//! How long it takes from an exec to the line that tells of it. Programs with a name of their own
//! are run one by one, and the recorder's output is read all the while; the time to fork and exec
//! is part of the figure, for all recorders alike.
//!
//! This is a run of its own: reading along takes processor time, and the kernel's accounting of
//! eBPF programs, which is on meanwhile, takes some too.

use std::fs::File;
use std::io::Read as _;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use xtask::command::{program, read};

use super::audit::Audit;
use super::catalogue::Peer;
use super::programs::{self, Programs};
use super::session::Session;
use super::site::{LATENCY_MARK, MARKS, Site, mark_name};
use crate::interrupt;

/// How exact the figures are: the output is read this often.
const LOOK: Duration = Duration::from_millis(1);

/// How long a line may take before it counts as never written.
const WAIT_MAX: Duration = Duration::from_secs(3);

/// All passes of a recorder.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Latency {
    /// From exec to line, in milliseconds; those that never came are not in it.
    pub(super) times_ms: Vec<f64>,
    pub(super) missed: usize,
    /// Time in eBPF programs of the recorder's for each process that was run, pass by pass; of
    /// recorders without such programs there is none.
    pub(super) programs_ns: Vec<f64>,
}

impl Latency {
    pub(super) fn add(&mut self, pass: Self) {
        self.times_ms.extend(pass.times_ms);
        self.missed += pass.missed;
        self.programs_ns.extend(pass.programs_ns);
    }
}

/// Runs so many marked programs under a recorder.
pub(super) fn measure(
    peer: &'static Peer,
    site: &Site,
    audit: Option<&Audit>,
    settings: &str,
    count: u32,
) -> Result<Latency> {
    ensure!(count < MARKS, "there are programs for {} marks", MARKS - 1);
    let session = Session::start(peer, site, audit, true, settings)?;
    let _accounting = programs::Accounting::begin()?;
    let before = Programs::of(&session.processes()?);
    let mut reader = Reader {
        file: session.follow()?,
        rest: Vec::new(),
        came: vec![None; usize::try_from(MARKS)?],
    };
    let mut begun = Vec::new();
    // The first one told that the recorder is ready.
    for index in 1..=count {
        interrupt::check()?;
        begun.push(Instant::now());
        read(&mut program(site.mark(index)))?;
        // Not in step with anybody's timer.
        let pause = Duration::from_millis(u64::from(5 + index * 7 % 18));
        reader.read_for(pause)?;
    }
    let indices = 1..=usize::try_from(count)?;
    let end = Instant::now() + WAIT_MAX;
    while Instant::now() < end && indices.clone().any(|it| reader.came(it).is_none()) {
        interrupt::check()?;
        reader.read_for(LOOK * 20)?;
    }
    let after = Programs::of(&session.processes()?);
    session.stop()?;
    let mut latency = Latency {
        programs_ns: after
            .ns_since(before)
            .map(|ns| ns / f64::from(count))
            .into_iter()
            .collect(),
        ..Latency::default()
    };
    for (index, begun) in indices.zip(begun) {
        match reader.came(index) {
            Some(came) => {
                let time = came.saturating_duration_since(begun);
                latency.times_ms.push(time.as_secs_f64() * 1000.0);
            }
            None => latency.missed += 1,
        }
    }
    Ok(latency)
}

/// Reads what a recorder writes and notes when a mark came.
struct Reader {
    file: File,
    /// The end of what was read, where a mark may have been cut.
    rest: Vec<u8>,
    came: Vec<Option<Instant>>,
}

impl Reader {
    fn came(&self, index: usize) -> Option<Instant> {
        self.came.get(index).copied().flatten()
    }

    fn read_for(&mut self, time: Duration) -> Result<()> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.read_now()?;
            thread::sleep(LOOK);
        }
        Ok(())
    }

    fn read_now(&mut self) -> Result<()> {
        let count = self
            .file
            .read_to_end(&mut self.rest)
            .context("cannot read along")?;
        if count == 0 {
            return Ok(());
        }
        let now = Instant::now();
        for index in marks(&self.rest) {
            if let Some(came) = self.came.get_mut(index) {
                came.get_or_insert(now);
            }
        }
        let kept = self.rest.len().min(mark_name(0).len() - 1);
        self.rest.drain(..self.rest.len() - kept);
        Ok(())
    }
}

/// The indices of the marks in a piece of output.
fn marks(text: &[u8]) -> Vec<usize> {
    let length = mark_name(0).len();
    let index = |window: &[u8]| -> Option<usize> {
        let digits = window.strip_prefix(LATENCY_MARK.as_bytes())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    text.windows(length).filter_map(index).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_marks_and_not_their_pieces() {
        let text = format!(
            "exec {} and {} {LATENCY_MARK}00",
            mark_name(7),
            mark_name(399)
        );
        assert_eq!(marks(text.as_bytes()), [7, 399]);
    }
}

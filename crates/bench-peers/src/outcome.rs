//! What a comparison found out: every round as it was, and the figures made of the rounds.

use std::collections::BTreeMap;

use serde::Serialize;
use xtask::bench::sample::Sample;

use super::catalogue::REFERENCE;
use super::family::Counts;
use super::latency::Latency;
use super::seen::Kind;

/// The row without a recorder.
pub(super) const NONE: &str = "none";

/// One run of a workload under a recorder.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Round {
    pub(super) elapsed_ns: f64,
    pub(super) busy_ns: f64,
    /// Processor time in the workload's own context, what a recorder does there included.
    pub(super) load_ns: u64,
    /// The recorder's own.
    pub(super) user_ns: u64,
    pub(super) system_ns: u64,
    pub(super) kernel_thread_ns: u64,
    pub(super) peak_kib: u64,
    pub(super) bytes: u64,
    /// Events in its output, the rest of the machine included.
    pub(super) events: u64,
    /// The workload's events in its output.
    pub(super) seen: Counts,
    /// Whether they could be told from the rest of the machine's.
    pub(super) is_told_apart: bool,
    pub(super) lost: Option<u64>,
}

/// All rounds of one workload under one recorder.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Cell {
    pub(super) rounds: Vec<Round>,
}

/// A recorder that runs here.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) set_up: String,
    pub(super) sees: Vec<Kind>,
    /// Whether its counts are those of the whole machine.
    pub(super) is_machine_wide: bool,
    /// By the name of the workload.
    pub(super) cells: BTreeMap<String, Cell>,
    pub(super) latency: Option<Latency>,
}

/// A recorder that does not, and why.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Absent {
    pub(super) name: String,
    pub(super) reason: String,
}

/// A workload, and what happens in it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) happened: Counts,
}

/// The comparison.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Outcome {
    pub(super) command: String,
    pub(super) machine: String,
    /// What else the machine did, where it did much.
    pub(super) disturbance: Option<String>,
    pub(super) rounds: u32,
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Row>,
    pub(super) absent: Vec<Absent>,
}

impl Outcome {
    pub(super) fn cell(&self, row: &str, column: &str) -> Option<&Cell> {
        let row = self.rows.iter().find(|it| it.name == row)?;
        row.cells.get(column).filter(|cell| !cell.rounds.is_empty())
    }

    /// The recorder that ratios are taken to: auditd where it runs, else the first that is not
    /// ours.
    pub(super) fn reference(&self) -> Option<&str> {
        let mut names = self.rows.iter().map(|row| row.name.as_str());
        let others = |name: &&str| *name != NONE && !name.starts_with("systrail");
        names
            .clone()
            .find(|name| *name == REFERENCE)
            .or_else(|| names.find(others))
    }

    /// How much slower a workload is under a recorder, in percent, round by round.
    pub(super) fn slow_down(&self, row: &str, column: &str) -> Sample {
        self.pairs(row, column)
            .map(|(round, none)| (round.busy_ns / none.busy_ns - 1.0) * 100.0)
            .collect()
    }

    /// What a recorder costs the machine, in microseconds an event that happened: its own time, the
    /// kernel's thread for it, and what the workload's own time grew by.
    pub(super) fn cost_us(&self, row: &str, column: &Column) -> Sample {
        let happened = float(column.happened.values().sum());
        self.pairs(row, &column.name)
            .map(|(round, none)| {
                let own = round.user_ns + round.system_ns + round.kernel_thread_ns;
                (float(own) + in_context_ns(round, none)) / 1000.0 / happened
            })
            .collect()
    }

    /// That cost over the reference's, round by round.
    pub(super) fn cost_ratio(&self, row: &str, column: &Column) -> Sample {
        let Some(reference) = self.reference() else {
            return Sample::default();
        };
        let ours = self.cost_us(row, column);
        let theirs = self.cost_us(reference, column);
        ours.ratios(&theirs)
    }

    /// A share of a core while the workload ran, in percent.
    pub(super) fn share(
        &self,
        row: &str,
        column: &str,
        part_fn: impl Fn(&Round, &Round) -> f64,
    ) -> Sample {
        self.pairs(row, column)
            .map(|(round, none)| part_fn(round, none) / round.elapsed_ns * 100.0)
            .collect()
    }

    /// Each round beside the one without a recorder.
    fn pairs<'a>(
        &'a self,
        row: &str,
        column: &str,
    ) -> impl Iterator<Item = (&'a Round, &'a Round)> {
        let rounds = |row| self.cell(row, column).map_or(&[][..], |cell| &cell.rounds);
        rounds(row).iter().zip(rounds(NONE))
    }
}

impl Cell {
    /// Of all events of a kind that happened in all rounds, the share that was seen, in percent.
    pub(super) fn seen_percent(&self, kind: Kind, happened: u64) -> f64 {
        let seen = self.rounds.iter().filter_map(|round| round.seen.get(&kind));
        let rounds = u64::try_from(self.rounds.len()).unwrap_or(u64::MAX);
        float(seen.sum()) / float(happened * rounds) * 100.0
    }

    pub(super) fn peak_mib(&self) -> f64 {
        let peak = self.rounds.iter().map(|round| round.peak_kib).max();
        float(peak.unwrap_or(0)) / 1024.0
    }

    /// Bytes written an event, all events of the machine in both.
    pub(super) fn bytes_per_event(&self) -> Option<f64> {
        let sum = |part_fn: fn(&Round) -> u64| self.rounds.iter().map(part_fn).sum::<u64>();
        let events = sum(|round| round.events);
        (events > 0).then(|| float(sum(|round| round.bytes)) / float(events))
    }

    pub(super) fn is_told_apart(&self) -> bool {
        self.rounds.iter().all(|round| round.is_told_apart)
    }

    /// How many events it said it lost in all rounds.
    pub(super) fn lost(&self) -> Option<u64> {
        self.rounds.iter().map(|round| round.lost).sum()
    }
}

/// What the workload's own processor time grew by under a recorder.
pub(super) fn in_context_ns(round: &Round, none: &Round) -> f64 {
    float(round.load_ns) - float(none.load_ns)
}

/// Counts of this size are exact enough: an `f64` holds 53 bits.
#[expect(
    clippy::cast_precision_loss,
    reason = "figures are shown with three digits"
)]
pub(super) const fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    fn round(busy_ns: f64, load_ns: u64, user_ns: u64, seen: u64) -> Round {
        Round {
            elapsed_ns: 1e9,
            busy_ns,
            load_ns,
            user_ns,
            bytes: 600,
            events: 3,
            seen: [(Kind::ProcessExec, seen)].into(),
            is_told_apart: true,
            lost: Some(2),
            ..Round::default()
        }
    }

    fn row(name: &str, rounds: [Round; 2]) -> Row {
        Row {
            name: name.to_owned(),
            version: String::from("1"),
            set_up: String::from("no options"),
            sees: vec![Kind::ProcessExec],
            is_machine_wide: false,
            cells: [(
                String::from("loop"),
                Cell {
                    rounds: rounds.into(),
                },
            )]
            .into(),
            latency: None,
        }
    }

    /// Two recorders and a workload of 1,000 execs.
    pub(crate) fn outcome() -> Outcome {
        Outcome {
            command: String::from("cargo xtask bench peers"),
            machine: String::from("a machine"),
            disturbance: None,
            rounds: 2,
            columns: vec![Column {
                name: String::from("loop"),
                happened: [(Kind::ProcessExec, 1000)].into(),
            }],
            rows: vec![
                row(
                    NONE,
                    [round(100.0, 1_000_000, 0, 0), round(200.0, 1_000_000, 0, 0)],
                ),
                row(
                    "systrail run, log",
                    [
                        round(103.0, 1_500_000, 500_000, 1000),
                        round(210.0, 1_500_000, 500_000, 1000),
                    ],
                ),
                row(
                    REFERENCE,
                    [
                        round(150.0, 4_000_000, 1_000_000, 1000),
                        round(300.0, 2_000_000, 1_000_000, 500),
                    ],
                ),
            ],
            absent: vec![Absent {
                name: String::from("sysdig"),
                reason: String::from("no probe"),
            }],
        }
    }

    fn column(outcome: &Outcome) -> &Column {
        &outcome.columns[0]
    }

    fn is_near(value: f64, expected: f64) -> bool {
        (value - expected).abs() < 1e-9
    }

    #[test]
    fn a_round_is_compared_with_its_own_round_without_a_recorder() {
        let sample = outcome().slow_down("systrail run, log", "loop");
        assert!(is_near(sample.min(), 3.0) && is_near(sample.max(), 5.0));
    }

    #[test]
    fn the_cost_includes_what_the_recorder_does_in_the_workloads_context() {
        let outcome = outcome();
        let cost = outcome.cost_us("systrail run, log", column(&outcome));
        assert!(is_near(cost.median(), 1.0));
        let ratio = outcome.cost_ratio("systrail run, log", column(&outcome));
        // 1 us of ours over 4 us and 2 us of theirs.
        assert!(is_near(ratio.min(), 0.25) && is_near(ratio.max(), 0.5));
    }

    #[test]
    fn what_was_missed_in_one_round_is_missed() {
        let outcome = outcome();
        let Some(cell) = outcome.cell(REFERENCE, "loop") else {
            panic!("it was measured");
        };
        assert!(is_near(cell.seen_percent(Kind::ProcessExec, 1000), 75.0));
        assert_eq!(cell.lost(), Some(4));
        assert_eq!(cell.bytes_per_event(), Some(200.0));
    }

    #[test]
    fn without_auditd_ratios_are_to_the_next_that_is_not_ours() {
        let mut outcome = outcome();
        assert_eq!(outcome.reference(), Some(REFERENCE));
        outcome.rows.retain(|row| row.name != REFERENCE);
        assert_eq!(outcome.reference(), None);
        outcome
            .rows
            .push(row("bpftrace", [Round::default(), Round::default()]));
        assert_eq!(outcome.reference(), Some("bpftrace"));
    }
}

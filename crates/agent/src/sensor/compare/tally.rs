//! What both sensors told of processes, and what only one of them did.

use std::collections::{HashMap, VecDeque};

use event::{Event, Flags, Kind};

use crate::quantity;
use crate::sensor::Error;
use crate::trail::{Text, Time};

/// Both tell one thing within this time, nanoseconds.
const TOGETHER_NS: u64 = 1_000_000_000;
/// So near the begin and the end of the comparison one may have told what the other did not.
const EDGE_NS: u64 = 200_000_000;
/// Facts that wait for the other sensor; of more nothing is compared, and that is said.
const WAITING_MAX: usize = 16 * 1024;
/// Facts that are listed at the end, and bytes of a path.
const LISTED_MAX: usize = 100;
const IMAGE_SIZE_MAX: usize = 512;

/// Which of both sensors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Recorder,
    Witness,
}

/// A start or an exit that one of them told.
#[derive(Clone, Debug)]
struct Fact {
    side: Side,
    time: u64,
    image: Vec<u8>,
}

/// The comparison.
#[derive(Debug, Default)]
pub(super) struct Tally {
    names: [&'static str; 2],
    began: u64,
    ended: Option<u64>,
    waiting: HashMap<(Kind, u32), VecDeque<Fact>>,
    waiting_count: usize,
    /// Starts and exits that both told.
    agreed: [u64; 2],
    /// Events that each has lost.
    lost: [u64; 2],
    uncompared: u64,
    failure: Option<String>,
}

impl Side {
    const fn place(self) -> usize {
        match self {
            Self::Recorder => 0,
            Self::Witness => 1,
        }
    }
}

impl Tally {
    /// What both are called.
    pub(super) const fn name(&mut self, recorder: &'static str, witness: &'static str) {
        self.names = [recorder, witness];
    }

    /// From now on both record.
    pub(super) const fn begin(&mut self, now: u64) {
        self.began = now;
    }

    /// From now on one of them does not.
    pub(super) fn end(&mut self, now: u64) {
        self.ended = Some(self.ended.map_or(now, |ended| ended.min(now)));
    }

    /// The witness broke.
    pub(super) fn fail(&mut self, error: &Error) {
        self.failure = Some(error.to_string());
    }

    /// Takes what one of them tells.
    pub(super) fn take<'a>(&mut self, side: Side, records: impl Iterator<Item = &'a [u8]>) {
        for record in records.flat_map(event::read) {
            let header = record.header;
            let image = match record.event {
                Event::ProcessStart(start) => start.image,
                Event::ProcessExit(_) => &[],
                Event::Lost(lost) => {
                    let count = &mut self.lost[side.place()];
                    *count = count.saturating_add(lost.count);
                    continue;
                }
                _ => continue,
            };
            if header.flags.contains(Flags::EXISTING) {
                continue;
            }
            let fact = Fact {
                side,
                time: header.time,
                image: image.get(..IMAGE_SIZE_MAX).unwrap_or(image).to_vec(),
            };
            self.add((header.kind, header.process_id), fact);
        }
    }

    fn add(&mut self, key: (Kind, u32), fact: Fact) {
        let waiting = self.waiting.entry(key).or_default();
        let is_same =
            |other: &Fact| other.side != fact.side && other.time.abs_diff(fact.time) <= TOGETHER_NS;
        if let Some(place) = waiting.iter().position(is_same) {
            waiting.remove(place);
            self.waiting_count -= 1;
            self.agreed[usize::from(key.0 == Kind::PROCESS_EXIT)] += 1;
        } else if self.waiting_count < WAITING_MAX {
            waiting.push_back(fact);
            self.waiting_count += 1;
        } else {
            self.uncompared += 1;
        }
        if self.waiting.get(&key).is_some_and(VecDeque::is_empty) {
            self.waiting.remove(&key);
        }
    }

    /// How both compare, in lines.
    pub(super) fn conclude(self) -> Vec<String> {
        let ended = self.ended.unwrap_or(u64::MAX);
        let within = self.began.saturating_add(EDGE_NS)..ended.saturating_sub(EDGE_NS);
        let mut alone: Vec<_> = self
            .waiting
            .into_iter()
            .flat_map(|(key, facts)| facts.into_iter().map(move |fact| (fact, key)))
            .filter(|(fact, _)| within.contains(&fact.time))
            .collect();
        alone.sort_by_key(|(fact, _)| fact.time);
        let [recorder, witness] = self.names;
        let [starts, exits] = self.agreed;
        let mut lines = vec![format!(
            "{recorder} and {witness} both told {} and {}; {} one of them told alone",
            quantity::show_count(starts, "start"),
            quantity::show_count(exits, "exit"),
            alone.len()
        )];
        let [lost, missed] = self.lost;
        if lost > 0 || missed > 0 {
            let text = format!(
                "of these may be what was lost: {recorder} lost {}, {witness} {}",
                quantity::show_count(lost, "event"),
                quantity::show_count(missed, "event")
            );
            lines.push(text);
        }
        let failure = self.failure.into_iter();
        lines.extend(failure.map(|error| format!("{witness} broke: {error}")));
        let left = alone.len().saturating_sub(LISTED_MAX);
        for (fact, (kind, process_id)) in alone.into_iter().take(LISTED_MAX) {
            let name = self.names[fact.side.place()];
            lines.push(line(name, kind, process_id, &fact));
        }
        if left > 0 {
            lines.push(format!("and {left} more"));
        }
        if self.uncompared > 0 {
            let events = quantity::show_count(self.uncompared, "event");
            lines.push(format!("{events} more were not compared"));
        }
        lines
    }
}

fn line(name: &str, kind: Kind, process_id: u32, fact: &Fact) -> String {
    let what = if kind == Kind::PROCESS_EXIT {
        "the exit"
    } else {
        "the start"
    };
    let time = Time(fact.time.cast_signed());
    let image = if fact.image.is_empty() {
        String::new()
    } else {
        format!(", {}", Text::from_utf_16(&fact.image).shown())
    };
    format!("{name} alone told {what} of process {process_id} at {time}{image}")
}

#[cfg(test)]
mod tests {
    use event::{Header, loss, process};

    use super::*;
    use crate::sensor::Batch;

    const SECOND: u64 = 1_000_000_000;

    fn batch(facts: &[(Kind, u32, u64)]) -> Batch {
        let mut batch = Batch::default();
        for &(kind, process_id, time) in facts {
            let header = Header {
                time,
                process_id,
                ..Header::default()
            };
            let event = match kind {
                Kind::PROCESS_EXIT => Event::ProcessExit(process::Exit::default()),
                _ => Event::ProcessStart(process::Start::default()),
            };
            assert!(batch.write(header, &event));
        }
        batch
    }

    fn lines(recorder: &[(Kind, u32, u64)], witness: &[(Kind, u32, u64)]) -> Vec<String> {
        let mut tally = Tally::default();
        tally.name("driver", "etw");
        tally.begin(100 * SECOND);
        tally.take(Side::Witness, batch(witness).records());
        tally.take(Side::Recorder, batch(recorder).records());
        tally.end(300 * SECOND);
        tally.end(200 * SECOND);
        tally.conclude()
    }

    const START: Kind = Kind::PROCESS_START;
    const EXIT: Kind = Kind::PROCESS_EXIT;

    #[test]
    fn both_clocks_may_differ_and_an_id_may_be_used_again() {
        let told = lines(
            &[
                (START, 8, 110 * SECOND),
                (EXIT, 8, 112 * SECOND),
                (START, 8, 120 * SECOND),
            ],
            &[
                (START, 8, 110 * SECOND + 5_000),
                (EXIT, 8, 112 * SECOND - 5_000),
                (START, 8, 130 * SECOND),
            ],
        );
        assert_eq!(
            told,
            [
                "driver and etw both told 1 start and 1 exit; 2 one of them told alone",
                "driver alone told the start of process 8 at 1970-01-01T00:02:00.000000000Z",
                "etw alone told the start of process 8 at 1970-01-01T00:02:10.000000000Z",
            ]
        );
    }

    #[test]
    fn what_happens_at_the_edges_is_held_against_neither() {
        let edges = [
            (START, 1, 99 * SECOND),
            (START, 2, 100 * SECOND + EDGE_NS / 2),
            (EXIT, 3, 200 * SECOND - EDGE_NS / 2),
            (EXIT, 4, 250 * SECOND),
        ];
        let told = lines(&edges, &[]);
        assert_eq!(
            told,
            ["driver and etw both told 0 starts and 0 exits; 0 one of them told alone"]
        );
    }

    #[test]
    fn losses_are_said_and_no_number_of_differences_makes_it_grow() {
        let many: Vec<_> = (0..20_000).map(|id| (START, id, 150 * SECOND)).collect();
        let mut tally = Tally::default();
        tally.name("driver", "etw");
        let mut records = batch(&many);
        let (kind, reason) = (Kind::ANY, loss::Reason::BUFFER_FULL);
        let lost = loss::Lost {
            kind,
            reason,
            count: 7,
        };
        records.write_lost(1, lost);
        tally.take(Side::Witness, records.records());
        assert_eq!(tally.waiting_count, WAITING_MAX);
        let lines = tally.conclude();
        assert_eq!(lines.len(), 1 + 1 + LISTED_MAX + 2);
        assert!(lines[1].ends_with("driver lost 0 events, etw 7 events"));
        assert_eq!(lines[lines.len() - 2], "and 16284 more");
        assert_eq!(lines[lines.len() - 1], "3616 events more were not compared");
    }
}

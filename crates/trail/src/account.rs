//! The account: what was produced, delivered and lost, per kind, to the event.

mod form;

use event::{ByKind, Kind};

use crate::Further;

/// Counters of one kind of event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Events the sensor saw happen.
    pub produced: u64,
    /// Events that reached the pipeline.
    pub delivered: u64,
    /// Events that did not, each told by a `lost` event.
    pub lost: u64,
    /// Of those delivered: left out by the configuration's rules, so in no sink.
    pub excluded: u64,
}

impl Count {
    /// Whether every event produced is accounted for.
    pub const fn is_balanced(&self) -> bool {
        match self.delivered.checked_add(self.lost) {
            Some(sum) => sum == self.produced,
            None => false,
        }
    }
}

/// Counters of every observed kind, written as an object with the kinds' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    known: ByKind<Count>,
    /// Those of [`Kind::ANY`]: losses that nobody counted by kind.
    any: Count,
    /// Those of kinds a newer version knows, by their names.
    newer: Vec<(Box<str>, Count)>,
}

impl Counts {
    /// The counters of `kind`, where an account is kept for it.
    pub fn of(&mut self, kind: Kind) -> Option<&mut Count> {
        match kind {
            Kind::ANY => Some(&mut self.any),
            _ => self.known.get_mut(kind),
        }
    }

    /// The counters of `kind`; zeros for a kind no account is kept for.
    pub fn get(&self, kind: Kind) -> Count {
        match kind {
            Kind::ANY => self.any,
            _ => self.known.get(kind).copied().unwrap_or_default(),
        }
    }

    /// Every kind with its counters, in the order of [`Kind::OBSERVED`]; then [`Kind::ANY`], where
    /// there is something of it.
    pub fn by_kind(&self) -> impl Iterator<Item = (Kind, Count)> + Clone {
        let known = self.known.iter().map(|(kind, count)| (kind, *count));
        let any = (self.any != Count::default()).then_some((Kind::ANY, self.any));
        known.chain(any)
    }

    /// The same as people and programs are told: a kind that few sensors see is named where there were
    /// any, so that an account looks as that of a version without it.
    pub fn told(&self) -> impl Iterator<Item = (Kind, Count)> + Clone {
        let is_told = |(kind, count): &(Kind, Count)| {
            ![Kind::IMAGE_UNLOAD, Kind::EXEC_FAILED].contains(kind) || *count != Count::default()
        };
        self.by_kind().filter(is_told)
    }

    /// Whether every kind balances.
    pub fn is_balanced(&self) -> bool {
        let newer = self.newer.iter().map(|(_, count)| count);
        let known = self.known.iter().map(|(_, count)| count);
        let mut all = known.chain([&self.any]).chain(newer);
        all.all(Count::is_balanced)
    }
}

/// The greatest fill of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueuePeak {
    /// Which queue.
    pub name: String,
    /// The most it held.
    pub peak: u64,
    /// The most it can hold.
    pub limit: u64,
    /// Of what: `bytes`, `batches`, `events`.
    pub unit: String,
}

/// What one sink did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SinkCount {
    /// Which sink: `log`, `store`, `terminal`.
    pub name: String,
    /// Events it has written.
    pub written: u64,
    /// Events it could not write.
    pub lost: u64,
    /// Events handed to it that it has done neither with yet: how far it lags behind. Not written:
    /// when a run has ended there is none.
    pub waiting: u64,
}

/// The account of a run: what `--summary` writes and `sensor_stop` carries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// The sensor: `ebpf`, `perf`, `connector`, `driver`, `etw`, `replay`.
    pub source: String,
    /// How long the sensor recorded.
    pub duration_ns: u64,
    /// Whether `produced = delivered + lost` holds for every kind.
    pub balanced: bool,
    /// Per kind.
    pub kinds: Counts,
    /// Per queue.
    pub queues: Vec<QueuePeak>,
    /// Per sink.
    pub sinks: Vec<SinkCount>,
    /// Events that the receiver of the fleet accepted meanwhile, where there is one.
    pub forwarded: Option<u64>,
    /// Events in the store that it has not accepted yet.
    pub owed: Option<u64>,
    /// What a newer version said beyond that.
    pub further: Further,
}

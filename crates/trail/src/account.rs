//! The account: what was produced, delivered and lost, per kind, to the event.

use event::Kind;
use serde::{Deserialize, Serialize};

/// Counters of one kind of event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Events the sensor saw happen.
    pub produced: u64,
    /// Events that reached the pipeline.
    pub delivered: u64,
    /// Events that did not, each told by a `lost` event.
    pub lost: u64,
    /// Of those delivered: left out by the configuration's rules, so in no sink.
    #[serde(default)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counts {
    /// Process starts.
    pub process_start: Count,
    /// Execs.
    pub process_exec: Count,
    /// Process exits.
    pub process_exit: Count,
    /// Thread starts.
    pub thread_start: Count,
    /// Thread exits.
    pub thread_exit: Count,
    /// Image loads.
    pub image_load: Count,
}

impl Counts {
    /// The counters of `kind`, where an account is kept for it.
    pub const fn of(&mut self, kind: Kind) -> Option<&mut Count> {
        Some(match kind {
            Kind::PROCESS_START => &mut self.process_start,
            Kind::PROCESS_EXEC => &mut self.process_exec,
            Kind::PROCESS_EXIT => &mut self.process_exit,
            Kind::THREAD_START => &mut self.thread_start,
            Kind::THREAD_EXIT => &mut self.thread_exit,
            Kind::IMAGE_LOAD => &mut self.image_load,
            _ => return None,
        })
    }

    /// Every kind with its counters, in the order of [`Kind::OBSERVED`].
    pub const fn by_kind(&self) -> [(Kind, Count); Kind::OBSERVED.len()] {
        [
            (Kind::PROCESS_START, self.process_start),
            (Kind::PROCESS_EXEC, self.process_exec),
            (Kind::PROCESS_EXIT, self.process_exit),
            (Kind::THREAD_START, self.thread_start),
            (Kind::THREAD_EXIT, self.thread_exit),
            (Kind::IMAGE_LOAD, self.image_load),
        ]
    }

    /// Whether every kind balances.
    pub fn is_balanced(&self) -> bool {
        self.by_kind().iter().all(|(_, count)| count.is_balanced())
    }
}

/// The greatest fill of one queue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkCount {
    /// Which sink: `log`, `store`, `terminal`.
    pub name: String,
    /// Events it has written.
    pub written: u64,
    /// Events it could not write.
    pub lost: u64,
    /// Events handed to it that it has done neither with yet: how far it lags behind. Not written:
    /// when a run has ended there is none.
    #[serde(skip)]
    pub waiting: u64,
}

/// The account of a run: what `--summary` writes and `sensor_stop` carries.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The sensor: `ebpf`, `perf`, `connector`, `driver`, `replay`.
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
}

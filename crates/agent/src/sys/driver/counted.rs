//! The driver's answers, read: every version of agent and driver meets every other.

use std::io;

use event::control::{Count, Counters, Welcome};
use event::wire::{Invalid, Reader};
use event::{ByKind, Kind};

/// The driver's counters, those of kinds that this agent does not know among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// All but those.
    pub known: Counters,
    /// Counts of kinds that a newer driver knows, by number.
    pub unknown: Vec<(Kind, Count)>,
}

impl Counted {
    /// Reads the driver's answer.
    pub fn read(answer: &[u8]) -> io::Result<Self> {
        let mut unknown = Vec::new();
        let known = Counters::read(&mut Reader::new(answer), |kind, count| {
            unknown.push((kind, count));
        });
        Ok(Self {
            known: known.map_err(invalid)?,
            unknown,
        })
    }

    /// Every kind the driver told of, and those it did not, with what it counted.
    pub fn kinds(&self) -> impl Iterator<Item = (Kind, Count)> {
        let known = self.known.kinds.iter().map(|(kind, count)| (kind, *count));
        known.chain(self.unknown.iter().copied())
    }

    /// What it counted of `kind`.
    pub fn of(&self, kind: Kind) -> Count {
        let is_it = |told: &(Kind, Count)| told.0 == kind;
        let found = self.kinds().find(is_it);
        found.map(|(_kind, count)| count).unwrap_or_default()
    }

    /// How much of each kind was delivered since `before`.
    pub fn delivered_since(&self, before: &Self) -> ByKind<u64> {
        ByKind::from_fn(|kind| self.delivered_of_since(kind, before))
    }

    /// How much of all kinds was delivered since `before`.
    pub fn total_delivered_since(&self, before: &Self) -> u64 {
        let delivered = |(kind, _count)| self.delivered_of_since(kind, before);
        self.kinds().map(delivered).fold(0, u64::saturating_add)
    }

    fn delivered_of_since(&self, kind: Kind, before: &Self) -> u64 {
        let (now, before) = (self.of(kind), before.of(kind));
        now.delivered.saturating_sub(before.delivered)
    }
}

/// Reads the driver's answer to the handshake.
pub fn welcome(answer: &[u8]) -> io::Result<Welcome> {
    Welcome::read(&mut Reader::new(answer)).map_err(invalid)
}

fn invalid(error: Invalid) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

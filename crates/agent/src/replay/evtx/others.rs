//! Records that become no event: nothing is amiss with them, and their number is told.

use std::collections::BTreeMap;
use std::fmt;

/// The most kinds of records that are counted apart; a log of anybody's could have any number.
const KINDS_MAX: usize = 1_024;

/// The most that are named.
const NAMED_MAX: usize = 8;

/// How many records became no event, by provider and event.
#[derive(Debug, Default)]
pub(super) struct Others {
    count: u64,
    by_kind: BTreeMap<(Box<str>, u64), u64>,
}

impl Others {
    pub(super) const fn new() -> Self {
        Self {
            count: 0,
            by_kind: BTreeMap::new(),
        }
    }

    /// Adds those of another log.
    pub(super) fn extend(&mut self, other: &Self) {
        self.count += other.count;
        for (kind, count) in &other.by_kind {
            if self.by_kind.len() < KINDS_MAX || self.by_kind.contains_key(kind) {
                *self.by_kind.entry(kind.clone()).or_default() += count;
            }
        }
    }

    pub(super) fn add(&mut self, provider: &str, event_id: u64) {
        self.count += 1;
        let kind = (provider.into(), event_id);
        if self.by_kind.len() < KINDS_MAX || self.by_kind.contains_key(&kind) {
            *self.by_kind.entry(kind).or_default() += 1;
        }
    }

    pub(super) const fn count(&self) -> u64 {
        self.count
    }
}

impl fmt::Display for Others {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.by_kind.iter().collect();
        kinds.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let named = kinds.iter().take(NAMED_MAX).map(|((provider, id), count)| {
            let provider = provider.trim_start_matches("Microsoft-Windows-");
            format!("{count} {provider} {id}")
        });
        let named: Vec<_> = named.collect();
        let more = if kinds.len() > NAMED_MAX { ", ..." } else { "" };
        write!(
            formatter,
            "{} became no event, telling of no process, thread or image: {}{more}",
            crate::quantity::show_count(self.count, "record"),
            named.join(", ")
        )
    }
}

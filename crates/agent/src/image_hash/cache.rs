//! What is known of files.

use std::hash::Hash;

use foldhash::HashMap;

/// Values by their keys, of which the ones that nobody asked for for long are forgotten.
///
/// # Invariants
/// Neither generation has more than `count_max` entries. When the young one is full it becomes the old one,
/// and what only the old one had is forgotten.
#[derive(Debug)]
pub(super) struct Cache<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    count_max: usize,
}

impl<K: Copy + Eq + Hash, V> Cache<K, V> {
    pub(super) fn new(count_max: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            count_max,
        }
    }

    /// What is known, to be changed.
    pub(super) fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        if !self.young.contains_key(key) {
            let value = self.old.remove(key)?;
            self.insert(*key, value);
        }
        self.young.get_mut(key)
    }

    pub(super) fn insert(&mut self, key: K, value: V) {
        if self.young.len() >= self.count_max && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.old.remove(&key);
        self.young.insert(key, value);
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_what_nobody_asks_for_and_never_holds_more_than_its_limit() {
        let mut cache = Cache::new(8);
        for number in 0..1_000_u32 {
            cache.insert(number, number * 2);
            assert_eq!(cache.get_mut(&0).copied(), Some(0), "asked for at {number}");
            assert!(cache.count() <= 16);
        }
        assert_eq!(cache.get_mut(&999).copied(), Some(1_998));
        assert_eq!(cache.get_mut(&500), None);
    }
}

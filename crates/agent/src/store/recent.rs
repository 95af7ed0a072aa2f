//! What was seen lately, bounded: two generations, of which the older is forgotten when the younger
//! is full. What is asked for again and again stays.

use std::borrow::Borrow;
use std::hash::Hash;

use foldhash::HashMap;
use foldhash::fast::RandomState;

/// Entries that there is room for at first.
const COUNT_FIRST: usize = 224;

/// A map that forgets.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// What the entries of the younger generation weigh.
    weight: usize,
    /// When it weighs this much, it becomes the older one.
    weight_max: usize,
    /// Whether nothing there ever was is missing here.
    is_whole: bool,
    /// How often the younger generation became the older one.
    generation: u64,
}

impl<K: Eq + Hash, V: Copy> Recent<K, V> {
    /// Remembers at least `weight_max`, at most twice that. `is_whole` says that there is nothing yet
    /// that could be remembered.
    pub(super) fn new(weight_max: usize, is_whole: bool) -> Self {
        Self {
            young: HashMap::with_capacity_and_hasher(COUNT_FIRST, RandomState::default()),
            old: HashMap::default(),
            weight: 0,
            weight_max,
            is_whole,
            generation: 0,
        }
    }

    /// A number that changes before what was remembered under it is forgotten.
    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    /// Whether a key that is not remembered was never there: nothing was forgotten.
    pub(super) const fn is_whole(&self) -> bool {
        self.is_whole
    }

    /// The value of `key`, with what it weighs, where it is remembered.
    pub(super) fn get<Q>(&mut self, key: &Q, weight: usize) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if let Some(value) = self.young.get(key) {
            return Some(*value);
        }
        let (key, value) = self.old.remove_entry(key)?;
        self.insert(key, value, weight);
        Some(value)
    }

    /// Remembers a value.
    pub(super) fn insert(&mut self, key: K, value: V, weight: usize) {
        if self.weight.saturating_add(weight) > self.weight_max {
            let forgotten = std::mem::replace(&mut self.old, std::mem::take(&mut self.young));
            self.is_whole &= forgotten.is_empty();
            self.generation = self.generation.wrapping_add(1);
            self.weight = 0;
        }
        self.weight = self.weight.saturating_add(weight);
        self.young.insert(key, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_asked_for_and_forgets_the_rest() {
        let mut recent = Recent::new(10, true);
        for number in 0..1_000_u32 {
            recent.insert(number, number, 1);
            assert_eq!(recent.get(&0, 1), Some(0), "asked for each time");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(&999, 1), Some(999));
        assert_eq!(recent.get(&500, 1), None);
    }

    #[test]
    fn is_whole_until_it_forgets() {
        let mut recent = Recent::new(10, true);
        for number in 0..20_u32 {
            recent.insert(number, number, 1);
            assert!(recent.is_whole(), "{number} of two generations of ten");
        }
        recent.insert(20, 20, 1);
        assert!(!recent.is_whole());
        assert!(!Recent::<u32, u32>::new(10, false).is_whole());
    }
}

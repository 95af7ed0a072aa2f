//! What was seen lately, bounded: two generations, of which the older is forgotten when the younger
//! is full. What is asked for again and again stays.

use std::borrow::Borrow;
use std::hash::Hash;

use foldhash::HashMap;

/// A map that forgets.
#[derive(Debug)]
pub(super) struct Recent<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// What the entries of the younger generation weigh.
    weight: usize,
    /// When it weighs this much, it becomes the older one.
    weight_max: usize,
}

impl<K: Eq + Hash, V: Copy> Recent<K, V> {
    /// Remembers at least `weight_max`, at most twice that.
    pub(super) fn new(weight_max: usize) -> Self {
        Self {
            young: HashMap::default(),
            old: HashMap::default(),
            weight: 0,
            weight_max,
        }
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
            self.old = std::mem::take(&mut self.young);
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
        let mut recent = Recent::new(10);
        for number in 0..1_000_u32 {
            recent.insert(number, number, 1);
            assert_eq!(recent.get(&0, 1), Some(0), "asked for each time");
            assert!(recent.young.len() + recent.old.len() <= 20);
        }
        assert_eq!(recent.get(&999, 1), Some(999));
        assert_eq!(recent.get(&500, 1), None);
    }
}

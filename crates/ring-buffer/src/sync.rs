//! Core's atomics, or loom's where loom explores the interleavings.
//!
//! `Trackers` tells loom of each access to a granule's bytes, which are plain memory to it; it is
//! nothing in every other build.

#[cfg(not(loom))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
#[cfg(loom)]
pub(crate) use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(not(loom))]
mod trackers {
    #[derive(Debug)]
    pub(crate) struct Trackers;

    impl Trackers {
        pub(crate) fn new(_count: usize) -> Self {
            Self
        }

        #[expect(clippy::unused_self, reason = "loom's twin of this type has state")]
        pub(crate) fn write(&self, _index: usize, _count: usize) {}

        #[expect(clippy::unused_self, reason = "loom's twin of this type has state")]
        pub(crate) fn read(&self, _index: usize, _count: usize) {}
    }
}

#[cfg(loom)]
mod trackers {
    use loom::cell::UnsafeCell;

    /// A cell a granule. Touching it is enough: loom then checks that every earlier access in
    /// conflict with this one happened before it.
    #[derive(Debug)]
    pub(crate) struct Trackers(Vec<UnsafeCell<()>>);

    impl Trackers {
        pub(crate) fn new(count: usize) -> Self {
            Self((0..count).map(|_index| UnsafeCell::new(())).collect())
        }

        pub(crate) fn write(&self, index: usize, count: usize) {
            for cell in self.0.iter().skip(index).take(count) {
                cell.with_mut(|_granule| {});
            }
        }

        pub(crate) fn read(&self, index: usize, count: usize) {
            for cell in self.0.iter().skip(index).take(count) {
                cell.with(|_granule| {});
            }
        }
    }
}

pub(crate) use trackers::Trackers;

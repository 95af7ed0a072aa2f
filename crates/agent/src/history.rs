//! Which files of a history go when there are more than the limits allow.
//!
//! The oldest goes, but not where somebody has just filled file after file: then everything from
//! before would be gone in a minute, which is what he may want. Half of the room is for what is newest;
//! of the other half a file that was filled much faster than others goes before an older one.

use std::time::{Duration, SystemTime};

/// How much faster than the others in its half a file was filled that goes before older ones. Days and
/// nights, or a build, make less of a difference.
const FAST: u128 = 16;

/// With fewer files to compare, the oldest goes.
const COMPARED_MIN: usize = 4;

/// A file of a history.
#[derive(Clone, Copy, Debug)]
pub(crate) struct File {
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes that were written to it, before it was compressed.
    pub(crate) filled: u64,
    /// When it was begun, where that is known.
    pub(crate) begun: Option<SystemTime>,
    /// When it was written last.
    pub(crate) written: SystemTime,
}

/// How much may be kept. A limit that is `None` does not exist.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// Files at most.
    pub(crate) count: Option<usize>,
    /// Bytes at most.
    pub(crate) size: Option<u64>,
}

impl Limits {
    const fn is_met(self, count: usize, size: u64) -> bool {
        let has_room = match self.count {
            Some(limit) => count <= limit,
            None => true,
        };
        has_room
            && match self.size {
                Some(limit) => size <= limit,
                None => true,
            }
    }

    fn half(self) -> Self {
        Self {
            count: self.count.map(|count| count / 2),
            size: self.size.map(|size| size / 2),
        }
    }
}

impl File {
    /// Bytes a day; 0 where it is not known how long that took.
    fn rate(&self) -> u128 {
        const DAY: u128 = Duration::from_hours(24).as_nanos();
        let taken = self.begun.map(|begun| self.written.duration_since(begun));
        match taken {
            Some(Ok(taken)) if !taken.is_zero() => u128::from(self.filled) * DAY / taken.as_nanos(),
            _ => 0,
        }
    }
}

/// Which of `files`, the oldest first, go so that the others meet the limits. Bytes that are kept
/// whatever happens are `other_size`.
pub(crate) fn surplus(files: &[File], other_size: u64, limits: Limits) -> Vec<usize> {
    let mut kept: Vec<(usize, &File)> = files.iter().enumerate().collect();
    let mut gone = Vec::new();
    let mut size = kept
        .iter()
        .fold(other_size, |size, (_, file)| size.saturating_add(file.size));
    while !limits.is_met(kept.len(), size) && !kept.is_empty() {
        let (index, file) = kept.remove(first_to_go(&kept, other_size, limits.half()));
        size = size.saturating_sub(file.size);
        gone.push(index);
    }
    gone
}

/// The place of the file that goes next: the oldest, or the fastest filled of the older half.
fn first_to_go(kept: &[(usize, &File)], other_size: u64, half: Limits) -> usize {
    let mut size = other_size;
    let newest = kept.iter().rev().enumerate().take_while(|(n, (_, file))| {
        size = size.saturating_add(file.size);
        half.is_met(n + 1, size)
    });
    let older = kept.len() - newest.count();
    let rates: Vec<u128> = kept
        .iter()
        .take(older)
        .map(|(_, file)| file.rate())
        .collect();
    if rates.len() < COMPARED_MIN {
        return 0;
    }
    let mut sorted = rates.clone();
    sorted.sort_unstable();
    let usual = sorted.get(sorted.len() / 2).copied().unwrap_or(0);
    let fast = rates
        .iter()
        .enumerate()
        .filter(|(_, rate)| **rate > usual.saturating_mul(FAST));
    let fastest = fast.max_by_key(|(place, rate)| (**rate, std::cmp::Reverse(*place)));
    fastest.map_or(0, |(place, _)| place)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const TEN: Limits = Limits {
        count: Some(10),
        size: None,
    };

    /// Files one after the other, of a size each, that took so many minutes.
    fn files(minutes: &[u64]) -> Vec<File> {
        let mut now = SystemTime::UNIX_EPOCH + Duration::from_hours(400_000);
        let file = |minutes: &u64| {
            let begun = now;
            now += Duration::from_mins(*minutes);
            File {
                size: 64 * MIB,
                filled: 64 * MIB,
                begun: Some(begun),
                written: now,
            }
        };
        minutes.iter().map(file).collect()
    }

    #[test]
    fn the_oldest_go() {
        let steady = files(&[60; 13]);
        assert_eq!(surplus(&steady, 0, TEN), [0, 1, 2]);
        let of_size = Limits {
            count: None,
            size: Some(640 * MIB),
        };
        assert_eq!(surplus(&steady, 64 * MIB, of_size), [0, 1, 2, 3]);
        // By day ten times as much as by night.
        let days = files(&[600, 60, 60, 600, 60, 60, 600, 60, 60, 600, 60]);
        assert_eq!(surplus(&days, 0, TEN), [0]);
        assert_eq!(surplus(&steady, 0, Limits::default()), [0; 0]);
        assert_eq!(surplus(&[], u64::MAX, of_size), [0; 0]);
    }

    #[test]
    fn who_fills_file_after_file_takes_his_own_away() {
        let mut minutes = vec![600; 10];
        let mut kept: Vec<u64> = Vec::new();
        for _ in 0..100 {
            minutes.push(1);
            for index in surplus(&files(&minutes), 0, TEN) {
                minutes.remove(index);
            }
            kept.clone_from(&minutes);
        }
        assert_eq!(kept.iter().filter(|minutes| **minutes == 600).count(), 5);
        assert_eq!(kept.len(), 10);
    }

    /// Lines that somebody fills a log with are alike: compressed they take next to nothing.
    #[test]
    fn who_fills_files_with_what_becomes_small_takes_his_own_away() {
        let mut files = files(&[600, 600, 600, 600, 600, 600, 1, 1, 1, 1, 1, 1]);
        for file in &mut files {
            let is_fast =
                file.written.duration_since(file.begun.unwrap()).unwrap() < Duration::from_hours(1);
            file.size = if is_fast { MIB / 64 } else { 6 * MIB };
        }
        assert_eq!(surplus(&files, 0, TEN), [6, 0]);
    }

    #[test]
    fn a_file_of_which_nobody_knows_how_long_it_took_goes_by_its_age() {
        let mut unknown = files(&[60; 12]);
        for file in &mut unknown {
            file.begun = None;
        }
        assert_eq!(surplus(&unknown, 0, TEN), [0, 1]);
        // A copy was made after it was written.
        unknown[3].begun = Some(unknown[3].written + Duration::from_hours(1));
        unknown[4].begun = Some(unknown[4].written);
        assert_eq!(surplus(&unknown, 0, TEN), [0, 1]);
    }
}

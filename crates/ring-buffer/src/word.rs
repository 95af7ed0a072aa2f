//! The word that makes a record visible: lap, size, and whether it was discarded.
//!
//! ```text
//!  63                                    20  19        18           0
//! +----------------------------------------+-----------+-------------+
//! | lap, from 1                            | discarded | size, bytes |
//! +----------------------------------------+-----------+-------------+
//! ```
//! Memory that was never written is zero, which is lap 0: not there yet. 44 bits of laps of the
//! smallest ring last for centuries of uninterrupted full-speed writing.

const SIZE_BITS: u32 = 19;
const SIZE_MASK: u64 = (1 << SIZE_BITS) - 1;
const DISCARDED: u64 = 1 << SIZE_BITS;
const LAP_SHIFT: u32 = SIZE_BITS + 1;

/// Bytes of the largest record a word can tell of.
pub(crate) const SIZE_MAX: usize = (1 << SIZE_BITS) - 1;

/// A word taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts {
    pub(crate) lap: u64,
    pub(crate) discarded: bool,
    /// Bytes, as claimed.
    pub(crate) size: usize,
}

/// Puts a word together. A size that has no place in it becomes 0, which no reader accepts.
pub(crate) fn encode(lap: u64, discarded: bool, size: usize) -> u64 {
    let size = u64::try_from(size)
        .ok()
        .filter(|size| *size <= SIZE_MASK)
        .unwrap_or(0);
    (lap << LAP_SHIFT) | if discarded { DISCARDED } else { 0 } | size
}

/// Takes a word apart.
pub(crate) fn decode(word: u64) -> Parts {
    Parts {
        lap: word >> LAP_SHIFT,
        discarded: word & DISCARDED != 0,
        size: usize::try_from(word & SIZE_MASK).unwrap_or(0),
    }
}

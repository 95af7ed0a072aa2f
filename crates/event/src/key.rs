//! The identity of a process, which survives the reuse of process ids.

use core::fmt;

/// A process for all time and all machines: a hash of the boot id, the process id and the tick of the
/// start time, with what is known beyond the tick in its low bits. Two processes share a key only if
/// bits of the hash collide.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProcessKey(pub u64);

impl ProcessKey {
    /// The key of the process `process_id` that started at `start_tick`.
    ///
    /// `boot_id` is the 128-bit random id the system draws at boot. The tick is the coarsest unit
    /// in which the system tells a process's start time (Linux: 10 ms, field 22 of
    /// `/proc/PID/stat`), so that every sensor, and any script, comes to the same key.
    pub fn new(boot_id: [u8; 16], process_id: u32, start_tick: u64) -> Self {
        let mut hash = FNV_OFFSET;
        for byte in boot_id
            .into_iter()
            .chain(process_id.to_le_bytes())
            .chain(start_tick.to_le_bytes())
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME);
        }
        Self(mix(hash))
    }

    /// The key of the process of this tick that started so many nanoseconds after the tick did. Where
    /// only the tick can be known this is 0, and for those who use the id again within the tick 1, 2
    /// and so on.
    ///
    /// It is in the low bits alone, so that whoever knows the tick can find the process all the same.
    #[must_use]
    pub const fn with_offset(self, offset: u64) -> Self {
        Self(self.0 ^ (offset & OFFSET_MASK))
    }

    /// The offset by which this key was made of `tick`, the key of its tick.
    pub const fn offset_from(self, tick: Self) -> u64 {
        (self.0 ^ tick.0) & OFFSET_MASK
    }

    /// Whether the two may be one process's, where one of them was made by somebody who knows the
    /// tick of the start and no more: keys that are the same but for the offset.
    pub const fn agrees_with(self, other: Self) -> bool {
        self.0 ^ other.0 < OFFSET_LIMIT
    }

    /// The least and the greatest number of a key that can [agree](Self::agrees_with) with this one.
    pub const fn agreeing(self) -> (Self, Self) {
        (Self(self.0 & !OFFSET_MASK), Self(self.0 | OFFSET_MASK))
    }

    /// The key that 16 hexadecimal digits stand for.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !digits {
            return None;
        }
        u64::from_str_radix(text, 16).ok().map(Self)
    }
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

/// Nanoseconds in the longest tick, Linux's of 10 ms: every offset is below.
const OFFSET_LIMIT: u64 = 10_000_000;
/// The bits that an offset can have.
const OFFSET_MASK: u64 = 0x00ff_ffff;

/// FNV-1a's parameters for 64 bits (draft-eastlake-fnv, section 5).
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Spreads every input bit over the whole word, which FNV alone does not do for the last bytes.
/// The constants are `MurmurHash3`'s 64-bit finaliser.
const fn mix(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

//! The environment of a program: finding the variables that were asked for.
//!
//! There may be thousands, and all the verifier looks at is looked at for each. So a variable is
//! compared with none of the names: the first 16 bytes of its own, the equals sign included, say at
//! which place of a table the one name is that it can have.

use super::{ENVIRONMENT_MULTIPLIER, Shared, copy_user_text, differ, mask, opaque, sign};

/// Bytes that are looked at in one go: a name, and more of the value than is told.
const WINDOW_SIZE: usize = 4096 + 256;

/// Places for names: more than there can be, so that each has one for itself by some multiplier.
const PLACE_BITS: u32 = 6;

/// The names that are asked for, each where its bytes lead to: two words, with zeros behind the equals
/// sign. At places without a name are words that no variable begins with.
#[repr(C)]
pub(crate) struct Names([[Shared; 2]; 1 << PLACE_BITS]);

impl Names {
    /// 1 where a variable that begins with these words may be asked for, and no branch.
    #[inline(always)]
    fn has(&self, first: u64, second: u64) -> u64 {
        let (in_first, has_ended) = name_mask(first);
        let (in_second, _) = name_mask(second);
        let words = [first & in_first, second & in_second & !mask(has_ended)];
        let [first, second] = words;
        let mixed = first ^ second.rotate_left(31);
        let place = mixed.wrapping_mul(ENVIRONMENT_MULTIPLIER.value());
        let place = opaque((place >> 64_u32.saturating_sub(PLACE_BITS)) as usize);
        let [name_first, name_second] = match self.0.get(place) {
            Some(name) => [name[0].load(), name[1].load()],
            None => return 0,
        };
        differ((name_first ^ first) | (name_second ^ second), 0) ^ 1
    }
}

/// The bytes of a word up to its first equals sign, all where it has none; and 1 where it has one.
#[inline(always)]
fn name_mask(word: u64) -> (u64, u64) {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let others = word ^ ONES.wrapping_mul(b'=' as u64);
    // The lowest bit that is set is the highest one of that byte; those above it may be set wrongly.
    let found = others.wrapping_sub(ONES) & !others & (ONES << 7);
    (found ^ found.wrapping_sub(1), differ(found, 0))
}

/// A place among the variables of the current process.
///
/// It is kept in a map's memory, and a step has no branches, as `Way` says why.
#[repr(C)]
pub(crate) struct Variables {
    /// What was read last.
    window: [Shared; WINDOW_SIZE / size_of::<Shared>()],
    address: Shared,
    end: Shared,
    /// 1 where a variable begins at the address, 0 where a long one goes on.
    is_begin: Shared,
    /// Not 0 until all have been looked at.
    are_cut: Shared,
}

/// What one step found.
pub(crate) struct Found {
    /// Bytes of a variable that is asked for, as far as they are in the window; else 0.
    pub(crate) size: u64,
    /// 1, or 0 where that was the last one.
    pub(crate) goes_on: u64,
    /// 1 where the rest could not be read.
    pub(crate) is_unreadable: u64,
}

impl Variables {
    /// Goes to the begin of all that are there.
    #[inline(always)]
    pub(crate) fn begin(&self, (begin, end): (u64, u64)) {
        self.address.store(begin);
        self.end.store(end);
        self.is_begin.store(1);
        self.are_cut.store(1);
    }

    /// Reads the next one, or more of one that is longer than the window.
    #[inline(always)]
    pub(crate) fn step(&self, names: &Names) -> Found {
        let address = self.address.load();
        let read = copy_user_text(
            address,
            self.window.as_ptr().cast_mut(),
            size_of_val(&self.window),
        );
        let is_unreadable = sign(read);
        let read = read.cast_unsigned() & !mask(is_unreadable);
        // The byte behind what fits was replaced by the end of the text.
        let is_cut = differ(read, WINDOW_SIZE as u64) ^ 1;
        let next = address.wrapping_add(read).wrapping_sub(is_cut);
        let [first, second, ..] = &self.window;
        let is_asked = names.has(first.load(), second.load()) & self.is_begin.load();
        self.address.store(next);
        self.is_begin.store(is_cut ^ 1);
        let left = self.end.load().wrapping_sub(next).wrapping_sub(1);
        Found {
            size: read & mask(is_asked),
            goes_on: (is_unreadable | sign(left.cast_signed())) ^ 1,
            is_unreadable,
        }
    }

    /// Says whether they were left before their end.
    #[inline(always)]
    pub(crate) fn leave(&self, are_cut: u64) {
        self.are_cut.store(are_cut);
    }

    /// Whether there are more than were looked at.
    #[inline(always)]
    pub(crate) fn are_cut(&self) -> bool {
        self.are_cut.load() != 0
    }

    /// What the last step read.
    #[inline(always)]
    pub(crate) const fn window(&self) -> &[Shared] {
        &self.window
    }
}

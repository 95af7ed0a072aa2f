//! Texts of a record: cut to what fits, never wrapped and never split inside a UTF-16 unit.

use core::hint::black_box;

/// Two texts that share what is left of a record, and whether each was cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fitted<'a> {
    pub(crate) first: &'a [u8],
    pub(crate) second: &'a [u8],
    pub(crate) is_first_cut: bool,
    pub(crate) is_second_cut: bool,
}

/// Fits `first` and then `second` into `room` bytes.
pub(crate) fn fit<'a>(room: usize, first: &'a [u8], second: &'a [u8]) -> Fitted<'a> {
    let (first, is_first_cut) = cut(first, room);
    let (second, is_second_cut) = cut(second, room.saturating_sub(first.len()));
    Fitted {
        first,
        second,
        is_first_cut,
        is_second_cut,
    }
}

/// Reads a byte of each page of `text`. A page that is not in memory is brought in now, and not while a
/// record is open, which holds up those behind it.
#[inline]
pub(crate) fn touch(text: &[u8]) {
    const PAGE_SIZE: usize = 4096;
    let Some(last) = text.last() else {
        return;
    };
    let _in_memory = black_box(*last);
    let mut rest = text;
    while let Some((first, _others)) = rest.split_first() {
        let _in_memory = black_box(*first);
        rest = rest.get(PAGE_SIZE..).unwrap_or(&[]);
    }
}

/// As much of `text` as has room, and whether that is not all.
pub(crate) fn cut(text: &[u8], room: usize) -> (&[u8], bool) {
    if text.len() <= room {
        return (text, false);
    }
    (text.get(..room & !1).unwrap_or(&[]), true)
}

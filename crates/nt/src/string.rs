//! `UNICODE_STRING`: counted UTF-16, at most 65,534 bytes.

#![expect(
    unsafe_code,
    reason = "turns the kernel's counted pointers into slices"
)]

use crate::sys;
use core::marker::PhantomData;

/// A `UNICODE_STRING` over units that live for `'a`.
#[derive(Clone, Copy, Debug)]
pub struct UnicodeString<'a> {
    raw: sys::UNICODE_STRING,
    _units: PhantomData<&'a [u16]>,
}

impl<'a> UnicodeString<'a> {
    /// A string of a name that [`utf_16`] made. The NUL at its end is not of its length, but of the
    /// memory it has.
    pub fn new(units: &'a [u16]) -> Self {
        const UNITS_MAX: usize = 32_767;
        let units = units.get(..UNITS_MAX).unwrap_or(units);
        let text = units.strip_suffix(&[0]).unwrap_or(units);
        let size = |units| u16::try_from(size_of_val::<[u16]>(units)).unwrap_or(0);
        Self {
            raw: sys::UNICODE_STRING {
                Length: size(text),
                MaximumLength: size(units),
                Buffer: units.as_ptr().cast_mut(),
            },
            _units: PhantomData,
        }
    }

    pub(crate) fn as_ptr(&self) -> *const sys::UNICODE_STRING {
        &raw const self.raw
    }
}

/// The UTF-16 units of an ASCII text and a NUL, at compile time. `N` must be its length and one. The
/// kernel needs no NUL; tools that read the image, and drivers that filter names, look for one, and
/// would read on into the next name.
///
/// # Panics
/// At compile time, when `N` is not one more than the text's length or the text is not ASCII.
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time only, where a mistake is a build error"
)]
pub const fn utf_16<const N: usize>(text: &str) -> [u16; N] {
    let bytes = text.as_bytes();
    assert!(bytes.len() + 1 == N && text.is_ascii());
    let mut units = [0; N];
    let mut index = 0;
    while index < bytes.len() {
        units[index] = bytes[index] as u16;
        index += 1;
    }
    units
}

/// The bytes of the kernel's string at `string`; `None` when there is no string.
///
/// # Safety
/// `string` is null or points to a `UNICODE_STRING` whose buffer is good for its `Length`, both
/// unchanged for `'a`.
pub(crate) unsafe fn bytes<'a>(string: *const sys::UNICODE_STRING) -> Option<&'a [u8]> {
    if string.is_null() {
        return None;
    }
    // SAFETY: not null, so a string by this function's contract.
    let string = unsafe { &*string };
    if string.Buffer.is_null() {
        return None;
    }
    let size = usize::from(string.Length);
    // SAFETY: by this function's contract the buffer is good for its length.
    Some(unsafe { core::slice::from_raw_parts(string.Buffer.cast::<u8>(), size) })
}

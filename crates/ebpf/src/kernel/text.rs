//! Texts in kernel memory.

use super::{Pointer, copy_text, probe_at};

/// Bytes of `/dev/fd/` and a number of eight digits, which no process has as many descriptors as.
const DESCRIPTOR_SIZE_MAX: usize = 16;

/// A text in kernel memory, ended by a NUL byte.
#[derive(Clone, Copy)]
pub(crate) struct KernelText(Pointer);

impl KernelText {
    /// The text there.
    #[inline(always)]
    pub(super) const fn new(begin: Pointer) -> Self {
        Self(begin)
    }

    /// Whether it begins with `byte`.
    #[inline(always)]
    pub(crate) fn begins_with(self, byte: u8) -> bool {
        let first: [u8; 1] = probe_at(self.0);
        first == [byte]
    }

    /// Copies it, cut to `room`, with its NUL byte. The bytes written; negative where it cannot be
    /// read.
    #[inline(always)]
    pub(crate) fn copy_to(self, room: &mut [u8]) -> i64 {
        copy_text(self.0, room)
    }

    /// The number of a path that begins with `/dev/fd/` and a number, as the kernel makes it up for a
    /// file that was given by a descriptor.
    #[inline(always)]
    pub(crate) fn descriptor(self) -> Option<u32> {
        let text: [u8; DESCRIPTOR_SIZE_MAX] = probe_at(self.0);
        let (prefix, digits) = text.split_first_chunk()?;
        if prefix != b"/dev/fd/" {
            return None;
        }
        let mut number = None;
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                break;
            }
            let before: u32 = number.unwrap_or(0);
            number = Some(before.wrapping_mul(10).wrapping_add(digit.into()));
        }
        number
    }
}

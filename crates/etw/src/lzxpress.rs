//! Unpacks plain LZ77, as buffers of merged traces are packed with (MS-XCA, section 2.4; `LZXPRESS`).

/// Why packed bytes cannot be unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Unpacks `packed` behind what is in `unpacked`, up to `size_max` more bytes, and not beyond. Matches
/// refer to nothing that was there before.
///
/// # Errors
/// Where a match refers to what is before the beginning. What was unpacked up to there is kept.
pub fn unpack(packed: &[u8], size_max: usize, unpacked: &mut Vec<u8>) -> Result<(), Damaged> {
    let begin = unpacked.len();
    let end = begin.saturating_add(size_max);
    let mut input = Input {
        bytes: packed,
        position: 0,
        half: None,
    };
    while unpacked.len() < end {
        let Some(flags) = input.number::<4>() else {
            return Ok(());
        };
        for bit in (0..32).rev() {
            if unpacked.len() >= end {
                return Ok(());
            }
            if flags >> bit & 1 == 0 {
                let Some(byte) = input.byte() else {
                    return Ok(());
                };
                unpacked.push(byte);
                continue;
            }
            // The end of the packed bytes is a flag that says match, with none behind it.
            let Some((offset, length)) = input.matched() else {
                return Ok(());
            };
            let from = unpacked.len().checked_sub(offset);
            let from = from.filter(|from| *from >= begin).ok_or(Damaged)?;
            let length = length.min(end - unpacked.len());
            copy(unpacked, from, length);
        }
    }
    Ok(())
}

/// Appends `length` bytes from `from` on. They may overlap with what is appended, which then repeats
/// itself: so each piece may be as long as all there is.
fn copy(unpacked: &mut Vec<u8>, from: usize, length: usize) {
    let mut left = length;
    while left > 0 {
        let piece = left.min(unpacked.len() - from);
        unpacked.extend_from_within(from..from + piece);
        left -= piece;
    }
}

struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The byte of which a length has used the lower half only.
    half: Option<u8>,
}

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.position).copied()?;
        self.position += 1;
        Some(byte)
    }

    fn number<const N: usize>(&mut self) -> Option<u32> {
        let bytes = self.bytes.get(self.position..)?.first_chunk::<N>()?;
        self.position += N;
        let number = bytes.iter().rev();
        Some(number.fold(0, |number, byte| number << 8 | u32::from(*byte)))
    }

    /// How far back a match begins, and how long it is.
    fn matched(&mut self) -> Option<(usize, usize)> {
        let word = self.number::<2>()?;
        let (offset, short) = ((word >> 3) + 1, word & 7);
        let length = if short < 7 { short } else { self.length()? };
        Some((
            usize::try_from(offset).ok()?,
            usize::try_from(length).ok()?.checked_add(3)?,
        ))
    }

    /// The length of a match that has no room in the three bits.
    fn length(&mut self) -> Option<u32> {
        let half = if let Some(byte) = self.half.take() {
            byte >> 4
        } else {
            let byte = self.byte()?;
            self.half = Some(byte);
            byte & 15
        };
        if half < 15 {
            return Some(u32::from(half) + 7);
        }
        let byte = self.byte()?;
        if byte < 255 {
            return Some(u32::from(byte) + 15 + 7);
        }
        match self.number::<2>()? {
            0 => self.number::<4>(),
            length => Some(length),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpacked(packed: &[u8]) -> Result<Vec<u8>, Damaged> {
        let mut unpacked = Vec::new();
        unpack(packed, 1 << 16, &mut unpacked).map(|()| unpacked)
    }

    /// The two examples of MS-XCA, section 3.1.
    #[test]
    fn the_examples_of_the_specification_are_unpacked() {
        let packed = b"\x3f\0\0\0abcdefghijklmnopqrstuvwxyz";
        assert_eq!(unpacked(packed).unwrap(), b"abcdefghijklmnopqrstuvwxyz");
        let packed = b"\xff\xff\xff\x1fabc\x17\x00\x0f\xff\x26\x01";
        assert_eq!(unpacked(packed).unwrap(), b"abc".repeat(100));
    }

    #[test]
    fn what_refers_to_before_the_beginning_is_damaged() {
        assert_eq!(unpacked(b"\xff\xff\xff\x7fa\x08\x00"), Err(Damaged));
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let packed = b"\xff\xff\xff\x7fa\x07\x00\x0f\xff\x00\x00\xff\xff\xff\x7f";
        let mut bytes = Vec::new();
        unpack(packed, 1000, &mut bytes).unwrap();
        assert_eq!(bytes, b"a".repeat(1000));
    }
}

//! Packs plain LZ77 (MS-XCA, section 2.3), so that what unpacks it has something to be tested with.

use std::collections::HashMap;

/// The farthest a match may be, and the shortest.
const DISTANCE_MAX: usize = 8192;
const LENGTH_MIN: usize = 3;

/// Packs `bytes`.
pub fn pack(bytes: &[u8]) -> Vec<u8> {
    let mut output = Output::default();
    let mut seen: HashMap<[u8; LENGTH_MIN], usize> = HashMap::new();
    let mut position = 0;
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        let key = rest.first_chunk::<LENGTH_MIN>().copied();
        let before = key.and_then(|key| seen.insert(key, position));
        let before = before.filter(|before| position - before <= DISTANCE_MAX);
        let length = before.map_or(0, |before| {
            let earlier = bytes.get(before..).unwrap_or_default();
            let pairs = rest.iter().zip(earlier);
            pairs.take_while(|(a, b)| a == b).count()
        });
        match (before, rest) {
            (Some(before), _) if length >= LENGTH_MIN => {
                output.matched(position - before, length);
                position += length;
            }
            (_, [byte, ..]) => {
                output.flag(false);
                output.bytes.push(*byte);
                position += 1;
            }
            (_, []) => break,
        }
    }
    output.finish()
}

#[derive(Default)]
struct Output {
    bytes: Vec<u8>,
    flags: u32,
    flag_count: u32,
    /// Where the flags that are being collected go.
    flags_place: usize,
    /// Where the byte is of which a length has the lower half only.
    half_place: Option<usize>,
}

impl Output {
    fn flag(&mut self, is_match: bool) {
        if self.flag_count.is_multiple_of(32) {
            self.write_flags();
            self.flags_place = self.bytes.len();
            self.bytes.extend([0; 4]);
            self.flags = 0;
            self.flag_count = 0;
        }
        self.flags = self.flags << 1 | u32::from(is_match);
        self.flag_count += 1;
    }

    /// What is left of the last flags says match, at which whoever unpacks ends.
    fn write_flags(&mut self) {
        let missing = 32 - self.flag_count.min(32);
        let ones = u32::MAX.checked_shr(32 - missing).unwrap_or(0);
        let flags = self.flags.checked_shl(missing).unwrap_or(0) | ones;
        let place = self.flags_place..self.flags_place + 4;
        if let Some(room) = self.bytes.get_mut(place) {
            room.copy_from_slice(&flags.to_le_bytes());
        }
    }

    fn matched(&mut self, distance: usize, length: usize) {
        self.flag(true);
        let length = length - LENGTH_MIN;
        let word = (distance - 1) << 3 | length.min(7);
        self.bytes
            .extend(u16::try_from(word).unwrap_or(0).to_le_bytes());
        if length < 7 {
            return;
        }
        self.half(u8::try_from((length - 7).min(15)).unwrap_or(15));
        if length < 22 {
            return;
        }
        match u8::try_from(length - 22) {
            Ok(byte) if byte < 255 => self.bytes.push(byte),
            _ => self.long(length),
        }
    }

    /// A length that has no room in a byte.
    fn long(&mut self, length: usize) {
        self.bytes.push(255);
        match u16::try_from(length) {
            Ok(length) if length > 0 => self.bytes.extend(length.to_le_bytes()),
            _ => {
                let length = u32::try_from(length).unwrap_or(u32::MAX);
                self.bytes.extend([0, 0]);
                self.bytes.extend(length.to_le_bytes());
            }
        }
    }

    fn half(&mut self, half: u8) {
        let place = self.half_place.take();
        if let Some(byte) = place.and_then(|place| self.bytes.get_mut(place)) {
            *byte |= half << 4;
        } else {
            self.half_place = Some(self.bytes.len());
            self.bytes.push(half);
        }
    }

    fn finish(mut self) -> Vec<u8> {
        // The end is a match that is not there.
        self.flag(true);
        self.write_flags();
        self.bytes
    }
}

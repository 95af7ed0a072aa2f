//! The bytes of a text that is not valid UTF-16. A decoded record has U+FFFD where they were; they
//! are found again in the record as it stands in the log.

/// Comparisons spent on a record at most. A text of a real record is found at its first letters;
/// what is made to match almost everywhere is left without its bytes.
const WORK_MAX: usize = 1 << 20;

/// The UTF-16 in `record` that is shown as `text`, where it is not valid and can be found.
pub(super) fn bytes_of<'r>(record: &'r [u8], text: &str) -> Option<&'r [u8]> {
    let units: Vec<u16> = text.encode_utf16().collect();
    let size = units.len().checked_mul(2)?;
    let mut work = 0_usize;
    for begin in 0..=record.len().checked_sub(size)? {
        let (found, _rest) = record.get(begin..begin + size)?.as_chunks::<2>();
        let mut pairs = found.iter().zip(&units);
        let mut has_invalid = false;
        let is_same = pairs.all(|(found, wanted)| {
            work += 1;
            let found = u16::from_le_bytes(*found);
            let is_shown_so = *wanted == 0xfffd && (0xd800..0xe000).contains(&found);
            has_invalid |= is_shown_so;
            found == *wanted || is_shown_so
        });
        if is_same && has_invalid {
            return record.get(begin..begin + size);
        }
        if work > WORK_MAX {
            return None;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utf_16(units: &[u16]) -> Vec<u8> {
        units.iter().flat_map(|unit| unit.to_le_bytes()).collect()
    }

    #[test]
    fn finds_the_bytes_at_any_offset() {
        let text = utf_16(&[0x61, 0xd800, 0x62]);
        let record = [&[1, 2, 3][..], &text, &[4; 9]].concat();
        assert_eq!(bytes_of(&record, "a\u{fffd}b"), Some(&*text));
    }

    #[test]
    fn what_was_written_as_u_fffd_is_valid() {
        let record = utf_16(&[0x61, 0xfffd, 0x62]);
        assert_eq!(bytes_of(&record, "a\u{fffd}b"), None);
    }

    #[test]
    fn gives_up_on_what_matches_almost_everywhere() {
        let record = utf_16(&vec![0x61; 32_000]);
        let text = "a".repeat(15_000) + "\u{fffd}";
        assert_eq!(bytes_of(&record, &text), None);
    }
}

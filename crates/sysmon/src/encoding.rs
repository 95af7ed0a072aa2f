//! The bytes of a configuration as text: UTF-8, UTF-16 and ISO 8859-1, each with or without its mark.

/// The most bytes of a configuration. The largest that are passed around have 300 KiB.
pub const SIZE_MAX: usize = 4 << 20;

/// Why bytes are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// More than [`SIZE_MAX`].
    #[error("a configuration of {0} bytes; at most {SIZE_MAX} are read")]
    TooLarge(usize),
    /// Neither UTF-8, nor of an encoding that it names.
    #[error(
        "not UTF-8 from byte {0} on; save it as UTF-8, UTF-16 or, with a declaration, ISO-8859-1"
    )]
    NotUtf8(usize),
    /// Half a character, or half of a pair.
    #[error("not UTF-16: the {0}th unit is half of a character; save it as UTF-8")]
    NotUtf16(usize),
}

/// The text that these bytes are.
///
/// # Errors
/// Where they are too many, or no text.
pub fn text(bytes: &[u8]) -> Result<String, InvalidText> {
    if bytes.len() > SIZE_MAX {
        return Err(InvalidText::TooLarge(bytes.len()));
    }
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf_16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf_16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => utf_8(rest),
        // Without a mark, as Sysmon takes it: the first character is ASCII.
        [first, 0, ..] if *first != 0 => utf_16(bytes, u16::from_le_bytes),
        _ => utf_8(bytes),
    }
}

fn utf_8(bytes: &[u8]) -> Result<String, InvalidText> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(_) if is_latin(bytes) => Ok(bytes.iter().copied().map(char::from).collect()),
        Err(error) => Err(InvalidText::NotUtf8(error.valid_up_to())),
    }
}

/// Whether the declaration says that it is ISO 8859-1, of which each byte is the character of its number.
fn is_latin(bytes: &[u8]) -> bool {
    let declaration = bytes.split(|byte| *byte == b'>').next().unwrap_or_default();
    let declaration = declaration.to_ascii_lowercase();
    declaration
        .windows(b"iso-8859-1".len())
        .any(|name| name == b"iso-8859-1")
}

fn utf_16(bytes: &[u8], unit_fn: fn([u8; 2]) -> u16) -> Result<String, InvalidText> {
    let (units, rest) = bytes.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(InvalidText::NotUtf16(units.len() + 1));
    }
    let mut text = String::with_capacity(units.len());
    for (index, character) in char::decode_utf16(units.iter().copied().map(unit_fn)).enumerate() {
        text.push(character.map_err(|_half| InvalidText::NotUtf16(index + 1))?);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const XML: &str = "<Sysmon schemaversion=\"4.50\"><!-- é --></Sysmon>";

    fn wide(text: &str, bytes_fn: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes_fn).collect()
    }

    #[test]
    fn every_encoding_that_sysmon_reads_is_the_same_text() {
        let marked = |mark: &[u8], bytes: &[u8]| [mark, bytes].concat();
        let little = wide(XML, u16::to_le_bytes);
        for bytes in [
            XML.as_bytes().to_vec(),
            marked(&[0xef, 0xbb, 0xbf], XML.as_bytes()),
            little.clone(),
            marked(&[0xff, 0xfe], &little),
            marked(&[0xfe, 0xff], &wide(XML, u16::to_be_bytes)),
        ] {
            assert_eq!(text(&bytes).as_deref(), Ok(XML));
        }
        let latin = b"<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>";
        assert!(text(latin).unwrap().ends_with("<a>é</a>"));
    }

    #[test]
    fn what_is_no_text_is_refused() {
        assert_eq!(text(b"<a>\xe9</a>"), Err(InvalidText::NotUtf8(3)));
        assert_eq!(text(b"<\0a\0>"), Err(InvalidText::NotUtf16(3)));
        assert_eq!(text(b"<\0\0\xd8"), Err(InvalidText::NotUtf16(2)));
        let large = vec![b' '; SIZE_MAX + 1];
        assert_eq!(text(&large), Err(InvalidText::TooLarge(SIZE_MAX + 1)));
    }
}

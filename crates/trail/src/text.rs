//! Text from the system, and who a user is.

use std::sync::Arc;

/// Text from the system, which may not be valid Unicode.
///
/// # Invariants
/// `raw` is there only when the bytes are not valid Unicode (UTF-8, or UTF-16 on Windows); then
/// `shown` is their lossy form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Text {
    shown: Arc<str>,
    raw: Option<Arc<[u8]>>,
}

impl Text {
    /// The text these bytes are.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self {
                shown: Arc::from(text),
                raw: None,
            },
            Err(_invalid) => Self {
                shown: Arc::from(String::from_utf8_lossy(bytes)),
                raw: Some(Arc::from(bytes)),
            },
        }
    }

    /// The text that these bytes are in UTF-16, little-endian (Windows). Where they are not valid,
    /// `raw` is those very bytes.
    pub fn from_utf_16(bytes: &[u8]) -> Self {
        let (units, rest) = bytes.as_chunks::<2>();
        let units = || units.iter().map(|unit| u16::from_le_bytes(*unit));
        let text: Result<String, _> = char::decode_utf16(units()).collect();
        match text {
            Ok(text) if rest.is_empty() => Self {
                shown: Arc::from(text),
                raw: None,
            },
            _ => {
                let lossy = char::decode_utf16(units());
                let lossy = lossy.map(|decoded| decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
                let cut = (!rest.is_empty()).then_some(char::REPLACEMENT_CHARACTER);
                Self {
                    shown: lossy.chain(cut).collect::<String>().into(),
                    raw: Some(Arc::from(bytes)),
                }
            }
        }
    }

    /// Bytes that it holds, by which whoever keeps many bounds himself.
    pub fn size(&self) -> usize {
        let raw = self.raw.as_ref().map_or(0, |raw| raw.len());
        self.shown.len().saturating_add(raw)
    }

    /// Whether both are one text in memory. Equal texts need not be.
    pub fn is_one_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shown, &other.shown)
    }

    /// The same text with what is shown of it put another way.
    #[must_use]
    pub fn shown_as(mut self, show_fn: impl FnOnce(&str) -> String) -> Self {
        self.shown = Arc::from(show_fn(&self.shown));
        self
    }

    /// The text as Unicode; what is not valid is U+FFFD.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// The bytes, where they are not valid Unicode.
    pub fn raw(&self) -> Option<&[u8]> {
        self.raw.as_deref()
    }

    /// The bytes as the system had them.
    pub fn as_bytes(&self) -> &[u8] {
        self.raw().unwrap_or(self.shown.as_bytes())
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self {
            shown: Arc::from(text),
            raw: None,
        }
    }
}

/// Who: a uid on Linux, a SID on Windows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum UserId {
    /// A Linux user id.
    Uid(u32),
    /// A Windows security identifier in its text form.
    Sid(Arc<str>),
}

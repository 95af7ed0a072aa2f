//! What a terminal sends, as keys.

/// A key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// A character.
    Char(char),
    /// Ctrl with a letter.
    Ctrl(char),
    /// Enter.
    Enter,
    /// Esc by itself.
    Escape,
    /// Backspace.
    Backspace,
    /// The arrow up.
    Up,
    /// The arrow down.
    Down,
    /// The arrow to the left.
    Left,
    /// The arrow to the right.
    Right,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// The beginning.
    Home,
    /// The end.
    End,
}

/// Bytes of a sequence that is not over yet; a longer one is none.
const SEQUENCE_SIZE_MAX: usize = 32;

/// Makes keys of bytes, which may come in any pieces.
#[derive(Debug, Default)]
pub(super) struct Keys {
    waiting: Vec<u8>,
}

impl Keys {
    /// The keys that `bytes` complete.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Key> {
        let mut keys = Vec::new();
        for byte in bytes {
            // Before what is no sequence it is a key. Who holds Alt is taken to have pressed it as well.
            if self.waiting == [ESCAPE] && !matches!(byte, b'[' | b'O') {
                self.waiting.clear();
                keys.push(Key::Escape);
            }
            self.waiting.push(*byte);
            match key(&self.waiting) {
                Parsed::Unfinished if self.waiting.len() < SEQUENCE_SIZE_MAX => {}
                Parsed::Unfinished | Parsed::Nothing => self.waiting.clear(),
                Parsed::Key(key) => {
                    self.waiting.clear();
                    keys.push(key);
                }
            }
        }
        keys
    }

    /// Whether more may follow.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Nothing followed: what began like a sequence was the key Esc.
    pub(super) fn finish(&mut self) -> Option<Key> {
        let waiting = std::mem::take(&mut self.waiting);
        (waiting.first() == Some(&ESCAPE)).then_some(Key::Escape)
    }
}

enum Parsed {
    Unfinished,
    /// Nobody's key.
    Nothing,
    Key(Key),
}

const ESCAPE: u8 = 0x1b;

fn key(bytes: &[u8]) -> Parsed {
    match bytes {
        [ESCAPE, b'[', parameters @ .., last @ 0x40..=0x7e] => sequence(parameters, *last),
        [ESCAPE, b'O', last] => sequence(&[], *last),
        [ESCAPE] | [ESCAPE, b'O'] | [ESCAPE, b'[', ..] => Parsed::Unfinished,
        [ESCAPE, ..] | [b'\t'] => Parsed::Nothing,
        [b'\r' | b'\n'] => Parsed::Key(Key::Enter),
        [0x7f | 0x08] => Parsed::Key(Key::Backspace),
        [control @ 0x01..=0x1a] => Parsed::Key(Key::Ctrl(char::from(control + b'a' - 1))),
        [0x00..=0x1f] => Parsed::Nothing,
        _ => character(bytes),
    }
}

/// What follows `Esc [`: modifiers are not looked at.
fn sequence(parameters: &[u8], last: u8) -> Parsed {
    let first = parameters.split(|byte| *byte == b';').next();
    let key = match (last, first.unwrap_or_default()) {
        (b'A', _) => Key::Up,
        (b'B', _) => Key::Down,
        (b'C', _) => Key::Right,
        (b'D', _) => Key::Left,
        (b'H', _) | (b'~', b"1" | b"7") => Key::Home,
        (b'F', _) | (b'~', b"4" | b"8") => Key::End,
        (b'~', b"5") => Key::PageUp,
        (b'~', b"6") => Key::PageDown,
        _ => return Parsed::Nothing,
    };
    Parsed::Key(key)
}

fn character(bytes: &[u8]) -> Parsed {
    match std::str::from_utf8(bytes) {
        Ok(text) => match text.chars().next() {
            Some(character) if !character.is_control() => Parsed::Key(Key::Char(character)),
            _ => Parsed::Nothing,
        },
        Err(error) if error.error_len().is_none() => Parsed::Unfinished,
        Err(_) => Parsed::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn keys_come_in_any_pieces() {
        let sent = "qé\r\x7f\x03\x1a\x1b[A\x1b[1;5D\x1bOF\x1b[5~\x1b[6~\x1b[H\x1b[4~";
        let meant = [
            Key::Char('q'),
            Key::Char('é'),
            Key::Enter,
            Key::Backspace,
            Key::Ctrl('c'),
            Key::Ctrl('z'),
            Key::Up,
            Key::Left,
            Key::End,
            Key::PageUp,
            Key::PageDown,
            Key::Home,
            Key::End,
        ];
        assert_eq!(Keys::default().read(sent.as_bytes()), meant);
        let mut keys = Keys::default();
        let read: Vec<Key> = sent.bytes().flat_map(|byte| keys.read(&[byte])).collect();
        assert_eq!(read, meant);
        assert!(!keys.is_waiting());
    }

    #[test]
    fn escape_is_a_key_when_nothing_follows() {
        let mut keys = Keys::default();
        assert_eq!(keys.read(b"\x1b"), []);
        assert!(keys.is_waiting());
        assert_eq!(keys.finish(), Some(Key::Escape));
        assert_eq!(keys.finish(), None);
        assert_eq!(keys.read(b"\x1b\x1b[D"), [Key::Escape, Key::Left]);
        assert_eq!(keys.read(b"\x1bt"), [Key::Escape, Key::Char('t')]);
        // A mouse, a bracketed paste, bytes that are no text: nobody's keys, and they end.
        assert_eq!(
            keys.read(b"\x1b[<0;1;1M\x1b[200~\xff\xc3(q"),
            [Key::Char('q')]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_little_is_kept(bytes in any::<Vec<u8>>()) {
            let mut keys = Keys::default();
            let _keys = keys.read(&bytes);
            assert!(keys.waiting.len() < SEQUENCE_SIZE_MAX);
        }
    }
}

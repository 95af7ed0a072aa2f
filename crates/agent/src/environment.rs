//! Which variables of a program's environment are told, and what of them: never all, for secrets are
//! among them.

use std::sync::Arc;

use crate::trail::Text;

/// The most names.
pub const NAMES_MAX: usize = 16;

/// Bytes of the longest name.
pub const NAME_SIZE_MAX: usize = 128;

/// Bytes of a value that are told.
pub const VALUE_SIZE_MAX: usize = 4096;

/// Bytes of the variables of one program that are told.
const SIZE_MAX: usize = 16 * 1024;

/// The variables that have the loader of shared libraries load what nobody asked it for.
const USUAL: [&str; 3] = ["LD_PRELOAD", "LD_LIBRARY_PATH", "LD_AUDIT"];

/// The names of the variables that are told; none by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Arc<[Box<str>]>);

impl Names {
    /// At most [`NAMES_MAX`] names, each of which [`is_name`].
    pub fn new(names: &[&str]) -> Self {
        let names = names.iter().take(NAMES_MAX);
        Self(names.copied().map(Box::from).collect())
    }

    /// Those that are told where nothing else is said.
    pub fn usual() -> Self {
        Self::new(&USUAL)
    }

    /// Whether none is told.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each name.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(AsRef::as_ref)
    }

    /// Of variables that are each ended by a NUL byte those that are told, and whether one was cut. What
    /// follows the last NUL byte is the begin of one.
    pub fn told(&self, variables: &[u8]) -> (Vec<Text>, bool) {
        let mut is_cut = false;
        let mut told = Vec::new();
        let whole = variables.iter().rposition(|byte| *byte == 0);
        let cut_from = whole.map_or(0, |last| last + 1);
        let mut at = 0;
        for variable in variables.split(|byte| *byte == 0) {
            if let Some(size) = self.size_told(variable) {
                is_cut |= size < variable.len() || at >= cut_from;
                told.push(first(variable, size));
            }
            at += variable.len() + 1;
        }
        (told, is_cut)
    }

    /// The same as bytes, with a little more of a value than is told, so that it is seen to be cut; and
    /// whether there was no room for all.
    pub fn picked(&self, variables: &[u8]) -> (Vec<u8>, bool) {
        let mut picked = Vec::new();
        for variable in variables.split(|byte| *byte == 0) {
            let Some(size) = self.size_told(variable) else {
                continue;
            };
            let size = variable.len().min(size + 1);
            if picked.len() + size >= SIZE_MAX {
                return (picked, true);
            }
            picked.extend_from_slice(variable.get(..size).unwrap_or_default());
            picked.push(0);
        }
        (picked, false)
    }

    /// How many bytes of a variable are told, where it is one of those.
    fn size_told(&self, variable: &[u8]) -> Option<usize> {
        let begins = self.iter().find_map(|name| {
            let rest = variable.strip_prefix(name.as_bytes())?;
            rest.starts_with(b"=").then_some(name.len() + 1)
        });
        Some(variable.len().min(begins? + VALUE_SIZE_MAX))
    }
}

/// Whether a variable can be called so, and a person can have meant it.
pub fn is_name(name: &str) -> bool {
    let is_usual = |byte: u8| byte.is_ascii_graphic() && !b"=*".contains(&byte);
    !name.is_empty() && name.len() <= NAME_SIZE_MAX && name.bytes().all(is_usual)
}

/// The first bytes of a variable; a character is not torn.
fn first(variable: &[u8], size: usize) -> Text {
    match str::from_utf8(variable) {
        Ok(text) => Text::from(text.get(..text.floor_char_boundary(size)).unwrap_or(text)),
        Err(_) => Text::from_bytes(variable.get(..size).unwrap_or(variable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(names: &[&str], variables: &[u8]) -> (Vec<String>, bool) {
        let (told, is_cut) = Names::new(names).told(variables);
        let shown = told.iter().map(|text| text.shown().to_owned());
        (shown.collect(), is_cut)
    }

    #[test]
    fn a_variable_is_told_by_its_whole_name_and_no_other_is() {
        let variables = b"A=1\0AB=2\0PATH=/bin\0BA=3\0A\0=A=4\0A=\0a=5\0";
        let whole = |texts: &[&str]| {
            let texts = texts.iter().map(|text| (*text).to_owned());
            (texts.collect::<Vec<_>>(), false)
        };
        assert_eq!(told(&["A"], variables), whole(&["A=1", "A="]));
        assert_eq!(
            told(&["AB", "PATH"], variables),
            whole(&["AB=2", "PATH=/bin"])
        );
        assert_eq!(told(&[], variables), whole(&[]));
        assert_eq!(told(&["A"], b""), whole(&[]));
    }

    #[test]
    fn a_value_is_cut_at_4_kib_and_says_so() {
        let of = |size: usize| [b"A=".as_slice(), &vec![b'x'; size], b"\0"].concat();
        let (texts, is_cut) = told(&["A"], &of(VALUE_SIZE_MAX));
        assert_eq!((texts[0].len(), is_cut), (VALUE_SIZE_MAX + 2, false));
        let (texts, is_cut) = told(&["A"], &of(VALUE_SIZE_MAX + 1));
        assert_eq!((texts[0].len(), is_cut), (VALUE_SIZE_MAX + 2, true));
        // No end, so who told it had no room for it.
        assert_eq!(told(&["A"], b"B=1\0A=x"), (vec!["A=x".to_owned()], true));
        assert_eq!(told(&["A"], b"A=x\0B="), (vec!["A=x".to_owned()], false));
        // A character that does not fit as a whole is not there.
        let torn = format!("A=x{}\0", "\u{e9}".repeat(VALUE_SIZE_MAX / 2));
        let (texts, is_cut) = told(&["A"], torn.as_bytes());
        assert_eq!((texts[0].len(), is_cut), (VALUE_SIZE_MAX + 1, true));
    }

    #[test]
    fn what_is_picked_tells_the_same() {
        let names = Names::new(&["A", "B"]);
        let long = [b"A=".as_slice(), &[b'x'; 5000], b"\0"].concat();
        let variables = [b"S=1\0", long.as_slice(), b"B=2\0"].concat();
        let (picked, is_full) = names.picked(&variables);
        assert!(!is_full);
        assert_eq!(names.told(&picked), names.told(&variables));
        assert!(names.told(&picked).1);
        assert!(!picked.starts_with(b"S"));
        let (picked, is_full) = names.picked(&long.repeat(10));
        assert!(is_full && picked.len() <= SIZE_MAX);
    }

    #[test]
    fn a_name_has_no_equals_sign_and_can_be_seen() {
        assert!(is_name("LD_PRELOAD") && is_name("BASH_FUNC_x%%"));
        let long = "A".repeat(NAME_SIZE_MAX + 1);
        for name in ["", "A=B", "A*", "A B", "\u{e9}", "A\n", &long] {
            assert!(!is_name(name), "{name}");
        }
        assert!(Names::usual().iter().all(is_name));
    }
}

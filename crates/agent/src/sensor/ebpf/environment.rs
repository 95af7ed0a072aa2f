//! The table by which the programs find the variables that are told.

use crate::environment::Names;

/// Places in the table, and what leads a name to one of them: its first two words, mixed and multiplied.
const PLACE_BITS: u32 = 6;

/// Two words a place.
pub(super) type Table = [u64; 2 << PLACE_BITS];

/// No variable begins so.
const NOBODY: u64 = u64::MAX;

/// Multipliers that are tried. Of sixteen names about one in seven gives each a place of its own.
const TRIES: u64 = 10_000;

/// The table of these names, and the multiplier by which it was made. Names with the same first 16 bytes
/// have one place.
pub(super) fn table(names: &Names) -> (Table, u64) {
    let mut words: Vec<[u64; 2]> = names.iter().map(words).collect();
    words.sort_unstable();
    words.dedup();
    let multipliers = (0..TRIES).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c16) | 1);
    let mut tables = multipliers.map(|multiplier| (with(&words, multiplier), multiplier));
    let found = tables.find_map(|(table, multiplier)| Some((table?, multiplier)));
    found.unwrap_or(([NOBODY; 2 << PLACE_BITS], 1))
}

/// The table by that multiplier; `None` where it leads two to one place.
fn with(words: &[[u64; 2]], multiplier: u64) -> Option<Table> {
    let mut table = [NOBODY; 2 << PLACE_BITS];
    for words in words {
        let place = table.chunks_exact_mut(2).nth(place(*words, multiplier))?;
        if place.first() != Some(&NOBODY) {
            return None;
        }
        place.copy_from_slice(words);
    }
    Some(table)
}

/// As `Names::has` of the programs (`crates/ebpf/src/kernel/environment.rs`) finds it.
fn place([first, second]: [u64; 2], multiplier: u64) -> usize {
    let mixed = first ^ second.rotate_left(31);
    let place = mixed.wrapping_mul(multiplier) >> (u64::BITS - PLACE_BITS);
    usize::try_from(place).unwrap_or(0)
}

/// The first 16 bytes of a variable of that name, without its value.
fn words(name: &str) -> [u64; 2] {
    let mut bytes = name.bytes().chain([b'=']).chain(std::iter::repeat(0));
    let mut word = || {
        let mut word = [0; 8];
        word.fill_with(|| bytes.next().unwrap_or(0));
        u64::from_le_bytes(word)
    };
    [word(), word()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::NAMES_MAX;

    #[test]
    fn each_name_has_a_place_whatever_names_there_are() {
        for seed in 0..200 {
            let names: Vec<String> = (0..NAMES_MAX).map(|n| format!("NAME_{seed}_{n}")).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let (table, multiplier) = table(&Names::new(&names));
            for name in names {
                let at = 2 * place(words(name), multiplier);
                assert_eq!(table[at..at + 2], words(name), "{name}");
            }
        }
    }

    #[test]
    fn names_that_begin_alike_share_a_place() {
        let (table, _) = table(&Names::new(&["ANDROID_SOCKET_ONE", "ANDROID_SOCKET_TWO"]));
        let taken = table.iter().filter(|word| **word != NOBODY).count();
        assert_eq!(taken, 4, "ANDROID_SOCKET_O and ANDROID_SOCKET_T");
        let same = super::table(&Names::new(&["ANDROID_SOCKET_A1", "ANDROID_SOCKET_A2"])).0;
        assert_eq!(same.iter().filter(|word| **word != NOBODY).count(), 2);
    }

    #[test]
    fn the_words_of_a_name_end_with_its_equals_sign() {
        assert_eq!(words("A")[0].to_le_bytes(), *b"A=\0\0\0\0\0\0");
        assert_eq!(words("A")[1], 0);
        assert_eq!(words("LD_AUDI")[0].to_le_bytes(), *b"LD_AUDI=");
        assert_eq!(words("LD_PRELOAD")[1].to_le_bytes(), *b"AD=\0\0\0\0\0");
    }
}

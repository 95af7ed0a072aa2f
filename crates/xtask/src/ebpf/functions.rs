//! The types of an object's functions.
//!
//! The kernel calls a function of a program only where it is told that the function has a type
//! (`Documentation/bpf/btf.rst`, `.BTF` and `.BTF.ext`), and asks no more of a type than that there is
//! one. The compiler's are in no certain order, and come with a line for each instruction; so every
//! function is given the same type here, `int function()`.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use object::build::Bytes;
use object::build::elf::{Builder, SectionData};
use object::elf::{SHF_EXECINSTR, SHT_PROGBITS, SHT_STRTAB, STT_FUNC};

/// Functions by their section: the byte each begins at, and its name.
type Functions = BTreeMap<String, BTreeMap<u32, String>>;

/// The object with the types of its functions.
///
/// # Errors
/// Where it is no ELF object, or has such types.
pub(super) fn with_types(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read(object).context("the object is not ELF")?;
    let functions = functions(&builder);
    ensure!(!functions.is_empty(), "the object has no functions");
    let information = Information::of(&functions);
    for (name, kind, data) in [
        (".BTF", SHT_PROGBITS, Some(information.types())),
        (".BTF.ext", SHT_PROGBITS, Some(information.places)),
        // LLVM keeps the names of sections beside those of symbols.
        (".shstrtab", SHT_STRTAB, None),
    ] {
        let has_it = builder
            .sections
            .iter()
            .any(|one| one.name.as_slice() == name.as_bytes());
        ensure!(!has_it, "the object has a section {name}");
        let section = builder.sections.add();
        section.name = name.into();
        section.sh_type = kind;
        section.sh_addralign = 4;
        section.data = match data {
            Some(data) => SectionData::Data(Bytes::from(data)),
            None => SectionData::SectionString,
        };
    }
    let mut bytes = Vec::new();
    builder
        .write(&mut bytes)
        .context("the object cannot be written")?;
    Ok(bytes)
}

fn functions(builder: &Builder<'_>) -> Functions {
    let mut functions = Functions::new();
    for symbol in builder
        .symbols
        .iter()
        .filter(|one| one.st_type() == STT_FUNC)
    {
        let Some(section) = symbol.section.map(|id| builder.sections.get(id)) else {
            continue;
        };
        if section.sh_flags & u64::from(SHF_EXECINSTR) != 0 {
            functions
                .entry(section.name.to_string())
                .or_default()
                .insert(word(symbol.st_value), symbol.name.to_string());
        }
    }
    functions
}

/// What the two sections hold.
struct Information {
    types: Vec<u32>,
    strings: Vec<u8>,
    places: Vec<u8>,
}

impl Information {
    const MAGIC_AND_VERSION: u32 = 0x0001_eb9f;
    const HEADER_SIZE: u32 = 24;
    const KIND_INT: u32 = 1 << 24;
    const KIND_FUNC: u32 = 12 << 24;
    const KIND_FUNC_PROTO: u32 = 13 << 24;
    /// A signed number of 32 bits.
    const INT: u32 = (1 << 24) | 32;

    fn of(functions: &Functions) -> Self {
        let mut this = Self {
            types: Vec::new(),
            strings: vec![0],
            places: Vec::new(),
        };
        let int = this.string("int");
        // The types 1 and 2: `int`, and a function that returns it.
        this.types.extend([int, Self::KIND_INT, 4, Self::INT]);
        this.types.extend([0, Self::KIND_FUNC_PROTO, 1]);
        let mut id = 2;
        // Of each function where it begins, and its type.
        let mut places = vec![8];
        for (section, functions) in functions {
            places.extend([this.string(section), word(functions.len())]);
            for (begin, name) in functions {
                let name = this.string(name);
                this.types.extend([name, Self::KIND_FUNC, 2]);
                id += 1;
                places.extend([*begin, id]);
            }
        }
        let size = word(size_of_val(&places[..]));
        // No lines, which would begin behind the functions.
        let header = [Self::MAGIC_AND_VERSION, Self::HEADER_SIZE, 0, size, size, 0];
        this.places = bytes_of(header.into_iter().chain(places));
        this
    }

    fn string(&mut self, text: &str) -> u32 {
        let at = word(self.strings.len());
        self.strings.extend_from_slice(text.as_bytes());
        self.strings.push(0);
        at
    }

    fn types(&self) -> Vec<u8> {
        let size = word(size_of_val(&self.types[..]));
        let header = [
            Self::MAGIC_AND_VERSION,
            Self::HEADER_SIZE,
            0,
            size,
            size,
            word(self.strings.len()),
        ];
        let mut bytes = bytes_of(header.into_iter().chain(self.types.iter().copied()));
        bytes.extend_from_slice(&self.strings);
        bytes
    }
}

/// A place or a size in an object, which is far from 4 GiB.
fn word(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

fn bytes_of(words: impl Iterator<Item = u32>) -> Vec<u8> {
    words.flat_map(u32::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(bytes: &[u8]) -> Vec<u32> {
        bytes
            .chunks_exact(4)
            .map(|word| u32::from_le_bytes(word.try_into().unwrap()))
            .collect()
    }

    #[test]
    fn every_function_has_a_type() {
        let names = |names: &[(u32, &str)]| {
            let own = |(at, name): &(u32, &str)| (*at, (*name).to_owned());
            names.iter().map(own).collect::<BTreeMap<_, _>>()
        };
        let functions = Functions::from([
            (".text".to_owned(), names(&[(0, "a"), (16, "b")])),
            ("x".to_owned(), names(&[(8, "c")])),
        ]);
        let information = Information::of(&functions);
        assert_eq!(information.strings, b"\0int\0.text\0a\0b\0x\0c\0");
        let magic = 0x0001_eb9f;
        assert_eq!(
            words(&information.places),
            [
                [magic, 24, 0, 44, 44, 0, 8].as_slice(),
                &[5, 2, 0, 3, 16, 4],
                &[15, 1, 8, 5],
            ]
            .concat()
        );
        assert_eq!(
            words(
                &information
                    .types
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect::<Vec<_>>()
            ),
            [
                [1, 1 << 24, 4, (1 << 24) | 32, 0, 13 << 24, 1].as_slice(),
                &[11, 12 << 24, 2, 13, 12 << 24, 2, 17, 12 << 24, 2],
            ]
            .concat()
        );
        let types = information.types();
        assert_eq!(words(&types[..24]), [magic, 24, 0, 64, 64, 19]);
        assert_eq!(types.len(), 24 + 64 + 19);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert!(with_types(b"\x7fELF no").is_err());
    }
}

//! Where the fields of this kernel's structures are: a reader of the kernel's own type information
//! (BTF, `Documentation/bpf/btf.rst`).
//!
//! The bytes come from the kernel, but they are read like any other foreign bytes: whatever they
//! claim, the reader answers or says that it cannot.

use std::collections::HashMap;

/// Where the kernel publishes its type information.
pub(super) const PATH: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
/// Anonymous structures and arrays inside each other, and modifiers in a row, are at most this
/// deep: a limit on recursion and loops, far beyond what the kernel has.
const DEPTH_MAX: u32 = 16;

/// Kinds of types.
mod kind {
    pub(super) const INT: u32 = 1;
    pub(super) const PTR: u32 = 2;
    pub(super) const ARRAY: u32 = 3;
    pub(super) const STRUCT: u32 = 4;
    pub(super) const UNION: u32 = 5;
    pub(super) const ENUM: u32 = 6;
    pub(super) const FWD: u32 = 7;
    pub(super) const TYPEDEF: u32 = 8;
    pub(super) const VOLATILE: u32 = 9;
    pub(super) const CONST: u32 = 10;
    pub(super) const RESTRICT: u32 = 11;
    pub(super) const FUNC: u32 = 12;
    pub(super) const FUNC_PROTO: u32 = 13;
    pub(super) const VAR: u32 = 14;
    pub(super) const DATASEC: u32 = 15;
    pub(super) const DECL_TAG: u32 = 17;
    pub(super) const TYPE_TAG: u32 = 18;
    pub(super) const ENUM64: u32 = 19;
}

/// The kernel's types.
#[derive(Debug)]
pub(super) struct Types<'a> {
    list: Vec<Type<'a>>,
    strings: &'a [u8],
    structures: HashMap<&'a [u8], u32>,
}

#[derive(Clone, Copy, Debug)]
struct Type<'a> {
    name: u32,
    info: u32,
    /// Size or referenced type, by kind.
    target: u32,
    rest: &'a [u8],
}

/// A type that is looked for by its name.
#[derive(Clone, Copy, Debug)]
pub(super) enum Named<'a> {
    Function(&'a str),
    Typedef(&'a str),
}

impl<'a> Named<'a> {
    const fn name(self) -> &'a str {
        match self {
            Self::Function(name) | Self::Typedef(name) => name,
        }
    }

    const fn kind(self) -> u32 {
        match self {
            Self::Function(_) => kind::FUNC,
            Self::Typedef(_) => kind::TYPEDEF,
        }
    }
}

impl Type<'_> {
    const fn kind(&self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    const fn count(&self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Whether member offsets share their word with the size of a bit field.
    const fn has_bit_fields(&self) -> bool {
        self.info >> 31 != 0
    }

    /// Bytes after the fixed part; `None` for a kind this reader does not know.
    const fn rest_size(&self) -> Option<usize> {
        Some(match self.kind() {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * self.count(),
            kind::ENUM | kind::FUNC_PROTO => 8 * self.count(),
            0..=19 => 0,
            _ => return None,
        })
    }
}

impl<'a> Types<'a> {
    /// Reads the types in `bytes`. `None` when they are not type information this reader knows.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
        let magic = u16::from_le_bytes(*bytes.first_chunk()?);
        let header_size = size_at(bytes, 4)?;
        let body = bytes.get(header_size..)?;
        if magic != MAGIC {
            return None;
        }
        let section = |offset_at, size_at_| {
            let (offset, size) = (size_at(bytes, offset_at)?, size_at(bytes, size_at_)?);
            body.get(offset..offset.checked_add(size)?)
        };
        let (mut rest, strings) = (section(8, 12)?, section(16, 20)?);
        let mut this = Self {
            // Type 0 is `void`.
            list: vec![Type {
                name: 0,
                info: 0,
                target: 0,
                rest: &[],
            }],
            strings,
            structures: HashMap::new(),
        };
        while !rest.is_empty() {
            let head = Type {
                name: number_at(rest, 0)?,
                info: number_at(rest, 4)?,
                target: number_at(rest, 8)?,
                rest: &[],
            };
            let (members, next) = rest.get(12..)?.split_at_checked(head.rest_size()?)?;
            rest = next;
            this.add(Type {
                rest: members,
                ..head
            })?;
        }
        Some(this)
    }

    fn add(&mut self, new: Type<'a>) -> Option<()> {
        let id = u32::try_from(self.list.len()).ok()?;
        if matches!(new.kind(), kind::STRUCT | kind::TYPEDEF) {
            let name = self.name(new.name)?;
            // A structure may share its name with a typedef; the structure is what is asked for.
            if new.kind() == kind::STRUCT || !self.structures.contains_key(name) {
                self.structures.insert(name, id);
            }
        }
        self.list.push(new);
        Some(())
    }

    /// The offset in bytes of `structure.member.member`. Members of anonymous structures count as
    /// members of what encloses them, and an array as its first element.
    pub(super) fn offset(&self, path: &str) -> Option<u64> {
        let mut names = path.split('.');
        let mut id = *self.structures.get(names.next()?.as_bytes())?;
        let mut bits = 0;
        for name in names {
            let (member_id, member_bits) = self.member(id, name.as_bytes(), 0)?;
            bits += member_bits;
            id = member_id;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// How many parameters the functions of the tracepoint `name` take.
    pub(super) fn tracepoint_parameter_count(&self, name: &str) -> Option<usize> {
        let id = *self
            .structures
            .get(format!("btf_trace_{name}").as_bytes())?;
        let pointer = self.list.get(self.resolve(id)? as usize)?;
        if pointer.kind() != kind::PTR {
            return None;
        }
        let function = self.list.get(self.resolve(pointer.target)? as usize)?;
        // The first is the tracepoint's private data, which programs do not see.
        (function.kind() == kind::FUNC_PROTO).then(|| function.count().saturating_sub(1))
    }

    /// Whether the kernel has a function of this name.
    pub(super) fn has_function(&self, name: &str) -> bool {
        self.number(Named::Function(name)).is_some()
    }

    /// Type information in which these types alone have names, each under the number it has here, and
    /// everything else is left out: for a reader that copies what it reads, and compares one name after
    /// the other to find a number.
    pub(super) fn excerpt(&self, wanted: &[Named<'_>]) -> Vec<u8> {
        let mut numbers: Vec<_> = wanted
            .iter()
            .filter_map(|named| Some((self.number(*named)?, *named)))
            .collect();
        numbers.sort_by_key(|(number, _)| *number);
        let mut strings = vec![0];
        let mut types: Vec<u8> = Vec::new();
        let mut add = |name: usize, kind: u32| {
            // Neither is anywhere near 4 GiB.
            let name = u32::try_from(name).unwrap_or(0);
            types.extend(
                [name, kind << 24, 0]
                    .iter()
                    .flat_map(|word| word.to_le_bytes()),
            );
        };
        let mut next = 1;
        for (number, named) in numbers {
            for _filler in next..number {
                add(0, kind::FWD);
            }
            add(strings.len(), named.kind());
            strings.extend_from_slice(named.name().as_bytes());
            strings.push(0);
            next = number + 1;
        }
        with_header(&types, &strings)
    }

    /// The number of the first type of that name.
    fn number(&self, named: Named<'_>) -> Option<u32> {
        let name = named.name().as_bytes();
        let is_it = |one: &Type<'_>| {
            let text = self.strings.get(one.name as usize..);
            let rest = text.and_then(|text| text.strip_prefix(name));
            one.kind() == named.kind() && rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        let index = self.list.iter().position(is_it)?;
        u32::try_from(index).ok()
    }

    /// The type and the offset in bits of a member.
    fn member(&self, id: u32, name: &[u8], depth: u32) -> Option<(u32, u64)> {
        let whole = self.list.get(self.resolve(id)? as usize)?;
        if whole.kind() == kind::ARRAY && depth < DEPTH_MAX {
            return self.member(number_at(whole.rest, 0)?, name, depth + 1);
        }
        if !matches!(whole.kind(), kind::STRUCT | kind::UNION) {
            return None;
        }
        for member in whole.rest.chunks_exact(12) {
            let member_id = number_at(member, 4)?;
            let mut bits = number_at(member, 8)?;
            if whole.has_bit_fields() {
                bits &= 0x00ff_ffff;
            }
            let member_name = self.name(number_at(member, 0)?)?;
            if member_name == name {
                return Some((member_id, u64::from(bits)));
            }
            if member_name.is_empty()
                && depth < DEPTH_MAX
                && let Some((inner_id, inner_bits)) = self.member(member_id, name, depth + 1)
            {
                return Some((inner_id, u64::from(bits) + inner_bits));
            }
        }
        None
    }

    /// The type behind typedefs and modifiers.
    fn resolve(&self, mut id: u32) -> Option<u32> {
        for _ in 0..DEPTH_MAX {
            let this = self.list.get(id as usize)?;
            match this.kind() {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    id = this.target;
                }
                _ => return Some(id),
            }
        }
        None
    }

    fn name(&self, offset: u32) -> Option<&'a [u8]> {
        let from = self.strings.get(offset as usize..)?;
        from.split(|byte| *byte == 0).next()
    }
}

/// Both sections behind a header that says where they are.
fn with_header(types: &[u8], strings: &[u8]) -> Vec<u8> {
    const HEADER_SIZE: u32 = 24;
    const VERSION: u8 = 1;
    let size_of = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let (types_size, strings_size) = (size_of(types), size_of(strings));
    let mut bytes = Vec::with_capacity(HEADER_SIZE as usize + types.len() + strings.len());
    bytes.extend_from_slice(&MAGIC.to_le_bytes());
    bytes.extend_from_slice(&[VERSION, 0]);
    for word in [HEADER_SIZE, 0, types_size, types_size, strings_size] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.extend_from_slice(types);
    bytes.extend_from_slice(strings);
    bytes
}

fn number_at(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes
        .get(offset..)?
        .first_chunk()
        .copied()
        .map(u32::from_le_bytes)
}

fn size_at(bytes: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(number_at(bytes, offset)?).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    /// Type information by hand: types as words, members and parameters included, and strings.
    fn information(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        with_header(&types, strings)
    }

    const fn info(kind: u32, count: u32) -> u32 {
        (kind << 24) | count
    }

    const BIT_FIELDS: u32 = 1 << 31;

    #[test]
    fn finds_members_in_anonymous_structures_arrays_and_bit_fields() {
        // struct outer { int a; struct { int b; }; struct inner c[2]; int d:4 } with struct inner
        // { int e; int f; } and typedef struct inner alias.
        let strings = b"\0int\0outer\0a\0b\0c\0d\0inner\0e\0f\0alias\0";
        let name = |text: &str| {
            let text = [&[0], text.as_bytes(), &[0]].concat();
            let at = strings
                .windows(text.len())
                .position(|window| window == text);
            u32::try_from(at.unwrap()).unwrap() + 1
        };
        let types = [
            &[name("int"), info(kind::INT, 0), 4, 32][..], // 1
            &[name("inner"), info(kind::STRUCT, 2), 8],    // 2
            &[name("e"), 1, 0, name("f"), 1, 32],
            &[0, info(kind::STRUCT, 1), 4, name("b"), 1, 0], // 3
            &[0, info(kind::ARRAY, 0), 0, 6, 1, 2],          // 4: alias[2]
            &[name("outer"), info(kind::STRUCT, 4) | BIT_FIELDS, 28], // 5
            &[name("a"), 1, 0, 0, 3, 32, name("c"), 4, 64],
            &[name("d"), 1, (4 << 24) + 192],
            &[name("alias"), info(kind::TYPEDEF, 0), 2], // 6
        ]
        .concat();
        let bytes = information(&types, strings);
        let types = Types::read(&bytes).unwrap();
        assert_eq!(types.offset("outer.a"), Some(0));
        assert_eq!(types.offset("outer.b"), Some(4));
        assert_eq!(types.offset("outer.c.f"), Some(12));
        assert_eq!(types.offset("outer.d"), Some(24));
        assert_eq!(types.offset("alias.f"), Some(4));
        assert_eq!(types.offset("outer.x"), None);
        assert_eq!(types.offset("other.a"), None);
    }

    #[test]
    fn counts_the_parameters_of_a_tracepoint() {
        let strings = b"\0btf_trace_exit\0";
        let types = [
            &[0, info(kind::FUNC_PROTO, 3), 0, 0, 0, 0, 0, 0, 0][..], // 1
            &[0, info(kind::PTR, 0), 1],                              // 2
            &[1, info(kind::TYPEDEF, 0), 2],                          // 3
        ]
        .concat();
        let bytes = information(&types, strings);
        let types = Types::read(&bytes).unwrap();
        assert_eq!(types.tracepoint_parameter_count("exit"), Some(2));
        assert_eq!(types.tracepoint_parameter_count("exec"), None);
    }

    #[test]
    fn a_function_is_found_by_its_name_alone() {
        let types = [
            &[0, info(kind::FUNC_PROTO, 0), 0][..], // 1
            &[1, info(kind::FUNC, 0), 1],           // 2
            &[6, info(kind::TYPEDEF, 0), 1],        // 3
        ]
        .concat();
        let bytes = information(&types, b"\0loop\0other\0");
        let types = Types::read(&bytes).unwrap();
        assert!(types.has_function("loop"));
        assert!(!types.has_function("other"));
        assert!(!types.has_function("loo"));
        assert!(!types.has_function("loop2"));
    }

    #[test]
    fn an_excerpt_has_its_types_under_their_numbers_and_no_other_names() {
        let types = [
            &[0, info(kind::FUNC_PROTO, 1), 0, 0, 0][..], // 1
            &[1, info(kind::TYPEDEF, 0), 1],              // 2
            &[1, info(kind::STRUCT, 1), 8, 1, 2, 0],      // 3
            &[6, info(kind::FUNC, 0), 1],                 // 4
            &[1, info(kind::FUNC, 0), 1],                 // 5
            &[6, info(kind::FUNC, 0), 1],                 // 6
        ]
        .concat();
        let bytes = information(&types, b"\0loop\0other\0");
        let whole = Types::read(&bytes).unwrap();
        // In the order of their numbers, whatever the order in which they are asked for.
        let (function, typedef) = (Named::Function("loop"), Named::Typedef("loop"));
        let excerpt = whole.excerpt(&[function, typedef, Named::Function("none")]);
        let read = Types::read(&excerpt).unwrap();
        assert_eq!(
            (read.number(typedef), read.number(function)),
            (Some(2), Some(5))
        );
        assert_eq!(read.list.len(), 6, "nothing behind the last of them");
        assert!(!read.has_function("other") && read.structures.len() == 1);
        assert!(aya::Btf::parse(&excerpt, aya::Endianness::default()).is_ok());
    }

    #[test]
    fn a_structure_that_contains_itself_ends() {
        // An anonymous structure whose only member, anonymous too, is itself.
        let types = [1, info(kind::STRUCT, 1), 0, 0, 1, 0];
        let bytes = information(&types, b"\0loop\0");
        assert_eq!(Types::read(&bytes).unwrap().offset("loop.x"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            words in proptest::collection::vec(any::<u32>(), 0..60),
            strings in proptest::collection::vec(any::<u8>(), 0..20),
        ) {
            let bytes = information(&words, &strings);
            if let Some(types) = Types::read(&bytes) {
                let _offset = types.offset(".a.b");
                let _count = types.tracepoint_parameter_count("a");
                let _excerpt = types.excerpt(&[Named::Function("a"), Named::Typedef("b")]);
            }
            let _types = Types::read(&strings);
        }
    }
}

//! Reads what the driver declares of the kernel: structures with the table of their layout, constants
//! and functions.

use anyhow::{Context as _, Result, bail, ensure};
use syn::parse::{Parse, ParseStream};
use syn::{Expr, Fields, Ident, Item, Lit, LitInt, Token, braced};

use super::functions::Function;

const STRUCTURES: &str = "crates/nt/src/sys.rs";
const LAYOUT: &str = "crates/nt/src/sys/layout.rs";

/// Types whose constants are the kernel's as well: file, type, and what C puts before the name.
const TYPES: &[(&str, &str, &str)] = &[
    ("crates/nt/src/lib.rs", "Status", "STATUS_"),
    ("crates/event/src/control.rs", "Code", "CODE_"),
];

/// A structure with its size and the offsets of its fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Structure {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) fields: Vec<(String, u64)>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Constant {
    pub(super) name: String,
    pub(super) value: u64,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Declarations {
    pub(super) structures: Vec<Structure>,
    pub(super) constants: Vec<Constant>,
    pub(super) functions: Vec<Function>,
}

impl Declarations {
    /// Reads the repository's files by their paths.
    pub(super) fn read(text_fn: impl Fn(&str) -> Result<String>) -> Result<Self> {
        let parse = |path: &str| {
            syn::parse_file(&text_fn(path)?).with_context(|| format!("{path} cannot be read"))
        };
        let (items, table) = (parse(STRUCTURES)?.items, parse(LAYOUT)?.items);
        let structures = layout_table(&table)?;
        compare(&declared(&items), &structures)?;
        let mut constants = free_constants(&items)?;
        for (path, name, prefix) in TYPES {
            let found = constants.len();
            type_constants(&parse(path)?.items, name, prefix, &mut constants)?;
            ensure!(constants.len() > found, "{path} has no constants of {name}");
        }
        Ok(Self {
            structures,
            constants,
            functions: Function::read(&items).context(STRUCTURES)?,
        })
    }
}

/// Names and fields of the structures and unions that the kernel lays out.
fn declared(items: &[Item]) -> Vec<(String, Vec<String>)> {
    let named = |fields: &syn::FieldsNamed| {
        let names = fields.named.iter().filter_map(|field| field.ident.as_ref());
        names.map(Ident::to_string).collect::<Vec<_>>()
    };
    items
        .iter()
        .filter_map(|item| match item {
            Item::Struct(item) => {
                let fields = match &item.fields {
                    Fields::Named(fields) => named(fields),
                    fields => (0..fields.len()).map(|index| index.to_string()).collect(),
                };
                Some((item.ident.to_string(), fields))
            }
            Item::Union(item) => Some((item.ident.to_string(), named(&item.fields))),
            _ => None,
        })
        .collect()
}

/// The rows of `layout! { ... }`.
fn layout_table(items: &[Item]) -> Result<Vec<Structure>> {
    let table = items
        .iter()
        .find_map(|item| match item {
            Item::Macro(item) if item.mac.path.is_ident("layout") => Some(&item.mac),
            _ => None,
        })
        .with_context(|| format!("{LAYOUT} has no layout! table"))?;
    let Table(structures) = table.parse_body().context(LAYOUT)?;
    Ok(structures)
}

struct Table(Vec<Structure>);

impl Parse for Table {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let mut structures = Vec::new();
        while !input.is_empty() {
            let name = input.parse::<Ident>()?.to_string();
            let size = input.parse::<LitInt>()?.base10_parse()?;
            let mut fields = Vec::new();
            let body;
            braced!(body in input);
            while !body.is_empty() {
                let field = if body.peek(LitInt) {
                    body.parse::<LitInt>()?.to_string()
                } else {
                    body.parse::<Ident>()?.to_string()
                };
                fields.push((field, body.parse::<LitInt>()?.base10_parse()?));
                if !body.is_empty() {
                    body.parse::<Token![,]>()?;
                }
            }
            structures.push(Structure { name, size, fields });
        }
        Ok(Self(structures))
    }
}

/// Every structure and field is in the table.
fn compare(declared: &[(String, Vec<String>)], table: &[Structure]) -> Result<()> {
    for (name, fields) in declared {
        let row = table
            .iter()
            .find(|row| row.name == *name)
            .with_context(|| format!("{name} of {STRUCTURES} is not in {LAYOUT}"))?;
        for field in fields {
            ensure!(
                row.fields.iter().any(|(listed, _)| listed == field),
                "{name}.{field} of {STRUCTURES} is not in {LAYOUT}"
            );
        }
    }
    Ok(())
}

fn free_constants(items: &[Item]) -> Result<Vec<Constant>> {
    items
        .iter()
        .filter_map(|item| match item {
            Item::Const(item) if item.ident != "_" => Some((&item.ident, &item.expr)),
            _ => None,
        })
        .map(|(name, value)| constant(&name.to_string(), value))
        .collect()
}

fn type_constants(
    items: &[Item],
    name: &str,
    prefix: &str,
    constants: &mut Vec<Constant>,
) -> Result<()> {
    for item in items {
        let Item::Impl(item) = item else { continue };
        let is_of_type =
            matches!(&*item.self_ty, syn::Type::Path(path) if path.path.is_ident(name));
        if !is_of_type || item.trait_.is_some() {
            continue;
        }
        for item in &item.items {
            if let syn::ImplItem::Const(item) = item {
                constants.push(constant(&format!("{prefix}{}", item.ident), &item.expr)?);
            }
        }
    }
    Ok(())
}

fn constant(name: &str, expression: &Expr) -> Result<Constant> {
    let value = value(expression).with_context(|| format!("the value of {name} cannot be read"))?;
    Ok(Constant {
        name: name.to_owned(),
        value,
    })
}

/// A number, or a number in `Self(...)` or `Self::code(...)`.
fn value(expression: &Expr) -> Result<u64> {
    match expression {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Int(number) => Ok(number.base10_parse()?),
            _ => bail!("it is no whole number"),
        },
        Expr::Call(call) if call.args.len() == 1 => {
            let is_plain = matches!(&*call.func, Expr::Path(path)
                if path.path.segments.first().is_some_and(|segment| segment.ident == "Self"));
            ensure!(is_plain, "it is the result of a function");
            call.args
                .first()
                .map_or_else(|| bail!("it is empty"), value)
        }
        _ => bail!("it is no number; write it as one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "impl Status { pub const PENDING: Self = Self::code(0x103); }";
    const CODE: &str = "impl Code { pub const FLUSH: Self = Self(0x22_6008); }";

    fn read(sys: &str, layout: &str) -> Result<Declarations> {
        Declarations::read(|path| {
            let text = match path {
                STRUCTURES => sys,
                LAYOUT => layout,
                "crates/nt/src/lib.rs" => STATUS,
                _ => CODE,
            };
            Ok(text.to_owned())
        })
    }

    #[test]
    fn structures_and_constants_are_read_with_their_numbers() {
        let declarations = read(
            "pub struct S { pub A: u8, pub B: u32 } pub const N: i32 = 0x1_0;",
            "layout! { S 8 { A 0, B 4 } }",
        )
        .unwrap();
        let [structure] = &declarations.structures[..] else {
            unreachable!("one structure was declared");
        };
        assert_eq!((structure.name.as_str(), structure.size), ("S", 8));
        assert_eq!(structure.fields[1], ("B".to_owned(), 4));
        let constants: Vec<_> = declarations
            .constants
            .iter()
            .map(|constant| (constant.name.as_str(), constant.value))
            .collect();
        assert_eq!(
            constants,
            [
                ("N", 16),
                ("STATUS_PENDING", 0x103),
                ("CODE_FLUSH", 0x22_6008)
            ]
        );
    }

    #[test]
    fn a_structure_a_union_or_a_field_that_is_not_in_the_table_is_refused() {
        for (sys, missing) in [
            ("pub struct S { pub A: u8 } pub struct T;", "T of"),
            (
                "pub struct S { pub A: u8 } pub union U { pub A: u8 }",
                "U of",
            ),
            ("pub struct S { pub A: u8, pub B: u8 }", "S.B of"),
        ] {
            let error = read(sys, "layout! { S 8 { A 0 } }").unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
        }
    }

    #[test]
    fn a_constant_that_is_no_plain_number_is_refused() {
        for value in ["1 << 4", "OTHER", "f(4)", "true"] {
            let sys = format!("pub const N: u32 = {value};");
            let error = read(&sys, "layout! {}").unwrap_err();
            assert!(error.to_string().contains("value of N"), "{error}");
        }
    }
}

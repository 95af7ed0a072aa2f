//! The kernel's functions as the driver declares them: `link!("ntoskrnl.exe" "system" fn ...);`.

use anyhow::{Context as _, Result, bail};
use syn::parse::{Parse, ParseStream};
use syn::{FnArg, Item, LitStr, ReturnType, Signature, Type};

use super::names;

/// A function of the kernel.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) name: String,
    /// How C writes the types of its arguments.
    arguments: Vec<String>,
    /// Bytes of what it returns; nothing for `void`.
    result_size: Option<u32>,
}

/// What stands in `link!`.
struct Link(Signature);

impl Parse for Link {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        input.parse::<LitStr>()?;
        input.parse::<LitStr>()?;
        input.parse().map(Self)
    }
}

impl Function {
    /// All functions that `items` declare.
    pub(super) fn read(items: &[Item]) -> Result<Vec<Self>> {
        items
            .iter()
            .filter_map(|item| match item {
                Item::Macro(item) if item.mac.path.is_ident("link") => Some(&item.mac),
                _ => None,
            })
            .map(|item| Self::of(&item.parse_body::<Link>()?.0))
            .collect()
    }

    fn of(signature: &Signature) -> Result<Self> {
        let name = signature.ident.to_string();
        let arguments = signature
            .inputs
            .iter()
            .map(|argument| match argument {
                FnArg::Typed(argument) => c_type(&argument.ty).map(|(name, _)| name.to_owned()),
                FnArg::Receiver(_) => bail!("a function has no self"),
            })
            .collect::<Result<_>>()
            .with_context(|| format!("the arguments of {name}"))?;
        let result_size = match &signature.output {
            ReturnType::Default => None,
            ReturnType::Type(_, result) => Some(
                c_type(result)
                    .with_context(|| format!("the result of {name}"))?
                    .1,
            ),
        };
        Ok(Self {
            name,
            arguments,
            result_size,
        })
    }

    /// A function of C that calls this one with such arguments, and checks what it returns.
    pub(super) fn check(&self) -> String {
        let name = &self.name;
        let (mut parameters, mut values) = (Vec::new(), Vec::new());
        for (index, argument) in self.arguments.iter().enumerate() {
            let c = names::argument(name, index).unwrap_or(argument);
            parameters.push(format!("{c} a{index}"));
            values.push(format!("a{index}"));
        }
        let call = format!("{name}({})", values.join(", "));
        let condition = self.result_size.map_or_else(
            || format!("__builtin_types_compatible_p(__typeof__({call}), void)"),
            |size| format!("sizeof({call}) == {size}"),
        );
        let parameters = if parameters.is_empty() {
            "void".to_owned()
        } else {
            parameters.join(", ")
        };
        format!(
            "void check_{name}({parameters}) {{ _Static_assert({condition}, \"result of {name}\"); \
             (void){call}; }}\n"
        )
    }
}

/// How C writes a type, as far as numbers and pointers tell types apart, and its bytes.
fn c_type(of: &Type) -> Result<(&'static str, u32)> {
    const POINTER: (&str, u32) = ("void *", 8);
    let Type::Path(path) = of else {
        return match of {
            Type::Ptr(_) => Ok(POINTER),
            _ => bail!("is of a type that C has no word for"),
        };
    };
    let name = path.path.require_ident()?.to_string();
    Ok(match name.as_str() {
        "HANDLE" | "PVOID" => POINTER,
        "u8" | "BOOLEAN" | "KIRQL" => ("unsigned char", 1),
        "i8" => ("signed char", 1),
        "u32" => ("unsigned int", 4),
        "i32" | "NTSTATUS" => ("int", 4),
        "u64" | "usize" => ("unsigned long long", 8),
        "i64" | "isize" => ("long long", 8),
        _ if name.ends_with("_ROUTINE") => POINTER,
        _ => bail!("{name} has no word in C; add it"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Function>> {
        Function::read(&syn::parse_file(text).unwrap().items)
    }

    #[test]
    fn a_declaration_becomes_a_call_with_its_arguments() {
        let text = "link!(\"k\" \"system\" fn F(a: *mut IRP, b: u32, c: X_ROUTINE) -> NTSTATUS);";
        let functions = read(text).unwrap();
        assert_eq!(
            functions[0].check(),
            "void check_F(void * a0, unsigned int a1, void * a2) { \
             _Static_assert(sizeof(F(a0, a1, a2)) == 4, \"result of F\"); (void)F(a0, a1, a2); }\n"
        );
    }

    #[test]
    fn a_function_without_arguments_and_result_is_one_in_c_too() {
        let functions = read("link!(\"k\" \"system\" fn G());").unwrap();
        assert_eq!(
            functions[0].check(),
            "void check_G(void) { _Static_assert(__builtin_types_compatible_p(__typeof__(G()), \
             void), \"result of G\"); (void)G(); }\n"
        );
    }

    #[test]
    fn a_type_without_a_word_in_c_is_refused() {
        let error = read("link!(\"k\" \"system\" fn F(a: Status));").unwrap_err();
        assert!(format!("{error:#}").contains("arguments of F"), "{error:#}");
    }
}

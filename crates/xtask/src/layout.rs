//! `cargo xtask layout`: compares every structure, constant and function of the driver's kernel
//! interface with mingw-w64's DDK headers, by letting the C compiler check a file of static
//! assertions and calls.
//!
//! The list is complete because nobody keeps it: it is read from the declarations themselves. A
//! structure or field that is not in nt's own table, a constant whose value cannot be read and a
//! name the headers do not have are failures. What the headers cannot check is listed in `names.rs`
//! with its source, and is printed.

mod declarations;
mod functions;
mod names;

use std::fs;
use std::path::Path;
use std::process::Output;

use anyhow::{Context as _, Result, bail, ensure};

use crate::command::program;
use crate::workspace;
use declarations::{Constant, Declarations, Structure};
use names::{OF_USERS, UNCHECKED};

const COMPILER: &str = "x86_64-w64-mingw32-gcc";

/// The header that brings the kernel's declarations, and the one that brings those of programs.
const DRIVERS: &str = "ntifs.h";
const USERS: &str = "windows.h";

/// Where Debian and others put the headers of drivers.
const HEADERS: &[&str] = &[
    "/usr/x86_64-w64-mingw32/include/ddk",
    "/usr/share/mingw-w64/include/ddk",
];

/// Checks everything and says how much that was.
pub(crate) fn run() -> Result<()> {
    let declarations = Declarations::read(|path| {
        fs::read_to_string(workspace::root().join(path)).with_context(|| format!("reading {path}"))
    })?;
    let headers = HEADERS
        .iter()
        .map(Path::new)
        .find(|path| path.join(DRIVERS).exists())
        .context("the headers of drivers are missing; install mingw-w64 (`cargo xtask setup`)")?;
    let checks = checks(&declarations)?;
    for header in [DRIVERS, USERS] {
        let output = compile(headers, header, &lines_for(header, &checks))?;
        let complaints = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "the driver and {header} do not agree:\n{complaints}"
        );
    }
    report_unchecked(headers)?;
    println!(
        "layout: {} structures, {} constants and {} functions are as mingw-w64's headers have them",
        declarations.structures.len(),
        declarations.constants.len(),
        declarations.functions.len(),
    );
    Ok(())
}

/// What the headers lack is told, and once they have it, it must be checked.
fn report_unchecked(headers: &Path) -> Result<()> {
    for (name, expression, source) in UNCHECKED {
        let Some(expression) = expression else {
            println!("not in the headers: {name} ({source})");
            continue;
        };
        let probe = format!("unsigned long long probe = (unsigned long long)({expression});\n");
        if compile(headers, DRIVERS, &probe)?.status.success() {
            bail!("the headers know {name} now; remove it from UNCHECKED");
        }
        println!("not in the headers: {name} ({source})");
    }
    Ok(())
}

/// A line of C, and the header it is about.
#[derive(Debug)]
struct Check {
    header: &'static str,
    line: String,
}

impl Check {
    fn new(header: &'static str, condition: &str, what: &str) -> Self {
        Self {
            header,
            line: format!("_Static_assert({condition}, \"{what}\");\n"),
        }
    }
}

fn lines_for(header: &str, checks: &[Check]) -> String {
    checks
        .iter()
        .filter(|check| check.header == header)
        .map(|check| check.line.as_str())
        .collect()
}

/// A check for each size, offset and value.
fn checks(declarations: &Declarations) -> Result<Vec<Check>> {
    let mut checks = Vec::new();
    for structure in &declarations.structures {
        structure_checks(structure, &mut checks);
    }
    for constant in &declarations.constants {
        checks.extend(constant_check(constant));
    }
    let functions = declarations.functions.iter();
    let checked = functions.filter(|function| !names::is_unchecked(&function.name));
    checks.extend(checked.map(|function| Check {
        header: DRIVERS,
        line: function.check(),
    }));
    ensure!(!checks.is_empty(), "there is nothing to check");
    Ok(checks)
}

fn structure_checks(structure: &Structure, checks: &mut Vec<Check>) {
    let Some(c) = names::structure(&structure.name) else {
        return;
    };
    let (size, relation) = (structure.size, if c.is_whole { "==" } else { ">=" });
    checks.push(Check::new(
        DRIVERS,
        &format!("{} {relation} {size}", c.size()),
        &format!("size of {}", structure.name),
    ));
    for (field, offset) in &structure.fields {
        let what = format!("{}.{field}", structure.name);
        if let Some(member) = names::member(&what, field) {
            checks.push(Check::new(
                DRIVERS,
                &format!("{} == {offset}", c.offset(member)),
                &format!("offset of {what}"),
            ));
        }
    }
}

fn constant_check(constant: &Constant) -> Option<Check> {
    let expression = names::constant(&constant.name)?;
    let header = if OF_USERS.contains(&constant.name.as_str()) {
        USERS
    } else {
        DRIVERS
    };
    Some(Check::new(
        header,
        &format!("({expression}) == {:#x}", constant.value),
        &format!("value of {}", constant.name),
    ))
}

/// Has the compiler read `lines` after `header`.
fn compile(headers: &Path, header: &str, lines: &str) -> Result<Output> {
    let directory = workspace::target().join("layout");
    fs::create_dir_all(&directory)?;
    let file = directory.join(header).with_extension("c");
    fs::write(&file, format!("#include <{header}>\n{lines}"))?;
    program(COMPILER)
        .args(["-fsyntax-only", "-Wconversion", "-Wno-sign-conversion"])
        // What the headers themselves do is theirs.
        .args(["-Werror", "-isystem"])
        .arg(headers)
        .arg(&file)
        .output()
        .with_context(|| format!("cannot start {COMPILER}; install mingw-w64"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn real() -> Declarations {
        Declarations::read(|path| Ok(fs::read_to_string(workspace::root().join(path))?)).unwrap()
    }

    #[test]
    fn every_size_offset_and_value_becomes_an_assertion() {
        let declarations = real();
        let text = lines_for(DRIVERS, &checks(&declarations).unwrap());
        for line in [
            "_Static_assert(sizeof(IRP) == 208, \"size of IRP\");",
            "_Static_assert(offsetof(IRP, AssociatedIrp.SystemBuffer) == 24, \"offset of IRP.SystemBuffer\");",
            "_Static_assert((NonPagedPoolNx) == 0x200, \"value of NON_PAGED_POOL_NX\");",
            "_Static_assert((STATUS_PENDING) == 0x103, \"value of STATUS_PENDING\");",
        ] {
            assert!(text.contains(line), "{line}");
        }
        let unchecked = UNCHECKED.len() + OF_USERS.len();
        let named = declarations.constants.len()
            + declarations
                .structures
                .iter()
                .map(|structure| structure.fields.len() + 1)
                .sum::<usize>()
            + declarations.functions.len();
        assert_eq!(text.lines().count() + unchecked, named);
    }

    #[test]
    fn a_name_that_is_only_the_drivers_is_left_to_the_compiler_to_refuse() {
        let constant = Constant {
            name: "OURS".to_owned(),
            value: 7,
        };
        assert_eq!(
            constant_check(&constant).unwrap().line,
            "_Static_assert((OURS) == 0x7, \"value of OURS\");\n"
        );
    }
}

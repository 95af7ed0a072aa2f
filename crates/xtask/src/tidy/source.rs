//! Rules for Rust sources: how a file opens, where `unsafe` may stand, and the kernel header.

use super::code::code;
use super::{File, Finding, Tree};

/// Where `unsafe` may stand, and why. A directory ends in `/`.
const UNSAFE_PLACES: &[(&str, &str)] = &[
    ("crates/agent/src/sys/", "the agent's fence"),
    (
        "crates/agent/src/store/virtual_table.rs",
        "rusqlite's traits for virtual tables promise a layout in memory",
    ),
    ("crates/ebpf/src/kernel.rs", "reads of kernel memory"),
    (
        "crates/ebpf/src/kernel/repeat.rs",
        "steps that the kernel calls by a bare pointer",
    ),
    (
        "crates/ebpf/src/iterator.rs",
        "aya-ebpf has no macro for iterators, so their sections are named here",
    ),
    ("crates/ebpf/src/main.rs", "the section of the licence"),
    (
        "crates/agent/tests/linux_ebpf/role.rs",
        "what is watched: clones and exits no safe interface makes",
    ),
    (
        "crates/agent/tests/linux_witness/raw.rs",
        "what is watched: forks, raw exits, executable mappings",
    ),
    (
        "crates/ring-buffer/src/room.rs",
        "hands out granules by position",
    ),
    ("crates/nt/src/", "the only door to the Windows kernel"),
    ("crates/ntemu/src/", "stands in for the Windows kernel"),
    (
        "crates/testkernel/src/kernel/",
        "stands in for the Windows kernel on Wine",
    ),
    (
        "crates/testkernel/src/runner/sys/",
        "the test runner's fence",
    ),
    (
        "crates/testkernel/src/faulty_driver.rs",
        "a driver that does what the test kernel must notice",
    ),
    (
        "crates/testkernel/src/bcryptprimitives.rs",
        "a library that exports a function",
    ),
    (
        "crates/driver/src/main.rs",
        "the image's entry point and panic handler",
    ),
    (
        "crates/driver/src/guard.rs",
        "what Control Flow Guard finds by name",
    ),
];

/// Crates of which some part runs in a kernel, where nothing may panic.
const KERNEL_CRATES: &[&str] = &["event", "ring-buffer", "nt", "driver"];

/// What the first file of each of them denies.
const KERNEL_LINTS: &[&str] = &[
    "clippy::arithmetic_side_effects",
    "clippy::expect_used",
    "clippy::indexing_slicing",
    "clippy::panic",
    "clippy::unwrap_used",
];

/// All rules of this file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        opening(file, &mut findings);
        unsafe_place(file, &mut findings);
    }
    unsafe_places_are_used(tree, &mut findings);
    for name in KERNEL_CRATES {
        if let Some(file) = tree.file(&format!("crates/{name}/src/lib.rs")) {
            kernel_header(file, &mut findings);
        }
    }
    findings
}

fn opening(file: &File, findings: &mut Vec<Finding>) {
    if !file.text.starts_with("//!") {
        findings.push(Finding::new(
            &file.path,
            "open it with `//!`: what it is, why it exists, what it must never do",
        ));
    }
}

fn unsafe_place(file: &File, findings: &mut Vec<Finding>) {
    let Some(number) = unsafe_line(&file.text) else {
        return;
    };
    let place = format!("{}:{number}", file.path);
    if !UNSAFE_PLACES
        .iter()
        .any(|(allowed, _)| is_within(&file.path, allowed))
    {
        findings.push(Finding::new(
            place,
            "`unsafe` stands outside its fence; move it there or argue in UNSAFE_PLACES",
        ));
    } else if !code(&file.text).contains("expect(unsafe_code,")
        && !code(&file.text).contains("expect(\n    unsafe_code,")
    {
        findings.push(Finding::new(
            place,
            "say why the file needs `unsafe`: #![expect(unsafe_code, reason = \"...\")]",
        ));
    }
}

fn unsafe_places_are_used(tree: &Tree, findings: &mut Vec<Finding>) {
    for (allowed, _reason) in UNSAFE_PLACES {
        let is_used = tree
            .rust()
            .any(|file| is_within(&file.path, allowed) && unsafe_line(&file.text).is_some());
        if !is_used {
            findings.push(Finding::new(
                *allowed,
                "has no `unsafe` any more; remove it from UNSAFE_PLACES",
            ));
        }
    }
}

fn is_within(path: &str, place: &str) -> bool {
    path == place || (place.ends_with('/') && path.starts_with(place))
}

fn kernel_header(file: &File, findings: &mut Vec<Finding>) {
    let code = code(&file.text);
    if !code.contains("no_std") {
        findings.push(Finding::new(&file.path, "runs in a kernel; declare no_std"));
    }
    let denied = code
        .split("#![deny(")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .collect::<String>();
    for lint in KERNEL_LINTS {
        let is_denied = denied.split(',').any(|name| name.trim() == *lint);
        if !is_denied {
            findings.push(Finding::new(
                &file.path,
                format!("runs in a kernel; add {lint} to its #![deny(...)]"),
            ));
        }
    }
}

/// The line of the first keyword `unsafe`, if there is one. The type of a function pointer that
/// has the word is no unsafe code.
fn unsafe_line(text: &str) -> Option<usize> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    (1..)
        .zip(code(text).lines())
        .find(|(_, line)| {
            line.match_indices("unsafe").any(|(start, word)| {
                let (before, after) = (&line[..start], &line[start + word.len()..]);
                let is_type = after
                    .split_once('(')
                    .is_some_and(|(head, _)| head.starts_with(" extern") && head.ends_with(" fn"));
                !before.ends_with(is_name) && !after.starts_with(is_name) && !is_type
            })
        })
        .map(|(number, _)| number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(files: &[(&str, &str)]) -> Vec<String> {
        let mut findings = Vec::new();
        for file in Tree::of(files).rust() {
            opening(file, &mut findings);
            unsafe_place(file, &mut findings);
        }
        findings.into_iter().map(|finding| finding.place).collect()
    }

    #[test]
    fn refuses_a_file_that_does_not_say_what_it_is() {
        assert_eq!(places(&[("a.rs", "fn main() {}\n")]), ["a.rs"]);
    }

    #[test]
    fn refuses_unsafe_outside_the_fence() {
        let text = "//! A.\nfn main() {\n    unsafe { f() }\n}\n";
        assert_eq!(
            places(&[("crates/agent/src/rules.rs", text)]),
            ["crates/agent/src/rules.rs:3"]
        );
    }

    #[test]
    fn refuses_unsafe_without_a_reason_inside_the_fence() {
        let text = "//! A.\nfn main() {\n    unsafe { f() }\n}\n";
        assert_eq!(places(&[("crates/agent/src/sys/a.rs", text)]).len(), 1);
        let explained = format!("//! A.\n#![expect(unsafe_code, reason = \"maps\")]\n{text}");
        assert_eq!(
            places(&[("crates/agent/src/sys/a.rs", &explained)]),
            [""; 0]
        );
    }

    #[test]
    fn the_word_in_a_comment_or_a_string_is_no_unsafe_code() {
        let text = "//! Not unsafe.\nconst A: &str = \"unsafe\";\n#![deny(unsafe_code)]\n";
        assert_eq!(unsafe_line(text), None);
        assert_eq!(unsafe_line(&format!("{text}unsafe fn a() {{}}\n")), Some(4));
    }

    #[test]
    fn the_type_of_a_function_pointer_is_no_unsafe_code() {
        let text = "type F = unsafe extern \"C\" fn(u8);\n";
        assert_eq!(unsafe_line(text), None);
        assert_eq!(unsafe_line("unsafe extern \"C\" fn f(a: u8) {}\n"), Some(1));
    }

    #[test]
    fn a_place_without_unsafe_does_not_stay_in_the_list() {
        let mut findings = Vec::new();
        unsafe_places_are_used(&Tree::default(), &mut findings);
        assert_eq!(findings.len(), UNSAFE_PLACES.len());
    }

    #[test]
    fn refuses_a_kernel_crate_without_its_header() {
        let bare = Tree::of(&[("crates/nt/src/lib.rs", "//! N.\n")]);
        let count = |tree: &Tree| {
            let mut findings = Vec::new();
            kernel_header(&tree.files[0], &mut findings);
            findings.len()
        };
        assert_eq!(count(&bare), 1 + KERNEL_LINTS.len());
        let header = format!(
            "//! N.\n#![no_std]\n#![deny({})]\n",
            KERNEL_LINTS.join(", ")
        );
        assert_eq!(count(&Tree::of(&[("crates/nt/src/lib.rs", &header)])), 0);
        let in_comment = format!(
            "//! N.\n#![no_std]\n// #![deny({})]\n",
            KERNEL_LINTS.join(", ")
        );
        assert_eq!(
            count(&Tree::of(&[("crates/nt/src/lib.rs", &in_comment)])),
            KERNEL_LINTS.len()
        );
    }
}

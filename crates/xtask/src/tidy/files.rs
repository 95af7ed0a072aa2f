//! Rules for every text file: its name, its size, its white space, and words that mean somebody
//! meant to come back.

use super::{File, Finding, Tree};

/// The longest a Rust file may be, its tests not counted. A file that needs more is two files.
const LINES_MAX: usize = 600;

/// The longest a file of tests may be.
const TEST_LINES_MAX: usize = 1000;

/// Longer files, each with its reason.
const LONG_FILES: &[(&str, &str)] = &[];

/// What must not be left in a file. They are put together here so that this file is clean too.
const LEFTOVERS: &[(&str, &str)] = &[
    (concat!("TO", "DO"), "do it now or file an issue"),
    (concat!("FIX", "ME"), "do it now or file an issue"),
    (concat!("XX", "X "), "do it now or file an issue"),
    (
        concat!("#[igno", "re"),
        "a test that does not run proves nothing",
    ),
    (
        concat!("should_", "panic"),
        "test the error and not the panic",
    ),
    (concat!("todo", "!("), "finish it"),
    (concat!("unimple", "mented!("), "finish it"),
];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/tmp/", "st/"),
    concat!("/tmp/", "lead"),
    concat!("/root/", "."),
    concat!("/home/", "runner"),
];

/// All rules of this file.
pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in &tree.files {
        module_file(file, &mut findings);
        size(file, &mut findings);
        if !is_data(file) {
            white_space(file, &mut findings);
            leftovers(file, &mut findings);
            machine_paths(file, &mut findings);
        }
    }
    for (path, _reason) in LONG_FILES {
        let is_long = tree
            .file(path)
            .is_some_and(|file| code_line_count(file) > LINES_MAX);
        if !is_long {
            findings.push(Finding::new(
                *path,
                "needs no place in LONG_FILES any more; remove it there",
            ));
        }
    }
    findings
}

/// Data of tests and what tools write: it is as it is.
fn is_data(file: &File) -> bool {
    file.extension() == Some("lock")
        || file.path.contains("/golden/")
        || file.path.contains("/tests/data/")
        || file.path.starts_with("LICENSE-")
}

fn module_file(file: &File, findings: &mut Vec<Finding>) {
    if file.path.ends_with("/mod.rs") {
        findings.push(Finding::new(
            &file.path,
            "name the module's file after the module, not mod.rs",
        ));
    }
}

fn size(file: &File, findings: &mut Vec<Finding>) {
    if !file.is_rust() || LONG_FILES.iter().any(|(path, _)| *path == file.path) {
        return;
    }
    let max = if is_test_file(file) {
        TEST_LINES_MAX
    } else {
        LINES_MAX
    };
    let count = code_line_count(file);
    if count > max {
        findings.push(Finding::new(
            &file.path,
            format!("has {count} lines; split it below {max}, or list it in LONG_FILES with why"),
        ));
    }
}

fn is_test_file(file: &File) -> bool {
    file.path.contains("/tests/")
}

/// The lines above the module of tests, which comes last.
fn code_line_count(file: &File) -> usize {
    let tests = "\n#[cfg(test)]\nmod tests {";
    let code = file
        .text
        .find(tests)
        .map_or(file.text.as_str(), |position| &file.text[..position]);
    code.lines().count()
}

fn white_space(file: &File, findings: &mut Vec<Finding>) {
    // Not `lines`, which would take a carriage return for part of the line's end.
    for (number, line) in (1..).zip(file.text.split('\n')) {
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::new(
                format!("{}:{number}", file.path),
                "remove the white space at the end of the line",
            ));
        }
    }
    if !file.text.is_empty() && !file.text.ends_with('\n') {
        findings.push(Finding::new(&file.path, "end the last line"));
    }
    if file.text.ends_with("\n\n") {
        findings.push(Finding::new(
            &file.path,
            "remove the empty lines at the end",
        ));
    }
}

fn leftovers(file: &File, findings: &mut Vec<Finding>) {
    for (number, line) in file.lines() {
        for (word, cure) in LEFTOVERS {
            if line.contains(word) {
                findings.push(Finding::new(
                    format!("{}:{number}", file.path),
                    format!("`{}` is left: {cure}", word.trim()),
                ));
            }
        }
    }
}

fn machine_paths(file: &File, findings: &mut Vec<Finding>) {
    for (number, line) in file.lines() {
        for path in MACHINE_PATHS {
            if begins_a_path(line, path) {
                findings.push(Finding::new(
                    format!("{}:{number}", file.path),
                    format!("`{path}` exists on one machine only"),
                ));
            }
        }
    }
}

/// Whether `path` stands in the line and is not the middle of a longer path.
fn begins_a_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(position, _)| {
        !line[..position].ends_with(|before: char| {
            before.is_alphanumeric() || matches!(before, '_' | '-' | '.' | '}' | ')' | '*')
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(path: &str, text: &str) -> Vec<String> {
        check(&Tree::of(&[(path, text)]))
            .into_iter()
            .map(|finding| finding.text)
            .collect()
    }

    #[test]
    fn a_clean_file_has_no_finding() {
        assert_eq!(texts("crates/a/src/lib.rs", "//! A.\n"), [""; 0]);
    }

    #[test]
    fn refuses_a_mod_rs() {
        assert_eq!(texts("crates/a/src/b/mod.rs", "//! B.\n").len(), 1);
    }

    #[test]
    fn refuses_a_long_file_and_does_not_count_its_tests() {
        let long = "// line\n".repeat(LINES_MAX + 1);
        assert_eq!(texts("crates/a/src/lib.rs", &long).len(), 1);
        let tested = format!(
            "{}\n#[cfg(test)]\nmod tests {{\n{}}}\n",
            "// line\n".repeat(LINES_MAX),
            "// line\n".repeat(LINES_MAX)
        );
        assert_eq!(texts("crates/a/src/lib.rs", &tested), [""; 0]);
        assert_eq!(texts("crates/a/tests/all.rs", &long), [""; 0]);
    }

    #[test]
    fn refuses_white_space_at_the_end() {
        assert_eq!(texts("a.md", "text \n").len(), 1);
        assert_eq!(texts("a.md", "text\r\nmore").len(), 2);
        assert_eq!(texts("a.md", "text\n\n").len(), 1);
    }

    #[test]
    fn refuses_every_leftover() {
        for (word, _) in LEFTOVERS {
            assert_eq!(
                texts("a.rs", &format!("// {word} \n.\n")).len(),
                2,
                "{word}"
            );
        }
    }

    #[test]
    fn refuses_a_path_of_one_machine_and_not_its_like() {
        let path = MACHINE_PATHS[0];
        assert_eq!(texts("a.md", &format!("see {path}x\n")).len(), 1);
        assert_eq!(texts("a.md", &format!("see net{path}x\n")), [""; 0]);
    }
}

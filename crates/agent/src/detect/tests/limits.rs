//! Rules that nobody should be hurt by.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::folder::{DEPTH_MAX, FILE_SIZE_MAX};
use super::super::rule_set::TEXT_SIZE_MAX;
use super::super::{Detector, Level, RuleSet};
use super::{NO_BUDGET, directory_of, load_all, look, refusal, rule, start};

#[test]
fn a_rule_that_takes_too_long_is_switched_off_and_counted_and_the_others_stay() {
    let slow = rule(
        "windows",
        "process_creation",
        "CommandLine|re: '(a+b?)+(a+b?)+(a+c?)+z'",
    );
    let quick = rule("windows", "process_creation", "CommandLine: a");
    // Nothing is done in no time: whoever asks is too slow.
    let mut none = Detector::new(load_all(&[&slow, &quick]), Duration::ZERO);
    look(&mut none, &start("aaaa"));
    assert_eq!(none.off_count(), 2);
    assert!(look(&mut none, &start("a")).is_empty());
    let mut enough = Detector::new(load_all(&[&slow, &quick]), NO_BUDGET);
    look(&mut enough, &start(&"a".repeat(10_000)));
    assert_eq!(enough.off_count(), 0);
    assert_eq!(look(&mut enough, &start("a")).len(), 1);
}

#[test]
fn a_regular_expression_that_would_be_too_large_is_refused() {
    let lines = "CommandLine|re: '((a{1,200}){1,200}){1,200}'";
    let rule = rule("windows", "process_creation", lines);
    assert!(refusal(&rule).contains("size limit"), "{}", refusal(&rule));
}

#[test]
fn texts_that_stand_in_every_match_have_a_limit() {
    let long = "x".repeat(TEXT_SIZE_MAX + 1);
    let rule = rule("windows", "process_creation", "CommandLine: a").replace("ada", &long);
    assert!(refusal(&rule).contains("must not have more than"));
}

#[test]
fn yaml_that_grows_without_end_is_refused() {
    let level = |level: usize| {
        let before = format!("*a{}, ", level - 1).repeat(10);
        format!("a{level}: &a{level} [{before}]\n")
    };
    let levels: String = (1..12).map(level).collect();
    let bomb = format!("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n{levels}");
    let rule_set = load_all(&[&bomb]);
    assert_eq!((rule_set.rule_count(), rule_set.refused().len()), (0, 1));
}

#[test]
fn a_directory_that_is_not_there_says_what_to_name() {
    let error = RuleSet::load(Path::new("/nothing/here"), Level::Medium).unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("/nothing/here") && text.contains("name a directory"),
        "{text}"
    );
}

#[test]
fn files_are_read_within_limits_and_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let rule = rule("windows", "process_creation", "CommandLine: a");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir_all(path("b/c")).unwrap();
    fs::write(path("b/c/rule.YAML"), &rule).unwrap();
    fs::write(path("readme.md"), "no rule").unwrap();
    fs::write(
        path("large.yml"),
        "#".repeat(usize::try_from(FILE_SIZE_MAX).unwrap() + 1),
    )
    .unwrap();
    fs::write(path("latin.yml"), b"title: caf\xe9").unwrap();
    let deep = path(&"d/".repeat(DEPTH_MAX + 1));
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("deep.yml"), &rule).unwrap();
    let rule_set = RuleSet::load(directory.path(), Level::Medium).unwrap();
    assert_eq!(rule_set.rule_count(), 1);
    let refused: Vec<String> = rule_set.refused().iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
    for what in ["deep", "larger than", "not UTF-8"] {
        assert!(
            refused.iter().any(|refused| refused.contains(what)),
            "{what} {refused:?}"
        );
    }
    let alone = RuleSet::load(&path("b/c/rule.YAML"), Level::Medium).unwrap();
    assert_eq!(alone.rule_count(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_out_of_the_directory_is_refused_and_one_inside_is_read_once() {
    use std::os::unix::fs::symlink;
    let rule = rule("windows", "process_creation", "CommandLine: a");
    let (inside, outside) = (directory_of(&[&rule]), directory_of(&[&rule]));
    symlink(outside.path(), inside.path().join("out")).unwrap();
    symlink(
        outside.path().join("000.yml"),
        inside.path().join("out.yml"),
    )
    .unwrap();
    symlink(
        inside.path().join("000.yml"),
        inside.path().join("twice.yml"),
    )
    .unwrap();
    symlink(inside.path(), inside.path().join("round")).unwrap();
    symlink("nothing", inside.path().join("dangling.yml")).unwrap();
    let rule_set = RuleSet::load(inside.path(), Level::Medium).unwrap();
    assert_eq!(rule_set.rule_count(), 1);
    let refused: Vec<String> = rule_set.refused().iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 3, "{refused:?}");
}

//! Rules that nobody should be hurt by.

use std::fs;
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::super::folder::{DEPTH_MAX, FILE_SIZE_MAX, FolderError};
use super::super::rule_set::TEXT_SIZE_MAX;
use super::super::{Detector, Level, Reloading, RuleSet, Watched};
use super::{NO_BUDGET, directory_of, exec, load_all, look, refusal, rule, start};

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

/// Several threads read them, and who looks must not see it.
#[test]
fn a_thousand_files_come_out_in_their_order() {
    const COUNT: usize = 1_000;
    let texts: Vec<String> = (0..COUNT)
        .map(|number| {
            let of_file = rule("linux", "process_creation", "CommandLine|contains: word");
            let of_file = of_file.replace("a rule", &format!("rule {number}"));
            // Some of them are of no use.
            if number % 100 == 7 {
                "title: [".to_owned()
            } else {
                of_file
            }
        })
        .collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let directory = directory_of(&texts);
    let rule_set = RuleSet::load(directory.path(), Level::Medium).unwrap();
    let refused: Vec<_> = rule_set
        .refused()
        .iter()
        .map(|it| it.path.clone())
        .collect();
    assert_eq!((rule_set.rule_count(), refused.len()), (COUNT - 10, 10));
    let tallies = rule_set.tallies().iter();
    assert_eq!(tallies.map(|it| it.able_count).sum::<usize>(), COUNT - 10);
    let name = |number: &usize| directory.path().join(format!("{number:03}.yml"));
    let mut files: Vec<_> = (7..COUNT).step_by(100).collect();
    files.sort_by_key(name);
    assert_eq!(refused, files.iter().map(name).collect::<Vec<_>>());
    let found = look(
        &mut Detector::new(rule_set, NO_BUDGET),
        &exec("/bin/x", "a word"),
    );
    let titles: Vec<String> = found.iter().map(|it| it.rule_title.to_string()).collect();
    let mut numbers: Vec<usize> = (0..COUNT).filter(|number| number % 100 != 7).collect();
    numbers.sort_by_key(name);
    let expected: Vec<String> = numbers.iter().map(|it| format!("rule {it}")).collect();
    assert_eq!(titles, expected);
}

/// Most rules there are are for the other system, and took the recorder's time with each that changed.
#[test]
fn who_records_loads_the_rules_for_what_is_recorded_here() {
    let [own, other] = if cfg!(windows) {
        ["windows", "linux"]
    } else {
        ["linux", "windows"]
    };
    let of = |product| rule(product, "process_creation", "CommandLine: a");
    let directory = directory_of(&[&of(own), &of(other)]);
    let rule_set = RuleSet::load_for_here(directory.path(), Level::Medium).unwrap();
    assert_eq!((rule_set.rule_count(), rule_set.elsewhere_count()), (1, 1));
    let rule_set = RuleSet::load(directory.path(), Level::Medium).unwrap();
    assert_eq!((rule_set.rule_count(), rule_set.elsewhere_count()), (2, 0));
}

/// A directory that changes while it is used.
struct Changing {
    directory: tempfile::TempDir,
    reloading: Reloading,
    told: mpsc::Receiver<Result<(usize, usize), String>>,
}

impl Changing {
    fn new(text: &str) -> Self {
        let directory = directory_of(&[text]);
        Self::with(directory, |_directory| {})
    }

    /// The same, where something happens after its rules were loaded, and before they are followed.
    fn with(directory: tempfile::TempDir, meanwhile_fn: impl FnOnce(&Path)) -> Self {
        let mut watched = Watched::new(directory.path(), Level::Informational);
        watched.interval = Duration::from_millis(20);
        watched.load_fn = RuleSet::load;
        let rule_set = watched.load().unwrap();
        meanwhile_fn(directory.path());
        let (sender, told) = mpsc::channel();
        let told_fn = Box::new(move |loaded: Result<&RuleSet, &FolderError>| {
            let counts = |it: &RuleSet| (it.rule_count(), it.refused().len());
            let _ended = sender.send(loaded.map(counts).map_err(ToString::to_string));
        });
        let detector = Detector::new(rule_set, NO_BUDGET);
        Self {
            reloading: Reloading::new(detector, watched, told_fn).unwrap(),
            directory,
            told,
        }
    }

    fn told(&self) -> Result<(usize, usize), String> {
        self.told.recv_timeout(Duration::from_secs(20)).unwrap()
    }

    /// How many rules find something, once a rule is there that finds this command line.
    fn found_when(&mut self, line: &str, is_found: bool) {
        let until = Instant::now() + Duration::from_secs(20);
        loop {
            self.reloading.refresh();
            let mut found = Vec::new();
            self.reloading.look(&start(line), &mut found);
            if found.is_empty() != is_found {
                return;
            }
            assert!(Instant::now() < until, "{line}");
        }
    }
}

#[test]
fn rules_that_change_are_loaded_again_as_a_whole_and_told() {
    let of = |line: &str| {
        rule(
            "windows",
            "process_creation",
            &format!("CommandLine: {line}"),
        )
    };
    let mut changing = Changing::new(&of("one"));
    changing.found_when("one", true);
    fs::write(changing.directory.path().join("two.yml"), of("two")).unwrap();
    assert_eq!(changing.told(), Ok((2, 0)));
    changing.found_when("two", true);
    changing.found_when("one", true);
    // A file that is broken is refused, and the others are there.
    fs::write(changing.directory.path().join("two.yml"), "title: [").unwrap();
    assert_eq!(changing.told(), Ok((1, 1)));
    changing.found_when("two", false);
    changing.found_when("one", true);
}

/// What was written after the rules were loaded and before somebody followed them was not seen.
#[test]
fn a_rule_that_is_written_while_they_are_loaded_is_there_at_the_next_look() {
    let rule = |line: &str| rule("windows", "process_creation", line);
    let directory = directory_of(&[&rule("CommandLine: one")]);
    let late = rule("CommandLine: two");
    let mut changing = Changing::with(directory, |directory| {
        fs::write(directory.join("two.yml"), late).unwrap();
    });
    assert_eq!(changing.told(), Ok((2, 0)));
    changing.found_when("two", true);
}

#[test]
fn rules_that_cannot_be_read_any_more_stay_as_they_were() {
    let one = rule("windows", "process_creation", "CommandLine: one");
    let mut changing = Changing::new(&one);
    fs::remove_dir_all(changing.directory.path()).unwrap();
    let told = changing.told().unwrap_err();
    assert!(told.contains("name a directory of Sigma rules"), "{told}");
    changing.found_when("one", true);
    fs::create_dir(changing.directory.path()).unwrap();
    fs::write(changing.directory.path().join("one.yml"), one).unwrap();
    assert_eq!(changing.told(), Ok((1, 0)));
}

//! What other engines have wrong, a test each; `shapes` has the fields, `limits` rules that would do harm.

mod limits;
mod pipelines;
mod shapes;

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use event::ProcessKey;
use tempfile::TempDir;

use super::taxonomy::SOURCES;
use super::{Detector, Level, RuleSet};
use crate::trail::{
    Body, Detection, Event, Further, ImageLoad, LoadDetails, Origin, ProcessExec, ProcessStart,
    Program, ProgramFile, SensorStart, StartDetails, Text, Time, UserId,
};

/// Longer than any test takes.
const NO_BUDGET: Duration = Duration::from_hours(1);

fn event_of(body: impl Into<Body>) -> Event {
    Event {
        sequence: 42,
        time: Time(1_800_000_000_000_000_000),
        origin: Origin::of_host("atlas"),
        process_id: 4242,
        process_key: ProcessKey(7),
        body: body.into(),
        kept_by: None,
        truncated: Vec::new(),
        missing: Vec::new(),
        further: Further::default(),
    }
}

fn program(image: &str, command_line: &str) -> Program {
    Program {
        image: Some(image.into()),
        command_line: Some(Text::from(command_line)),
        ..Program::default()
    }
}

/// A program of Linux that was run.
fn exec(image: &str, command_line: &str) -> Event {
    event_of(ProcessExec {
        program: program(image, command_line),
        ..ProcessExec::default()
    })
}

/// A process of Windows that was created.
fn start_of(program: Program) -> Event {
    event_of(ProcessStart {
        program: Program {
            user_id: Some(UserId::Sid("S-1-5-18".into())),
            ..program
        },
        ..ProcessStart::default()
    })
}

fn start(command_line: &str) -> Event {
    start_of(program("C:\\Windows\\System32\\cmd.exe", command_line))
}

fn with_file(file: ProgramFile) -> Event {
    let mut event = start("a.exe");
    if let Body::ProcessStart(start) = &mut event.body {
        start.details = Some(Box::new(StartDetails {
            file,
            ..StartDetails::default()
        }));
    }
    event
}

fn load(image: &str, details: LoadDetails) -> Event {
    event_of(ImageLoad {
        process_image: Some("C:\\Windows\\explorer.exe".into()),
        image: Some(image.into()),
        details: Some(Box::new(details)),
        ..ImageLoad::default()
    })
}

/// A rule with one selection, `lines`, that has to hold.
fn rule(product: &str, category: &str, lines: &str) -> String {
    rule_with(product, category, lines, "selection")
}

/// A rule whose detection has the `lines` as its selection, or selections of their own with names.
fn rule_with(product: &str, category: &str, lines: &str, condition: &str) -> String {
    let names = lines.lines().any(|line| line.starts_with('@'));
    let indented: String = lines
        .lines()
        .map(|line| match line.strip_prefix('@') {
            Some(name) => format!("  {name}:\n"),
            None => format!("    {line}\n"),
        })
        .collect();
    let head = if names { "" } else { "  selection:\n" };
    format!(
        "title: a rule\nid: r-1\nauthor: ada\nlevel: high\ntags: [attack.execution]\n\
         logsource: {{product: {product}, category: {category}}}\n\
         detection:\n{head}{indented}  condition: {condition}\n"
    )
}

fn directory_of(rules: &[&str]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (number, rule) in rules.iter().enumerate() {
        fs::write(directory.path().join(format!("{number:03}.yml")), rule).unwrap();
    }
    directory
}

fn load_all(rules: &[&str]) -> RuleSet {
    RuleSet::load(directory_of(rules).path(), Level::Informational).unwrap()
}

fn look(detector: &mut Detector, event: &Event) -> Vec<Detection> {
    let mut found = Vec::new();
    detector.look(event, &mut found);
    found
}

fn matches(rule: &str, event: &Event) -> bool {
    let rule_set = load_all(&[rule]);
    assert_eq!(rule_set.refused(), [], "{rule}");
    !look(&mut Detector::new(rule_set, NO_BUDGET), event).is_empty()
}

/// Whether a process creation of Windows with that command line matches.
fn windows(lines: &str, command_line: &str) -> bool {
    matches(
        &rule("windows", "process_creation", lines),
        &start(command_line),
    )
}

fn refusal(rule: &str) -> String {
    let rule_set = load_all(&[rule]);
    assert_eq!(rule_set.rule_count(), 0);
    let [refused] = rule_set.refused() else {
        panic!("{:?}", rule_set.refused());
    };
    refused.to_string()
}

// Row 1: another engine expanded `-` alone, and 25 rules write `/`.
#[test]
fn a_dash_stands_for_every_other_dash_and_only_where_a_word_begins() {
    let slash = "CommandLine|contains|windash: ' /c '";
    for dash in ['-', '/', '\u{2013}', '\u{2014}', '\u{2015}'] {
        assert!(windows(slash, &format!("cmd {dash}c dir")), "{dash}");
    }
    assert!(!windows(slash, "cmd +c dir"));
    let inside = "CommandLine|contains|windash: 'x-y /z'";
    assert!(windows(inside, "x-y -z"));
    assert!(!windows(inside, "x/y /z"));
}

#[test]
fn many_dashes_are_a_pattern_and_mean_the_same() {
    let many = "CommandLine|contains|windash: '-a -b -c -d'";
    assert!(windows(many, "x.exe /A -b \u{2014}c /d"));
    assert!(!windows(many, "x.exe /a -b -c d"));
}

#[test]
fn all_values_with_dashes_are_asked_for_and_not_all_their_dashes() {
    let all = "CommandLine|contains|all|windash:\n  - ' -a'\n  - ' -b'";
    assert!(windows(all, "x /a -b"));
    assert!(!windows(all, "x /a"));
}

// Row 2: the wildcard became a plain asterisk.
#[test]
fn a_wildcard_beside_a_dash_stays_one() {
    let lines = "CommandLine|contains|windash: 'where* -r'";
    assert!(windows(lines, "where.exe /r c:\\"));
    assert!(!windows(lines, "where.exe c:\\"));
}

// Row 3: most needles were never found.
#[test]
fn base64_is_found_wherever_it_begins() {
    use base64::Engine as _;
    let encode = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
    let lines = "CommandLine|base64offset|contains: 'IEX '";
    for before in ["", "a", "ab", "abc"] {
        for after in ["(x)", "(xy)", "(xyz)"] {
            let encoded = encode(&format!("{before}IEX {after}"));
            assert!(
                windows(lines, &format!("powershell {encoded}")),
                "{before} {after}"
            );
        }
    }
    assert!(!windows(
        lines,
        &format!("powershell {}", encode("nothing"))
    ));
    let wide: Vec<u8> = "aIEX (x)"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let wide = base64::engine::general_purpose::STANDARD.encode(wide);
    assert!(windows(
        "CommandLine|wide|base64offset|contains: 'IEX '",
        &wide
    ));
    assert!(windows(
        "CommandLine|base64|contains: 'foo bar'",
        &encode("foo bar")
    ));
}

// Row 4: what followed a line feed was not seen.
#[test]
fn a_wildcard_does_not_end_with_the_line() {
    let lines = "CommandLine: 'sh -c*nc *'";
    let linux = rule("linux", "process_creation", lines);
    assert!(matches(&linux, &exec("/bin/sh", "sh -c \"true\nnc h 1\"")));
    let single = rule("linux", "process_creation", "CommandLine: 'a?b'");
    assert!(matches(&single, &exec("/bin/a", "a\nb")));
    assert!(!matches(&single, &exec("/bin/a", "ab")));
    let ends = rule("linux", "process_creation", "CommandLine: '*nc h'");
    assert!(matches(&ends, &exec("/bin/a", "true\nnc h")));
    assert!(!matches(&ends, &exec("/bin/a", "true\nnc h 1")));
}

// Row 5: the rule fired on an empty user.
#[test]
fn a_placeholder_without_values_is_refused_and_told() {
    let expand = rule("windows", "process_creation", "User|expand: '%Servers%'");
    assert!(
        refusal(&expand).contains("%Servers%"),
        "{}",
        refusal(&expand)
    );
}

// Row 6.
#[test]
fn a_backslash_escapes_a_wildcard_and_never_the_one_of_a_modifier() {
    let tools = |image: &str| {
        let lines = "Image|startswith: 'D:\\Tools\\'";
        let event = start_of(program(image, "a"));
        matches(&rule("windows", "process_creation", lines), &event)
    };
    assert!(tools("D:\\Tools\\a.exe") && !tools("D:\\Toolset\\a.exe"));
    assert!(windows("CommandLine: 'a\\*b'", "a*b") && !windows("CommandLine: 'a\\*b'", "axb"));
    let wild = "CommandLine: 'a\\\\*b'";
    assert!(windows(wild, "a\\xb") && !windows(wild, "a*b"));
    let both_plain = "CommandLine: 'a\\\\\\*b'";
    assert!(windows(both_plain, "a\\*b") && !windows(both_plain, "a\\xb"));
    assert!(windows("CommandLine: 'a\\\\\\\\b'", "a\\\\b"));
    assert!(!windows("CommandLine: 'a\\\\\\\\b'", "a\\b"));
}

// Row 7.
#[test]
fn nothing_but_star_and_question_mark_is_a_wildcard() {
    for (value, other) in [
        ("a_b", "axb"),
        ("a%b", "axxb"),
        ("a[x]b", "axb"),
        ("a.b", "axb"),
    ] {
        let lines = format!("CommandLine|contains: '{value}'");
        assert!(windows(&lines, value) && !windows(&lines, other), "{value}");
        // As a part of a pattern as well.
        let lines = format!("CommandLine: '*{value}*z'");
        let ended = |text: &str| format!("{text} z");
        assert!(
            windows(&lines, &ended(value)) && !windows(&lines, &ended(other)),
            "{value}"
        );
    }
}

// Row 8: others fold ASCII alone, which is an evasion.
#[test]
fn every_letter_is_folded_and_cased_is_not() {
    let lines = "Image|endswith: '\\ÉTÉ.exe'";
    let rule = rule("windows", "process_creation", lines);
    assert!(matches(&rule, &start_of(program("c:\\été.EXE", "a"))));
    assert!(windows("CommandLine: '*ÉTÉ*x'", "été x"));
    assert!(windows("CommandLine|contains|cased: 'Été'", "Été"));
    assert!(!windows("CommandLine|contains|cased: 'Été'", "été"));
    assert!(!windows("CommandLine|cased: '*Été*x'", "été x"));
}

// Row 9.
#[test]
fn selections_with_an_underscore_are_not_among_them() {
    let lines = "@a\nCommandLine: nothing\n@_b\nCommandLine|contains: cmd";
    let rule = |condition| rule_with("windows", "process_creation", lines, condition);
    assert!(!matches(&rule("1 of them"), &start("cmd")));
    assert!(matches(&rule("1 of _*"), &start("cmd")));
}

// Row 10: in SQL a filter over nothing is neither true nor false.
#[test]
fn a_filter_over_a_field_that_is_not_there_does_not_hold() {
    let lines = "@sel\nCommandLine|contains: cmd\n@filter\nParentImage|endswith: '\\a.exe'";
    let rule = rule_with("windows", "process_creation", lines, "sel and not filter");
    assert!(matches(&rule, &start("cmd")));
}

// Row 11.
#[test]
fn empty_null_absent_and_a_hyphen_are_four_things() {
    let absent = start_of(Program {
        command_line: None,
        ..program("C:\\a.exe", "")
    });
    let of =
        |lines: &str, event: &Event| matches(&rule("windows", "process_creation", lines), event);
    assert!(!of("CommandLine: ''", &absent) && of("CommandLine: ''", &start("")));
    assert!(of("CommandLine: null", &absent) && !of("CommandLine: null", &start("")));
    assert!(of("CommandLine|exists: false", &absent) && !of("CommandLine|exists: true", &absent));
    assert!(of("CommandLine|exists: true", &start("")));
    for event in [&absent, &start("")] {
        assert!(of("CommandLine:\n  - null\n  - ''", event));
    }
    // A file that was looked at and has no company is told as Sysmon does; one that was not is not.
    let hashed = with_file(ProgramFile {
        sha256: Some("ab".into()),
        ..ProgramFile::default()
    });
    assert!(of("Company: '-'", &hashed) && !of("Company: '-'", &start("a")));
}

// Row 12.
#[test]
fn what_is_not_understood_is_refused_by_name_and_the_next_rule_goes_on() {
    let good = rule("windows", "process_creation", "CommandLine: a");
    let without_condition = good.replace("  condition: selection\n", "");
    let modifier = rule("windows", "process_creation", "CommandLine|contians: a");
    let selection = rule_with("windows", "process_creation", "CommandLine: a", "other");
    let selector = rule_with(
        "windows",
        "process_creation",
        "CommandLine: a",
        "all of other*",
    );
    let counted = rule_with(
        "windows",
        "process_creation",
        "CommandLine: a",
        "selection | count() > 5",
    );
    let array = format!(
        "sigma-version: 3\n{}",
        rule("windows", "process_creation", "CommandLine[any]: a")
    );
    let bad = [
        &without_condition,
        &modifier,
        &selection,
        &selector,
        &counted,
        &array,
    ];
    for bad in bad {
        let rule_set = load_all(&[bad, &good]);
        assert_eq!(
            (rule_set.rule_count(), rule_set.refused().len()),
            (1, 1),
            "{bad}"
        );
        let refused = &rule_set.refused()[0];
        assert!(refused.path.ends_with("000.yml"), "{refused}");
        assert_eq!(
            look(&mut Detector::new(rule_set, NO_BUDGET), &start("a")).len(),
            1
        );
    }
    let named = [
        (&modifier, "contians"),
        (&selection, "other"),
        (&selector, "other*"),
    ];
    for (rule, name) in named {
        assert!(refusal(rule).contains(name), "{}", refusal(rule));
    }
}

#[test]
fn what_is_no_rule_of_one_event_is_told() {
    let correlation = "title: many\ncorrelation:\n  type: event_count\n  rules: [a]\n  \
                       group-by: [User]\n  timespan: 1h\n  condition:\n    gte: 5\n";
    assert!(
        refusal(correlation).contains("correlation"),
        "{}",
        refusal(correlation)
    );
    assert!(refusal("- a list").contains("mapping"));
    assert!(refusal("a: [").contains("YAML"));
}

// Row 13.
#[test]
fn one_rule_that_does_not_compile_takes_no_other_with_it() {
    let mut rules = vec![rule("windows", "process_creation", "CommandLine: a"); 9];
    rules.insert(
        4,
        rule("windows", "process_creation", "CommandLine|re: 'a(?=b)'"),
    );
    let rules: Vec<&str> = rules.iter().map(|rule| &**rule).collect();
    let rule_set = load_all(&rules);
    assert_eq!((rule_set.rule_count(), rule_set.refused().len()), (9, 1));
}

// Row 14: 70 rules for process creations are of macOS.
#[test]
fn a_rule_of_another_product_category_or_service_never_fires() {
    let event = exec("/usr/bin/curl", "curl");
    let lines = "Image|endswith: /curl";
    assert!(matches(&rule("linux", "process_creation", lines), &event));
    for (product, category) in [
        ("macos", "process_creation"),
        ("windows", "process_creation"),
        ("linux", "file_event"),
    ] {
        assert!(
            !matches(&rule(product, category, lines), &event),
            "{product} {category}"
        );
    }
    let of_service = rule("linux", "process_creation", lines).replace(
        "category: process_creation",
        "category: process_creation, service: auditd",
    );
    assert!(!matches(&of_service, &event));
    let of_any = rule("linux", "process_creation", lines).replace("product: linux, ", "");
    assert!(matches(&of_any, &event));
}

#[test]
fn a_log_is_of_the_system_its_recording_says() {
    let rule_set = load_all(&[&rule("windows", "process_creation", "CommandLine: a")]);
    let mut detector = Detector::new(rule_set, NO_BUDGET);
    // Neither a SID nor a path tells.
    let unsaid = |host: &str| Event {
        origin: Origin::of_host(host),
        ..event_of(ProcessStart {
            program: Program {
                image: None,
                ..program("", "a")
            },
            ..ProcessStart::default()
        })
    };
    let begin = |host: &str, system: &str| Event {
        origin: Origin::of_host(host),
        ..event_of(SensorStart {
            source: "etw".into(),
            version: "1".into(),
            system: Some(system.to_owned().into()),
        })
    };
    assert!(look(&mut detector, &unsaid("w")).is_empty());
    for (host, system) in [("w", "windows"), ("l", "linux"), ("m", "macos")] {
        look(&mut detector, &begin(host, system));
    }
    assert_eq!(look(&mut detector, &unsaid("w")).len(), 1);
    assert!(look(&mut detector, &unsaid("l")).is_empty());
    assert!(look(&mut detector, &unsaid("m")).is_empty());
}

#[test]
fn what_was_there_before_did_not_happen_now() {
    let mut event = start("a");
    let rule = rule("windows", "process_creation", "CommandLine: a");
    assert!(matches(&rule, &event));
    if let Body::ProcessStart(start) = &mut event.body {
        start.existing = true;
    }
    assert!(!matches(&rule, &event));
}

#[test]
fn a_match_has_the_rule_its_author_and_what_matched() {
    let rule_set = load_all(&[&rule("windows", "process_creation", "CommandLine: a")]);
    let found = look(&mut Detector::new(rule_set, NO_BUDGET), &start("a"));
    let expected = Detection {
        matched_sequence: 42,
        rule_id: Some("r-1".into()),
        rule_title: "a rule".into(),
        rule_level: "high".into(),
        rule_author: Some("ada".into()),
        rule_tags: Some(Arc::new([Text::from("attack.execution")])),
    };
    assert_eq!(found, [expected]);
}

#[test]
fn levels_below_the_one_asked_for_are_counted_and_not_tried() {
    let of_level = |level: &str| {
        rule("windows", "process_creation", "CommandLine: a").replace("level: high", level)
    };
    let (low, none) = (of_level("level: low"), of_level("status: test"));
    let directory = directory_of(&[&low, &none]);
    let rule_set = RuleSet::load(directory.path(), Level::Medium).unwrap();
    assert_eq!(
        (rule_set.rule_count(), rule_set.tallies()[1].below_count),
        (1, 1)
    );
    let found = look(&mut Detector::new(rule_set, NO_BUDGET), &start("a"));
    assert_eq!(found[0].rule_level, "medium");
}

#[test]
fn the_document_has_every_name_that_rules_use_and_what_it_is_of_ours() {
    let document = include_str!("../../../../docs/DETECT.md");
    for source in &SOURCES {
        let section = format!("### {} `{}`", source.system.name(), source.category);
        let rest = document
            .split_once(&section)
            .unwrap_or_else(|| panic!("{section}"))
            .1;
        let section = rest.split("\n#").next().unwrap();
        for column in source.columns {
            let ours: Vec<_> = column
                .ours
                .iter()
                .map(|field| format!("`{}`", field.name))
                .collect();
            let line = format!("| `{}` | {} |", column.sigma, ours.join(", "));
            assert!(section.contains(&line), "{line} is not in {section}");
        }
    }
}

//! Fields in the shape that rules ask for, and an index that changes nothing.

use proptest::prelude::*;
use rsigma_eval::evaluate_rule;

use super::super::Detector;
use super::super::rule_set::number_of;
use super::super::taxonomy::SOURCES;
use super::super::view::View;
use super::{
    NO_BUDGET, event_of, load, load_all, look, matches, program, refusal, rule, rule_with,
    start_of, windows, with_file,
};
use crate::trail::{
    Body, Event, ExecDetails, ImageFile, LoadDetails, Parent, ProcessExec, ProcessExit, Program,
    ProgramFile, Text, ThreadDetails, ThreadStart, UserId,
};

// Row 15: a load of ole32.dll is no event of a process called so.
#[test]
fn image_is_the_process_and_what_it_loads_is_image_loaded() {
    let ole = load("C:\\Windows\\System32\\ole32.dll", LoadDetails::default());
    let of = |lines: &str| matches(&rule("windows", "image_load", lines), &ole);
    assert!(!of("Image|endswith: '\\ole32.dll'"));
    assert!(of("ImageLoaded|endswith: '\\ole32.dll'"));
    assert!(of("Image|endswith: '\\explorer.exe'"));
    let mut driver = load("C:\\Windows\\a.sys", LoadDetails::default());
    if let Body::ImageLoad(load) = &mut driver.body {
        load.kernel_image = true;
    }
    let lines = "ImageLoaded|endswith: '.sys'";
    assert!(matches(&rule("windows", "driver_load", lines), &driver));
    assert!(!matches(&rule("windows", "image_load", lines), &driver));
    let thread = event_of(ThreadStart {
        thread_id: 9,
        process_image: Some("C:\\Windows\\explorer.exe".into()),
        creator_process_id: Some(1),
        creator_thread_id: Some(2),
        remote: true,
        start_address: Some(0x7ff8_0000_1000),
        details: Some(Box::new(ThreadDetails {
            creator_image: Some("C:\\evil.exe".into()),
            creator_command_line: None,
        })),
    });
    let of = |lines: &str| matches(&rule("windows", "create_remote_thread", lines), &thread);
    assert!(
        of("SourceImage|endswith: '\\evil.exe'") && of("TargetImage|endswith: '\\explorer.exe'")
    );
    assert!(!of("SourceImage|endswith: '\\explorer.exe'"));
    assert!(of("StartAddress: '0x00007FF800001000'"));
    let exit = event_of(ProcessExit {
        image: Some("C:\\a.exe".into()),
        ..ProcessExit::default()
    });
    assert!(matches(
        &rule(
            "windows",
            "process_termination",
            "Image|endswith: '\\a.exe'"
        ),
        &exit
    ));
    let creation = load_all(&[&rule(
        "windows",
        "process_creation",
        "TargetImage|endswith: a",
    )]);
    assert_eq!(creation.rule_count(), 0, "a process creation has no target");
}

// Row 16.
#[test]
fn values_have_the_shape_that_rules_ask_for() {
    let mut event = with_file(ProgramFile {
        md5: Some("0a".into()),
        sha256: Some("bc".into()),
        imphash: Some("de".into()),
        ..ProgramFile::default()
    });
    if let Body::ProcessStart(start) = &mut event.body {
        start.program.user = Some("NT AUTHORITY\\SYSTEM".into());
        start.integrity_level = Some("high".into());
    }
    let of = |lines: &str| matches(&rule("windows", "process_creation", lines), &event);
    assert!(of("User|contains: 'AUTHORI'"));
    assert!(of("IntegrityLevel: High") && of("IntegrityLevel: 'S-1-16-12288'"));
    assert!(!of("IntegrityLevel: System"));
    assert!(of("Hashes|contains: 'IMPHASH=DE'") && of("Hashes: 'MD5=0A,SHA256=BC,IMPHASH=DE'"));
    assert!(of("Imphash: DE"));
    let run = event_of(ProcessExec {
        details: Some(Box::new(ExecDetails {
            sha256: Some("bc".into()),
            build_id: None,
        })),
        ..ProcessExec::default()
    });
    let of_run = |lines: &str| matches(&rule("linux", "process_creation", lines), &run);
    assert!(of_run("Hashes|contains: 'SHA256=BC'") && of_run("sha256: bc"));
    assert!(!of_run("Hashes|contains: 'SHA256=BD'"));
    let details = LoadDetails {
        signed: Some(false),
        file: ImageFile::default(),
        ..LoadDetails::default()
    };
    let unsigned = load("C:\\a.dll", details);
    for value in ["'false'", "false"] {
        let lines = format!("Signed: {value}");
        assert!(
            matches(&rule("windows", "image_load", &lines), &unsigned),
            "{value}"
        );
    }
    let by = |real: Option<u32>| {
        event_of(ProcessExec {
            program: Program {
                user_id: Some(UserId::Uid(0)),
                real_user_id: real,
                login_user_id: Some(1_001),
                ..program("/usr/bin/su", "su")
            },
            ..ProcessExec::default()
        })
    };
    let of = |logon_id: u32, event: &Event| {
        let lines = format!("LogonId: {logon_id}");
        matches(&rule("linux", "process_creation", &lines), event)
    };
    assert!(of(1_000, &by(Some(1_000))) && of(0, &by(None)));
    assert!(!of(1_001, &by(Some(1_000))));
}

// Row 17.
#[test]
fn a_rule_that_can_never_fire_is_counted_by_what_it_lacks() {
    let lacking = rule(
        "windows",
        "process_creation",
        "GrandParentImage|endswith: a",
    );
    let partly = rule_with(
        "windows",
        "process_creation",
        "@a\nGrandParentImage: a\n@b\nImage: b",
        "1 of them",
    );
    let filtered = rule_with(
        "windows",
        "process_creation",
        "@a\nImage: a\n@b\nGrandParentImage: b",
        "a and not b",
    );
    let rule_set = load_all(&[&lacking, &partly, &filtered]);
    let tally = &rule_set.tallies()[1];
    assert_eq!(
        (tally.able_count, tally.partly_count, tally.unable_count),
        (2, 2, 1)
    );
    assert_eq!(tally.missing.get("GrandParentImage"), Some(&1));
    assert_eq!(rule_set.rule_count(), 2);
}

// Row 18.
#[test]
fn a_regular_expression_is_cased_searched_and_of_one_line_unless_it_says_so() {
    assert!(windows("CommandLine|re: 'Add-[A-Z]'", "x Add-Type y"));
    assert!(!windows("CommandLine|re: 'Add-[A-Z]'", "add-type"));
    assert!(windows("CommandLine|re|i: 'Add-[A-Z]'", "add-type"));
    assert!(
        !windows("CommandLine|re: 'a.b'", "a\nb") && windows("CommandLine|re|s: 'a.b'", "a\nb")
    );
    assert!(!windows("CommandLine|re: '^b'", "a\nb") && windows("CommandLine|re|m: '^b'", "a\nb"));
    for pattern in ["a(?=b)", "(a)\\1", "(?<!a)b"] {
        let rule = rule(
            "windows",
            "process_creation",
            &format!("CommandLine|re: '{pattern}'"),
        );
        assert!(refusal(&rule).contains("regex"), "{}", refusal(&rule));
    }
}

/// A line of a selection, of few letters, so that it matches now and then.
fn any_line() -> impl Strategy<Value = String> {
    let field = prop_oneof![Just("CommandLine"), Just("Image"), Just("ParentImage")];
    let modifiers = prop_oneof![
        Just(""),
        Just("|contains"),
        Just("|startswith"),
        Just("|endswith"),
        Just("|contains|cased"),
        Just("|contains|windash"),
        Just("|re"),
        Just("|contains|all"),
    ];
    let value = prop_oneof!["[abAB]{1,3}", "[ab]\\*[ab]", "-[ab]", "[ab]\\?"];
    (field, modifiers, value.clone(), value).prop_map(|(field, modifiers, one, two)| {
        // A star by itself is no regular expression's beginning, but may end one.
        format!("{field}{modifiers}:\n  - 'x{one}'\n  - 'x{two}'")
    })
}

fn any_rule() -> impl Strategy<Value = String> {
    let conditions = prop_oneof![
        Just("a"),
        Just("a or not b"),
        Just("a and not b"),
        Just("1 of them"),
        Just("all of them"),
        Just("not a and not b"),
    ];
    (any_line(), any_line(), conditions).prop_map(|(a, b, condition)| {
        rule_with(
            "windows",
            "process_creation",
            &format!("@a\n{a}\n@b\n{b}"),
            condition,
        )
    })
}

fn any_start() -> impl Strategy<Value = Event> {
    let text = || "(x[abAB/-]{0,4}){0,3}";
    (text(), text(), proptest::option::of(text())).prop_map(|(image, command_line, parent)| {
        let mut event = start_of(program(&image, &command_line));
        if let Body::ProcessStart(start) = &mut event.body {
            start.parent = Parent {
                parent_image: parent.map(|parent| Text::from(&*parent)),
                ..Parent::default()
            };
        }
        event
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // Row 19: what is to save work must not change what is found; nor what is remembered.
    #[test]
    fn an_index_finds_what_each_rule_by_itself_does(
        rules in proptest::collection::vec(any_rule(), 1..12),
        events in proptest::collection::vec(any_start(), 1..12),
    ) {
        let rules: Vec<&str> = rules.iter().map(|rule| &**rule).collect();
        let rule_set = load_all(&rules);
        prop_assert_eq!(rule_set.refused(), &[]);
        let mut detector = Detector::new(rule_set, NO_BUDGET);
        for event in events.iter().chain(&events) {
            let engines = &detector.rule_set().engines[1];
            let view = View { event, columns: SOURCES[1].columns };
            let all = engines.steady.rules().iter().chain(engines.varying.rules());
            let alone = all.filter(|rule| evaluate_rule(rule, &view).is_some());
            let alone = alone.filter_map(|rule| number_of(rule.id.as_deref())).count();
            prop_assert_eq!(look(&mut detector, event).len(), alone);
        }
    }
}

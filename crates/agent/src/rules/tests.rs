//! What rules promise.

use std::sync::Arc;

use event::Kind;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};

use super::coverage::pattern_covers;
use super::pattern::PatternSet;
use super::{
    Conditions, Decision, Field, FieldCondition, InvalidPattern, Kinds, Pattern, Reason, Rule,
    Rules, Runs, Told, Verdict, never_fires,
};
use crate::trail::{Body, ImageLoad, KeptBy, Name, Parent, ProcessStart, Program, Text, UserId};

mod events;

fn patterns(texts: &[&str]) -> Vec<Pattern> {
    texts
        .iter()
        .map(|text| Pattern::new(text).expect("a pattern"))
        .collect()
}

/// Conditions on fields, each with its patterns.
fn conditions(fields: &[(&str, &[&str])]) -> Conditions {
    let fields = fields.iter().map(|(name, texts)| FieldCondition {
        field: Field::named(name).expect("a field"),
        patterns: patterns(texts),
    });
    Conditions {
        fields: fields.collect(),
        ..Conditions::default()
    }
}

fn rule(fields: &[(&str, &[&str])]) -> Rule {
    Rule {
        conditions: conditions(fields),
        ..Rule::default()
    }
}

fn image(text: &str) -> Rule {
    rule(&[("image", &[text])])
}

fn loaded(program: &str, image: &str) -> Rule {
    rule(&[("image", &[program]), ("loaded_image", &[image])])
}

fn of_events(events: Kinds, rule: Rule) -> Rule {
    Rule { events, ..rule }
}

fn judge(rules: &Rules, program: &Program) -> Verdict {
    rules.judge(Some(Runs::whole(program)))
}

/// Whether the rules keep the load of an image by a program.
fn keeps_load(rules: &Rules, program: &Program, image: Option<&str>, scope: Option<&str>) -> bool {
    let body = Body::ImageLoad(ImageLoad {
        image: image.map(Text::from),
        path_scope: scope.map(|scope| scope.to_owned().into()),
        ..ImageLoad::default()
    });
    decide(rules, program, &body).is_kept()
}

fn decide(rules: &Rules, program: &Program, body: &Body) -> Decision {
    let runs = Runs::whole(program);
    rules.decide(rules.judge(Some(runs)), Some(runs), Told::whole(body))
}

fn program(image: &str) -> Program {
    Program {
        image: Some(Text::from(image)),
        command_line: Some(Text::from("sh -c 'curl http://host/a/b'")),
        user: Some(Arc::from("alice")),
        user_id: Some(UserId::Uid(1000)),
        ..Program::default()
    }
}

fn placed(image: &str, scope: &'static str) -> Program {
    Program {
        path_scope: Some(scope.into()),
        ..program(image)
    }
}

fn scoped(scope: &str, rule: Rule) -> Rule {
    Rule {
        conditions: Conditions {
            path_scope: patterns(&[scope]),
            ..rule.conditions
        },
        ..rule
    }
}

fn rules(include: &[Rule], exclude: &[Rule]) -> Rules {
    Rules::new(include, exclude).expect("rules")
}

#[test]
fn no_rules_keep_everything() {
    let verdict = judge(&Rules::default(), &Program::default());
    assert_eq!(verdict, Verdict::KEEP);
    assert!(Kind::OBSERVED.into_iter().all(|kind| verdict.keeps(kind)));
    let nothing = Program::default();
    assert!(keeps_load(&Rules::default(), &nothing, None, None));
}

/// A program so deep that its path was cut at its root hid behind a rule about the directory at which
/// it was cut, and one in a mount namespace of its own behind a rule about the host's files.
#[cfg(not(windows))]
#[test]
fn a_path_that_is_cut_or_not_the_hosts_is_never_excluded_by_accident() {
    let rules = rules(&[], &[image("*postgresql/*")]);
    let keeps = |program: &Program| judge(&rules, program).keeps(Kind::PROCESS_EXEC);
    assert!(!keeps(&program("/usr/lib/postgresql/x")));
    assert!(keeps(&program("usr/lib/postgresql/x")));
    for scope in ["mount_namespace", "detached", "root", "none"] {
        assert!(keeps(&placed("/usr/lib/postgresql/x", scope)), "{scope}");
    }
}

#[cfg(not(windows))]
#[test]
fn a_path_that_an_include_rule_cannot_judge_is_kept() {
    let rules = rules(&[image("/home/*")], &[]);
    let keeps = |program: &Program| judge(&rules, program).keeps(Kind::PROCESS_EXEC);
    assert!(!keeps(&program("/usr/bin/sort")));
    assert!(keeps(&program("usr/bin/sort")));
    assert!(keeps(&placed("/usr/bin/sort", "mount_namespace")));
    assert!(!keeps(&Program::default()), "it has no path at all");
}

#[cfg(not(windows))]
#[test]
fn a_rule_that_names_the_tree_is_about_that_tree() {
    let rule = scoped("mount_namespace", image("/bin/busybox"));
    let here = placed("/bin/busybox", "mount_namespace");
    let elsewhere = placed("/bin/sh", "mount_namespace");
    let exec = |rules: &Rules, program: &Program| judge(rules, program).keeps(Kind::PROCESS_EXEC);
    let without = rules(&[], std::slice::from_ref(&rule));
    assert!(!exec(&without, &here) && exec(&without, &elsewhere));
    assert!(exec(&without, &program("/bin/busybox")));
    let only = rules(&[rule], &[]);
    assert!(exec(&only, &here) && !exec(&only, &elsewhere));
    assert!(!exec(&only, &program("/bin/busybox")));
    assert!(exec(&only, &program("bin/busybox")), "it was cut");
    // By the tree alone, and by a path of no root.
    let detached = rules(&[], &[scoped("detached", Rule::default())]);
    assert!(!exec(&detached, &placed("x", "detached")) && exec(&detached, &here));
    let relative = rules(&[], &[scoped("detached", image("usr/*"))]);
    assert!(!exec(&relative, &placed("usr/x", "detached")));
    let host = rules(
        &[],
        &[scoped("{host,mount_namespace}", image("/bin/busybox"))],
    );
    assert!(!exec(&host, &here) && !exec(&host, &program("/bin/busybox")));
}

#[cfg(not(windows))]
#[test]
fn the_path_of_a_loaded_image_is_judged_as_that_of_a_program() {
    let load = |image: &str| rule(&[("loaded_image", &[image])]);
    let without = rules(&[], &[load("*/libc.so"), scoped("detached", load("*.so"))]);
    // The scope is that of the image and not that of the program.
    let shell = placed("/bin/sh", "mount_namespace");
    let keeps = |image, scope| keeps_load(&without, &shell, Some(image), scope);
    assert!(!keeps("/lib/libc.so", None));
    assert!(keeps("lib/libc.so", None));
    assert!(keeps("/lib/libc.so", Some("mount_namespace")));
    assert!(!keeps("lib/libc.so", Some("detached")));
    let only = rules(&[load("/opt/*")], &[]);
    let keeps = |image, scope| keeps_load(&only, &program("/bin/sh"), Some(image), scope);
    assert!(!keeps("/lib/libc.so", None) && keeps("/lib/libc.so", Some("mount_namespace")));
}

#[cfg(not(windows))]
#[test]
fn a_rule_about_the_hosts_files_covers_none_of_another_tree() {
    let wide = image("/bin/*");
    let narrow = scoped("mount_namespace", image("/bin/busybox"));
    assert_eq!(never_fires(&narrow, Kinds::ALL, &[(0, &wide)]), None);
    let wide = scoped("*", wide);
    let covered = Some(Reason::Covered { by: 0 });
    assert_eq!(never_fires(&narrow, Kinds::ALL, &[(0, &wide)]), covered);
}

#[test]
fn losses_and_sensor_events_are_kept_whatever_the_rules_say() {
    let verdict = judge(&rules(&[], &[image("*")]), &program("/bin/sh"));
    for kind in [Kind::LOST, Kind::SENSOR_START, Kind::SENSOR_STOP] {
        assert!(verdict.keeps(kind));
    }
    assert!(!verdict.keeps(Kind::PROCESS_EXEC));
}

#[test]
fn exclude_wins_over_include() {
    let rules = rules(&[image("/usr/bin/*")], &[image("*/true")]);
    assert!(judge(&rules, &program("/usr/bin/cat")).keeps(Kind::PROCESS_EXEC));
    assert!(!judge(&rules, &program("/usr/bin/true")).keeps(Kind::PROCESS_EXEC));
}

#[test]
fn with_an_include_rule_only_what_it_matches_is_kept() {
    let rules = rules(&[image("/usr/bin/*")], &[]);
    assert!(!judge(&rules, &program("/opt/tool")).keeps(Kind::PROCESS_START));
    assert!(!judge(&rules, &Program::default()).keeps(Kind::PROCESS_START));
}

#[test]
fn a_star_crosses_directories() {
    let rules = rules(&[], &[image("/tmp/*")]);
    assert!(!judge(&rules, &program("/tmp/a/b/c")).keeps(Kind::PROCESS_EXEC));
    assert!(judge(&rules, &program("/var/tmp/a")).keeps(Kind::PROCESS_EXEC));
}

#[test]
fn every_condition_of_a_rule_has_to_match() {
    let both = |users| rule(&[("command_line", &["*curl*"]), ("user", users)]);
    let keeps = |users| {
        let rules = rules(&[], &[both(users)]);
        judge(&rules, &program("/bin/sh")).keeps(Kind::PROCESS_EXIT)
    };
    assert!(keeps(&["bob"]));
    assert!(!keeps(&["bob", "ali*"]));
}

#[test]
fn a_user_whose_name_is_not_known_yet_is_left_out_by_no_rule() {
    let alice = rule(&[("user", &["alice"])]);
    let unnamed = Program {
        user: None,
        ..program("/bin/sh")
    };
    let unanswered: [(Name, Name); 1] = [("user".into(), "unanswered".into())];
    let runs = Runs {
        missing: &unanswered,
        ..Runs::whole(&unnamed)
    };
    let only_hers = rules(std::slice::from_ref(&alice), &[]);
    assert!(!judge(&only_hers, &unnamed).keeps(Kind::PROCESS_EXEC));
    assert!(only_hers.judge(Some(runs)).keeps(Kind::PROCESS_EXEC));
    let all_but_hers = rules(&[], &[alice]);
    assert!(all_but_hers.judge(Some(runs)).keeps(Kind::PROCESS_EXEC));
}

fn cut<'e>(program: &'e Program, truncated: &'e [Name]) -> Runs<'e> {
    Runs {
        truncated,
        ..Runs::whole(program)
    }
}

/// Whoever has so many arguments that they are cut would hide what they say from an include rule.
#[test]
fn a_command_line_that_was_cut_is_kept_by_who_asks_for_it_and_left_out_by_nobody() {
    let rule = rule(&[("command_line", &["*--secret*"])]);
    let truncated: [Name; 1] = ["command_line".into()];
    let of_line = |line: &str| Program {
        command_line: Some(line.into()),
        ..program("/bin/sh")
    };
    let program = of_line("sh --long");
    let only = rules(std::slice::from_ref(&rule), &[]);
    let without = rules(&[], &[rule]);
    let keeps = |rules: &Rules, runs| rules.judge(Some(runs)).keeps(Kind::PROCESS_EXEC);
    assert!(!keeps(&only, Runs::whole(&program)) && keeps(&only, cut(&program, &truncated)));
    assert!(keeps(&without, cut(&program, &truncated)));
    let no_line = Program {
        command_line: None,
        ..program.clone()
    };
    let forgotten = Runs {
        is_whole: false,
        ..Runs::whole(&no_line)
    };
    assert!(keeps(&only, forgotten) && keeps(&without, forgotten));
    let program = of_line("sh --secret");
    assert!(!keeps(&without, Runs::whole(&program)));
    assert!(keeps(&without, cut(&program, &truncated)));
}

#[test]
fn a_user_is_known_by_name_or_number() {
    for user in ["alice", "1000", "100?"] {
        let rules = rules(&[], &[rule(&[("user", &[user])])]);
        assert!(!judge(&rules, &program("/bin/sh")).keeps(Kind::PROCESS_EXEC));
    }
}

#[test]
fn a_rule_is_about_its_kinds_alone() {
    let rules = rules(&[], &[of_events(Kinds::THREAD, image("*"))]);
    let verdict = judge(&rules, &program("/bin/sh"));
    assert!(!verdict.keeps(Kind::THREAD_START));
    assert!(!verdict.keeps(Kind::THREAD_EXIT));
    assert!(verdict.keeps(Kind::PROCESS_EXEC));
}

#[test]
fn a_loaded_image_is_left_out_and_nothing_else() {
    let rules = rules(&[], &[loaded("/bin/*", "/lib/*")]);
    let shell = program("/bin/sh");
    assert!(judge(&rules, &shell).keeps(Kind::PROCESS_EXEC));
    assert!(!keeps_load(&rules, &shell, Some("/lib/libc.so"), None));
    assert!(keeps_load(&rules, &shell, Some("/opt/x.so"), None));
    assert!(keeps_load(&rules, &shell, None, None));
    let tool = program("/opt/tool");
    assert!(keeps_load(&rules, &tool, Some("/lib/libc.so"), None));
}

#[test]
fn an_included_loaded_image_keeps_loads_of_it_alone() {
    let rules = rules(
        &[loaded("*", "/opt/*"), image("/bin/sh")],
        &[loaded("*", "*/bad.so")],
    );
    let tool = program("/usr/bin/tool");
    assert!(!judge(&rules, &tool).keeps(Kind::PROCESS_EXEC));
    assert!(keeps_load(&rules, &tool, Some("/opt/x.so"), None));
    assert!(!keeps_load(&rules, &tool, Some("/lib/x.so"), None));
    assert!(!keeps_load(&rules, &tool, Some("/opt/bad.so"), None));
    let shell = program("/bin/sh");
    assert!(judge(&rules, &shell).keeps(Kind::PROCESS_EXEC));
    assert!(keeps_load(&rules, &shell, Some("/lib/x.so"), None));
}

#[test]
fn a_rule_about_no_kind_matches_nothing() {
    let impossible = of_events(Kinds::PROCESS, loaded("*", "*"));
    let rules = rules(&[image("*"), impossible.clone()], &[impossible]);
    let verdict = judge(&rules, &program("/bin/sh"));
    assert_eq!(verdict, Verdict::KEEP);
}

#[test]
fn text_that_is_not_unicode_is_matched_by_its_bytes() {
    let rules = rules(&[], &[image("/tmp/?x")]);
    let program = Program {
        image: Some(Text::from_bytes(b"/tmp/\xffx")),
        ..Program::default()
    };
    assert!(!judge(&rules, &program).keeps(Kind::PROCESS_EXEC));
}

#[test]
fn what_is_no_pattern_is_refused() {
    assert_eq!(Pattern::new(""), Err(InvalidPattern::Empty));
    assert_eq!(Pattern::new("[é]"), Err(InvalidPattern::ClassBeyondAscii));
    assert!(matches!(Pattern::new("[a"), Err(InvalidPattern::Syntax(_))));
    assert!(matches!(Pattern::new("{a"), Err(InvalidPattern::Syntax(_))));
    assert_eq!(
        Pattern::new(&"a".repeat(5000)),
        Err(InvalidPattern::TooLong(5000))
    );
}

#[test]
fn a_wider_pattern_covers_a_narrower_one() {
    let covers = |wide: &str, narrow: &str| {
        pattern_covers(
            &Pattern::new(wide).expect("a pattern"),
            &Pattern::new(narrow).expect("a pattern"),
        )
    };
    assert!(covers("*", "/usr/bin/*"));
    assert!(covers("/usr/*", "/usr/bin/a?c"));
    assert!(covers("/tmp/**", "/tmp/x/*"));
    assert!(covers("?*", "*?"));
    assert!(covers("*b*", "a\\b*"));
    assert!(!covers("/usr/bin/*", "/usr/*"));
    assert!(!covers("a?", "a*"));
    assert!(!covers("/a/*", "/a/{b,c}"), "not seen, which is allowed");
}

#[test]
fn rules_that_can_never_fire_are_named_with_the_reason() {
    let wide = image("/usr/*");
    assert_eq!(
        never_fires(&image("/usr/bin/cat"), Kinds::ALL, &[(7, &wide)]),
        Some(Reason::Covered { by: 7 })
    );
    assert_eq!(
        never_fires(&of_events(Kinds::THREAD, image("*")), Kinds::PROCESS, &[]),
        Some(Reason::NotRecorded)
    );
    assert!(matches!(
        never_fires(&image("bash"), Kinds::ALL, &[]),
        Some(Reason::NotAbsolute { field: "image", .. })
    ));
    assert_eq!(
        never_fires(&image("/opt/*"), Kinds::ALL, &[(0, &wide)]),
        None
    );
    assert_eq!(
        never_fires(
            &image("/usr/bin/x"),
            Kinds::ALL,
            &[(0, &loaded("/usr/*", "*"))]
        ),
        None,
        "a rule about image loads takes no other kind"
    );
}

/// A pattern of the plain kind and texts over the same few letters, so that matches happen.
fn plain_pattern() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("/"),
            Just("."),
            Just("?"),
            Just("*")
        ],
        1..8,
    )
    .prop_map(|parts| parts.concat())
    .prop_filter("`**` is a matter of its own", |text| !text.contains("**"))
}

fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just("a"), Just("b"), Just("/"), Just(".")],
        0..10,
    )
    .prop_map(|parts| parts.concat())
}

fn matches_by_definition(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, None) => true,
        (Some((b'*', rest)), None) => matches_by_definition(rest, text),
        (Some((b'*', rest)), Some((_, text_rest))) => {
            matches_by_definition(rest, text) || matches_by_definition(pattern, text_rest)
        }
        (Some((b'?', rest)), Some((_, text))) => matches_by_definition(rest, text),
        (Some((byte, rest)), Some((other, text))) => {
            byte == other && matches_by_definition(rest, text)
        }
        _ => false,
    }
}

#[test]
fn a_text_is_no_path_to_a_pattern() {
    // A matcher of paths sees no file name in these, and no extension.
    for (pattern, text) in [("?.", ".."), ("*.", "a/.."), ("*..", "/.."), ("*.a", ".a")] {
        let set = PatternSet::new(&patterns(&[pattern])).expect("a set");
        assert!(set.matches(text.as_bytes()), "{pattern} {text}");
    }
}

proptest! {
    #[test]
    fn patterns_match_by_their_definition(pattern in plain_pattern(), text in text()) {
        let set = PatternSet::new(&patterns(&[pattern.as_str()])).expect("a set");
        assert_eq!(
            set.matches(text.as_bytes()),
            matches_by_definition(pattern.as_bytes(), text.as_bytes()),
        );
    }

    #[test]
    fn what_is_covered_matches_nothing_the_wider_does_not(
        wide in plain_pattern(),
        narrow in plain_pattern(),
        text in text(),
    ) {
        let both = patterns(&[wide.as_str(), narrow.as_str()]);
        let matches = |pattern: &str| matches_by_definition(pattern.as_bytes(), text.as_bytes());
        if pattern_covers(&both[0], &both[1]) && matches(&narrow) {
            assert!(matches(&wide));
        }
    }

    #[test]
    fn any_text_is_a_pattern_or_refused(text in any::<String>(), subject in any::<Vec<u8>>()) {
        if let Ok(pattern) = Pattern::new(&text) {
            let set = PatternSet::new(&[pattern]).expect("a set");
            let _matched = set.matches(&subject);
        }
    }

    #[test]
    fn exclusion_only_ever_takes_away(
        include in plain_pattern(),
        exclude in plain_pattern(),
        path in text(),
    ) {
        let program = program(&path);
        let with = judge(&rules(&[image(&include)], &[image(&exclude)]), &program);
        let without = judge(&rules(&[image(&include)], &[]), &program);
        for kind in Kind::OBSERVED {
            assert!(!with.keeps(kind) || without.keeps(kind));
        }
    }
}

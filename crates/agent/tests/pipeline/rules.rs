//! What rules do to a recording.

use event::Kind;
use systrail::config::Config;
use systrail::pipeline::Settings;

use crate::{TICK, exec, exit, fork, kinds, lost, record_with, settings};

// The rules left out what a process did because of the program it ran no more.
#[cfg(target_os = "linux")]
#[test]
fn no_rule_leaves_out_what_may_be_another_program_since_a_loss() {
    let script = || {
        vec![
            fork(TICK, 1, 10),
            exec(2 * TICK, 10, b"old\0", b"old\0"),
            lost(3 * TICK, Kind::PROCESS_EXEC, 1),
            fork(4 * TICK, 10, 11),
            exit(5 * TICK, 10, 0),
        ]
    };
    for rules in [
        "[[exclude]]\nimage = \"/old\"",
        "[[include]]\nimage = \"/new\"",
    ] {
        let settings = Settings {
            rules: Config::parse(rules).0.rules().unwrap(),
            ..settings()
        };
        let (events, account) = record_with(settings, vec![script()]);
        let told = kinds(&events);
        assert!(told.ends_with(&[
            Kind::LOST,
            Kind::PROCESS_START,
            Kind::PROCESS_EXIT,
            Kind::SENSOR_STOP
        ]));
        assert_eq!(
            account
                .kinds
                .by_kind()
                .map(|(_, count)| count.excluded)
                .sum::<u64>(),
            1
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn an_event_says_which_rule_kept_it() {
    let rules = "[[include]]\nname = \"olds\"\ntags = [\"a\", \"b\"]\nimage = \"/old\"\n\
                 [[include]]\nexit_code = 0\n";
    let settings = Settings {
        rules: Config::parse(rules).0.rules().unwrap(),
        ..settings()
    };
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"old\0", b"old\0"),
        exec(3 * TICK, 10, b"new\0", b"new\0"),
        exit(4 * TICK, 10, 0),
    ];
    let (events, _account) = record_with(settings, vec![script]);
    let named = events.iter().filter_map(|event| {
        let kept_by = event.kept_by.as_ref()?;
        assert_eq!(kept_by.tags.as_ref().map(|tags| tags.len()), Some(2));
        Some((event.body.kind(), kept_by.rule_name.as_deref()?))
    });
    let named: Vec<_> = named.collect();
    // Nobody knows what runs in the process that is not told of.
    let expected = [(Kind::PROCESS_START, "olds"), (Kind::PROCESS_EXEC, "olds")];
    assert_eq!(named, expected);
    assert!(kinds(&events).contains(&Kind::PROCESS_EXIT), "by another");
}

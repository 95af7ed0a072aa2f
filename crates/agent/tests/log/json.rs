//! Every event is one line, every line SysTrail wrote is that event again, and no other line does
//! harm.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use proptest::prelude::*;
use systrail::trail::json::{LINE_SIZE_MAX, LineError, read_line, write_line};
use systrail::trail::{Body, Event, Text, Time, schema};

use super::any_event::{event, full, full_events};

fn line_of(event: &Event) -> Vec<u8> {
    let mut line = Vec::new();
    write_line(event, &mut line);
    line
}

fn text_of(event: &Event) -> String {
    String::from_utf8(line_of(event)).unwrap()
}

fn exit_line() -> String {
    text_of(&full_events()[2])
}

/// The error for a line whose `from` is replaced by `to`.
fn error_with(from: &str, to: &str) -> LineError {
    let line = exit_line();
    assert!(line.contains(from), "{from} is in {line}");
    read_line(line.replacen(from, to, 1).as_bytes()).unwrap_err()
}

proptest! {
    #[test]
    fn reads_back_what_it_wrote(event in event()) {
        let line = line_of(&event);
        let read = read_line(&line).unwrap();
        prop_assert_eq!(&read, &event);
        prop_assert_eq!(line_of(&read), line);
    }

    #[test]
    fn a_line_is_json_and_has_only_known_fields(event in event()) {
        let line = line_of(&event);
        let value: serde_json::Value = serde_json::from_slice(&line).unwrap();
        for field in value.as_object().unwrap().keys() {
            prop_assert!(schema::names().contains(&field.as_str()), "{}", field);
        }
    }

    #[test]
    fn a_line_holds_one_line_feed_and_nothing_a_terminal_acts_on(event in event()) {
        // The account's names come from this program, not from what it observes.
        prop_assume!(!matches!(event.body, Body::SensorStop(_)));
        let line = text_of(&event);
        let content = line.strip_suffix('\n').unwrap();
        prop_assert!(!content.chars().any(char::is_control));
        let hazard = content.find(['\u{202e}', '\u{2066}', '\u{2028}']);
        prop_assert_eq!(hazard, None);
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _any = read_line(&bytes);
    }

    #[test]
    fn no_damage_to_a_line_panics_or_reads_as_something_that_cannot_be_written(
        event in event(),
        place in any::<proptest::sample::Index>(),
        damage in proptest::collection::vec(any::<u8>(), 0..4),
        removed in 0_usize..4,
    ) {
        let mut line = line_of(&event);
        let begin = place.index(line.len());
        let end = (begin + removed).min(line.len());
        line.splice(begin..end, damage);
        if let Ok(read) = read_line(&line) {
            prop_assert_eq!(read_line(&line_of(&read)).unwrap(), read);
        }
    }
}

#[test]
fn the_form_of_each_kind_is_fixed() {
    let expected = include_str!("lines.jsonl");
    let written: String = full_events().iter().map(text_of).collect();
    assert_eq!(written, expected);
}

#[test]
fn every_known_field_is_in_a_line_of_some_kind() {
    let mut seen = BTreeSet::new();
    for event in full_events() {
        let value: serde_json::Value = serde_json::from_slice(&line_of(&event)).unwrap();
        seen.extend(value.as_object().unwrap().keys().cloned());
    }
    let known: BTreeSet<String> = schema::names().iter().map(ToString::to_string).collect();
    assert_eq!(seen, known);
}

#[test]
fn every_field_is_in_the_document() {
    let document = include_str!("../../../../docs/EVENTS.md");
    for field in schema::names() {
        assert!(document.contains(&format!("`{field}`")), "{field}");
    }
    let stop = line_of(full_events().last().unwrap());
    let stop: serde_json::Value = serde_json::from_slice(&stop).unwrap();
    let account = stop["account"].as_object().unwrap();
    let parts = [
        account,
        account["kinds"]["process_start"].as_object().unwrap(),
        account["queues"][0].as_object().unwrap(),
        account["sinks"][0].as_object().unwrap(),
    ];
    for field in parts.into_iter().flat_map(serde_json::Map::keys) {
        assert!(document.contains(&format!("`{field}`")), "{field}");
    }
}

#[test]
fn times_have_nine_digits_wherever_they_lie() {
    let cases = [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (951_782_400_000_000_001, "2000-02-29T00:00:00.000000001Z"),
        (i64::MAX, "2262-04-11T23:47:16.854775807Z"),
        (i64::MIN, "1677-09-21T00:12:43.145224192Z"),
    ];
    for (time, text) in cases {
        let mut event = full_events().swap_remove(4);
        event.time = Time(time);
        let line = text_of(&event);
        assert!(line.contains(&format!("\"time\":\"{text}\"")), "{line}");
        assert_eq!(read_line(line.as_bytes()).unwrap().time, Time(time));
    }
}

/// The second written last is remembered.
#[test]
fn a_time_does_not_depend_on_the_times_written_before() {
    let second = 1_000_000_000;
    let mut event = full_events()[2].clone();
    for time in [
        0,
        1,
        -1,
        second - 1,
        second,
        0,
        -second,
        1 - second,
        i64::MIN,
        -1,
    ] {
        event.time = Time(time);
        let (before, again) = (line_of(&event), read_line(&line_of(&event)).unwrap());
        assert_eq!(again.time, Time(time));
        let fresh = std::thread::scope(|scope| scope.spawn(|| line_of(&event)).join().unwrap());
        assert_eq!(before, fresh, "a thread that wrote nothing before");
    }
}

#[test]
fn names_the_field_that_is_wrong() {
    let cases = [
        ("\"sequence\":42", "\"sequence\":-42", "sequence"),
        ("\"sequence\":42", "\"sequence\":42.0", "sequence"),
        ("\"sequence\":42", "\"sequence\":\"42\"", "sequence"),
        (
            "\"sequence\":42",
            "\"sequence\":18446744073709551616",
            "sequence",
        ),
        ("\"sequence\":42,", "", "sequence"),
        (
            "\"sequence\":42",
            "\"sequence\":42,\"sequence\":42",
            "sequence",
        ),
        ("Z\"", "\"", "time"),
        ("-11-", "-13-", "time"),
        ("2026-11-21", "2262-04-12", "time"),
        ("process_exit", "process_exi", "kind"),
        ("process_exit", "kind_3", "kind"),
        ("\"host\":\"machine\"", "\"host\":null", "host"),
        (
            "\"process_id\":4242",
            "\"process_id\":4294967296",
            "process_id",
        ),
        ("0123456789abcdef", "0123456789ABCDEF", "process_key"),
        ("0123456789abcdef", "123456789abcdef", "process_key"),
        ("\"core_dumped\":true", "\"core_dumped\":1", "core_dumped"),
        ("2f62696e2f636166e9", "2f62696e2f636166e", "image_raw"),
        ("2f62696e2f636166e9", "2f62696e2f636167e9", "image_raw"),
        ("\"image\":\"/bin/caf\u{fffd}\",", "", "image"),
        ("[\"arguments\",", "[[],", "truncated"),
        ("\"missing\":{", "\"missing\":{\"user\":{},", "missing"),
        ("\"missing\":{", "\"missing\":{\"user\":\"\",", "missing"),
    ];
    for (from, to, field) in cases {
        let message = error_with(from, to).to_string();
        assert!(message.contains(&format!("`{field}`")), "{to}: {message}");
    }
}

/// A log of a newer version, replayed, lost what it had and this version has not.
#[test]
fn keeps_fields_of_newer_versions() {
    let newer = r#""newer":{ "deep" : [[1,null]], "text":"\\\" x" },"signal":9,"#;
    let line = text_of(&full_events()[4]).replacen('{', &format!("{{{newer}"), 1);
    let event = read_line(line.as_bytes()).unwrap();
    let again = text_of(&event);
    let kept = r#","newer":{"deep":[[1,null]],"text":"\\\" x"},"signal":9}"#;
    assert!(again.ends_with(&format!("{kept}\n")), "{again}");
    assert_eq!(read_line(again.as_bytes()).unwrap(), event);
    assert_eq!(text_of(&read_line(again.as_bytes()).unwrap()), again);
}

#[test]
fn keeps_what_a_newer_account_says() {
    let stop = text_of(full_events().last().unwrap());
    let line = stop
        .replacen(
            "\"kinds\":{",
            "\"kinds\":{\"newer\":{\"produced\":7,\"delivered\":7,\"lost\":0},",
            1,
        )
        .replacen("\"queues\":", "\"newer\":[1.5,\"\u{202e}\"],\"queues\":", 1);
    let again = text_of(&read_line(line.as_bytes()).unwrap());
    assert!(again.contains("\"newer\":{\"produced\":7,"), "{again}");
    assert!(again.contains("\"newer\":[1.5,\"\\u202e\"]"), "{again}");
}

#[test]
fn says_that_a_kind_is_a_newer_versions() {
    for kind in ["file_create", "kind_77"] {
        let error = error_with("process_exit", kind);
        let LineError::UnknownKind { kind: told } = &error else {
            panic!("{error}");
        };
        assert_eq!(told, &format!("{kind:?}"));
        assert!(error.to_string().contains("newer systrail"), "{error}");
    }
}

#[test]
fn a_line_cannot_bring_unknown_fields_without_end() {
    let mut line = exit_line();
    for number in 0..300 {
        line = line.replacen('{', &format!("{{\"newer{number}\":1,"), 1);
    }
    let error = read_line(line.as_bytes()).unwrap_err().to_string();
    assert!(error.contains("unknown fields"), "{error}");
}

#[test]
fn refuses_lines_that_are_too_long_or_too_deep() {
    let long = vec![b' '; LINE_SIZE_MAX + 1];
    let size = long.len();
    assert_eq!(read_line(&long), Err(LineError::TooLong { size }));
    for field in ["newer", "image", "account", "missing"] {
        let mut deep = format!("{{\"{field}\":");
        deep.extend(std::iter::repeat_n("[", 1_000_000));
        assert!(matches!(
            read_line(deep.as_bytes()),
            Err(LineError::Json { .. })
        ));
    }
}

#[test]
fn a_hostile_value_does_not_blow_up_the_message() {
    let mut user = String::new();
    for _ in 0..100_000 {
        user.write_str("\\u001b[2J").unwrap();
    }
    for field in ["time", "kind", "process_key", "account"] {
        let line = format!("{{\"kind\":\"process_exit\",\"{field}\":\"{user}\"}}");
        let message = read_line(
            line.replacen(
                "\"kind\":\"process_exit\",",
                "",
                usize::from(field == "kind"),
            )
            .as_bytes(),
        )
        .unwrap_err()
        .to_string();
        assert!(message.len() < 1000, "{field}: {}", message.len());
        assert!(!message.chars().any(char::is_control), "{message}");
    }
}

#[test]
fn the_longest_record_fits_a_line_that_can_be_read() {
    let text = Text::from_bytes(&vec![0xff; 64 * 1024]);
    let Body::ProcessExec(mut exec) = full_events().swap_remove(1).body else {
        unreachable!("the second event is an exec");
    };
    exec.program.image = Some(text.clone());
    exec.program.command_line = Some(text.clone());
    exec.program.arguments = Some([text].into());
    let event = full(Body::ProcessExec(exec));
    assert_eq!(read_line(&line_of(&event)).unwrap(), event);
}

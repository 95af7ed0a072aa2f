//! A line a process, for a person.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use event::ProcessKey;
use proptest::prelude::*;
use systrail::rules::{Pattern, PatternSet};
use systrail::sink::terminal::{Lives, Style, Wanted};
use systrail::sink::{Sink as _, Tally};
use systrail::trail::{
    Body, Detection, Event, Lost, LostRange, ProcessExit, ProcessStart, Program, Text, Time, UserId,
};

use super::any_event::{event, full};

#[derive(Clone, Default)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

const SECOND: i64 = 1_000_000_000;
/// 2026-11-30T02:14:07Z.
const BEGIN: i64 = 1_796_004_847 * SECOND;

fn shown(wanted: Wanted, every_line: bool, events: &[Event]) -> Vec<String> {
    let (screen, tally) = (Screen::default(), Tally::default());
    let style_fn = || Style {
        colour: false,
        width: Some(100),
    };
    let mut lives = Lives::new(Box::new(screen.clone()), style_fn, wanted, every_line);
    for event in events {
        lives.write(std::slice::from_ref(event), &tally);
    }
    lives.close(&tally);
    assert_eq!(tally.written(), events.len() as u64);
    let text = String::from_utf8(screen.0.lock().unwrap().clone()).unwrap();
    text.lines().map(str::to_owned).collect()
}

fn at(ms: i64, id: u32, body: Body) -> Event {
    Event {
        time: Time(BEGIN + ms * 1_000_000),
        process_id: id,
        process_key: ProcessKey(id.into()),
        kept_by: None,
        truncated: Vec::new(),
        missing: Vec::new(),
        ..full(body)
    }
}

fn start(ms: i64, id: u32, parent: u32, arguments: &[&str], user: &str) -> Event {
    let arguments: Arc<[Text]> = arguments.iter().map(|text| Text::from(*text)).collect();
    let program = Program {
        image: Some(Text::from(
            format!("/usr/bin/{}", arguments[0].shown()).as_str(),
        )),
        command_line: Some(Text::from("the line")),
        arguments: Some(arguments),
        user: Some(user.into()),
        user_id: Some(UserId::Uid(7)),
        ..Program::default()
    };
    let start = ProcessStart {
        parent_process_id: Some(parent),
        parent_process_key: Some(ProcessKey(parent.into())),
        program,
        ..ProcessStart::default()
    };
    at(ms, id, Body::ProcessStart(Box::new(start)))
}

fn exit(ms: i64, id: u32, code: u32, ran_ms: u64) -> Event {
    let exit = ProcessExit {
        exit_code: Some(code),
        signal: code.checked_sub(128),
        run_time_ns: Some(ran_ms * 1_000_000),
        ..ProcessExit::default()
    };
    at(ms, id, Body::ProcessExit(exit))
}

#[test]
fn a_short_process_is_one_line_and_a_long_one_two() {
    let lines = shown(
        Wanted::default(),
        false,
        &[
            start(0, 1000, 100, &["make", "-j2", "all"], "ada"),
            start(10, 1012, 1000, &["cc1", "two.c"], "WORKGROUP\\adalovelace"),
            exit(56, 1012, 139, 46),
            start(1_100, 1013, 1000, &["ld"], "ada"),
            exit(1_200, 1013, 0, 100),
            exit(1_300, 1000, 2, 1_300),
        ],
    );
    let wanted = [
        "02:14:07      1012 adalove… signal 11   46.000 ms  cc1 two.c  < make 1000",
        "02:14:07      1000 ada      started                make -j2 all  <  100",
        "02:14:08      1013 ada      exit 0     100.000 ms  ld  < make 1000",
        "02:14:08      1000 ada      exit 2        1.300 s  make -j2 all  <  100",
    ];
    assert_eq!(lines, wanted);
}

#[test]
fn what_nobody_could_read_is_counted() {
    let events = |count: u32| -> Vec<Event> {
        let ids = 1..=count;
        let mut events: Vec<_> = ids
            .flat_map(|id| [start(1, id, 0, &["true"], "ada"), exit(2, id, 0, 1)])
            .collect();
        events.push(exit(5_000, 77_777, 1, 1));
        events
    };
    let lines = shown(Wanted::default(), false, &events(40));
    assert_eq!(lines.len(), 27, "{lines:?}");
    assert_eq!(
        lines[25],
        "02:14:07   (15 more in this second; --every-line shows them)"
    );
    assert_eq!(shown(Wanted::default(), true, &events(40)).len(), 41);
    assert_eq!(shown(Wanted::default(), false, &events(25)).len(), 26);
}

#[test]
fn a_match_of_a_rule_is_told_whatever_is_wanted() {
    let detection = Detection {
        matched_sequence: 1,
        rule_id: None,
        rule_title: "A shell".into(),
        rule_level: "high".into(),
        rule_author: Some("Ada".into()),
        rule_tags: None,
    };
    let events = [
        start(0, 1, 0, &["sh", "-c", "x"], "bob"),
        at(7, 1, detection.into()),
    ];
    let wanted = Wanted {
        failed: true,
        ..Wanted::default()
    };
    assert_eq!(
        shown(wanted, false, &events),
        ["02:14:07         1 bob      HIGH                   A shell (rule by Ada): sh -c x"]
    );
}

#[test]
fn only_what_is_wanted_is_told_and_losses_always() {
    let pattern = |text| Some(PatternSet::new(&[Pattern::new(text).unwrap()]).unwrap());
    let lost = Lost {
        lost_kind: event::Kind::IMAGE_LOAD,
        lost_count: 3,
        lost_reason: "buffer_full".into(),
        range: LostRange::default(),
    };
    let events = [
        start(0, 1, 0, &["python3", "x.py"], "ada"),
        start(0, 2, 0, &["sh"], "bob"),
        exit(5, 1, 0, 5),
        exit(6, 2, 1, 6),
        at(7, 9, Body::Lost(lost)),
    ];
    let told = |wanted: Wanted| {
        let lines = shown(wanted, false, &events);
        assert_eq!(
            lines.last().unwrap(),
            "02:14:07   LOST 3 image_load: buffer_full"
        );
        let ids = lines.iter().rev().skip(1).rev();
        ids.map(|line| line[11..18].trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(told(Wanted::default()), ["1", "2"]);
    let failed = Wanted {
        failed: true,
        ..Wanted::default()
    };
    assert_eq!(told(failed), ["2"]);
    for user in ["ada", "7"] {
        let user = Some(user.to_owned());
        let count = if user.as_deref() == Some("7") { 2 } else { 1 };
        assert_eq!(
            told(Wanted {
                user,
                ..Wanted::default()
            })
            .len(),
            count
        );
    }
    for image in ["python*", "/usr/bin/python3", "*/python3"] {
        let image = pattern(image);
        assert_eq!(
            told(Wanted {
                image,
                ..Wanted::default()
            }),
            ["1"]
        );
    }
    let image = pattern("pytho");
    assert_eq!(
        told(Wanted {
            image,
            ..Wanted::default()
        })
        .len(),
        0
    );
    let command_line = pattern("the *");
    assert_eq!(
        told(Wanted {
            command_line,
            ..Wanted::default()
        })
        .len(),
        2
    );
}

proptest! {
    #[test]
    fn whatever_comes_is_visible_text(events in proptest::collection::vec(event(), 1..20)) {
        let wanted = Wanted { existing: true, ..Wanted::default() };
        for line in shown(wanted, true, &events) {
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            let hazard = line.find(['\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}', '\u{feff}']);
            prop_assert_eq!(hazard, None);
        }
    }
}

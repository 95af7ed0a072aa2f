//! Lines for a person: aligned, within the width, and harmless.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use systrail::rules::{Pattern, PatternSet};
use systrail::sink::terminal::{Terminal, Wanted};
use systrail::sink::{Sink as _, Tally};
use systrail::trail::{Body, Event, KeptBy, ProcessExec, Program, Text};

use super::any_event::{event, full, full_events};

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

fn shown(events: &[Event], colour: bool, width: Option<u16>) -> String {
    let screen = Screen::default();
    let tally = Tally::default();
    Terminal::new(Box::new(screen.clone()), colour, width).write(events, &tally);
    assert_eq!(tally.written(), events.len() as u64);
    String::from_utf8(screen.0.lock().unwrap().clone()).unwrap()
}

fn exec(command_line: &str) -> Event {
    Event {
        kept_by: None,
        truncated: Vec::new(),
        missing: Vec::new(),
        ..full(Body::ProcessExec(Box::new(ProcessExec {
            program: Program {
                image: Some("/bin/sh".into()),
                command_line: Some(Text::from(command_line)),
                user: Some("root".into()),
                ..Program::default()
            },
            ..ProcessExec::default()
        })))
    }
}

#[test]
fn of_a_rule_there_is_what_it_kept_and_what_it_found() {
    let by = |rule: Option<&str>| Event {
        kept_by: rule.map(|name| {
            Arc::new(KeptBy {
                rule_name: Some(name.into()),
                tags: None,
            })
        }),
        ..exec(rule.unwrap_or("none"))
    };
    let found = full_events()
        .into_iter()
        .find(|event| matches!(event.body, Body::Detection(_)));
    let events = [
        by(None),
        by(Some("shells of nginx")),
        by(Some("other")),
        found.unwrap(),
    ];
    let told = |pattern: &str| {
        let pattern = Pattern::new(pattern).unwrap();
        let wanted = Wanted {
            rule: Some(PatternSet::new(&[pattern]).unwrap()),
            ..Wanted::default()
        };
        let screen = Screen::default();
        let mut terminal = Terminal::new(Box::new(screen.clone()), false, None).only(wanted);
        terminal.write(&events, &Tally::default());
        String::from_utf8(screen.0.lock().unwrap().clone()).unwrap()
    };
    let kept = told("shells*");
    assert_eq!(kept.lines().count(), 1, "{kept}");
    assert!(kept.contains("shells of nginx"));
    for title_or_id in ["*shell from nowhere", "5b5bd3c2-*"] {
        let found = told(title_or_id);
        assert!(
            found.lines().count() == 1 && found.contains("A shell from nowhere"),
            "{found}"
        );
    }
    assert_eq!(told("nothing"), "");
}

proptest! {
    #[test]
    fn an_event_is_one_line_of_visible_text(event in event()) {
        let line = shown(&[event], false, None);
        let content = line.strip_suffix('\n').unwrap();
        prop_assert!(!content.chars().any(char::is_control), "{content:?}");
        let hazard = content.find(['\u{202e}', '\u{2066}', '\u{2028}', '\u{200b}', '\u{feff}']);
        prop_assert_eq!(hazard, None);
    }

    #[test]
    fn no_line_is_wider_than_the_terminal(event in event(), width in 0_u16..200) {
        let line = shown(&[event], false, Some(width));
        // Every character that counts nothing combines with the one before it.
        let wide = |character: char| !('\u{300}'..'\u{370}').contains(&character);
        if line.is_ascii() {
            prop_assert!(line.trim_end_matches('\n').chars().filter(|c| wide(*c)).count() <= usize::from(width));
        }
    }

    #[test]
    fn every_colour_is_taken_back(event in event(), width in proptest::option::of(0_u16..200)) {
        let line = shown(&[event], true, width);
        prop_assert!(line.starts_with("\x1b["));
        prop_assert!(line.ends_with("\x1b[0m\n"));
        prop_assert_eq!(line.matches('\x1b').count(), 2);
    }
}

#[test]
fn every_kind_is_aligned() {
    let expected = include_str!("terminal.txt");
    let lines = shown(&full_events(), false, None);
    assert_eq!(format!("{}\n{lines}", Terminal::heading()), expected);
}

#[test]
fn what_a_terminal_would_act_on_is_escaped() {
    let line = shown(&[exec("a\n\x1b[2J\u{202e}b\u{200b}\u{9b}é")], false, None);
    assert!(
        line.ends_with("/bin/sh  a\\n\\u{1b}[2J\\u{202e}b\\u{200b}\\u{9b}é\n"),
        "{line}"
    );
}

#[test]
fn a_line_is_cut_where_the_terminal_ends_with_a_mark() {
    let whole = shown(&[exec("one two")], false, None);
    let width = u16::try_from(whole.trim_end().len()).unwrap();
    assert_eq!(shown(&[exec("one two")], false, Some(width)), whole);
    let cut = shown(&[exec("one two")], false, Some(width - 1));
    assert!(cut.ends_with("/bin/sh  one t…\n"), "{cut}");
    let wide = shown(&[exec("日本日本")], false, Some(width - 1));
    assert!(wide.ends_with("/bin/sh  日本…\n"), "{wide}");
}

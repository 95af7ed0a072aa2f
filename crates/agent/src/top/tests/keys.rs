//! What keys do.

use event::ProcessKey;

use super::super::app::Page;
use super::super::feed::{Ask, At, Told};
use super::super::keys::Key;
use super::{MS, NOW, ago, app, at, build, press, screen, started, type_in};
use crate::trail::Time;

#[test]
fn a_filter_shows_what_matches_with_what_it_stands_under_and_what_is_below_it() {
    let mut app = app(build());
    press(&mut app, &[Key::Char('/')]);
    type_in(&mut app, "MAKE q");
    press(&mut app, &[Key::Backspace, Key::Backspace]);
    let shown = screen(&mut app, (80, 24)).join("\n");
    assert!(shown.contains("filter: MAKE"), "{shown}");
    assert!(shown.contains("init") && shown.contains("two.c"), "{shown}");
    assert!(!shown.contains("journald"), "{shown}");
    type_in(&mut app, "zzz");
    let shown = screen(&mut app, (80, 24)).join("\n");
    assert!(
        shown.contains("nothing has `MAKEzzz` in it; Esc shows all"),
        "{shown}"
    );
    press(&mut app, &[Key::Escape]);
    assert!(screen(&mut app, (80, 24)).join("\n").contains("journald"));
    // Whatever it calls itself.
    press(&mut app, &[Key::Char('/')]);
    type_in(&mut app, "/USR/lib/gcc/cc1");
    press(&mut app, &[Key::Enter]);
    assert!(screen(&mut app, (80, 24)).join("\n").contains("two.c"));
    press(&mut app, &[Key::Escape]);
    // In the flat list only what matches itself is left.
    press(&mut app, &[Key::Char('t'), Key::Char('/')]);
    type_in(&mut app, "signal ada");
    press(&mut app, &[Key::Enter]);
    let shown = screen(&mut app, (80, 24)).join("\n");
    assert!(
        shown.contains("two.c") && !shown.contains("make"),
        "{shown}"
    );
    // Keys are commands again, and `q` is not typed.
    press(&mut app, &[Key::Char('q')]);
    assert!(app.is_over());
}

#[test]
fn what_is_chosen_stays_where_it_is_while_others_come_and_go() {
    let mut app = app(build());
    let _first = screen(&mut app, (80, 24));
    press(&mut app, &[Key::Char('t'), Key::Down, Key::Down, Key::Down]);
    let before = screen(&mut app, (80, 24));
    let chosen = app.selected();
    let line = before
        .iter()
        .position(|line| line.contains("true"))
        .unwrap();
    app.told(Told::Events(vec![
        started(ago(5), 5000, 100, "ada", "new one"),
        started(ago(4), 5001, 100, "ada", "new two"),
    ]));
    let _after = screen(&mut app, (80, 24));
    assert_eq!(app.selected(), chosen);
    // In a list that fills the screen it also stays on its line.
    let many = (6_000..6_100).map(|id| started(ago(3), id, 100, "ada", "sleep 1"));
    app.told(Told::Events(many.collect()));
    let after = screen(&mut app, (80, 24));
    assert_eq!(app.selected(), chosen);
    let now_at = after.iter().position(|line| line.contains("true"));
    assert!(now_at.is_some_and(|at| at >= line), "{after:#?}");
    // Another hundred above does not move it.
    let many = (7_000..7_100).map(|id| started(ago(2), id, 100, "ada", "sleep 1"));
    app.told(Told::Events(many.collect()));
    let after = screen(&mut app, (80, 24));
    assert_eq!(after.iter().position(|line| line.contains("true")), now_at);
    press(&mut app, &[Key::End]);
    assert!(screen(&mut app, (80, 24)).join("\n").contains("init"));
    press(&mut app, &[Key::PageUp, Key::Home]);
    assert!(screen(&mut app, (80, 24))[3].contains("sleep 1"));
    // Nothing is chosen any more: what is new is seen.
    assert_eq!(app.selected(), None);
    let newest = started(ago(1), 8_000, 100, "ada", "newest");
    app.told(Told::Events(vec![newest]));
    assert!(screen(&mut app, (80, 24))[3].contains("newest"));
}

#[test]
fn sorting_leads_through_all_orders() {
    let mut app = app(build());
    let mut first = Vec::new();
    for _ in 0..5 {
        press(&mut app, &[Key::Char('s')]);
        let shown = screen(&mut app, (90, 24));
        let sort = shown[23]
            .split("s sort: ")
            .nth(1)
            .unwrap()
            .split(' ')
            .next();
        let id = shown[3]
            .split_whitespace()
            .find_map(|word| word.parse::<u32>().ok());
        first.push((sort.unwrap().to_owned(), id.unwrap()));
    }
    let expected = [
        ("newest", 1011),
        ("state", 1012),
        ("name", 100),
        ("user", 1011),
        ("process", 1),
    ];
    let expected = expected.map(|(sort, id)| (sort.to_owned(), id));
    assert_eq!(first, expected);
    press(&mut app, &[Key::Char('t')]);
    assert!(screen(&mut app, (80, 24))[3].contains("init"));
}

#[test]
fn a_pause_stops_the_picture_and_the_reading() {
    let mut app = app(build());
    let _asked = app.take_asks();
    press(&mut app, &[Key::Char(' ')]);
    assert_eq!(app.take_asks(), [Ask::Pause(true)]);
    let before = screen(&mut app, (80, 24));
    assert!(
        before[0].ends_with("PAUSED at 02:14:07 UTC"),
        "{}",
        before[0]
    );
    assert_eq!(at(&mut app, (80, 24), Time(NOW.0 + 3_600_000 * MS)), before);
    // What was on its way is shown later.
    let late = started(NOW, 8_000, 100, "ada", "late");
    app.told(Told::Events(vec![late]));
    assert_eq!(screen(&mut app, (80, 24)), before);
    press(&mut app, &[Key::Char(' ')]);
    assert_eq!(app.take_asks(), [Ask::Pause(false)]);
    assert!(screen(&mut app, (80, 24)).join("\n").contains("late"));
    assert_ne!(at(&mut app, (80, 24), Time(NOW.0 + 3_600_000 * MS)), before);
}

#[test]
fn arrows_lead_through_recorded_time_and_end_leads_back() {
    let mut app = app(build());
    let _asked = app.take_asks();
    press(&mut app, &[Key::Left]);
    assert_eq!(app.take_asks(), [Ask::Look(At::Time(ago(10_000)))]);
    press(&mut app, &[Key::Char('+'), Key::Left]);
    let past = At::Time(ago(70_000));
    assert_eq!(app.take_asks(), [Ask::Look(past)]);
    // An answer to what was asked before is not shown.
    app.told(Told::Looked(At::Time(ago(10_000)), Box::default()));
    assert!(app.waiting.is_some());
    app.told(Told::Looked(past, Box::default()));
    let shown = screen(&mut app, (80, 24));
    assert!(
        shown[0].starts_with("at 2026-11-22 02:12:57 UTC  step 1 min  lost 0"),
        "{}",
        shown[0]
    );
    assert!(shown[0].ends_with("live: End"), "{}", shown[0]);
    assert!(
        shown[3].starts_with("nothing was recorded then"),
        "{}",
        shown[3]
    );
    // What happens now is not mixed in.
    app.told(Told::Events(build()));
    assert!(screen(&mut app, (80, 24))[3].starts_with("nothing was recorded then"));
    press(&mut app, &[Key::Right, Key::Right]);
    assert_eq!(
        app.take_asks(),
        [Ask::Look(At::Time(ago(10_000))), Ask::Look(At::Live)]
    );
    press(&mut app, &[Key::Right]);
    assert_eq!(app.take_asks(), []);
    press(&mut app, &[Key::Left, Key::End]);
    assert_eq!(app.take_asks().last(), Some(&Ask::Look(At::Live)));
}

#[test]
fn a_story_is_asked_for_once_and_stays_when_its_process_goes() {
    let mut app = app(build());
    let _asked = app.take_asks();
    let _first = screen(&mut app, (80, 24));
    press(&mut app, &[Key::Char('/')]);
    type_in(&mut app, "two.c");
    press(&mut app, &[Key::Enter]);
    let _drawn = screen(&mut app, (80, 24));
    press(&mut app, &[Key::End, Key::Up, Key::Down, Key::Enter]);
    assert_eq!(app.page, Page::Story(ProcessKey(1012)));
    let _drawn = screen(&mut app, (80, 24));
    let key = ProcessKey(1012);
    let wanted = Ask::Story {
        key,
        at: At::Live,
        width: 80,
    };
    assert_eq!(app.take_asks(), [wanted]);
    let _drawn = screen(&mut app, (80, 24));
    assert_eq!(app.take_asks(), [], "nothing has changed");
    let mut lines = vec![
        "process 1012, key 00000000000003f4".to_owned(),
        "x".repeat(200),
    ];
    lines.extend((0..100).map(|number| format!("line {number}")));
    app.told(Told::Story(ProcessKey(7), vec!["of another".to_owned()]));
    app.told(Told::Story(key, lines));
    let shown = at(&mut app, (80, 24), Time(NOW.0 + 10_000 * MS));
    assert!(shown[3].starts_with("process 1012"), "{shown:#?}");
    // Whole, on three lines.
    assert_eq!(shown[4..7].iter().map(String::len).sum::<usize>(), 200);
    press(&mut app, &[Key::End]);
    let shown = screen(&mut app, (80, 24));
    assert_eq!(shown[22], "line 99");
    press(&mut app, &[Key::PageUp, Key::Up, Key::Home, Key::Escape]);
    assert_eq!(app.page, Page::List);
}

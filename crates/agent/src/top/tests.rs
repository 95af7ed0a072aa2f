//! The screen as it is drawn, at sizes from one cell on, and what keys and events make of it.

mod keys;
mod look;

use event::{Kind, ProcessKey};
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

use super::app::{App, Style};
use super::feed::{At, Told};
use super::keys::Key;
use super::model::{JUST_NS, Model, PROCESSES_MAX};
use super::text::Charset;
use crate::trail::{
    Body, Event, Further, Lost, LostRange, Origin, ProcessExec, ProcessExit, ProcessStart, Program,
    SensorStart, SensorStop, Text, ThreadExit, Time,
};

/// 02:14:07 UTC.
const NOW: Time = Time(1_795_313_647_000_000_000);

const MS: i64 = 1_000_000;

fn ago(ms: i64) -> Time {
    Time(NOW.0 - ms * MS)
}

fn event(time: Time, process_id: u32, body: Body) -> Event {
    Event {
        sequence: 1,
        time,
        origin: Origin::of_host("atlas"),
        process_id,
        process_key: ProcessKey(process_id.into()),
        body,
        kept_by: None,
        truncated: Vec::new(),
        missing: Vec::new(),
        further: Further::default(),
    }
}

fn program(user: &str, command_line: &str) -> Program {
    Program {
        image: Some(Text::from(
            command_line.split(' ').next().unwrap_or_default(),
        )),
        command_line: Some(Text::from(command_line)),
        user: Some(user.into()),
        ..Program::default()
    }
}

fn started(time: Time, id: u32, parent: u32, user: &str, command_line: &str) -> Event {
    let start = ProcessStart {
        parent_process_id: Some(parent),
        parent_process_key: Some(ProcessKey(parent.into())),
        program: program(user, command_line),
        ..ProcessStart::default()
    };
    event(time, id, Body::ProcessStart(Box::new(start)))
}

fn ended(time: Time, id: u32, exit_code: u32, signal: Option<u32>, ran_ms: u64) -> Event {
    let exit = ProcessExit {
        exit_code: signal.is_none().then_some(exit_code),
        signal,
        run_time_ns: Some(ran_ms * 1_000_000),
        ..ProcessExit::default()
    };
    event(time, id, Body::ProcessExit(exit))
}

fn lost(time: Time, count: u64) -> Event {
    let lost = Lost {
        lost_kind: Kind::THREAD_START,
        lost_count: count,
        lost_reason: "buffer_full".into(),
        range: LostRange::default(),
    };
    event(time, 0, Body::Lost(lost))
}

/// What the sketch of the screen shows.
fn build() -> Vec<Event> {
    let sensor = SensorStart {
        source: "ebpf".into(),
        version: "1".into(),
        system: None,
    };
    vec![
        event(ago(11_520_000), 0, Body::SensorStart(sensor)),
        started(ago(3 * 86_400_000), 1, 0, "root", "/sbin/init"),
        started(
            ago(2 * 86_400_000),
            2201,
            1,
            "root",
            "/usr/lib/systemd/systemd-journald",
        ),
        started(ago(662_000), 100, 1, "ada", "-bash"),
        started(ago(1_200), 1000, 100, "ada", "make -j2 all"),
        started(ago(13), 1011, 1000, "ada", "/usr/lib/gcc/cc1 -quiet one.c"),
        started(ago(60), 1012, 1000, "ada", "/usr/lib/gcc/cc1 -quiet two.c"),
        ended(ago(14), 1012, 0, Some(11), 46),
        started(ago(2_500), 1013, 1000, "ada", "true"),
        ended(ago(2_400), 1013, 0, None, 100),
        started(ago(9_000), 1014, 1000, "ada", "gone long ago"),
        ended(ago(8_000), 1014, 2, None, 1_000),
    ]
}

fn app(events: Vec<Event>) -> App {
    let style = Style {
        colour: true,
        charset: Charset::Utf8,
    };
    let mut app = App::new(At::Live, style, NOW);
    app.told(Told::Looked(At::Live, Box::default()));
    app.told(Told::Events(events));
    app
}

fn at(app: &mut App, (width, height): (u16, u16), now: Time) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal
        .draw(|frame| app.draw(frame.buffer_mut(), now))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| -> String {
        let cells = (0..width).map(|x| buffer[(x, y)].symbol());
        cells.collect::<String>().trim_end().to_owned()
    };
    (0..height).map(row).collect()
}

fn screen(app: &mut App, size: (u16, u16)) -> Vec<String> {
    at(app, size, NOW)
}

fn press(app: &mut App, keys: &[Key]) {
    for key in keys {
        app.key(*key, NOW);
    }
}

fn type_in(app: &mut App, text: &str) {
    for character in text.chars() {
        app.key(Key::Char(character), NOW);
    }
}

/// What docs/TOP.md shows is what is drawn.
#[test]
fn is_as_the_document_has_it_in_80_columns() {
    let document = include_str!("../../../../docs/TOP.md");
    let mut app = app(build());
    let shown = screen(&mut app, (80, 12));
    assert!(document.contains(&shown.join("\n")), "{}", shown.join("\n"));
    // A larger screen has no more to say.
    let large = screen(&mut app, (80, 24));
    assert_eq!(large[..10], shown[..10]);
    assert_eq!(large[23], shown[11]);
}

#[test]
fn is_drawn_at_any_size_and_the_state_never_goes() {
    for (width, height) in [
        (1, 1),
        (10, 3),
        (60, 20),
        (79, 24),
        (120, 40),
        (160, 50),
        (200, 2),
    ] {
        let mut app = app(build());
        press(&mut app, &[Key::Down]);
        let _before = screen(&mut app, (width, height));
        let shown = screen(&mut app, (width, height)).join("\n");
        for key in [
            Key::Enter,
            Key::Escape,
            Key::Char('l'),
            Key::Escape,
            Key::Char('?'),
        ] {
            press(&mut app, &[key]);
            let _any = screen(&mut app, (width, height));
        }
        if height >= 20 {
            assert!(shown.contains("signal 11"), "{shown}");
            assert_eq!(shown.contains("USER"), width >= 80, "{shown}");
            assert_eq!(shown.contains("AGE"), width >= 60, "{shown}");
            assert_eq!(shown.contains("reading its story"), width >= 120, "{shown}");
            assert_eq!(shown.contains("STARTED"), width >= 160, "{shown}");
        }
    }
    let mut app = app(build());
    assert_eq!(
        screen(&mut app, (10, 3)),
        ["r…  lost 0", "  init", "  ├─ syst…"]
    );
    press(&mut app, &[Key::Down; 6]);
    assert_eq!(screen(&mut app, (10, 2))[1], "- signal …");
    assert_eq!(screen(&mut app, (1, 1)), ["-"]);
}

/// Every size is drawn, and what is drawn at one does not depend on what was drawn before.
#[test]
fn resizing_from_any_size_to_any_other_is_no_trouble() {
    let mut app = app(build());
    let whole = screen(&mut app, (80, 24));
    for width in 1..90 {
        for height in [1, 2, 3, 4, 5, 6, 7, 24] {
            let lines = screen(&mut app, (width, height));
            assert_eq!(lines.len(), usize::from(height));
        }
    }
    assert_eq!(screen(&mut app, (80, 24)), whole);
}

#[test]
fn what_has_ended_stays_for_three_seconds() {
    let mut app = app(build());
    let has = |lines: &[String], text: &str| lines.iter().any(|line| line.contains(text));
    let shown = screen(&mut app, (80, 24));
    assert!(has(&shown, "two.c") && !has(&shown, "gone long ago"));
    assert!(has(
        &at(&mut app, (80, 24), Time(NOW.0 + JUST_NS - 15 * MS)),
        "two.c"
    ));
    let later = at(&mut app, (80, 24), Time(NOW.0 + JUST_NS));
    assert!(!has(&later, "two.c") && has(&later, "one.c"));
    let line = later.iter().find(|line| line.contains("one.c")).unwrap();
    assert!(!line.starts_with('+'), "{line}");
}

#[test]
fn a_name_can_neither_act_on_the_terminal_nor_shift_a_column() {
    let long = format!("/bin/x {}", "a".repeat(32 << 10));
    let names = [
        "a\x01b\x1b[31mred\x1b]0;title\x07",
        "\u{202e}txt.exe",
        "👩‍🔬 日本語 cafe\u{301} ❤\u{fe0f} 👍🏽",
        "line\nfeed\ttab\0nul",
        &long,
    ];
    let mut events = build();
    for (id, name) in (3_000..).zip(names) {
        events.push(started(ago(500), id, 100, name, name));
        events.push(ended(ago(100), id, 3, None, 400));
    }
    let mut app = app(events);
    for width in [40, 80, 120] {
        let mut terminal = Terminal::new(TestBackend::new(width, 30)).unwrap();
        terminal
            .draw(|frame| app.draw(frame.buffer_mut(), NOW))
            .unwrap();
        let buffer = terminal.backend().buffer();
        for y in 0..30 {
            let line: String = (0..width).map(|x| buffer[(x, y)].symbol()).collect();
            assert!(!line.chars().any(char::is_control), "{line:?}");
            assert!(
                !line.contains(['\u{202e}', '\u{200d}', '\u{fe0f}']),
                "{line:?}"
            );
            // The state stands in its column, whatever stands before and behind it.
            if line.contains("exit 3") {
                let column = match width {
                    40 => 10,
                    _ => 27,
                };
                let state: String = (column..column + 6)
                    .map(|x| buffer[(x, y)].symbol())
                    .collect();
                assert_eq!(state, "exit 3", "{line:?}");
            }
        }
    }
}

#[test]
fn without_utf_8_every_cell_is_ascii() {
    let mut app = app(build());
    app.style.charset = Charset::Ascii;
    for size in [(80, 24), (160, 50)] {
        let shown = screen(&mut app, size).join("\n");
        assert!(shown.is_ascii(), "{shown}");
        assert!(shown.contains("`- make -j2 all"), "{shown}");
    }
}

#[test]
fn without_colours_a_sign_and_a_word_say_the_state() {
    use ratatui_core::buffer::Cell;
    use ratatui_core::style::Color;
    let mut app = app(build());
    app.style.colour = false;
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal
        .draw(|frame| app.draw(frame.buffer_mut(), NOW))
        .unwrap();
    let buffer = terminal.backend().buffer();
    let cells = buffer.content().iter();
    assert!(
        cells
            .clone()
            .all(|cell| cell.fg == Color::Reset && cell.bg == Color::Reset)
    );
    let text: String = cells.map(Cell::symbol).collect();
    assert!(text.contains("-    1012") && text.contains("signal 11"));
}

#[test]
fn a_loss_stands_where_it_happened_and_in_the_head() {
    let mut events = build();
    events.push(lost(ago(5_000), 14));
    let mut app = app(events);
    let shown = screen(&mut app, (80, 24));
    assert!(shown[0].contains("lost 14"), "{}", shown[0]);
    let told = "! lost 14 thread_start at 02:14:02.000: buffer_full";
    assert!(shown.iter().any(|line| line == told), "{shown:#?}");
    // In the order of the starts it stands between those before and after it.
    press(&mut app, &[Key::Char('t')]);
    let shown = screen(&mut app, (80, 24));
    let place = |text: &str| shown.iter().position(|line| line.contains(text)).unwrap();
    assert!(place("make") < place("! lost") && place("! lost") < place("-bash"));
    press(&mut app, &[Key::Char('l')]);
    let page = screen(&mut app, (80, 24));
    assert_eq!(
        page[2],
        "14 events lost in this recording, the latest first"
    );
    press(&mut app, &[Key::Escape]);
    // Narrow, what was lost goes last.
    assert!(screen(&mut app, (12, 10))[0].contains("lost 14"));
    assert!(!at(&mut app, (80, 24), Time(NOW.0 + 60_000 * MS)).contains(&told.to_owned()));
}

#[test]
fn what_ended_is_said_and_nothing_is_told_to_run() {
    let mut events = build();
    let stop = SensorStop {
        source: "ebpf".into(),
        version: "1".into(),
        account: crate::account::Account::default(),
    };
    events.push(event(ago(5_000), 0, Body::SensorStop(Box::new(stop))));
    let mut app = app(events);
    let shown = screen(&mut app, (80, 24));
    let head = "atlas  recording ended 2026-11-22 02:14:02 UTC, 5.0s ago  lost 0";
    assert!(shown[0].starts_with(head), "{}", shown[0]);
}

#[test]
fn what_cannot_be_read_is_said_until_it_can() {
    let mut app = app(build());
    app.told(Told::Failed("the store was deleted".to_owned()));
    let shown = screen(&mut app, (80, 24));
    assert_eq!(shown[2], "the store was deleted");
    assert!(
        shown.join("\n").contains("make"),
        "what was there is still shown"
    );
    app.told(Told::Events(Vec::new()));
    assert_ne!(screen(&mut app, (80, 24))[2], "the store was deleted");
}

/// A fork bomb, with arguments as long as they can be.
#[test]
fn the_memory_is_bounded_and_what_there_is_no_room_for_is_counted() {
    let long = "a".repeat(32 << 10);
    let mut model = Model::default();
    let count = u32::try_from(PROCESSES_MAX).unwrap() + 1_000;
    let start = started(ago(100), 1, 1, "ada", &long);
    for id in 1..=count {
        model.add(Event {
            process_id: id,
            process_key: ProcessKey(id.into()),
            ..start.clone()
        });
    }
    let shown_count = model.tree.processes().len();
    assert!(model.tree.texts_size() <= (64 << 20) + (40 << 10));
    assert!(shown_count <= PROCESSES_MAX);
    let unshown = usize::try_from(model.unshown_count).unwrap();
    assert_eq!(shown_count + unshown, usize::try_from(count).unwrap());
    // When they end there is room again.
    for id in 1..=count {
        model.add(ended(ago(50), id, 0, None, 50));
    }
    model.tidy(Time(NOW.0 + JUST_NS));
    assert_eq!(model.tree.processes().len(), 0);
}

#[test]
fn an_exec_changes_the_name_and_a_thread_of_who_is_gone_brings_nobody_back() {
    let exec = ProcessExec {
        program: program("root", "/usr/bin/id -u"),
        ..ProcessExec::default()
    };
    let thread = ThreadExit { thread_id: 9 };
    let mut app = app(vec![
        started(ago(500), 7, 1, "ada", "/bin/sh"),
        event(ago(400), 7, Body::ProcessExec(Box::new(exec))),
        event(ago(300), 8, Body::ThreadExit(thread)),
    ]);
    let shown = screen(&mut app, (80, 24));
    assert_eq!(shown[3], "+       7 root      500ms              id -u");
    assert_eq!(shown[4], "");
}

/// The slowest picture there can be.
#[test]
fn a_machine_full_of_processes_is_drawn_quickly() {
    let count = 30_000;
    let events = (2..count).map(|id| started(ago(60_000), id, id / 2, "ada", "sleep 1000"));
    let mut app = app(events.collect());
    let begin = std::time::Instant::now();
    let _shown = screen(&mut app, (160, 50));
    // A debug build on a busy machine; it takes a tenth of this.
    assert!(begin.elapsed() < std::time::Duration::from_secs(5));
}

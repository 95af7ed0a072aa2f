//! Processes and threads as one row, whatever was recorded of them where.

use std::path::Path;

use event::ProcessKey;
use systrail::sink::Sink as _;
use systrail::store::{Reader, Window};
use systrail::trail::{
    Body, Event, ImageLoad, ProcessExec, ProcessExit, ProcessStart, Program, SensorStart, Text,
    ThreadExit, ThreadStart,
};
use systrail::tree::stored::Wanted;

use super::shelf::{Shelf, ask, ask_segment, of_process, reader, segments, settings};

fn program(image: &str) -> Program {
    Program {
        image: Some(Text::from(image)),
        command_line: Some(Text::from(image)),
        arguments: Some([Text::from(image)].into()),
        ..Program::default()
    }
}

fn start(sequence: u64, process_id: u32, parent: u32, image: &str) -> Event {
    started(sequence, process_id, parent, image, false)
}

fn started(sequence: u64, process_id: u32, parent: u32, image: &str, existing: bool) -> Event {
    let start = ProcessStart {
        parent_process_id: Some(parent),
        parent_process_key: Some(ProcessKey(parent.into())),
        program: program(image),
        existing,
        ..ProcessStart::default()
    };
    of_process(sequence, process_id, Body::ProcessStart(Box::new(start)))
}

fn exec(sequence: u64, process_id: u32, image: &str) -> Event {
    let exec = ProcessExec {
        program: program(image),
        ..ProcessExec::default()
    };
    of_process(sequence, process_id, Body::ProcessExec(Box::new(exec)))
}

fn exit(sequence: u64, process_id: u32, exit_code: u32) -> Event {
    let exit = ProcessExit {
        exit_code: Some(exit_code),
        ..ProcessExit::default()
    };
    of_process(sequence, process_id, Body::ProcessExit(exit))
}

fn sensor(sequence: u64) -> Event {
    let start = SensorStart {
        source: "ebpf".into(),
        version: "0.1.0".into(),
        system: None,
    };
    of_process(sequence, 99, Body::SensorStart(start))
}

fn thread_start(sequence: u64, thread_id: u32) -> Event {
    let start = ThreadStart {
        thread_id,
        ..ThreadStart::default()
    };
    of_process(sequence, 7, Body::ThreadStart(start))
}

fn thread_exit(sequence: u64, thread_id: u32) -> Event {
    of_process(sequence, 7, Body::ThreadExit(ThreadExit { thread_id }))
}

/// A store with a segment for each of the parts.
fn store_of(directory: &Path, parts: &[&[Event]]) -> Shelf {
    let mut settings = settings(directory);
    settings.segment_size = 1;
    let mut shelf = Shelf::open(settings);
    for part in parts {
        shelf.write_events(part);
    }
    // The last commit began one more.
    assert_eq!(segments(&shelf.path).len(), parts.len() + 1);
    shelf
}

/// What is told of each process, in the order of ids.
fn told(reader: &Reader) -> Vec<String> {
    let sql = "SELECT process_id || ' ' || coalesce(image, '?') || ' of ' \
               || coalesce(ancestry, '?') || ' execs ' || exec_count || ' exit ' \
               || coalesce(exit_code, '?') || ' running ' || running \
               FROM processes ORDER BY process_id";
    let mut statement = reader.connection().prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

/// A shell starts a compiler, which starts a linker and fails.
fn build() -> Vec<Event> {
    vec![
        sensor(1),
        started(2, 1, 0, "/sbin/init", true),
        start(3, 10, 1, "/sbin/init"),
        exec(4, 10, "/bin/sh"),
        start(5, 20, 10, "/bin/sh"),
        exec(6, 20, "/usr/bin/cc"),
        start(7, 30, 20, "/usr/bin/cc"),
        exec(8, 30, "/usr/bin/ld"),
        exit(9, 30, 0),
        exit(10, 20, 1),
    ]
}

const BUILD_TOLD: [&str; 4] = [
    "1 /sbin/init of ? execs 0 exit ? running 1",
    "10 /bin/sh of /sbin/init execs 1 exit ? running 1",
    "20 /usr/bin/cc of /sbin/init > /bin/sh execs 1 exit 1 running 0",
    "30 /usr/bin/ld of /sbin/init > /bin/sh > /usr/bin/cc execs 1 exit 0 running 0",
];

#[test]
fn a_process_is_one_row_with_start_execs_exit_and_ancestry() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write_events(&build());
    assert_eq!(told(&reader(&shelf.path)), BUILD_TOLD);
}

#[test]
fn a_process_that_lives_in_several_segments_is_one_row_all_the_same() {
    let build = build();
    for cut in 1..build.len() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = store_of(directory.path(), &[&build[..cut], &build[cut..]]);
        assert_eq!(told(&reader(&shelf.path)), BUILD_TOLD, "cut at {cut}");
    }
    let directory = tempfile::tempdir().unwrap();
    let parts: Vec<_> = build.iter().map(std::slice::from_ref).collect();
    let shelf = store_of(directory.path(), &parts);
    assert_eq!(told(&reader(&shelf.path)), BUILD_TOLD, "an event a segment");
}

#[test]
fn what_still_runs_keeps_its_start_when_the_segment_it_started_in_is_deleted() {
    let directory = tempfile::tempdir().unwrap();
    let build = build();
    let shelf = store_of(directory.path(), &[&build[..8], &build[8..]]);
    let path = shelf.path.clone();
    shelf.close();
    std::fs::remove_file(&segments(&path)[0]).unwrap();
    assert_eq!(told(&reader(&path)), BUILD_TOLD);
    let starts: i64 = ask(
        &reader(&path),
        "SELECT count(*) FROM events WHERE kind = 'process_start'",
    );
    assert_eq!(starts, 0, "what is carried over is no event");
}

#[test]
fn what_ended_while_nobody_recorded_is_not_running() {
    let runs = |directory: &Path, first: &[Event], second: &[Event]| {
        let mut shelf = Shelf::in_directory(directory);
        shelf.write_events(first);
        shelf.close();
        let mut shelf = Shelf::in_directory(directory);
        shelf.write_events(second);
        told(&reader(&shelf.path))
    };
    let directory = tempfile::tempdir().unwrap();
    let told = runs(
        directory.path(),
        &[
            sensor(1),
            start(2, 10, 1, "/bin/a"),
            start(3, 20, 1, "/bin/b"),
        ],
        &[sensor(1_001), started(1_002, 20, 1, "/bin/b", true)],
    );
    assert_eq!(
        told,
        [
            "10 /bin/a of ? execs 0 exit ? running 0",
            "20 /bin/b of ? execs 0 exit ? running 1",
        ]
    );
}

#[test]
fn a_false_ancestry_ends() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write_events(&[start(1, 10, 20, "/bin/a"), start(2, 20, 10, "/bin/b")]);
    let ancestry: String = ask(
        &reader(&shelf.path),
        "SELECT ancestry FROM processes WHERE process_id = 10",
    );
    assert_eq!(ancestry.matches(" > ").count(), 15, "{ancestry}");
}

#[test]
fn a_thread_is_one_row_in_whatever_segments_its_start_and_exit_are() {
    let events = [
        sensor(1),
        thread_start(2, 71),
        thread_start(3, 72),
        thread_exit(4, 71),
        thread_exit(5, 73),
        thread_exit(6, 72),
        thread_start(7, 74),
    ];
    let told = |reader: &Reader| -> String {
        ask(
            reader,
            "SELECT group_concat(thread_id || ' ' || coalesce(run_time_ns, \
             CASE WHEN start_time IS NULL THEN 'began unseen' ELSE 'runs' END), ', ') \
             FROM (SELECT * FROM threads ORDER BY thread_id)",
        )
    };
    for cut in 1..events.len() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = store_of(directory.path(), &[&events[..cut], &events[cut..]]);
        assert_eq!(
            told(&reader(&shelf.path)),
            "71 2000, 72 3000, 73 began unseen, 74 runs",
            "cut at {cut}"
        );
    }
}

// The row of a process whose exec was lost had the program that it had replaced.
#[test]
fn a_process_ran_what_its_exit_says_and_nobody_knows_what_where_that_was_lost() {
    let ended = |sequence, process_id, image: Option<&str>| {
        let mut event = exit(sequence, process_id, 0);
        if let Body::ProcessExit(exit) = &mut event.body {
            exit.image = image.map(Into::into);
        }
        if image.is_none() {
            event.missing = vec![("image".into(), "lost".into())];
        }
        event
    };
    let events = [
        sensor(1),
        exec(2, 10, "/old"),
        exec(3, 20, "/old"),
        exec(4, 30, "/old"),
        ended(5, 10, Some("/old")),
        ended(6, 20, Some("/new")),
        ended(7, 30, None),
    ];
    for cut in 1..events.len() {
        let directory = tempfile::tempdir().unwrap();
        let shelf = store_of(directory.path(), &[&events[..cut], &events[cut..]]);
        let told: String = ask(
            &reader(&shelf.path),
            "SELECT group_concat(coalesce(image, '?') || ' ' || coalesce(command_line, '?'), ', ') \
             FROM (SELECT * FROM processes ORDER BY process_id)",
        );
        assert_eq!(told, "/old /old, /new ?, ? ?", "cut at {cut}");
    }
}

/// 125 were all that SQLite could attach, and 20 were too many for a query over `processes`.
#[test]
fn any_number_of_segments_is_asked() {
    const COUNT: u64 = 130;
    let directory = tempfile::tempdir().unwrap();
    let begin = [sensor(1), start(2, 1, 0, "/sbin/init"), thread_start(3, 70)];
    let mut parts = vec![begin.to_vec()];
    for n in 1..COUNT {
        let id = 100 + u32::try_from(n).unwrap();
        parts.push(vec![
            start(n * 10, id, 1, "/bin/true"),
            exit(n * 10 + 1, id, 0),
        ]);
    }
    parts.push(vec![thread_exit(COUNT * 10, 70)]);
    let parts: Vec<_> = parts.iter().map(Vec::as_slice).collect();
    let shelf = store_of(directory.path(), &parts);
    let reader = reader(&shelf.path);
    let count = |sql: &str| ask::<i64>(&reader, sql).unsigned_abs();
    assert_eq!(count("SELECT count(*) FROM processes"), COUNT);
    assert_eq!(
        count("SELECT count(*) FROM processes WHERE exit_code = 0"),
        COUNT - 1
    );
    assert_eq!(
        count("SELECT count(*) FROM events"),
        3 + 2 * (COUNT - 1) + 1
    );
    let thread = "SELECT run_time_ns IS NOT NULL AND exit_time_text IS NOT NULL FROM threads";
    assert!(ask::<bool>(&reader, thread));
    let joined = "SELECT count(*) FROM processes AS p JOIN events AS e USING (process_key) \
                  WHERE p.process_id > 100 AND e.kind = 'process_exit'";
    assert_eq!(count(joined), COUNT - 1);
    let tree = systrail::tree::stored::read(&reader, &Window::default(), Wanted::default());
    assert!(tree.is_ok());
    assert!(reader.passed_over().is_empty() && reader.take_failed().is_empty());
}

/// What is damaged behind the first look ends a segment and not the answer.
#[test]
fn a_segment_that_cannot_be_read_to_its_end_does_not_end_the_answer() {
    let directory = tempfile::tempdir().unwrap();
    let starts = |from: u32| -> Vec<Event> {
        let ids = from..from + 300;
        ids.map(|id| start(id.into(), id, 1, &format!("/bin/a-longer-name-for-{id}")))
            .collect()
    };
    let (first, second) = (starts(1000), starts(2000));
    let shelf = store_of(directory.path(), &[&first, &second]);
    let path = shelf.path.clone();
    shelf.close();
    let damaged = &segments(&path)[0];
    let page: i64 = ask_segment(
        damaged,
        "SELECT rootpage FROM sqlite_master WHERE name = 'process_start'",
    );
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(damaged)
        .unwrap();
    // The table's root, behind which nothing is found any more.
    let place = u64::try_from((page - 1) * 4096).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[0xff; 4096], place).unwrap();
    let reader = reader(&path);
    let count: i64 = ask(
        &reader,
        "SELECT count(*) FROM events WHERE kind = 'process_start'",
    );
    assert_eq!(count, 300);
    let told: Vec<_> = reader
        .passed_over()
        .iter()
        .map(|it| it.path.clone())
        .collect();
    let failed: Vec<_> = reader.take_failed().into_iter().map(|it| it.path).collect();
    assert_eq!([told, failed].concat(), std::slice::from_ref(damaged));
}

/// A segment was looked at when it was committed, twice a second: by then it could have ten times its
/// size.
#[test]
fn a_segment_ends_when_it_has_its_size_and_not_only_when_it_is_flushed() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.segment_size = 1 << 20;
    let mut shelf = Shelf::open(settings);
    let mut sequence = 0;
    for _chunk in 0..10 {
        let events: Vec<Event> = (0..20)
            .map(|_| {
                sequence += 1;
                let image = format!("/{sequence}/{}", "a".repeat(60_000));
                let load = ImageLoad {
                    image: Some(Text::from(&*image)),
                    ..ImageLoad::default()
                };
                of_process(sequence, 4242, Body::ImageLoad(load))
            })
            .collect();
        shelf.sink.write(&events, &shelf.tally);
    }
    shelf.sink.flush(&shelf.tally);
    let paths = segments(&shelf.path);
    assert!(paths.len() >= 5, "{paths:?}");
    for path in &paths {
        let size = std::fs::metadata(path).unwrap().len();
        assert!(size < 4 << 20, "{}: {size}", path.display());
    }
    shelf.close();
}

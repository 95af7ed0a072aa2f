//! Whatever happens to the medium: what was committed is there, the rest is counted.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use event::Kind;
use systrail::sink::store::{Error, Store};
use systrail::sink::{FLUSH_INTERVAL_MS, Sink as _};
use systrail::store::{self, ReadError, Window};
use systrail::trail::{Body, Event, Lost, LostRange};

use super::any_event::full_events;
use super::disk::{Disk, mount};
use super::shelf::{Shelf, ask, of_process, read_all, reader, segments, sequences, settings};
use super::warnings::warnings_of;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The names of the files in a store, but for the lock.
fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "store.lock")
        .collect();
    names.sort();
    names
}

#[test]
fn creates_what_is_not_there_and_keeps_others_out() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("a/b");
    let mut shelf = Shelf::in_directory(&below);
    shelf.write(1);
    for name in names(&shelf.path) {
        assert_eq!(mode(&shelf.path.join(&name)) & !0o640, 0, "{name}");
    }
    assert_eq!(mode(&shelf.path) & !0o750, 0);
}

#[test]
fn one_process_writes_a_store() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::in_directory(directory.path());
    let second = Store::open(settings(directory.path()));
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    shelf.close();
    Shelf::in_directory(directory.path());
}

#[test]
fn a_store_that_was_closed_is_files_that_stand_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.segment_size = 1;
    let mut shelf = Shelf::open(settings);
    shelf.write(1_000);
    shelf.write(1_000);
    let path = shelf.path.clone();
    shelf.close();
    let names = names(&path);
    assert_eq!(names.len(), 3);
    assert!(
        names.iter().all(|name| name.ends_with(".sqlite")),
        "{names:?}"
    );
    // Read where nothing can be written beside them.
    let copy = directory.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for name in names {
        fs::copy(path.join(&name), copy.join(&name)).unwrap();
    }
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o555)).unwrap();
    assert_eq!(sequences(&copy), (1..=2_000).collect::<Vec<_>>());
}

#[test]
fn a_writer_that_is_dropped_without_a_word_leaves_what_it_committed() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(10);
    shelf.sink.write(&full_events(), &shelf.tally);
    let path = shelf.path.clone();
    drop(shelf);
    assert_eq!(sequences(&path), (1..=10).collect::<Vec<_>>());
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    assert_eq!(segments(&path).len(), 1);
    assert_eq!(read_all(&path).len(), 11);
}

/// The segment's name was written down here once: a day after that moment the segment was too old to
/// go on with, and the test failed from then on.
#[test]
fn a_segment_whose_writer_was_killed_before_its_first_event_is_used() {
    let directory = tempfile::tempdir().unwrap();
    let shelf = Shelf::in_directory(directory.path());
    let path = shelf.path.clone();
    shelf.close();
    fs::write(&segments(&path)[0], b"").unwrap();
    assert!(reader(&path).passed_over().is_empty());
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(2);
    assert_eq!(segments(&path).len(), 1);
    assert_eq!(sequences(&path), [1, 2]);
}

#[test]
fn a_damaged_segment_is_set_aside_and_recording_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1_000);
    let path = shelf.path.clone();
    shelf.close();
    let segment = segments(&path).remove(0);
    let whole = fs::read(&segment).unwrap();
    let mut zeroed = whole.clone();
    zeroed[..8_192].fill(0);
    let mut torn = whole.clone();
    torn.truncate(6_000);
    let damages = [b"no database at all".to_vec(), zeroed, torn];
    for (count, damaged) in damages.iter().enumerate() {
        fs::write(&segment, damaged).unwrap();
        let warnings = warnings_of(|| {
            let mut shelf = Shelf::in_directory(directory.path());
            shelf.write(7);
            assert_eq!(shelf.close().written(), 7, "damage {count}");
        });
        assert_eq!(warnings.len(), 1, "damage {count}: {warnings:?}");
        assert!(
            warnings[0].contains("is damaged and set aside"),
            "{warnings:?}"
        );
        let aside = PathBuf::from(format!("{}.corrupt", segment.display()));
        assert_eq!(&fs::read(&aside).unwrap(), damaged, "it is kept as it was");
        assert_eq!(sequences(&path), (1..=7).collect::<Vec<_>>());
        fs::remove_file(aside).unwrap();
        for newer in segments(&path) {
            fs::remove_file(newer).unwrap();
        }
    }
}

/// A recorder was killed, and its segment cut within a page, the write-ahead log whole. SQLite calls
/// that an I/O error, which was not taken for damage: no recording could be started any more.
#[test]
fn a_segment_of_a_killed_writer_is_set_aside_wherever_it_was_cut() {
    let (written, cut) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut shelf = Shelf::in_directory(written.path());
    shelf.write_events(&full_events());
    shelf.write(3_000);
    let segment = segments(&shelf.path).remove(0);
    // What another look of retention would have copied by then.
    let copied = rusqlite::Connection::open(&segment).and_then(|connection| {
        connection.busy_timeout(Duration::from_mins(1))?;
        // From here on the log is written anew, whoever else looked at the segment just now.
        let sql = "PRAGMA wal_checkpoint(RESTART)";
        connection.query_row(sql, [], |row| row.get::<_, bool>("busy"))
    });
    assert_eq!(copied, Ok(false));
    shelf.write_events(&full_events());
    shelf.write(100);
    let name = segment.file_name().unwrap();
    let with = |path: &Path, suffix: &str| {
        let mut path = path.join(name).into_os_string();
        path.push(suffix);
        PathBuf::from(path)
    };
    let path = cut.path().join("store");
    let mut set_aside_count = 0;
    // Within the pages of the schema and those that follow it.
    for page in 0..48_u64 {
        let size = (page * 4_096).saturating_sub(1_241);
        drop(fs::remove_dir_all(&path));
        fs::create_dir(&path).unwrap();
        for suffix in ["", "-wal"] {
            fs::copy(with(&shelf.path, suffix), with(&path, suffix)).unwrap();
        }
        let file = fs::File::options().write(true).open(with(&path, ""));
        file.unwrap().set_len(size).unwrap();
        let warnings = warnings_of(|| {
            let mut shelf = Shelf::in_directory(cut.path());
            shelf.write(7);
            shelf.write_until_recovered();
            let sequence = shelf.sequence;
            let tally = shelf.close();
            assert_eq!(
                tally.written() + tally.lost_total(),
                sequence,
                "cut to {size}"
            );
        });
        let is_aside = with(&path, ".corrupt").exists();
        let is_said = warnings.iter().any(|line| line.contains("set aside"));
        assert_eq!(is_said, is_aside, "cut to {size}: {warnings:?}");
        // SQLite would throw away what is in the log beside it.
        assert!(is_aside || size > 0);
        set_aside_count += u32::from(is_aside);
    }
    assert!(set_aside_count > 10, "{set_aside_count} of 48");
}

/// It kept every recording from starting, though a new one needs nothing of it.
#[test]
fn a_segment_that_cannot_be_gone_on_with_is_left_and_recording_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(3);
    let path = shelf.path.clone();
    shelf.close();
    let segment = segments(&path).remove(0);
    rusqlite::Connection::open(&segment)
        .and_then(|segment| segment.execute_batch("DROP TABLE meta; CREATE TABLE meta(other)"))
        .unwrap();
    let warnings = warnings_of(|| {
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write(7);
        assert_eq!(shelf.close().written(), 7);
    });
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].contains("cannot be gone on with"),
        "{warnings:?}"
    );
    assert!(segment.exists());
    assert_eq!(segments(&path).len(), 2);
}

/// The first page says that it is a segment, and there is nothing after it.
#[test]
fn a_segment_of_zeros_after_its_header_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1_000);
    let path = shelf.path.clone();
    shelf.close();
    let segment = segments(&path).remove(0);
    let whole = fs::read(&segment).unwrap();
    for kept_size in [100, 4_096, 12_288] {
        let mut zeroed = whole.clone();
        zeroed[kept_size..].fill(0);
        fs::write(&segment, zeroed).unwrap();
        let warnings = warnings_of(|| {
            let mut shelf = Shelf::in_directory(directory.path());
            shelf.write(7);
            shelf.write_until_recovered();
            shelf.close();
        });
        let aside = warnings.iter().filter(|line| line.contains("set aside"));
        assert_eq!(aside.count(), 1, "{kept_size}: {warnings:?}");
        for newer in segments(&path) {
            fs::remove_file(newer).unwrap();
        }
        fs::remove_file(format!("{}.corrupt", segment.display())).unwrap();
    }
}

/// What has a segment's name in a store: pipes, a device, a directory and links, and one whose
/// write-ahead log is a pipe.
fn make_others(path: &Path) -> Vec<PathBuf> {
    let name = |hour: u32| path.join(format!("20991122T{hour:02}0000.000Z.sqlite"));
    let pipe = |path: &Path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let link = |to: &Path, path: PathBuf| std::os::unix::fs::symlink(to, path).unwrap();
    pipe(&name(1));
    link(Path::new("/dev/zero"), name(2));
    fs::create_dir(name(3)).unwrap();
    link(Path::new("nothing"), name(4));
    link(&name(1), name(5));
    fs::write(name(6), b"").unwrap();
    pipe(Path::new(&format!("{}-wal", name(6).display())));
    (1..=6).map(name).collect()
}

/// A reader waited for ever for the other end of a pipe.
#[test]
fn readers_pass_over_what_is_no_regular_file_and_say_so() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(3);
    let path = shelf.path.clone();
    shelf.close();
    let others = make_others(&path);
    assert_eq!(sequences(&path), [1, 2, 3]);
    let reader = reader(&path);
    assert_eq!(ask::<i64>(&reader, "SELECT count(*) FROM events"), 3);
    let overview = store::overview(&path, &store::Guard::default()).unwrap();
    assert_eq!(overview.segment_count, 1);
    let told: Vec<_> = reader.passed_over().iter().map(|it| &it.path).collect();
    for other in &others {
        assert!(told.contains(&other), "{}: {told:?}", other.display());
    }
}

#[test]
fn what_is_no_regular_file_is_set_aside_and_recording_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(3);
    let path = shelf.path.clone();
    shelf.close();
    let others = make_others(&path);
    let warnings = warnings_of(|| {
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write(7);
        assert_eq!(shelf.close().written(), 7);
    });
    assert_eq!(warnings.len(), others.len(), "{warnings:?}");
    for other in others {
        assert!(!other.is_symlink() && !other.exists());
        let aside = PathBuf::from(format!("{}.corrupt", other.display()));
        assert!(aside.is_symlink() || aside.exists(), "nothing is deleted");
    }
    assert_eq!(sequences(&path).len(), 10);
}

#[test]
fn a_lock_that_is_a_pipe_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    fs::create_dir(&path).unwrap();
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&path.join("store.lock"), mode).unwrap();
    let error = Store::open(settings(directory.path())).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("store.lock: it is not a regular file"),
        "{error}"
    );
}

#[test]
fn a_segment_that_turns_out_damaged_while_it_is_written_is_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(5_000);
    let path = shelf.path.clone();
    shelf.close();
    let segment = segments(&path).remove(0);
    // All but the first pages, which say that it is a segment.
    let mut bytes = fs::read(&segment).unwrap();
    bytes[40_960..].fill(0xa5);
    fs::write(&segment, bytes).unwrap();
    let warnings = warnings_of(|| {
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write(5_000);
        shelf.write_until_recovered();
        let sequence = shelf.sequence;
        let tally = shelf.close();
        assert_eq!(tally.written() + tally.lost_total(), sequence);
        assert_eq!(u64::try_from(sequences(&path).len()), Ok(tally.written()));
    });
    let aside = warnings.iter().filter(|line| line.contains("set aside"));
    assert_eq!(aside.count(), 1, "{warnings:?}");
}

#[test]
fn readers_pass_over_what_they_cannot_read_and_say_why() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(3);
    let path = shelf.path.clone();
    shelf.close();
    let newer = path.join("20991122T100000.000Z.sqlite");
    fs::copy(&segments(&path)[0], &newer).unwrap();
    let connection = rusqlite::Connection::open(&newer).unwrap();
    connection
        .pragma_update(None, "user_version", 1_000)
        .unwrap();
    drop(connection);
    let foreign = path.join("19991122T100000.000Z.sqlite");
    let connection = rusqlite::Connection::open(&foreign).unwrap();
    connection
        .execute_batch("CREATE TABLE secrets(text)")
        .unwrap();
    drop(connection);
    fs::write(path.join("20001122T100000.000Z.sqlite"), [7; 5_000]).unwrap();

    let reader = reader(&path);
    // One of a later version has what this one knows of it.
    assert_eq!(ask::<i64>(&reader, "SELECT count(*) FROM events"), 6);
    let why: Vec<_> = reader
        .passed_over()
        .iter()
        .map(|over| over.why.to_string())
        .collect();
    assert_eq!(why.len(), 2, "{why:?}");
    assert!(
        why[0].ends_with("is not a segment of a store; move it elsewhere"),
        "{why:?}"
    );
    assert!(why[1].ends_with("file is not a database"), "{why:?}");

    let (read, refused): (Vec<_>, Vec<_>) = store::events(&path, &Window::default())
        .unwrap()
        .partition(Result::is_ok);
    assert_eq!((read.len(), refused.len()), (6, 2));
    // Nor does a writer touch what is newer than itself.
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    shelf.close();
    assert!(newer.exists());
    assert!(segments(&path).last() > Some(&newer));
}

#[test]
fn no_store_is_told_with_its_cure() {
    let directory = tempfile::tempdir().unwrap();
    let error = store::events(&directory.path().join("none"), &Window::default()).unwrap_err();
    assert!(matches!(error, ReadError::NotThere { .. }));
    assert!(
        error.to_string().contains("record one with `systrail run`"),
        "{error}"
    );
}

#[test]
fn a_segment_that_is_taken_away_costs_what_was_not_committed() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(10);
    let elsewhere = directory.path().join("elsewhere");
    fs::rename(&shelf.path, &elsewhere).unwrap();
    shelf.write(5);
    assert_eq!(shelf.tally.lost_total(), 5);
    shelf.write_until_recovered();
    let (path, sequence) = (shelf.path.clone(), shelf.sequence);
    let tally = shelf.close();
    assert_eq!(tally.written() + tally.lost_total(), sequence);
    let kept = sequences(&elsewhere).len() + sequences(&path).len();
    assert_eq!(u64::try_from(kept), Ok(tally.written()));
}

/// A row waits for others of its table, so the one that is refused may have been given long before.
#[test]
fn a_row_that_is_refused_costs_what_was_not_committed_and_all_of_it_is_counted() {
    // The first and the last of the rows inserted together, one after those, the last of all.
    for refused in [1, 16, 17, 20] {
        let directory = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::in_directory(directory.path());
        shelf.write(10);
        let connection = rusqlite::Connection::open(&segments(&shelf.path)[0]).unwrap();
        let trigger = format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON thread_exit WHEN NEW.id = {} \
             BEGIN SELECT RAISE(ABORT, 'refused'); END",
            10 + refused
        );
        connection.execute_batch(&trigger).unwrap();
        shelf.write(20);
        let (written, lost) = (shelf.tally.written(), shelf.tally.lost_total());
        assert_eq!((written, lost), (10, 20), "row {refused}");
        connection.execute_batch("DROP TRIGGER refuse").unwrap();
        shelf.write_until_recovered();
        let (path, sequence) = (shelf.path.clone(), shelf.sequence);
        let tally = shelf.close();
        assert_eq!(tally.written() + tally.lost_total(), sequence);
        assert_eq!(
            u64::try_from(sequences(&path).len()),
            Ok(tally.written()),
            "row {refused}"
        );
    }
}

#[test]
fn retention_drops_whole_segments_while_events_come_and_holds_nothing_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.segment_size = 1 << 20;
    settings.retention.keep_size = Some(4 << 20);
    let mut shelf = Shelf::open(settings);
    let flush_interval = Duration::from_millis(FLUSH_INTERVAL_MS);
    let mut slow_count = 0;
    let mut dropped = Vec::new();
    let mut known = Vec::new();
    while dropped.len() < 50 {
        let began = Instant::now();
        shelf.write(2_048);
        slow_count += usize::from(began.elapsed() >= flush_interval);
        let now = segments(&shelf.path);
        dropped.extend(known.into_iter().filter(|segment| !now.contains(segment)));
        known = now;
        assert!(shelf.sequence < 20_000_000, "nothing is dropped");
    }
    // Now and then a busy machine is slow by itself; whoever waits for that thread waits at each drop.
    assert!(slow_count < dropped.len() / 5, "{slow_count} slow writes");
    let (path, sequence) = (shelf.path.clone(), shelf.sequence);
    let tally = shelf.close();
    assert_eq!((tally.written(), tally.lost_total()), (sequence, 0));
    // What is left is the end of it, without a gap.
    let left = sequences(&path);
    let first = sequence + 1 - u64::try_from(left.len()).unwrap();
    assert_eq!(left, (first..=sequence).collect::<Vec<_>>());
}

#[test]
fn retention_drops_what_is_too_old_also_what_was_set_aside() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.segment_size = 1;
    let mut shelf = Shelf::open(settings.clone());
    for _ in 0..4 {
        shelf.write(1);
    }
    let path = shelf.path.clone();
    shelf.close();
    let old = std::time::SystemTime::now() - Duration::from_hours(2);
    let all = segments(&path);
    for segment in &all[..2] {
        fs::File::open(segment).unwrap().set_modified(old).unwrap();
    }
    let aside = path.join("20011122T100000.000Z.sqlite.corrupt");
    fs::write(&aside, b"damaged").unwrap();
    fs::File::open(&aside).unwrap().set_modified(old).unwrap();
    settings.retention.keep_age = Some(Duration::from_hours(1));
    Shelf::open(settings).close();
    assert_eq!(segments(&path), all[2..]);
    assert!(!aside.exists());
}

/// The clock stood a year ahead for a moment, and all history was deleted at once, without a word.
#[test]
fn a_clock_ahead_of_all_that_was_recorded_makes_nothing_old() {
    let directory = tempfile::tempdir().unwrap();
    let mut settings = settings(directory.path());
    settings.segment_size = 1;
    let mut shelf = Shelf::open(settings.clone());
    for _ in 0..4 {
        shelf.write(1);
    }
    let path = shelf.path.clone();
    shelf.close();
    let all = segments(&path);
    // Seen from then, it is now a year later.
    let before = std::time::SystemTime::now() - Duration::from_hours(365 * 24);
    let set = |times: [std::time::SystemTime; 5]| {
        for (segment, time) in all.iter().zip(times) {
            let file = fs::File::open(segment).unwrap();
            file.set_modified(time).unwrap();
        }
    };
    set([before; 5]);
    settings.retention.keep_age = Some(Duration::from_hours(30 * 24));
    Shelf::open(settings.clone()).close();
    assert_eq!(segments(&path), all);
    // What is old beside what was recorded last goes all the same.
    let older = before - Duration::from_hours(31 * 24);
    set([older, before, before, before, before]);
    Shelf::open(settings).close();
    assert_eq!(segments(&path), all[1..]);
}

/// After the clock was set back a segment was written on for as long as it had been ahead, and none of
/// it became too old to keep.
#[test]
fn a_segment_begun_while_the_clock_was_ahead_ends_in_time() {
    let directory = tempfile::tempdir().unwrap();
    let mut shelf = Shelf::in_directory(directory.path());
    shelf.write(1);
    let path = shelf.path.clone();
    shelf.close();
    let ahead = path.join("20991122T100000.000Z.sqlite");
    fs::rename(&segments(&path)[0], &ahead).unwrap();
    let mut settings = settings(directory.path());
    settings.segment_age = Duration::from_nanos(1);
    let mut shelf = Shelf::open(settings);
    shelf.write(1);
    shelf.close();
    assert_eq!(segments(&path).len(), 2);
}

/// What the pipeline tells of a sink that has lost events.
fn told(sequence: u64, lost_count: u64) -> Event {
    let lost = Lost {
        lost_kind: Kind::THREAD_EXIT,
        lost_count,
        lost_reason: "store:write_failed".into(),
        range: LostRange::default(),
    };
    of_process(sequence, 1, Body::Lost(lost))
}

#[test]
fn a_full_disk_loses_counted_events_which_are_told_when_there_is_room_again() {
    let Some(disk) = Disk::mount("size=2m") else {
        return;
    };
    let mut shelf = Shelf::in_directory(disk.path());
    shelf.write(100);
    fs::write(disk.path().join("ballast"), vec![0; 2 << 20]).unwrap_err();
    let mut told_count = 0;
    let warnings = warnings_of(|| {
        for _ in 0..100 {
            shelf.write(100);
            // As the pipeline does after each batch.
            let lost_count = shelf.tally.lost(Kind::THREAD_EXIT);
            if lost_count > told_count {
                shelf.sequence += 1;
                let event = told(shelf.sequence, lost_count - told_count);
                told_count = lost_count;
                shelf.write_events(&[event]);
            }
        }
        assert!(shelf.tally.lost_total() > 0, "the disk is full");
        assert_eq!(
            u64::try_from(sequences(&shelf.path).len()),
            Ok(shelf.tally.written())
        );
        fs::remove_file(disk.path().join("ballast")).unwrap();
        shelf.write_until_recovered();
    });
    assert_eq!(
        warnings.len(),
        2,
        "one when it fails, one when it recovers: {warnings:?}"
    );
    let lost_count = shelf.tally.lost(Kind::THREAD_EXIT);
    if lost_count > told_count {
        shelf.sequence += 1;
        let event = told(shelf.sequence, lost_count - told_count);
        shelf.write_events(&[event]);
    }
    let reader = reader(&shelf.path);
    let in_losses: i64 = ask(&reader, "SELECT sum(lost_count) FROM losses");
    let reasons: i64 = ask(&reader, "SELECT count(DISTINCT lost_reason) FROM losses");
    assert_eq!((u64::try_from(in_losses), reasons), (Ok(lost_count), 1));
}

#[test]
fn a_read_only_disk_is_waited_for() {
    let Some(disk) = Disk::mount("size=2m,ro") else {
        return;
    };
    let mut shelf = Shelf::in_directory(disk.path());
    shelf.write(2);
    assert_eq!(shelf.tally.lost_total(), 2);
    assert!(mount(&["-o", "remount,rw"], disk.path()));
    shelf.write_until_recovered();
    let path = shelf.path.clone();
    let tally = shelf.close();
    assert_eq!(u64::try_from(sequences(&path).len()), Ok(tally.written()));
}

//! Whatever happens to the medium: whole lines, every event either in a file or counted as lost.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use event::Kind;
use systrail::replay;
use systrail::sink::log_file::{LogFile, OpenError, Others, Settings};
use systrail::sink::{Sink as _, Tally};
use systrail::trail::{Body, Event, Lost, LostRange, ThreadExit, json};

use super::any_event::{full, line_feeds};
use super::disk::{Disk, mount};
use super::warnings::warnings_of;

/// A log in a directory of its own, and what was given to it.
pub(crate) struct Log {
    pub(crate) path: PathBuf,
    sink: LogFile,
    tally: Tally,
    pub(crate) sequence: u64,
}

impl Log {
    pub(crate) fn open(settings: Settings) -> Self {
        Self {
            path: settings.path.clone(),
            sink: LogFile::open(settings).unwrap(),
            tally: Tally::default(),
            sequence: 0,
        }
    }

    fn in_directory(directory: &Path) -> Self {
        Self::open(settings(directory))
    }

    pub(crate) fn write(&mut self, count: u64) {
        let events: Vec<Event> = (0..count)
            .map(|step| numbered(self.sequence + step + 1))
            .collect();
        self.sequence += count;
        self.sink.write(&events, &self.tally);
    }

    /// Writes a loss of that many events, as the pipeline tells it.
    fn tell(&mut self, lost_count: u64) {
        self.sequence += 1;
        let lost = Body::Lost(Lost {
            lost_kind: Kind::THREAD_EXIT,
            lost_count,
            lost_reason: "log:write_failed".into(),
            range: LostRange::default(),
        });
        let event = Event {
            body: lost,
            ..numbered(self.sequence)
        };
        self.sink.write(&[event], &self.tally);
    }

    /// Writes single events until one is written, as the medium has recovered.
    fn write_until_recovered(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let written = self.tally.written();
        while self.tally.written() == written {
            assert!(Instant::now() < deadline, "the log recovers by itself");
            self.write(1);
            std::thread::yield_now();
        }
    }

    pub(crate) fn close(mut self) -> Tally {
        self.sink.close(&self.tally);
        self.tally
    }
}

pub(crate) fn settings(directory: &Path) -> Settings {
    Settings {
        path: directory.join("systrail.jsonl"),
        ..Settings::default()
    }
}

fn numbered(sequence: u64) -> Event {
    Event {
        sequence,
        kept_by: None,
        truncated: Vec::new(),
        missing: Vec::new(),
        ..full(Body::ThreadExit(ThreadExit { thread_id: 1 }))
    }
}

/// The sequence numbers in a file and how many of its lines are no events.
pub(crate) fn sequences(path: &Path) -> (Vec<u64>, u64) {
    let mut events = replay::open(path).unwrap();
    let sequences = events.by_ref().filter_map(Result::ok);
    (
        sequences.map(|event| event.sequence).collect(),
        events.invalid_count(),
    )
}

/// The rotated files, the oldest first.
pub(crate) fn rotated(path: &Path) -> Vec<PathBuf> {
    let mut prefix = path.as_os_str().to_owned();
    prefix.push(".2");
    let mut files: Vec<PathBuf> = fs::read_dir(path.parent().unwrap())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|file| file.to_str().unwrap().starts_with(prefix.to_str().unwrap()))
        .collect();
    files.sort();
    files
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn continues_the_file_it_finds() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::in_directory(directory.path());
    log.write(3);
    let path = log.path.clone();
    log.close();
    let mut log = Log::in_directory(directory.path());
    log.sequence = 3;
    log.write(2);
    assert_eq!(log.close().written(), 2);
    assert_eq!(sequences(&path), (vec![1, 2, 3, 4, 5], 0));
}

#[test]
fn creates_what_is_not_there_and_keeps_others_out() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("a/b");
    let log = Log::in_directory(&below);
    assert_eq!(mode(&log.path) & !0o640, 0);
    assert_eq!(mode(&below) & !0o750, 0);
}

#[test]
fn a_crash_at_any_byte_tears_at_most_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::in_directory(directory.path());
    log.write(2);
    let path = log.path.clone();
    log.close();
    let whole = fs::read(&path).unwrap();
    let lines_before = |size: usize| line_feeds(&whole[..size]);
    for size in 0..=whole.len() {
        fs::write(&path, &whole[..size]).unwrap();
        let mut log = Log::in_directory(directory.path());
        log.sequence = 2;
        log.write(1);
        log.close();
        let after = fs::read(&path).unwrap();
        assert!(after.starts_with(&whole[..size]), "nothing is destroyed");
        let (read, invalid_count) = sequences(&path);
        assert!(read.ends_with(&[3]), "what follows is whole: {size}");
        // Only its line feed may be torn off a line; then it is whole again.
        let torn_is_whole = whole.get(size) == Some(&b'\n');
        let expected = lines_before(size) + usize::from(torn_is_whole) + 1;
        assert_eq!(read.len(), expected, "{size}");
        let is_torn = size > 0 && whole[size - 1] != b'\n' && !torn_is_whole;
        assert_eq!(invalid_count, u64::from(is_torn), "{size}");
    }
}

#[test]
fn says_that_a_line_was_torn() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(settings(directory.path()).path, b"{\"sequence\":1").unwrap();
    let warnings = warnings_of(|| drop(Log::in_directory(directory.path())));
    assert_eq!(warnings.len(), 1);
    assert!(warnings[0].contains("torn"), "{warnings:?}");
}

#[test]
fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let log = Log::in_directory(directory.path());
    let refused = LogFile::open(settings(directory.path())).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }));
    assert!(refused.to_string().contains("another process"), "{refused}");
    log.close();
    Log::in_directory(directory.path());
}

#[test]
fn refuses_what_is_not_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let (device, other) = (
        directory.path().join("null"),
        directory.path().join("other"),
    );
    symlink("/dev/null", &device).unwrap();
    fs::create_dir(&other).unwrap();
    for path in ["/dev/null".into(), device, other] {
        let settings = Settings {
            path,
            ..Settings::default()
        };
        let refused = LogFile::open(settings).unwrap_err();
        assert!(matches!(refused, OpenError::NotAFile { .. }), "{refused}");
    }
    // A lock used to be left beside it, `/dev/null.lock` for one.
    let left = fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(left, 2, "nothing is left beside what is refused");
}

#[test]
fn a_file_moved_away_is_left_whole_and_a_new_one_is_begun() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::in_directory(directory.path());
    log.write(2);
    let moved = directory.path().join("moved");
    fs::rename(&log.path, &moved).unwrap();
    log.write(2);
    let path = log.path.clone();
    assert_eq!(log.close().lost_total(), 0);
    assert_eq!(sequences(&moved), (vec![1, 2], 0));
    assert_eq!(sequences(&path), (vec![3, 4], 0));
}

/// `logrotate` with `copytruncate`: what was written after the copy and before the cut was lost, and
/// nobody counted it.
#[test]
fn what_is_cut_off_after_a_copy_is_written_again() {
    for is_last in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let mut log = Log::in_directory(directory.path());
        log.write(10);
        let copy = fs::read(&log.path).unwrap();
        log.write(5);
        let file = File::options().write(true).open(&log.path).unwrap();
        file.set_len(0).unwrap();
        if !is_last {
            log.write(3);
        }
        let (path, last) = (log.path.clone(), log.sequence);
        let warnings = warnings_of(|| assert_eq!(log.close().lost_total(), 0));
        assert!(
            is_last
                == warnings
                    .iter()
                    .any(|line| line.contains("was cut by another program"))
        );
        let text = String::from_utf8([copy, fs::read(&path).unwrap()].concat()).unwrap();
        let all: std::collections::BTreeSet<u64> = text.lines().map(sequence_of).collect();
        assert_eq!(
            all.into_iter().collect::<Vec<_>>(),
            (1..=last).collect::<Vec<_>>()
        );
        let own: Vec<u64> = fs::read_to_string(&path)
            .unwrap()
            .lines()
            .map(sequence_of)
            .collect();
        assert!(own.is_sorted_by(|one, next| one < next), "{own:?}");
    }
}

fn sequence_of(line: &str) -> u64 {
    json::read_line(line.as_bytes()).unwrap().sequence
}

#[test]
fn a_deleted_directory_is_made_again() {
    let directory = tempfile::tempdir().unwrap();
    let below = directory.path().join("below");
    let mut log = Log::in_directory(&below);
    log.write(2);
    fs::remove_dir_all(&below).unwrap();
    log.write(2);
    let refused = LogFile::open(settings(&below)).unwrap_err();
    assert!(
        matches!(refused, OpenError::Locked { .. }),
        "the lock came along"
    );
    let path = log.path.clone();
    assert_eq!(log.close().lost_total(), 0);
    assert_eq!(sequences(&path), (vec![3, 4], 0));
    assert_eq!(mode(&below) & !0o750, 0);
}

#[test]
fn a_file_truncated_by_another_program_is_continued_with_whole_lines() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::in_directory(directory.path());
    log.write(2);
    File::options()
        .write(true)
        .open(&log.path)
        .unwrap()
        .set_len(0)
        .unwrap();
    log.write(2);
    assert_eq!(sequences(&log.path), (vec![1, 2, 3, 4], 0));
}

#[test]
fn rotates_before_the_size_is_exceeded() {
    let directory = tempfile::tempdir().unwrap();
    let line_size = {
        let mut line = Vec::new();
        json::write_line(&numbered(10), &mut line);
        u64::try_from(line.len()).unwrap()
    };
    let mut log = Log::open(Settings {
        rotate_size: Some(5 * line_size),
        ..settings(directory.path())
    });
    for _ in 0..10 {
        log.write(2);
    }
    let mut files = rotated(&log.path);
    files.push(log.path.clone());
    log.close();
    let contents: Vec<Vec<u64>> = files.iter().map(|file| sequences(file).0).collect();
    let all: Vec<u64> = (1..=20).collect();
    assert_eq!(
        contents,
        all.chunks(4).map(<[u64]>::to_vec).collect::<Vec<_>>()
    );
}

#[test]
fn rotates_when_the_file_is_old() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        ..settings(directory.path())
    });
    log.write(1);
    assert_eq!(rotated(&log.path).len(), 0, "an empty file is not rotated");
    log.write(1);
    assert_eq!(rotated(&log.path).len(), 1);
}

#[test]
fn keeps_as_many_files_as_it_should_and_touches_no_other() {
    let directory = tempfile::tempdir().unwrap();
    let others = [
        "systrail.jsonl.bak",
        "systrail.jsonl.20261122",
        "other.20261122T155959.123Z",
    ];
    for other in others {
        fs::write(directory.path().join(other), "").unwrap();
    }
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        keep_files: Some(3),
        ..settings(directory.path())
    });
    for _ in 0..10 {
        log.write(1);
    }
    let kept = rotated(&log.path);
    let kept = kept.iter().filter(|file| !sequences(file).0.is_empty());
    let sequences: Vec<u64> = kept.flat_map(|file| sequences(file).0).collect();
    assert_eq!(sequences, [7, 8, 9], "the newest are kept");
    for other in others {
        assert!(directory.path().join(other).exists(), "{other}");
    }
}

#[test]
fn rotated_files_sort_by_age_even_when_the_clock_is_set_back() {
    let directory = tempfile::tempdir().unwrap();
    let future = directory.path().join("systrail.jsonl.29990601T235959.999Z");
    fs::write(&future, "").unwrap();
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        ..settings(directory.path())
    });
    log.write(1);
    log.write(1);
    log.write(1);
    let rotated = rotated(&log.path);
    assert_eq!(rotated.len(), 3);
    assert_eq!(rotated[0], future);
    assert_eq!(sequences(&rotated[1]).0, [1]);
    assert_eq!(sequences(&rotated[2]).0, [2]);
}

#[test]
fn deletes_files_that_are_too_old_or_too_large_together() {
    let directory = tempfile::tempdir().unwrap();
    let path = settings(directory.path()).path;
    let old = directory.path().join("systrail.jsonl.20200101T000000.000Z");
    let large = directory.path().join("systrail.jsonl.20260101T000000.000Z");
    let fresh = directory.path().join("systrail.jsonl.20260201T000000.000Z");
    for (file, size) in [(&old, 10), (&large, 1000), (&fresh, 10)] {
        fs::write(file, vec![b'\n'; size]).unwrap();
    }
    let two_hours_ago = SystemTime::now() - Duration::from_hours(2);
    File::options()
        .write(true)
        .open(&old)
        .unwrap()
        .set_modified(two_hours_ago)
        .unwrap();
    Log::open(Settings {
        keep_age: Some(Duration::from_hours(1)),
        ..settings(directory.path())
    });
    assert_eq!(rotated(&path), [large, fresh.clone()]);
    Log::open(Settings {
        keep_size: Some(500),
        ..settings(directory.path())
    });
    assert_eq!(rotated(&path), [fresh]);
}

/// The clock stood a year ahead for a moment, and all rotated logs were deleted, without a word.
#[test]
fn a_clock_ahead_of_all_that_was_recorded_makes_no_rotated_log_old() {
    let directory = tempfile::tempdir().unwrap();
    let path = settings(directory.path()).path;
    let old = directory.path().join("systrail.jsonl.20200101T000000.000Z");
    let fresh = directory.path().join("systrail.jsonl.20260201T000000.000Z");
    let day = Duration::from_hours(24);
    for (file, days) in [(&old, 400), (&fresh, 365)] {
        fs::write(file, "\n").unwrap();
        let file = File::options().write(true).open(file).unwrap();
        file.set_modified(SystemTime::now() - day * days).unwrap();
    }
    let open = |days: u32| {
        Log::open(Settings {
            keep_age: Some(day * days),
            ..settings(directory.path())
        })
    };
    let warnings = warnings_of(|| drop(open(40)));
    assert_eq!(rotated(&path), [old, fresh.clone()]);
    let told = warnings
        .iter()
        .filter(|line| line.contains("the clock is ahead"));
    assert_eq!(told.count(), 1, "{warnings:?}");
    // What is old beside what was recorded last goes all the same.
    fs::remove_file(&path).unwrap();
    drop(open(30));
    assert_eq!(rotated(&path), [fresh]);
}

#[test]
fn a_link_to_the_log_is_followed_and_stays() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file.jsonl");
    fs::write(&file, "").unwrap();
    let link = settings(directory.path()).path;
    symlink(&file, &link).unwrap();
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        ..settings(directory.path())
    });
    log.write(1);
    log.write(1);
    assert_eq!(rotated(&file).len(), 1);
    assert!(link.is_symlink());
    assert_eq!(sequences(&link), (vec![2], 0));
    let by_file = Settings {
        path: file,
        ..Settings::default()
    };
    let refused = LogFile::open(by_file).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
}

#[test]
fn a_file_that_cannot_be_rotated_grows_on_and_this_is_said_once() {
    let Some(disk) = Disk::mount("size=1m") else {
        return;
    };
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        ..settings(disk.path())
    });
    // What is a mount point cannot be moved.
    assert!(mount(&["--bind", log.path.to_str().unwrap()], &log.path));
    let warnings = warnings_of(|| (0..10).for_each(|_| log.write(1)));
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("cannot be rotated"), "{warnings:?}");
    assert_eq!(sequences(&log.path).0, (1..=10).collect::<Vec<_>>());
    let unmounted = Command::new("umount").arg(&log.path).status();
    assert!(unmounted.is_ok_and(|status| status.success()));
    assert_eq!(log.close().lost_total(), 0);
}

#[test]
fn a_full_disk_loses_counted_events_and_no_half_lines_and_recovers() {
    let Some(disk) = Disk::mount("size=64k") else {
        return;
    };
    let mut log = Log::in_directory(disk.path());
    let ballast = disk.path().join("ballast");
    fs::write(&ballast, vec![0; 20_000]).unwrap();
    let warnings = warnings_of(|| {
        for _ in 0..100 {
            log.write(30);
        }
        assert!(log.tally.lost_total() > 0, "the disk is full");
        assert_eq!(log.tally.written() + log.tally.lost_total(), log.sequence);
        let (read, invalid_count) = sequences(&log.path);
        assert_eq!((read.len() as u64, invalid_count), (log.tally.written(), 0));
        fs::remove_file(&ballast).unwrap();
        log.write_until_recovered();
    });
    assert_eq!(
        warnings.len(),
        2,
        "one when it fails, one when it recovers: {warnings:?}"
    );
    let path = log.path.clone();
    let sequence = log.sequence;
    let tally = log.close();
    assert_eq!(tally.written() + tally.lost_total(), sequence);
    let (read, invalid_count) = sequences(&path);
    assert_eq!((read.len() as u64, invalid_count), (tally.written(), 0));
}

/// While the disk was full the events that told of the loss were lost as well: the log then told of
/// fewer events than it lacked, and of no end where the disk was full to the end.
#[test]
fn the_losses_a_log_tells_of_add_up_to_what_it_lacks() {
    for is_written_again in [true, false] {
        let Some(disk) = Disk::mount("size=64k") else {
            return;
        };
        let mut log = Log::in_directory(disk.path());
        let ballast = disk.path().join("ballast");
        fs::write(&ballast, vec![0; 20_000]).unwrap();
        let _warnings = warnings_of(|| {
            let mut told = 0;
            while told < 60 {
                log.write(30);
                let lost = log.tally.lost(Kind::THREAD_EXIT);
                if lost > told {
                    log.tell(lost - told);
                    told = lost;
                }
            }
            fs::remove_file(&ballast).unwrap();
            if is_written_again {
                log.write_until_recovered();
                let lost = log.tally.lost(Kind::THREAD_EXIT);
                log.tell(lost - told);
            }
        });
        let (path, sequence) = (log.path.clone(), log.sequence);
        let tally = log.close();
        assert_eq!(tally.written() + tally.lost_total(), sequence);
        let events: Vec<Event> = replay::open(&path).unwrap().map(Result::unwrap).collect();
        assert!(
            events.is_sorted_by_key(|event| event.sequence),
            "in their order"
        );
        let told = events.iter().map(|event| match &event.body {
            Body::Lost(lost) => lost.lost_count,
            _ => 0,
        });
        assert_eq!(told.sum::<u64>(), tally.lost(Kind::THREAD_EXIT));
    }
}

#[test]
fn a_read_only_disk_is_waited_for() {
    let Some(disk) = Disk::mount("size=64k,ro") else {
        return;
    };
    let mut log = Log::in_directory(disk.path());
    log.write(2);
    assert_eq!(log.tally.lost_total(), 2);
    assert!(mount(&["-o", "remount,rw"], disk.path()));
    log.write_until_recovered();
    let path = log.path.clone();
    let tally = log.close();
    assert_eq!(sequences(&path).0.len() as u64, tally.written());
}

const NOBODY: u32 = 65_534;

// Root's log went into the file that an ordinary user's link named, and into one he owned.
#[test]
fn roots_log_goes_into_no_file_of_another_users() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let shared = directory.path().join("shared");
    fs::create_dir(&shared).unwrap();
    fs::set_permissions(&shared, fs::Permissions::from_mode(0o1777)).unwrap();
    let victim = directory.path().join("victim");
    fs::write(&victim, "precious\n").unwrap();
    let path = settings(&shared).path;

    symlink(&victim, &path).unwrap();
    lchown(&path, Some(NOBODY), None).unwrap();
    let refused = LogFile::open(settings(&shared)).unwrap_err();
    assert!(matches!(refused, OpenError::Exposed { .. }), "{refused}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    fs::remove_file(&path).unwrap();

    fs::write(&path, "").unwrap();
    chown(&path, Some(NOBODY), None).unwrap();
    let refused = LogFile::open(settings(&shared)).unwrap_err();
    let said = refused.to_string();
    assert!(said.contains("belongs to the user 65534"), "{said}");
    assert!(said.contains("--allow-writable"), "{said}");
    let allowed = LogFile::open(Settings {
        others: Others::Allowed,
        ..settings(&shared)
    });
    assert!(allowed.is_ok(), "{allowed:?}");
    drop(allowed);
    fs::remove_file(&path).unwrap();

    let lock = path.with_extension("jsonl.lock");
    chown(&lock, Some(NOBODY), None).unwrap();
    let refused = LogFile::open(settings(&shared)).unwrap_err();
    assert!(matches!(refused, OpenError::Exposed { .. }), "{refused}");
    fs::remove_file(&lock).unwrap();

    let mut log = Log::in_directory(&shared);
    log.write(3);
    assert_eq!(
        log.tally.written(),
        3,
        "a file of root's own in such a directory"
    );
}

#[test]
fn what_another_user_puts_in_the_place_of_roots_log_is_not_written() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let victim = directory.path().join("victim");
    fs::write(&victim, "precious\n").unwrap();
    let mut log = Log::in_directory(directory.path());
    log.write(1);
    fs::remove_file(&log.path).unwrap();
    symlink(&victim, &log.path).unwrap();
    lchown(&log.path, Some(NOBODY), None).unwrap();
    log.write(2);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    assert_eq!(log.tally.written(), 1);
}

#[test]
fn a_link_to_a_log_that_is_not_there_yet_is_followed() {
    let directory = tempfile::tempdir().unwrap();
    let path = settings(directory.path()).path;
    symlink("elsewhere.jsonl", &path).unwrap();
    let mut log = Log::in_directory(directory.path());
    log.write(1);
    assert!(directory.path().join("elsewhere.jsonl").is_file());
    assert!(path.is_symlink());
}

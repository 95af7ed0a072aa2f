//! Rotated logs are compressed: at every moment each line is in one file, whoever is killed or full.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use systrail::sink::log_file::Settings;

use super::disk::Disk;
use super::log_file::{Log, mode, rotated, sequences, settings};

/// What tells a recorder that is to be killed where its log is, and what comes first.
const DIRECTORY: &str = "SYSTRAIL_TEST_LOG";
const FIRST: &str = "SYSTRAIL_TEST_FIRST";

const KILL_COUNT: u64 = 20;

fn compressing(directory: &Path) -> Settings {
    Settings {
        compress: true,
        ..settings(directory)
    }
}

/// Small files, each of a few hundred lines.
fn small(directory: &Path) -> Settings {
    Settings {
        rotate_size: Some(64 << 10),
        ..compressing(directory)
    }
}

fn is_compressed(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "zst")
}

/// Waits until all rotated files are compressed, and returns them.
fn compressed(log: &Path) -> Vec<PathBuf> {
    let deadline = Instant::now() + Duration::from_mins(1);
    loop {
        let files = rotated(log);
        if files.iter().all(|file| is_compressed(file)) {
            return files;
        }
        assert!(Instant::now() < deadline, "{files:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The numbers of all lines there are, file by file, but those that are being compressed.
fn all(log: &Path) -> Vec<u64> {
    let files = rotated(log).into_iter().chain([log.to_path_buf()]);
    let files = files.filter(|file| file.extension().is_none_or(|ending| ending != "new"));
    // A line that a kill has torn is no event, and was never told as written.
    files.flat_map(|file| sequences(&file).0).collect()
}

#[test]
fn rotated_files_are_frames_with_a_checksum_and_every_line_is_in_one() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(small(directory.path()));
    for _ in 0..30 {
        log.write(200);
    }
    let files = compressed(&log.path);
    assert!(files.len() > 5, "{files:?}");
    assert_eq!(all(&log.path), (1..=6_000).collect::<Vec<_>>());
    for file in &files {
        let bytes = fs::read(file).unwrap();
        assert_eq!(bytes[..4], [0x28, 0xb5, 0x2f, 0xfd]);
        assert_eq!(bytes[4] & 4, 4, "a checksum");
        assert!(bytes.len() < 16 << 10, "{}", bytes.len());
        // The tool that everybody has passes over what is behind the frame too.
        let plain = zstd::decode_all(&bytes[..]).unwrap();
        assert!(plain.ends_with(b"}\n") && plain.len() > 32 << 10);
        assert_eq!(mode(file), 0o640);
    }
    let path = log.path.clone();
    assert_eq!(log.close().lost_total(), 0);
    assert_eq!(all(&path).len(), 6_000);
}

#[test]
fn what_an_earlier_recorder_left_is_compressed_and_put_right() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        ..settings(directory.path())
    });
    for _ in 0..4 {
        log.write(10);
    }
    let path = log.path.clone();
    log.close();
    let plain = rotated(&path);
    assert_eq!(plain.len(), 3);
    let with = |file: &Path, ending: &str| PathBuf::from(format!("{}{ending}", file.display()));
    // One was killed in the middle of a file, and one between its two steps.
    fs::write(with(&plain[0], ".zst.new"), "half").unwrap();
    let whole = zstd::encode_all(&fs::read(&plain[1]).unwrap()[..], 1).unwrap();
    fs::write(&plain[1], whole).unwrap();
    // This one is somebody else's.
    let other = with(&path, ".20200101T000000.000Z.zst");
    fs::write(&other, "not ours").unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(&plain[2], mode).unwrap();
    let written = SystemTime::now() - Duration::from_hours(3);
    let file = File::options().write(true).open(&plain[2]).unwrap();
    file.set_modified(written).unwrap();

    let log = Log::open(compressing(directory.path()));
    let files = compressed(&path);
    let expected: Vec<_> = plain.iter().map(|file| with(file, ".zst")).collect();
    assert_eq!(files[0], other);
    assert_eq!(files[1..], expected);
    fs::remove_file(other).unwrap();
    assert_eq!(all(&path), (1..=40).collect::<Vec<_>>());
    let metadata = fs::metadata(&files[3]).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
    assert_eq!(metadata.modified().unwrap(), written);
    drop(log);
}

#[test]
fn retention_holds_for_compressed_files_as_well() {
    let directory = tempfile::tempdir().unwrap();
    let other = directory
        .path()
        .join("systrail.jsonl.20200101T000000.000Z.zst");
    fs::write(&other, "somebody else's").unwrap();
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        keep_files: Some(3),
        ..compressing(directory.path())
    });
    for _ in 0..10 {
        log.write(1);
        compressed(&log.path);
    }
    assert_eq!(all(&log.path).last(), Some(&10));
    assert_eq!(rotated(&log.path).len(), 1 + 3);
    let path = log.path.clone();
    log.close();
    let old = rotated(&path).remove(1);
    let file = File::options().write(true).open(&old).unwrap();
    let two_hours_ago = SystemTime::now() - Duration::from_hours(2);
    file.set_modified(two_hours_ago).unwrap();
    let log = Log::open(Settings {
        keep_age: Some(Duration::from_hours(1)),
        ..compressing(directory.path())
    });
    assert!(!old.exists());
    assert_eq!(rotated(&path).len(), 1 + 2);
    log.close();
    let log = Log::open(Settings {
        keep_size: Some(1),
        // Without compressing any more.
        ..settings(directory.path())
    });
    assert_eq!(rotated(&path), [other]);
    log.close();
}

#[test]
fn a_full_disk_leaves_rotated_files_as_they_are() {
    let Some(disk) = Disk::mount("size=1m") else {
        return;
    };
    let mut log = Log::open(Settings {
        rotate_age: Some(Duration::ZERO),
        ..settings(disk.path())
    });
    log.write(500);
    log.write(1);
    let path = log.path.clone();
    log.close();
    let filler = disk.path().join("filler");
    let mut file = File::create(&filler).unwrap();
    while file.write_all(&[0; 4096]).is_ok() {}
    drop(file);
    let plain = rotated(&path);
    let log = Log::open(compressing(disk.path()));
    // Dropped in the middle of it, or after it has failed.
    log.close();
    assert_eq!(rotated(&path), plain);
    assert_eq!(all(&path), (1..=501).collect::<Vec<_>>());
    fs::remove_file(filler).unwrap();
    let log = Log::open(compressing(disk.path()));
    assert_eq!(compressed(&path).len(), 1);
    assert_eq!(all(&path), (1..=501).collect::<Vec<_>>());
    log.close();
}

/// Not a test by itself: what the test below starts and kills.
#[test]
fn a_recorder_to_be_killed() {
    let Some(directory) = std::env::var_os(DIRECTORY) else {
        return;
    };
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let mut log = Log::open(small(Path::new(&directory)));
    log.sequence = first - 1;
    loop {
        log.write(50);
        // In one write, so that no line is torn.
        let line = format!("written {}\n", log.sequence);
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn killed_recorders_leave_no_file_doubled_or_missing() {
    let directory = tempfile::tempdir().unwrap();
    let path = settings(directory.path()).path;
    let mut moments = 0x9e37_79b9_7f4a_7c15_u64;
    let mut last = 0;
    for _ in 0..KILL_COUNT {
        moments ^= moments << 13;
        moments ^= moments >> 7;
        moments ^= moments << 17;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "compress::a_recorder_to_be_killed",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .env(FIRST, (last + 1).to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        let wanted = usize::try_from(moments % 60).unwrap();
        lines.by_ref().take(wanted).for_each(drop);
        child.kill().unwrap();
        let written: Vec<_> = lines
            .filter_map(|line| line.strip_prefix("written ")?.parse().ok())
            .collect();
        child.wait().unwrap();
        let numbers = all(&path);
        let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
        assert_eq!(numbers, expected);
        last = numbers.len() as u64;
        assert!(written.last().is_none_or(|written: &u64| *written <= last));
    }
    let log = Log::open(small(directory.path()));
    assert!(compressed(&path).len() > 4);
    assert_eq!(all(&path).len() as u64, last);
    log.close();
    let names = fs::read_dir(directory.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().path());
    assert!(
        names
            .filter(|name| name.extension().is_some_and(|ending| ending == "new"))
            .count()
            == 0
    );
}

//! Where `run` puts what it records: whether it can, what is there, and who writes it now.

use std::path::Path;
use std::time::Duration;

use super::{Fact, State};
use crate::config::Config;
use crate::quantity::{show_count, show_size};
use crate::shown::date_time_and_zone;
use crate::store::{self, Guard, Limits, Overview, ReadError};

/// Less free space than this is soon used up.
const FREE_SIZE_LOW: u64 = 1 << 30;

/// How long the store is looked at. One that was damaged could take for ever.
const LOOK_TIME_MAX: Duration = Duration::from_secs(5);

/// The store, and the log.
pub(super) fn gather(config: &Config) -> Vec<Fact> {
    vec![
        store(config.store.on, &config.store_directory()),
        log(config.log.on, &config.log_file()),
    ]
}

/// A fact under construction: what is said of it, and whether any of it is in the way.
struct Findings {
    state: State,
    said: Vec<String>,
}

impl Findings {
    fn of(path: &Path) -> Self {
        Self {
            state: State::Good,
            said: vec![path.display().to_string()],
        }
    }

    fn is_so(&mut self, what: String) {
        self.said.push(what);
    }

    fn limits(&mut self, what: String) {
        self.state = State::Limits;
        self.said.push(what);
    }

    /// Whether files can be made in `directory`, and how much room there is for them.
    fn look_at(&mut self, directory: &Path, cure: &str) {
        if let Some(why) = system::refusal_to_write(directory) {
            self.limits(format!("cannot be written ({why}); {cure}"));
        }
        match system::free_size(directory) {
            Some(free) if free < FREE_SIZE_LOW => self.limits(format!(
                "{} free; free some, or keep less with keep_size",
                rounded(free)
            )),
            Some(free) => self.is_so(format!("{} free", rounded(free))),
            None => {}
        }
    }

    fn end(self, name: &'static str) -> Fact {
        Fact {
            name,
            state: self.state,
            value: self.said.join(", "),
        }
    }
}

/// A size in whole units of the largest that it has ten of.
fn rounded(size: u64) -> String {
    let units = [30, 20, 10].map(|shift| 1 << shift);
    let unit = units.into_iter().find(|unit| size >= 10 * unit);
    show_size(size - size % unit.unwrap_or(1))
}

fn off(name: &'static str) -> Fact {
    Fact {
        name,
        state: State::Info,
        value: "off in the configuration".to_owned(),
    }
}

fn store(on: bool, directory: &Path) -> Fact {
    if !on {
        return off("store");
    }
    let mut findings = Findings::of(directory);
    let guard = Guard::new(Limits {
        timeout: Some(LOOK_TIME_MAX),
        ..Limits::default()
    });
    match store::overview(directory, &guard) {
        Ok(overview) => add_overview(&mut findings, directory, &overview),
        Err(ReadError::NotThere { .. }) => findings.is_so("not there yet".to_owned()),
        Err(error) => findings.limits(format!("{error}; look at the directory")),
    }
    if let Some(writer) = system::holder(&directory.join("store.lock")) {
        findings.is_so(format!("written by process {writer}"));
    }
    findings.look_at(
        directory,
        "name another with --store or [store] path, or run as root",
    );
    findings.end("store")
}

fn add_overview(findings: &mut Findings, directory: &Path, overview: &Overview) {
    let segments = show_count(overview.segment_count, "segment");
    findings.is_so(format!("{segments} of {}", rounded(overview.size)));
    if let Some(time) = overview.newest {
        findings.is_so(format!("newest event {}", date_time_and_zone(time)));
    }
    if let Some(error) = &overview.unread {
        findings.limits(format!(
            "{error}; the next recording begins a segment of its own"
        ));
    }
    if overview.aside_count > 0 {
        findings.limits(format!(
            "{} set aside as damaged; move {}/*.corrupt elsewhere",
            overview.aside_count,
            directory.display()
        ));
    }
}

fn log(on: bool, file: &Path) -> Fact {
    if !on {
        return off("log");
    }
    let mut findings = Findings::of(file);
    match std::fs::metadata(file) {
        Ok(metadata) if metadata.is_file() => findings.is_so(rounded(metadata.len())),
        Ok(_) => findings.limits("not a file; name another with --log or [log] path".to_owned()),
        Err(_) => findings.is_so("not there yet".to_owned()),
    }
    let mut lock = file.as_os_str().to_owned();
    lock.push(".lock");
    if let Some(writer) = system::holder(Path::new(&lock)) {
        findings.is_so(format!("written by process {writer}"));
    }
    let directory = file.parent().unwrap_or(file);
    findings.look_at(
        directory,
        "name another with --log or [log] path, or run as root",
    );
    findings.end("log")
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    use nix::unistd::{AccessFlags, access};

    /// The directory itself, or the nearest above it that is there, in which it will be made.
    fn nearest(directory: &Path) -> Option<&Path> {
        directory.ancestors().find(|ancestor| ancestor.exists())
    }

    /// Why no file can be made in `directory`; `None` where one can.
    pub(super) fn refusal_to_write(directory: &Path) -> Option<String> {
        let Some(nearest) = nearest(directory) else {
            return Some("not there".to_owned());
        };
        if !nearest.is_dir() {
            return Some(format!("{} is not a directory", nearest.display()));
        }
        let refusal = access(nearest, AccessFlags::W_OK | AccessFlags::X_OK).err()?;
        Some(format!("{}: {}", nearest.display(), refusal.desc()))
    }

    pub(super) fn free_size(directory: &Path) -> Option<u64> {
        let stat = nix::sys::statvfs::statvfs(nearest(directory)?).ok()?;
        Some(stat.blocks_available().saturating_mul(stat.fragment_size()))
    }

    /// The process that holds the lock. Read from the kernel's list: to take the lock, if only to
    /// see whether it is free, could be in the way of a recorder that begins just then.
    pub(super) fn holder(lock: &Path) -> Option<u32> {
        let inode = std::fs::metadata(lock).ok()?.ino();
        crate::sys::proc::lock_holder(inode)
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::path::Path;

    /// The service that records may make what this user may not.
    pub(super) const fn refusal_to_write(_directory: &Path) -> Option<String> {
        None
    }

    pub(super) const fn free_size(_directory: &Path) -> Option<u64> {
        None
    }

    pub(super) const fn holder(_lock: &Path) -> Option<u32> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::sink::store::{Settings, Store};
    use crate::sink::{Sink as _, Tally};
    use crate::store::retention::Retention;
    use crate::trail::{Body, Event, Further, Origin, ThreadExit, Time};

    fn recorder(directory: &Path) -> Store {
        Store::open(Settings {
            path: directory.to_path_buf(),
            segment_size: 1 << 30,
            segment_age: Duration::from_hours(24),
            retention: Retention::default(),
        })
        .unwrap()
    }

    #[test]
    fn a_store_says_what_is_in_it_and_who_writes_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("store");
        assert!(store(true, &path).value.contains("not there yet"));
        let tally = Tally::default();
        let mut recorder = recorder(&path);
        let event = Event {
            sequence: 1,
            time: Time(1_795_276_799_000_000_000),
            origin: Origin::of_host("host"),
            process_id: 7,
            process_key: event::ProcessKey::default(),
            body: Body::ThreadExit(ThreadExit { thread_id: 8 }),
            kept_by: None,
            truncated: Vec::new(),
            missing: Vec::new(),
            further: Further::default(),
        };
        recorder.write(&[event], &tally);
        recorder.flush(&tally);
        let fact = store(true, &path);
        let writer = format!("written by process {}", std::process::id());
        for part in ["1 segment of", "newest event 2026-11-21 ", &writer, " free"] {
            assert!(fact.value.contains(part), "{part}: {fact:?}");
        }
        recorder.close(&tally);
        drop(recorder);
        let fact = store(true, &path);
        assert!(!fact.value.contains("written by"), "{fact:?}");
    }

    #[test]
    fn what_is_in_the_way_of_store_and_log_is_told_with_its_cure() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        std::fs::write(&file, "").unwrap();
        let below_a_file = file.join("store");
        for (fact, cure) in [
            (store(true, &below_a_file), "--store"),
            (log(true, &file.join("a.jsonl")), "--log"),
            (log(true, directory.path()), "--log"),
        ] {
            assert_eq!(fact.state, State::Limits, "{fact:?}");
            assert!(fact.value.contains(cure), "{fact:?}");
        }
        let damaged = directory.path().join("20261122T155959.123Z.sqlite");
        std::fs::write(&damaged, "no database at all").unwrap();
        let fact = store(true, directory.path());
        assert_eq!(fact.state, State::Limits, "{fact:?}");
        store::set_aside(&damaged).unwrap();
        let fact = store(true, directory.path());
        assert!(fact.value.contains("1 set aside as damaged"), "{fact:?}");
    }
}

//! The thread with files that change, hang, are too large or too many, and what is told of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::trail::{ImageLoad, ProcessExec, Program};

/// A file that changes, grows or hangs as a test wants.
#[derive(Debug)]
struct File {
    stamp: Stamp,
    content: Vec<u8>,
    /// How many reads there were, and when.
    reads: Vec<(Instant, usize)>,
    /// What becomes of it at the read with that number.
    at_read: Option<(usize, ChangeFn)>,
}

type ChangeFn = fn(&mut File);

/// The files of a test, by their inodes; one that is not there is gone.
#[derive(Clone, Debug, Default)]
struct Shelf(Arc<Mutex<Vec<(u64, File)>>>);

#[derive(Debug)]
struct Opened(Shelf, u64);

impl Shelf {
    fn put(&self, inode: u64, stamp: Stamp, content: &[u8]) {
        let file = File {
            stamp,
            content: content.to_vec(),
            reads: Vec::new(),
            at_read: None,
        };
        self.0.lock().unwrap().push((inode, file));
    }

    fn with<T>(&self, inode: u64, act_fn: impl FnOnce(&mut File) -> T) -> Option<T> {
        let mut files = self.0.lock().unwrap();
        let found = files.iter_mut().find(|(known, _)| *known == inode);
        found.map(|(_, file)| act_fn(file))
    }

    fn reads(&self, inode: u64) -> Vec<(Instant, usize)> {
        self.with(inode, |file| file.reads.clone()).unwrap()
    }
}

impl Files for Shelf {
    fn open(&self, wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        let inode = wanted.key.inode;
        self.with(inode, |_| ()).ok_or(missing::GONE)?;
        Ok(Box::new(Opened(self.clone(), inode)))
    }
}

impl OpenFile for Opened {
    fn stamp(&self) -> io::Result<Stamp> {
        let Self(files, inode) = self;
        Ok(files.with(*inode, |file| file.stamp).unwrap())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let Self(files, inode) = self;
        let size = files.with(*inode, |file| {
            let number = file.reads.len();
            if let Some((_, change_fn)) = file.at_read.filter(|(at, _)| *at == number) {
                change_fn(file);
            }
            let rest = file.content.get(usize::try_from(offset).unwrap()..);
            let rest = rest.unwrap_or_default();
            let size = rest.len().min(buffer.len());
            buffer[..size].copy_from_slice(&rest[..size]);
            file.reads.push((Instant::now(), size));
            size
        });
        Ok(size.unwrap())
    }
}

const SETTINGS: Settings = Settings {
    subject: Subject::Hashes,
    rate: 1 << 30,
    file_size_max: 1 << 20,
    review_interval: Duration::from_millis(50),
    close_time: Duration::from_secs(10),
};
/// That of the text `abc`, of FIPS 180-4.
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn stamp(change_time_ns: i64, size: u64) -> Stamp {
    Stamp {
        change_time_ns,
        size,
    }
}

const fn key(inode: u64, stamp: Option<Stamp>) -> FileKey {
    FileKey {
        device: 1,
        inode,
        stamp,
    }
}

fn start(settings: Settings, shelf: &Shelf) -> ImageHashes {
    ImageHashes::start(settings, Box::new(shelf.clone())).unwrap()
}

/// An exec of that file: its hash, or why there is none.
fn exec(hashes: &mut ImageHashes, key: impl Into<Option<FileKey>>) -> Result<String, String> {
    let program = Program {
        image: Some("/bin/x".into()),
        ..Program::default()
    };
    let mut body = Body::from(ProcessExec {
        program,
        ..ProcessExec::default()
    });
    let mut missing = Vec::new();
    hashes.tell(
        (7, ProcessKey(9)),
        &mut body,
        (&mut Vec::new(), &mut missing),
        key.into(),
    );
    let Body::ProcessExec(exec) = body else {
        panic!("{body:?}");
    };
    let told = exec.details.and_then(|details| details.sha256);
    told.map(|sha256| sha256.to_string())
        .ok_or_else(|| reason(&missing))
}

fn reason(missing: &[(Name, Name)]) -> String {
    let [(first, reason), (second, also)] = missing else {
        panic!("{missing:?}");
    };
    assert_eq!((&**first, &**second, reason), ("sha256", "build_id", also));
    reason.to_string()
}

/// The next that is told: what was found, or why nothing was.
fn completion(hashes: &mut ImageHashes) -> (ImageDetails, Option<String>) {
    let answer = hashes.answers().recv_timeout(Duration::from_secs(10));
    let completion = hashes.take(answer.unwrap()).unwrap();
    assert_eq!((completion.process_id, completion.process_key.0), (7, 9));
    let Body::ImageDetails(details) = completion.body else {
        panic!("{:?}", completion.body);
    };
    let reason = (!completion.missing.is_empty()).then(|| reason(&completion.missing));
    (*details, reason)
}

fn pending(told: &Result<String, String>) -> bool {
    told.as_ref().err().map(String::as_str) == Some(missing::PENDING)
}

#[test]
fn an_event_says_pending_and_the_next_of_the_same_state_has_the_hash() {
    let shelf = Shelf::default();
    let first = stamp(5, 3);
    shelf.put(1, first, b"abc");
    let mut hashes = start(SETTINGS, &shelf);
    assert!(pending(&exec(&mut hashes, key(1, Some(first)))));
    let (details, reason) = completion(&mut hashes);
    assert_eq!((details.sha256.as_deref(), reason), (Some(ABC), None));
    let identity = (details.device.as_deref(), details.inode);
    assert_eq!(identity, (Some("0:1"), Some(1)));
    assert_eq!(
        (details.change_time_ns, details.file_size),
        (Some(5), Some(3))
    );
    assert_eq!(details.image, Some("/bin/x".into()));
    let reads = shelf.reads(1).len();
    assert_eq!(exec(&mut hashes, key(1, Some(first))), Ok(ABC.to_owned()));
    // Nor for who is not told its state: then it is looked at.
    assert!(pending(&exec(&mut hashes, key(1, None))));
    let (details, reason) = completion(&mut hashes);
    assert_eq!((details.sha256.as_deref(), reason), (Some(ABC), None));
    assert_eq!(shelf.reads(1).len(), reads, "no file is read twice");
    // The same file in another state is another.
    assert!(pending(&exec(&mut hashes, key(1, Some(stamp(6, 3))))));
    let (details, reason) = completion(&mut hashes);
    assert_eq!((details.sha256, reason.as_deref()), (None, Some("changed")));
    assert_eq!(details.change_time_ns, Some(6));
    let again = exec(&mut hashes, key(1, Some(stamp(6, 3))));
    assert_eq!(again, Err("changed".to_owned()));
    let counts = hashes.tally().counts();
    assert_eq!((counts.hashed, counts.refused, counts.waiting), (1, 1, 0));
    assert!(counts.size >= 3);
}

#[test]
fn a_file_that_is_replaced_or_cut_while_it_is_read_has_no_hash() {
    let content = vec![7; 600 << 10];
    let changes: [ChangeFn; 2] = [always_changed, |file| file.content.truncate(1_000)];
    for (inode, change_fn) in (1..).zip(changes) {
        let shelf = Shelf::default();
        let before = stamp(5, content.len() as u64);
        shelf.put(inode, before, &content);
        shelf.with(inode, |file| file.at_read = Some((2, change_fn)));
        let mut hashes = start(SETTINGS, &shelf);
        assert!(pending(&exec(&mut hashes, key(inode, Some(before)))));
        let (details, reason) = completion(&mut hashes);
        assert_eq!((details.sha256, reason.as_deref()), (None, Some("changed")));
        assert_eq!(details.change_time_ns, Some(5));
    }
}

/// Changes a file while it is read, each time it is.
fn always_changed(file: &mut File) {
    file.content[5] ^= 1;
    file.stamp.change_time_ns += 1;
    file.at_read = Some((file.reads.len() + 2, always_changed));
}

/// To delete a file changes it, and malware deletes itself.
#[test]
fn a_file_that_has_changed_is_told_as_what_it_is_now_and_not_of_the_event() {
    let shelf = Shelf::default();
    let content = vec![7; 600 << 10];
    let executed = stamp(5, content.len() as u64);
    shelf.put(1, executed, &content);
    shelf.with(1, |file| file.stamp.change_time_ns = 6);
    let mut hashes = start(SETTINGS, &shelf);
    let tell = |hashes: &mut ImageHashes| {
        let (details, reason) = completion(hashes);
        (details.change_time_ns, details.sha256.is_some(), reason)
    };
    let changed = || Some("changed".to_owned());
    assert!(pending(&exec(&mut hashes, key(1, Some(executed)))));
    assert_eq!(tell(&mut hashes), (Some(5), false, changed()));
    assert_eq!(tell(&mut hashes), (Some(6), true, None));
    let now = stamp(6, executed.size);
    assert!(exec(&mut hashes, key(1, Some(now))).is_ok());
    let before = exec(&mut hashes, key(1, Some(executed)));
    assert_eq!(before, Err("changed".to_owned()));
    // One that never stands still is tried once more, and no more.
    shelf.put(2, executed, &content);
    shelf.with(2, |file| file.at_read = Some((1, always_changed)));
    assert!(pending(&exec(&mut hashes, key(2, Some(executed)))));
    assert_eq!(tell(&mut hashes), (Some(5), false, changed()));
    let (later, is_hashed, reason) = tell(&mut hashes);
    assert!(
        later > Some(5) && !is_hashed && reason == changed(),
        "{later:?}"
    );
    let more = hashes.answers().recv_timeout(Duration::from_millis(200));
    assert!(more.is_err(), "{more:?}");
}

#[test]
fn what_is_too_large_is_not_read_and_who_has_no_file_is_told_so() {
    let shelf = Shelf::default();
    let large = stamp(5, (1 << 20) + 1);
    shelf.put(1, large, b"");
    let mut hashes = start(SETTINGS, &shelf);
    assert!(pending(&exec(&mut hashes, key(1, Some(large)))));
    let (details, reason) = completion(&mut hashes);
    assert_eq!(reason.as_deref(), Some("too_large"));
    assert_eq!(details.file_size, Some(large.size));
    assert_eq!(shelf.reads(1), []);
    let again = exec(&mut hashes, key(1, Some(large)));
    assert_eq!(again, Err("too_large".to_owned()));
    assert_eq!(exec(&mut hashes, None), Err("unavailable".to_owned()));
}

/// A process that is gone leads to no file; the next of the same program may.
#[test]
fn a_file_that_was_not_found_is_looked_for_again_but_not_each_time() {
    let shelf = Shelf::default();
    let settings = Settings {
        review_interval: Duration::from_millis(500),
        ..SETTINGS
    };
    let mut hashes = start(settings, &shelf);
    let wanted = key(1, Some(stamp(5, 3)));
    assert!(pending(&exec(&mut hashes, wanted)));
    assert_eq!(completion(&mut hashes).1.as_deref(), Some("gone"));
    assert_eq!(exec(&mut hashes, wanted), Err("gone".to_owned()));
    shelf.put(1, stamp(5, 3), b"abc");
    let deadline = Instant::now() + Duration::from_secs(10);
    while !pending(&exec(&mut hashes, wanted)) {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert_eq!(completion(&mut hashes).0.sha256.as_deref(), Some(ABC));
}

/// Where the sensor does not tell the state of a file, each look at it says which it was, and no event has
/// a hash that may be of another.
#[test]
fn a_file_of_unknown_state_is_looked_at_again_and_read_again_when_it_changed() {
    let shelf = Shelf::default();
    shelf.put(1, stamp(5, 3), b"abc");
    let mut hashes = start(SETTINGS, &shelf);
    let look = |hashes: &mut ImageHashes| {
        assert!(pending(&exec(hashes, key(1, None))));
        assert!(pending(&exec(hashes, key(1, None))), "and once for both");
        let (details, reason) = completion(hashes);
        assert_eq!(reason, None);
        (details.change_time_ns, details.sha256)
    };
    assert_eq!(look(&mut hashes), (Some(5), Some(ABC.into())));
    let reads = shelf.reads(1).len();
    let began = Instant::now();
    assert_eq!(look(&mut hashes), (Some(5), Some(ABC.into())));
    assert!(began.elapsed() >= SETTINGS.review_interval / 2);
    assert_eq!(shelf.reads(1).len(), reads);
    let stamped = key(1, Some(stamp(5, 3)));
    assert_eq!(exec(&mut hashes, stamped), Ok(ABC.to_owned()));
    shelf.with(1, |file| {
        file.content = b"abd".to_vec();
        file.stamp.change_time_ns = 6;
    });
    let (change_time_ns, sha256) = look(&mut hashes);
    assert_eq!(change_time_ns, Some(6));
    assert_ne!(sha256, Some(ABC.into()));
}

#[test]
fn no_more_is_read_a_second_than_the_rate() {
    let shelf = Shelf::default();
    let size = 300 << 10;
    let before = stamp(5, size);
    shelf.put(1, before, &vec![7; 300 << 10]);
    let settings = Settings {
        rate: 200 << 10,
        ..SETTINGS
    };
    let mut hashes = start(settings, &shelf);
    let began = Instant::now();
    assert!(pending(&exec(&mut hashes, key(1, Some(before)))));
    assert_eq!(completion(&mut hashes).1, None);
    // The last read is paid for by nobody.
    assert!(began.elapsed() >= Duration::from_secs(1));
    let reads = shelf.reads(1);
    let largest = reads.iter().map(|(_, size)| *size).max().unwrap();
    assert!(largest <= 25 << 10, "{largest}");
    for (from, _) in &reads {
        let until = *from + Duration::from_secs(1);
        let within = reads.iter().filter(|(at, _)| at >= from && *at < until);
        let read: usize = within.map(|(_, size)| size).sum();
        assert!(read <= (200 << 10) + 2 * largest, "{read}");
    }
}

/// Files that nobody has before they are let go.
#[derive(Debug)]
struct Held(Shelf, Arc<AtomicBool>);

impl Files for Held {
    fn open(&self, wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        while self.1.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
        self.0.open(wanted)
    }
}

#[test]
fn programs_come_before_what_was_there_and_what_has_no_room_is_told() {
    let shelf = Shelf::default();
    let hold = Arc::new(AtomicBool::new(true));
    let files = Box::new(Held(shelf.clone(), Arc::clone(&hold)));
    let mut hashes = ImageHashes::start(SETTINGS, files).unwrap();
    let load = |hashes: &mut ImageHashes, inode, existing| {
        let mut body = Body::ImageLoad(ImageLoad {
            image: Some("x".repeat(4_000).as_str().into()),
            existing,
            ..ImageLoad::default()
        });
        let mut missing = Vec::new();
        let key = key(inode, Some(stamp(5, 3)));
        hashes.tell(
            (7, ProcessKey(9)),
            &mut body,
            (&mut Vec::new(), &mut missing),
            Some(key),
        );
        reason(&missing)
    };
    // The first is in the thread's hand, or will be.
    assert_eq!(load(&mut hashes, 1, true), "pending");
    assert_eq!(load(&mut hashes, 2, true), "pending");
    assert_eq!(load(&mut hashes, 3, false), "pending");
    let reasons: Vec<_> = (4..400)
        .map(|inode| load(&mut hashes, inode, true))
        .collect();
    let busy = reasons.iter().filter(|reason| *reason == "busy").count();
    assert!(busy > 0 && busy < 300, "{busy}");
    let counts = hashes.tally().counts();
    assert_eq!(counts.busy, busy as u64);
    assert!(counts.waiting * 4_000 <= 1 << 20, "{counts:?}");
    hold.store(false, Ordering::Release);
    let mut order = Vec::new();
    while order.len() < 3 {
        order.push(completion(&mut hashes).0.inode.unwrap());
    }
    let place = |inode| order.iter().position(|told| *told == inode);
    assert!(place(3) < place(2) || place(2).is_none(), "{order:?}");
}

/// What was short-lived was gone before a large file was read.
#[test]
fn a_large_file_holds_up_no_small_one() {
    let shelf = Shelf::default();
    let large = stamp(5, 900 << 10);
    shelf.put(1, large, &vec![7; 900 << 10]);
    shelf.put(2, stamp(5, 3), b"abc");
    let settings = Settings {
        rate: 400 << 10,
        ..SETTINGS
    };
    let mut hashes = start(settings, &shelf);
    assert!(pending(&exec(&mut hashes, key(1, Some(large)))));
    let deadline = Instant::now() + Duration::from_secs(10);
    while shelf.reads(1).is_empty() {
        assert!(Instant::now() < deadline);
        std::thread::yield_now();
    }
    assert!(pending(&exec(&mut hashes, key(2, Some(stamp(5, 3))))));
    assert_eq!(completion(&mut hashes).0.inode, Some(2));
    assert!(shelf.reads(1).len() < 10, "{:?}", shelf.reads(1));
    let (details, reason) = completion(&mut hashes);
    assert_eq!((details.inode, reason), (Some(1), None));
}

/// A file system that does not answer.
#[derive(Debug)]
struct Hung(Arc<AtomicBool>);

impl Files for Hung {
    fn open(&self, _wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        self.0.store(true, Ordering::Release);
        loop {
            std::thread::park();
        }
    }
}

/// A file system that does not answer held up the end of the recording.
#[test]
fn a_file_that_never_answers_holds_up_nobody() {
    let is_hung = Arc::new(AtomicBool::new(false));
    let settings = Settings {
        close_time: Duration::from_millis(100),
        ..SETTINGS
    };
    let files = Box::new(Hung(Arc::clone(&is_hung)));
    let mut hashes = ImageHashes::start(settings, files).unwrap();
    assert!(pending(&exec(&mut hashes, key(1, Some(stamp(5, 3))))));
    while !is_hung.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
    assert!(pending(&exec(&mut hashes, key(2, Some(stamp(5, 3))))));
    let began = Instant::now();
    hashes.close();
    assert!(began.elapsed() < Duration::from_secs(5));
    // And who is ended takes no more.
    let after = exec(&mut hashes, key(3, Some(stamp(5, 3))));
    assert_eq!(after, Err("busy".to_owned()));
}

/// What is kept for all files that there is room for.
#[test]
fn the_cache_and_the_queue_take_less_than_4_mib() {
    let texts = 2 * (2 * size_of::<usize>() + 64) + 64;
    // A table has places for an eighth more, doubled until that is enough.
    let places = (GENERATION_COUNT_MAX * 8 / 7).next_power_of_two();
    let place = size_of::<(FileKey, State)>() + 1;
    let cache = 2 * (places * place + GENERATION_COUNT_MAX * texts);
    assert!(cache + queue::SIZE_MAX < (4 << 20) - (256 << 10), "{cache}");
}

mod versions;

//! Version resources, which events have when they were found a moment before.

use super::*;

const VERSIONS: Settings = Settings {
    subject: Subject::Versions,
    // A version resource is a few bytes of a file of any size.
    file_size_max: 0,
    ..SETTINGS
};

/// The file of every path, where there is one.
#[derive(Clone, Debug)]
struct Disk(Arc<Mutex<Option<Image>>>);

#[derive(Clone, Debug)]
struct Image(Stamp, Vec<u8>);

impl Files for Disk {
    fn open(&self, _wanted: &Wanted) -> Result<Box<dyn OpenFile>, &'static str> {
        let file = self.0.lock().unwrap().clone().ok_or(missing::GONE)?;
        Ok(Box::new(file))
    }
}

impl OpenFile for Image {
    fn stamp(&self) -> io::Result<Stamp> {
        Ok(self.0)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|at| self.1.get(at..));
        let rest = rest.unwrap_or_default();
        let size = rest.len().min(buffer.len());
        buffer[..size].copy_from_slice(&rest[..size]);
        Ok(size)
    }
}

fn disk(time: i64, name: &str) -> (ImageHashes, Disk) {
    let disk = Disk(Arc::default());
    disk.put(time, name);
    let hashes = ImageHashes::start(VERSIONS, Box::new(disk.clone())).unwrap();
    (hashes, disk)
}

impl Disk {
    fn put(&self, time: i64, name: &str) {
        let content = pe::tests::named(name);
        let stamp = stamp(time, content.len() as u64);
        *self.0.lock().unwrap() = Some(Image(stamp, content));
    }
}

/// A load of the image: the name it was made under, or why that is not told.
fn load(hashes: &mut ImageHashes) -> Result<Option<String>, String> {
    let mut body = Body::from(ImageLoad {
        image: Some(r"C:\x.exe".into()),
        ..ImageLoad::default()
    });
    tell(hashes, &mut body)?;
    let Body::ImageLoad(load) = body else {
        panic!("{body:?}");
    };
    let name = load.details.and_then(|it| it.file.original_file_name);
    Ok(name.map(|name| name.shown().to_owned()))
}

fn tell(hashes: &mut ImageHashes, body: &mut Body) -> Result<(), String> {
    let mut missing = Vec::new();
    hashes.tell(
        (7, ProcessKey(9)),
        body,
        (&mut Vec::new(), &mut missing),
        None,
    );
    match missing.first() {
        None => Ok(()),
        Some((_, reason)) => {
            assert_eq!(missing.len(), 5, "{missing:?}");
            Err(reason.to_string())
        }
    }
}

fn answer(hashes: &mut ImageHashes) -> Option<ImageDetails> {
    let answer = hashes.answers().recv_timeout(Duration::from_secs(10));
    let completion = hashes.take(answer.unwrap())?;
    match completion.body {
        Body::ImageDetails(details) => Some(*details),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_first_event_of_a_file_is_completed_and_the_next_has_its_version() {
    let (mut hashes, _disk) = disk(5, "Cmd.Exe");
    assert_eq!(load(&mut hashes), Err("pending".to_owned()));
    let details = answer(&mut hashes).unwrap();
    assert_eq!(details.original_file_name, Some("Cmd.Exe".into()));
    assert_eq!(details.image, Some(r"C:\x.exe".into()));
    assert_eq!((details.device, details.inode), (None, None));
    assert_eq!((details.sha256, details.change_time_ns), (None, Some(5)));
    assert_eq!(load(&mut hashes), Ok(Some("Cmd.Exe".to_owned())));
    let mut start = Body::from(trail::ProcessStart {
        program: Program {
            image: Some(r"C:\x.exe".into()),
            ..Program::default()
        },
        ..trail::ProcessStart::default()
    });
    assert_eq!(tell(&mut hashes, &mut start), Ok(()));
    let Body::ProcessStart(start) = start else {
        panic!("{start:?}");
    };
    let file = start.details.unwrap().file;
    assert_eq!(file.original_file_name, Some("Cmd.Exe".into()));
}

#[test]
fn a_file_that_is_another_one_now_is_told_again_and_one_that_is_not_is_not() {
    let (mut hashes, disk) = disk(5, "Cmd.Exe");
    let _pending = load(&mut hashes);
    assert!(answer(&mut hashes).is_some());
    let look_again = |hashes: &mut ImageHashes| {
        std::thread::sleep(VERSIONS.review_interval);
        let told = load(hashes);
        (told, answer(hashes).map(|it| it.original_file_name))
    };
    let same = || Ok(Some("Cmd.Exe".to_owned()));
    assert_eq!(look_again(&mut hashes), (same(), None));
    disk.put(6, "Other.Exe");
    let news = Some(Some("Other.Exe".into()));
    assert_eq!(look_again(&mut hashes), (same(), news));
    assert_eq!(load(&mut hashes), Ok(Some("Other.Exe".to_owned())));
}

#[test]
fn a_file_without_a_version_lacks_nothing_and_one_that_is_gone_says_so() {
    let (mut hashes, disk) = disk(5, "");
    let _pending = load(&mut hashes);
    let details = answer(&mut hashes).unwrap();
    assert_eq!(details.original_file_name, None);
    assert_eq!(load(&mut hashes), Ok(None));
    let gone = Disk(Arc::default());
    drop(disk);
    let mut hashes = ImageHashes::start(VERSIONS, Box::new(gone)).unwrap();
    let _pending = load(&mut hashes);
    assert!(answer(&mut hashes).is_some());
    assert_eq!(load(&mut hashes), Err("gone".to_owned()));
    // A process without an image, as the system has, is not asked for.
    let mut start = Body::from(trail::ProcessStart::default());
    assert_eq!(tell(&mut hashes, &mut start), Ok(()));
}

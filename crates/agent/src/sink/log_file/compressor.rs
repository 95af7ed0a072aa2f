//! Rotated logs become zstd frames, on a thread of its own: the log is written on meanwhile.
//!
//! A file is compressed beside and put in the place of the plain one in one step; then it takes the
//! ending `.zst`. At every moment there is one file with these lines, and it is whole. What a recorder
//! that ends, or is killed, has not compressed the next one does.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use super::rotation;

/// What a file ends with that is being compressed.
pub(super) const UNFINISHED: &str = ".zst.new";

/// What a compressed one ends with.
pub(super) const ENDING: &str = ".zst";

/// The library's own choice: logs become a fifteenth, and a rotated file takes a fraction of a second.
const LEVEL: i32 = 3;

/// As much is compressed at once, before it is looked whether the recording ends.
const PIECE_SIZE: usize = 256 * 1024;

/// The first bytes of a Zstandard frame (RFC 8878, section 3.1.1).
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A frame to be skipped (RFC 8878, section 3.1.2) that every reader passes over: its first bytes, its size,
/// and whose it is.
const TRAILER: [u8; 16] = *b"\x5e\x2a\x4d\x18\x18\0\0\0systrail";

/// With two numbers after that.
const TRAILER_SIZE: u64 = 32;

/// What a file was before it was compressed. Retention goes by it: how fast a log was filled is not what is
/// left of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Plain {
    /// Bytes.
    pub(super) size: u64,
    /// When it was begun, where that was known.
    pub(super) begun: Option<SystemTime>,
}

impl Plain {
    /// What a compressed log says of itself; `None` of a file that is none of ours.
    pub(super) fn of(path: &Path) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        file.seek(SeekFrom::End(-TRAILER_SIZE.cast_signed())).ok()?;
        let mut trailer = Vec::new();
        file.read_to_end(&mut trailer).ok()?;
        let numbers = trailer.strip_prefix(&TRAILER)?;
        let (numbers, _rest) = numbers.as_chunks::<8>();
        let [size, begun] = numbers else { return None };
        let begun = Duration::from_nanos(u64::from_le_bytes(*begun));
        Some(Self {
            size: u64::from_le_bytes(*size),
            begun: (!begun.is_zero()).then(|| SystemTime::UNIX_EPOCH + begun),
        })
    }

    fn trailer(&self) -> Vec<u8> {
        let begun = self
            .begun
            .map(|begun| begun.duration_since(SystemTime::UNIX_EPOCH));
        let begun = begun.and_then(Result::ok).unwrap_or_default();
        let begun = u64::try_from(begun.as_nanos()).unwrap_or(0);
        let numbers = [self.size.to_le_bytes(), begun.to_le_bytes()];
        [&TRAILER[..], &numbers.concat()].concat()
    }
}

/// The thread.
#[derive(Debug)]
pub(super) struct Compressor {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    work: Mutex<Work>,
    changed: Condvar,
    /// Held by whoever deletes or exchanges rotated files.
    files: Mutex<()>,
}

#[derive(Debug, Default)]
struct Work {
    is_wanted: bool,
    is_closing: bool,
}

impl Compressor {
    /// Starts the thread, which compresses the predecessors of `log`.
    pub(super) fn start(log: &Path) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (work, log) = (Arc::clone(&shared), log.to_path_buf());
        let thread = crate::sys::thread::named("zstd").spawn(move || work.run(&log))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Has whatever is plain compressed.
    pub(super) fn request(&self) {
        lock(&self.shared.work).is_wanted = true;
        self.shared.changed.notify_one();
    }

    /// While it is held no rotated file is exchanged.
    pub(super) fn hold(&self) -> MutexGuard<'_, ()> {
        lock(&self.shared.files)
    }

    /// Ends the thread, in the middle of a file too: that stays as it was.
    pub(super) fn finish(&mut self) {
        lock(&self.shared.work).is_closing = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that compresses rotated logs panicked");
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.finish();
    }
}

/// No code that holds one of them can leave what it guards half changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn run(&self, log: &Path) {
        let mut has_failed = false;
        loop {
            let work = lock(&self.work);
            let mut work = self
                .changed
                .wait_while(work, |work| !work.is_wanted && !work.is_closing)
                .unwrap_or_else(PoisonError::into_inner);
            if work.is_closing {
                return;
            }
            work.is_wanted = false;
            drop(work);
            for plain in rotation::plain_files(log) {
                if self.is_closing() {
                    return;
                }
                match self.compress(&plain.path, plain.begun) {
                    Ok(()) => has_failed = false,
                    // Deleted meanwhile, as the oldest may be.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => return,
                    Err(error) => {
                        if !has_failed {
                            tracing::warn!(
                                %error,
                                file = %plain.path.display(),
                                "rotated log cannot be compressed and stays as it is"
                            );
                        }
                        has_failed = true;
                        break;
                    }
                }
            }
        }
    }

    fn is_closing(&self) -> bool {
        lock(&self.work).is_closing
    }

    /// Puts what is compressed in the place of `path`.
    fn compress(&self, path: &Path, begun: Option<SystemTime>) -> io::Result<()> {
        let compressed = with_ending(path, ENDING);
        if is_compressed(path) {
            let _held = lock(&self.files);
            return fs::rename(path, compressed);
        }
        let mut plain = File::open(path)?;
        let metadata = plain.metadata()?;
        let unfinished = Unfinished(with_ending(path, UNFINISHED));
        let mut encoder = zstd::Encoder::new(unfinished.create()?, LEVEL)?;
        encoder.include_checksum(true)?;
        // A file that somebody changes meanwhile is an error.
        encoder.set_pledged_src_size(Some(metadata.len()))?;
        let mut piece = vec![0; PIECE_SIZE];
        loop {
            if self.is_closing() {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let size = match plain.read(&mut piece) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            if size == 0 {
                break;
            }
            encoder.write_all(piece.get(..size).unwrap_or_default())?;
        }
        let mut file = encoder.finish()?;
        let size = metadata.len();
        file.write_all(&Plain { size, begun }.trailer())?;
        take_over(&file, &metadata)?;
        file.sync_all()?;
        let _held = lock(&self.files);
        // One that was deleted meanwhile does not come back.
        fs::symlink_metadata(path)?;
        fs::rename(&unfinished.0, path)?;
        fs::rename(path, compressed)
    }
}

/// Who may read it, and when it was written last, are the plain one's.
fn take_over(file: &File, metadata: &fs::Metadata) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let own = file.metadata()?;
        // Mostly they are, and a service may do nothing that needs the right to change them.
        if (own.uid(), own.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(file, Some(metadata.uid()), Some(metadata.gid()))?;
        }
    }
    file.set_permissions(metadata.permissions())?;
    file.set_modified(metadata.modified()?)
}

/// A file that goes away unless it was renamed.
struct Unfinished(PathBuf);

impl Unfinished {
    /// The file, which nobody else may read before it is known who may.
    fn create(&self) -> io::Result<File> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.0)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // Not there any more when it was renamed, which is what should be.
        let _gone = fs::remove_file(&self.0);
    }
}

/// Whether a file was compressed and did not get its ending any more.
pub(super) fn is_compressed(path: &Path) -> bool {
    let mut begin = [0; ZSTD.len()];
    let read = File::open(path).and_then(|mut file| file.read_exact(&mut begin));
    read.is_ok() && begin == ZSTD
}

pub(super) fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(ending);
    PathBuf::from(path)
}

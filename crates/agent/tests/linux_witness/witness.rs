//! What the tests share: the machine they have for themselves, directories, the small program that
//! is watched most, and what `/proc` says.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use tempfile::TempDir;

use crate::lives::Life;
use crate::recorder::Row;

/// One recorder and one workload at a time.
static MACHINE: Mutex<()> = Mutex::new(());

/// The longest a test may take where nothing is emulated: many times what it takes on a machine
/// with nothing else to do, because a busy one is no failure.
const TEST_TIME_MAX: Duration = Duration::from_mins(5);

/// The right to use the machine, for a bounded time.
pub(crate) struct Machine {
    _lock: MutexGuard<'static, ()>,
    _watchdog: Sender<()>,
}

impl Machine {
    /// Waits for the machine; `None` where these tests cannot run.
    pub(crate) fn take() -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            let is_ci = std::env::var_os("CI").is_some();
            assert!(!is_ci, "the recorder cannot be tested without root");
            say("skipped: recording needs root");
            return None;
        }
        let lock = MACHINE.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Self {
            _lock: lock,
            _watchdog: watchdog(),
        })
    }

    /// The same for a test that needs programs of a whole system.
    pub(crate) fn take_with_programs(programs: &[&str]) -> Option<Self> {
        if is_emulated() {
            say("skipped: this machine has no programs but the tests");
            return None;
        }
        for program in programs {
            let is_there = find(program).is_some();
            if !is_there && std::env::var_os("CI").is_none() {
                say(&format!("skipped: {program} is not installed"));
                return None;
            }
            assert!(is_there, "{program} is not installed");
        }
        Self::take()
    }
}

/// What most tests begin with: the machine, a directory, and the tiny program in it.
pub(crate) struct Stage {
    directory: TempDir,
    /// The tiny program.
    pub(crate) program: PathBuf,
    _machine: Machine,
}

impl Stage {
    /// Waits for the machine; `None` where these tests cannot run.
    pub(crate) fn set() -> Option<Self> {
        let machine = Machine::take()?;
        let directory = directory();
        let program = tiny_program(directory.path());
        Some(Self {
            directory,
            program,
            _machine: machine,
        })
    }

    /// The directory.
    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }
}

/// Ends the whole run when a test hangs: a hung recorder cannot be asked why, and its test cannot
/// be interrupted. Recorders and workloads die with the threads that started them.
fn watchdog() -> Sender<()> {
    let (alive, watched) = channel::<()>();
    let name = thread::current().name().map(str::to_owned);
    let time = TEST_TIME_MAX * if is_emulated() { 2 } else { 1 };
    thread::spawn(move || {
        if watched.recv_timeout(time) == Err(RecvTimeoutError::Timeout) {
            // Not by `say`: what is printed here is kept for the end of the test, which never comes.
            let text = format!("\n{name:?} takes longer than {time:?}, so the run ends here\n");
            let _written = std::io::stderr().write_all(text.as_bytes());
            exit(101);
        }
    });
    alive
}

/// Whether this is the small virtual machine with nothing but the tests.
pub(crate) fn is_emulated() -> bool {
    std::env::var_os("SYSTRAIL_VM").is_some()
}

/// A line for the person who reads the test's output.
#[expect(clippy::print_stderr, reason = "why a test did not run must be seen")]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// The path of a program.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|path| path.is_file())
}

/// `count`, times `SYSTRAIL_TEST_SCALE`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a count of thousands times a scale of at most a few"
)]
pub(crate) fn scaled(count: usize) -> usize {
    let scale = std::env::var("SYSTRAIL_TEST_SCALE").unwrap_or_else(|_unset| String::from("1"));
    let scale: f64 = scale.parse().unwrap();
    ((count as f64 * scale) as usize).max(4)
}

/// A directory of its own that every user can enter.
pub(crate) fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    directory
}

/// The time of day, nanoseconds since the epoch.
pub(crate) fn now() -> i64 {
    let time = clock_gettime(ClockId::CLOCK_REALTIME).unwrap();
    time.tv_sec() * 1_000_000_000 + time.tv_nsec()
}

/// This process's id as the rows have it.
pub(crate) fn own_process_id() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// Writes a program of 145 bytes that exits with the first byte of its first argument, or with 0.
pub(crate) fn tiny_program(directory: &Path) -> PathBuf {
    const LOAD_ADDRESS: u64 = 0x40_0000;
    const CODE_OFFSET: u64 = 64 + 56;
    // mov rdi, [rsp + 16]; test rdi, rdi; je +3; movzx edi, byte [rdi]; mov eax, 231; syscall
    let code = b"\x48\x8b\x7c\x24\x10\x48\x85\xff\x74\x03\x0f\xb6\x3f\xb8\xe7\x00\x00\x00\x0f\x05";
    let size = CODE_OFFSET + u64::try_from(code.len()).unwrap();
    let mut file = Vec::new();
    // The file header of a 64-bit executable for x86-64, and one loadable segment: all of the file.
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0\x3e\0\x01\0\0\0");
    for field in [LOAD_ADDRESS + CODE_OFFSET, 64, 0] {
        file.extend_from_slice(&field.to_le_bytes());
    }
    file.extend_from_slice(b"\0\0\0\0\x40\0\x38\0\x01\0\0\0\0\0\0\0");
    file.extend_from_slice(b"\x01\0\0\0\x05\0\0\0");
    for field in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 4096] {
        file.extend_from_slice(&field.to_le_bytes());
    }
    file.extend_from_slice(code);
    let path = directory.join("tiny");
    fs::write(&path, file).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The tiny program, ready to be started with the exit code it shall have.
pub(crate) fn tiny(program: &Path, code: u8) -> Command {
    let mut command = Command::new(program);
    let argument = [code];
    // An argument cannot hold a NUL byte; an empty one begins with its end.
    let argument = if code == 0 { &[][..] } else { &argument[..] };
    command.arg(OsStr::from_bytes(argument));
    command
}

/// What a process must have done to one witness: its exit code, or the signal that killed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

impl End {
    /// What the log says.
    pub(crate) fn of(exit: &Row) -> Self {
        match (exit.signal, exit.exit_code) {
            (Some(signal), code) => {
                assert_eq!(code, Some(128 + signal), "as shells have it: {exit:?}");
                Self::Signal(signal)
            }
            (None, Some(code)) => Self::Code(code),
            (None, None) => panic!("no status in {exit:?}"),
        }
    }

    /// What `wait` says.
    pub(crate) fn of_status(status: i32) -> Self {
        if libc::WIFSIGNALED(status) {
            Self::Signal(libc::WTERMSIG(status))
        } else {
            Self::Code(libc::WEXITSTATUS(status))
        }
    }
}

/// A mapping that can be executed and has a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mapping {
    pub(crate) base: u64,
    pub(crate) size: u64,
    pub(crate) path: String,
}

impl Mapping {
    /// Those in the text of a `maps` file.
    pub(crate) fn executable(maps: &str) -> Vec<Self> {
        let mut mappings: Vec<Self> = maps.lines().filter_map(Self::parse).collect();
        mappings.sort();
        mappings
    }

    /// Those that the log tells of a process.
    pub(crate) fn told(life: &Life<'_>) -> Vec<Self> {
        let mut mappings: Vec<Self> = life
            .images
            .iter()
            .map(|row| Self {
                base: row.base(),
                size: row.image_size.unwrap(),
                path: row.image.clone().unwrap(),
            })
            .collect();
        mappings.sort();
        mappings
    }

    /// `base-end rwxp offset device inode path`; a path may hold spaces.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (base, end) = fields.next()?.split_once('-')?;
        let is_executable = fields.next()?.contains('x');
        let path = fields.nth(3)?.trim_start();
        let base = u64::from_str_radix(base, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        (is_executable && path.starts_with('/')).then(|| Self {
            base,
            size: end - base,
            path: path.to_owned(),
        })
    }
}

/// Every process that lives, with its start time in clock ticks. The dead whose parents have not
/// asked for them yet are still in `/proc`.
pub(crate) fn processes() -> HashMap<i32, u64> {
    let entries = fs::read_dir("/proc").unwrap();
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|process_id| Some((process_id, start_tick(process_id)?)))
        .collect()
}

/// The 22nd field of `stat`, of a process of which a thread lives: the 3rd is the first thread's
/// state, the 20th the number of threads. The 2nd may hold anything, so counting begins after it.
fn start_tick(process_id: i32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{process_id}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let is_dead = fields.next()? == "Z";
    let thread_count: u64 = fields.nth(16)?.parse().ok()?;
    let start_tick = fields.nth(1)?.parse().ok()?;
    (!is_dead || thread_count > 1).then_some(start_tick)
}

/// Looks again and again, without a pause of its own, until `condition_fn` holds. The watchdog
/// bounds it.
pub(crate) fn wait_until(mut condition_fn: impl FnMut() -> bool) {
    while !condition_fn() {
        thread::yield_now();
    }
}

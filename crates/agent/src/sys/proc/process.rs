//! One process, read as bytes.
//!
//! A process may vanish, or run another program, between any two reads. [`Process`] holds the
//! process's directory open, so a later process with the same id is never taken for it: once it
//! is gone, every read fails.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;

use event::process::Users;
use event::{Flags, Place};
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::Mode;

use crate::environment::Names;

use super::name::{NO_WAY, PLACE, has_path, inode, split_deleted};
use super::place::{place, placed};
use super::{TICK_NS, ids_in};

/// Of a command line, no more than this is kept.
const COMMAND_LINE_SIZE_MAX: usize = 32 * 1024;

/// `PF_KTHREAD` of `include/linux/sched.h`.
const TASK_FLAG_KERNEL: u32 = 0x0020_0000;

/// `PF_EXITING`, which is set before anybody is told of an exit.
const TASK_FLAG_EXITING: u32 = 4;

/// Of an environment, no more than this is looked at.
const ENVIRONMENT_SIZE_MAX: u64 = 1 << 20;

/// Bytes of the largest `stat` and `status` we read; both are below 4 KiB.
const STATUS_SIZE_MAX: u64 = 64 * 1024;

/// Threads that are asked, of a process whose first thread has ended, for what it runs.
const THREADS_ASKED_MAX: usize = 1024;

/// What the process that had this id at `time` runs now and for whom, if it is still there.
pub fn program_as_of(process_id: u32, time: u64) -> Option<(Program, Option<User>)> {
    let (process, stat) = Process::open_as_of(process_id, time).ok()?;
    Some((process.program(), process.user(&stat)))
}

/// The audit login user of the process that had this id at `time`, if it is still there.
pub fn login_as_of(process_id: u32, time: u64) -> Option<u32> {
    let (process, _) = Process::open_as_of(process_id, time).ok()?;
    let login = process.login_user_id();
    // That it still answers shows that it was there.
    process.stat().ok()?;
    Some(login)
}

/// One process, as long as it lasts.
#[derive(Debug)]
pub struct Process {
    process_id: u32,
    pub(super) directory: OwnedFd,
}

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// How good the texts are.
    pub flags: Flags,
    /// The path of its image.
    pub image: Vec<u8>,
    /// Its arguments, each ended by a NUL byte.
    pub command_line: Vec<u8>,
}

/// For whom a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// Its effective user.
    pub user_id: u32,
    /// Who asked for what it runs, where that is known.
    pub asked: Option<Users>,
    /// Its session.
    pub session_id: u32,
}

impl Program {
    /// Whether it looks like a program that an exec is not done with.
    pub fn is_being_loaded(&self) -> bool {
        !self.flags.contains(Flags::IMAGE_UNAVAILABLE)
            && self.flags.contains(Flags::COMMAND_LINE_UNAVAILABLE)
    }

    /// That of a process that is gone.
    pub fn unavailable() -> Self {
        Self {
            flags: Flags::IMAGE_UNAVAILABLE.with(Flags::COMMAND_LINE_UNAVAILABLE),
            ..Self::default()
        }
    }
}

/// What `/proc/PID/stat` tells, as far as we use it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// The parent.
    pub parent_process_id: u32,
    /// The session.
    pub session_id: u32,
    /// When it started, in ticks since boot.
    pub start_tick: u64,
    /// Whether it is a kernel thread.
    pub is_kernel: bool,
    /// How many threads it has, one that has ended but leads the others included.
    pub threads: u32,
    /// Whether its first thread has ended.
    pub leader_has_ended: bool,
    /// Whether its first thread is about to.
    pub is_exiting: bool,
    /// The device of its controlling terminal, as [`Place`] has one; 0 where it has none.
    pub terminal: u32,
}

impl Process {
    /// The process that has this id now.
    pub fn open(process_id: u32) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory =
            nix::fcntl::open(format!("/proc/{process_id}").as_str(), flags, Mode::empty())?;
        Ok(Self {
            process_id,
            directory,
        })
    }

    /// Whether the file with this inode has this path, for the process with this id if there is
    /// one, or for us.
    pub fn has_path(process_id: u32, path: &[u8], inode: u64) -> bool {
        let directory = Self::open(process_id).ok().map(Self::into_living);
        has_path(directory.as_ref(), path, inode)
    }

    /// The directory of it, or of a thread that runs where the first one has ended.
    pub(super) fn into_living(self) -> OwnedFd {
        self.living_thread().unwrap_or(self.directory)
    }

    /// Its state.
    pub fn stat(&self) -> io::Result<Stat> {
        parse_stat(&self.read("stat", STATUS_SIZE_MAX)?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "stat is not what it was"))
    }

    /// Its effective user, and who asked for what it runs.
    pub fn user_ids(&self) -> io::Result<(u32, Users)> {
        let (real_user_id, user_id) = parse_user_ids(&self.read("status", STATUS_SIZE_MAX)?)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "status has no user"))?;
        let users = Users {
            real_user_id,
            login_user_id: self.login_user_id(),
        };
        Ok((user_id, users))
    }

    /// Its audit login user.
    fn login_user_id(&self) -> u32 {
        // A kernel without audit has no such file.
        let login = self.read("loginuid", STATUS_SIZE_MAX).ok();
        let login = login.and_then(|text| std::str::from_utf8(&text).ok()?.trim().parse().ok());
        login.unwrap_or(Users::NOBODY)
    }

    /// The process that had this id at `time`, if it is still there, and its state.
    pub fn open_as_of(process_id: u32, time: u64) -> io::Result<(Self, Stat)> {
        let process = Self::open(process_id)?;
        let stat = process.stat()?;
        if stat.start_tick > time / TICK_NS {
            // A later process has the id.
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok((process, stat))
    }

    /// For whom it runs.
    pub fn user(&self, stat: &Stat) -> Option<User> {
        let (user_id, users) = self.user_ids().ok()?;
        Some(User {
            user_id,
            asked: Some(users),
            session_id: stat.session_id,
        })
    }

    /// What it calls itself, which is all there is of a kernel thread, as `ps` shows it.
    pub fn name(&self) -> io::Result<String> {
        let name = self.read("comm", STATUS_SIZE_MAX)?;
        Ok(String::from_utf8_lossy(&name)
            .trim_end_matches('\n')
            .to_owned())
    }

    /// What it runs.
    pub fn program(&self) -> Program {
        let (image_flags, image) = self.image();
        let (line_flags, command_line) = self.command_line();
        Program {
            flags: image_flags.with(line_flags),
            image,
            command_line,
        }
    }

    /// The program it runs, with the flags that say how good the path is.
    pub fn image(&self) -> (Flags, Vec<u8>) {
        image(&self.directory)
            .or_else(|| image(&self.living_thread()?))
            .unwrap_or((Flags::IMAGE_UNAVAILABLE, Vec::new()))
    }

    /// Its arguments, each ended by a NUL byte, with the flags that say how good they are.
    pub fn command_line(&self) -> (Flags, Vec<u8>) {
        let read = self.read_memory("cmdline", COMMAND_LINE_SIZE_MAX as u64 + 1);
        let Ok((_, mut arguments)) = read else {
            return (Flags::COMMAND_LINE_UNAVAILABLE, Vec::new());
        };
        // So it reads where an exec has not put the arguments in place yet, where the process has
        // no memory any more, and where it has told the kernel that it has none (`PR_SET_MM`):
        // not what it was given. A program that was given none has one that is empty.
        if arguments.is_empty() {
            return (Flags::COMMAND_LINE_UNAVAILABLE, Vec::new());
        }
        if arguments.len() > COMMAND_LINE_SIZE_MAX {
            arguments.truncate(COMMAND_LINE_SIZE_MAX);
            return (Flags::COMMAND_LINE_TRUNCATED, arguments);
        }
        // A program that has written over its arguments may have written over the last NUL.
        if arguments.last().is_some_and(|&byte| byte != 0) {
            arguments.push(0);
        }
        (Flags::NONE, arguments)
    }

    /// Its working directory, with the flags that say how good the path is.
    pub fn working_directory(&self) -> (Flags, Vec<u8>) {
        working_directory(&self.directory)
            .or_else(|| working_directory(&self.living_thread()?))
            .unwrap_or((Flags::IMAGE_UNAVAILABLE, Vec::new()))
    }

    /// Of the variables it was given those that are told, each ended by a NUL byte, with the flags that
    /// say how good they are.
    pub fn environment(&self, names: &Names) -> (Flags, Vec<u8>) {
        // Of what has no program there is no memory to be read, and that reads as empty.
        let read = self.read_memory("environ", ENVIRONMENT_SIZE_MAX);
        let Some((_, variables)) = read
            .ok()
            .filter(|_| readlinkat(&self.directory, "exe").is_ok())
        else {
            return (Flags::COMMAND_LINE_UNAVAILABLE, Vec::new());
        };
        let (picked, is_full) = names.picked(&variables);
        let is_cut = is_full || variables.len() as u64 == ENVIRONMENT_SIZE_MAX;
        let flags = Flags::NONE.with_if(is_cut, Flags::COMMAND_LINE_TRUNCATED);
        (flags, picked)
    }

    /// The ids of its threads.
    pub fn thread_ids(&self) -> io::Result<Vec<u32>> {
        // By name, because the standard library reads no directory by descriptor; that `stat`
        // still answers afterwards shows that the name meant this process.
        let directory = std::fs::read_dir(format!("/proc/{}/task", self.process_id))?;
        let ids = ids_in(directory)?;
        self.stat()?;
        Ok(ids)
    }

    /// The directory of a thread that runs, where the first one has ended: what is of the memory
    /// and the root is not told by the process's own then.
    fn living_thread(&self) -> Option<OwnedFd> {
        let stat = self.stat().ok()?;
        if !stat.leader_has_ended || stat.has_ended() {
            return None;
        }
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let open = |id| {
            let name = format!("task/{id}");
            openat(&self.directory, name.as_str(), flags, Mode::empty()).ok()
        };
        let threads = self.thread_ids().ok()?.into_iter().filter_map(open);
        // One that ends as well has none of it either.
        threads
            .take(THREADS_ASKED_MAX)
            .find(|thread| readlinkat(thread, "exe").is_ok())
    }

    /// Reads what tells of the process's memory, from a thread that has it: the directory of that
    /// is handed over where it is not the process's.
    pub(super) fn read_memory(
        &self,
        name: &str,
        size_max: u64,
    ) -> io::Result<(Option<OwnedFd>, Vec<u8>)> {
        let bytes = self.read(name, size_max);
        if bytes.as_ref().is_ok_and(|bytes| !bytes.is_empty()) {
            return bytes.map(|bytes| (None, bytes));
        }
        match self.living_thread() {
            Some(thread) => {
                let bytes = read_in(&thread, name, size_max)?;
                Ok((Some(thread), bytes))
            }
            None => bytes.map(|bytes| (None, bytes)),
        }
    }

    fn read(&self, name: &str, size_max: u64) -> io::Result<Vec<u8>> {
        read_in(&self.directory, name, size_max)
    }
}

pub(super) fn read_in(directory: &OwnedFd, name: &str, size_max: u64) -> io::Result<Vec<u8>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    File::from(file).take(size_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The program of the process or thread with this directory, unless it has ended.
fn image(directory: &OwnedFd) -> Option<(Flags, Vec<u8>)> {
    let path = readlinkat(directory, "exe").ok()?.into_vec();
    (path != NO_WAY).then(|| linked(directory, "exe", &path))
}

/// The working directory of the process or thread with this directory, unless it has ended.
fn working_directory(directory: &OwnedFd) -> Option<(Flags, Vec<u8>)> {
    let path = readlinkat(directory, "cwd").ok()?.into_vec();
    if path == NO_WAY {
        // That may be the way there, too.
        let inode_of = |name: &str| {
            let file = openat(directory, name, PLACE, Mode::empty()).ok()?;
            inode(&file)
        };
        let working = inode_of("cwd")?;
        let is_root = [inode_of("root"), inode_of("/")].contains(&Some(working));
        return is_root.then(|| linked(directory, "cwd", &path));
    }
    Some(linked(directory, "cwd", &path))
}

/// Where a link of the process or thread with this directory leads, by what the link says.
fn linked(directory: &OwnedFd, link: &str, path: &[u8]) -> (Flags, Vec<u8>) {
    let file = openat(directory, link, PLACE, Mode::empty()).ok();
    let (flags, path) = split_deleted(path, |path| {
        let inode = file.as_ref().and_then(inode);
        inode.is_some_and(|inode| has_path(Some(directory), path, inode))
    });
    match file.and_then(|file| place(directory, &file)) {
        Some(place) => (flags.with(Flags::PLACED), placed(path, flags, place)),
        None => (flags, path.to_vec()),
    }
}

fn parse_stat(bytes: &[u8]) -> Option<Stat> {
    // The name before it may hold anything, closing parentheses and spaces included.
    let name_end = bytes.iter().rposition(|&byte| byte == b')')?;
    let text = std::str::from_utf8(bytes.get(name_end + 1..)?).ok()?;
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    // Fields as proc(5) counts them; the first one here is the third.
    let field = |number: usize| fields.get(number - 3).copied();
    let number = |at: usize| field(at)?.parse::<u64>().ok();
    let flags = u32::try_from(number(9)?).ok()?;
    Some(Stat {
        parent_process_id: u32::try_from(number(4)?).ok()?,
        // Kernel threads have session 0, and a session outside our pid namespace is -1.
        session_id: field(6)?.parse().unwrap_or(0),
        start_tick: number(22)?,
        is_kernel: flags & TASK_FLAG_KERNEL != 0,
        threads: u32::try_from(number(20)?).ok()?,
        leader_has_ended: matches!(field(3)?, "Z" | "X" | "x"),
        is_exiting: flags & TASK_FLAG_EXITING != 0,
        terminal: terminal(field(7)?),
    })
}

/// A device as the kernel tells user mode of it (`new_encode_dev`), in which the minor number stands on
/// both sides of the major one.
fn terminal(number: &str) -> u32 {
    let number = number.parse::<i32>().unwrap_or(0).cast_unsigned();
    let minor = (number & 0xff) | ((number >> 12) & 0xf_ff00);
    Place::device_of((number >> 8) & 0xfff, minor)
}

impl Stat {
    /// Whether its last thread has ended: what is left waits to be reaped.
    pub const fn has_ended(&self) -> bool {
        self.leader_has_ended && self.threads <= 1
    }
}

/// The real and the effective user.
fn parse_user_ids(bytes: &[u8]) -> Option<(u32, u32)> {
    let line = bytes
        .split(|&byte| byte == b'\n')
        .find_map(|line| line.strip_prefix(b"Uid:"))?;
    let text = std::str::from_utf8(line).ok()?;
    // Real, effective, saved, file system.
    let mut ids = text.split_ascii_whitespace().map(str::parse);
    Some((ids.next()?.ok()?, ids.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::process::CommandExt as _;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};

    use event::{Place, Scope};
    use nix::sys::wait::{Id, WaitPidFlag, waitid};
    use nix::unistd::Pid;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_full_of_parentheses_does_not_shift_the_fields() {
        let stat = b"7 (a) R 9 (x) S 1 7 5 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 4711 99 9 1\n";
        assert_eq!(
            parse_stat(stat),
            Some(Stat {
                parent_process_id: 1,
                session_id: 5,
                start_tick: 4711,
                is_kernel: false,
                threads: 3,
                leader_has_ended: false,
                is_exiting: false,
                terminal: 0,
            })
        );
    }

    #[test]
    fn a_dead_leader_with_live_threads_has_not_ended() {
        let stat = |threads: u32| {
            format!("7 (a) Z 1 7 5 0 -1 0 1 2 3 4 5 6 7 8 20 0 {threads} 0 1 0 0 0\n")
        };
        assert!(parse_stat(stat(1).as_bytes()).unwrap().has_ended());
        assert!(!parse_stat(stat(2).as_bytes()).unwrap().has_ended());
    }

    #[test]
    fn the_effective_user_is_the_second_one() {
        let status = b"Name:\tx\nUid:\t1000\t33\t0\t0\n";
        assert_eq!(parse_user_ids(status), Some((1000, 33)));
        assert_eq!(parse_user_ids(b"Name:\tUid:\n"), None);
    }

    #[test]
    fn this_process_is_read_as_it_knows_itself() {
        let this = Process::open(std::process::id()).unwrap();
        let stat = this.stat().unwrap();
        assert_eq!(stat.parent_process_id, std::os::unix::process::parent_id());
        assert!(!stat.is_kernel && !stat.has_ended());
        let (user_id, users) = this.user_ids().unwrap();
        assert_eq!(user_id, nix::unistd::geteuid().as_raw());
        assert_eq!(users.real_user_id, nix::unistd::getuid().as_raw());
        let image = std::env::current_exe().unwrap();
        assert_eq!(path_of(&this.image().1), image.as_os_str().as_bytes());
        let mut arguments = Vec::new();
        for argument in std::env::args() {
            arguments.extend_from_slice(argument.as_bytes());
            arguments.push(0);
        }
        assert_eq!(this.command_line(), (Flags::NONE, arguments));
        let mut own = 0;
        this.images(|_, load| own += u32::from(load.image == this.image().1))
            .unwrap();
        assert_eq!(own, 1);
    }

    /// A path without its place.
    fn path_of(placed: &[u8]) -> &[u8] {
        Place::split(placed).unwrap().0
    }

    /// A `cat` that runs until the test is over.
    struct Cat(Child);

    impl Cat {
        fn run(command: &mut Command) -> Self {
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn().unwrap();
            // What it answers shows that it is loaded.
            child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
            child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
            Self(child)
        }
    }

    impl Drop for Cat {
        fn drop(&mut self) {
            self.0.kill().unwrap();
            self.0.wait().unwrap();
        }
    }

    /// One whose program is a file of its own.
    struct Reader {
        cat: Cat,
        path: PathBuf,
        _directory: tempfile::TempDir,
    }

    impl Reader {
        fn start(name: &str) -> Self {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().canonicalize().unwrap().join(name);
            std::fs::copy("/bin/cat", &path).unwrap();
            Self {
                cat: Cat::run(&mut Command::new(&path)),
                path,
                _directory: directory,
            }
        }

        /// Checks that its program and its mapping of that are told with these flags.
        fn assert_told(&self, flags: Flags) {
            let process = Process::open(self.cat.0.id()).unwrap();
            let image = (flags, self.path.as_os_str().as_bytes().to_vec());
            let plain = |flags: Flags, placed: &[u8]| {
                let (path, place) = Place::split(placed).unwrap();
                let is_whole = place.device != 0 && place.inode != 0;
                assert!(is_whole && place.scope == Scope::HOST, "{place:?}");
                (flags.without(Flags::PLACED), path.to_vec())
            };
            let (flags, placed) = process.image();
            assert_eq!(plain(flags, &placed), image);
            let mut images = Vec::new();
            process
                .images(|flags, load| images.push(plain(flags, load.image)))
                .unwrap();
            assert!(images.contains(&image), "{images:?}");
        }
    }

    // A program whose own name ends like the kernel's mark was told as deleted, under half its name.
    #[test]
    fn a_program_is_deleted_when_it_is_and_not_when_it_is_called_so() {
        let reader = Reader::start("old (deleted)");
        reader.assert_told(Flags::NONE);
        std::fs::remove_file(&reader.path).unwrap();
        reader.assert_told(Flags::IMAGE_DELETED);

        let reader = Reader::start("old");
        std::fs::remove_file(&reader.path).unwrap();
        // Another file with the name that the kernel tells.
        std::fs::write(reader.path.with_file_name("old (deleted)"), b"").unwrap();
        reader.assert_told(Flags::IMAGE_DELETED);
    }

    // A program of another mount namespace was told like the host's of that name.
    #[test]
    fn a_program_of_another_mount_namespace_is_told_as_that() {
        if !nix::unistd::geteuid().is_root() {
            return;
        }
        let mut command = Command::new("unshare");
        let cat = Cat::run(command.args(["--mount", "/bin/cat"]));
        let process = Process::open(cat.0.id()).unwrap();
        let place_of = |placed: &[u8]| Place::split(placed).unwrap().1;
        let place = place_of(&process.image().1);
        assert_eq!(place.scope, Scope::MOUNT_NAMESPACE);
        assert_ne!(
            Some(place.mount_namespace),
            super::super::host_mount_namespace()
        );
        assert!(place.mount_namespace != 0 && place.device != 0 && place.inode != 0);
        let mut images = Vec::new();
        process
            .images(|_, load| images.push(place_of(load.image)))
            .unwrap();
        assert!(images.contains(&place), "{images:?}");
        assert!(images.iter().all(|image| image.scope == place.scope));
    }

    // A backslash and the digits of a newline in a name were told as a newline.
    #[test]
    fn a_newline_in_a_name_is_one_and_its_digits_are_digits() {
        for name in ["a\\012b", "a\nb", "a\\012b\nc (deleted)"] {
            let reader = Reader::start(name);
            reader.assert_told(Flags::NONE);
            std::fs::remove_file(&reader.path).unwrap();
            reader.assert_told(Flags::IMAGE_DELETED);
        }
    }

    // A program that ended while it was read was told as one without arguments.
    #[test]
    fn an_empty_command_line_is_unavailable_and_an_empty_argument_is_one() {
        let mut child = Command::new("/bin/true").arg("x").spawn().unwrap();
        let id = Id::Pid(Pid::from_raw(child.id().cast_signed()));
        waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
        let process = Process::open(child.id()).unwrap();
        let unavailable = (Flags::COMMAND_LINE_UNAVAILABLE, Vec::new());
        assert_eq!(process.command_line(), unavailable);
        assert_eq!(process.program(), Program::unavailable());
        child.wait().unwrap();

        let mut command = Command::new("/bin/cat");
        command.arg0("");
        let cat = Cat::run(&mut command);
        let process = Process::open(cat.0.id()).unwrap();
        assert_eq!(process.command_line(), (Flags::NONE, b"\0".to_vec()));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut child = Command::new("/bin/true").spawn().unwrap();
        let process = Process::open(child.id()).unwrap();
        child.wait().unwrap();
        assert!(process.stat().is_err());
        assert!(process.user_ids().is_err());
        assert_eq!(process.image().0, Flags::IMAGE_UNAVAILABLE);
        assert_eq!(process.command_line().0, Flags::COMMAND_LINE_UNAVAILABLE);
    }

    proptest! {
        #[test]
        fn no_bytes_at_all_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _stat = parse_stat(&bytes);
            let _users = parse_user_ids(&bytes);
        }
    }
}

//! The fence of these tests: the few things a workload needs that no safe function does.
#![expect(
    unsafe_code,
    reason = "forks, raw thread exits and executable mappings are what is being watched"
)]

use std::ffi::CStr;
use std::fs::File;
use std::num::NonZeroUsize;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::sched::CloneFlags;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, mmap_anonymous};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use crate::workload;

/// Runs before `main`, while the process has one thread: a role is then a plain program and not a
/// test inside a harness of threads.
#[used]
#[unsafe(link_section = ".init_array")]
static PLAY_ROLE: extern "C" fn() = play_role;

extern "C" fn play_role() {
    workload::play();
}

/// Has the child killed when the calling thread ends, however it ends.
pub(crate) fn die_with_parent(command: &mut Command) {
    let before_exec_fn = || set_pdeathsig(Signal::SIGKILL).map_err(Into::into);
    // SAFETY: the closure makes one system call and touches no memory of other threads.
    unsafe {
        command.pre_exec(before_exec_fn);
    }
}

/// `fork` with more flags: the child runs `child_fn` and exits with what it returns.
///
/// Only for a process that has one thread, or for a `child_fn` that needs no lock.
pub(crate) fn clone_child(flags: CloneFlags, child_fn: impl FnOnce() -> i32) -> Pid {
    let flags = flags.bits() | libc::SIGCHLD;
    // SAFETY: without CLONE_VM and without a stack this is a fork; each side goes on in its own
    // copy of this frame.
    let process_id = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match i32::try_from(process_id).unwrap() {
        0 => exit_process(child_fn()),
        process_id if process_id > 0 => Pid::from_raw(process_id),
        _ => panic!("clone: {}", std::io::Error::last_os_error()),
    }
}

/// `fork`; see [`clone_child`].
pub(crate) fn fork_child(child_fn: impl FnOnce() -> i32) -> Pid {
    clone_child(CloneFlags::empty(), child_fn)
}

/// A process that shares this one's memory and exits at once with `code`.
pub(crate) fn clone_sharing_memory(flags: CloneFlags, code: i32) -> Pid {
    let mut stack = vec![0; 64 * 1024];
    let child_fn = Box::new(move || exit_process(code));
    // SAFETY: CLONE_VFORK keeps this frame, and with it the stack, until the child is gone, and the
    // child makes one system call.
    unsafe {
        nix::sched::clone(
            child_fn,
            &mut stack,
            flags | CloneFlags::CLONE_VM | CloneFlags::CLONE_VFORK,
            Some(libc::SIGCHLD),
        )
    }
    .unwrap()
}

/// Ends the whole process at once (`exit_group`).
pub(crate) fn exit_process(code: i32) -> ! {
    // SAFETY: the call takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Waits for a child and says what it used (`wait4`).
pub(crate) fn wait_with_usage(child: Pid) -> libc::rusage {
    // SAFETY: numbers alone, of which zeros are some.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one of these, and no status.
    let waited = unsafe { libc::wait4(child.as_raw(), std::ptr::null_mut(), 0, &raw mut usage) };
    assert_eq!(
        waited,
        child.as_raw(),
        "{}",
        std::io::Error::last_os_error()
    );
    usage
}

/// Ends the calling thread alone (`exit`), first thread or not.
pub(crate) fn exit_thread(code: i32) -> ! {
    // SAFETY: nothing on this thread's stack is used by others, and the call does not return.
    unsafe {
        libc::syscall(libc::SYS_exit, code);
    }
    unreachable!("exit returned");
}

/// Maps a page of a file executable, for good, and says where.
pub(crate) fn map_executable(file: &File, size: usize) -> usize {
    let size = NonZeroUsize::new(size).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_EXEC;
    // SAFETY: a new private mapping aliases nothing.
    let address = unsafe { mmap(None, size, protection, MapFlags::MAP_PRIVATE, file, 0) };
    address.unwrap().addr().get()
}

/// Maps memory without a file executable, as a just-in-time compiler does, and says where.
pub(crate) fn map_anonymous_executable(size: usize) -> usize {
    let size = NonZeroUsize::new(size).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE | ProtFlags::PROT_EXEC;
    // SAFETY: a new private mapping aliases nothing.
    let address = unsafe { mmap_anonymous(None, size, protection, MapFlags::MAP_PRIVATE) };
    address.unwrap().addr().get()
}

/// Loads a library for good; says whether it is there.
pub(crate) fn load_library(name: &CStr) -> bool {
    // SAFETY: the name ends in NUL, and the libraries asked for run nothing harmful when loaded.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
    !handle.is_null()
}

/// Which ids `bpf` hands out in turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum BpfObject {
    /// `BPF_PROG_GET_NEXT_ID`
    Program = 11,
    /// `BPF_MAP_GET_NEXT_ID`
    Map = 12,
    /// `BPF_LINK_GET_NEXT_ID`
    Link = 31,
}

/// Whether the kernel has an object of this kind with this id.
pub(crate) fn bpf_object_exists(object: BpfObject, id: u32) -> bool {
    // The first fields of `union bpf_attr` for these commands: start id, next id, open flags.
    let mut attributes = [id - 1, 0, 0];
    // SAFETY: the kernel reads and writes that many bytes of the array.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            object as u64,
            attributes.as_mut_ptr(),
            size_of_val(&attributes),
        )
    };
    result == 0 && attributes[1] == id
}

/// Gives the process a mount namespace of its own, of which others learn nothing.
pub(crate) fn leave_mount_namespace() {
    // SAFETY: the call takes a number.
    let result = unsafe { libc::unshare(libc::CLONE_NEWNS) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE);
}

/// Mounts `source` or a file system of that type.
pub(crate) fn mount(source: Option<&CStr>, target: &CStr, kind: Option<&CStr>, flags: u64) {
    mount_with(source, target, kind, flags, None);
}

/// [`mount`], with options for the file system.
pub(crate) fn mount_with(
    source: Option<&CStr>,
    target: &CStr,
    kind: Option<&CStr>,
    flags: u64,
    options: Option<&CStr>,
) {
    let text = |text: Option<&CStr>| text.map_or(std::ptr::null(), CStr::as_ptr);
    // SAFETY: the kernel takes null pointers and texts that end.
    let result = unsafe {
        libc::mount(
            text(source),
            target.as_ptr(),
            text(kind),
            flags,
            text(options).cast(),
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Takes a mount out of the tree, whoever is still in it.
pub(crate) fn detach(target: &CStr) {
    // SAFETY: the text ends.
    let result = unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

/// Executes what `name` leads to from an open directory or, empty, that very file.
pub(crate) fn execute_at(file: &File, name: &CStr) -> ! {
    let arguments = [c"by descriptor".as_ptr(), std::ptr::null()];
    let environment: [*const libc::c_char; 1] = [std::ptr::null()];
    // SAFETY: the texts end, and so do the lists.
    unsafe {
        libc::syscall(
            libc::SYS_execveat,
            std::os::fd::AsRawFd::as_raw_fd(file),
            name.as_ptr(),
            arguments.as_ptr(),
            environment.as_ptr(),
            libc::AT_EMPTY_PATH,
        );
    }
    panic!("{}", std::io::Error::last_os_error());
}

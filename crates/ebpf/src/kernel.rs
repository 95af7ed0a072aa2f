//! The fence: every read of kernel and user memory, and every number the loader supplies.
//!
//! rustc emits no CO-RE relocations. Where a field is, the agent finds in the running kernel's BTF
//! and passes as read-only globals before it loads the programs. The verifier treats those as
//! constants, so it checks each plain read through a trusted pointer against the same BTF, and
//! removes branches this kernel never takes.
//!
//! # Invariants
//! A handle such as [`Task`] holds a pointer the verifier tracks as one to that structure, or null.
//! A plain read through it can fault in no way: the verifier refuses the program if the field is
//! not where we say, and the kernel turns a read through a stale pointer into zero.

#![expect(unsafe_code, reason = "kernel memory is read here and nowhere else")]

/// Declares the read-only globals: a static the loader finds by its name, and the handle by which
/// programs read it.
macro_rules! parameters {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal;)*) => {
        $(
            $(#[$doc])*
            pub(crate) const $name: Parameter = {
                #[unsafe(export_name = $symbol)]
                static VALUE: u64 = 0;
                Parameter(&VALUE)
            };
        )*
    };
}

mod environment;
mod file;
mod path;
mod program;
mod repeat;
mod system_call;
mod terminal;
mod text;
mod usage;

use core::cell::UnsafeCell;
use core::ffi::c_void;
use core::ptr::{from_mut, from_ref};

use aya_ebpf::helpers::generated as helpers;
use event::process::{Setting, Users};

pub(crate) use self::environment::{Names, Variables};
pub(crate) use self::file::{File, Vma};
pub(crate) use self::path::{Path, Way, differ, mask, sign};
pub(crate) use self::program::Program;
pub(crate) use self::repeat::{Steps, repeat};
pub(crate) use self::system_call::{Registers, copy_user_path, error_of};
pub(crate) use self::text::KernelText;

/// A component's name and its NUL byte: a power of two.
pub(crate) const NAME_SIZE_MAX: usize = 256;

parameters! {
    /// Bytes in the buffer of process events at which the agent is woken.
    PROCESS_EVENTS_WAKE_UP_SIZE = "process_events_wake_up_size";
    /// Bytes in the buffer of thread and image events at which the agent is woken.
    EVENTS_WAKE_UP_SIZE = "events_wake_up_size";
    /// 1 where the tracepoint of a task's exit says whether it is the process's last.
    EXIT_TELLS_LAST = "exit_tells_last";
    /// 1 where the kernel can call the steps of a loop.
    HAS_LOOP = "has_loop";
    /// How many processors there can be.
    PROCESSOR_COUNT = "processor_count";
    /// 1 where programs on tracepoints can be preempted, and each is there twice.
    RUNS_TWICE = "runs_twice";
    /// 1 while thread events are wanted.
    RECORD_THREADS = "record_threads";
    /// Bytes of a page of memory.
    PAGE_SIZE = "page_size";
    /// 1 while variables of the environment are wanted.
    ENVIRONMENT_IS_ASKED = "environment_is_asked";
    /// What leads each name of a variable to a place of its own.
    ENVIRONMENT_MULTIPLIER = "environment_multiplier";
    /// 1 while the states of image files are wanted, where this kernel has the fields for it.
    IMAGES_ARE_STAMPED = "images_are_stamped";
    /// The inode of the host's mount namespace; 0 where it is not known.
    HOST_MOUNT_NAMESPACE = "host_mount_namespace";

    /// 0 on kernels where an overlay's mappings have the overlay's own path.
    BACKING_FILE_USER_PATH = "backing_file.user_path";
    BPRM_FILE = "linux_binprm.file";
    BPRM_FILENAME = "linux_binprm.filename";
    BPRM_INTERP = "linux_binprm.interp";
    CGROUP_NODE = "cgroup.kn";
    CRED_EUID = "cred.euid";
    CRED_UID = "cred.uid";
    /// [`NOWHERE`] where the kernel has no control groups.
    CSS_SET_CGROUP = "css_set.dfl_cgrp";
    DENTRY_HASH_PPREV = "dentry.d_hash.pprev";
    DENTRY_INODE = "dentry.d_inode";
    DENTRY_NAME = "dentry.d_name.name";
    DENTRY_PARENT = "dentry.d_parent";
    DENTRY_SB = "dentry.d_sb";
    FDTABLE_FD = "fdtable.fd";
    FDTABLE_MAX_FDS = "fdtable.max_fds";
    FILES_FDT = "files_struct.fdt";
    FILE_MODE = "file.f_mode";
    FILE_PATH = "file.f_path";
    FS_PWD = "fs_struct.pwd";
    FS_ROOT = "fs_struct.root";
    /// Whatever the kernel calls it.
    INODE_CTIME_NSEC = "inode.i_ctime_nsec";
    /// The same.
    INODE_CTIME_SEC = "inode.i_ctime_sec";
    INODE_NUMBER = "inode.i_ino";
    INODE_SB = "inode.i_sb";
    INODE_SIZE = "inode.i_size";
    KERNFS_NODE_ID = "kernfs_node.id";
    MM_ARG_END = "mm_struct.arg_end";
    MM_ARG_START = "mm_struct.arg_start";
    MM_END_CODE = "mm_struct.end_code";
    MM_ENV_END = "mm_struct.env_end";
    MM_ENV_START = "mm_struct.env_start";
    MM_EXE_FILE = "mm_struct.exe_file";
    MNT_NAMESPACE_INUM = "mnt_namespace.ns.inum";
    MOUNT_MNT = "mount.mnt";
    MOUNT_MOUNTPOINT = "mount.mnt_mountpoint";
    MOUNT_NAMESPACE = "mount.mnt_ns";
    MOUNT_PARENT = "mount.mnt_parent";
    PID_NUMBERS_NR = "pid.numbers.nr";
    SIGNAL_FLAGS = "signal_struct.flags";
    SIGNAL_GROUP_EXIT_CODE = "signal_struct.group_exit_code";
    /// [`NOWHERE`] where the kernel does not count.
    SIGNAL_IO_READ = "signal_struct.ioac.read_bytes";
    /// The same.
    SIGNAL_IO_WRITTEN = "signal_struct.ioac.write_bytes";
    SIGNAL_LIVE = "signal_struct.live";
    SIGNAL_MAX_RSS = "signal_struct.maxrss";
    SIGNAL_PIDS = "signal_struct.pids";
    SIGNAL_RUN_TIME = "signal_struct.sum_sched_runtime";
    /// [`NOWHERE`] where one of the fields is not there that tell what a process used.
    SIGNAL_STATS_SEQUENCE = "signal_struct.stats_lock.seqcount.seqcount.sequence";
    SIGNAL_SYSTEM_TIME = "signal_struct.stime";
    SIGNAL_THREADS = "signal_struct.thread_head";
    SIGNAL_USER_TIME = "signal_struct.utime";
    SUPER_BLOCK_DEVICE = "super_block.s_dev";
    TASK_CGROUPS = "task_struct.cgroups";
    TASK_CRED = "task_struct.real_cred";
    TASK_EXIT_CODE = "task_struct.exit_code";
    TASK_FILES = "task_struct.files";
    TASK_FLAGS = "task_struct.flags";
    TASK_FS = "task_struct.fs";
    TASK_GROUP_LEADER = "task_struct.group_leader";
    /// [`NOWHERE`] where the kernel does not count.
    TASK_IO_READ = "task_struct.ioac.read_bytes";
    /// The same.
    TASK_IO_WRITTEN = "task_struct.ioac.write_bytes";
    /// [`NOWHERE`] where the kernel keeps none.
    TASK_LOGINUID = "task_struct.loginuid";
    TASK_MM = "task_struct.mm";
    TASK_PID = "task_struct.pid";
    TASK_REAL_PARENT = "task_struct.real_parent";
    TASK_RUN_TIME = "task_struct.se.sum_exec_runtime";
    TASK_SELF_EXEC_ID = "task_struct.self_exec_id";
    TASK_SIGNAL = "task_struct.signal";
    TASK_START_BOOTTIME = "task_struct.start_boottime";
    TASK_SYSTEM_TIME = "task_struct.stime";
    TASK_TGID = "task_struct.tgid";
    TASK_THREAD_NODE = "task_struct.thread_node";
    TASK_USER_TIME = "task_struct.utime";
    VFSMOUNT_ROOT = "vfsmount.mnt_root";
    VFSMOUNT_SB = "vfsmount.mnt_sb";
    VMA_END = "vm_area_struct.vm_end";
    VMA_FILE = "vm_area_struct.vm_file";
    VMA_FLAGS = "vm_area_struct.vm_flags";
    VMA_START = "vm_area_struct.vm_start";
}

/// The offset of a field that this kernel does not have.
const NOWHERE: u64 = u64::MAX;

/// A number the loader supplies.
#[derive(Clone, Copy)]
pub(crate) struct Parameter(&'static u64);

impl Parameter {
    /// Its value: a constant for the verifier, but not for the compiler.
    #[inline(always)]
    pub(crate) fn value(self) -> u64 {
        // SAFETY: a reference is valid for reads.
        unsafe { from_ref(self.0).read_volatile() }
    }

    #[inline(always)]
    fn offset(self) -> usize {
        self.value() as usize
    }
}

/// A pointer into kernel memory that the verifier tracks.
type Pointer = *const u8;

/// Reads the field at `offset` by a plain load.
#[inline(always)]
fn field<T: Copy>(base: Pointer, offset: Parameter) -> T {
    let at = base.wrapping_add(offset.offset()).cast::<T>();
    // SAFETY: by the module's invariant the verifier has checked this very read. Volatile, so that
    // the compiler neither splits it nor moves it before the null check of its caller.
    unsafe { at.read_volatile() }
}

/// Reads memory that no tracked pointer leads to; zero where it cannot be read.
#[inline(always)]
fn probe<T: Copy + Default>(base: Pointer, offset: Parameter) -> T {
    probe_at(base.wrapping_add(offset.offset()))
}

#[inline(always)]
fn probe_at<T: Copy + Default>(at: Pointer) -> T {
    let mut value = T::default();
    probe_into(at, from_mut(&mut value));
    value
}

/// Copies memory that no tracked pointer leads to; zeros where it cannot be read.
#[inline(always)]
fn probe_into<T>(at: Pointer, value: *mut T) {
    // SAFETY: the helper checks the source itself, and the destination is `T`'s size: every caller
    // passes a reference to its own memory, of which any bytes are a value.
    let _zeroed_if_unreadable =
        unsafe { helpers::bpf_probe_read_kernel(value.cast(), size_of::<T>() as u32, at.cast()) };
}

/// Copies a word that no tracked pointer leads to where `is_wanted` is 1, and leaves what is there
/// where it is 0, without a branch.
#[inline(always)]
fn probe_if(is_wanted: u64, at: Pointer, value: &Shared) {
    const SIZE_BITS: u32 = size_of::<Shared>().trailing_zeros();
    let size = (is_wanted & 1) << SIZE_BITS;
    let value: *mut Shared = from_ref(value).cast_mut();
    // SAFETY: the helper checks the source itself, and the destination has at least that size.
    let _zeroed_if_unreadable =
        unsafe { helpers::bpf_probe_read_kernel(value.cast(), size as u32, at.cast()) };
}

/// A thread: the kernel's `task_struct`.
#[derive(Clone, Copy)]
pub(crate) struct Task(Pointer);

impl Task {
    const PF_KTHREAD: u32 = 0x0020_0000;
    /// Of `signal_struct.pids[PIDTYPE_SID]` in the array.
    const SESSION_OFFSET: usize = 3_usize.saturating_mul(size_of::<Pointer>());
    const SIGNAL_GROUP_EXIT: u32 = 4;

    /// The thread that runs now.
    #[inline(always)]
    pub(crate) fn current() -> Self {
        // SAFETY: the helper has no precondition.
        Self(unsafe { helpers::bpf_get_current_task_btf() }.cast())
    }

    /// The thread a program was given; `None` for null.
    #[inline(always)]
    pub(crate) fn new(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer.cast()))
    }

    /// The thread id.
    #[inline(always)]
    pub(crate) fn pid(self) -> u32 {
        field(self.0, TASK_PID)
    }

    /// The process id.
    #[inline(always)]
    pub(crate) fn tgid(self) -> u32 {
        field(self.0, TASK_TGID)
    }

    /// When the thread started, on the boot clock. A process's is its leader's.
    #[inline(always)]
    pub(crate) fn start_time(self) -> u64 {
        field(self.0, TASK_START_BOOTTIME)
    }

    /// How often it has executed a program, in 32 bits.
    #[inline(always)]
    pub(crate) fn exec_count(self) -> u32 {
        field(self.0, TASK_SELF_EXEC_ID)
    }

    /// The first thread of the process.
    #[inline(always)]
    pub(crate) fn leader(self) -> Self {
        Self(field(self.0, TASK_GROUP_LEADER))
    }

    /// The parent that will be told of the exit; not the tracer.
    #[inline(always)]
    pub(crate) fn parent(self) -> Self {
        Self(field(self.0, TASK_REAL_PARENT))
    }

    /// Whether it never runs in user mode.
    #[inline(always)]
    pub(crate) fn is_kernel_thread(self) -> bool {
        field::<u32>(self.0, TASK_FLAGS) & Self::PF_KTHREAD != 0
    }

    /// The effective user id others see, in the initial user namespace.
    #[inline(always)]
    pub(crate) fn effective_user_id(self) -> u32 {
        self.user_id(CRED_EUID)
    }

    /// Who asked: the real user id, and that of the login.
    #[inline(always)]
    pub(crate) fn users(self) -> Users {
        Users {
            real_user_id: self.user_id(CRED_UID),
            login_user_id: match TASK_LOGINUID.value() {
                NOWHERE => Users::NOBODY,
                _there => field(self.0, TASK_LOGINUID),
            },
        }
    }

    /// Where it runs.
    #[inline(always)]
    pub(crate) fn setting(self) -> Setting {
        if CSS_SET_CGROUP.value() == NOWHERE {
            return Setting { cgroup_id: 0 };
        }
        let css_set: Pointer = field(self.0, TASK_CGROUPS);
        let cgroup: Pointer = probe(css_set, CSS_SET_CGROUP);
        let node: Pointer = probe(cgroup, CGROUP_NODE);
        Setting {
            cgroup_id: probe(node, KERNFS_NODE_ID),
        }
    }

    #[inline(always)]
    fn user_id(self, which: Parameter) -> u32 {
        let cred: Pointer = field(self.0, TASK_CRED);
        if cred.is_null() {
            return 0;
        }
        field(cred, which)
    }

    /// The session id, in the initial pid namespace.
    #[inline(always)]
    pub(crate) fn session_id(self) -> u32 {
        let signal: Pointer = field(self.0, TASK_SIGNAL);
        if signal.is_null() {
            return 0;
        }
        let pid: Pointer = field(signal.wrapping_add(Self::SESSION_OFFSET), SIGNAL_PIDS);
        probe(pid, PID_NUMBERS_NR)
    }

    /// How many threads of the process have not begun to exit.
    #[inline(always)]
    pub(crate) fn live_threads(self) -> u32 {
        let signal: Pointer = field(self.0, TASK_SIGNAL);
        if signal.is_null() {
            return 0;
        }
        field(signal, SIGNAL_LIVE)
    }

    /// What `wait` tells the parent of this process; final once its last thread exits.
    #[inline(always)]
    pub(crate) fn exit_status(self) -> u32 {
        let signal: Pointer = field(self.0, TASK_SIGNAL);
        if !signal.is_null() && field::<u32>(signal, SIGNAL_FLAGS) & Self::SIGNAL_GROUP_EXIT != 0 {
            return field(signal, SIGNAL_GROUP_EXIT_CODE);
        }
        field(self.leader().0, TASK_EXIT_CODE)
    }

    /// Whether it is in the middle of an exec: its memory is the new program's, which is mapped before
    /// the kernel notes where its code ends (`load_elf_binary` of `fs/binfmt_elf.c`).
    #[inline(always)]
    pub(crate) fn is_executing(self) -> bool {
        let mm: Pointer = field(self.0, TASK_MM);
        !mm.is_null() && field::<u64>(mm, MM_END_CODE) == 0
    }

    /// Where the arguments of the program are in user memory: begin and end.
    #[inline(always)]
    pub(crate) fn arguments(self) -> Option<(u64, u64)> {
        let mm: Pointer = field(self.0, TASK_MM);
        (!mm.is_null()).then(|| (field(mm, MM_ARG_START), field(mm, MM_ARG_END)))
    }

    /// Where the variables that the program was given are in user memory: begin and end.
    #[inline(always)]
    pub(crate) fn environment(self) -> Option<(u64, u64)> {
        let mm: Pointer = field(self.0, TASK_MM);
        (!mm.is_null()).then(|| (field(mm, MM_ENV_START), field(mm, MM_ENV_END)))
    }

    /// The file of the program the process runs.
    #[inline(always)]
    pub(crate) fn program(self) -> Option<File> {
        let mm: Pointer = field(self.0, TASK_MM);
        if mm.is_null() {
            return None;
        }
        File::new(field(mm, MM_EXE_FILE))
    }

    /// The working directory.
    #[inline(always)]
    pub(crate) fn directory(self) -> Path {
        probe(field(self.0, TASK_FS), FS_PWD)
    }

    /// The root it was given.
    #[inline(always)]
    pub(crate) fn root(self) -> Path {
        probe(field(self.0, TASK_FS), FS_ROOT)
    }
}

/// Copies a text of kernel memory, cut to `room`, with its NUL byte. The bytes written; negative where
/// it cannot be read.
#[inline(always)]
fn copy_text(at: Pointer, room: &mut [u8]) -> i64 {
    // SAFETY: the helper checks the source itself, and the destination has the size it is told.
    unsafe {
        helpers::bpf_probe_read_kernel_str(room.as_mut_ptr().cast(), room.len() as u32, at.cast())
    }
}

/// Copies user memory of the current process. `false` where any of it cannot be read.
#[inline(always)]
pub(crate) fn copy_user(address: u64, room: &mut [u8]) -> bool {
    // SAFETY: the helper checks the source itself, and the destination has the size it is told.
    let status = unsafe {
        helpers::bpf_probe_read_user(
            room.as_mut_ptr().cast(),
            room.len() as u32,
            address as *const c_void,
        )
    };
    status == 0
}

/// Copies a text of user memory of the current process, cut to the `size` of `room`, with its NUL byte.
/// The bytes written; negative where it cannot be read.
#[inline(always)]
fn copy_user_text<T>(address: u64, room: *mut T, size: usize) -> i64 {
    // SAFETY: the helper checks the source itself, and the verifier the destination and its size.
    let size = unsafe {
        helpers::bpf_probe_read_user_str(room.cast(), size as u32, address as *const c_void)
    };
    // Of an empty text older kernels do not count the NUL byte, as they do of any other.
    size + (differ(size as u64, 0) ^ 1) as i64
}

/// Copies what is in a map's memory, as much as there is room for. It is there.
#[inline(always)]
pub(crate) fn copy_memory<T: ?Sized>(from: &T, room: &mut [u8]) {
    // SAFETY: the helper checks the source itself, and the destination has the size it is told.
    let _status = unsafe {
        helpers::bpf_probe_read_kernel(
            room.as_mut_ptr().cast(),
            room.len() as u32,
            from_ref(from).cast(),
        )
    };
}

/// The boot clock, in nanoseconds.
#[inline(always)]
pub(crate) fn boot_time() -> u64 {
    // SAFETY: the helper has no precondition.
    unsafe { helpers::bpf_ktime_get_boot_ns() }
}

/// The number of the processor this runs on.
#[inline(always)]
pub(crate) fn processor() -> u32 {
    // SAFETY: the helper has no precondition.
    unsafe { helpers::bpf_get_smp_processor_id() }
}

/// A number that other processors and the agent read and change too. The target has no atomic
/// loads, and the core library does not offer its atomic addition.
#[repr(transparent)]
pub(crate) struct Shared(UnsafeCell<u64>);

// SAFETY: all access is by single instructions that are atomic on aligned words.
unsafe impl Sync for Shared {}

impl Shared {
    #[inline(always)]
    pub(crate) fn load(&self) -> u64 {
        // SAFETY: the cell is valid and aligned.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    pub(crate) fn store(&self, value: u64) {
        // SAFETY: the cell is valid and aligned.
        unsafe { self.0.get().write_volatile(value) }
    }

    /// Adds one.
    #[inline(always)]
    pub(crate) fn increment(&self) {
        // SAFETY: one atomic addition to a valid and aligned cell.
        #[cfg(target_arch = "bpf")]
        unsafe {
            core::arch::asm!(
                "lock *(u64 *)({cell} + 0) += {one}",
                cell = in(reg) self.0.get(),
                one = in(reg) 1_u64,
            );
        }
        // Only for tools that look at this on another target.
        #[cfg(not(target_arch = "bpf"))]
        self.store(self.load().wrapping_add(1));
    }
}

/// `bytes[at..at + size]`, where `size` is at most `MAX`.
///
/// Slicing would compare the end, and the verifier needs to see the begin compared.
#[inline(always)]
pub(crate) fn room<const N: usize, const MAX: usize>(
    bytes: &mut [u8; N],
    at: usize,
    size: usize,
) -> Option<&mut [u8]> {
    let size = opaque(size);
    if at > N.saturating_sub(MAX) || size > MAX {
        return None;
    }
    // SAFETY: `at + size` is at most `N - MAX + MAX`.
    Some(unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().wrapping_add(at), size) })
}

/// The room for a name at `at`, or nothing where `is_wanted` is 0: what [`room`] does, without a
/// branch.
#[inline(always)]
pub(crate) fn name_room<const N: usize>(
    bytes: &mut [u8; N],
    at: usize,
    is_wanted: u64,
) -> &mut [u8] {
    const { assert!(N - reach(N) >= NAME_SIZE_MAX) };
    let at = at & reach(N).wrapping_sub(1);
    let size = (is_wanted as usize & 1) << NAME_SIZE_MAX.trailing_zeros();
    // SAFETY: `at` is below `reach(N)`, and `size` is `NAME_SIZE_MAX` or 0.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().wrapping_add(at), size) }
}

/// `bytes[at..at + size]` without a branch, where `size` is below `MAX`, a power of two.
#[inline(always)]
pub(crate) fn masked_room<const N: usize, const MAX: usize>(
    bytes: &mut [u8; N],
    at: usize,
    size: usize,
) -> &mut [u8] {
    const { assert!(MAX.is_power_of_two() && N - reach(N) >= MAX) };
    let at = at & reach(N).wrapping_sub(1);
    let size = size & MAX.wrapping_sub(1);
    // SAFETY: `at` is below `reach(N)`, and `size` below `MAX`.
    unsafe { core::slice::from_raw_parts_mut(bytes.as_mut_ptr().wrapping_add(at), size) }
}

/// The power of two below `size`: up to where a place can be found without a comparison.
const fn reach(size: usize) -> usize {
    size.next_power_of_two() / 2
}

/// A number of which the compiler knows nothing, so that it keeps the comparison the verifier needs
/// to see.
#[inline(always)]
fn opaque(number: usize) -> usize {
    let mut number = number;
    // SAFETY: there is no instruction in it.
    unsafe {
        core::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack));
    }
    number
}

/// A map's element as scratch memory.
#[inline(always)]
pub(crate) fn scratch<T>(element: *mut T) -> &'static mut T {
    // SAFETY: the element belongs to one program and one processor, and the kernel never starts a
    // tracing program on a processor where it has not finished.
    unsafe { &mut *element }
}

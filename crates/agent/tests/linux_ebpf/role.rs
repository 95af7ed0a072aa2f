//! What the programs do that tests start: this test executable itself, told by its environment
//! which role to play. So the tests need no other program, which the virtual machines do not have.

#![expect(
    unsafe_code,
    reason = "raw clone, exec and exit, which no safe interface gives"
)]

use std::ffi::{CStr, CString};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, exit};
use std::sync::{Arc, Barrier};

const VARIABLE: &str = "SYSTRAIL_TEST_ROLE";

/// This executable in a role.
pub(crate) fn command(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .env(VARIABLE, role)
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped());
    command
}

/// The one number that a role printed.
pub(crate) fn number(output: &Output) -> u32 {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut said = text.lines().filter_map(|line| line.strip_prefix("says "));
    match (said.next(), said.next()) {
        (Some(number), None) => number.parse().unwrap(),
        _ => panic!("the role says one number: {output:?}"),
    }
}

#[expect(clippy::print_stdout, reason = "a role talks to its test")]
fn say(number: u32) {
    println!("says {number}");
}

/// Takes up the role before `main` does, so that it is played on the first thread and no test
/// harness is in the way.
#[used]
#[unsafe(link_section = ".init_array")]
static PLAY: extern "C" fn() = play;

extern "C" fn play() {
    let Some(role) = std::env::var_os(VARIABLE) else {
        return;
    };
    match role.to_str().unwrap() {
        "exit 7" => exit(7),
        "abort" => std::process::abort(),
        "exec from a thread" => exec_from_a_thread(),
        "exec nothing from a thread" => exec_nothing_from_a_thread(),
        "all threads exit at once" => all_threads_exit_at_once(),
        "leader exits first" => leader_exits_first(),
        "clone parent" => clone_parent(),
        "pid namespace" => pid_namespace(),
        "orphan" => orphan(),
        "threads" => threads(),
        "exec with an empty variable" => exec_with_an_empty_variable(),
        "failed execs" => failed_execs(),
        "failed exec by the numbers of 32 bits" => failed_exec_of_32_bits(),
        "many failed execs" => many_failed_execs(),
        "wait for input" => wait_for_input(),
        role => panic!("no role {role}"),
    }
    exit(0);
}

fn exec_from_a_thread() {
    let thread = std::thread::spawn(|| {
        say(nix::unistd::gettid().as_raw().unsigned_abs());
        let error = command("exit 7")
            .stdout(std::process::Stdio::inherit())
            .exec();
        panic!("{error}");
    });
    thread.join().unwrap();
}

fn exec_nothing_from_a_thread() {
    let thread = std::thread::spawn(|| {
        say(nix::unistd::gettid().as_raw().unsigned_abs());
        // Not there, no program, nothing that can be run.
        for path in [c"/nothing/here", c"/proc/self/comm", c"/"] {
            let refused = nix::unistd::execv(path, &[path]).unwrap_err();
            assert_ne!(refused as i32, 0);
        }
    });
    thread.join().unwrap();
    exit(7);
}

/// The environment has a text without a byte in it, which is no variable at all.
fn exec_with_an_empty_variable() {
    let program = std::env::current_exe().unwrap();
    let program = CString::new(program.into_os_string().into_encoded_bytes()).unwrap();
    let role = CString::new(format!("{VARIABLE}=exit 7")).unwrap();
    let variables = [c"A=1", c"", c"LD_PRELOAD=", &role];
    let refused = nix::unistd::execve(&program, &[&program], &variables).unwrap_err();
    panic!("{refused}");
}

/// What a role says it tried: the error it got, and the path.
pub(crate) fn tried(output: &Output) -> Vec<(u32, Vec<u8>)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let tried = text.lines().filter_map(|line| {
        let (error, path) = line.strip_prefix("tried ")?.split_once(' ')?;
        let path = path.split_whitespace().map(|byte| byte.parse().unwrap());
        Some((error.parse().unwrap(), path.collect()))
    });
    tried.collect()
}

/// Tries to run a program, and says how that ended.
#[expect(clippy::print_stdout, reason = "a role talks to its test")]
fn attempt(path: &CStr, exec_fn: impl FnOnce() -> i64) {
    assert_eq!(exec_fn(), -1);
    let error = std::io::Error::last_os_error().raw_os_error().unwrap();
    let bytes: Vec<String> = path.to_bytes().iter().map(u8::to_string).collect();
    println!("tried {error} {}", bytes.join(" "));
}

fn execve(path: *const libc::c_char) -> i64 {
    let none = std::ptr::null::<*const libc::c_char>();
    // SAFETY: the kernel refuses addresses that are not good.
    unsafe { libc::syscall(libc::SYS_execve, path, none, none) }
}

fn failed_execs() {
    let directory = tempfile::tempdir().unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    std::fs::write("no program", "\x01\x02").unwrap();
    std::fs::write("text", "text").unwrap();
    let may_run = PermissionsExt::from_mode(0o755);
    std::fs::set_permissions("no program", may_run).unwrap();
    let file = |size| CString::new(vec![b'n'; size]).unwrap();
    let deep = CString::new("./".repeat(2047)).unwrap();
    for path in [
        c"/nothing/here",
        c"no program",
        c"./text",
        c"text/below",
        c"/",
        c"",
        c"caf\xe9",
        &file(255),
        &file(256),
        &file(5_000),
        &deep,
    ] {
        attempt(path, || execve(path.as_ptr()));
    }
    // No path at all.
    attempt(c"", || execve(std::ptr::dangling()));
    let opened = std::fs::File::open(directory.path()).unwrap();
    let none = std::ptr::null::<*const libc::c_char>();
    for (path, flags) in [(c"text", 0), (c"", libc::AT_EMPTY_PATH)] {
        let fd = opened.as_raw_fd();
        attempt(path, || {
            let number = libc::SYS_execveat;
            // SAFETY: the path is one, and no arguments are allowed.
            unsafe { libc::syscall(number, fd, path.as_ptr(), none, none, flags) }
        });
    }
    exit(7);
}

/// Needs a kernel that takes calls of 32 bits; others end the process.
fn failed_exec_of_32_bits() {
    const EXECVE: i64 = 11;
    let path = c"/nothing/in/32/bits";
    let flags = nix::sys::mman::MapFlags::MAP_PRIVATE | nix::sys::mman::MapFlags::MAP_32BIT;
    let length = std::num::NonZeroUsize::new(4096).unwrap();
    let protection = nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE;
    // SAFETY: nothing is mapped over.
    let low = unsafe { nix::sys::mman::mmap_anonymous(None, length, protection, flags) }.unwrap();
    let bytes = path.to_bytes_with_nul();
    // SAFETY: the mapping has room for it, and nobody else knows it.
    unsafe {
        low.as_ptr()
            .cast::<u8>()
            .copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
    }
    attempt(path, || {
        let mut result = EXECVE;
        // SAFETY: the kernel takes the call by its numbers of 32 bits, which need `rbx`; it refuses it.
        unsafe {
            std::arch::asm!(
                "xchg {path}, rbx",
                "int 0x80",
                "xchg {path}, rbx",
                path = inout(reg) low.as_ptr() => _,
                inout("rax") result,
                in("rcx") 0,
                in("rdx") 0,
            );
        }
        nix::errno::Errno::set_raw(i32::try_from(-result).unwrap());
        -1
    });
    exit(7);
}

fn many_failed_execs() {
    for _ in 0..20_000 {
        assert_eq!(execve(c"/nothing/here".as_ptr()), -1);
    }
    exit(7);
}

fn all_threads_exit_at_once() {
    const COUNT: usize = 40;
    let barrier = Arc::new(Barrier::new(COUNT + 1));
    for _ in 0..COUNT {
        let barrier = Arc::clone(&barrier);
        std::thread::spawn(move || {
            barrier.wait();
        });
    }
    barrier.wait();
    exit(3);
}

fn leader_exits_first() {
    std::thread::spawn(|| {
        let leader = format!("/proc/self/task/{}/stat", std::process::id());
        // The leader is a zombie as long as this thread lives.
        while !std::fs::read_to_string(&leader).unwrap().contains(") Z ") {
            std::thread::yield_now();
        }
        exit_thread(5);
    });
    exit_thread(4);
}

fn exit_thread(code: i32) -> ! {
    // SAFETY: only this thread ends, and it holds nothing others wait for.
    unsafe {
        libc::syscall(libc::SYS_exit, code);
    }
    unreachable!("exit does not return");
}

fn clone_parent() {
    let flags = libc::CLONE_PARENT | libc::SIGCHLD;
    // SAFETY: without CLONE_VM this is fork, and the child calls nothing but `_exit`.
    let id = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    match id {
        // SAFETY: ends the child and runs nothing of the parent's.
        0 => unsafe { libc::_exit(9) },
        id => say(u32::try_from(id).unwrap()),
    }
}

fn pid_namespace() {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWPID).unwrap();
    let mut child = command("exit 7").spawn().unwrap();
    say(child.id());
    child.wait().unwrap();
}

fn orphan() {
    let child = command("exit 7")
        .stdout(std::process::Stdio::inherit())
        .spawn();
    say(child.unwrap().id());
}

fn threads() {
    for _ in 0..100 {
        std::thread::spawn(|| ()).join().unwrap();
    }
}

fn wait_for_input() {
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).unwrap();
}

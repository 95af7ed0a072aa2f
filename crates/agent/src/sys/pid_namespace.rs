//! Which pid namespace the agent is in, and of which one `/proc` tells.
//!
//! The ids of events are those of the initial namespace. In a container `/proc`, perf events and
//! the agent's own id may be those of another one, in which the same number is another process.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use super::proc;

/// The inode of the initial pid namespace (`PROC_PID_INIT_INO` in `linux/proc_ns.h`).
const INITIAL: &str = "pid:[4026531836]";

/// `kthreadd`, the parent of all kernel threads, which no other namespace has.
const KTHREADD: u32 = 2;

/// Whether the agent is in the initial namespace.
pub fn is_initial() -> bool {
    is_of_initial(&proc::own_pid_namespace())
}

/// Whether `/proc` tells of the processes of the initial namespace, under their ids there. A
/// container may have the host's `/proc` in a namespace of its own.
pub fn is_proc_initial() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    // Only a `/proc` of the initial namespace shows a process that is in it.
    *ANSWER.get_or_init(|| is_initial() || has_kernel_threads())
}

/// The agent's own id in the initial namespace, where it can be known.
pub fn own_id() -> Option<u32> {
    if is_initial() {
        return Some(std::process::id());
    }
    proc::own_id().filter(|_| is_proc_initial())
}

/// Whether that link is of the initial namespace. A kernel that was built without pid namespaces has
/// no such link, and only the one namespace.
fn is_of_initial(link: &io::Result<PathBuf>) -> bool {
    match link {
        Ok(link) => link.as_os_str() == INITIAL,
        Err(error) => error.kind() == io::ErrorKind::NotFound && proc::tells_namespaces(),
    }
}

fn has_kernel_threads() -> bool {
    let kthreadd = proc::Process::open(KTHREADD);
    kthreadd
        .and_then(|process| process.stat())
        .is_ok_and(|stat| stat.is_kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Such a kernel was taken for a container, and perf events were refused on it.
    #[test]
    fn a_kernel_without_pid_namespaces_is_in_the_initial_one() {
        assert!(is_of_initial(&Err(io::ErrorKind::NotFound.into())));
        assert!(!is_of_initial(&Err(io::ErrorKind::PermissionDenied.into())));
        assert!(is_of_initial(&Ok(INITIAL.into())));
        assert!(!is_of_initial(&Ok("pid:[4026532201]".into())));
    }
}

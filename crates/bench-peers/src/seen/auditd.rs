//! The log of auditd, raw or enriched: the enriched one says all the raw one says, and more behind
//! a separator.

use super::{Kind, Seen, file_name};

/// The system calls by their numbers on `x86_64`, the only architecture the rules are for.
const CLONE: u32 = 56;
const CLONE3: u32 = 435;
const FORKS: [u32; 2] = [57, 58];
const EXECS: [u32; 2] = [59, 322];
/// A thread ends with the first, a process with the second.
const EXIT: u32 = 60;
const EXIT_GROUP: u32 = 231;

/// Of the flags of `clone`.
const CLONE_THREAD: u64 = 0x1_0000;

pub(super) fn event(line: &str) -> Option<Seen> {
    let rest = line.strip_prefix("type=SYSCALL ")?;
    let (rest, _enriched) = rest.split_once('\x1d').unwrap_or((rest, ""));
    let field = |name: &str| {
        rest.split(' ')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let number = |name: &str| field(name)?.parse::<u32>().ok();
    let (_, serial) = field("msg")?.trim_end_matches("):").rsplit_once(':')?;
    let process = number("pid")?;
    let call = number("syscall")?;
    let is_done = field("success") == Some("yes");
    let (kind, process, parent) = match call {
        CLONE | CLONE3 if is_done => {
            let flags = field("a0").and_then(|it| u64::from_str_radix(it, 16).ok())?;
            let kind = match (call, flags & CLONE_THREAD) {
                // Its flags are behind a pointer.
                (CLONE3, _) => Kind::TaskStart,
                (_, 0) => Kind::ProcessStart,
                _ => Kind::ThreadStart,
            };
            (kind, number("exit")?, process)
        }
        call if FORKS.contains(&call) && is_done => (Kind::ProcessStart, number("exit")?, process),
        call if EXECS.contains(&call) && is_done => (Kind::ProcessExec, process, number("ppid")?),
        EXIT => (Kind::ThreadExit, process, number("ppid")?),
        EXIT_GROUP => (Kind::ProcessExit, process, number("ppid")?),
        _ => return None,
    };
    Some(Seen {
        order: serial.parse().ok()?,
        kind,
        process,
        parent,
        name: file_name(field("comm").unwrap_or_default().trim_matches('"')),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(call: &str) -> String {
        format!(
            "type=SYSCALL msg=audit(1795375701.675:6): arch=c000003e {call} a1=0 a2=0 items=0 \
             ppid=40 pid=50 auid=0 uid=0 tty=(none) ses=1 comm=\"true\" exe=\"/usr/bin/true\" \
             key=\"systrail-bench\"\x1dARCH=x86_64 SYSCALL=what AUID=\"root\""
        )
    }

    fn read(call: &str) -> Option<(Kind, u32, u32)> {
        event(&line(call)).map(|seen| (seen.kind, seen.process, seen.parent))
    }

    #[test]
    fn a_call_is_the_event_it_causes() {
        let expected = [
            (
                "syscall=59 success=yes exit=0 a0=55",
                Kind::ProcessExec,
                50,
                40,
            ),
            (
                "syscall=57 success=yes exit=60 a0=0",
                Kind::ProcessStart,
                60,
                50,
            ),
            (
                "syscall=56 success=yes exit=60 a0=1200011",
                Kind::ProcessStart,
                60,
                50,
            ),
            (
                "syscall=56 success=yes exit=60 a0=3d0f00",
                Kind::ThreadStart,
                60,
                50,
            ),
            (
                "syscall=435 success=yes exit=60 a0=7ff0",
                Kind::TaskStart,
                60,
                50,
            ),
            ("syscall=60 a0=0", Kind::ThreadExit, 50, 40),
            ("syscall=231 a0=0", Kind::ProcessExit, 50, 40),
        ];
        for (call, kind, process, parent) in expected {
            assert_eq!(read(call), Some((kind, process, parent)), "{call}");
        }
    }

    #[test]
    fn a_call_that_failed_is_no_event() {
        assert_eq!(read("syscall=59 success=no exit=-2 a0=55"), None);
        assert_eq!(read("syscall=56 success=no exit=-11 a0=11"), None);
        assert_eq!(
            event("type=EXECVE msg=audit(1.2:6): argc=1 a0=\"true\""),
            None
        );
    }

    #[test]
    fn the_serial_number_orders_them() {
        let seen = event(&line("syscall=231 a0=0"));
        assert_eq!(
            seen.map(|it| (it.order, it.name)),
            Some((6, "true".to_owned()))
        );
    }
}

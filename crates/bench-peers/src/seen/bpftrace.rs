//! The output of our bpftrace script: one line an event, a letter first.

use super::{Kind, Seen, file_name};

/// Sees what `systrail` sees of processes and threads, arguments included; the last part is what
/// `execsnoop.bt` of bpftrace's own tools does. Each print ends its line, because another
/// processor's may come next.
pub(super) const SCRIPT: &str = r#"
tracepoint:task:task_newtask {
    printf("N %llu %d %d %lx %d %s\n", nsecs, args->pid, pid, args->clone_flags, uid, args->comm);
}
tracepoint:sched:sched_process_exec {
    printf("E %llu %d %d %s\n", nsecs, pid, uid, str(args->filename));
}
tracepoint:sched:sched_process_exit { printf("X %llu %d %d %s\n", nsecs, pid, tid, comm); }
tracepoint:syscalls:sys_enter_execve { printf("A %llu %d\n", nsecs, pid); join(args->argv); }
"#;

const CLONE_THREAD: u64 = 0x1_0000;

pub(super) fn event(line: &str) -> Option<Seen> {
    let mut fields = line.splitn(3, ' ');
    let (letter, order, rest) = (fields.next()?, fields.next()?.parse().ok()?, fields.next()?);
    let number = |text: Option<&str>| text?.parse::<u32>().ok();
    let (kind, process, parent, name) = match letter {
        "N" => {
            let mut parts = rest.splitn(5, ' ');
            let (child, parent) = (number(parts.next())?, number(parts.next())?);
            let flags = u64::from_str_radix(parts.next()?, 16).ok()?;
            if flags & CLONE_THREAD == 0 {
                (Kind::ProcessStart, child, parent, parts.nth(1)?)
            } else {
                (Kind::ThreadStart, parent, 0, parts.nth(1)?)
            }
        }
        "E" => {
            let mut parts = rest.splitn(3, ' ');
            (Kind::ProcessExec, number(parts.next())?, 0, parts.nth(1)?)
        }
        "X" => {
            let mut parts = rest.splitn(3, ' ');
            let (process, thread) = (number(parts.next())?, number(parts.next())?);
            let kind = if process == thread {
                Kind::ProcessExit
            } else {
                Kind::ThreadExit
            };
            (kind, process, 0, parts.next()?)
        }
        _ => return None,
    };
    Some(Seen {
        order,
        kind,
        process,
        parent,
        name: file_name(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<(Kind, u32, u32, String)> {
        event(line).map(|seen| (seen.kind, seen.process, seen.parent, seen.name))
    }

    #[test]
    fn tells_threads_from_processes() {
        let name = |name: &str| name.to_owned();
        let expected = [
            (
                "N 5 60 50 1200011 0 my sh",
                Kind::ProcessStart,
                60,
                50,
                "my sh",
            ),
            ("N 5 60 50 3d0f00 0 sh", Kind::ThreadStart, 50, 0, "sh"),
            ("E 5 60 0 /bin/true", Kind::ProcessExec, 60, 0, "true"),
            ("X 5 60 60 true", Kind::ProcessExit, 60, 0, "true"),
            ("X 5 60 61 true", Kind::ThreadExit, 60, 0, "true"),
        ];
        for (line, kind, process, parent, comm) in expected {
            assert_eq!(
                read(line),
                Some((kind, process, parent, name(comm))),
                "{line}"
            );
        }
    }

    #[test]
    fn other_lines_are_no_events() {
        assert_eq!(read("Attaching 4 probes..."), None);
        assert_eq!(read("A 5 60"), None);
        assert_eq!(read("/bin/true N 1 2 3"), None);
        assert_eq!(read("Lost 30 events"), None);
    }
}

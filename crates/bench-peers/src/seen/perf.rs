//! What `perf script` makes of a recording.

use super::{Kind, Seen, file_name};

const CLONE_THREAD: u64 = 0x1_0000;

pub(super) fn event(line: &str) -> Option<Seen> {
    let (head, rest) = line.split_once(": ")?;
    // The program's name may hold spaces; ids and time are the last two of the head.
    let mut head = head.rsplit(' ').filter(|part| !part.is_empty());
    let time = head.next()?.replace('.', "").parse().ok()?;
    let (process, thread) = head.next()?.split_once('/')?;
    let (process, thread): (u32, u32) = (process.parse().ok()?, thread.parse().ok()?);
    if let Some(mapping) = rest.strip_prefix("PERF_RECORD_MMAP2 ") {
        let (_, path) = mapping.rsplit_once(' ')?;
        return path.starts_with('/').then(|| Seen {
            order: time,
            kind: Kind::ImageLoad,
            process,
            parent: 0,
            name: file_name(path),
        });
    }
    let (point, fields) = rest.trim_start().split_once(": ")?;
    let field = |name: &str| {
        fields
            .split(' ')
            .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    };
    let (kind, process, parent, name) = match point {
        "task:task_newtask" => {
            let flags = field("clone_flags")?.trim_start_matches("0x");
            let flags = u64::from_str_radix(flags, 16).ok()?;
            if flags & CLONE_THREAD == 0 {
                let child = field("pid")?.parse().ok()?;
                (Kind::ProcessStart, child, process, field("comm")?)
            } else {
                (Kind::ThreadStart, process, 0, field("comm")?)
            }
        }
        "sched:sched_process_exec" => (Kind::ProcessExec, process, 0, field("filename")?),
        "sched:sched_process_exit" if process == thread => {
            (Kind::ProcessExit, process, 0, field("comm")?)
        }
        "sched:sched_process_exit" => (Kind::ThreadExit, process, 0, field("comm")?),
        _ => return None,
    };
    Some(Seen {
        order: time,
        kind,
        process,
        parent,
        name: file_name(name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tracepoints_and_mappings() {
        let head = "          my sh  50/50  13985.978214317:";
        let expected = [
            (
                "task:task_newtask: pid=60 comm=sh clone_flags=0x1200011 oom_score_adj=0",
                Kind::ProcessStart,
                60,
                50,
                "sh",
            ),
            (
                "task:task_newtask: pid=60 comm=sh clone_flags=0x3d0f00 oom_score_adj=0",
                Kind::ThreadStart,
                50,
                0,
                "sh",
            ),
            (
                "sched:sched_process_exec: filename=/bin/true pid=50 old_pid=50",
                Kind::ProcessExec,
                50,
                0,
                "true",
            ),
            (
                "sched:sched_process_exit: comm=true pid=50 prio=120 group_dead=true",
                Kind::ProcessExit,
                50,
                0,
                "true",
            ),
            (
                "PERF_RECORD_MMAP2 50/50: [0x56213e226000(0x4000) @ 0x2000 fe:00 2 0]: r-xp /usr/a.so",
                Kind::ImageLoad,
                50,
                0,
                "a.so",
            ),
        ];
        for (rest, kind, process, parent, name) in expected {
            let seen = event(&format!("{head} {rest}"));
            let seen = seen.map(|it| (it.kind, it.process, it.parent, it.name));
            assert_eq!(
                seen,
                Some((kind, process, parent, name.to_owned())),
                "{rest}"
            );
        }
    }

    #[test]
    fn what_is_no_file_is_no_image() {
        let line =
            "sh 50/50 1.000000002: PERF_RECORD_MMAP2 50/50: [0x7f(0x2) @ 0 00:00 0 0]: r-xp [vdso]";
        assert_eq!(event(line), None);
    }
}

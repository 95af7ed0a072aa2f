//! execsnoop of BCC or of libbpf-tools: a table of program, ids, result and arguments.

use super::{Kind, Seen};

pub(super) fn event(line: &str) -> Option<Seen> {
    // A program's name has at most 15 bytes and may hold spaces; the columns after it are numbers.
    let name = line.get(..16)?.trim_end();
    let mut fields = line.get(16..)?.split_whitespace();
    let process = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let result: i64 = fields.next()?.parse().ok()?;
    (result == 0).then(|| Seen {
        order: 0,
        kind: Kind::ProcessExec,
        process,
        parent,
        name: name.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exec_that_failed_is_no_event() {
        let read = |line| event(line).map(|seen| (seen.process, seen.parent, seen.name));
        let expected = Some((4911, 31109, "my sh".to_owned()));
        assert_eq!(
            read("my sh            4911   31109    0 /bin/true"),
            expected
        );
        assert_eq!(read("sh               4911   31109   -2 /bin/none"), None);
        assert_eq!(read("PCOMM            PID    PPID   RET ARGS"), None);
    }
}

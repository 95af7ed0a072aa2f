//! sysdig with a format of ours: type, result, ids and name of each finished call.

use super::{Kind, Seen};

/// The fields of a line, and the events there are lines for: calls that return, and ends.
pub(super) const FIELDS: &str = "%evt.num %evt.type %evt.rawres %proc.pid %proc.ppid %proc.name";
pub(super) const FILTER: &str =
    "(evt.dir=< and evt.type in (execve,clone,fork,vfork)) or evt.type=procexit";

pub(super) fn event(line: &str) -> Option<Seen> {
    let mut fields = line.splitn(6, ' ');
    let order = fields.next()?.parse().ok()?;
    let call = fields.next()?;
    // The child of a fork returns 0 from it, and so does a program that was replaced.
    let is_done = fields.next()? == "0";
    let process = fields.next()?.parse().ok()?;
    let parent = fields.next()?.parse().ok()?;
    let name = fields.next()?.trim_end().to_owned();
    let kind = match call {
        "execve" if is_done => Kind::ProcessExec,
        "clone" | "fork" | "vfork" if is_done => Kind::ProcessStart,
        "procexit" => Kind::ProcessExit,
        _ => return None,
    };
    Some(Seen {
        order,
        kind,
        process,
        parent,
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_counts_once_and_where_the_child_returns() {
        let kind = |line| event(line).map(|seen| seen.kind);
        assert_eq!(kind("7 clone 0 60 50 my sh"), Some(Kind::ProcessStart));
        assert_eq!(kind("8 clone 60 50 1 my sh"), None);
        assert_eq!(kind("9 execve -2 60 50 my sh"), None);
        assert_eq!(kind("10 procexit <NA> 60 50 true"), Some(Kind::ProcessExit));
    }
}

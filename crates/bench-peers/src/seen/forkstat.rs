//! The table of forkstat, which is what the kernel's process connector says.

use std::collections::HashMap;

use super::{Kind, Seen, file_name};

pub(super) fn events(text: &str) -> Vec<Seen> {
    let mut parent = 0;
    // An exit does not say whether a thread or a process ended, nor whose thread it was.
    let mut owners = HashMap::new();
    let mut seen = Vec::new();
    for line in text.lines() {
        let Some(event) = Line::parse(line) else {
            continue;
        };
        let (kind, process, its_parent) = match (event.act, event.info) {
            // The line before the one for the child.
            ("fork" | "clone" | "vfork", "parent") => {
                parent = event.id;
                continue;
            }
            ("fork" | "clone" | "vfork", "thread") => {
                owners.insert(event.id, parent);
                (Kind::ThreadStart, parent, 0)
            }
            ("fork" | "clone" | "vfork", _child) => (Kind::ProcessStart, event.id, parent),
            ("exec", _) => (Kind::ProcessExec, event.id, 0),
            ("exit", _) => match owners.remove(&event.id) {
                Some(owner) => (Kind::ThreadExit, owner, 0),
                None => (Kind::ProcessExit, event.id, 0),
            },
            _ => continue,
        };
        seen.push(Seen {
            order: 0,
            kind,
            process,
            parent: its_parent,
            name: file_name(event.program),
        });
    }
    seen
}

struct Line<'a> {
    act: &'a str,
    id: u32,
    /// Who it is in a fork, or how it ended.
    info: &'a str,
    program: &'a str,
}

impl<'a> Line<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let _time = fields.next()?;
        let act = fields.next()?;
        let id = fields.next()?.parse().ok()?;
        // An exec has neither information nor duration, and an exit has both.
        let next = fields.next()?;
        let (info, program) = match act {
            "exec" => ("", next),
            "exit" => (next, fields.nth(1)?),
            _ => (next, fields.next()?),
        };
        Some(Self {
            act,
            id,
            info,
            program,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fork_has_two_lines_and_a_thread_is_known_by_its_start() {
        let text = "Time     Event   PID Info   Duration Process\n\
                    19:29:19 fork   7201 parent          bash /x\n\
                    19:29:19 fork   7202 child           bash /x\n\
                    19:29:19 exec   7202                 /usr/bin/true \n\
                    19:29:19 exit   7202      0   0.001s /usr/bin/true \n\
                    19:29:19 clone  7201 parent          bash /x\n\
                    19:29:19 clone  7203 thread          bash /x\n\
                    19:29:19 exit   7203      0   0.000s bash /x\n";
        let seen: Vec<_> = events(text)
            .into_iter()
            .map(|it| (it.kind, it.process, it.parent))
            .collect();
        let expected = [
            (Kind::ProcessStart, 7202, 7201),
            (Kind::ProcessExec, 7202, 0),
            (Kind::ProcessExit, 7202, 0),
            (Kind::ThreadStart, 7201, 0),
            (Kind::ThreadExit, 7201, 0),
        ];
        assert_eq!(seen, expected);
    }
}

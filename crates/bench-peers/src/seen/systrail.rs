//! `systrail run --log`: JSON Lines.

use std::borrow::Cow;

use serde::Deserialize;

use super::{Kind, Seen, file_name};

#[derive(Deserialize)]
struct Line<'a> {
    kind: Cow<'a, str>,
    #[serde(default)]
    sequence: u64,
    #[serde(default)]
    process_id: u32,
    #[serde(default)]
    parent_process_id: u32,
    #[serde(borrow, default)]
    image: Cow<'a, str>,
    /// It was there before the recording.
    #[serde(default)]
    existing: bool,
}

pub(super) fn event(line: &str) -> Option<Seen> {
    let line: Line<'_> = serde_json::from_str(line).ok()?;
    if line.existing {
        return None;
    }
    let kind = match line.kind.as_ref() {
        "process_start" => Kind::ProcessStart,
        "process_exec" => Kind::ProcessExec,
        "process_exit" => Kind::ProcessExit,
        "thread_start" => Kind::ThreadStart,
        "thread_exit" => Kind::ThreadExit,
        "image_load" => Kind::ImageLoad,
        _ => return None,
    };
    Some(Seen {
        order: line.sequence,
        kind,
        process: line.process_id,
        parent: line.parent_process_id,
        name: file_name(&line.image),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_there_before_is_no_event() {
        let line = |more: &str| {
            event(&format!(
                r#"{{"sequence":4,"kind":"process_start","process_id":7,"parent_process_id":1,"image":"/bin/a \"b"{more}}}"#
            ))
        };
        let expected = Seen {
            order: 4,
            kind: Kind::ProcessStart,
            process: 7,
            parent: 1,
            name: String::from("a \"b"),
        };
        assert_eq!(line(""), Some(expected));
        assert_eq!(line(r#","existing":true"#), None);
    }

    #[test]
    fn losses_and_broken_lines_are_no_events() {
        assert_eq!(
            event(r#"{"sequence":4,"kind":"lost","lost_count":3}"#),
            None
        );
        assert_eq!(event(r#"{"sequence":4,"ki"#), None);
    }
}

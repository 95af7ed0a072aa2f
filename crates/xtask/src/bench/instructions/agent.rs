//! The agent's paths: what an event costs from the bytes of its record to its line in the log.

use anyhow::Result;

use super::{Case, Figure, Options, Subject};

const SUBJECT: Subject = Subject {
    name: "agent",
    package: "systrail",
    cases: &[
        Case {
            name: "decode",
            play: "trail",
            routine: "instructions::decode*",
            goal: None,
        },
        Case {
            name: "enrich",
            play: "trail",
            routine: "instructions::enrich*",
            goal: None,
        },
        Case {
            name: "json_line",
            play: "trail",
            routine: "instructions::json_line*",
            goal: None,
        },
        Case {
            name: "store_row",
            play: "trail",
            routine: "instructions::store_rows*",
            goal: None,
        },
    ],
    baselines: &[],
    is_foreign_fn: |_name| false,
};

/// Counts them.
pub(in crate::bench) fn run(options: &Options) -> Result<()> {
    SUBJECT.run(options, document)
}

fn document(figures: &[Figure]) -> String {
    let mut lines = vec![
        String::from("| path | instructions an event |"),
        String::from("|---|--:|"),
    ];
    lines.extend(
        figures
            .iter()
            .map(|figure| format!("| {} | {} |", figure.case.name, figure.instructions)),
    );
    lines.push(String::new());
    lines.join("\n")
}

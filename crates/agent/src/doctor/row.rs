//! A report for programs that take rows: JSON Lines or CSV, a line for the source, each tier and each
//! fact. They are named as in the JSON of the whole report.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;

use super::{Report, State, TierReport};
use crate::export::csv;
use crate::shown::escape_controls;

/// A line of the table, as its JSON object.
#[derive(Debug, Serialize)]
struct Row<'r> {
    name: &'r str,
    state: State,
    value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<&'r str>,
}

/// The fields of a [`Row`], in its order: the columns of CSV.
const COLUMNS: [&str; 4] = ["name", "state", "value", "advice"];

/// Writes a line a row.
pub fn write_json_lines(report: &Report, out: &mut impl Write) -> io::Result<()> {
    for row in rows(report) {
        writeln!(out, "{}", escape_controls(serde_json::to_string(&row)?))?;
    }
    Ok(())
}

/// Writes a heading, then a line a row.
pub fn write_csv(report: &Report, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{}", COLUMNS.join(","))?;
    let mut line = Vec::new();
    for row in rows(report) {
        if let Value::Object(fields) = serde_json::to_value(row)? {
            line.clear();
            csv::write_columns(&COLUMNS, &fields, &mut line)?;
            out.write_all(&line)?;
        }
    }
    Ok(())
}

fn rows(report: &Report) -> Vec<Row<'_>> {
    let good = |is_good| if is_good { State::Good } else { State::Limits };
    let mut rows = vec![Row {
        name: "source",
        state: good(report.source.is_some()),
        value: report.source.unwrap_or("none").to_owned(),
        advice: report.advice.as_deref(),
    }];
    rows.extend(report.tiers.iter().map(|tier| Row {
        name: tier.name,
        state: good(tier.runs),
        value: whole_verdict(tier),
        advice: tier.cure.as_deref(),
    }));
    rows.extend(report.facts.iter().map(|fact| Row {
        name: fact.name,
        state: fact.state,
        value: fact.value.clone(),
        advice: None,
    }));
    rows
}

/// Whether it runs, and what it cannot give even where it does.
fn whole_verdict(tier: &TierReport) -> String {
    let lacks = tier.lacks.iter().map(|lack| format!("without {lack}"));
    let said: Vec<String> = std::iter::once(tier.verdict()).chain(lacks).collect();
    said.join(", ")
}

#[cfg(test)]
mod tests {
    use super::{write_csv, write_json_lines};
    use crate::doctor::{Fact, Report, State, TierReport};

    fn report() -> Report {
        Report {
            source: Some("perf"),
            advice: Some("run as root".to_owned()),
            tiers: vec![
                TierReport {
                    name: "ebpf",
                    runs: false,
                    cause: Some("no privilege".to_owned()),
                    cure: Some("run as root".to_owned()),
                    images: None,
                    lacks: &[],
                },
                TierReport {
                    name: "perf",
                    runs: true,
                    cause: None,
                    cure: None,
                    images: Some("perf records"),
                    lacks: &["scripts"],
                },
            ],
            facts: vec![Fact {
                name: "kernel",
                state: State::Info,
                value: "6.1 \"x\"\u{1b}[2J".to_owned(),
            }],
        }
    }

    #[test]
    fn csv_has_a_line_for_the_source_each_tier_and_each_fact() {
        let mut text = Vec::new();
        write_csv(&report(), &mut text).unwrap();
        let expected = "name,state,value,advice\n\
            source,good,perf,run as root\n\
            ebpf,limits,does not run here: no privilege,run as root\n\
            perf,good,\"runs here, image loads from perf records, without scripts\",\n\
            kernel,info,\"6.1 \"\"x\"\"\u{1b}[2J\",\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }

    #[test]
    fn json_lines_say_the_same_and_leave_out_advice_that_is_not_there() {
        let mut text = Vec::new();
        write_json_lines(&report(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..2],
            [
                r#"{"name":"source","state":"good","value":"perf","advice":"run as root"}"#,
                r#"{"name":"ebpf","state":"limits","value":"does not run here: no privilege","advice":"run as root"}"#,
            ]
        );
        assert_eq!(
            lines[3],
            r#"{"name":"kernel","state":"info","value":"6.1 \"x\"\u001b[2J"}"#
        );
        assert_eq!(lines.len(), 4);
    }
}

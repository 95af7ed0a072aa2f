//! The comparison as Markdown tables, for the terminal and for docs/BENCHMARKS.md.

use std::fmt::Write as _;

use xtask::bench::sample::Sample;

use super::outcome::{Column, NONE, Outcome, Row, float, in_context_ns};
use super::seen::Kind;

/// What stands where there is no figure.
const NOTHING: &str = "-";

/// All of it.
pub(super) fn markdown(outcome: &Outcome) -> String {
    let mut text = recorders(outcome);
    for column in &outcome.columns {
        text.push_str(&workload(outcome, column));
    }
    text.push_str(&latency(outcome));
    text
}

/// Who takes part, and who cannot.
fn recorders(outcome: &Outcome) -> String {
    let mut text = String::from("| recorder | version | set up as |\n|---|---|---|\n");
    for row in outcome.rows.iter().filter(|row| row.name != NONE) {
        line(&mut text, &[&row.name, &row.version, &row.set_up]);
    }
    if outcome.absent.is_empty() {
        return text;
    }
    text.push_str("\nCannot run here:\n\n");
    for absent in &outcome.absent {
        line_of_list(&mut text, &format!("{}: {}", absent.name, absent.reason));
    }
    text
}

fn workload(outcome: &Outcome, column: &Column) -> String {
    let mut text = format!("\n### {}\n\n", capital(&column.name));
    let _infallible = writeln!(text, "{}\n", happened(outcome, column));
    let reference = outcome.reference().unwrap_or(NOTHING);
    text.push_str("| recorder | slow-down % | user % | kernel % | in its context % | us/event | ");
    let _infallible = writeln!(
        text,
        "to {reference} | seen % | says it lost | peak MiB | bytes/event |"
    );
    text.push_str("|---|--:|--:|--:|--:|--:|--:|---|--:|--:|--:|\n");
    for row in outcome.rows.iter().filter(|row| row.name != NONE) {
        if outcome.cell(&row.name, &column.name).is_some() {
            line(&mut text, &cells(outcome, row, column));
        }
    }
    text
}

fn cells(outcome: &Outcome, row: &Row, column: &Column) -> Vec<String> {
    let name = row.name.as_str();
    let share = |part_fn: fn(&super::outcome::Round, &super::outcome::Round) -> f64| {
        figure(outcome.share(name, &column.name, part_fn).median(), 2)
    };
    let Some(cell) = outcome.cell(name, &column.name) else {
        return vec![name.to_owned()];
    };
    let mut cells = vec![
        name.to_owned(),
        spread(&outcome.slow_down(name, &column.name)),
        share(|round, _| float(round.user_ns)),
        share(|round, _| float(round.system_ns + round.kernel_thread_ns)),
        share(in_context_ns),
        figure(outcome.cost_us(name, column).median(), 2),
        figure(outcome.cost_ratio(name, column).median(), 2),
        seen(row, column, outcome),
        cell.lost()
            .map_or_else(|| NOTHING.to_owned(), |lost| lost.to_string()),
        figure(cell.peak_mib(), 1),
        cell.bytes_per_event()
            .map_or_else(|| NOTHING.to_owned(), |bytes| figure(bytes, 0)),
    ];
    if column.happened.is_empty() {
        // Nothing ran, so nothing was slowed and no event happened.
        for index in [1, 4, 5, 6, 7] {
            if let Some(cell) = cells.get_mut(index) {
                NOTHING.clone_into(cell);
            }
        }
    }
    cells
}

/// The share seen of each kind that happened and that the recorder is made to see.
fn seen(row: &Row, column: &Column, outcome: &Outcome) -> String {
    let Some(cell) = outcome.cell(&row.name, &column.name) else {
        return NOTHING.to_owned();
    };
    if !cell.is_told_apart() {
        return String::from("not told apart");
    }
    let share = |(kind, happened): (&Kind, &u64)| {
        let percent = cell.seen_percent(*kind, *happened);
        let text = if !row.sees.contains(kind) {
            NOTHING.to_owned()
        } else if row.is_machine_wide && percent >= 100.0 {
            // Others' events are in it.
            String::from(">= 100")
        } else {
            percentage(percent)
        };
        format!("{} {text}", kind.name())
    };
    let shares: Vec<String> = column.happened.iter().map(share).collect();
    shares.join(", ")
}

fn latency(outcome: &Outcome) -> String {
    let mut text = String::from(
        "\n### From exec to line\n\n\
         | recorder | programs run | p50 ms | p99 ms | max ms | never written | \
         in its eBPF programs, us/process |\n|---|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in &outcome.rows {
        let Some(latency) = &row.latency else {
            continue;
        };
        let sample: Sample = latency.times_ms.iter().copied().collect();
        let programs: Sample = latency.programs_ns.iter().map(|ns| ns / 1000.0).collect();
        line(
            &mut text,
            &[
                row.name.clone(),
                (latency.times_ms.len() + latency.missed).to_string(),
                figure(sample.median(), 1),
                figure(sample.percentile(99), 1),
                figure(sample.max(), 1),
                latency.missed.to_string(),
                figure(programs.median(), 1),
            ],
        );
    }
    text
}

fn happened(outcome: &Outcome, column: &Column) -> String {
    if column.happened.is_empty() {
        return String::from("Nothing is started by us.");
    }
    let counts: Vec<String> = column
        .happened
        .iter()
        .map(|(kind, count)| format!("{} {count}", kind.name()))
        .collect();
    let seconds: Sample = outcome
        .cell(NONE, &column.name)
        .map_or(&[][..], |cell| &cell.rounds)
        .iter()
        .map(|round| round.elapsed_ns / 1e9)
        .collect();
    format!(
        "Happened in a round: {}, within {} s without a recorder.",
        counts.join(", "),
        figure(seconds.median(), 2)
    )
}

/// The median, and the least and greatest value.
fn spread(sample: &Sample) -> String {
    if sample.count() == 0 {
        return NOTHING.to_owned();
    }
    format!(
        "{:.1} ({:.1} to {:.1})",
        sample.median(),
        sample.min(),
        sample.max()
    )
}

/// All of it is `100`, and nothing less looks like it.
fn percentage(percent: f64) -> String {
    let hundredths = (percent * 100.0).floor() / 100.0;
    if (percent - 100.0).abs() < f64::EPSILON {
        return String::from("100");
    }
    format!("{hundredths:.2}")
}

fn figure(value: f64, digits: usize) -> String {
    if value.is_finite() {
        format!("{value:.digits$}")
    } else {
        NOTHING.to_owned()
    }
}

fn line(text: &mut String, cells: &[impl AsRef<str>]) {
    for cell in cells {
        text.push_str("| ");
        text.push_str(&cell.as_ref().replace('|', "/"));
        text.push(' ');
    }
    text.push_str("|\n");
}

fn line_of_list(text: &mut String, item: &str) {
    text.push_str("- ");
    text.push_str(item);
    text.push('\n');
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::tests::outcome;

    #[test]
    fn a_recorder_that_cannot_run_is_in_the_table_with_its_reason() {
        assert!(markdown(&outcome()).contains("Cannot run here:\n\n- sysdig: no probe\n"));
    }

    #[test]
    fn a_row_shows_slow_down_cost_and_what_was_seen() {
        let text = markdown(&outcome());
        let row = |name: &str| {
            text.lines()
                .rfind(|line| line.starts_with(&format!("| {name} |")))
                .map(String::from)
        };
        assert_eq!(
            row("systrail run, log").as_deref(),
            Some(
                "| systrail run, log | 4.0 (3.0 to 5.0) | 0.05 | 0.00 | 0.05 | 1.00 | 0.38 | \
                 exec 100 | 4 | 0.0 | 200 |"
            )
        );
        assert!(row("auditd, raw log").is_some_and(|it| it.contains("| exec 75.00 |")));
    }

    #[test]
    fn what_is_nearly_all_is_not_all() {
        assert_eq!(percentage(100.0), "100");
        assert_eq!(percentage(99.9999), "99.99");
        assert_eq!(percentage(100.01), "100.01");
    }
}

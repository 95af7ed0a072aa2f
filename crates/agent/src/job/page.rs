//! A job as a page: one HTML file that is readable where it was mailed to, with nothing fetched from
//! anywhere.
//!
//! What processes are called is somebody else's text. It stands in a block of data, in which no character
//! ends the block, and the page's script makes text of it and nothing else; the page's policy
//! (`Content-Security-Policy`) runs this one script and no other.

use std::io::{self, Write};

use serde::Serialize;

use super::tell::{at_work, headline};
use super::{Ended, Figures, Job, ProgramTime};
use crate::page::{self, Chosen, Place, Row, Texts, in_page, policy_hash};
use crate::quantity::show_count;
use crate::shown::{date_and_time, safe};
use crate::tree::short;

const TEMPLATE: &str = include_str!("page/page.html");
const STYLE: &str = include_str!("page/page.css");
const SCRIPT: &str = include_str!("page/page.js");

/// The most processes of a page; of more, those that failed and the longest.
const PROCESSES_MAX: usize = 60_000;

/// The most files that are told.
const LOADS_MAX: usize = 5_000;

/// What the script reads.
#[derive(Serialize)]
struct Page<'a> {
    headline: String,
    /// What is to be known before the rest is believed.
    notes: Vec<String>,
    begin: String,
    end: String,
    recorded_by: &'static str,
    length_ns: u64,
    processes: Vec<Row>,
    texts: Vec<String>,
    /// Of which process, when and what.
    execs: Vec<(usize, i64, usize)>,
    failed: Vec<usize>,
    programs: Vec<ProgramRow>,
    work: String,
    chain: Vec<(Place, u64)>,
    loads: Vec<(String, Place)>,
    account: &'a str,
}

/// A program: its name, how many there were, wall and processor time, and the longest's time and name.
#[derive(Serialize)]
struct ProgramRow(String, u64, u64, Option<u64>, u64, String);

impl ProgramRow {
    fn of(program: &ProgramTime) -> Self {
        let (longest_ns, longest) = &program.longest;
        Self(
            safe(&program.name),
            program.count,
            program.wall_ns,
            program.cpu_ns,
            *longest_ns,
            safe(longest),
        )
    }
}

/// Writes the page of `job`; `account` is that of the recording, as a table.
///
/// # Errors
/// What `out` fails with.
pub fn write(job: &Job, ended: &Ended, account: &str, out: &mut impl Write) -> io::Result<()> {
    let figures = Figures::of(job, ended.end);
    let data = data(job, &figures, ended, account)?;
    let title = escaped(&safe(&format!("{} {}", ended.title, ended.how)));
    let style = [page::STYLE, STYLE].concat();
    let script = [page::SCRIPT, page::TIMELINE, SCRIPT].concat();
    let mut rest = TEMPLATE;
    while let Some((before, name, after)) = next_place(rest) {
        out.write_all(before.as_bytes())?;
        match name {
            "title" => out.write_all(title.as_bytes())?,
            "style" => out.write_all(style.as_bytes())?,
            "script" => out.write_all(script.as_bytes())?,
            "style_hash" => out.write_all(policy_hash(&style).as_bytes())?,
            "script_hash" => out.write_all(policy_hash(&script).as_bytes())?,
            "data" => out.write_all(data.as_bytes())?,
            _ => {}
        }
        rest = after;
    }
    out.write_all(rest.as_bytes())
}

/// The template up to its next place, the place's name, and what follows.
fn next_place(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once("{{")?;
    let (name, after) = rest.split_once("}}")?;
    Some((before, name, after))
}

fn escaped(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;").replace('"', "&quot;")
}

fn data(job: &Job, figures: &Figures, ended: &Ended, account: &str) -> io::Result<String> {
    let span = (ended.begin, ended.end);
    let chosen = Chosen::of(job.processes(), span, PROCESSES_MAX);
    let mut texts = Texts::default();
    let processes = chosen.rows(&mut texts, short, |process| {
        job.cpu.get(&process.process_key).copied()
    });
    let execs = execs(job, &chosen, &mut texts);
    let is_cut = texts.fit();
    let loads = job.foreign_loads();
    let chain = figures.chain.iter();
    let page = Page {
        headline: safe(&headline(job, figures, ended)),
        notes: notes(job, processes.len(), loads.len(), is_cut),
        begin: date_and_time(ended.begin),
        end: date_and_time(ended.end),
        recorded_by: concat!("systrail ", env!("CARGO_PKG_VERSION")),
        length_ns: ended.end.0.abs_diff(ended.begin.0),
        processes,
        texts: texts.list,
        execs,
        failed: chosen.places_of(&figures.failed),
        programs: figures.programs.iter().map(ProgramRow::of).collect(),
        work: at_work(figures, ended),
        chain: chain
            .map(|link| (chosen.place_of(link.index), link.time_ns))
            .collect(),
        loads: loads
            .iter()
            .take(LOADS_MAX)
            .map(|(path, by)| {
                let key = by.map(|process| process.process_key);
                (safe(path), chosen.place_of_key(key))
            })
            .collect(),
        account,
    };
    Ok(in_page(&page)?)
}

/// The programs of those that ran more than the one they are told with.
fn execs(job: &Job, chosen: &Chosen<'_>, texts: &mut Texts) -> Vec<(usize, i64, usize)> {
    let mut told = Vec::new();
    for (place, process) in chosen.processes().enumerate() {
        let execs = job.execs.get(&process.process_key);
        for exec in execs.filter(|execs| execs.len() > 1).into_iter().flatten() {
            let time = chosen.since_begin(exec.time);
            told.push((place, time, texts.place(&exec.title)));
        }
    }
    told
}

fn notes(job: &Job, shown_count: usize, load_count: usize, is_cut: bool) -> Vec<String> {
    let mut notes: Vec<String> = job.lost().into_iter().collect();
    if job.passed_over_count() > 0 {
        let events = show_count(job.passed_over_count(), "event");
        notes.push(format!("{events} found no room: the page lacks them"));
    }
    let count = job.processes().len();
    if shown_count < count {
        let rest = show_count(count - shown_count, "process");
        notes.push(format!(
            "{rest} that were shorter than all others are not in the page"
        ));
    }
    if load_count > LOADS_MAX {
        let rest = show_count(load_count - LOADS_MAX, "file");
        notes.push(format!(
            "{rest} of those that were loaded are not in the page"
        ));
    }
    if is_cut {
        notes.push("Long command lines are cut, which is marked with …".to_owned());
    }
    notes
}

#[cfg(test)]
mod tests {
    use event::ProcessKey;
    use serde_json::Value;

    use super::*;
    use crate::job::tests::program;
    use crate::trail::{Text, Time};
    use crate::tree::{End, Exit, Process};

    fn process(id: u32, (begin, end): (i64, i64), arguments: &[&str]) -> Process {
        let mut program = program("/usr/bin/cc", arguments);
        program.command_line = Some(Text::from(&*arguments.join(" ")));
        Process {
            process_id: id,
            process_key: ProcessKey(id.into()),
            parent_process_key: id.checked_sub(1).map(|id| ProcessKey(id.into())),
            start_time: Some(Time(begin)),
            program,
            end: End::Exit(Exit {
                time: Time(end),
                exit_code: Some(0),
                ..Exit::default()
            }),
            ..Process::default()
        }
    }

    fn failed(mut process: Process) -> Process {
        if let End::Exit(exit) = &mut process.end {
            exit.exit_code = Some(1);
        }
        process
    }

    fn page(title: &str, processes: impl IntoIterator<Item = Process>) -> String {
        let mut job = Job::default();
        for process in processes {
            job.tree.add_process(process).unwrap();
        }
        let ended = Ended {
            title: title.to_owned(),
            how: "ended with 0".to_owned(),
            begin: Time(100),
            end: Time(1_000_000),
        };
        let mut page = Vec::new();
        write(&job, &ended, "total 1 1 0 0", &mut page).unwrap();
        String::from_utf8(page).unwrap()
    }

    fn block<'p>(page: &'p str, begin: &str, end: &str) -> &'p str {
        let (_, rest) = page.split_once(begin).unwrap();
        rest.split_once(end).unwrap().0
    }

    fn data(page: &str) -> Value {
        serde_json::from_str(block(page, "id=\"data\">", "</script>")).unwrap()
    }

    #[test]
    fn the_page_has_what_was_recorded() {
        let page = page(
            "make",
            [
                process(7, (100, 900), &["cc", "a.c"]),
                failed(process(8, (200, 300), &["cc", "b.c"])),
            ],
        );
        let data = data(&page);
        let numbers = |process: usize| {
            let row = data["processes"][process].as_array().unwrap().iter();
            let numbers = row.take(5).map(|number| number.as_i64().unwrap());
            numbers.collect::<Vec<_>>()
        };
        let text = |process: usize, place: usize| {
            let place = data["processes"][process][place].as_u64().unwrap();
            data["texts"][usize::try_from(place).unwrap()]
                .as_str()
                .unwrap()
        };
        assert!(
            data["headline"]
                .as_str()
                .unwrap()
                .starts_with("make ended with 0 after")
        );
        assert_eq!(numbers(0), [7, -1, 0, 800, 0]);
        assert_eq!(numbers(1), [8, 0, 100, 200, 1]);
        assert_eq!(
            [text(1, 5), text(1, 6), text(1, 7)],
            ["exit 1", "cc b.c", "cc b.c"]
        );
        assert_eq!(data["failed"], serde_json::json!([1]));
        assert_eq!(data["account"], "total 1 1 0 0");
        assert_eq!(data["notes"], serde_json::json!([]));
    }

    #[test]
    fn no_text_of_a_process_becomes_part_of_the_page() {
        let hostile = "</script><img src=x onerror=alert(1)>{{script}}<!--";
        let page = page(hostile, [process(1, (0, 5), &[hostile, "a\u{202e}b\u{7}"])]);
        let after = page.split_once("id=\"data\">").unwrap().1;
        let block = after.split_once("</script>").unwrap().0;
        assert!(!block.contains('<'), "{block}");
        assert!(page.contains("<title>&lt;/script&gt;&lt;img src=x"));
        assert_eq!(page.matches("<img").count(), 0);
        assert_eq!(page.matches("</script>").count(), 2);
        let texts = data(&page)["texts"].to_string();
        assert!(texts.contains("</script><img src=x onerror=alert(1)>{{script}}<!--"));
        assert!(
            texts.contains("u{202e}b") && texts.contains("u{7}"),
            "{texts}"
        );
    }

    #[test]
    fn the_policy_runs_this_script_alone_and_fetches_nothing() {
        let page = page("true", [process(1, (0, 5), &["true"])]);
        let script = block(&page, "<script>", "</script>");
        let policy = block(&page, "Content-Security-Policy\" content=\"", "\"");
        assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"));
        assert!(policy.contains(&policy_hash(script)), "{policy}");
        assert!(policy.contains(&policy_hash(block(&page, "<style>", "</style>"))));
        assert!(!page.contains("://"), "an address");
    }

    #[test]
    fn a_large_job_makes_a_page_that_opens() {
        let long = "x".repeat(3_000);
        let processes = (0..35_000_u32).map(|id| {
            let begin = i64::from(id);
            process(id, (begin, begin + 50), &["cc", &long, &id.to_string()])
        });
        let page = page("make", processes);
        assert!(page.len() < 10 << 20, "{} bytes", page.len());
        let data = data(&page);
        assert_eq!(data["processes"].as_array().unwrap().len(), 35_000);
        assert!(data["notes"][0].as_str().unwrap().contains("are cut"));
    }

    #[test]
    fn of_too_many_processes_the_failed_and_the_longest_are_there() {
        let count = u32::try_from(PROCESSES_MAX).unwrap() + 2;
        let processes = (1..=count).map(|id| {
            let process = process(id, (0, i64::from(id)), &["cc"]);
            if id == 1 { failed(process) } else { process }
        });
        let data = data(&page("make", processes));
        let ids = data["processes"].as_array().unwrap().iter();
        let ids: Vec<u64> = ids.map(|row| row[0].as_u64().unwrap()).collect();
        assert_eq!((ids.len(), ids[0], ids[1]), (PROCESSES_MAX, 1, 4));
        assert_eq!(
            data["notes"][0],
            "2 processes that were shorter than all others are not in the page"
        );
        // Its parent is not there.
        assert_eq!(data["processes"][1][1], -1);
    }
}

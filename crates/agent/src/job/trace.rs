//! A job as a trace for a viewer: the Trace Event Format that Chrome began, and Perfetto and others read.
//!
//! A track a process, with a number of its own: a process id is used again, and what stands on one track
//! would hide what overlaps it. On it lies the process's life, and on that the programs it ran one after
//! the other. Times are microseconds from the begin of the job, so that a viewer that counts in floating
//! point loses none; when that was stands in `otherData`.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Ended, Job};
use crate::shown::{escape_controls, rfc_3339};
use crate::trail::{Text, Time};
use crate::tree::{Process, short, state};

/// The shortest slice that viewers draw.
const SLICE_NS_MIN: u64 = 1;

#[derive(Serialize)]
struct Slice<'j> {
    name: &'j str,
    cat: &'static str,
    ph: &'static str,
    ts: Value,
    dur: Value,
    pid: usize,
    tid: u32,
    #[serde(skip_serializing_if = "Value::is_null")]
    args: Value,
}

/// A slice that is not written yet: from when to when, on which track.
struct Span {
    begin_ns: u64,
    end_ns: u64,
    track: usize,
    is_life: bool,
    name: String,
    args: Value,
}

/// Writes the trace of `job`.
pub fn write(job: &Job, ended: &Ended, out: &mut impl Write) -> io::Result<()> {
    let other = json!({
        "command": ended.title,
        "start_time": rfc_3339(ended.begin),
        "recorded_by": concat!("systrail ", env!("CARGO_PKG_VERSION")),
        "lost": job.lost(),
        "passed_over_count": job.passed_over_count(),
    });
    let other = escape_controls(serde_json::to_string(&other)?);
    write!(
        out,
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{other},\"traceEvents\":["
    )?;
    let mut separator = "\n";
    for (index, process) in job.processes().iter().enumerate() {
        let track = index + 1;
        let name = format!("{} ({})", short(process), process.process_id);
        for (kind, args) in [
            ("process_name", json!({ "name": name })),
            ("process_sort_index", json!({ "sort_index": track })),
        ] {
            let line = json!({"name": kind, "ph": "M", "pid": track, "tid": 1, "args": args});
            line_of(out, &mut separator, &line)?;
        }
    }
    let mut spans = spans(job, ended);
    // Of those that begin together the longer comes first: it holds the other.
    spans.sort_by_key(|span| (span.begin_ns, std::cmp::Reverse(span.end_ns), !span.is_life));
    for span in spans {
        let slice = Slice {
            name: &span.name,
            cat: if span.is_life { "process" } else { "program" },
            ph: "X",
            ts: micros(span.begin_ns),
            dur: micros(span.end_ns.saturating_sub(span.begin_ns).max(SLICE_NS_MIN)),
            pid: span.track,
            tid: 1,
            args: span.args,
        };
        line_of(out, &mut separator, &slice)?;
    }
    writeln!(out, "\n]}}")
}

fn line_of(out: &mut impl Write, separator: &mut &str, line: &impl Serialize) -> io::Result<()> {
    let line = escape_controls(serde_json::to_string(line)?);
    write!(out, "{separator}{line}")?;
    *separator = ",\n";
    Ok(())
}

/// The life of each process, and the programs that it ran one after the other.
fn spans(job: &Job, ended: &Ended) -> Vec<Span> {
    let mut spans = Vec::new();
    for (index, process) in job.processes().iter().enumerate() {
        let track = index + 1;
        let (begin, end) = (process.begin(), process.end_or(ended.end));
        let since_begin = |time: Time| {
            let ns = time.0.saturating_sub(ended.begin.0);
            u64::try_from(ns).unwrap_or(0)
        };
        let (begin_ns, end_ns) = (since_begin(begin), since_begin(end.max(begin)));
        spans.push(Span {
            begin_ns,
            end_ns,
            track,
            is_life: true,
            name: short(process),
            args: args(process),
        });
        let execs = job.execs.get(&process.process_key);
        let execs = execs.map(Vec::as_slice).unwrap_or_default();
        for (step, exec) in execs.iter().enumerate() {
            let next = execs
                .get(step + 1)
                .map_or(end_ns, |next| since_begin(next.time));
            let begin_ns = since_begin(exec.time).clamp(begin_ns, end_ns);
            spans.push(Span {
                begin_ns,
                end_ns: next.clamp(begin_ns, end_ns),
                track,
                is_life: false,
                name: exec.title.clone(),
                args: Value::Null,
            });
        }
    }
    spans
}

fn args(process: &Process) -> Value {
    let program = &process.program;
    let mut args = json!({
        "process_id": process.process_id,
        "process_key": process.process_key.to_string(),
        "state": state(process),
    });
    let texts = [
        ("image", program.image.as_ref().map(Text::shown)),
        (
            "command_line",
            program.command_line.as_ref().map(Text::shown),
        ),
        ("user", program.user.as_deref()),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            args[name] = text.into();
        }
    }
    if let Some(id) = process.parent_process_id {
        args["parent_process_id"] = id.into();
    }
    args
}

/// Microseconds with three decimals, as a number.
fn micros(ns: u64) -> Value {
    let text = format!("{}.{:03}", ns / 1_000, ns % 1_000);
    text.parse::<serde_json::Number>()
        .map_or(Value::Null, Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Exec;
    use crate::job::tests::program;
    use crate::trail::Time;
    use crate::tree::End;
    use event::ProcessKey;

    const BEGIN: i64 = 1_795_907_167_123_456_789;

    fn process(key: u64, id: u32, (begin, end): (i64, i64), name: &str) -> Process {
        Process {
            process_id: id,
            process_key: ProcessKey(key),
            start_time: Some(Time(BEGIN + begin)),
            first_seen: Time(BEGIN + begin),
            program: program("/bin/x", &[name, name]),
            end: End::Exit(crate::tree::Exit {
                time: Time(BEGIN + end),
                exit_code: Some(0),
                ..crate::tree::Exit::default()
            }),
            ..Process::default()
        }
    }

    fn traced(job: &Job) -> (String, Value) {
        let ended = Ended {
            title: "</script>\u{1b}[2J".to_owned(),
            how: "ended with 0".to_owned(),
            begin: Time(BEGIN),
            end: Time(BEGIN + 9_000_000),
        };
        let mut out = Vec::new();
        write(job, &ended, &mut out).unwrap();
        let text = String::from_utf8(out).unwrap();
        let value = serde_json::from_str(&text).unwrap();
        (text, value)
    }

    #[test]
    fn is_a_track_a_process_with_its_programs_on_it() {
        let mut job = Job::default();
        // The second has the id of the first again, began with it, and took no time at all.
        for process in [
            process(1, 7, (1_500, 2_000_001), "first"),
            process(2, 7, (1_500, 1_500), "second"),
        ] {
            job.tree.add_process(process).unwrap();
        }
        let exec = |at, title: &str| Exec {
            time: Time(BEGIN + at),
            title: title.to_owned(),
        };
        job.execs
            .insert(ProcessKey(1), vec![exec(2_000, "a"), exec(1_000_000, "b")]);
        let (text, trace) = traced(&job);
        let events = trace["traceEvents"].as_array().unwrap();
        let slices: Vec<_> = events.iter().filter(|event| event["ph"] == "X").collect();
        let told: Vec<_> = slices
            .iter()
            .map(|slice| {
                let numbers = (
                    slice["ts"].as_f64().unwrap(),
                    slice["dur"].as_f64().unwrap(),
                );
                (
                    slice["pid"].as_u64().unwrap(),
                    slice["name"].as_str().unwrap(),
                    numbers,
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                (1, "x first", (1.5, 1_998.501)),
                (2, "x second", (1.5, 0.001)),
                (1, "a", (2.0, 998.0)),
                (1, "b", (1_000.0, 1_000.001)),
            ]
        );
        assert_eq!(slices[0]["args"]["process_id"], 7);
        assert_eq!(slices[1]["args"]["process_key"], "0000000000000002");
        let names = events
            .iter()
            .filter(|event| event["name"] == "process_name");
        assert!(names.clone().all(|name| name.get("ts").is_none()));
        assert_eq!(names.count(), 2);
        assert!(!text.contains('\u{1b}'), "nothing that a terminal acts on");
        assert_eq!(
            trace["otherData"]["start_time"],
            "2026-11-28T23:06:07.123456789Z"
        );
    }
}

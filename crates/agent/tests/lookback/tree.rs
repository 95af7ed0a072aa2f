//! `systrail tree`.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;

use serde_json::Value;

use super::{
    END, LOST, Store, TRAIL, assert_harmless, lines_of_json, log_of, output, printed, refused,
    start_line, systrail,
};

/// The tree of the small trail.
const DRAWN: &str = include_str!("tree.txt");

#[test]
fn a_log_is_drawn_with_states_times_and_lines() {
    let drawn = printed(["tree", "--log", TRAIL]);
    assert_eq!(drawn, DRAWN);
}

#[test]
fn a_store_gives_the_tree_of_its_log() {
    let store = Store::small();
    assert_eq!(store.printed(&["tree", END]), DRAWN);
    let of_store = store.printed(&["tree", END, "--format", "jsonl"]);
    let of_log = printed(["tree", END, "--format", "jsonl", "--log", TRAIL]);
    assert_eq!(lines_of_json(&of_store), lines_of_json(&of_log));
}

#[test]
fn what_is_chosen_stands_under_what_it_is_part_of() {
    let ids = |arguments: &[&str]| {
        let mut all = vec!["tree", "--log", TRAIL];
        all.extend(arguments);
        let drawn = printed(&all);
        let rows = drawn.lines().skip(1);
        rows.map(|row| row[..7].trim().parse().unwrap())
            .collect::<Vec<u32>>()
    };
    assert_eq!(ids(&["--failed"]), [1, 100, 1000, 1002, 1012]);
    assert_eq!(ids(&["--min", "10m"]), [1, 100]);
    assert_eq!(
        ids(&["--user", "ada", "--failed"]),
        [1, 100, 1000, 1002, 1012]
    );
    assert_eq!(ids(&["--depth", "1"]), [1, 100, 2]);
    assert_eq!(ids(&["1000", "--depth", "1", "--failed"]), [1000, 1002]);
    let nobody = output(["tree", "--log", TRAIL, "--user", "nobody"]);
    let said = String::from_utf8(nobody.stderr).unwrap();
    assert!(said.contains("none of 10 processes is what"), "{said}");
    let drawn = printed(["tree", "1000", "--log", TRAIL, "--depth", "0"]);
    assert!(drawn.ends_with("make -j2 all  (+4 below)\n"), "{drawn}");
    let json = printed(["tree", "--log", TRAIL, "--failed", "--format", "jsonl"]);
    assert_eq!(lines_of_json(&json).len(), 5);
}

/// Of a log of Sysmon's the tree had its first process's parent, and of a store of it not.
#[test]
fn a_parent_that_its_child_alone_tells_of_is_in_the_tree_of_log_and_store() {
    let sensor_start = "{\"sequence\":1,\"time\":\"2026-01-01T00:00:00.000000000Z\",\
         \"kind\":\"sensor_start\",\"host\":\"h\",\"process_id\":9,\
         \"process_key\":\"0000000000000009\",\"source\":\"sysmon\",\"version\":\"1\"}";
    let child = |sequence, process_id: u32, parent| {
        let line = start_line(sequence, process_id, process_id.into(), parent, "child");
        let told = ",\"parent_image\":\"/bin/parent\",\"parent_command_line\":\"parent -x\",\
                    \"parent_user\":\"ada\",\"existing\"";
        line.replace(",\"existing\"", told)
    };
    let lines = [
        sensor_start.to_owned(),
        child(2, 10, 0x99),
        child(3, 11, 0x99),
        // Its parent is told of by an event of its own.
        child(4, 12, 10),
        // Nobody says what this one's parent is.
        start_line(5, 13, 13, 0x77, "orphan"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let of_log = printed([
        "tree",
        "--log",
        log.to_str().unwrap(),
        END,
        "--format",
        "jsonl",
    ]);
    let of_store = store.printed(&["tree", END, "--format", "jsonl"]);
    let rows = lines_of_json(&of_log);
    assert_eq!(rows.len(), 5);
    assert_eq!(rows[0]["command_line"], "parent -x");
    assert_eq!(rows[0]["user"], "ada");
    assert_eq!(lines_of_json(&of_store), rows);
}

/// A parent that had ended ran again in the tree of a later moment, because its child's start tells of it.
#[test]
fn a_parent_that_had_ended_is_not_told_to_run() {
    let sensor_start = "{\"sequence\":1,\"time\":\"2026-01-01T00:00:00.000000000Z\",\
         \"kind\":\"sensor_start\",\"host\":\"h\",\"process_id\":9,\
         \"process_key\":\"0000000000000009\",\"source\":\"ebpf\",\"version\":\"1\"}";
    let exit = |sequence: u64, second: u32, process_id: u32| {
        format!(
            "{{\"sequence\":{sequence},\"time\":\"2026-01-01T00:00:0{second}.000000000Z\",\
             \"kind\":\"process_exit\",\"host\":\"h\",\"process_id\":{process_id},\
             \"process_key\":\"{process_id:016x}\",\"exit_code\":0,\"run_time_ns\":1000}}"
        )
    };
    let child = start_line(3, 11, 11, 10, "child");
    let told = ",\"parent_image\":\"/bin/parent\",\"existing\"";
    let lines = [
        sensor_start.to_owned(),
        start_line(2, 10, 10, 1, "parent"),
        child.replace(",\"existing\"", told),
        exit(4, 1, 10),
        exit(5, 9, 11),
    ];
    let directory = tempfile::tempdir().unwrap();
    let store = Store::of(&log_of(&directory, &lines));
    let drawn = store.printed(&["tree", "--at", "2026-01-01T00:00:05Z"]);
    assert!(
        drawn.contains("child") && !drawn.contains("parent"),
        "{drawn}"
    );
}

/// Of a log a tree said `[kernel]`, of the store `?`.
#[test]
fn kernel_processes_have_their_names_from_log_and_store() {
    let start = |sequence: u64, process_id: u64, parent: u64, own: &str| {
        format!(
            "{{\"sequence\":{sequence},\"time\":\"2026-01-01T00:00:00.00000000{sequence}Z\",\
             \"kind\":\"process_start\",\"host\":\"atlas\",\"process_id\":{process_id},\
             \"process_key\":\"{process_id:016x}\",\"parent_process_id\":{parent},\
             \"parent_process_key\":\"{parent:016x}\",\"session_id\":0,\"existing\":true{own},\
             \"missing\":{{\"image\":\"kernel_thread\",\"command_line\":\"kernel_thread\"}}}}"
        )
    };
    let named = |name: &str| format!(",\"kernel_process\":true,\"name\":\"{name}\"");
    let lines = [
        "{\"sequence\":0,\"time\":\"2026-01-01T00:00:00.000000000Z\",\
         \"kind\":\"sensor_start\",\"host\":\"atlas\",\"process_id\":9,\
         \"process_key\":\"0000000000000009\",\"source\":\"ebpf\",\"version\":\"1\"}"
            .to_owned(),
        start(1, 4, 3, &named("System")),
        start(2, 100, 4, &named("Memory Compression")),
        start(3, 101, 4, ",\"kernel_process\":true"),
        start(4, 102, 4, &named("helper")),
        "{\"sequence\":5,\"time\":\"2026-01-01T00:00:01.000000000Z\",\"kind\":\"process_exec\",\
         \"host\":\"atlas\",\"process_id\":102,\"process_key\":\"0000000000000066\",\
         \"image\":\"/bin/helper\",\"command_line\":\"helper\",\"user\":\"root\",\"user_id\":0}"
            .to_owned(),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let log = log.to_str().unwrap();
    let drawn = printed(["tree", "--log", log, END]);
    assert_eq!(store.printed(&["tree", END]), drawn);
    for title in [
        "[System]\n",
        "[Memory Compression]\n",
        "[kernel]\n",
        "helper\n",
    ] {
        assert!(drawn.contains(title), "{title} {drawn}");
    }
    assert!(!drawn.contains("[helper]"), "{drawn}");
    let of_log = printed(["tree", "--format", "jsonl", "--log", log, END]);
    let of_store = store.printed(&["tree", END, "--format", "jsonl"]);
    let rows = lines_of_json(&of_log);
    assert_eq!(lines_of_json(&of_store), rows);
    let told = |row: &Value| (row["kernel_process"].clone(), row["name"].clone());
    assert_eq!(told(&rows[1]), (true.into(), "Memory Compression".into()));
    assert_eq!(told(&rows[3]), (Value::Null, Value::Null));
    // A process still runs: of a log until its end, of a store until now.
    for shown in [
        printed(["show", "100", "--log", log]),
        store.printed(&["show", "100"]),
    ] {
        assert!(
            shown.contains("of the kernel [Memory Compression]"),
            "{shown}"
        );
    }
}

/// `./updater` that became `/memfd:x`, called `[kworker/u8:2]`, read like a thread of the kernel.
#[test]
fn programs_that_were_replaced_stand_before_the_last_from_log_and_store() {
    let exec = |sequence: u64, image: &str, first: &str| {
        format!(
            "{{\"sequence\":{sequence},\"time\":\"2026-01-01T00:00:0{sequence}.000000000Z\",\"kind\":\"process_exec\",\
             \"host\":\"h\",\"process_id\":5,\"process_key\":\"0000000000000005\",\
             \"image\":\"{image}\",\"command_line\":\"{first} -d\",\"arguments\":[\"{first}\",\"-d\"],\
             \"user\":\"ada\",\"user_id\":7}}"
        )
    };
    let lines = [
        start_line(1, 5, 5, 9, "-bash"),
        exec(2, "/home/ada/updater", "./updater"),
        exec(3, "/usr/bin/env", "env"),
        exec(4, "/memfd:x", "[kworker/u8:2]"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let log = log.to_str().unwrap();
    let drawn = printed(["tree", "--log", log, END]);
    let steps = "updater -> env -> /memfd:x as [kworker/u8:2] -d\n";
    assert!(drawn.ends_with(steps), "{drawn}");
    assert_eq!(store.printed(&["tree", END]), drawn);
    let of_log = printed(["tree", END, "--format", "jsonl", "--log", log]);
    let of_store = store.printed(&["tree", END, "--format", "jsonl"]);
    let rows = lines_of_json(&of_log);
    assert_eq!(lines_of_json(&of_store), rows);
    let earlier = serde_json::json!(["/home/ada/updater", "/usr/bin/env"]);
    assert_eq!(rows[0]["earlier_images"], earlier);
}

/// A tree of 137,000 processes with long command lines took gigabytes: it has their beginnings now, and the rest
/// from the disk.
#[test]
fn long_command_lines_are_whole_from_log_and_store() {
    let repeated = |text: &str| text.repeat(2_000);
    let lines = [
        start_line(1, 5, 5, 9, &repeated("é")),
        start_line(2, 6, 6, 5, "short"),
        start_line(3, 7, 7, 6, &repeated("b ")),
        start_line(4, 8, 8, 5, &repeated("c")),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let log = log.to_str().unwrap();
    for format in ["table", "jsonl", "json", "csv", "dot"] {
        for who in [None, Some("6")] {
            let arguments = ["tree", END, "--format", format].into_iter().chain(who);
            let arguments: Vec<&str> = arguments.collect();
            let of_log = printed(arguments.iter().chain(&["--log", log]));
            assert_eq!(store.printed(&arguments), of_log, "{format} {who:?}");
            let is_whole = of_log.contains(&repeated("b "));
            assert!(is_whole || format == "dot", "{format} {who:?}");
        }
    }
}

/// 60 MB of command lines are on the disk while they are drawn. The whole of what a tree takes is measured where
/// all of it is there and its last lines are not read yet.
#[test]
fn a_tree_of_long_command_lines_takes_little_memory() {
    const SIZE: usize = 20_000;
    const PEAK_MAX_KIB: u64 = 80 << 10;
    let line = |number: u32| {
        let command_line = format!("{number:05} ").repeat(SIZE / 6);
        start_line(number.into(), number, number.into(), 1, &command_line)
    };
    let lines: Vec<String> = (2..3_002).map(line).collect();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::of(&log_of(&directory, &lines));
    let mut tree = systrail()
        .args(["tree", END, "--store", store.path()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut drawn = tree.stdout.take().unwrap();
    let mut some = vec![0; 2_900 * SIZE];
    drawn.read_exact(&mut some).unwrap();
    let status = fs::read_to_string(format!("/proc/{}/status", tree.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.and_then(|peak| peak.trim().strip_suffix(" kB"));
    let peak: u64 = peak.unwrap().parse().unwrap();
    assert!(peak < PEAK_MAX_KIB, "{peak} KiB");
    let rest = drawn.read_to_end(&mut some).unwrap();
    assert!(rest >= 100 * SIZE && tree.wait().unwrap().success());
}

/// Of one process the whole store was read.
#[test]
fn one_of_a_store_is_drawn_as_of_its_log() {
    let store = Store::small();
    for who in ["100", "1001", "a0000000000003e8", "2"] {
        let arguments = ["tree", END, who];
        let of_log = printed(arguments.into_iter().chain(["--log", TRAIL]));
        assert_eq!(store.printed(&arguments), of_log, "{who}");
    }
    let nobody = refused(1, ["tree", "77", "--store", store.path()]);
    assert!(nobody.contains("the trail has no process 77"), "{nobody}");
}

#[test]
fn json_nests_children_in_their_parents() {
    let tree = printed(["tree", "--format", "json", "--log", TRAIL]);
    assert_harmless(&tree);
    let roots: Value = serde_json::from_str(&tree).unwrap();
    let ids = |list: &Value| -> Vec<u64> {
        let list = list.as_array().unwrap();
        list.iter()
            .map(|one| one["process_id"].as_u64().unwrap())
            .collect()
    };
    assert_eq!(ids(&roots), [1, 2]);
    let shell = &roots[0]["children"][0];
    assert_eq!(ids(&shell["children"]), [1000, 1001, 1003]);
    let make = &shell["children"][0];
    assert_eq!(ids(&make["children"]), [1001, 1002]);
    assert_eq!(make["exit_code"], 2);
    assert_eq!(make["state"], "exited");
    assert_eq!(make["children"][1]["children"][0]["signal"], 11);
    assert_eq!(shell["children"][1]["state"], "ended");
}

#[test]
fn csv_has_a_line_a_process_with_the_fields_of_its_json() {
    let told = |format| {
        let arguments = ["tree", "--log", TRAIL, "--format", format];
        printed(arguments)
    };
    let rows = lines_of_json(&told("jsonl"));
    let csv = told("csv");
    let mut lines = csv.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    for row in &rows {
        let fields = row.as_object().unwrap();
        assert!(fields.keys().all(|name| columns.contains(&name.as_str())));
        let key = fields["process_key"].as_str().unwrap();
        let line = lines.next().unwrap();
        assert_eq!(line.split(',').nth(1), Some(key), "{line}");
    }
    assert_eq!(lines.next(), None);
}

#[test]
fn dot_has_a_box_a_process_and_an_arrow_a_parent() {
    let dot = printed(["tree", "--format", "dot", "--log", TRAIL]);
    assert_harmless(&dot);
    assert!(dot.starts_with("digraph systrail {\n") && dot.ends_with("}\n"));
    assert_eq!(dot.matches(" [label=").count(), 10);
    assert_eq!(dot.matches(" -> ").count(), 8);
    assert!(dot.contains("\"a0000000000003e8\" -> \"a0000000000003ea\";"));
    // A quote or a backslash in a command line does not end the label.
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &[start_line(1, 5, 5, 9, "a\" -> \"b\\")]);
    let dot = printed(["tree", "--format", "dot", "--log", log.to_str().unwrap()]);
    assert!(
        dot.contains("label=\"5 /x as a\\\" -> \\\"b\\\\\\nrunning\""),
        "{dot}"
    );
}

#[test]
fn at_a_time_it_shows_what_ran_then() {
    let store = Store::small();
    let at = "--at=2026-01-01T00:00:01.045Z";
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let rows = printed(["tree", at, "--format", "jsonl"].into_iter().chain(source));
        let rows = lines_of_json(&rows);
        let told: Vec<_> = rows
            .iter()
            .map(|row| {
                (
                    row["process_id"].as_u64().unwrap(),
                    row["state"].as_str().unwrap(),
                )
            })
            .collect();
        let ids = [1, 100, 1000, 1001, 1011, 1002, 1012, 2];
        assert_eq!(told, ids.map(|id| (id, "running")), "{source:?}");
    }
}

#[test]
fn a_window_shows_what_was_there_in_it() {
    let store = Store::small();
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let window = [
            "tree",
            "--since=2026-01-01T00:01:00Z",
            END,
            "--format",
            "jsonl",
        ];
        let rows = lines_of_json(&printed(window.into_iter().chain(source)));
        let ids: Vec<_> = rows
            .iter()
            .map(|row| row["process_id"].as_u64().unwrap())
            .collect();
        assert_eq!(ids, [1, 100, 1003], "{source:?}");
    }
}

#[test]
fn a_process_is_shown_with_what_it_started() {
    let of_make = printed(["tree", "1000", "--log", TRAIL]);
    assert_eq!(of_make.lines().count(), 6);
    assert!(of_make.contains(" make -j2 all\n"), "{of_make}");
    // Two processes had this id, and both are meant.
    let of_id = printed(["tree", "1001", "--log", TRAIL]);
    assert!(
        of_id.contains(" cc -c one.c\n") && of_id.contains(" caf"),
        "{of_id}"
    );
    let of_key = printed(["tree", "a0000000001003e9", "--log", TRAIL]);
    assert_eq!(of_key.lines().count(), 2);
    let said = refused(1, ["tree", "4711", "--log", TRAIL]);
    assert!(said.contains("the trail has no process 4711"), "{said}");
    let said = refused(2, ["tree", "make", "--log", TRAIL]);
    assert!(
        said.contains("a process id or a key of 16 hex digits"),
        "{said}"
    );
}

#[test]
fn the_machine_as_it_is_now_has_this_test_under_its_parent() {
    let rows = lines_of_json(&printed(["tree", "--format", "jsonl"]));
    let own = u64::from(std::process::id());
    let this = rows.iter().find(|row| row["process_id"] == own).unwrap();
    assert_eq!(
        this["parent_process_id"],
        u64::from(std::os::unix::process::parent_id())
    );
    assert_eq!(this["state"], "running");
    let parent = rows
        .iter()
        .find(|row| row["process_key"] == this["parent_process_key"]);
    assert_eq!(parent.unwrap()["process_id"], this["parent_process_id"]);
}

/// It blamed a trail that was not asked.
#[test]
fn of_a_process_that_does_not_run_it_says_so_and_where_else_to_look() {
    for command in ["tree", "show"] {
        // More than any system's largest process id.
        let said = refused(1, [command, "4294967295"]);
        assert!(said.contains("no process 4294967295 runs now"), "{said}");
        assert!(said.contains("--store") && said.contains("--log"), "{said}");
    }
}

#[test]
fn parents_in_a_loop_are_shown_once_each() {
    let directory = tempfile::tempdir().unwrap();
    let lines = [
        start_line(1, 11, 0x11, 0x13, "a"),
        start_line(2, 12, 0x12, 0x11, "b"),
        start_line(3, 13, 0x13, 0x12, "c"),
        start_line(4, 14, 0x14, 0x14, "its own parent"),
    ];
    let log = log_of(&directory, &lines);
    for format in ["table", "json", "jsonl", "dot"] {
        let tree = printed(["tree", "--format", format, "--log", log.to_str().unwrap()]);
        assert_eq!(tree.matches("its own parent").count(), 1, "{tree}");
        if format == "jsonl" {
            assert_eq!(lines_of_json(&tree).len(), 4);
        }
    }
}

#[test]
fn a_chain_as_long_as_the_trail_is_shown_in_time_and_room() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (1..=20_000)
        .map(|id| start_line(id, 7, 1_000_000 + id, 999_999 + id, "link"))
        .collect();
    let log = log_of(&directory, &lines);
    let log = log.to_str().unwrap();
    let drawn = printed(["tree", "--log", log]);
    assert_eq!(drawn.lines().count(), 20_001);
    assert!(drawn.len() < 20_000 * 500, "{} bytes", drawn.len());
    assert!(drawn.ends_with("(19999) /x as link\n"));
    let json = printed(["tree", "--format", "json", "--log", log]);
    assert_eq!(json.matches("\"children\":[").count(), 20_000);
    assert!(json.trim_end().ends_with("}\n]"));
}

/// A line of a run that says what it is.
fn run_line(sequence: u64, run: u64, key: u64) -> String {
    let process_id = u32::try_from(key).unwrap();
    let line = start_line(sequence, process_id, key, 0, "x");
    line.replace(
        "\"host\":\"h\",",
        &format!("\"host\":\"h\",\"host_id\":\"00112233445566778899aabbccddeeff\",\"run\":{run},"),
    )
}

/// Each gap in a log that somebody had filtered was a run of its own in a store: its processes had
/// ended, and a tree of them took minutes.
#[test]
fn a_filtered_log_is_one_recording() {
    const COUNT: u64 = 20_000;
    const RUN: u64 = 1_767_225_599_000_000_000;
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<_> = (1..=COUNT).map(|n| run_line(2 * n, RUN, n)).collect();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let began = std::time::Instant::now();
    let of_store = store.printed(&[
        "tree",
        "--format",
        "jsonl",
        "--since",
        "2026-01-01T00:00:00Z",
    ]);
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    let of_log = printed(["tree", "--format", "jsonl", "--log", log.to_str().unwrap()]);
    for tree in [of_store, of_log] {
        let rows = lines_of_json(&tree);
        assert_eq!(rows.len(), 20_000);
        assert!(rows.iter().all(|row| row["state"] == "running"));
    }
    let sql =
        "SELECT count(DISTINCT run_began) AS n, max(run) AS run, min(host_id) AS id FROM processes";
    let told = store.printed(&["query", sql, "--format", "jsonl"]);
    let told = lines_of_json(&told).remove(0);
    assert_eq!((&told["n"], &told["run"]), (&1.into(), &RUN.into()));
    assert_eq!(told["id"], "00112233445566778899aabbccddeeff");
}

/// The start of the second run was filtered out.
#[test]
fn another_run_is_another_recording_also_without_its_sensor_start() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (1_767_225_600_000_000_000, 1_767_225_600_000_000_015);
    let lines = [
        run_line(10, first, 1),
        run_line(11, first, 2),
        run_line(20, second, 2),
        run_line(22, second, 3),
    ];
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let of_store = store.printed(&[
        "tree",
        "--format",
        "jsonl",
        "--since",
        "2026-01-01T00:00:00Z",
    ]);
    let of_log = printed(["tree", "--format", "jsonl", "--log", log.to_str().unwrap()]);
    for tree in [of_store, of_log] {
        let rows = lines_of_json(&tree);
        let states: Vec<_> = rows.iter().map(|row| row["state"].clone()).collect();
        assert_eq!(states, ["ended", "running", "running"], "{tree}");
    }
}

#[test]
fn what_a_process_calls_itself_cannot_reach_the_terminal() {
    let hostile = "\u{1b}[2J\u{7}\u{9b}31m\u{202e}evil\u{2066}\r\nfake\u{200b}";
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &[start_line(1, 5, 5, 9, hostile)]);
    let log = log.to_str().unwrap();
    for format in ["table", "json", "jsonl", "dot"] {
        let tree = printed(["tree", "--format", format, "--log", log]);
        assert_harmless(&tree);
        assert!(tree.contains("evil"), "{tree}");
    }
    assert_harmless(&printed(["show", "5", "--log", log]));
    assert_harmless(&printed(["show", "5", "--log", log, "--format", "json"]));
}

#[test]
fn what_is_no_event_is_told_and_passed_over() {
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &["{}".to_owned(), start_line(1, 5, 5, 9, "x")]);
    let output = output([Path::new("tree"), Path::new("--log"), &log]);
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("line 1 is passed over")
            && said.contains("passed over 1 line that is no event")
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 2);
}

/// A tree and a story looked whole where events had been lost.
#[test]
fn what_was_lost_is_told_beside_a_tree_and_a_story() {
    let store = Store::small();
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let said = |arguments: &[&str]| {
            let asked = output(arguments.iter().copied().chain(source));
            assert_eq!(asked.status.code(), Some(0));
            String::from_utf8(asked.stderr).unwrap()
        };
        let lost: [&[&str]; 5] = [
            &["tree", END],
            &["tree", "--since=2026-01-01T00:00:02Z"],
            &["tree", "--at=2026-01-01T00:01:01.5Z"],
            &["show", "100"],
            // It ended a second before the loss was told.
            &["show", "1012"],
        ];
        for arguments in lost {
            assert_eq!(said(arguments), LOST, "{arguments:?}");
        }
        let whole: [&[&str]; 4] = [
            &["tree", "--since=2026-01-01T00:00:02.1Z"],
            &["tree", "--until=2026-01-01T00:00:02Z"],
            &["tree", "--at=2026-01-01T00:00:01.045Z"],
            &["show", "1003"],
        ];
        for arguments in whole {
            assert_eq!(said(arguments), "", "{arguments:?}");
        }
    }
}

/// `query` said which segments it could not read; `tree` and `show` left out what they had without a
/// word.
#[test]
fn a_segment_that_cannot_be_read_is_told() {
    let store = Store::small();
    let damaged = store.directory.path().join("20200101T000000.000Z.sqlite");
    fs::write(damaged, "no database").unwrap();
    for arguments in [["tree", END], ["show", "100"]] {
        let asked = output(arguments.iter().copied().chain(["--store", store.path()]));
        let said = String::from_utf8_lossy(&asked.stderr);
        assert_eq!(asked.status.code(), Some(0), "{said}");
        assert!(
            said.contains("passed over: ") && said.contains("20200101"),
            "{arguments:?}: {said}"
        );
    }
}

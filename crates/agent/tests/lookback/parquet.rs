//! `systrail export --format parquet`, read by a program of somebody else's: `DuckDB` gives the answers that
//! `systrail query` gives.
//!
//! `cargo xtask setup` puts the package `duckdb` where it is looked for; `SYSTRAIL_DUCKDB` is a Python
//! that has it elsewhere. Without it the tests that need it say so, and fail where `CI=true`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use systrail::query::EXAMPLES;
use systrail::trail::schema;

use super::{Store, TRAIL, log_of, output, refused, systrail};

const VIEWS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../packaging/duckdb/systrail.sql"
);
const NIGHT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/lookback/night.jsonl");

/// What the views of `DuckDB` answer as they are asked of the store. The others have columns that are worked
/// out there, or functions of SQLite.
const SHARED: &[&str] = &[
    "what failed lately?",
    "which programs run most often?",
    "which processes ran longest?",
    "which files are loaded most often?",
    "who loaded this library? (put its name there)",
    "which programs had no file any more, or never had one?",
    "which threads were started from another process?",
    "which parents start the most processes?",
    "where are the gaps?",
];

/// A Python that has `DuckDB`; `None` where there is none and need not be.
pub(super) fn python() -> Option<PathBuf> {
    let python = std::env::var_os("SYSTRAIL_DUCKDB").map_or_else(
        || Path::new(env!("CARGO_TARGET_TMPDIR")).join("../python/bin/python"),
        PathBuf::from,
    );
    let has_it = Command::new(&python)
        .args(["-c", "import duckdb"])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let must_run = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(
        has_it || !must_run,
        "{} has no DuckDB; `cargo xtask setup` installs it",
        python.display()
    );
    has_it.then_some(python)
}

#[expect(
    clippy::print_stdout,
    reason = "a test that did not run says so to who looks at it"
)]
fn did_not_run() {
    println!("did not run: no Python has DuckDB; `cargo xtask setup` installs it");
}

/// What `DuckDB` answers to each query about a trail.
fn duckdb(python: &Path, trail: &Path, views: &[&str], queries: &[&str]) -> Vec<Value> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for query in queries {
        writeln!(file, "{query}").unwrap();
    }
    let output = Command::new(python)
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/lookback/duckdb.py"
        ))
        .arg(file.path())
        .arg(trail)
        .args(views)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let answers = String::from_utf8(output.stdout).unwrap();
    let answers = answers.lines().map(serde_json::from_str);
    answers.collect::<Result<_, _>>().unwrap()
}

/// Writes an export and says what was said.
fn export(arguments: &[&str], file: &Path) -> String {
    let file = file.to_str().unwrap();
    let output = output(
        ["export", "--format", "parquet", "--output", file]
            .iter()
            .chain(arguments),
    );
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert_eq!(output.stdout, b"");
    said
}

/// Rows and columns without an order, as no query here says one for rows that are alike.
fn rows(answer: &Value) -> Vec<String> {
    let rows = answer.as_array().expect("rows").iter();
    let mut rows: Vec<_> = rows
        .map(|row| {
            let columns: BTreeMap<_, _> = row.as_object().expect("a row").iter().collect();
            format!("{columns:?}")
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn duckdb_answers_as_the_store_does() {
    let Some(python) = python() else {
        return did_not_run();
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trail.parquet");
    let shared = EXAMPLES
        .iter()
        .filter(|example| SHARED.contains(&example.question));
    let mut queries: Vec<&str> = shared.map(|example| example.sql).collect();
    assert_eq!(queries.len(), SHARED.len());
    queries.push("SELECT * FROM losses");
    queries.push("SELECT kind, event_count FROM kind_totals");
    queries.push(
        "SELECT process_id, process_key, start_time, start_time_text, parent_process_id, \
         parent_process_key, image, command_line, user, exec_count, exit_time, exit_code, signal, \
         run_time_ns FROM processes",
    );
    let mut row_count = 0;
    for log in [TRAIL, NIGHT] {
        let store = Store::of(Path::new(log));
        assert_eq!(export(&["--store", store.path()], &file), "");
        let answers = duckdb(&python, &file, &[VIEWS], &queries);
        for (query, answer) in queries.iter().zip(&answers) {
            let expected = store.printed(&["query", "--format", "json", query]);
            let mut expected: Value = serde_json::from_str(&expected).unwrap();
            if query.contains("* FROM losses") {
                keep_columns(&mut expected, answer);
            }
            assert_eq!(rows(answer), rows(&expected), "{query}");
            row_count += rows(answer).len();
        }
    }
    assert!(row_count > 60, "{row_count}");
}

/// The tour shows a query of `DuckDB`'s, and says that the store gives the same answer.
#[test]
fn the_tour_of_a_data_engineer_is_true() {
    let Some(python) = python() else {
        return did_not_run();
    };
    let tour = include_str!("../../../../docs/TOUR.md");
    let (_, block) = tour.split_once("```sql\nSET VARIABLE trail").unwrap();
    let query = block
        .lines()
        .find(|line| line.starts_with("SELECT"))
        .unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("night.parquet");
    let store = Store::of(Path::new(NIGHT));
    export(&["--store", store.path()], &file);
    let answer = duckdb(&python, &file, &[VIEWS], &[query]).remove(0);
    let query = query.trim_end_matches(';');
    let expected = store.printed(&["query", "--format", "json", query]);
    assert_eq!(answer, serde_json::from_str::<Value>(&expected).unwrap());
    assert!(answer.as_array().unwrap().len() > 2, "{answer}");
    let told = query.replace('"', "");
    assert!(
        tour.contains(&format!("\"{told}\"")),
        "the store is asked as well"
    );
}

/// Leaves in each row what the first of the others has.
fn keep_columns(rows: &mut Value, others: &Value) {
    for row in rows.as_array_mut().unwrap() {
        row.as_object_mut()
            .unwrap()
            .retain(|name, _| others[0].get(name).is_some());
    }
}

#[test]
fn every_column_has_the_type_that_readers_expect() {
    let Some(python) = python() else {
        return did_not_run();
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trail.parquet");
    let types = "SELECT column_name AS name, column_type AS type FROM \
                 (DESCRIBE SELECT * FROM read_parquet(getvariable('trail')))";
    let count = "SELECT count(*) AS n, max(epoch_ns(time)) % 1000000 AS rest FROM read_parquet(getvariable('trail'))";
    for (unit, time, rest) in [
        ("ns", "TIMESTAMPTZ_NS", 123_456),
        ("us", "TIMESTAMP WITH TIME ZONE", 123_000),
    ] {
        let log = log_of(
            &directory,
            &[super::start_line(1, 7, 7, 1, "x").replace("00.000000001Z", "00.000123456Z")],
        );
        let log = log.to_str().unwrap();
        export(&["--time-unit", unit, "--log", log], &file);
        let answers = duckdb(&python, &file, &[], &[types, count]);
        let columns = answers[0].as_array().unwrap();
        assert_eq!(columns.len(), schema::names().len(), "a column a field");
        for (name, r#type) in [
            ("sequence", "BIGINT"),
            ("time", time),
            ("process_key", "VARCHAR"),
            ("image_base", "VARCHAR"),
            ("user_id", "VARCHAR"),
            ("inode", "BIGINT"),
            ("existing", "BOOLEAN"),
            ("arguments", "VARCHAR[]"),
            ("arguments_raw", "VARCHAR[]"),
            ("truncated", "VARCHAR[]"),
            ("missing", "MAP(VARCHAR, VARCHAR)"),
            ("account", "VARCHAR"),
        ] {
            let column = columns.iter().find(|column| column["name"] == name);
            assert_eq!(column.unwrap()["type"], r#type, "{name}");
        }
        assert_eq!(answers[1], json!([{"n": 1, "rest": rest}]), "{unit}");
    }
}

/// Absent, empty and 0 fell together elsewhere, and what was beyond 63 bits changed.
#[test]
fn absent_empty_and_nothing_stay_apart() {
    let Some(python) = python() else {
        return did_not_run();
    };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trail.parquet");
    let head = |sequence: u32, kind| {
        format!(
            "{{\"sequence\":{sequence},\"time\":\"1969-12-31T23:59:59.999999999Z\",\"kind\":\"{kind}\",\
             \"host\":\"h\",\"process_id\":0,\"process_key\":\"ffffffffffffffff\""
        )
    };
    let lines = [
        format!(
            "{},\"exit_code\":0,\"image\":\"\",\"run_time_ns\":0}}",
            head(1, "process_exit")
        ),
        format!("{},\"signal\":9}}", head(2, "process_exit")),
        format!(
            "{},\"command_line\":\" \",\"arguments\":[\"\",\"\"],\"inode\":18446744073709551615}}",
            head(3, "process_exec")
        ),
        format!(
            "{},\"command_line\":\"\",\"arguments\":[]}}",
            head(4, "process_exec")
        ),
        format!(
            "{},\"missing\":{{\"image\":\"gone\",\"user\":\"unknown\"}}}}",
            head(5, "process_exec")
        ),
        format!(
            "{},\"image\":\"/a\u{fffd}\",\"image_raw\":\"2f61ff\",\"image_base\":\"0xffffffff81000000\",\
             \"image_size\":1,\"kernel_image\":true,\"existing\":false}}",
            head(6, "image_load")
        ),
    ];
    let log = log_of(&directory, &lines);
    export(&["--log", log.to_str().unwrap()], &file);
    let query = "SELECT exit_code, signal, image, image_raw, arguments, inode, missing::JSON AS missing, image_base, \
                 kernel_image, image_deleted, epoch_ns(time) AS time, process_key AS key \
                 FROM read_parquet(getvariable('trail')) ORDER BY sequence";
    let answer = duckdb(&python, &file, &[], &[query]).remove(0);
    let row = |own: Value| {
        let mut row = json!({
            "exit_code": null, "signal": null, "image": null, "image_raw": null, "arguments": null, "inode": null,
            "missing": null, "image_base": null, "kernel_image": null, "image_deleted": null, "time": -1,
            "key": "ffffffffffffffff",
        });
        for (name, value) in own.as_object().unwrap() {
            row[name] = value.clone();
        }
        row
    };
    let expected = [
        json!({"exit_code": 0, "image": ""}),
        json!({"signal": 9}),
        json!({"arguments": ["", ""], "inode": -1}),
        json!({"arguments": []}),
        json!({"missing": "{\"image\":\"gone\",\"user\":\"unknown\"}"}),
        json!({"image": "/a\u{fffd}", "image_raw": "2f61ff", "image_base": "0xffffffff81000000", "kernel_image": 1}),
    ];
    assert_eq!(answer, Value::from(expected.map(row).to_vec()));
}

/// The account of the last line, and other rare fields, come after the lines that `DuckDB` guesses by.
#[test]
fn duckdb_reads_a_log_with_its_last_line() {
    let Some(python) = python() else {
        return did_not_run();
    };
    let directory = tempfile::tempdir().unwrap();
    let stop = fs::read_to_string(TRAIL).unwrap();
    let stop = stop
        .lines()
        .find(|line| line.contains("\"sensor_stop\""))
        .unwrap();
    let mut lines: Vec<String> = (1..=30_000)
        .map(|sequence| super::start_line(sequence, 7, 7, 1, "x"))
        .collect();
    lines.push(stop.to_owned());
    let long = log_of(&directory, &lines);
    let small = "SELECT kind, account.balanced AS balanced FROM read_json_auto(getvariable('trail')) \
                 WHERE kind = 'sensor_stop' LIMIT 1";
    let expected = json!([{"kind": "sensor_stop", "balanced": 1}]);
    let answers = duckdb(&python, Path::new(TRAIL), &[], &[small]);
    assert_eq!(answers[0], expected);
    let whole = small.replace("('trail'))", "('trail'), sample_size = -1)");
    assert_eq!(duckdb(&python, &long, &[], &[&whole]), [expected]);
}

#[test]
fn what_is_not_whole_does_not_take_the_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("trail.parquet");
    fs::write(&file, "as it was").unwrap();
    for (signal, left_count) in [
        (Signal::SIGINT, 1),
        (Signal::SIGTERM, 1),
        (Signal::SIGKILL, 2),
    ] {
        let mut child = systrail()
            .args(["export", "--format", "parquet", "--log", "-", "--output"])
            .arg(&file)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        let line = super::start_line(1, 7, 7, 1, "x") + "\n";
        input.write_all(line.as_bytes()).unwrap();
        wait_for(|| count_of(directory.path()) == 2);
        let id = Pid::from_raw(i32::try_from(child.id()).unwrap());
        kill(id, signal).unwrap();
        // It looks after each event whether it was told to stop.
        while signal != Signal::SIGKILL && input.write_all(line.as_bytes()).is_ok() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        if signal != Signal::SIGKILL {
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(said.contains("trail.parquet is as it was"), "{said}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "as it was");
        assert_eq!(count_of(directory.path()), left_count, "{signal}");
    }
}

fn count_of(directory: &Path) -> usize {
    fs::read_dir(directory).unwrap().count()
}

fn wait_for(is_so_fn: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !is_so_fn() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A limit on the size of files is what a disk that fills is.
#[test]
fn a_disk_that_fills_leaves_nothing_under_the_name() {
    let directory = tempfile::tempdir().unwrap();
    for (format, file) in [("parquet", "trail.parquet"), ("jsonl", "trail.jsonl")] {
        let file = directory.path().join(file);
        let line = format!(
            "ulimit -f 4; exec {} export --format {format} --log {TRAIL} --output {}",
            env!("CARGO_BIN_EXE_systrail"),
            file.display()
        );
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("File too large"), "{said}");
        assert!(said.contains(&file.display().to_string()), "{said}");
        assert_eq!(count_of(directory.path()), 0);
    }
}

#[test]
fn an_export_to_a_file_is_what_is_printed_and_a_link_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("file"), directory.path().join("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        let path = path.to_str().unwrap();
        let output = output(["export", "--log", TRAIL, "--output", path]);
        assert!(output.status.success());
        let log = fs::read_to_string(TRAIL).unwrap();
        assert_eq!(fs::read_to_string(path).unwrap(), log);
    }
    assert!(link.is_symlink());
    assert_eq!(count_of(directory.path()), 2);
    let printed = output(["export", "--format", "parquet", "--log", TRAIL]).stdout;
    export(&["--log", TRAIL], &file);
    assert_eq!(fs::read(&file).unwrap(), printed);
    assert!(printed.starts_with(b"PAR1") && printed.ends_with(b"PAR1"));
}

#[test]
fn what_parquet_cannot_be_is_refused() {
    let store = Store::small();
    let said = store.refused(2, &["export", "--format", "parquet", "--follow"]);
    assert!(said.contains("once it has ended"), "{said}");
    let said = refused(2, ["export", "--time-unit", "us", "--log", TRAIL]);
    assert!(said.contains("--time-unit is of Parquet"), "{said}");
    let said = refused(2, ["export", "--log", TRAIL, "--output", "/dev/null"]);
    assert!(said.contains("no regular file"), "{said}");
    let said = refused(
        2,
        ["export", "--log", TRAIL, "-o", "/nowhere/trail.parquet"],
    );
    assert!(said.contains("name a file in a directory"), "{said}");
}

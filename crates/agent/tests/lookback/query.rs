//! `systrail query`: what it answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use systrail::query::EXAMPLES;
use systrail::store::views;

use super::{
    Store, TRAIL, assert_harmless, ended, lines_of_json, output, printed, refused, systrail,
};

#[test]
fn every_format_has_the_rows() {
    let store = Store::small();
    let sql = "SELECT process_id, exit_code, signal, command_line FROM processes \
               WHERE exit_code > 0 ORDER BY exit_time";
    assert_eq!(
        store.printed(&["query", sql]),
        "process_id  exit_code  signal  command_line\n\
         \x20     1012        139      11  cc1 two.c\n\
         \x20     1002          1          cc -c two.c\n\
         \x20     1000          2          make -j2 all\n"
    );
    assert_eq!(
        store.printed(&["query", sql, "--format", "csv"]),
        "process_id,exit_code,signal,command_line\n\
         1012,139,11,cc1 two.c\n1002,1,,cc -c two.c\n1000,2,,make -j2 all\n"
    );
    let rows = lines_of_json(&store.printed(&["query", sql, "--format", "jsonl"]));
    assert_eq!(rows.len(), 3);
    assert_eq!(
        rows[1],
        json!({"process_id": 1002, "exit_code": 1, "signal": null, "command_line": "cc -c two.c"})
    );
    let list = store.printed(&["query", sql, "--format", "json"]);
    assert_eq!(
        serde_json::from_str::<Value>(&list).unwrap(),
        Value::Array(rows)
    );
    // No row is still a table, a list, a heading.
    let none = "SELECT process_id FROM processes WHERE 0";
    assert_eq!(store.printed(&["query", none]), "process_id\n");
    assert_eq!(
        store.printed(&["query", none, "--format", "csv"]),
        "process_id\n"
    );
    let list = store.printed(&["query", none, "--format", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&list).unwrap(), json!([]));
}

/// As a recursive query it ran into its time limit.
#[test]
fn who_is_below_a_process_and_above_it_is_asked_of_a_function() {
    let store = Store::small();
    let keys = "SELECT process_id, process_key FROM processes";
    let keys = lines_of_json(&store.printed(&["query", keys, "--format", "jsonl"]));
    let key_of = |id: u64| {
        let found = keys.iter().find(|row| row["process_id"] == id);
        found.unwrap()["process_key"].as_str().unwrap().to_owned()
    };
    let (make, cc1) = (key_of(1000), key_of(1012));
    let asked = |sql: &str| store.printed(&["query", sql, "--format", "csv"]);
    let sql = format!("SELECT process_id, depth FROM ancestors('{cc1}')");
    assert_eq!(
        asked(&sql),
        "process_id,depth\n1002,1\n1000,2\n100,3\n1,4\n0,5\n"
    );
    let below = format!("SELECT process_key FROM descendants('{make}')");
    let sql =
        format!("SELECT process_id FROM processes WHERE +process_key IN ({below}) ORDER BY 1");
    let wanted = asked(&sql);
    assert_eq!(wanted, "process_id\n1001\n1002\n1011\n1012\n");
    // The key may come from another table, in whichever order SQLite joins them.
    for joined in ["descendants(m.process_key) AS d", "descendants AS d"] {
        let sql = format!(
            "SELECT d.process_id FROM {joined} JOIN processes AS m ON d.argument = m.process_key \
             WHERE m.process_id = 1000 ORDER BY 1"
        );
        assert_eq!(asked(&sql), wanted, "{joined}");
    }
    assert_eq!(
        asked("SELECT * FROM descendants(NULL)"),
        "process_key,process_id,depth\n"
    );
    for (sql, why) in [
        (
            "SELECT * FROM ancestors",
            "ancestors needs the key of a process",
        ),
        (
            "SELECT * FROM descendants('1000')",
            "which has 16 hex digits",
        ),
        ("SELECT * FROM descendants(1000)", "which has 16 hex digits"),
    ] {
        let said = store.refused(2, &["query", sql]);
        assert!(said.contains(why), "{sql}: {said}");
    }
}

#[test]
fn names_that_repeat_and_values_of_every_type_survive() {
    let store = Store::small();
    let sql = "SELECT 1 AS a, 2.5 AS a, x'00ff' AS b, NULL AS c, 'x,\"y\"' AS d";
    let rows = lines_of_json(&store.printed(&["query", sql, "--format", "jsonl"]));
    assert_eq!(
        rows[0],
        json!({"a": 1, "a:1": 2.5, "b": "00ff", "c": null, "d": "x,\"y\""})
    );
    let csv = store.printed(&["query", sql, "--format", "csv"]);
    assert_eq!(csv, "a,a,b,c,d\n1,2.5,00ff,,\"x,\"\"y\"\"\"\n");
}

/// Rows of JSON came with their names sorted: `account` first, `kind` in the middle.
#[test]
fn json_has_its_columns_in_the_order_of_the_query() {
    let store = Store::small();
    let sql = "SELECT 'b' AS z, 1 AS a, NULL AS m";
    let row = "{\"z\":\"b\",\"a\":1,\"m\":null}";
    let lines = store.printed(&["query", sql, "--format", "jsonl"]);
    assert_eq!(lines, format!("{row}\n"));
    let list = store.printed(&["query", sql, "--format", "json"]);
    assert_eq!(list, format!("[\n{row}\n]\n"));
}

#[test]
fn a_hostile_name_reaches_no_terminal() {
    let store = Store::small();
    let sql = "SELECT execs, command_line FROM processes";
    let all = "SELECT image, command_line, arguments FROM events";
    for sql in [sql, all] {
        for format in ["table", "json", "jsonl"] {
            let text = store.printed(&["query", sql, "--format", format]);
            assert!(text.contains("evil"), "{text}");
            assert_harmless(&text);
        }
    }
}

#[test]
fn counts_by_kind_are_those_of_the_log() {
    let store = Store::small();
    let sql = "SELECT kind, count(*) AS events FROM events GROUP BY kind";
    let counted: BTreeMap<String, u64> =
        lines_of_json(&store.printed(&["query", sql, "--format=jsonl"]))
            .iter()
            .map(|row| {
                (
                    row["kind"].as_str().unwrap().to_owned(),
                    row["events"].as_u64().unwrap(),
                )
            })
            .collect();
    let mut logged = BTreeMap::new();
    for event in lines_of_json(&fs::read_to_string(TRAIL).unwrap()) {
        *logged
            .entry(event["kind"].as_str().unwrap().to_owned())
            .or_insert(0) += 1;
    }
    assert_eq!(counted, logged);
}

#[test]
fn bounds_of_time_are_put_under_every_view() {
    let store = Store::small();
    let count = |view: &str, bounds: &[&str]| -> u64 {
        let sql = format!("SELECT count(*) AS n FROM {view}");
        let arguments = ["query", &sql, "--format=jsonl"]
            .into_iter()
            .chain(bounds.iter().copied());
        let arguments: Vec<&str> = arguments.collect();
        lines_of_json(&store.printed(&arguments))[0]["n"]
            .as_u64()
            .unwrap()
    };
    let first = ["--until=2026-01-01T00:00:02Z"];
    let rest = ["--since=2026-01-01T00:00:02Z"];
    for view in ["events", "images", "losses"] {
        assert_eq!(
            count(view, &first) + count(view, &rest),
            count(view, &[]),
            "{view}"
        );
    }
    assert_eq!(count("losses", &first), 0);
    assert_eq!(count("losses", &rest), 1);
    // Processes that were there: the build is over by then.
    assert_eq!(count("processes", &rest), 5);
    assert_eq!(count("processes", &first), 8);
    assert_eq!(count("threads", &rest), 1, "a thread whose exit nobody saw");
    assert_eq!(count("processes", &["--last-run"]), 5);
    // Its snapshot apart, whose processes started long before.
    assert_eq!(count("events", &["--last-run"]), 4);
    let said = store.refused(2, &["query", "SELECT 1", "--since=2m", "--until=3m"]);
    assert!(said.contains("--until is not after --since"), "{said}");
    let said = store.refused(2, &["query", "SELECT 1", "--since=soon"]);
    assert!(said.contains("write how long ago"), "{said}");
}

#[test]
fn schema_tells_the_columns_there_are() {
    let store = Store::small();
    let schema = printed(["query", "--schema"]);
    for view in views() {
        let sql = format!("SELECT * FROM {}", view.name);
        let csv = store.printed(&["query", &sql, "--format=csv"]);
        let heading: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
        let told = schema
            .split("\n\n")
            .find(|told| told.starts_with(view.name))
            .unwrap();
        let told: Vec<&str> = told
            .lines()
            .skip(1)
            .map(|line| line.split_whitespace().next().unwrap())
            .collect();
        assert_eq!(told, heading, "{}", view.name);
    }
}

/// The tables of the guide come from the views: `UPDATE_DOCS=1 cargo test the_guide_has` writes them.
#[test]
fn the_guide_has_every_view_and_column_with_what_it_is() {
    const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/QUERY.md");
    let guide = fs::read_to_string(GUIDE).unwrap();
    let mut wanted = guide.clone();
    for view in views() {
        let heading = format!("### `{}`\n", view.name);
        let (before, rest) = wanted.split_once(&heading).expect(view.name);
        let (prose, rows) = rest.split_once("|---|---|\n").expect(view.name);
        let end = rows.find("\n\n").map_or(rows.len(), |end| end + 1);
        let mut told = String::new();
        for column in &view.columns {
            let about = column.about.replace('|', "/");
            writeln!(told, "| `{}` | {about} |", column.name).unwrap();
        }
        wanted = format!("{before}{heading}{prose}|---|---|\n{told}{}", &rows[end..]);
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(GUIDE, &wanted).unwrap();
    }
    assert!(guide == wanted, "set UPDATE_DOCS=1, and test again");
}

#[test]
fn every_example_answers() {
    let store = Store::small();
    let examples = printed(["query", "--examples"]);
    assert!(EXAMPLES.len() >= 12);
    for example in EXAMPLES {
        assert!(examples.contains(example.sql), "{}", example.sql);
        store.printed(&["query", example.sql]);
    }
    // And those that can find something in this trail do.
    let rows = |sql: &str| store.printed(&["query", sql]).lines().count() - 1;
    let finds = EXAMPLES
        .iter()
        .filter(|example| rows(example.sql) > 0)
        .count();
    assert!(finds >= 11, "{finds} of {}", EXAMPLES.len());
}

#[test]
fn what_is_mistyped_gets_a_suggestion_and_exit_code_2() {
    let store = Store::small();
    let cases = [
        (
            "SELECT comand_line FROM events",
            "did you mean command_line?",
        ),
        (
            "SELECT e.proces_id FROM events AS e",
            "did you mean process_id?",
        ),
        ("SELECT * FROM proceses", "did you mean processes?"),
        ("SELECT pid FROM events", "did you mean process_id?"),
        (
            "SELECT e.PPID FROM events e",
            "did you mean parent_process_id?",
        ),
        ("SELECT xy FROM events", "--schema has the columns"),
        (
            "SELECT * FROM wardrobe",
            "there are events, processes, threads",
        ),
        (
            "SELECT lost_count FROM threads",
            "it is a column of events, losses",
        ),
        ("SELECT zzzzzzzz FROM events", "--schema has the columns"),
        ("SELEC 1", "syntax error; a query is SQL"),
        ("SELECT nosuch(1)", "no such function"),
        ("", "there is no query"),
        ("/* nothing */", "there is no query"),
        ("SELECT 1; SELECT 2", "one at a time"),
    ];
    for (sql, expected) in cases {
        let said = store.refused(2, &["query", sql]);
        assert!(said.contains(expected), "{sql}: {said}");
    }
    let said = refused(2, ["query"]);
    assert!(said.contains("there is no query; give one"), "{said}");
}

/// It gave no rows, or all, without a word.
#[test]
fn a_time_is_compared_as_a_time_and_told_of_where_it_is_taken_for_something_else() {
    let store = Store::small();
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) FROM events WHERE {condition}");
        let asked = output(["query", &sql, "--format", "jsonl", "--store", store.path()]);
        assert_eq!(asked.status.code(), Some(0));
        let said = String::from_utf8(asked.stderr).unwrap();
        let rows = lines_of_json(&String::from_utf8(asked.stdout).unwrap());
        (rows[0]["count(*)"].as_u64().unwrap(), said)
    };
    let (by_number, _) = count("time >= unixepoch('2026-01-01T00:00:02Z') * 1000000000");
    let (rows, said) = count("time >= '2026-01-01T00:00:02Z'");
    assert!(rows > 0 && said.is_empty(), "{said}");
    assert_eq!(rows, by_number);
    let (rows, _) = count("time BETWEEN '2026-01-01' AND '2026-01-01 00:00:02'");
    assert!(rows > 0);
    let (rows, said) = count("time > 'two seconds after'");
    assert_eq!(rows, 0);
    assert!(
        said.contains("time is a number") && said.contains("no time"),
        "{said}"
    );
    let (rows, said) = count("datetime(time) > '2000'");
    assert_eq!(rows, 0);
    assert!(said.contains("give it time_text"), "{said}");
    let (rows, right) = count("datetime(time_text) > '2000'");
    assert!(rows > 0 && right.is_empty(), "{right}");
}

/// clap took it for a flag, and gave a tip about `--`.
#[test]
fn how_long_ago_may_have_a_sign() {
    let store = Store::small();
    let commands: [&[&str]; 4] = [
        &["query", "SELECT 1", "--since", "-10m"],
        &["tree", "--until", "-10m"],
        &["export", "--since", "-10m"],
        &["export", "--since=-10m"],
    ];
    for command in commands {
        let mut command = command.to_vec();
        command.extend(["--store", store.path()]);
        let asked = output(&command);
        let said = String::from_utf8(asked.stderr).unwrap();
        assert_eq!(asked.status.code(), Some(0), "{command:?}: {said}");
    }
    let said = refused(2, ["show", "1", "--at", "-10"]);
    assert!(
        said.contains("`-10` is no time; write how long ago"),
        "{said}"
    );
}

#[test]
fn without_a_store_the_directory_and_the_cure_are_named() {
    let said = refused(1, ["query", "SELECT 1", "--store", "/no/such/store"]);
    assert!(
        said.contains("/no/such/store") && said.contains("systrail run"),
        "{said}"
    );
    for command in ["tree", "export"] {
        let said = refused(1, [command, "--store", "/no/such/store"]);
        assert!(said.contains("/no/such/store"), "{said}");
    }
}

#[test]
fn a_query_may_come_from_standard_input() {
    let store = Store::small();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("query.sql");
    fs::write(&path, "SELECT count(*) AS n\nFROM losses;\n").unwrap();
    let asked = systrail()
        .args(["query", "-", "--store", store.path()])
        .stdin(fs::File::open(&path).unwrap())
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "n\n1\n");
}

#[test]
fn it_answers_while_run_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let store = directory.path().join("store");
    let store = store.to_str().unwrap();
    let mut recorder = systrail()
        .args(["run", "--no-log", "--store", store])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(recorder.stderr.take().unwrap());
    let mut line = String::new();
    while line != "systrail: recording\n" {
        line.clear();
        if said.read_line(&mut line).unwrap() == 0 {
            assert_eq!(ended(&mut recorder).code(), Some(4));
            return;
        }
    }
    let child = Command::new("/bin/sh")
        .args(["-c", "exit 23"])
        .spawn()
        .unwrap();
    let id = child.id();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(23));
    let sql = format!(
        "SELECT exit_code, command_line FROM processes WHERE process_id = {id} AND exit_code = 23"
    );
    let began = Instant::now();
    let answer = loop {
        let asked = output(["query", &sql, "--format=csv", "--store", store]);
        let answer = String::from_utf8(asked.stdout).unwrap();
        if answer.lines().count() > 1 {
            break answer;
        }
        // A second by contract; more where a test shares the machine with many.
        assert!(began.elapsed() < Duration::from_secs(20), "{answer}");
    };
    assert_eq!(answer, "exit_code,command_line\n23,/bin/sh -c exit 23\n");
    let recorder_id = Pid::from_raw(recorder.id().try_into().unwrap());
    kill(recorder_id, Signal::SIGTERM).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(ended(&mut recorder).code(), Some(0), "{rest}");
}

/// How SQLite will answer.
fn plan(store: &Store, sql: &str, bounds: &[&str]) -> String {
    let sql = format!("EXPLAIN QUERY PLAN {sql}");
    let arguments = ["query", &sql, "--format=csv"]
        .into_iter()
        .chain(bounds.iter().copied());
    let arguments: Vec<&str> = arguments.collect();
    store.printed(&arguments)
}

#[test]
fn a_point_question_is_answered_by_indexes() {
    let store = Store::small();
    let bounds: [&[&str]; 2] = [&[], &["--since=2026-01-01T00:00:00Z"]];
    // A scan of one of these reads every event of a kind.
    let tables = ["e", "o", "p", "s", "x", "process", "strings"];
    let questions = [
        "SELECT * FROM processes WHERE process_id = 1012",
        "SELECT * FROM processes WHERE process_key = 'a0000000000003f4'",
        "SELECT * FROM processes WHERE process_id = 1012 AND start_time < 1800000000000000000",
        "SELECT * FROM processes WHERE process_key IN ('a0000000000003f4', 'a0000000000003f3')",
        "SELECT * FROM events WHERE process_key = 'a0000000000003f4'",
        "SELECT * FROM events WHERE time BETWEEN 1 AND 2",
        "SELECT * FROM images WHERE process_id = 1012 ORDER BY time",
        "SELECT * FROM threads WHERE process_key = 'a0000000000003f4'",
    ];
    for sql in questions {
        for bounds in bounds {
            let plan = plan(&store, sql, bounds);
            let scans = plan.lines().filter(|line| {
                let table = line.split_once("SCAN ").map(|(_, what)| what);
                let table = table.and_then(|what| what.split(' ').next());
                table.is_some_and(|table| tables.contains(&table)) && !line.contains("USING")
            });
            // The few losses and restarts, which are events too, have no index by process.
            let allowed = usize::from(sql.contains("FROM events WHERE process"));
            assert!(scans.count() <= allowed, "{sql} {bounds:?}:\n{plan}");
        }
    }
}

#[test]
fn a_segment_that_cannot_be_read_is_told_and_the_others_answer() {
    let store = Store::small();
    fs::write(
        store.directory.path().join("20200101T000000.000Z.sqlite"),
        "no database",
    )
    .unwrap();
    let asked = output([
        "query",
        "SELECT count(*) AS n FROM losses",
        "--store",
        store.path(),
    ]);
    assert_eq!(asked.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&asked.stdout), "n\n1\n");
    let said = String::from_utf8_lossy(&asked.stderr);
    assert!(
        said.starts_with("systrail: passed over: ") && said.contains("20200101"),
        "{said}"
    );
}

/// SQLite quotes the schema it cannot read, which is whoever's who made the file.
#[test]
fn what_is_said_about_a_hostile_segment_cannot_reach_the_terminal() {
    let store = Store::small();
    let segment = fs::read_dir(store.directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "sqlite")
        })
        .unwrap();
    let connection = rusqlite::Connection::open(segment).unwrap();
    connection
        .execute_batch(
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_master SET name = char(27) || ']0;owned' || char(7), sql = 'CREATE VIEW'
             WHERE name = 'losses'",
        )
        .unwrap();
    drop(connection);
    for command in ["query", "tree", "export"] {
        let arguments = match command {
            "query" => vec![command, "SELECT 1", "--store", store.path()],
            _ => vec![command, "--store", store.path()],
        };
        let said = output(arguments).stderr;
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("owned"), "{said}");
        assert_harmless(&said);
    }
}

/// SQLite has the word, and said `no such function: REGEXP`.
#[test]
fn texts_are_looked_through_with_regular_expressions() {
    let store = Store::small();
    let of = |expression: &str| {
        let sql = format!("SELECT {expression} AS is_match");
        let rows = lines_of_json(&store.printed(&["query", &sql, "--format=jsonl"]));
        rows[0]["is_match"].clone()
    };
    for (expression, is_match) in [
        (
            "'curl x | sh' REGEXP '\\bcurl\\b.*\\|\\s*(ba)?sh$'",
            Some(1),
        ),
        ("'curls' REGEXP '\\bcurl\\b'", Some(0)),
        ("'ÄRGER' REGEXP '(?i)^\\wrger$'", Some(1)),
        ("regexp('^4', 42)", Some(1)),
        ("regexp('a', x'6261ff')", Some(1)),
        ("'a' NOT REGEXP 'a'", Some(0)),
        ("'' REGEXP ''", Some(1)),
        ("NULL REGEXP 'a'", None),
        ("'a' REGEXP NULL", None),
    ] {
        let expected = is_match.map_or(Value::Null, |is_match: i64| is_match.into());
        assert_eq!(of(expression), expected, "{expression}");
    }
    // A pattern of each row's own is compiled anew.
    let both =
        "SELECT count(*) AS n FROM (SELECT 'a' AS p UNION ALL SELECT 'b') WHERE 'xb' REGEXP p";
    let rows = lines_of_json(&store.printed(&["query", both, "--format=jsonl"]));
    assert_eq!(rows[0]["n"], 1);
    let count = |condition: &str| {
        let sql = format!("SELECT count(*) AS n FROM processes WHERE {condition}");
        let rows = lines_of_json(&store.printed(&["query", &sql, "--format=jsonl"]));
        rows[0]["n"].as_u64().unwrap()
    };
    let alike = "image LIKE '/usr/bin/%'";
    assert!(count(alike) > 0);
    assert_eq!(count("image REGEXP '^/usr/bin/'"), count(alike));
}

#[test]
fn a_pattern_that_is_none_or_too_large_is_told_so() {
    let store = Store::small();
    let long = format!("'a' REGEXP '{}'", "a".repeat(5_000));
    for (expression, reason) in [
        (
            "'a' REGEXP 'a('",
            "the pattern of REGEXP is none: unclosed group",
        ),
        ("'a' REGEXP '(?=a)'", "look-around"),
        ("'a' REGEXP 1", "the pattern of REGEXP is not a text"),
        (
            "'a' REGEXP '(\\w{100}){100}'",
            "too large when it is compiled",
        ),
        (&long, "longer than 4096 bytes"),
    ] {
        let said = store.refused(2, &["query", &format!("SELECT {expression}")]);
        assert!(said.contains(reason), "{expression}: {said}");
    }
}

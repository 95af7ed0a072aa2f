//! `systrail export`: every event, every field, under names the schemas have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Map, Value};
use systrail::trail::schema;

use super::{Store, TRAIL, assert_harmless, ended, lines_of_json, output, printed, systrail};

/// A list of a schema's names with their types, and which are required.
struct Schema {
    types: BTreeMap<&'static str, &'static str>,
    required: BTreeSet<&'static str>,
}

impl Schema {
    fn read(text: &'static str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let words: Vec<Vec<&str>> = lines.map(|line| line.split(' ').collect()).collect();
        Self {
            types: words.iter().map(|words| (words[0], words[1])).collect(),
            required: words
                .iter()
                .filter(|words| words.get(2) == Some(&"required"))
                .map(|words| words[0])
                .collect(),
        }
    }

    fn check(&self, path: &str, value: &Value) {
        let expected = self.types.get(path);
        let expected = expected.unwrap_or_else(|| panic!("the schema has no {path}"));
        let fits = match *expected {
            "keyword" | "wildcard" | "match_only_text" | "string" => value.is_string(),
            "long" | "integer" => value.is_u64(),
            // Milliseconds since 1970, of this century.
            "timestamp" => value
                .as_u64()
                .is_some_and(|ms| (946_684_800_000..4_102_444_800_000).contains(&ms)),
            "date" | "datetime" => value
                .as_str()
                .is_some_and(|text| text.parse::<jiff::Timestamp>().is_ok() && text.ends_with('Z')),
            "keyword[]" | "string[]" => value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string)),
            "object[]" => value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_object)),
            "boolean" => value.is_boolean(),
            other => panic!("{other} is no type"),
        };
        assert!(fits, "{path} is no {expected}: {value}");
    }
}

/// Every value that is no object, with its path.
pub(crate) fn leaves(object: &Map<String, Value>) -> Vec<(String, &Value)> {
    let mut found = Vec::new();
    for (name, value) in object {
        if let Value::Object(inner) = value {
            let inner = leaves(inner).into_iter();
            found.extend(inner.map(|(path, value)| (format!("{name}.{path}"), value)));
        } else {
            found.push((name.clone(), value));
        }
    }
    found
}

/// The events of the small trail, each with its export.
fn exported(format: &str) -> Vec<(Value, Value)> {
    let text = printed(["export", "--format", format, "--log", TRAIL]);
    assert_harmless(&text);
    let events = lines_of_json(&fs::read_to_string(TRAIL).unwrap());
    let exported = lines_of_json(&text);
    assert_eq!(events.len(), exported.len());
    events.into_iter().zip(exported).collect()
}

/// What is ours apart, every name must be the schema's.
fn theirs(mut exported: Value, ours: &str) -> (Map<String, Value>, Map<String, Value>) {
    let object = exported.as_object_mut().unwrap();
    let ours = match object.remove(ours) {
        Some(Value::Object(ours)) => ours,
        None => Map::new(),
        Some(other) => panic!("{other}"),
    };
    (object.clone(), ours)
}

/// Every value of an event that is in neither part of its export.
fn forgotten(event: &Value, theirs: &Map<String, Value>, ours: &Map<String, Value>) -> Vec<String> {
    let text = |value: &Value| value.to_string().trim_matches('"').to_owned();
    let there: BTreeSet<String> = leaves(theirs)
        .into_iter()
        .map(|(_, value)| text(value))
        .collect();
    let fields = event.as_object().unwrap().iter();
    let lost =
        fields.filter(|(name, value)| !ours.contains_key(*name) && !there.contains(&text(value)));
    lost.map(|(name, _)| name.clone()).collect()
}

#[test]
fn every_ecs_name_and_type_is_the_schemas() {
    let schema = Schema::read(include_str!("ecs.fields"));
    for (event, exported) in exported("ecs") {
        let (theirs, ours) = theirs(exported, "systrail");
        for (path, value) in leaves(&theirs) {
            schema.check(&path, value);
        }
        assert_eq!(forgotten(&event, &theirs, &ours), [""; 0], "{event}");
    }
}

#[test]
fn ecs_categories_are_those_of_the_event() {
    let categories = |kind: &str, existing: bool| -> (Value, Value) {
        let (_, exported) = exported("ecs")
            .into_iter()
            .find(|(event, _)| event["kind"] == kind && event["existing"] == existing)
            .or_else(|| {
                exported("ecs")
                    .into_iter()
                    .find(|(event, _)| event["kind"] == kind)
            })
            .unwrap();
        let actions = ["exec", "fork", "end", "already_running"];
        let action = exported["event"]["action"].as_str().unwrap();
        if kind.starts_with("process_") {
            assert!(actions.contains(&action), "{action}");
            assert_eq!(exported["systrail"]["kind"], kind);
        } else {
            assert_eq!(action, kind);
        }
        (
            exported["event"]["category"][0].clone(),
            exported["event"]["type"][0].clone(),
        )
    };
    assert_eq!(
        categories("process_start", false),
        ("process".into(), "start".into())
    );
    assert_eq!(
        categories("process_start", true),
        ("process".into(), "info".into())
    );
    assert_eq!(
        categories("process_exit", false),
        ("process".into(), "end".into())
    );
    assert_eq!(
        categories("image_load", false),
        ("library".into(), "start".into())
    );
    assert_eq!(categories("lost", false), ("host".into(), "info".into()));
}

// Of 262 of Elastic's rules for processes on Linux none could be asked of an export: they want the
// system, their own words for what a process did, and its parent.
#[test]
fn an_ecs_exec_has_what_rules_ask_for() {
    const LINE: &str = r#"{"sequence":7,"time":"2026-01-01T00:00:01.002000000Z","kind":"process_exec","host":"h","process_id":1000,"process_key":"a0000000000003e8","image":"/usr/bin/make","command_line":"make -j2","arguments":["make","-j2"],"user":"ada","user_id":1000,"parent_image":"/usr/bin/bash","parent_command_line":"bash build.sh","parent_user":"ada","cgroup":"/docker/c0ffee","container_id":"c0ffee","systemd_unit":"a.service"}"#;
    is_exported_as(LINE, &ECS, &OCSF);
}

/// The line in each format has nothing that its schema has not, forgets nothing, and has these texts.
fn is_exported_as(line: &str, ecs: &[(&str, &str)], ocsf: &[(&str, &str)]) {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    fs::write(&log, line).unwrap();
    let event: Value = serde_json::from_str(line).unwrap();
    for (format, ours, fields, names) in [
        ("ecs", "systrail", include_str!("ecs.fields"), ecs),
        ("ocsf", "unmapped", include_str!("ocsf.fields"), ocsf),
    ] {
        let text = printed(["export", "--format", format, "--log", log.to_str().unwrap()]);
        let (exported, ours) = theirs(lines_of_json(&text).remove(0), ours);
        let schema = Schema::read(fields);
        for (path, value) in leaves(&exported) {
            schema.check(&path, value);
        }
        assert_eq!(forgotten(&event, &exported, &ours), [""; 0], "{event}");
        let exported = Value::Object(exported);
        for (path, expected) in names {
            let found = exported.pointer(path).and_then(Value::as_str);
            assert_eq!(found, Some(*expected), "{format} {path}");
        }
    }
}

const ECS: [(&str, &str); 12] = [
    ("/host/os/type", "linux"),
    ("/event/action", "exec"),
    ("/event/type/0", "start"),
    ("/event/category/0", "process"),
    ("/process/name", "make"),
    ("/process/executable", "/usr/bin/make"),
    ("/process/args/1", "-j2"),
    ("/process/parent/name", "bash"),
    ("/process/parent/executable", "/usr/bin/bash"),
    ("/process/parent/command_line", "bash build.sh"),
    ("/process/parent/user/name", "ada"),
    ("/container/id", "c0ffee"),
];

const OCSF: [(&str, &str); 4] = [
    ("/process/parent_process/path", "/usr/bin/bash"),
    ("/process/parent_process/cmd_line", "bash build.sh"),
    ("/process/parent_process/user/name", "ada"),
    ("/process/container/uid", "c0ffee"),
];

/// Hashes are a list in OCSF, and what tells them later is of a file.
#[test]
fn hashes_are_where_each_schema_has_them() {
    const EXEC: &str = r#"{"sequence":8,"time":"2026-01-01T00:00:01.002000000Z","kind":"process_exec","host":"h","process_id":1000,"process_key":"a000000000001000","image":"/bin/x","command_line":"x","arguments":["x"],"user":"root","user_id":0,"session_id":1,"sha256":"ab01","build_id":"cd"}"#;
    const DETAILS: &str = r#"{"sequence":9,"time":"2026-01-01T00:00:01.002000000Z","kind":"image_details","host":"h","process_id":1000,"process_key":"a000000000001000","image":"/bin/x","device":"8:1","inode":7,"change_time_ns":1763827199000000007,"file_size":4096,"sha256":"ab01"}"#;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    fs::write(&log, format!("{EXEC}\n{DETAILS}\n")).unwrap();
    let export = |format: &str, ours: &str, fields: &'static str| -> Vec<Value> {
        let text = printed(["export", "--format", format, "--log", log.to_str().unwrap()]);
        let schema = Schema::read(fields);
        let all = lines_of_json(&text).into_iter().map(|line| {
            let (exported, ours) = theirs(line, ours);
            for (path, value) in leaves(&exported) {
                schema.check(&path, value);
            }
            assert!(!ours.contains_key("sha256"), "{ours:?}");
            Value::Object(exported)
        });
        all.collect()
    };
    let ecs = export("ecs", "systrail", include_str!("ecs.fields"));
    assert_eq!(ecs[0]["process"]["hash"]["sha256"], "ab01");
    assert_eq!(ecs[1]["file"]["hash"]["sha256"], "ab01");
    assert_eq!(ecs[1]["file"]["name"], "x");
    assert_eq!(ecs[1]["event"]["category"][0], "file");
    let ocsf = export("ocsf", "unmapped", include_str!("ocsf.fields"));
    for (event, holder) in ocsf.iter().zip(["process", "module"]) {
        let hashes = &event[holder]["file"]["hashes"];
        assert_eq!(hashes.as_array().map(Vec::len), Some(1));
        assert_eq!(
            (&hashes[0]["algorithm_id"], &hashes[0]["value"]),
            (&3.into(), &"ab01".into())
        );
    }
}

#[test]
fn a_detection_is_an_alert_and_a_finding() {
    const LINE: &str = r#"{"sequence":8,"time":"2026-01-01T00:00:01.002000000Z","kind":"detection","host":"h","process_id":1000,"process_key":"a0000000000003e8","matched_sequence":7,"rule_id":"r-1","rule_title":"A shell","rule_level":"high","rule_author":"Ada","rule_tags":["attack.execution"]}"#;
    is_exported_as(LINE, &ECS_ALERT, &OCSF_FINDING);
}

const ECS_ALERT: [(&str, &str); 5] = [
    ("/event/kind", "alert"),
    ("/event/category/0", "intrusion_detection"),
    ("/rule/id", "r-1"),
    ("/rule/name", "A shell"),
    ("/rule/author", "Ada"),
];

const OCSF_FINDING: [(&str, &str); 5] = [
    ("/class_name", "Detection Finding"),
    ("/category_name", "Findings"),
    ("/severity", "High"),
    ("/finding_info/uid", "r-1"),
    ("/evidences/0/process/uid", "a0000000000003e8"),
];

#[test]
fn an_ecs_process_is_told_in_the_words_of_rules() {
    let exported = exported("ecs");
    for (kind, action) in [("process_start", "fork"), ("process_exit", "end")] {
        let is_it = |event: &Value| event["kind"] == kind && event["existing"] != true;
        let (_, found) = exported.iter().find(|(event, _)| is_it(event)).unwrap();
        assert_eq!(found["event"]["action"], action);
        assert_eq!(found["host"]["os"]["type"], "linux");
        assert_eq!(found["systrail"]["kind"], kind);
    }
}

#[test]
fn an_ecs_exit_has_what_a_dashboard_asks_for() {
    let (_, exit) = exported("ecs")
        .into_iter()
        .find(|(event, _)| event["kind"] == "process_exit" && event["exit_code"] == 139)
        .unwrap();
    assert_eq!(exit["@timestamp"], "2026-01-01T00:00:01.060000000Z");
    assert_eq!(exit["process"]["entity_id"], "a0000000000003f4");
    assert_eq!(exit["process"]["exit_code"], 139);
    assert_eq!(exit["process"]["executable"], "/usr/libexec/cc1");
    assert_eq!(exit["process"]["name"], "cc1");
    assert_eq!(exit["event"]["duration"], 46_000_000);
    assert_eq!(exit["systrail"]["signal"], 11);
}

#[test]
fn every_ocsf_name_and_type_is_the_schemas_and_nothing_required_lacks() {
    let schema = Schema::read(include_str!("ocsf.fields"));
    for (event, exported) in exported("ocsf") {
        let (theirs, ours) = theirs(exported, "unmapped");
        let leaves = leaves(&theirs);
        let paths: BTreeSet<&str> = leaves.iter().map(|(path, _)| path.as_str()).collect();
        for (path, value) in &leaves {
            schema.check(path, value);
        }
        for required in &schema.required {
            // Of an object that is not there, nothing is required.
            let holder = required.rsplit_once('.').map_or("", |(holder, _)| holder);
            let is_asked = holder.is_empty()
                || paths
                    .iter()
                    .any(|path| path.starts_with(&format!("{holder}.")));
            assert!(
                !is_asked || paths.contains(required),
                "{required} is not there: {event}"
            );
        }
        let class = theirs["class_uid"].as_u64().unwrap();
        let needed: &[&str] = match class {
            1007 => &[
                "process.pid",
                "process.uid",
                "actor.process.pid",
                "device.hostname",
            ],
            1005 => &[
                "actor.process.pid",
                "actor.process.uid",
                "module.load_type_id",
            ],
            _ => &["message"],
        };
        for needed in needed {
            assert!(paths.contains(needed), "{needed} is not there: {event}");
        }
        let type_uid = class * 100 + theirs["activity_id"].as_u64().unwrap();
        assert_eq!(theirs["type_uid"], type_uid);
        assert_eq!(theirs["category_uid"], u64::from(class > 0));
        assert_eq!(forgotten(&event, &theirs, &ours), [""; 0], "{event}");
    }
}

#[test]
fn the_machines_id_and_its_system_have_names_in_the_schemas() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    let line = r#"{"sequence":1,"time":"2026-01-01T00:00:00.000000000Z","kind":"sensor_start","host":"h","host_id":"00112233445566778899aabbccddeeff","run":1767225600000000000,"process_id":1,"process_key":"0000000000000001","source":"ebpf","version":"0.1.0","system":"linux"}"#;
    fs::write(&log, line).unwrap();
    let export = |format, ours| {
        let text = printed(["export", "--format", format, "--log", log.to_str().unwrap()]);
        theirs(lines_of_json(&text).remove(0), ours)
    };
    let (ecs, ours) = export("ecs", "systrail");
    assert_eq!(ecs["host"]["id"], "00112233445566778899aabbccddeeff");
    assert_eq!(ecs["host"]["os"]["type"], "linux");
    assert_eq!(ours["run"], 1_767_225_600_000_000_000_u64);
    let schema = Schema::read(include_str!("ecs.fields"));
    for (path, value) in leaves(&ecs) {
        schema.check(&path, value);
    }
    let (ocsf, unmapped) = export("ocsf", "unmapped");
    assert_eq!(ocsf["device"]["uid"], "00112233445566778899aabbccddeeff");
    assert_eq!(unmapped["system"], "linux");
    assert!(unmapped.contains_key("run"));
}

#[test]
fn ocsf_activities_are_those_of_the_event() {
    let of: Vec<(String, u64, u64)> = exported("ocsf")
        .into_iter()
        .map(|(event, exported)| {
            let number = |name: &str| exported[name].as_u64().unwrap();
            (
                event["kind"].as_str().unwrap().to_owned(),
                number("class_uid"),
                number("activity_id"),
            )
        })
        .collect();
    let has =
        |kind: &str, class: u64, activity: u64| of.contains(&(kind.to_owned(), class, activity));
    assert!(has("process_start", 1007, 1) && has("process_start", 1007, 99));
    assert!(has("process_exec", 1007, 1) && has("process_exit", 1007, 2));
    assert!(has("thread_start", 1007, 99) && has("thread_exit", 1007, 99));
    assert!(has("image_load", 1005, 1) && has("image_load", 1005, 99));
    assert!(has("lost", 0, 99) && has("sensor_stop", 0, 99));
}

#[test]
fn json_lines_are_the_log_and_a_store_exports_what_it_was_given() {
    let log = fs::read_to_string(TRAIL).unwrap();
    assert_eq!(printed(["export", "--log", TRAIL]), log);
    let store = Store::small();
    assert_eq!(store.printed(&["export"]), log);
    for format in ["csv", "ecs", "ocsf"] {
        let of_log = printed(["export", "--format", format, "--log", TRAIL]);
        assert_eq!(store.printed(&["export", "--format", format]), of_log);
    }
}

#[test]
fn csv_has_a_column_a_field_and_a_row_an_event() {
    let csv = printed(["export", "--format", "csv", "--log", TRAIL]);
    let mut lines = csv.lines();
    assert_eq!(
        lines.next().unwrap().split(',').collect::<Vec<_>>(),
        schema::names()
    );
    let make = csv
        .lines()
        .find(|line| line.contains("make -j2 all"))
        .unwrap();
    assert!(
        make.contains(",make -j2 all,,\"[\"\"make\"\",\"\"-j2\"\",\"\"all\"\"]\","),
        "{make}"
    );
    let events = fs::read_to_string(TRAIL).unwrap().lines().count();
    // One argument has a line feed in it, which CSV keeps in quotes.
    assert_eq!(csv.lines().count(), events + 1 + extra_lines(&csv));
}

/// Line feeds inside quotes.
fn extra_lines(csv: &str) -> usize {
    let mut is_quoted = false;
    csv.chars()
        .filter(|character| {
            is_quoted ^= *character == '"';
            *character == '\n' && is_quoted
        })
        .count()
}

#[test]
fn a_window_bounds_an_export() {
    let store = Store::small();
    let window = [
        "export",
        "--since=2026-01-01T00:00:02Z",
        "--until=2026-01-01T00:00:03Z",
    ];
    let loss = store.printed(&window);
    assert_eq!(lines_of_json(&loss).len(), 1, "{loss}");
    assert!(loss.contains("\"lost_count\":5"), "{loss}");
    assert_eq!(printed(window.into_iter().chain(["--log", TRAIL])), loss);
}

/// An export that follows, and what it prints.
struct Following(Child, BufReader<ChildStdout>);

impl Following {
    fn begin(store: &Store, arguments: &[&str]) -> Self {
        let mut command = systrail();
        command
            .args(["export", "--follow", "--store"])
            .arg(store.path());
        let mut child = command
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self(child, out)
    }

    fn lines(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            assert!(self.1.read_line(&mut text).unwrap() > 0, "{text}");
        }
        text
    }

    /// It has printed no more than was read.
    fn end(mut self) {
        let id = i32::try_from(self.0.id()).unwrap();
        let signal = nix::sys::signal::Signal::SIGTERM;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), signal).unwrap();
        let mut rest = String::new();
        std::io::Read::read_to_string(&mut self.1, &mut rest).unwrap();
        assert_eq!((ended(&mut self.0).code(), &*rest), (Some(0), ""));
    }
}

/// Whoever wanted it as it comes had to ask again and again, and to find out where he was.
#[test]
fn an_export_that_follows_goes_on_with_what_is_recorded() {
    let store = Store::small();
    let trail = fs::read_to_string(TRAIL).unwrap();
    let count = trail.lines().count();
    let mut all = Following::begin(&store, &[]);
    assert_eq!(all.lines(count), trail);
    // Nothing is so late.
    let mut later = Following::begin(&store, &["--since", "2100-01-01T00:00:00Z"]);

    let directory = tempfile::tempdir().unwrap();
    let more = directory.path().join("more.jsonl");
    let line = trail.lines().next().unwrap();
    let time = line
        .split("\"time\":\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let line = format!("{}\n", line.replace(time, "2100-01-02T00:00:00.000000000Z"));
    fs::write(&more, &line).unwrap();
    let replayed = output([
        "replay".as_ref(),
        more.as_os_str(),
        "--store".as_ref(),
        store.path().as_ref(),
    ]);
    assert!(replayed.status.success());
    for following in [&mut all, &mut later] {
        assert_eq!(following.lines(1), line);
    }
    all.end();
    later.end();
}

#[test]
fn an_export_that_follows_is_of_a_store_without_an_end() {
    for arguments in [["--log", TRAIL], ["--until", "now"]] {
        let refused = output([&["export", "--follow"][..], &arguments].concat());
        assert_eq!(refused.status.code(), Some(2));
    }
}

/// lnav is shown fields that there are.
#[test]
fn the_format_for_lnav_knows_fields_of_the_log_alone() {
    let text = include_str!("../../../../packaging/lnav/systrail.json");
    let format: Value = serde_json::from_str(text).unwrap();
    let format = &format["systrail_log"];
    let declared = schema::names();
    let is_field = |name: &str| name.starts_with("__") || declared.contains(&name);
    let parts = format["line-format"].as_array().unwrap().iter();
    let shown: Vec<&str> = parts.filter_map(|part| part["field"].as_str()).collect();
    let values = format["value"].as_object().unwrap();
    let special = ["timestamp-field", "level-field", "opid-field"].map(|key| format[key].as_str());
    let names = values
        .keys()
        .map(String::as_str)
        .chain(special.into_iter().flatten());
    for name in names.chain(shown.iter().copied()) {
        assert!(is_field(name), "{name}");
    }
    // What is shown has a type, or lnav leaves it out.
    for name in shown.iter().filter(|name| !name.starts_with("__")) {
        assert!(values.contains_key(*name), "{name}");
    }
    let levels = format["level"].as_object().unwrap().values();
    let levels: String = levels.filter_map(Value::as_str).collect();
    assert!(levels.contains("lost") && levels.contains("detection"));
}

//! Whether Elastic's rules can be asked of an export: every field that a rule names has to be there. The
//! rules are not in the repository; `SYSTRAIL_ELASTIC_RULES` is a folder with them (`rules/linux` of
//! `elastic/detection-rules`).

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::{env, fs};

use serde_json::Value;

use crate::export::leaves;
use crate::{lines_of_json, printed};

/// A parent and a child with everything that Linux tells of them.
const LINES: &str = concat!(
    r#"{"sequence":1,"time":"2026-01-01T00:00:01.000000000Z","kind":"process_start","host":"h","host_id":"0123456789abcdef0123456789abcdef","run":1,"process_id":999,"process_key":"a0000000000003e7","parent_process_id":1,"parent_process_key":"a000000000000001","creator_process_id":1,"creator_thread_id":1,"image":"/usr/bin/bash","command_line":"bash build.sh","arguments":["bash","build.sh"],"user":"ada","user_id":1000,"session_id":7,"existing":false}"#,
    "\n",
    r#"{"sequence":2,"time":"2026-01-01T00:00:01.001000000Z","kind":"process_start","host":"h","process_id":1000,"process_key":"a0000000000003e8","parent_process_id":999,"parent_process_key":"a0000000000003e7","creator_process_id":999,"creator_thread_id":999,"image":"/usr/bin/bash","command_line":"bash build.sh","arguments":["bash","build.sh"],"user":"ada","user_id":1000,"parent_image":"/usr/bin/bash","parent_command_line":"bash build.sh","parent_user":"ada","session_id":7,"existing":false}"#,
    "\n",
    r#"{"sequence":3,"time":"2026-01-01T00:00:01.002000000Z","kind":"process_exec","host":"h","process_id":1000,"process_key":"a0000000000003e8","image":"/usr/bin/make","command_line":"make -j2","arguments":["make","-j2"],"user":"ada","user_id":1000,"real_user":"bob","real_user_id":1001,"login_user":"ada","login_user_id":1000,"parent_image":"/usr/bin/bash","parent_command_line":"bash build.sh","parent_user":"ada","cgroup":"/docker/c0ffee","container_id":"c0ffee","systemd_unit":"a.service","working_directory":"/home/ada","terminal":"pts/3","environment":["LD_PRELOAD=/x.so"],"session_id":7}"#,
    "\n",
    r#"{"sequence":4,"time":"2026-01-01T00:00:01.003000000Z","kind":"process_exit","host":"h","process_id":1000,"process_key":"a0000000000003e8","exit_code":0,"image":"/usr/bin/make","run_time_ns":1000000}"#,
    "\n",
);

/// What Elastic's own words for what a process did are, of those that we write.
const ACTIONS: [&str; 4] = ["exec", "fork", "end", "already_running"];

fn exported() -> Vec<Value> {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("trail.jsonl");
    fs::write(&log, LINES).unwrap();
    lines_of_json(&printed([
        "export",
        "--format",
        "ecs",
        "--log",
        log.to_str().unwrap(),
    ]))
}

/// The names that an export has for something.
fn fields() -> BTreeSet<String> {
    let exported = exported();
    let objects = exported.iter().filter_map(Value::as_object);
    objects
        .flat_map(|object| leaves(object).into_iter().map(|(name, _)| name))
        .collect()
}

/// A query without its texts and its comments.
fn bare(query: &str) -> String {
    let mut bare = String::new();
    let mut rest = query;
    while let Some(character) = rest.chars().next() {
        let after = &rest[character.len_utf8()..];
        rest = match character {
            '"' => {
                let mut is_escaped = false;
                let end = after.find(|it| {
                    let ends = it == '"' && !is_escaped;
                    is_escaped = it == '\\' && !is_escaped;
                    ends
                });
                end.map_or("", |end| &after[end + 1..])
            }
            '/' if after.starts_with('/') => after.split_once('\n').map_or("", |(_, rest)| rest),
            '/' if after.starts_with('*') => after.split_once("*/").map_or("", |(_, rest)| rest),
            other => {
                bare.push(other);
                after
            }
        };
    }
    bare
}

/// The fields that a query for one event of a process names; `None` for any other query.
fn named(query: &str) -> Option<BTreeSet<String>> {
    let bare = bare(query);
    let mut words = bare.split_whitespace();
    if (words.next(), words.next()) != (Some("process"), Some("where")) {
        return None;
    }
    let is_of_name = |it: char| it.is_ascii_alphanumeric() || "._".contains(it);
    let names = bare.split(|it| !is_of_name(it));
    let names = names
        .filter(|name| name.contains('.') && !name.starts_with(|it: char| it.is_ascii_digit()));
    Some(names.map(str::to_owned).collect())
}

/// The query of a file, where it is a rule in Elastic's query language.
fn query(path: &Path) -> Option<String> {
    let file: toml::Table = fs::read_to_string(path).ok()?.parse().ok()?;
    let rule = file.get("rule")?;
    let is_eql = rule.get("type")?.as_str() == Some("eql");
    is_eql.then(|| rule.get("query")?.as_str().map(str::to_owned))?
}

#[test]
fn a_query_names_its_fields_and_no_text_is_one() {
    let query = "process where host.os.type == \"linux\" and // a.comment\n\
                 process.args : (\"a.b\", \"\\\"c.d\") and /* e.f */ 1.5 < process.parent.args_count";
    let named = named(query).unwrap();
    let expected = ["host.os.type", "process.args", "process.parent.args_count"];
    assert_eq!(named, expected.map(str::to_owned).into());
    assert_eq!(super::elastic::named("file where file.name == \"x\""), None);
}

#[test]
fn a_parent_is_told_with_its_arguments() {
    let exported = exported();
    let exec = &exported[2];
    assert_eq!(
        exec["process"]["parent"]["args"],
        serde_json::json!(["bash", "build.sh"])
    );
    assert_eq!(exec["process"]["parent"]["args_count"], 2);
    assert_eq!(exec["process"]["user"]["id"], "1000");
    // Nobody knows what the parent of the first was started with.
    assert_eq!(exported[0]["process"]["parent"].get("args"), None);
    let actions = exported
        .iter()
        .map(|event| event["event"]["action"].as_str().unwrap());
    assert!(
        actions.clone().all(|action| ACTIONS.contains(&action)),
        "{:?}",
        actions.collect::<Vec<_>>()
    );
}

/// Of what Elastic asks about single processes three in four.
#[test]
#[expect(clippy::print_stdout, reason = "figures for who looks at the test")]
fn elastics_rules_can_be_asked_of_an_export() {
    let Some(folder) = env::var_os("SYSTRAIL_ELASTIC_RULES") else {
        println!("did not run: SYSTRAIL_ELASTIC_RULES names no folder of rules");
        return;
    };
    let fields = fields();
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|it| it.unwrap().path())
        .collect();
    files.sort();
    let (mut count, mut fit) = (0, 0);
    let mut lacking: BTreeMap<String, u32> = BTreeMap::new();
    for names in files.iter().filter_map(|path| named(&query(path)?)) {
        count += 1;
        let lacks: Vec<_> = names.difference(&fields).collect();
        fit += u32::from(lacks.is_empty());
        for name in lacks {
            *lacking.entry(name.clone()).or_default() += 1;
        }
    }
    println!("{fit} of {count} rules have all their fields; lacking: {lacking:?}");
    assert!(count > 0 && fit * 4 >= count * 3, "{fit} of {count}");
}

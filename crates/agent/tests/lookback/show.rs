//! `systrail show`.

use serde_json::Value;

use super::{END, Store, TRAIL, assert_harmless, printed, refused};

const TOLD: &str = "\
process 1012, key a0000000000003f4 on atlas
  state         signal 11, core after 46.000 ms
  started       2026-01-01 00:00:01.014000000 UTC by 1002
  ended         2026-01-01 00:00:01.060000000 UTC
  user          ada (1000), session 100
  image         /usr/libexec/cc1
  command line  cc1 two.c

ancestors, nearest first: 4
  1002  cc -c two.c
  1000  make -j2 all
  100   -bash
  1     /sbin/init

programs: 1
  00:00:01.015  /usr/libexec/cc1  cc1 two.c
";

#[test]
fn a_story_has_ancestry_program_and_end() {
    let store = Store::small();
    assert_eq!(printed(["show", "1012", "--log", TRAIL]), TOLD);
    assert_eq!(store.printed(&["show", "1012"]), TOLD);
    assert_eq!(store.printed(&["show", "a0000000000003f4"]), TOLD);
}

#[test]
fn a_story_has_children_threads_and_images() {
    let store = Store::small();
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let story = printed(
            ["show", "1000", "--format", "json"]
                .into_iter()
                .chain(source),
        );
        let story: Value = serde_json::from_str(&story).unwrap();
        assert_eq!(story["children"].as_array().unwrap().len(), 2);
        assert_eq!(story["children"][0]["command_line"], "cc -c one.c");
        assert_eq!(story["images"]["count"], 2);
        assert_eq!(story["images"]["first"][0]["image"], "/usr/bin/make");
        assert_eq!(story["images"]["first"][0]["image_base"], "0x555510000000");
        assert_eq!(story["execs"]["count"], 1);
        assert_eq!(story["exit_code"], 2);
        let story = printed(
            ["show", "1011", "--format", "json"]
                .into_iter()
                .chain(source),
        );
        let story: Value = serde_json::from_str(&story).unwrap();
        let threads = story["threads"]["first"].as_array().unwrap();
        assert_eq!(threads[0]["thread_id"], 1021);
        assert_eq!(threads[0]["exit_time"], "2026-01-01T00:00:01.040000000Z");
        assert_eq!(threads[1]["remote_creator"], 1012);
        assert_eq!(threads[1]["exit_time"], Value::Null);
    }
}

#[test]
fn an_id_that_was_used_again_needs_a_key_or_a_time() {
    let store = Store::small();
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let said = refused(1, ["show", "1001"].into_iter().chain(source));
        for key in ["a0000000000003e9", "a0000000001003e9"] {
            assert!(said.contains(key), "{said}");
        }
        assert_harmless(&said);
        let at = "--at=2026-01-01T00:00:01.020Z";
        let story = printed(["show", "1001", at].into_iter().chain(source));
        assert!(story.contains("cc -c one.c"), "{story}");
        let never = "--at=2025-01-01T00:00:00Z";
        let said = refused(1, ["show", "1001", never].into_iter().chain(source));
        assert!(said.contains("not there at that time"), "{said}");
        let said = refused(1, ["show", "77"].into_iter().chain(source));
        assert!(said.contains("no process 77"), "{said}");
    }
}

#[test]
fn long_lists_are_cut_unless_all_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..30)
        .map(|child| {
            super::start_line(
                child + 1,
                100,
                100 + child,
                if child == 0 { 1 } else { 100 },
                "x",
            )
        })
        .collect();
    let log = super::log_of(&directory, &lines);
    let log = log.to_str().unwrap();
    let key = "0000000000000064";
    let story = printed(["show", key, "--log", log]);
    assert!(story.contains("children: 29\n"), "{story}");
    assert!(
        story.contains("  and 9 more; --all shows them\n"),
        "{story}"
    );
    let story = printed(["show", key, "--all", "--log", log]);
    assert!(!story.contains("more"), "{story}");
}

#[test]
fn a_process_that_runs_now_is_told_from_the_machine() {
    let own = std::process::id().to_string();
    let story = printed(["show", &own, "--format", "json"]);
    let story: Value = serde_json::from_str(&story).unwrap();
    assert_eq!(story["state"], "running");
    assert_eq!(
        story["parent_process_id"],
        u64::from(std::os::unix::process::parent_id())
    );
    assert!(story["images"]["count"].as_u64().unwrap() > 0);
    assert!(
        story["threads"]["count"].as_u64().unwrap() > 0,
        "tests run on threads"
    );
}

#[test]
fn what_exits_later_was_running_at_the_end_of_the_window() {
    let store = Store::small();
    let until = "--until=2026-01-01T00:00:01.055Z";
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let story = printed(["show", "1012", until].into_iter().chain(source));
        assert!(story.contains("state         running for 4"), "{story}");
    }
    assert!(store.printed(&["show", "1012", END]).contains("signal 11"));
}

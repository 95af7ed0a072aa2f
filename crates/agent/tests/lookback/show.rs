//! `systrail show`.

use serde_json::Value;

use super::{END, Store, TRAIL, assert_harmless, log_of, printed, refused, start_line};

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
  1     systemd as /sbin/init

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
        let told = printed(
            ["show", "1000", "--format", "json"]
                .into_iter()
                .chain(source),
        );
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["children"].as_array().unwrap().len(), 2);
        assert_eq!(told["children"][0]["command_line"], "cc -c one.c");
        assert_eq!(told["images"]["count"], 2);
        assert_eq!(told["images"]["first"][0]["image"], "/usr/bin/make");
        assert_eq!(told["images"]["first"][0]["image_base"], "0x555510000000");
        assert_eq!(told["execs"]["count"], 1);
        assert_eq!(told["exit_code"], 2);
        let told = printed(
            ["show", "1011", "--format", "json"]
                .into_iter()
                .chain(source),
        );
        let told: Value = serde_json::from_str(&told).unwrap();
        let threads = told["threads"]["first"].as_array().unwrap();
        assert_eq!(threads[0]["thread_id"], 1021);
        assert_eq!(threads[0]["exit_time"], "2026-01-01T00:00:01.040000000Z");
        assert_eq!(threads[1]["remote_creator"], 1012);
        assert_eq!(threads[1]["exit_time"], Value::Null);
    }
}

/// A forked child had no libraries, though its maps list all its parent's.
#[test]
fn what_a_forked_process_has_from_its_parents_is_told_as_inherited() {
    let load = |sequence: u64, process: u32, key: u64, image: &str| {
        format!(
            "{{\"sequence\":{sequence},\"time\":\"2026-01-01T00:00:00.{sequence:09}Z\",\
             \"kind\":\"image_load\",\"host\":\"h\",\"process_id\":{process},\
             \"process_key\":\"{key:016x}\",\"image\":\"{image}\",\"image_base\":\"0x1000\",\
             \"image_size\":4096,\"kernel_image\":false,\"existing\":false}}"
        )
    };
    let exec = |sequence, process, key, image: &str| {
        let line = start_line(sequence, process, key, 0, image);
        let line = line.replace("process_start", "process_exec");
        line.replace("\"image\":\"/x\"", &format!("\"image\":\"{image}\""))
    };
    let lines = [
        start_line(1, 10, 0xa, 1, "x"),
        load(2, 10, 0xa, "/lib/old.so"),
        // What an exec maps comes before it.
        load(3, 10, 0xa, "/bin/new"),
        load(4, 10, 0xa, "/lib/ld.so"),
        exec(5, 10, 0xa, "/bin/new"),
        load(6, 10, 0xa, "/lib/libc.so"),
        start_line(7, 11, 0xb, 0xa, "new"),
        load(8, 10, 0xa, "/lib/later.so"),
        load(9, 11, 0xb, "/lib/own.so"),
        start_line(10, 12, 0xc, 0xb, "new"),
        start_line(11, 13, 0xd, 0xb, "new"),
        exec(12, 13, 0xd, "/bin/other"),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let log = log.to_str().unwrap();
    let told = |id| -> Value {
        let of_store = store.printed(&["show", id, "--format", "json"]);
        // Times since then go on.
        let of_log = printed(["show", id, "--format", "json", "--log", log]);
        let [of_store, of_log]: [Value; 2] =
            [of_store, of_log].map(|told| serde_json::from_str(&told).unwrap());
        assert_eq!(of_log["inherited_images"], of_store["inherited_images"]);
        of_store
    };
    let images = |told: &Value, of: &str| -> Vec<String> {
        let list = told[of]["first"].as_array().unwrap().iter();
        list.map(|image| image["image"].as_str().unwrap().to_owned())
            .collect()
    };
    let program = ["/bin/new", "/lib/ld.so", "/lib/libc.so"];
    let child = told("11");
    assert_eq!(images(&child, "inherited_images"), program);
    assert_eq!(images(&child, "images"), ["/lib/own.so"]);
    let grandchild = told("12");
    let whole = [&program[..], &["/lib/own.so"]].concat();
    assert_eq!(images(&grandchild, "inherited_images"), whole);
    for with_a_program_of_its_own in ["10", "13"] {
        let told = told(with_a_program_of_its_own);
        assert!(images(&told, "inherited_images").is_empty());
    }
    let text = store.printed(&["show", "12"]);
    assert!(text.contains("images inherited over the fork: 4"), "{text}");
}

/// Nothing is forked on Windows: what a parent has loaded is not in its child.
#[test]
fn on_windows_nothing_is_inherited() {
    let of_windows = |line: String| line.replace("\"/x\"", "\"C:\\\\x.exe\"");
    let load = start_line(2, 10, 0xa, 1, "x").replace("process_start", "image_load");
    let load = load.replace(
        "\"/x\"",
        "\"C:\\\\y.dll\",\"image_base\":\"0x1000\",\"image_size\":1,\"kernel_image\":false",
    );
    let lines = [
        of_windows(start_line(1, 10, 0xa, 1, "x")),
        load,
        of_windows(start_line(3, 11, 0xb, 0xa, "x")),
    ];
    let directory = tempfile::tempdir().unwrap();
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    let show = ["show", "11", "--format", "json"];
    let of_log = printed(show.into_iter().chain(["--log", log.to_str().unwrap()]));
    for told in [store.printed(&show), of_log] {
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told["inherited_images"]["count"], 0, "{told}");
    }
    let parent = store.printed(&["show", "10", "--format", "json"]);
    let parent: Value = serde_json::from_str(&parent).unwrap();
    assert_eq!(parent["images"]["count"], 1, "{parent}");
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
        let told = printed(["show", "1001", at].into_iter().chain(source));
        assert!(told.contains("cc -c one.c"), "{told}");
        let never = "--at=2025-01-01T00:00:00Z";
        let said = refused(1, ["show", "1001", never].into_iter().chain(source));
        assert!(said.contains("not there at that time"), "{said}");
        let said = refused(1, ["show", "77"].into_iter().chain(source));
        assert!(said.contains("no process 77"), "{said}");
    }
}

/// A process that had ended before --since, or began after --until, made the id ambiguous.
#[test]
fn of_several_with_an_id_the_one_in_the_time_is_told() {
    let store = Store::small();
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let told = |bound| printed(["show", "1001", bound].into_iter().chain(source));
        let later = told("--since=2026-01-01T00:00:02Z");
        assert!(later.contains("a0000000001003e9"), "{later}");
        let earlier = told("--until=2026-01-01T00:00:02Z");
        assert!(earlier.contains("cc -c one.c"), "{earlier}");
        let both = "--since=2026-01-01T00:00:01Z";
        let said = refused(1, ["show", "1001", both].into_iter().chain(source));
        assert!(said.contains("several processes"), "{said}");
        let none = "--since=2026-01-01T00:00:02Z";
        let said = refused(1, ["show", "1012", none].into_iter().chain(source));
        assert!(said.contains("not there at that time"), "{said}");
    }
}

#[test]
fn long_lists_are_cut_unless_all_are_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..30)
        .map(|child| {
            start_line(
                child + 1,
                100,
                100 + child,
                if child == 0 { 1 } else { 100 },
                "x",
            )
        })
        .collect();
    let log = log_of(&directory, &lines);
    let log = log.to_str().unwrap();
    let key = "0000000000000064";
    let told = printed(["show", key, "--log", log]);
    assert!(told.contains("children: 29\n"), "{told}");
    assert!(told.contains("  and 9 more; --all shows them\n"), "{told}");
    let told = printed(["show", key, "--all", "--log", log]);
    assert!(!told.contains("more"), "{told}");
}

#[test]
fn a_process_that_runs_now_is_told_from_the_machine() {
    let own = std::process::id().to_string();
    let told = printed(["show", &own, "--format", "json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(told["state"], "running");
    assert_eq!(
        told["parent_process_id"],
        u64::from(std::os::unix::process::parent_id())
    );
    assert!(told["images"]["count"].as_u64().unwrap() > 0);
    assert!(
        told["threads"]["count"].as_u64().unwrap() > 0,
        "tests run on threads"
    );
}

/// `show PID --until`, and the screen at a time, named children of the store that were started later.
#[test]
fn what_is_started_later_is_no_child_yet() {
    let store = Store::small();
    let at = |time: &str| {
        let at = format!("--until=2026-01-01T00:00:{time}Z");
        let of_log = printed(["show", "1000", &at, "--format", "json", "--log", TRAIL]);
        let of_store = store.printed(&["show", "1000", &at, "--format", "json"]);
        [of_log, of_store].map(|story| {
            let told: Value = serde_json::from_str(&story).unwrap();
            told["children"].as_array().map_or(0, Vec::len)
        })
    };
    assert_eq!(at("01.0105"), [1, 1]);
    assert_eq!(at("01.045"), [2, 2]);
}

#[test]
fn what_exits_later_was_running_at_the_end_of_the_window() {
    let store = Store::small();
    let until = "--until=2026-01-01T00:00:01.055Z";
    for source in [["--log", TRAIL], ["--store", store.path()]] {
        let told = printed(["show", "1012", until].into_iter().chain(source));
        assert!(told.contains("state         running for 4"), "{told}");
    }
    assert!(store.printed(&["show", "1012", END]).contains("signal 11"));
}

/// A process that was killed after the recorder was told as running, and its run time grew.
#[test]
fn what_ran_when_the_trail_ended_is_not_told_as_running_now() {
    let directory = tempfile::tempdir().unwrap();
    let lines = [
        start_line(1, 5, 5, 9, "parent"),
        start_line(2, 6, 6, 5, "child"),
    ];
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    for source in [["--log", log.to_str().unwrap()], ["--store", store.path()]] {
        let told = printed(["show", "5"].into_iter().chain(source));
        let state =
            "running for 0.000 ms when the trail ended, at 2026-01-01 00:00:00.000000002 UTC";
        assert!(told.contains(state), "{told}");
        assert!(told.contains("was running"), "the child: {told}");
        let json = ["show", "5", "--format", "json"];
        let told = printed(json.into_iter().chain(source));
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(
            (&told["state"], &told["run_time_ns"]),
            (&"running".into(), &1.into())
        );
        assert_eq!(told["known_until_text"], "2026-01-01T00:00:00.000000002Z");
        // Of a moment that has passed, and of none that is still to come.
        let later = printed(
            ["show", "5", "--until=2026-02-01"]
                .into_iter()
                .chain(source),
        );
        assert!(later.contains("running for 0.000 ms\n"), "{later}");
    }
    let tree = store.printed(&["tree", "--since=2026-01-01"]);
    assert_eq!(tree.matches(" was running ").count(), 2, "{tree}");
    let tree = store.printed(&["tree", "--since=2026-01-01", "--format=csv"]);
    assert!(tree.contains(",1767225600000000002,2026-01-01T00:00:00.000000002Z\n"));
}

#[test]
fn what_still_runs_on_this_machine_is_told_as_running_now() {
    let own = std::process::id();
    let rows = super::lines_of_json(&printed(["tree", "--format", "jsonl"]));
    let this = rows.iter().find(|row| row["process_id"] == own).unwrap();
    let key = this["process_key"].as_str().unwrap();
    let key = u64::from_str_radix(key, 16).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let lines = [
        // As a sensor has it that knows the nanoseconds.
        start_line(1, own, key ^ 0x12_d687, 9, "this"),
        // The same id, and another process.
        start_line(2, own, key ^ (1 << 40), 9, "another"),
    ];
    let log = log_of(&directory, &lines);
    let store = Store::of(&log);
    for source in [["--log", log.to_str().unwrap()], ["--store", store.path()]] {
        let told = |key: u64| {
            let key = format!("{key:016x}");
            printed(["show", &key].into_iter().chain(source))
        };
        assert!(told(key).contains("running for "), "{}", told(key));
        assert!(!told(key).contains("trail ended"), "{}", told(key));
        assert!(told(key ^ (1 << 40)).contains("when the trail ended"));
    }
}

/// A width of more than 65,535 is a panic of the formatter.
#[test]
fn a_path_of_any_length_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("long.jsonl");
    let path = format!("/{}", "a".repeat(70_000));
    let trail = std::fs::read_to_string(TRAIL).unwrap();
    std::fs::write(&log, trail.replace("/usr/bin/make", &path)).unwrap();
    let told = printed(["show", "1000", "--log", log.to_str().unwrap()]);
    assert!(told.contains(&path));
    // Only its own line is long.
    let count = told.lines().filter(|line| line.len() > 1_000).count();
    assert!(
        count > 0 && told.len() < (count + 1) * 75_000,
        "{}",
        told.len()
    );
}

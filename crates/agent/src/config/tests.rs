//! What the configuration promises.

// They name files as Linux does.
#![cfg(target_os = "linux")]

use std::path::Path;
use std::time::Duration;

use proptest::prelude::{any, proptest};

use super::{Config, Finding, OnLoss, Severity, hopeless_rules};
use crate::rules::{Kinds, System};
use crate::sensor::choice::Source;

const WHOLE: &str = r#"
source = "perf"
on_loss = "fail"
flush_interval = "20ms"
events = ["process", "image"]

[[include]]
image = "/usr/*"
user = ["root", "100?"]

[[exclude]]
command_line = "*--quiet*"
events = ["process_exec", "image"]

[[exclude]]
loaded_image = "*/libc.so.6"

[log]
on = true
path = "/var/log/systrail.jsonl"
rotate_size = "128 MiB"
rotate_age = "12h"
keep_files = 7
keep_age = "30d"

[store]
on = true
path = "/var/lib/systrail/store"
segment_size = "64 MiB"
segment_age = "1h"
keep_age = "7d"
keep_size = "2 GiB"

[environment]
names = ["LD_PRELOAD", "PATH"]

[limits]
process_buffer_size = "2 MiB"
event_buffer_size = "16 MiB"
processes = 100_000
images = 0x1000
argument_rate = "2 MiB"

[metrics]
address = "127.0.0.1:9000"
"#;

fn findings(text: &str) -> Vec<String> {
    let (_, findings) = Config::parse(text);
    findings.iter().map(ToString::to_string).collect()
}

/// The parts of the documentation that are configuration.
fn documented() -> Vec<&'static str> {
    include_str!("../../../../docs/CONFIGURATION.md")
        .split("```toml\n")
        .skip(1)
        .filter_map(|part| part.split("```").next())
        .collect()
}

#[test]
fn the_documentation_tells_the_defaults_and_nothing_wrong() {
    let documented = documented();
    assert_eq!(documented.len(), 8);
    assert_eq!(
        Config::parse(documented[0]),
        (Config::default(), Vec::new())
    );
    let uncommented = documented[0]
        .replace("# path", "path")
        .replace("# keep_", "keep_");
    let others = documented.iter().skip(1).copied();
    for text in others.chain([uncommented.as_str()]) {
        assert_eq!(findings(text), [""; 0], "{text}");
    }
    let (metrics, _) = Config::parse(documented[1]);
    assert_eq!(metrics.metrics, Some(super::METRICS_ADDRESS));
    let (detect, _) = Config::parse(documented[2]);
    let expected = super::Detect {
        rules: "/etc/systrail/rules".into(),
        level: crate::detect::Level::default(),
        budget: super::DETECT_BUDGET_DEFAULT,
    };
    assert_eq!(detect.detect, Some(expected));
    let (alert, _) = Config::parse(documented[3]);
    let expected = super::Alert {
        program: "/usr/local/bin/tell-us".into(),
        arguments: vec!["--as".to_owned(), "alert".to_owned()],
    };
    assert_eq!(alert.alert, Some(expected));
    let (forward, _) = Config::parse(documented[4]);
    let path = |name: &str| Some(Path::new("/etc/systrail").join(name));
    let expected = super::Forward {
        url: super::Url::parse("https://collector.example:8443/systrail").unwrap(),
        token_file: path("forward.token"),
        ca_file: path("ca.pem"),
        cert_file: path("host.pem"),
        key_file: path("host.key"),
        keep_size: super::Store::default().keep_size,
        heartbeat: super::HEARTBEAT_DEFAULT,
    };
    assert_eq!(forward.forward, Some(expected));
}

#[test]
fn a_receiver_is_refused_that_nobody_should_send_to() {
    let url = "url = \"https://collector.example/\"";
    for (keys, reason) in [
        ("", "forward.url is missing"),
        ("url = 3", "a string in quotes"),
        ("url = \"http://collector.example/\"", "use https://"),
        (
            "url = \"https://a:hidden@collector.example/\"",
            "forward.token_file",
        ),
        (&format!("{url}\ntoken_file = \"token\""), "absolute"),
        (
            &format!("{url}\ncert_file = \"/c.pem\""),
            "both cert_file and key_file",
        ),
        (&format!("{url}\nkeep_size = \"1 MiB\""), "from \"4 MiB\""),
        (&format!("{url}\nuri = 1"), "did you mean `url`?"),
        (&format!("{url}\n[store]\non = false"), "needs [store]"),
    ] {
        let findings = findings(&format!("[forward]\n{keys}\n"));
        assert!(
            findings.iter().any(|finding| finding.contains(reason)),
            "{keys}: {findings:?}"
        );
        assert!(!format!("{findings:?}").contains("hidden"), "{findings:?}");
    }
    let (config, _) = Config::parse(&format!(
        "[forward]\n{url}\n[store]\nkeep_size = \"9 GiB\"\n"
    ));
    assert_eq!(config.forward.unwrap().keep_size, 9 << 30);
}

#[test]
fn variables_of_the_environment_have_whole_names_and_none_may_be_asked_for() {
    let with = |names: &str| Config::parse(&format!("[environment]\nnames = {names}\n"));
    let usual = Config::default().environment;
    assert_eq!(usual.iter().next(), Some("LD_PRELOAD"));
    let (none, findings) = with("[]");
    assert!(none.environment.is_empty() && findings.is_empty());
    let (two, _) = with(r#"["PATH", "LD_AUDIT"]"#);
    assert!(two.environment.iter().eq(["PATH", "LD_AUDIT"]));
    let many: Vec<String> = (0..17).map(|n| format!("A{n}")).collect();
    let many = format!("{many:?}");
    for (names, reason) in [
        (r#""PATH""#, "a list of strings"),
        ("[1]", "a string in quotes"),
        (r#"["PATH="]"#, "the whole name of a variable"),
        (r#"[""]"#, "the whole name of a variable"),
        (r#"["PATH", "LD_*"]"#, "the whole name of a variable"),
        (r#"["PATH", "PATH"]"#, "it is there twice"),
        (many.as_str(), "at most 16 names"),
    ] {
        let (_, findings) = with(names);
        assert_eq!(findings.len(), 1, "{names}: {findings:?}");
        assert!(findings[0].to_string().contains(reason), "{findings:?}");
    }
}

#[test]
fn hashes_are_off_and_have_a_rate_and_a_limit() {
    assert!(!Config::default().hash.on);
    let text = "[hash]\non = true\nrate = \"1 MiB\"\nfile_size_max = \"1 GiB\"\n";
    let (config, found) = Config::parse_for(System::Unix, text);
    assert_eq!(found, []);
    let expected = super::Hash {
        on: true,
        rate: 1 << 20,
        file_size_max: 1 << 30,
    };
    assert_eq!(config.hash, expected);
    let refusals = [
        ("on = 1", "true or false"),
        ("rate = \"1 KiB\"", "\"64 KiB\""),
        ("rate = 5", "a size"),
        ("file_size_max = \"2 TiB\"", "\"1 TiB\""),
        ("budget = \"1 MiB\"", "unknown key"),
    ];
    for (line, reason) in refusals {
        let told = finding(&format!("[hash]\n{line}\n"));
        assert!(told.contains(reason), "{told}");
    }
    let (_, found) = Config::parse_for(System::Windows, "[hash]\non = true\n");
    assert!(found[0].to_string().contains("Linux alone"), "{found:?}");
}

#[test]
fn an_alert_is_a_program_by_its_path_and_needs_rules() {
    let with_rules = |alert: &str| {
        findings(&format!(
            "[detect]\nrules = \"/rules\"\n[alert]\ncommand = {alert}\n"
        ))
    };
    assert_eq!(with_rules(r#"["/bin/true", ""]"#), [""; 0]);
    let long = format!("[\"/bin/true\"{}]", ", \"x\"".repeat(65));
    for (alert, reason) in [
        (r#""/bin/true x""#, "a list of strings"),
        ("[]", "begins with the path"),
        (r#"["true"]"#, "absolute path"),
        (r#"["/bin/true", 1]"#, "a string in quotes"),
        (r#"["/bin/true", "\u0000"]"#, "a NUL character"),
        (&long, "at most 64 arguments"),
    ] {
        let told = with_rules(alert);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains(reason), "{told:?}");
    }
    let told = findings("[alert]\ncommand = [\"/bin/true\"]\n");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("[alert] needs [detect]"), "{told:?}");
    let told = findings("[detect]\nrules = \"/rules\"\n[alert]\n");
    assert!(told[0].contains("alert.command is missing"), "{told:?}");
}

#[test]
fn detections_need_rules_and_a_level_there_is() {
    let told = findings("[detect]\nlevel = \"medium\"\n");
    let [missing] = &*told else {
        panic!("{told:?}");
    };
    assert!(missing.contains("detect.rules is missing"), "{missing}");
    let told = findings("[detect]\nrules = \"rules\"\nlevel = \"hihg\"\nbudget = \"1us\"\n");
    for (finding, what) in told.iter().zip(["absolute path", "\"high\"", "\"50us\""]) {
        assert!(finding.contains(what), "{finding}");
    }
    assert_eq!(told.len(), 3, "{told:?}");
}

/// The only finding of `text`.
fn finding(text: &str) -> String {
    let mut all = findings(text);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn warnings(text: &str) -> Vec<String> {
    let (config, findings) = Config::parse(text);
    assert_eq!(findings, [], "{text}");
    hopeless_rules(&config, &|user| user == "root")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn every_key_is_understood() {
    let (config, findings) = Config::parse(WHOLE);
    assert_eq!(findings, []);
    assert_eq!(config.source, Source::Perf);
    assert_eq!(config.on_loss, OnLoss::Fail);
    assert_eq!(config.flush_interval, Duration::from_millis(20));
    assert_eq!(config.events, Kinds::PROCESS.union(Kinds::IMAGE));
    assert_eq!(config.include.len(), 1);
    assert_eq!(config.exclude.len(), 2);
    assert_eq!(config.exclude[0].place.line, 11);
    assert_eq!(config.log.rotate_size, 128 << 20);
    assert_eq!(config.log.keep_files, 7);
    assert_eq!(config.log.keep_age, Some(Duration::from_hours(720)));
    assert_eq!(config.limits.processes, 100_000);
    assert_eq!(config.limits.images, 0x1000);
    assert_eq!(config.limits.argument_rate, 2 << 20);
    assert_eq!(
        config.metrics.map(|address| address.to_string()).as_deref(),
        Some("127.0.0.1:9000")
    );
}

#[test]
fn an_empty_file_is_the_default() {
    assert_eq!(Config::parse(""), (Config::default(), Vec::new()));
}

#[test]
fn an_unknown_key_is_refused_with_its_place_and_the_likely_one() {
    assert_eq!(
        finding("[log]\nrotate_sise = \"1 MiB\"\n"),
        "2:1: error: unknown key `log.rotate_sise`; did you mean `rotate_size`?"
    );
    assert!(finding("colour = 1").contains("known are source, on_loss, flush_interval"));
}

#[test]
fn a_wrong_type_is_refused_with_the_right_one() {
    assert_eq!(
        finding("source = 3"),
        "1:10: error: source: 3: this is of type integer; it must be one of \"auto\", \"ebpf\", \
         \"perf\", \"connector\", \"driver\", \"etw\", \"driver+etw\""
    );
    assert!(finding("log = 1").contains("a table, [log]"));
    assert!(finding("include = 1").contains("[[include]]"));
    assert!(finding("[log]\non = \"yes\"").contains("true or false"));
    assert!(finding("[[include]]\nimage = 3").contains("a string or a list of strings"));
    assert!(finding("flush_interval = 50").contains("a duration from"));
}

#[test]
fn a_value_out_of_range_is_refused_with_the_range() {
    assert_eq!(
        finding("[log]\n  keep_files = -1"),
        "2:16: error: log.keep_files: -1: it must be a whole number from 1 to 10000"
    );
    assert!(finding("flush_interval = \"2s\"").contains("from \"1ms\" to \"1s\""));
    assert!(
        finding("[limits]\nevent_buffer_size = \"3 MiB\"")
            .contains("a size, a power of two, from \"64 KiB\" to \"256 MiB\"")
    );
    assert!(finding("[limits]\nprocesses = 99999999999999999999").contains("whole number"));
}

#[test]
fn a_wrong_choice_is_refused_with_the_likely_one() {
    assert_eq!(
        finding("source = \"epbf\""),
        "1:10: error: source: \"epbf\": did you mean \"ebpf\"? it must be one of \"auto\", \
         \"ebpf\", \"perf\", \"connector\", \"driver\", \"etw\", \"driver+etw\""
    );
    assert!(finding("events = [\"proces\"]").starts_with("1:11: error: events: \"proces\": did"));
    assert!(finding("events = []").contains("record nothing"));
}

#[test]
fn a_size_without_a_known_unit_is_refused() {
    assert!(finding("[log]\nrotate_size = \"64 MB\"").contains("`MB` is not a unit"));
}

#[test]
fn a_wrong_pattern_is_refused_where_it_stands() {
    assert!(finding("[[exclude]]\nimage = [\"/a\", \"[b\"]").starts_with("2:16: error:"));
    assert!(finding("[[exclude]]\nimage = []").contains("matches nothing"));
    assert!(finding("[[exclude]]\n").contains("a rule without a condition"));
}

#[test]
fn a_relative_log_path_is_refused() {
    assert!(finding("[log]\npath = \"trail.jsonl\"").contains("absolute path"));
}

/// It was valid, and the run then failed.
#[test]
fn a_path_with_a_nul_in_it_is_refused() {
    for key in ["log", "store"] {
        let text = format!("[{key}]\npath = \"/var/lib/a\\u0000b\"");
        let told = finding(&text);
        assert!(
            told.contains(&format!("{key}.path")) && told.contains("NUL"),
            "{told}"
        );
    }
}

#[test]
fn broken_toml_is_refused_with_its_place() {
    let found = finding("source = \"auto\"\nevents = [\"process\"\n");
    assert!(
        found.starts_with("2:") || found.starts_with("3:"),
        "{found}"
    );
}

#[test]
fn columns_count_characters() {
    assert!(finding("[metrics]\n\"é\" = 1").starts_with("2:1:"));
    assert!(finding("log = { path = \"/é\", colour = 1 }").starts_with("1:22:"));
}

/// `--metrics 9477` was an invalid socket address syntax.
#[test]
fn a_port_is_an_address_of_this_machine_alone() {
    let told = |text| super::serve_address(text).map(|address| address.to_string());
    for port in ["9100", ":9100"] {
        assert_eq!(told(port).as_deref(), Ok("127.0.0.1:9100"));
    }
    assert_eq!(told("0.0.0.0:1").as_deref(), Ok("0.0.0.0:1"));
    assert_eq!(told("[::1]:1").as_deref(), Ok("[::1]:1"));
    for wrong in ["", "65536", "here", "127.0.0.1"] {
        let error = told(wrong).unwrap_err();
        assert!(error.ends_with("or a port: 127.0.0.1:9477"), "{error}");
    }
}

#[test]
fn all_findings_are_told_at_once_in_the_order_of_their_places() {
    let all = findings("source = 1\n[limits]\nimages = 0\n[metrics]\naddress = \"here\"\n");
    assert_eq!(all.len(), 3, "{all:?}");
    assert!(all[0].starts_with("1:") && all[1].starts_with("3:") && all[2].starts_with("5:"));
}

#[test]
fn more_rules_than_can_be_obeyed_are_refused() {
    let text = "[[exclude]]\nimage = \"/a\"\n".repeat(2049);
    assert!(finding(&text).contains("at most 2048"));
}

#[test]
fn an_include_that_an_exclude_takes_whole_is_named() {
    let found =
        warnings("[[include]]\nimage = \"/usr/bin/ssh\"\n\n[[exclude]]\nimage = \"/usr/*\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("1:1: warning: this include rule can never fire"));
    assert!(found[0].contains("line 4"));
}

#[test]
fn a_rule_another_makes_superfluous_is_named_once() {
    let twice = "[[exclude]]\nimage = \"/a\"\n";
    let found = warnings(&twice.repeat(2));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("3:1:") && found[0].contains("same as that of line 1"));
    let found = warnings("[[exclude]]\nimage = \"/a/b\"\n[[exclude]]\nimage = \"/a/*\"\n");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("1:1:") && found[0].contains("line 3"));
}

#[test]
fn rules_about_what_cannot_be_are_named() {
    let found = warnings("events = [\"process\"]\n[[exclude]]\nevents = [\"thread\"]\n");
    assert!(
        found[0].starts_with("2:1:") && found[0].contains("leaves out"),
        "{found:?}"
    );
    let found = warnings("[[include]]\nimage = \"bash\"\n");
    assert!(found[0].contains("write `*/bash`"), "{found:?}");
    let found = warnings("[[exclude]]\nuser = \"nobody-here\"\n");
    assert!(found[0].contains("no user `nobody-here`"), "{found:?}");
    let found = warnings("[[exclude]]\nloaded_image = \"/a\"\nevents = [\"thread\"]\n");
    assert!(
        found[0].contains("loaded_image is known of image_load, image_unload alone"),
        "{found:?}"
    );
}

#[test]
fn a_rule_asks_for_fields_in_groups_and_has_a_name() {
    let text = "[[include]]\nname = \"n\"\ntags = [\"t\"]\nexit_code = [1, 2]\n\
                not = { image = \"/bin/A\", ignore_case = true }\n\
                any = [{ signal = 9 }, { core_dumped = true }]\n";
    let (config, findings) = Config::parse(text);
    assert_eq!(findings, []);
    let rule = &config.include[0].rule;
    assert_eq!(rule.kinds(), Kinds::NONE.with(event::Kind::PROCESS_EXIT));
    let label = rule.label.as_ref().unwrap();
    assert_eq!(label.rule_name.as_deref(), Some("n"));
    assert_eq!(label.tags.as_ref().unwrap()[0], "t".into());
    let sizes = [&rule.conditions.any, &rule.conditions.not].map(Vec::len);
    assert_eq!(sizes, [2, 1]);
    let exit_code = rule.conditions.of_field("exit_code").next().unwrap();
    let patterns: Vec<&str> = exit_code
        .iter()
        .map(crate::rules::Pattern::as_str)
        .collect();
    assert_eq!(patterns, ["1", "2"]);
}

#[test]
fn what_no_rule_can_ask_is_refused() {
    let refused = |rule: &str| finding(&format!("[[include]]\n{rule}\n"));
    assert!(refused("parent_imag = \"/a\"").contains("did you mean `parent_image`?"));
    assert!(refused("weather = \"fine\"").contains("no field of an event"));
    assert!(refused("sequence = 7").contains("no field of an event"));
    assert!(refused("exit_code = -1").contains("string"));
    assert!(refused("exit_code = 1.5").contains("string"));
    assert!(refused("name = \"only\"").contains("a rule without a condition"));
    assert!(refused("image = \"/a\"\nname = \"\"").contains("1 to 256 bytes"));
    assert!(refused("image = \"/a\"\ntags = []").contains("1 to 32 tags"));
    assert!(refused("any = []").contains("an empty list asks for nothing"));
    assert!(refused("any = [{}]").contains("a table without a condition"));
    assert!(refused("any = [1]").contains("tables"));
    assert!(refused("not = \"/a\"").contains("tables"));
    let deep = format!("{}image = \"/a\"{}", "not = {".repeat(9), "}".repeat(9));
    assert!(refused(&deep).contains("8 deep"));
    let found = warnings("[[include]]\nexit_code = 1\nloaded_image = \"/a\"\n");
    assert!(found[0].contains("no kind of event has all"), "{found:?}");
}

#[test]
fn rules_that_can_fire_are_not_named() {
    assert_eq!(warnings(&WHOLE.replace("\"root\"", "\"1000\"")), [""; 0]);
    assert_eq!(
        warnings("[[exclude]]\nuser = [\"root\", \"nobody-here\"]\n"),
        [""; 0]
    );
}

/// What a package puts there changes nothing, and what it proposes can be taken.
#[test]
fn the_file_of_the_packages_is_a_configuration_with_and_without_what_it_proposes() {
    let text = include_str!("../../../../packaging/linux/systrail.toml");
    assert_eq!(Config::parse(text), (Config::default(), Vec::new()));
    let proposed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# "))
        .filter(|line| line.starts_with('[') || line.contains(" = \""))
        .collect();
    let (config, findings) = Config::parse(&proposed.join("\n"));
    assert_eq!((findings, config.exclude.len()), (Vec::new(), 1));
}

/// `config show` is a file that is taken for what it shows, whatever that is.
#[test]
fn what_is_shown_is_read_as_what_it_shows() {
    let forward = "[forward]\nurl = \"https://host/?a=1\"\ntoken_file = \"/t \\\"q\\\"\"\n";
    let rules = "[[include]]\nname = \"n \\\"q\\\"\"\ntags = [\"t\"]\nexit_code = [1, 2]\n\
                 not = { image = \"/bin/A\", ignore_case = true }\n\
                 any = [{ signal = 9 }, { core_dumped = true }]\n\
                 [[include]]\nimage = \"/a\"\nprocess_image = \"/b\"\npath_scope = \"*\"\n\
                 events = [\"thread\", \"process_exit\"]\n[[exclude]]\nall = [{ user = \"\\\\*\" }]\n";
    let detect =
        "[detect]\nrules = \"/r\"\nlevel = \"low\"\n[alert]\ncommand = [\"/a\", \"b\\nc\"]\n";
    for text in ["", WHOLE, forward, rules, detect]
        .into_iter()
        .chain(documented())
    {
        let (config, _) = Config::parse(text);
        let shown = config.show(text);
        let (mut again, found) = Config::parse(&shown);
        let has_error = found.iter().any(|it| it.severity == Severity::Error);
        assert!(!has_error, "{found:?} in {shown}");
        let mut expected = config.clone();
        expected.log.path = Some(config.log_file());
        expected.store.path = Some(config.store_directory());
        for config in [&mut again, &mut expected] {
            for entry in config.include.iter_mut().chain(&mut config.exclude) {
                entry.place = super::Place::default();
            }
        }
        assert_eq!(again, expected, "{shown}");
    }
}

#[test]
fn what_is_shown_says_where_it_comes_from() {
    let text = "on_loss = \"fail\"\n\n[log]\nkeep_files = 7\n";
    let shown = Config::parse(text).0.show(text);
    for line in [
        "on_loss = \"fail\" # line 1",
        "keep_files = 7 # line 4",
        "rotate_size = \"64 MiB\" # default",
        "# no [detect]",
    ] {
        assert!(shown.lines().any(|it| it == line), "{line} in {shown}");
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        let (_, findings) = Config::parse(&text);
        assert!(findings.iter().all(|Finding { place, severity, .. }| {
            place.line >= 1 && place.column >= 1 && *severity == Severity::Error
        }));
    }

    #[test]
    fn a_file_with_a_byte_changed_is_answered(at in 0..WHOLE.len(), byte in 0x20_u8..0x7f) {
        let mut bytes = WHOLE.as_bytes().to_vec();
        bytes[at] = byte;
        let text = String::from_utf8(bytes).expect("ASCII");
        let _answer = Config::parse(&text);
    }
}

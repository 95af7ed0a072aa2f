//! `systrail config`.

use std::ffi::OsStr;

use crate::{file, output, printed, said};

#[test]
fn config_check_tells_findings_on_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let good = file(directory.path(), "good.toml", "source = \"perf\"\n");
    let checked = output([OsStr::new("config"), OsStr::new("check"), good.as_os_str()]);
    assert_eq!(checked.status.code(), Some(0));
    assert!(printed(&checked).ends_with("valid, 0 errors, 0 warnings\n"));

    let doubtful = file(
        directory.path(),
        "doubtful.toml",
        "[[include]]\nimage = \"bash\"\n",
    );
    let checked = output([
        OsStr::new("config"),
        OsStr::new("check"),
        doubtful.as_os_str(),
    ]);
    assert_eq!(checked.status.code(), Some(0));
    let told = printed(&checked);
    assert!(told.contains("doubtful.toml:1:1: warning: this rule can never fire"));
    assert!(told.ends_with("valid, 0 errors, 1 warning\n"), "{told}");

    let bad = file(
        directory.path(),
        "bad.toml",
        "source = \"prf\"\nevents = 3\n",
    );
    let checked = output([OsStr::new("config"), OsStr::new("check"), bad.as_os_str()]);
    assert_eq!(checked.status.code(), Some(2));
    let printed = printed(&checked);
    assert!(printed.contains("bad.toml:1:10: error: source: \"prf\": did you mean \"perf\"?"));
    assert!(printed.contains("bad.toml:2:10: error: events"));
    assert!(printed.ends_with("refused, 2 errors, 0 warnings\n"));
}

/// The defaults were known to whoever read the documents.
#[test]
fn config_show_tells_what_is_in_force_and_config_check_takes_it() {
    let directory = tempfile::tempdir().unwrap();
    let some = file(directory.path(), "some.toml", "[log]\nkeep_files = 3\n");
    let config = |command: &str, path: &std::path::Path| {
        output([OsStr::new("config"), OsStr::new(command), path.as_os_str()])
    };
    let shown = config("show", &some);
    assert_eq!(shown.status.code(), Some(0), "{}", said(&shown));
    let shown = printed(&shown);
    assert!(shown.contains("\nkeep_files = 3 # line 2\n"), "{shown}");
    assert!(shown.contains("\nflush_interval = \"50ms\" # default\n"));
    let again = file(directory.path(), "again.toml", &shown);
    let checked = config("check", &again);
    assert_eq!(checked.status.code(), Some(0), "{}", printed(&checked));

    let bad = file(directory.path(), "bad.toml", "events = 3\n");
    let refused = config("show", &bad);
    assert_eq!((refused.status.code(), &*printed(&refused)), (Some(2), ""));
}

const SYSMON: &str = "<Sysmon schemaversion=\"4.50\"><EventFiltering>
<RuleGroup groupRelation=\"or\"><ProcessCreate onmatch=\"include\">
<Image name=\"shell\" condition=\"image\">cmd.exe</Image>
<LogonGuid>{0}</LogonGuid>
</ProcessCreate></RuleGroup>
<DnsQuery onmatch=\"include\"><QueryName>x</QueryName></DnsQuery>
</EventFiltering></Sysmon>";

#[test]
fn a_sysmon_configuration_comes_out_as_rules_and_what_is_not_taken_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let xml = file(directory.path(), "sysmon.xml", SYSMON);
    let imported = output([
        OsStr::new("config"),
        OsStr::new("import-sysmon"),
        xml.as_os_str(),
    ]);
    let (rules, told) = (printed(&imported), said(&imported));
    assert_eq!(imported.status.code(), Some(0), "{told}");
    assert!(rules.contains("name = 'shell'\n"), "{rules}");
    for line in [
        "line 4: not taken: ProcessCreate include: LogonGuid \"is\"",
        "line 6: DnsQuery (1 condition): no such events",
        "1 of 2 rules taken",
        "decided as Sysmon does",
    ] {
        assert!(told.contains(line), "{told}");
    }
    let rules = file(directory.path(), "systrail.toml", &rules);
    let checked = output([OsStr::new("config"), OsStr::new("check"), rules.as_os_str()]);
    assert_eq!(checked.status.code(), Some(0), "{}", printed(&checked));
}

#[test]
fn what_is_no_sysmon_configuration_ends_with_2_and_says_why() {
    let directory = tempfile::tempdir().unwrap();
    for (xml, why) in [
        ("<!DOCTYPE x [<!ENTITY a \"b\">]><Sysmon/>", "document type"),
        ("<Sysmon schemaversion=\"9.0\"/>", "known are 3.x and 4.x"),
        ("not a document", "line 1"),
    ] {
        let xml = file(directory.path(), "sysmon.xml", xml);
        let imported = output([
            OsStr::new("config"),
            OsStr::new("import-sysmon"),
            xml.as_os_str(),
        ]);
        assert_eq!(imported.status.code(), Some(2));
        assert!(said(&imported).contains(why), "{}", said(&imported));
        assert_eq!(printed(&imported), "");
    }
}

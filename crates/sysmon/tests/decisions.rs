//! What Sysmon decides: the meaning of the cases that its own tests have about the kinds we know, in cases
//! of ours, and the places where importers are wrong.
//!
//! A case is a configuration, written as what stands in `EventFiltering`, and events with what becomes of
//! them: `+` is kept, `-` is not, and behind a colon stands the name that the event has from it.

use std::borrow::Cow;

use sysmon::{Configuration, EventKind, Operator};

/// An event: its fields, and what becomes of it.
type Told<'t> = (&'t [(&'static str, &'t str)], &'t str);

fn configuration(schema: &str, filtering: &str) -> Configuration {
    let xml = format!(
        "<Sysmon schemaversion=\"{schema}\"><EventFiltering>{filtering}</EventFiltering></Sysmon>"
    );
    match Configuration::parse(&xml) {
        Ok(configuration) => configuration,
        Err(invalid) => panic!("{xml}: {invalid:?}"),
    }
}

fn decided(configuration: &Configuration, kind: EventKind, fields: &[(&str, &str)]) -> String {
    let field_fn = |name: &'static str| {
        let named = fields.iter().find(|(field, _)| *field == name);
        named.map(|(_, text)| Cow::Borrowed(*text))
    };
    let decision = configuration.decide(kind, field_fn);
    let kept = if decision.is_kept { "+" } else { "-" };
    match decision.name {
        Some(name) => format!("{kept}:{name}"),
        None => kept.to_owned(),
    }
}

#[track_caller]
fn check_with(schema: &str, kind: EventKind, filtering: &str, events: &[Told<'_>]) {
    let configuration = configuration(schema, filtering);
    for (fields, expected) in events {
        let decided = decided(&configuration, kind, fields);
        assert_eq!(decided, *expected, "{filtering} on {fields:?}");
    }
}

#[track_caller]
fn check(kind: EventKind, filtering: &str, events: &[Told<'_>]) {
    check_with("4.50", kind, filtering, events);
}

use EventKind::{CreateRemoteThread, DriverLoad, ImageLoad, ProcessCreate, ProcessTerminate};

#[test]
fn a_kind_without_a_section_has_the_default_of_its_kind() {
    for filtering in ["", "<ImageLoad onmatch=\"include\"/>"] {
        check(ProcessCreate, filtering, &[(&[], "+")]);
        check(ProcessTerminate, filtering, &[(&[], "+")]);
        check(DriverLoad, filtering, &[(&[], "-")]);
        check(CreateRemoteThread, filtering, &[(&[], "-")]);
        check(ImageLoad, filtering, &[(&[], "-")]);
    }
}

#[test]
fn an_empty_include_keeps_nothing_and_an_empty_exclude_all() {
    for kind in EventKind::ALL {
        let name = kind.element();
        for inside in [
            "",
            "<!-- nothing -->",
            " \n ",
            "<Rule groupRelation=\"and\"/>",
        ] {
            let exclude = format!("<{name} onmatch=\"exclude\">{inside}</{name}>");
            check(kind, &exclude, &[(&[], "+"), (&[("Image", "a.exe")], "+")]);
            let include = format!("<{name} onmatch=\"include\">{inside}</{name}>");
            check(kind, &include, &[(&[], "-"), (&[("Image", "a.exe")], "-")]);
        }
    }
}

#[test]
fn what_neither_include_nor_exclude_names_is_dropped_and_exclude_wins_in_any_order() {
    let include = r#"<ProcessCreate onmatch="include"><Image>a</Image></ProcessCreate>"#;
    let exclude = r#"<ProcessCreate onmatch="exclude"><User>b</User></ProcessCreate>"#;
    let group =
        |first, second| format!("<RuleGroup groupRelation=\"or\">{first}{second}</RuleGroup>");
    for filtering in [
        format!("{include}{exclude}"),
        format!("{exclude}{include}"),
        group(include, exclude),
        group(exclude, include),
    ] {
        let events: &[Told<'_>] = &[
            (&[("Image", "a")], "+"),
            (&[("User", "b")], "-"),
            (&[("Image", "a"), ("User", "b")], "-"),
            (&[("Image", "c")], "-"),
        ];
        check(ProcessCreate, &filtering, events);
    }
}

/// Several sections of one sort and none of the other: the default of the kind counts for nothing.
#[test]
fn with_several_sections_what_none_matches_is_dropped() {
    let section =
        |user| format!("<ProcessCreate onmatch=\"exclude\"><User>{user}</User></ProcessCreate>");
    let both = section("a") + &section("b");
    check(ProcessCreate, &both, &[(&[("User", "c")], "-")]);
    check(ProcessCreate, &section("a"), &[(&[("User", "c")], "+")]);
}

#[test]
fn the_schema_decides_what_joins_conditions_where_nothing_says_it() {
    let section = r#"<ProcessCreate onmatch="include"><Image>a</Image>
        <CommandLine>b</CommandLine></ProcessCreate>"#;
    let in_group = format!("<RuleGroup name=\"g\">{section}</RuleGroup>");
    for (schema, one_is_enough) in [
        ("3.4", true),
        ("4.0", true),
        ("4", true),
        ("4.1", true),
        ("4.10", true),
        ("4.2", false),
        ("4.20", false),
        ("4.11", false),
        ("4.30", false),
        ("4.90", false),
    ] {
        let one: &[(&str, &str)] = &[("Image", "a")];
        let both: &[(&str, &str)] = &[("Image", "a"), ("CommandLine", "b")];
        let kept = if one_is_enough { "+" } else { "-" };
        check_with(schema, ProcessCreate, section, &[(one, kept), (both, "+")]);
        let kept = if one_is_enough { "+:g" } else { "-" };
        check_with(
            schema,
            ProcessCreate,
            &in_group,
            &[(one, kept), (both, "+:g")],
        );
    }
}

#[test]
fn conditions_on_one_field_are_alternatives_in_a_section_and_not_in_a_rule() {
    let conditions = r#"<Image>a</Image><User>u</User><Image condition="contains">b</Image>"#;
    let and = |inside: &str| {
        format!(
            "<RuleGroup groupRelation=\"and\"><ProcessCreate onmatch=\"include\">{inside}\
             </ProcessCreate></RuleGroup>"
        )
    };
    let events: &[Told<'_>] = &[
        (&[("Image", "a"), ("User", "u")], "+"),
        (&[("Image", "xbx"), ("User", "u")], "+"),
        (&[("Image", "c"), ("User", "u")], "-"),
        (&[("Image", "a")], "-"),
    ];
    check(ProcessCreate, &and(conditions), events);
    let rule = format!("<Rule groupRelation=\"and\">{conditions}</Rule>");
    for filtering in [
        and(&rule),
        format!("<ProcessCreate onmatch=\"include\">{rule}</ProcessCreate>"),
    ] {
        check(
            ProcessCreate,
            &filtering,
            &[(&[("Image", "a"), ("User", "u")], "-")],
        );
    }
    let both = r#"<Rule groupRelation="and"><Image condition="begin with">a</Image>
        <Image condition="end with">b</Image></Rule>"#;
    check(
        ProcessCreate,
        &and(both),
        &[(&[("Image", "a-b")], "+"), (&[("Image", "a-c")], "-")],
    );
}

#[test]
fn a_rule_counts_as_one_condition_of_its_section() {
    let with_relation = |relation| {
        format!(
            "<RuleGroup groupRelation=\"{relation}\"><ProcessCreate onmatch=\"include\">\
             <Image>x</Image><Rule groupRelation=\"or\"><CommandLine>y</CommandLine>\
             <User>z</User></Rule></ProcessCreate></RuleGroup>"
        )
    };
    let events: &[Told<'_>] = &[
        (&[("Image", "x"), ("User", "z")], "+"),
        (&[("Image", "x"), ("CommandLine", "y")], "+"),
        (&[("Image", "x")], "-"),
        (&[("User", "z")], "-"),
    ];
    check(ProcessCreate, &with_relation("and"), events);
    let events: &[Told<'_>] = &[
        (&[("Image", "x")], "+"),
        (&[("User", "z")], "+"),
        (&[], "-"),
    ];
    check(ProcessCreate, &with_relation("or"), events);
}

#[test]
fn a_rule_that_does_not_say_what_joins_its_conditions_takes_one_for_enough() {
    let filtering = r#"<ProcessCreate onmatch="include"><Rule><Image>a</Image><User>b</User></Rule>
        </ProcessCreate>"#;
    check(ProcessCreate, filtering, &[(&[("User", "b")], "+")]);
}

/// The texts of the command line that an operator takes, and those that it does not.
#[track_caller]
fn operator(name: &str, value: &str, takes: &[&str], refuses: &[&str]) {
    let filtering = format!(
        "<ProcessCreate onmatch=\"include\"><CommandLine condition=\"{name}\">{value}\
         </CommandLine></ProcessCreate>"
    );
    let texts = takes.iter().map(|text| (text, "+"));
    for (text, kept) in texts.chain(refuses.iter().map(|text| (text, "-"))) {
        check(
            ProcessCreate,
            &filtering,
            &[(&[("CommandLine", text)], kept)],
        );
    }
}

#[test]
fn operators_compare_whatever_the_case() {
    let whole = ["Run:This /now", "rUN:tHIS /NOW"];
    let around = ["a Run:This /now b", "RUN:this /NOW b", "a run:THIS /now"];
    operator("is", "Run:This /now", &whole, &["Run:That", around[0]]);
    operator("", "Run:This /now", &whole, &[around[1]]);
    operator("IS NOT", "Run:This /now", &["Run:That", around[0]], &whole);
    operator(
        "is any",
        "Run:This /now;Other",
        &[whole[1], "oTHER"],
        &["Run", around[0]],
    );
    operator(
        "contains",
        "Run:This /now",
        &[whole[1], around[0], around[1]],
        &["Run:That"],
    );
    operator(
        "excludes",
        "Run:This /now",
        &["Run:That"],
        &[whole[1], around[0], around[1]],
    );
    operator(
        "begin with",
        "Run:This",
        &[whole[1], around[1]],
        &[around[0], "Run:Thi"],
    );
    operator(
        "not begin with",
        "Run:This",
        &[around[0], "Run:Thi"],
        &[whole[1], around[1]],
    );
    operator(
        "end with",
        "/Now",
        &[whole[1], around[2]],
        &[around[0], "ow", "/now "],
    );
    operator(
        "not end with",
        "/Now",
        &[around[0], "ow"],
        &[whole[1], around[2]],
    );
    operator("contains", "ÉTÉ", &["un été"], &["un ete"]);
}

#[test]
fn lists_are_taken_as_any_and_all_say() {
    let (one, other, both) = ["x ONE y", "x two y", "two, one"].into();
    operator("contains any", "one;TWO", &[one, other, both], &["three"]);
    operator("contains all", "one;TWO", &[both], &[one, other, "three"]);
    // As the source has it, and not as the documentation words it.
    operator("excludes any", "one;TWO", &["three"], &[one, other, both]);
    operator("excludes all", "one;TWO", &[one, other, "three"], &[both]);
}

#[test]
fn a_semicolon_parts_a_list_only_where_the_operator_takes_one() {
    operator(
        "end with",
        ".ps1;.bat",
        &["x.ps1;.bat"],
        &["x.bat", "x.ps1"],
    );
    operator("contains", "a;b", &["xa;bx"], &["a", "b"]);
    operator("is", "a;b", &["a;b"], &["a", "b"]);
    operator("begin with", "a;b", &["a;bc"], &["a", "b"]);
    operator(
        "image",
        "a.exe;b.exe",
        &[r"c:\a.exe;b.exe"],
        &[r"c:\a.exe", "b.exe"],
    );
}

#[test]
fn an_item_without_length_is_found_in_every_text_and_blanks_belong_to_the_value() {
    operator("contains any", "foo;", &["bar", "foo"], &[]);
    operator("contains all", "foo;", &["a foo"], &["bar"]);
    operator("excludes any", "foo;", &[], &["bar", "foo"]);
    // In the middle it is searched for with all that follows.
    operator(
        "contains any",
        "foo;;bar",
        &["x;bar", "bar", "foo"],
        &["baz"],
    );
    operator("is any", "", &[], &["something"]);
    operator("is any", ";;;;", &[], &["something"]);
    operator("contains", "", &["something"], &[]);
    operator("begin with", "Acme ", &["Acme x"], &["Acmetric"]);
    operator("is", "\n a", &["\n a"], &["a"]);
    operator("is", "a<!-- and -->b", &["ab"], &["a"]);
    operator("is", "<![CDATA[a & b]]>", &["a & b"], &["a"]);
    operator("is", "a &amp; &#98;", &["a & b"], &["a"]);
}

#[test]
fn image_is_a_file_name_or_a_whole_path() {
    operator(
        "image",
        "Notepad.Exe",
        &[
            "notepad.exe",
            r"C:\Windows\NOTEPAD.EXE",
            r"\\server\share\notepad.exe",
            r"..\notepad.exe",
        ],
        &[
            r"C:\Windows\xnotepad.exe",
            r"C:\notepad.exe\",
            r"C:\Windows\",
            "open notepad.exe now",
        ],
    );
    operator(
        "image",
        r"tools\x.exe",
        &[r"TOOLS\x.exe"],
        &[r"C:\tools\x.exe", "x.exe"],
    );
}

#[test]
fn there_are_no_wildcards_and_numbers_are_compared_as_texts() {
    operator("is", "a*", &["a*"], &["ab"]);
    operator("contains", "?", &["what?"], &["what"]);
    operator("more than", "9", &["91", "a"], &["10", "9"]);
    operator(
        "less than",
        "Middle",
        &["MIDDLD", "middl", "a"],
        &["middle", "middlf", "z"],
    );
    operator(
        "more than",
        "Middle",
        &["MIDDLF", "middlee"],
        &["middle", "middld"],
    );
}

#[test]
fn a_field_without_text_is_a_dash() {
    let company = |operator: &str, value: &str| {
        format!(
            "<ProcessCreate onmatch=\"include\"><Company condition=\"{operator}\">{value}\
             </Company></ProcessCreate>"
        )
    };
    for (operator, value, kept) in [
        ("is not", "X", "+"),
        ("excludes", "X", "+"),
        ("is", "-", "+"),
        ("is", "X", "-"),
        ("is", "", "-"),
        ("less than", "A", "+"),
    ] {
        let events: &[Told<'_>] = &[(&[], kept), (&[("Company", "")], kept)];
        check(ProcessCreate, &company(operator, value), events);
    }
}

#[test]
fn one_image_is_excluded_from_some_directories_and_included_from_others() {
    let filtering = r#"
        <ImageLoad onmatch="include"><Image>editor.exe</Image><Image>host.exe</Image></ImageLoad>
        <ImageLoad onmatch="exclude"><Rule groupRelation="and"><Image>editor.exe</Image>
            <ImageLoaded condition="contains">C:\System</ImageLoaded>
            <Company>Acme</Company></Rule></ImageLoad>"#;
    let load = |image, loaded, company| {
        [
            ("Image", image),
            ("ImageLoaded", loaded),
            ("Company", company),
        ]
    };
    for (fields, kept) in [
        (load("editor.exe", r"c:\system\a.dll", "Acme"), "-"),
        (load("editor.exe", r"c:\system\a.dll", "Other"), "+"),
        (load("editor.exe", r"c:\system\a.dll", ""), "+"),
        (load("editor.exe", r"c:\test\a.dll", "Acme"), "+"),
        (load("host.exe", r"c:\system\a.dll", "Acme"), "+"),
        (load("shell.exe", r"c:\test\a.dll", "Acme"), "-"),
    ] {
        check(ImageLoad, filtering, &[(&fields, kept)]);
    }
}

/// Sysmon tells the name of a rule of which only a part was met; the name of what matched is right.
#[test]
fn an_event_has_the_name_of_what_matched() {
    let long = "n".repeat(255);
    let filtering = format!(
        r#"<RuleGroup name="group" groupRelation="or"><ProcessCreate onmatch="include">
            <Rule name="half" groupRelation="and"><Image>a</Image><User>nobody</User></Rule>
            <Rule name="" groupRelation="and"><Image>a</Image><User>u</User></Rule>
            <Image>b</Image>
            <Image name="own">c</Image>
            <Rule name="{long}" groupRelation="or"><Image>d</Image><Image name="inner">e</Image></Rule>
        </ProcessCreate></RuleGroup>"#
    );
    let long = format!("+:{long}");
    for (image, kept) in [
        ("a", "+"),
        ("b", "+:group"),
        ("c", "+:own"),
        ("d", &long),
        ("e", "+:inner"),
    ] {
        check(
            ProcessCreate,
            &filtering,
            &[(&[("Image", image), ("User", "u")], kept)],
        );
    }
}

#[test]
fn names_of_operators_are_known_in_any_case_and_go_both_ways() {
    for (name, operator) in Operator::NAMES {
        assert_eq!(
            Operator::from_name(Some(&name.to_uppercase())),
            Some(operator)
        );
        assert_eq!(operator.name(), name);
    }
    assert_eq!(Operator::from_name(Some("something")), None);
}

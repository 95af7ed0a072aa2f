//! What an import promises: what it takes decides as Sysmon does, and what it does not take is told.

use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};

use super::*;

fn imported(sections: &str) -> Import {
    of_schema("4.50", sections)
}

fn of_schema(schema: &str, sections: &str) -> Import {
    let xml = format!(
        "<Sysmon schemaversion=\"{schema}\"><EventFiltering>{sections}</EventFiltering></Sysmon>"
    );
    let import = import("x.xml", xml.as_bytes()).unwrap();
    assert_eq!(import.proof.disagreements, [""; 0], "{}", import.text);
    import
}

fn create(on_match: &str, conditions: &str) -> String {
    format!("<ProcessCreate onmatch=\"{on_match}\">{conditions}</ProcessCreate>")
}

#[test]
fn every_operator_decides_as_it_does_there() {
    for (name, operator) in sysmon::Operator::NAMES {
        for value in [
            "cmd.exe",
            r"C:\a\b.exe",
            "a;b;cmd.exe",
            "-",
            "a*b?[c]{d}",
            "É;ß",
        ] {
            for on_match in ["include", "exclude"] {
                let condition = format!("<CommandLine condition=\"{name}\">{value}</CommandLine>");
                let import = imported(&create(on_match, &condition));
                let is_ordered = ["less than", "more than"].contains(&name);
                assert_eq!(import.left.len(), usize::from(is_ordered), "{operator:?}");
                assert!(is_ordered || import.proof.event_count > 5);
            }
        }
    }
}

#[test]
fn the_sections_of_a_kind_decide_what_becomes_of_the_rest() {
    let image = "<Image condition=\"end with\">a.exe</Image>";
    let load = |on_match: &str, conditions: &str| {
        format!("<ImageLoad onmatch=\"{on_match}\">{conditions}</ImageLoad>")
    };
    for sections in [
        String::new(),
        create("include", ""),
        create("exclude", ""),
        create("exclude", image),
        create("include", image),
        create("include", image) + &create("exclude", "<Image>C:\\x\\a.exe</Image>"),
        create("exclude", image) + &create("exclude", "<User>x</User>"),
        create("include", image) + &create("include", "<User>x</User>"),
        load("exclude", image),
        load("include", image) + &load("exclude", "<Signed>true</Signed>"),
        load("exclude", image)
            + "<DriverLoad onmatch=\"include\"><Signed>false</Signed></DriverLoad>",
        load("include", image)
            + "<DriverLoad onmatch=\"exclude\"><Signed>true</Signed></DriverLoad>",
    ] {
        imported(&sections);
    }
}

#[test]
fn relations_are_as_the_schema_has_them() {
    let conditions = "<Image condition=\"contains\">a</Image><User>u</User>\
                      <Image condition=\"contains\">b</Image>\
                      <Rule groupRelation=\"and\" name=\"r\"><CommandLine condition=\"contains\">c\
                      </CommandLine><ParentImage condition=\"image\">p.exe</ParentImage></Rule>\
                      <Rule groupRelation=\"or\"><Product>x</Product><Company>y</Company></Rule>";
    for schema in ["3.40", "4.00", "4.22", "4.50"] {
        for on_match in ["include", "exclude"] {
            of_schema(schema, &create(on_match, conditions));
            let group = format!(
                "<RuleGroup name=\"g\" groupRelation=\"and\">{}</RuleGroup>",
                create(on_match, conditions)
            );
            of_schema("4.50", &group);
        }
    }
}

#[test]
fn a_rule_keeps_its_name() {
    let conditions = "<Rule name=\"it's\" groupRelation=\"and\"><Image>a</Image></Rule>\
                      <Image name=\"two\">b</Image>";
    let group = |section| format!("<RuleGroup groupRelation=\"or\">{section}</RuleGroup>");
    let text = imported(&group(create("include", conditions))).text;
    assert!(
        text.contains("name = \"it's\"\n") && text.contains("name = 'two'\n"),
        "{text}"
    );
}

/// Without one of its conditions an exclude rule would leave out more than Sysmon does.
#[test]
fn what_cannot_be_taken_keeps_rather_more_and_is_told() {
    let rule = "<Rule groupRelation=\"and\"><Image>a</Image><LogonGuid>g</LogonGuid></Rule>";
    let exclude = imported(&create("exclude", rule));
    assert!(!exclude.text.contains("\nimage ="), "{}", exclude.text);
    let include = imported(&create("include", rule));
    assert!(include.text.contains("image = 'a'"), "{}", include.text);
    for import in [exclude, include] {
        assert_eq!(sums(&import.counts), (1, 0));
        let [left] = &*import.left else {
            panic!("{:?}", import.left);
        };
        assert!(left.what.contains("LogonGuid"), "{left:?}");
        assert!(import.text.contains("# Not taken: line 1, ProcessCreate"));
    }
}

// Rows 8 and 15 of what other importers have wrong.
#[test]
fn what_is_disputed_is_settled_and_told() {
    let conditions = "<Rule><Image>a</Image><User>u</User></Rule>\n\
                      <Image condition=\"begin with\">%ProgramData%\\x</Image>\n\
                      <Image condition=\"begin with\">%TEMP%\\x</Image>";
    let import = imported(&create("exclude", conditions));
    let told: Vec<(u32, &str)> = import
        .remarks
        .iter()
        .map(|it| (it.line, &*it.what))
        .collect();
    let [rule, known, unknown] = &*told else {
        panic!("{told:?}");
    };
    assert!(
        rule.1.contains("one of its conditions is enough"),
        "{rule:?}"
    );
    assert_eq!(*known, (2, r"%ProgramData% is taken as C:\ProgramData"));
    assert!(
        unknown.0 == 3 && unknown.1.contains("as it stands"),
        "{unknown:?}"
    );
    assert!(
        import.text.contains("# Line 2: %ProgramData% is taken as"),
        "{}",
        import.text
    );
}

/// A name with a line end would have begun a line of its own.
#[test]
fn no_text_of_the_configuration_is_more_than_a_text() {
    let name = "x&#10;[[exclude]]&#10;y";
    let conditions = format!("<Image name=\"{name}\" condition=\"is\">a'''&#10;b</Image>");
    let xml = format!(
        "<Sysmon schemaversion=\"4.50\"><EventFiltering>{}</EventFiltering></Sysmon>",
        create("include", &conditions)
    );
    let import = import("a\n[[exclude]]\nb", xml.as_bytes()).unwrap();
    let (config, findings) = Config::parse_for(System::Windows, &import.text);
    assert_eq!(findings, []);
    assert_eq!(config.include.len(), 1);
    let excludes = import
        .text
        .lines()
        .filter(|line| line.starts_with("[[exclude]]"));
    assert_eq!(excludes.count(), config.exclude.len());
}

fn condition() -> impl Strategy<Value = String> {
    let field = prop_oneof![
        Just("Image"),
        Just("CommandLine"),
        Just("ParentImage"),
        Just("OriginalFileName"),
        Just("LogonGuid")
    ];
    let operator = proptest::sample::select(&sysmon::Operator::NAMES[..]);
    let value = proptest::string::string_regex(r"[aAbé;\\/*\[\]{}?.-]{0,6}").expect("a regex");
    (field, operator, value).prop_map(|(field, (name, _), value)| {
        format!("<{field} condition=\"{name}\">{value}</{field}>")
    })
}

fn section() -> impl Strategy<Value = String> {
    let relation = || prop_oneof![Just("and"), Just("or")];
    let rule = (relation(), proptest::collection::vec(condition(), 1..4)).prop_map(
        |(relation, conditions)| {
            format!(
                "<Rule groupRelation=\"{relation}\">{}</Rule>",
                conditions.concat()
            )
        },
    );
    let item = prop_oneof![condition(), rule];
    let on_match = prop_oneof![Just("include"), Just("exclude")];
    (relation(), on_match, proptest::collection::vec(item, 0..4)).prop_map(
        |(relation, on_match, items)| {
            let section = create(on_match, &items.concat());
            format!("<RuleGroup groupRelation=\"{relation}\">{section}</RuleGroup>")
        },
    )
}

proptest! {
    // Each compiles its rules and asks them about a few hundred events.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_configuration_decides_as_it_does_there(
        sections in proptest::collection::vec(section(), 0..4),
    ) {
        imported(&sections.concat());
    }
}

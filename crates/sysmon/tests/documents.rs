//! Which documents are configurations, and which are refused and where.

use proptest::prelude::{any, proptest};
use sysmon::{Configuration, EventKind, Item, Refusal, Relation};

fn refused(xml: &str) -> Vec<(u32, Refusal)> {
    match Configuration::parse(xml) {
        Ok(configuration) => panic!("{xml} was taken: {configuration:?}"),
        Err(invalid) => invalid.0,
    }
}

fn in_section(inside: &str) -> String {
    format!(
        "<Sysmon schemaversion=\"4.90\">\n<EventFiltering>\n<ProcessCreate onmatch=\"include\">\n\
         {inside}</ProcessCreate>\n</EventFiltering></Sysmon>"
    )
}

#[test]
fn what_sysmon_refuses_is_refused_with_its_line() {
    let long = "x".repeat(256);
    for (inside, line) in [
        ("<Image>a</Image>\n<Imago>b</Imago>", 5),
        ("<DestinationPort>b</DestinationPort>", 4),
        ("<Image condition=\"something\">b</Image>", 4),
        ("<Image>a<Image>b</Image></Image>", 4),
        ("<Rule groupRelation=\"xor\"><Image>a</Image></Rule>", 4),
        (&format!("\n\n<Image name=\"{long}\">a</Image>"), 6),
        (&format!("<Rule name=\"{long}\"><Image>a</Image></Rule>"), 4),
    ] {
        let refused = refused(&in_section(inside));
        assert_eq!(
            refused.iter().map(|found| found.0).collect::<Vec<_>>(),
            [line],
            "{inside}"
        );
    }
    for (root, line) in [
        ("<Sysmon/>", 1),
        ("\n<Sysmon schemaversion=\"new\"/>", 2),
        ("<Sysmon schemaversion=\"5.0\"/>", 1),
        ("<Sysmon schemaversion=\"2.01\"/>", 1),
        ("<Configuration schemaversion=\"4.0\"/>", 1),
        ("<Sysmon schemaversion=\"4.0\">\n</Sysmo>", 2),
        (
            "<Sysmon schemaversion=\"4.0\"><EventFiltering><ImageLoad/></EventFiltering></Sysmon>",
            1,
        ),
        (
            "<Sysmon schemaversion=\"4.0\"><EventFiltering>\n<ImageLoad onmatch=\"maybe\"/></EventFiltering></Sysmon>",
            2,
        ),
    ] {
        let refused = refused(root);
        assert_eq!(
            refused.iter().map(|found| found.0).collect::<Vec<_>>(),
            [line],
            "{root}"
        );
    }
}

#[test]
fn every_finding_is_told_and_no_more_than_a_hundred() {
    let two = refused(&in_section(
        "<Imago>b</Imago>\n<Image condition=\"x\">c</Image>\n",
    ));
    assert_eq!(two.iter().map(|found| found.0).collect::<Vec<_>>(), [4, 5]);
    assert_eq!(
        refused(&in_section(&"<Imago>b</Imago>".repeat(1000))).len(),
        100
    );
}

/// A few lines of entities make gigabytes of text.
#[test]
fn entities_are_not_read() {
    let bomb = "<!DOCTYPE Sysmon [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;&a;\">]>\n\
                <Sysmon schemaversion=\"4.0\"><EventFiltering><ImageLoad onmatch=\"include\">\
                <Image>&b;</Image></ImageLoad></EventFiltering></Sysmon>";
    assert_eq!(refused(bomb)[0].1, Refusal::DocumentType);
    let file = "<!DOCTYPE Sysmon SYSTEM \"file:///etc/passwd\"><Sysmon schemaversion=\"4.0\"/>";
    assert_eq!(refused(file)[0].1, Refusal::DocumentType);
    let unknown = in_section("<Image>&b;</Image>");
    assert!(matches!(refused(&unknown)[0].1, Refusal::Xml(_)));
}

#[test]
fn elements_deep_in_one_another_are_refused_before_a_tree_is_made() {
    let deep = "<a>\n".repeat(200_000);
    assert_eq!(refused(&deep), [(33, Refusal::TooDeep)]);
    // Neither comments nor values nor empty elements are deep.
    let flat = "<!-- <a><a> --><Image name=\"a>b\" condition='>'/><![CDATA[<a>]]>".repeat(50);
    let refused = refused(&in_section(&flat));
    assert!(
        refused
            .iter()
            .all(|(_, refusal)| *refusal != Refusal::TooDeep)
    );
}

#[test]
fn more_nodes_than_a_configuration_has_are_refused() {
    let many = in_section(&"<Rule/>".repeat(600_000));
    assert!(matches!(refused(&many)[0].1, Refusal::Xml(_)));
}

#[test]
fn elements_about_other_kinds_are_named_and_counted() {
    let xml = "<Sysmon schemaversion=\"4.90\">\n<HashAlgorithms>md5,sha256</HashAlgorithms>\n\
        <EventFiltering>\n<RuleGroup groupRelation=\"or\">\n\
        <NetworkConnect onmatch=\"include\"><Image>a</Image><Rule><Image>b</Image></Rule>\
        </NetworkConnect>\n</RuleGroup><FileCreate onmatch=\"exclude\"/></EventFiltering></Sysmon>";
    let others = Configuration::parse(xml).unwrap().others;
    let others: Vec<_> = others
        .iter()
        .map(|other| (&*other.element, other.condition_count, other.line))
        .collect();
    let expected = [
        ("HashAlgorithms", 0, 2),
        ("NetworkConnect", 2, 5),
        ("FileCreate", 0, 6),
    ];
    let mut expected = expected.to_vec();
    expected.sort_by_key(|other| other.2);
    assert_eq!(others, expected);
}

#[test]
fn lines_and_relations_are_those_of_the_file() {
    let xml = in_section("<Image>a</Image>\n<Rule>\n<Image>b</Image></Rule>\n");
    let configuration = Configuration::parse(&xml).unwrap();
    let [section] = &configuration.sections[..] else {
        panic!("{configuration:?}")
    };
    assert_eq!((section.kind, section.line), (EventKind::ProcessCreate, 3));
    assert_eq!(section.relation, Relation::And);
    let lines: Vec<u32> = section
        .items
        .iter()
        .map(|item| match item {
            Item::Condition(condition) => condition.line,
            Item::Rule(rule) => {
                assert!(!rule.says_relation && rule.relation == Relation::Or);
                rule.line
            }
        })
        .collect();
    assert_eq!(lines, [4, 5]);
}

/// The attribute of old schemas says what becomes of what does not match.
#[test]
fn default_is_the_other_way_round() {
    let xml = "<Sysmon schemaversion=\"3.4\"><EventFiltering><ImageLoad default=\"include\"/>\
               </EventFiltering></Sysmon>";
    let configuration = Configuration::parse(xml).unwrap();
    assert!(
        configuration
            .decide(EventKind::ImageLoad, |_field| None)
            .is_kept
    );
}

proptest! {
    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(text) = sysmon::text(&bytes) {
            let _either = Configuration::parse(&text);
        }
    }

    #[test]
    fn any_shuffled_markup_is_taken_or_refused(
        parts in proptest::collection::vec(0_usize..14, 0..40)
    ) {
        const PARTS: [&str; 14] = [
            "<Sysmon schemaversion=\"4.9\">", "</Sysmon>", "<EventFiltering>", "</EventFiltering>",
            "<RuleGroup name='g'>", "</RuleGroup>", "<ImageLoad onmatch='include'>", "</ImageLoad>",
            "<Rule>", "</Rule>", "<Image condition='is any'>a;;b</Image>", "<!--", "-->", "&amp;",
        ];
        let text: String = parts.iter().map(|part| PARTS[*part]).collect();
        if let Ok(configuration) = Configuration::parse(&text) {
            let _any = configuration.decide(EventKind::ImageLoad, |_field| None);
        }
    }
}

//! The pipelines with which pySigma writes queries for the store and for exports: made of the table.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use event::Kind;

use super::super::taxonomy::{SOURCES, Source, System};
use crate::trail::schema::{self, Field, Type};

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/sigma");

/// Where a pipeline's queries are asked.
struct Target {
    file: &'static str,
    about: &'static str,
    name_fn: fn(&Field) -> Option<&'static str>,
    /// Which events a log source is.
    conditions_fn: fn(&Source) -> Vec<(&'static str, &'static str)>,
    table: Option<&'static str>,
}

const STORE: Target = Target {
    file: "systrail.yml",
    about: "the view `events` of the store and tables with columns named as the log's fields",
    name_fn: |field| Some(field.name),
    conditions_fn: |source| match source.category {
        "process_creation" if source.system == System::Linux => vec![("kind", "process_exec")],
        "process_creation" => vec![("kind", "process_start"), ("existing", "0")],
        "process_termination" => vec![("kind", "process_exit")],
        "image_load" => vec![
            ("kind", "image_load"),
            ("kernel_image", "0"),
            ("existing", "0"),
        ],
        "driver_load" => vec![
            ("kind", "image_load"),
            ("kernel_image", "1"),
            ("existing", "0"),
        ],
        "create_remote_thread" => vec![("kind", "thread_start"), ("remote", "1")],
        other => panic!("{other}: which events are these?"),
    },
    table: Some("events"),
};

const ECS: Target = Target {
    file: "systrail-ecs.yml",
    about: "what `systrail export --format ecs` writes",
    name_fn: |field| field.ecs,
    conditions_fn: |source| match source.category {
        "process_creation" if source.system == System::Linux => vec![("event.action", "exec")],
        "process_creation" => vec![("event.action", "start")],
        "process_termination" => vec![("event.action", "end")],
        "image_load" | "driver_load" => vec![("event.category", "library")],
        "create_remote_thread" => vec![("systrail.remote", "true")],
        other => panic!("{other}: which events are these?"),
    },
    table: None,
};

/// A truth value is no text that a rule could compare, and what is made of several fields has no one name. A
/// hash among `Hashes` has the name of its algorithm before it, be there only one.
fn mapping(
    source: &Source,
    target: &Target,
) -> (Vec<(&'static str, &'static str)>, Vec<&'static str>) {
    let (mut mapped, mut others) = (Vec::new(), Vec::new());
    for column in source.columns {
        match column.ours {
            [field]
                if column.sigma != "Hashes"
                    && !matches!(field.r#type, Type::Truth | Type::Flag) =>
            {
                match (target.name_fn)(field) {
                    Some(name) => mapped.push((column.sigma, name)),
                    None => others.push(column.sigma),
                }
            }
            _ => others.push(column.sigma),
        }
    }
    (mapped, others)
}

fn pipeline(target: &Target) -> String {
    let mut out = format!(
        "# For pySigma: rules as queries of {}.\n# Made of the table in docs/DETECT.md; a test holds \
         the two together.\nname: SysTrail\npriority: 20\ntransformations:\n",
        target.about
    );
    for source in &SOURCES {
        let (product, category) = (source.system.name(), source.category);
        let id = format!("{product}_{category}");
        let fits = format!(
            "    rule_conditions:\n      - type: logsource\n        product: {product}\n        \
             category: {category}\n"
        );
        let (mapped, others) = mapping(source, target);
        let _infallible = write!(out, "  - id: {id}_fields\n    type: field_name_mapping\n");
        if !others.is_empty() {
            let _infallible = writeln!(out, "    # No field by itself: {}.", others.join(", "));
        }
        out.push_str("    mapping:\n");
        for (sigma, ours) in mapped {
            let _infallible = writeln!(out, "      {sigma}: {ours}");
        }
        out.push_str(&fits);
        let _infallible = write!(
            out,
            "  - id: {id}_events\n    type: add_condition\n    conditions:\n"
        );
        for (name, value) in (target.conditions_fn)(source) {
            let _infallible = writeln!(out, "      {name}: {value}");
        }
        out.push_str(&fits);
        if let Some(table) = target.table {
            let _infallible = write!(
                out,
                "  - id: {id}_table\n    type: set_state\n    key: table\n    val: {table}\n{fits}"
            );
        }
    }
    out
}

#[test]
fn the_pipelines_have_the_fields_of_the_table() {
    let is_wanted = std::env::var_os("UPDATE_DOCS").is_some();
    let stale = [STORE, ECS].into_iter().filter(|target| {
        let path = Path::new(DIRECTORY).join(target.file);
        let text = pipeline(target);
        let is_stale = fs::read_to_string(&path).unwrap_or_default() != text;
        if is_stale && is_wanted {
            fs::write(&path, &text).unwrap();
        }
        is_stale
    });
    let stale: Vec<&str> = stale.map(|target| target.file).collect();
    assert_eq!(stale, [""; 0], "UPDATE_DOCS=1 writes them");
}

/// A column that does not exist would be an error of SQLite in each query.
#[test]
fn the_pipelines_name_events_that_there_are() {
    for source in &SOURCES {
        let conditions = (STORE.conditions_fn)(source);
        let (name, kind) = conditions[0];
        let kind = Kind::from_name(kind).expect("a kind");
        assert_eq!(name, "kind");
        let has = |name: &str| {
            let mut fields = schema::fields_of_event(kind);
            fields.any(|field| field.name == name)
        };
        for (name, _) in &conditions {
            assert!(has(name), "{name} of {kind}");
        }
        for (sigma, ours) in mapping(source, &STORE).0 {
            assert!(has(ours), "{sigma} is {ours} of {kind}");
        }
    }
}

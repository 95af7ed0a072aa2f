//! The tables of fields in the documents are those of the schema. A table stands between
//! `<!-- table: NAME -->` and `<!-- end of table -->`; `UPDATE_DOCS=1 cargo test -p systrail-trail
//! --test documents` writes them anew, and the columns of the fleet's table with them.

#[path = "documents/clickhouse.rs"]
mod clickhouse;

use std::collections::BTreeMap;
use std::{env, fs};

use event::Kind;
use systrail_trail::schema::{self, Field, Type};

const END: &str = "<!-- end of table -->";

/// Finds each table of `tables` in the document as it should be, or puts it there.
fn check(path: &str, tables: &BTreeMap<String, String>) {
    let path = format!("{}/../../docs/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(&path).unwrap();
    let mut right = text.clone();
    for (name, table) in tables {
        let begin = format!("<!-- table: {name} -->\n");
        let parts = right.split_once(&begin);
        let (before, rest) = parts.unwrap_or_else(|| panic!("{path} has no {begin}"));
        let (_, after) = rest
            .split_once(END)
            .unwrap_or_else(|| panic!("{path}: the table {name} has no end"));
        right = format!("{before}{begin}\n{table}\n{END}{after}");
    }
    let known = right.matches("<!-- table: ").count();
    assert_eq!(known, tables.len(), "{path} has a table nobody writes");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, right).unwrap();
        return;
    }
    let differs = text.lines().zip(right.lines()).find(|(is, be)| is != be);
    assert!(
        text == right,
        "{path} is not what the schema says, first in {differs:?}; write it with UPDATE_DOCS=1 \
         cargo test -p systrail-trail --test documents"
    );
}

fn table(heading: &str, rows: impl IntoIterator<Item = String>) -> String {
    let columns = heading.matches(" | ").count() + 1;
    let mut table = format!("| {heading} |\n|{}\n", "---|".repeat(columns));
    for row in rows {
        table.extend(["| ", &row, " |\n"]);
    }
    table
}

fn names(field: &Field) -> String {
    let name = format!("`{}`", field.name);
    if field.r#type.has_raw() {
        format!("{name}, `{}`", field.raw_name)
    } else {
        name
    }
}

fn fields_table<'f>(fields: impl IntoIterator<Item = &'f Field>) -> String {
    let rows = fields.into_iter().map(|field| {
        // A flag says so by its type.
        let is_told = field.is_optional && field.r#type != Type::Flag;
        format!(
            "{} | {}{} | {} | {}",
            names(field),
            field.r#type.name(),
            if is_told { ", optional" } else { "" },
            field.since,
            field.about().replace('|', "\\|"),
        )
    });
    table("field | type | since | what", rows)
}

#[test]
fn the_events_have_the_fields_of_the_schema() {
    let kinds = Kind::ALL.iter().map(|kind| {
        let fields = schema::fields_of_kind(*kind).iter().copied();
        (kind.to_string(), fields_table(fields))
    });
    let mut tables: BTreeMap<String, String> = kinds.collect();
    tables.insert("head".to_owned(), fields_table(schema::head()));
    tables.insert("notes".to_owned(), fields_table(schema::notes()));
    check("EVENTS.md", &tables);
}

/// Where a field goes: its name there, and those it has for some kinds alone.
fn theirs(name: &str, name_fn: impl Fn(&Field) -> Option<&'static str>) -> String {
    let mut by_name: Vec<(Option<&'static str>, Vec<Kind>)> = Vec::new();
    for kind in Kind::ALL {
        let Some(field) = schema::fields_of_event(*kind).find(|field| field.name == name) else {
            continue;
        };
        let theirs = name_fn(field);
        match by_name.iter_mut().find(|(known, _)| *known == theirs) {
            Some((_, kinds)) => kinds.push(*kind),
            None => by_name.push((theirs, vec![*kind])),
        }
    }
    let cells = by_name.iter().enumerate().map(|(index, (theirs, kinds))| {
        let theirs = theirs.map_or("ours".to_owned(), |theirs| format!("`{theirs}`"));
        if index == 0 {
            return theirs;
        }
        let kinds: Vec<String> = kinds.iter().map(|kind| format!("`{kind}`")).collect();
        format!("of {} {theirs}", kinds.join(", "))
    });
    cells.collect::<Vec<_>>().join("; ")
}

#[test]
fn the_exports_have_the_names_of_the_schema() {
    let rows = schema::all().iter().flat_map(|field| {
        let ecs = theirs(field.name, |field| field.ecs);
        let ocsf = theirs(field.name, |field| field.ocsf);
        let raw = format!("`{}` | ours | ours", field.raw_name);
        let row = format!("`{}` | {ecs} | {ocsf}", field.name);
        [Some(row), field.r#type.has_raw().then_some(raw)]
    });
    let table = table("field | ECS | OCSF", rows.flatten());
    check("EXPORT.md", &[("names".to_owned(), table)].into());
}

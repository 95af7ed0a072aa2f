//! The columns of the table in `packaging/clickhouse` are the fields of the schema.

use std::{env, fs};

use systrail_trail::schema::{self, Field, Type};

/// What every event has, so it stands in the table itself.
const KEY: [&str; 6] = ["host_id", "run", "sequence", "time", "kind", "host"];

const BEGIN: &str = "-- columns\n";
const END: &str = "-- end of columns\n";

#[test]
fn every_field_is_a_column_that_can_be_absent() {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../packaging/clickhouse/single-node.sql"
    );
    let text = fs::read_to_string(path).unwrap();
    let (before, rest) = text.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let columns = columns().join(",\n");
    let right = format!("{before}{BEGIN}{columns};\n{END}{after}");
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(path, right).unwrap();
        return;
    }
    assert!(
        text == right,
        "packaging/clickhouse is not what the schema says; write it with UPDATE_DOCS=1 cargo test \
         -p systrail-trail --test documents"
    );
}

fn columns() -> Vec<String> {
    let mut columns = Vec::new();
    for field in schema::all() {
        if !KEY.contains(&field.name) {
            columns.push(column(field.name, type_of(field)));
        }
        if field.r#type.has_raw() {
            columns.push(column(field.raw_name, "Nullable(String)"));
        }
    }
    columns
}

fn column(name: &str, r#type: &str) -> String {
    format!("    ADD COLUMN IF NOT EXISTS {name} {type}")
}

/// Lists and objects are their JSON, as in the local store.
fn type_of(field: &Field) -> &'static str {
    match field.r#type {
        Type::Number => "Nullable(UInt64)",
        Type::Time => "Nullable(DateTime64(9, 'UTC'))",
        Type::Truth | Type::Flag => "Nullable(UInt8)",
        Type::Text | Type::Kind => "LowCardinality(Nullable(String))",
        Type::SystemText
        | Type::Texts
        | Type::Key
        | Type::Address
        | Type::UserId
        | Type::Account
        | Type::Names
        | Type::Reasons => "Nullable(String)",
    }
}

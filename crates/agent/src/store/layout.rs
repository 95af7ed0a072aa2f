//! The tables of a segment as the schema of the trail makes them: a table a kind, a column a field.
//!
//! Two tables are shared: `program` by the kinds that tell what a process runs, `image` by those
//! that map a file. Equal rows of them stand there once, and an event refers to its row. Kinds about
//! the recording itself are rare and stand in one table, `mark`, with their texts as they are.

use std::fmt::Write as _;
use std::sync::LazyLock;

use event::{Kind, Subject};

use super::time_ranges::{self, TIME_RANGE};
use crate::trail::schema::{self, Field, Place, Type};
use crate::trail::{Program, Whence};

/// The table of the kinds about the recording itself.
pub(super) const MARK: &str = "mark";

/// The column with the whole command of a process; see `intern.rs`.
pub(super) const COMMAND: &str = "command";

/// A table, and those of its columns that are fields.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    /// Fields of an event's own.
    pub(super) own: Vec<Column>,
    /// The table that its shared fields are in, and they.
    pub(super) shared: Option<(&'static str, Vec<Column>)>,
    /// Whether it refers to a parent.
    pub(super) has_parent: bool,
    /// The version of the schema that brought it.
    pub(super) since: u32,
}

/// A column that is a field.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) field: &'static Field,
}

impl Table {
    /// The table of a kind.
    fn of(kind: Kind) -> Option<Self> {
        let (name, subject) = (kind.name()?, kind.subject()?);
        let fields = schema::fields_of_kind(kind);
        let in_place = |place: Place| fields.iter().filter(move |field| field.place == place);
        let shared: Vec<Column> = in_place(Place::Shared)
            .flat_map(|field| columns(field))
            .collect();
        let own = fields
            .iter()
            .filter(|field| matches!(field.place, Place::Row | Place::Near));
        let shared_name = match subject {
            Subject::Image => "image",
            _ => "program",
        };
        Some(Self {
            name: if subject == Subject::Recording {
                MARK
            } else {
                name
            },
            own: own.flat_map(|field| columns(field)).collect(),
            shared: (!shared.is_empty()).then_some((shared_name, shared)),
            has_parent: in_place(Place::Parent).next().is_some(),
            since: fields.iter().map(|field| field.since).min().unwrap_or(1),
        })
    }

    /// Whether what is to be said of its fields is part of the shared row: how an image is mapped is
    /// mostly the same each time, what could not be had of it as well.
    pub(super) fn shares_notes(&self) -> bool {
        self.shared_table() == Some("image")
    }

    /// The table of its shared fields.
    pub(super) fn shared_table(&self) -> Option<&'static str> {
        self.shared.as_ref().map(|(name, _)| *name)
    }

    /// Every column, in the order in which rows are written.
    pub(super) fn columns(&self) -> Vec<&str> {
        let mut columns = vec!["id", "time", "process"];
        columns.extend(self.has_parent.then_some("parent"));
        columns.extend(self.shared_table());
        columns.extend(self.own.iter().map(|column| &*column.name));
        columns.extend((!self.shares_notes()).then_some("notes"));
        columns
    }
}

/// The columns of a field.
fn columns(field: &'static Field) -> Vec<Column> {
    let column = |name: &str| Column {
        name: name.to_owned(),
        field,
    };
    match field.place {
        Place::Near => vec![column(&near(field))],
        // Both are in it where they can be had from it again.
        _ if field.name == Program::arguments.name => vec![column(COMMAND), column(field.name)],
        _ => vec![column(field.name)],
    }
}

/// The column of a number that is told as the difference from the process's id.
pub(super) fn near(field: &Field) -> String {
    format!(
        "{}_offset",
        field.name.strip_suffix("_id").unwrap_or(field.name)
    )
}

/// The table of each kind but those in `mark`, in the order of the kinds.
pub(super) fn tables() -> &'static [(Kind, Table)] {
    static TABLES: LazyLock<Vec<(Kind, Table)>> = LazyLock::new(|| {
        let tables = Kind::ALL
            .iter()
            .filter_map(|kind| Some((*kind, Table::of(*kind)?)));
        tables.filter(|(_, table)| table.name != MARK).collect()
    });
    &TABLES
}

/// The table of a kind that is not in `mark`.
pub(super) fn table_of(kind: Kind) -> Option<&'static Table> {
    let found = tables().iter().find(|(of, _)| *of == kind);
    found.map(|(_, table)| table)
}

/// The kinds that are in `mark`.
pub(super) fn marks() -> impl Iterator<Item = Kind> {
    let all = Kind::ALL.iter().copied();
    all.filter(|kind| kind.subject() == Some(Subject::Recording))
}

/// The columns of `mark` that are fields, each once.
pub(super) fn mark_columns() -> &'static [Column] {
    static COLUMNS: LazyLock<Vec<Column>> = LazyLock::new(|| {
        let mut all: Vec<Column> = Vec::new();
        let of_kind = |kind| schema::fields_of_kind(kind).iter();
        for field in marks().flat_map(of_kind) {
            for column in columns(field) {
                if !all.iter().any(|known| known.name == column.name) {
                    all.push(column);
                }
            }
        }
        all
    });
    &COLUMNS
}

/// The tables that have events, with times.
pub(super) fn event_tables() -> impl Iterator<Item = &'static str> + Clone {
    tables().iter().map(|(_, table)| table.name).chain([MARK])
}

/// The shared tables, each with its fields.
pub(super) fn shared_tables() -> &'static [(&'static str, Vec<Column>)] {
    static SHARED: LazyLock<Vec<(&'static str, Vec<Column>)>> = LazyLock::new(|| {
        let mut all: Vec<(&'static str, Vec<Column>)> = Vec::new();
        for (name, columns) in tables()
            .iter()
            .filter_map(|(_, table)| table.shared.as_ref())
        {
            let index = all.iter().position(|(known, _)| known == name);
            let index = index.unwrap_or_else(|| {
                all.push((*name, Vec::new()));
                all.len() - 1
            });
            for column in columns {
                let known = &mut all[index].1;
                if !known.iter().any(|known| known.name == column.name) {
                    known.push(column.clone());
                }
            }
        }
        all
    });
    &SHARED
}

/// The columns of a process that an earlier segment knows beyond those of its start.
pub(super) const CARRIED: [&str; 3] = ["exec_count", "exec_time", "run_began"];

/// The columns of `process_carried`: those of a start, and [`CARRIED`].
pub(super) fn carried_columns() -> Vec<&'static str> {
    let mut columns = vec!["process", "time", "parent", "program"];
    if let Some(start) = table_of(Kind::PROCESS_START) {
        columns.extend(start.own.iter().map(|column| &*column.name));
    }
    columns.extend(CARRIED);
    columns
}

/// The columns a table of this name has, as far as this version knows; `None` for another's table.
pub(super) fn known_columns(table: &str) -> Option<Vec<(&'static str, u32)>> {
    let of = |columns: &'static [Column]| {
        columns
            .iter()
            .map(|column| (&*column.name, column.field.since))
    };
    let fixed = |names: &[&'static str]| names.iter().map(|name| (*name, 1)).collect::<Vec<_>>();
    if let Some((_, columns)) = shared_tables().iter().find(|(name, _)| *name == table) {
        let own: &[&str] = match table {
            "image" => &["id", "notes", "load_count"],
            _ => &["id"],
        };
        return Some(of(columns).chain(fixed(own)).collect());
    }
    if table == MARK {
        let own = fixed(&["id", "time", "process", "kind", "notes"]);
        return Some(of(mark_columns()).chain(own).collect());
    }
    if let Some((_, known)) = tables().iter().find(|(_, known)| known.name == table) {
        let since = |name: &str| {
            let field = known.own.iter().find(|column| column.name == name);
            field.map_or(known.since, |column| column.field.since)
        };
        let columns = known.columns();
        return Some(
            columns
                .into_iter()
                .map(|name| (name, since(name)))
                .collect(),
        );
    }
    if table == "stretch" {
        let own = fixed(&["first_id", "sequence_offset", "run_began"]);
        let shared = schema::fields_of::<Whence>();
        let shared = shared.into_iter().map(|field| (field.name, field.since));
        return Some(own.into_iter().chain(shared).collect());
    }
    if table == TIME_RANGE {
        return Some(time_ranges::COLUMNS.map(|name| (name, 3)).into());
    }
    let fixed_tables: &[(&str, &[&str])] = &[
        ("meta", &["name", "value"]),
        ("strings", &["id", "hash", "text", "raw"]),
        ("process", &["id", "process_id", "process_key"]),
    ];
    if table == "process_carried" {
        let start = table_of(Kind::PROCESS_START)?;
        let since = |name: &str| {
            let field = start.own.iter().find(|column| column.name == name);
            field.map_or(1, |column| column.field.since)
        };
        let columns = carried_columns();
        return Some(
            columns
                .into_iter()
                .map(|name| (name, since(name)))
                .collect(),
        );
    }
    let found = fixed_tables.iter().find(|(name, _)| *name == table);
    found.map(|(_, columns)| fixed(columns))
}

/// Every table a segment of this version has.
pub(super) fn all_tables() -> impl Iterator<Item = &'static str> {
    let shared = shared_tables().iter().map(|(name, _)| *name);
    let own = ["meta", "stretch", TIME_RANGE, "strings", "process"];
    own.into_iter()
        .chain(["process_carried"])
        .chain(shared)
        .chain(event_tables())
}

/// The statements that make the tables of a segment.
pub(super) fn create_tables() -> String {
    let mut sql = include_str!("schema.sql").to_owned();
    for (name, columns) in shared_tables() {
        let mut columns = list(columns, |_number_or_reference| "INTEGER");
        if *name == "image" {
            columns.push_str(", notes INTEGER, load_count INTEGER NOT NULL");
        }
        create(
            &mut sql,
            name,
            &format!("id INTEGER PRIMARY KEY, {columns}"),
        );
    }
    // What is looked for when a program or an image is not remembered.
    sql.push_str("CREATE INDEX program_by_text ON program(command, arguments, command_line);\n");
    sql.push_str("CREATE INDEX image_by_image ON image(image);\n");
    for (_, table) in tables() {
        let columns = table.columns();
        let own = columns
            .iter()
            .skip(3)
            .map(|name| format!(", {name} INTEGER"));
        event_table(&mut sql, table.name, &own.collect::<String>());
        let thread = if columns.contains(&"thread_id") {
            ", thread_id"
        } else {
            ""
        };
        index(&mut sql, table.name, thread);
    }
    // What completes an event is looked for by its file.
    sql.push_str("CREATE INDEX image_details_by_file ON image_details(inode);\n");
    let marks = format!(
        ", kind INTEGER NOT NULL, {}, notes INTEGER",
        list(mark_columns(), mark_type)
    );
    event_table(&mut sql, MARK, &marks);
    index(&mut sql, MARK, "");
    let columns = carried_columns();
    let rest: Vec<_> = columns
        .iter()
        .skip(1)
        .map(|name| format!("{name} INTEGER"))
        .collect();
    let rest = rest.join(", ");
    create(
        &mut sql,
        "process_carried",
        &format!("process INTEGER PRIMARY KEY, {rest}"),
    );
    sql
}

fn event_table(sql: &mut String, name: &str, own: &str) {
    let common = "id INTEGER PRIMARY KEY, time INTEGER NOT NULL, process INTEGER NOT NULL";
    create(sql, name, &format!("{common}{own}"));
}

fn create(sql: &mut String, name: &str, columns: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(sql, "CREATE TABLE {name}({columns});");
}

fn index(sql: &mut String, name: &str, thread: &str) {
    let _infallible = writeln!(
        sql,
        "CREATE INDEX {name}_by_process ON {name}(process{thread});"
    );
}

/// Columns with their types.
fn list(columns: &[Column], type_fn: impl Fn(Type) -> &'static str) -> String {
    let columns: Vec<_> = columns
        .iter()
        .map(|column| match column.field.r#type {
            // A number or a text.
            Type::UserId => column.name.clone(),
            other => format!("{} {}", column.name, type_fn(other)),
        })
        .collect();
    columns.join(", ")
}

/// Marks have their texts in the row.
fn mark_type(r#type: Type) -> &'static str {
    match r#type {
        Type::Text | Type::SystemText | Type::Texts | Type::Account => "TEXT",
        _ => "INTEGER",
    }
}

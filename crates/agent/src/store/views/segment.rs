//! The views of one segment.
//!
//! Columns that few ask for are subqueries, which SQLite does not run when nobody asks; tables that
//! are joined only for a column are joined from the left, which SQLite then leaves out.
//!
//! A table is written `@table` here: the views in a segment have it as it is, those over several
//! segments with the name it has there.

use std::fmt::Write as _;

use event::Kind;

use super::described::{Column, columns_of};
use super::{hashes, time_text};
use crate::store::layout::{self, MARK, Table};
use crate::trail::schema::{self, Field, Place, Type};
use crate::trail::{Parent, Program, ThreadStart};

/// One `SELECT` of a view.
#[derive(Clone, Debug)]
pub(in crate::store) struct Arm {
    /// The number of a row, by which rows can be had in portions; no two rows have the same.
    pub(in crate::store) row: &'static str,
    /// The expression of each column, in the order of the view's columns.
    pub(in crate::store) columns: Vec<String>,
    /// Where the rows come from.
    pub(in crate::store) from: String,
    /// Which of them are meant.
    pub(in crate::store) condition: String,
}

/// What the view with that name shows of a segment.
pub(in crate::store) fn arms(view: &str) -> Vec<Arm> {
    match view {
        "events" => events(),
        "processes" => vec![processes()],
        "threads" => threads(),
        "images" => of_one_kind("images", Kind::IMAGE_LOAD),
        "detections" => of_one_kind("detections", Kind::DETECTION),
        "losses" => vec![losses()],
        "image_totals" => vec![image_totals()],
        "kind_totals" => kind_totals(),
        _ => Vec::new(),
    }
}

fn text(id: &str) -> String {
    format!("(SELECT text FROM @strings WHERE id = {id})")
}

fn raw(id: &str) -> String {
    format!(
        "(SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM @strings WHERE id = {id})"
    )
}

/// A part of the JSON object that the text with that number is.
pub(super) fn member(id: &str, name: &str) -> String {
    format!("(SELECT json_extract(text, '$.{name}') FROM @strings WHERE id = {id})")
}

/// What the stretch says in which the event `e` is.
fn of_stretch(expression: &str) -> String {
    format!(
        "(SELECT {expression} FROM @stretch AS h WHERE h.first_id <= e.id \
         ORDER BY h.first_id DESC LIMIT 1)"
    )
}

/// The name of the kind with the number in `column`.
fn kind_name(column: &str) -> String {
    let mut sql = format!("CASE {column}");
    for kind in Kind::ALL.iter().chain(&[Kind::ANY]) {
        let _infallible = write!(sql, " WHEN {} THEN '{kind}'", kind.0);
    }
    let _infallible = write!(sql, " ELSE 'kind_' || {column} END");
    sql
}

/// A command is both: the arguments with U+001F between them.
fn command_line(program: &str) -> String {
    format!(
        "coalesce((SELECT replace(text, char(31), ' ') FROM @strings WHERE id = {program}.command), \
         (SELECT text FROM @strings WHERE id = {program}.command_line))"
    )
}

fn arguments(program: &str) -> String {
    format!(
        "coalesce((SELECT '[' || replace(json_quote(text), '\\u001f', '\",\"') || ']' \
         FROM @strings WHERE id = {program}.command), {})",
        member(&format!("{program}.arguments"), "arguments")
    )
}

/// The command line of another process: that of the command with the number below zero, or a text.
fn line(cell: &str) -> String {
    format!(
        "CASE WHEN {cell} < 0 THEN \
         (SELECT replace(text, char(31), ' ') FROM @strings WHERE id = -{cell}) ELSE {} END",
        text(cell)
    )
}

/// A field as people are shown it; `cell` is its column, in which texts are numbers.
fn shown(field: &Field, cell: &str) -> String {
    match field.r#type {
        _ if field.name == Parent::parent_command_line.name => line(cell),
        Type::Number | Type::Time | Type::Truth => cell.to_owned(),
        Type::Flag => format!("nullif({cell}, 0)"),
        Type::Text | Type::SystemText | Type::Account => text(cell),
        Type::Texts => member(cell, "arguments"),
        Type::Key => format!("CASE WHEN {cell} IS NOT NULL THEN printf('%016x', {cell}) END"),
        Type::Address => format!("CASE WHEN {cell} IS NOT NULL THEN printf('0x%x', {cell}) END"),
        // A SID is a text's number below zero; version 1 has it as it is.
        Type::UserId => format!(
            "CASE WHEN typeof({cell}) = 'integer' AND {cell} < 0 THEN {} ELSE {cell} END",
            text(&format!("-{cell}"))
        ),
        Type::Kind => format!("CASE WHEN {cell} IS NOT NULL THEN {} END", kind_name(cell)),
        Type::Names | Type::Reasons => "NULL".to_owned(),
    }
}

/// The bytes of a field, as hex, where they are not valid Unicode.
fn raw_shown(field: &Field, cell: &str) -> String {
    match field.r#type {
        Type::Texts => member(cell, "arguments_raw"),
        _ => raw(cell),
    }
}

/// Column and expression.
type Expressions = Vec<(&'static str, String)>;

/// A field of the shared row `g`, with its bytes.
fn of_shared(field: &'static Field) -> Expressions {
    let cell = format!("g.{}", field.name);
    let whole = if field.name == Program::command_line.name {
        command_line("g")
    } else if field.name == Program::arguments.name {
        arguments("g")
    } else {
        shown(field, &cell)
    };
    let raw = field.r#type.has_raw();
    let raw = raw.then(|| (field.raw_name, raw_shown(field, &cell)));
    [Some((field.name, whole)), raw]
        .into_iter()
        .flatten()
        .collect()
}

/// A field that is a member of the notes, with its bytes.
fn of_notes(field: &'static Field, notes: &str) -> Expressions {
    let raw = field.r#type.has_raw();
    let raw = raw.then(|| (field.raw_name, member(notes, field.raw_name)));
    [Some((field.name, member(notes, field.name))), raw]
        .into_iter()
        .flatten()
        .collect()
}

/// A column with a hash of the event `e`, which may have been told later.
fn hash(kind: Kind, column: &str) -> String {
    let table = layout::table_of(kind);
    let shared = table.and_then(Table::shared_table);
    let notes = notes_of(table.is_some_and(Table::shares_notes));
    match shared {
        Some(shared) if [Kind::PROCESS_EXEC, Kind::IMAGE_LOAD].contains(&kind) => {
            hashes::completed(column, notes, shared)
        }
        _ => member(notes, column),
    }
}

/// The column with the notes: of the event, or of the shared row.
const fn notes_of(shares_notes: bool) -> &'static str {
    if shares_notes { "g.notes" } else { "e.notes" }
}

/// The fields of a kind's own, as `e` and what is joined to it have them.
fn of_kind(kind: Kind) -> Expressions {
    let mut expressions = Vec::new();
    let shares_notes = layout::table_of(kind).is_some_and(Table::shares_notes);
    for field in schema::fields_of_kind(kind) {
        let cell = match (field.place, field.r#type) {
            (Place::Noted, _) if hashes::COLUMNS.contains(&field.name) => {
                expressions.push((field.name, hash(kind, field.name)));
                continue;
            }
            (Place::Noted, _) => {
                expressions.extend(of_notes(field, notes_of(shares_notes)));
                continue;
            }
            (Place::Shared, _) => {
                expressions.extend(of_shared(field));
                continue;
            }
            (Place::Parent, Type::Key) => "q.process_key".to_owned(),
            (Place::Parent, _) => "q.process_id".to_owned(),
            (Place::Near, _) => format!("p.process_id + e.{}", layout::near(field)),
            _ => format!("e.{}", field.name),
        };
        if field.place == Place::Parent {
            expressions.push((field.name, cell));
            continue;
        }
        expressions.push((field.name, shown(field, &cell)));
        if field.r#type.has_raw() {
            expressions.push((field.raw_name, raw_shown(field, &cell)));
        }
    }
    expressions
}

/// The fields of marks, whose texts are in their rows.
fn of_marks() -> Expressions {
    let columns = layout::mark_columns().iter();
    columns
        .map(|column| {
            let cell = format!("e.{}", column.name);
            let shown = match column.field.r#type {
                Type::Kind => shown(column.field, &cell),
                _ => cell,
            };
            (column.field.name, shown)
        })
        .collect()
}

/// One `SELECT` a table; what a table does not have is NULL.
fn events() -> Vec<Arm> {
    let arms = layout::tables().iter().map(|(kind, table)| {
        let own = of_kind(*kind);
        arm(columns_of("events"), &format!("'{kind}'"), table, &own)
    });
    let marks = Arm {
        row: "e.id",
        columns: select(columns_of("events"), |name| {
            expression(name, &kind_name("e.kind"), "e.notes", &of_marks())
        }),
        from: format!("@{MARK} AS e LEFT JOIN @process AS p ON p.id = e.process"),
        condition: ALL.to_owned(),
    };
    arms.chain([marks]).collect()
}

/// Every row is meant.
pub(super) const ALL: &str = "true";

/// The rows of `table` as events.
fn arm(columns: &[Column], kind: &str, table: &Table, own: &[(&'static str, String)]) -> Arm {
    let notes = notes_of(table.shares_notes());
    let mut joins = String::new();
    if let Some(shared) = table.shared_table() {
        let _infallible = write!(joins, " LEFT JOIN @{shared} AS g ON g.id = e.{shared}");
    }
    if table.has_parent {
        joins.push_str(" LEFT JOIN @process AS q ON q.id = e.parent");
    }
    Arm {
        row: "e.id",
        columns: select(columns, |name| expression(name, kind, notes, own)),
        from: format!(
            "@{} AS e LEFT JOIN @process AS p ON p.id = e.process{joins}",
            table.name
        ),
        condition: ALL.to_owned(),
    }
}

/// One column of an event; NULL for what its kind does not have.
fn expression(name: &str, kind: &str, notes: &str, own: &[(&'static str, String)]) -> String {
    if let Some((_, expression)) = own.iter().find(|(own, _)| *own == name) {
        return expression.clone();
    }
    match name {
        "sequence" => of_stretch("e.id + h.sequence_offset"),
        "host" | "host_id" | "run" => of_stretch(&format!("h.{name}")),
        "time" => "e.time".to_owned(),
        "time_text" => time_text("e.time"),
        "kind" => kind.to_owned(),
        "process_id" | "process_key" => format!("p.{name}"),
        "rule_name" | "tags" | "tags_raw" | "truncated" | "missing" => member(notes, name),
        _ => "NULL".to_owned(),
    }
}

fn select(columns: &[Column], expression_fn: impl Fn(&str) -> String) -> Vec<String> {
    let names = columns.iter().map(|column| column.name);
    names.map(expression_fn).collect()
}

/// A view with a row for each event of a kind.
fn of_one_kind(view: &str, kind: Kind) -> Vec<Arm> {
    let own = of_kind(kind);
    let arms = layout::table_of(kind).map(|table| arm(columns_of(view), "NULL", table, &own));
    arms.into_iter().collect()
}

fn losses() -> Arm {
    let own = of_marks();
    Arm {
        row: "e.id",
        columns: select(columns_of("losses"), |name| {
            expression(name, "NULL", "NULL", &own)
        }),
        from: format!("@{MARK} AS e"),
        condition: format!("e.kind = {}", Kind::LOST.0),
    }
}

/// A row an image; [`whole`](super::whole) adds up those of one file.
fn image_totals() -> Arm {
    Arm {
        row: "i.id",
        columns: vec!["s.text".to_owned(), "i.load_count".to_owned()],
        from: "@image AS i LEFT JOIN @strings AS s ON s.id = i.image".to_owned(),
        condition: ALL.to_owned(),
    }
}

/// A row a kind, counted as SQLite counts a whole table: by its pages, without looking at a row. What of
/// a row is in `mark` says its kind, and there are few.
fn kind_totals() -> Vec<Arm> {
    let columns = |kind: &str| vec![kind.to_owned(), "e.event_count".to_owned()];
    let arms = layout::tables()
        .iter()
        .map(|(kind, Table { name, .. })| Arm {
            row: "e.id",
            columns: columns(&format!("'{kind}'")),
            from: format!(
                "(SELECT (SELECT max(id) FROM @{name}) AS id, \
             (SELECT count(*) FROM @{name}) AS event_count) AS e"
            ),
            condition: "e.id IS NOT NULL".to_owned(),
        });
    let marks = Arm {
        row: "e.id",
        columns: columns(&kind_name("e.kind")),
        from: format!(
            "(SELECT max(id) AS id, kind, count(*) AS event_count FROM @{MARK} GROUP BY kind) AS e"
        ),
        condition: ALL.to_owned(),
    };
    arms.chain([marks]).collect()
}

/// The program a process ran last, of all this segment knows of it.
fn last_program(process: &str) -> String {
    format!(
        "coalesce((SELECT program FROM (\
             SELECT id, program FROM @process_exec WHERE process = {process} UNION ALL \
             SELECT id, program FROM @process_start WHERE process = {process}) \
         ORDER BY id DESC LIMIT 1), \
         (SELECT program FROM @process_carried WHERE process = {process}))"
    )
}

fn last_image(process: &str) -> String {
    format!(
        "(SELECT s.text FROM @program AS l JOIN @strings AS s ON s.id = l.image WHERE l.id = {})",
        last_program(process)
    )
}

/// Of a parent that the trail does not tell of, what its child's start says.
fn parent_image() -> String {
    let told = text(&format!(
        "coalesce(s.{0}, c.{0})",
        Parent::parent_image.name
    ));
    format!(
        "coalesce({}, {told})",
        last_image("coalesce(s.parent, c.parent)")
    )
}

fn parent_of(process: &str) -> String {
    format!(
        "coalesce((SELECT parent FROM @process_start WHERE process = {process} \
          ORDER BY id LIMIT 1), \
         (SELECT parent FROM @process_carried WHERE process = {process}))"
    )
}

/// Images from the oldest ancestor known to the parent. The level ends what a false parent, or a
/// process that is its own, would make endless.
fn ancestry() -> String {
    format!(
        "(WITH RECURSIVE up(process, level) AS (\
             SELECT coalesce(s.parent, c.parent), 1 UNION ALL \
             SELECT {}, level + 1 FROM up WHERE up.process IS NOT NULL AND level < 16) \
         SELECT group_concat(image, ' > ') FROM (\
             SELECT {} AS image FROM up WHERE up.process IS NOT NULL ORDER BY level DESC))",
        parent_of("up.process"),
        last_image("up.process"),
    )
}

fn execs() -> String {
    format!(
        "(SELECT json_group_array(json_object('time', time, 'image', image, \
             'command_line', command_line)) FROM (\
             SELECT e.time AS time, {} AS image, {} AS command_line \
             FROM @process_exec AS e LEFT JOIN @program AS g ON g.id = e.program \
             WHERE e.process = p.id ORDER BY e.id))",
        text("g.image"),
        command_line("g")
    )
}

/// A hash of what a process ran last: of its last exec, unless a later start tells of another program.
fn last_hash(column: &str) -> String {
    format!(
        "coalesce(CASE WHEN l.id > e.id AND l.program IS NOT e.program THEN NULL ELSE {} END, {})",
        hash(Kind::PROCESS_EXEC, column),
        member("s.notes", column)
    )
}

/// What is known of each process. Where an exit says that the process ended as another program than it
/// was told to run, or that nobody knows, an exec was lost and that program is not told.
fn processes() -> Arm {
    let run_began = "coalesce((SELECT h.run_began FROM @stretch AS h \
             WHERE h.first_id <= coalesce(max(l.id, e.id), l.id, e.id) \
             ORDER BY h.first_id DESC LIMIT 1), c.run_began)";
    let start_time = "coalesce(s.time, c.time)";
    let exec_time = "coalesce(e.time, c.exec_time)";
    let computed = |name: &str| {
        Some(match name {
            "process_id" | "process_key" => format!("p.{name}"),
            "running" => {
                format!("x.id IS NULL AND {run_began} = (SELECT max(run_began) FROM @stretch)")
            }
            "run_began" => run_began.to_owned(),
            "run_began_text" => time_text(run_began),
            "start_time" => start_time.to_owned(),
            "start_time_text" => time_text(start_time),
            "parent_process_id" | "parent_process_key" => format!(
                "(SELECT {} FROM @process WHERE id = coalesce(s.parent, c.parent))",
                name.trim_start_matches("parent_")
            ),
            "parent_image" => parent_image(),
            "ancestry" => ancestry(),
            "host" | "host_id" | "run" => of_stretch_told(name),
            // The one that was told last.
            "session_id" => {
                "coalesce(x.session_id, e.session_id, s.session_id, c.session_id)".to_owned()
            }
            "image" => format!("coalesce({}, {})", text("g.image"), text("x.image")),
            column if hashes::COLUMNS.contains(&column) => last_hash(column),
            "exec_count" => "(SELECT count(*) FROM @process_exec WHERE process = p.id) \
                             + coalesce(c.exec_count, 0)"
                .to_owned(),
            "exec_time" => exec_time.to_owned(),
            "exec_time_text" => time_text(exec_time),
            "execs" => execs(),
            "exit_time" => "x.time".to_owned(),
            "exit_time_text" => time_text("x.time"),
            _ => return None,
        })
    };
    let recorded = processes_recorded();
    let expression = |name: &str| {
        let found = recorded.iter().find(|(own, _)| *own == name);
        let found = || found.map(|(_, expression)| expression.clone());
        computed(name)
            .or_else(found)
            .unwrap_or_else(|| "NULL".to_owned())
    };
    Arm {
        row: "p.id",
        columns: select(columns_of("processes"), expression),
        from: "@process AS p \
             LEFT JOIN @process_carried AS c ON c.process = p.id \
             LEFT JOIN @process_start AS s ON s.id = \
                 (SELECT min(id) FROM @process_start WHERE process = p.id) \
             LEFT JOIN @process_start AS l ON l.id = \
                 (SELECT max(id) FROM @process_start WHERE process = p.id) \
             LEFT JOIN @process_exec AS e ON e.id = \
                 (SELECT max(id) FROM @process_exec WHERE process = p.id) \
             LEFT JOIN @process_exit AS x ON x.id = \
                 (SELECT max(id) FROM @process_exit WHERE process = p.id) \
             LEFT JOIN @program AS g ON g.id = \
                 CASE WHEN l.id > e.id THEN l.program \
                 ELSE coalesce(e.program, l.program, c.program) END \
                 AND (g.image IS NULL OR x.image IS g.image \
                 OR (x.image IS NULL AND NOT coalesce((SELECT text FROM @strings \
                     WHERE id = x.notes) LIKE '%\"image\":\"lost\"%', 0)))"
            .to_owned(),
        condition: "p.process_key IS NOT NULL \
             AND coalesce(s.id, c.process, e.id, x.id) IS NOT NULL"
            .to_owned(),
    }
}

/// What the stretch says that told of a process last; the first of all knew what is carried over.
fn of_stretch_told(column: &str) -> String {
    format!(
        "(SELECT {column} FROM @stretch AS h WHERE h.first_id <= \
             coalesce(max(l.id, e.id), l.id, e.id, x.id, (SELECT min(first_id) FROM @stretch)) \
         ORDER BY h.first_id DESC LIMIT 1)"
    )
}

/// The fields of a process as they were recorded: of its start `s`, or what an earlier segment knew
/// of it, `c`; of the program `g`; of its exit `x`.
fn processes_recorded() -> Expressions {
    let mut expressions = Vec::new();
    for field in schema::fields_of_kind(Kind::PROCESS_START) {
        if field.place == Place::Shared {
            expressions.extend(of_shared(field));
        } else if field.place == Place::Noted {
            expressions.extend(of_notes(field, "s.notes"));
        } else {
            let cell = format!("coalesce(s.{0}, c.{0})", field.name);
            expressions.push((field.name, shown(field, &cell)));
        }
    }
    for field in schema::fields_of_kind(Kind::PROCESS_EXEC) {
        if field.place == Place::Row {
            expressions.push((field.name, shown(field, &format!("e.{}", field.name))));
        }
    }
    for field in schema::fields_of_kind(Kind::PROCESS_EXIT) {
        expressions.push((field.name, shown(field, &format!("x.{}", field.name))));
    }
    expressions
}

fn threads() -> Vec<Arm> {
    let recorded = of_kind(Kind::THREAD_START);
    let whole = |name: &str| match name {
        "start_time" => "e.time".to_owned(),
        "start_time_text" => time_text("e.time"),
        "exit_time" => "x.time".to_owned(),
        "exit_time_text" => time_text("x.time"),
        "run_time_ns" => "x.time - e.time".to_owned(),
        name => expression(name, "NULL", "NULL", &recorded),
    };
    let unseen = |name: &str| match name {
        name if name == ThreadStart::thread_id.name => format!("e.{name}"),
        "exit_time" => "e.time".to_owned(),
        "exit_time_text" => time_text("e.time"),
        name @ ("process_id" | "process_key" | "host" | "host_id" | "run") => {
            expression(name, "NULL", "NULL", &[])
        }
        _ => "NULL".to_owned(),
    };
    let whole = Arm {
        row: "e.id",
        columns: select(columns_of("threads"), whole),
        from: "@thread_start AS e LEFT JOIN @process AS p ON p.id = e.process \
             LEFT JOIN @thread_exit AS x ON x.id = (SELECT min(id) FROM @thread_exit \
                 WHERE process = e.process AND thread_id = e.thread_id AND id > e.id)"
            .to_owned(),
        condition: ALL.to_owned(),
    };
    let unseen = Arm {
        row: "e.id",
        columns: select(columns_of("threads"), unseen),
        from: "@thread_exit AS e LEFT JOIN @process AS p ON p.id = e.process".to_owned(),
        condition: "NOT EXISTS (SELECT 1 FROM @thread_start AS o WHERE o.process = e.process \
             AND o.thread_id = e.thread_id AND o.id < e.id)"
            .to_owned(),
    };
    vec![whole, unseen]
}

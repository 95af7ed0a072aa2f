//! The views of one segment.
//!
//! Columns that few ask for are subqueries, which SQLite does not run when nobody asks; tables that
//! are joined only for a column are joined from the left, which SQLite then leaves out.

use std::fmt::Write as _;

use event::Kind;

use super::described::{Column, EVENTS, IMAGES, LOSSES, PROCESSES, THREADS};
use super::{create, time_text};

/// The statements that make a segment's views.
pub(in crate::store) fn of_segment() -> String {
    let mut sql = String::new();
    create(&mut sql, "", "events", &events());
    create(&mut sql, "", "processes", &processes());
    create(&mut sql, "", "threads", &threads());
    create(&mut sql, "", "images", &images());
    create(&mut sql, "", "losses", &losses());
    let totals = "SELECT s.text AS image, sum(i.load_count) AS load_count \
                  FROM image AS i LEFT JOIN strings AS s ON s.id = i.image GROUP BY i.image";
    create(&mut sql, "", "image_totals", totals);
    sql
}

fn text(id: &str) -> String {
    format!("(SELECT text FROM strings WHERE id = {id})")
}

fn raw(id: &str) -> String {
    format!(
        "(SELECT CASE WHEN raw IS NOT NULL THEN lower(hex(raw)) END FROM strings WHERE id = {id})"
    )
}

fn note(field: &str) -> String {
    format!("(SELECT json_extract(text, '$.{field}') FROM strings WHERE id = e.notes)")
}

/// What the stretch says in which the event `e` is.
fn of_stretch(expression: &str) -> String {
    format!(
        "(SELECT {expression} FROM stretch AS h WHERE h.first_id <= e.id \
         ORDER BY h.first_id DESC LIMIT 1)"
    )
}

fn address(expression: &str) -> String {
    format!("CASE WHEN {expression} IS NOT NULL THEN printf('0x%x', {expression}) END")
}

const CREATOR_PROCESS_ID: &str = "p.process_id + e.creator_process_offset";
const CREATOR_THREAD_ID: &str = "p.process_id + e.creator_thread_offset";

const COMMAND_LINE: &str = "coalesce(\
    (SELECT replace(text, char(31), ' ') FROM strings WHERE id = g.command), \
    (SELECT text FROM strings WHERE id = g.command_line))";

const ARGUMENTS: &str = "coalesce(\
    (SELECT '[' || replace(json_quote(text), '\\u001f', '\",\"') || ']' \
     FROM strings WHERE id = g.command), \
    (SELECT json_extract(text, '$.arguments') FROM strings WHERE id = g.arguments))";

/// The name of the kind with the number in `column`.
fn kind_name(column: &str) -> String {
    let marks = [Kind::LOST, Kind::SENSOR_START, Kind::SENSOR_STOP];
    let mut sql = format!("CASE {column}");
    for kind in Kind::OBSERVED.into_iter().chain(marks) {
        let _infallible = write!(sql, " WHEN {} THEN '{kind}'", kind.0);
    }
    let _infallible = write!(sql, " ELSE 'kind_' || {column} END");
    sql
}

/// Column and expression.
type Expressions = Vec<(&'static str, String)>;

fn of_program() -> Expressions {
    vec![
        ("image", text("g.image")),
        ("image_raw", raw("g.image")),
        ("image_deleted", "nullif(g.image_deleted, 0)".to_owned()),
        ("command_line", COMMAND_LINE.to_owned()),
        ("command_line_raw", raw("g.command_line")),
        ("arguments", ARGUMENTS.to_owned()),
        (
            "arguments_raw",
            "(SELECT json_extract(text, '$.arguments_raw') FROM strings WHERE id = g.arguments)"
                .to_owned(),
        ),
        ("user", text("g.user")),
        ("user_id", "g.user_id".to_owned()),
        ("script", text("g.script")),
        ("script_raw", raw("g.script")),
    ]
}

fn plain(names: &[&'static str]) -> Expressions {
    names
        .iter()
        .map(|name| (*name, format!("e.{name}")))
        .collect()
}

const PROGRAM: &str = "LEFT JOIN program AS g ON g.id = e.program";
const PARENT: &str = "LEFT JOIN program AS g ON g.id = e.program \
                      LEFT JOIN process AS q ON q.id = e.parent";
const IMAGE: &str = "LEFT JOIN image AS i ON i.id = e.image";

/// One `SELECT` a table; what a table does not have is NULL.
fn events() -> String {
    let flags = |names: &[&'static str]| plain(names);
    let start = [
        of_program(),
        plain(&[
            "creator_process_id",
            "creator_thread_id",
            "session_id",
            "existing",
        ]),
        vec![
            ("parent_process_id", "q.process_id".to_owned()),
            ("parent_process_key", "q.process_key".to_owned()),
        ],
    ];
    let exit = [
        flags(&["exit_code", "signal", "run_time_ns"]),
        vec![
            ("core_dumped", "nullif(e.core_dumped, 0)".to_owned()),
            ("image", text("e.image")),
            ("image_raw", raw("e.image")),
        ],
    ];
    let thread_start = [
        plain(&["thread_id", "remote"]),
        vec![
            ("creator_process_id", CREATOR_PROCESS_ID.to_owned()),
            ("creator_thread_id", CREATOR_THREAD_ID.to_owned()),
            ("start_address", address("e.start_address")),
        ],
    ];
    let mark = [
        plain(&["lost_count", "lost_reason", "source", "version", "account"]),
        vec![(
            "lost_kind",
            format!(
                "CASE WHEN e.lost_kind IS NOT NULL THEN {} END",
                kind_name("e.lost_kind")
            ),
        )],
    ];
    [
        arm("process_start", PARENT, &start.concat()),
        arm("process_exec", PROGRAM, &of_program()),
        arm("process_exit", "", &exit.concat()),
        arm("thread_start", "", &thread_start.concat()),
        arm("thread_exit", "", &plain(&["thread_id"])),
        arm("image_load", IMAGE, &of_image_load()),
        arm("mark", "", &mark.concat()),
    ]
    .join(" UNION ALL ")
}

fn of_image_load() -> Expressions {
    vec![
        ("image", text("i.image")),
        ("image_raw", raw("i.image")),
        ("image_deleted", "nullif(i.image_deleted, 0)".to_owned()),
        ("image_base", address("e.image_base")),
        ("image_size", "i.image_size".to_owned()),
        ("kernel_image", "i.kernel_image".to_owned()),
        ("existing", "i.existing".to_owned()),
        ("truncated", note("truncated").replace("e.notes", "i.notes")),
        ("missing", note("missing").replace("e.notes", "i.notes")),
    ]
}

/// The rows of `table` as events.
fn arm(table: &str, joins: &str, own: &[(&'static str, String)]) -> String {
    let kind = match table {
        "mark" => kind_name("e.kind"),
        _ => format!("'{table}'"),
    };
    let expression = |name: &str| {
        let own = own.iter().find(|(own, _)| *own == name);
        match (own, name) {
            (Some((_, expression)), _) => expression.clone(),
            (None, "kind") => kind.clone(),
            (None, name) => of_any_event(name),
        }
    };
    select(EVENTS, expression)
        + &format!(" FROM {table} AS e LEFT JOIN process AS p ON p.id = e.process {joins}")
}

/// What every event has; NULL for every other column.
fn of_any_event(name: &str) -> String {
    match name {
        "sequence" => of_stretch("e.id + h.sequence_offset"),
        "host" => of_stretch("h.host"),
        "time" => "e.time".to_owned(),
        "time_text" => time_text("e.time"),
        "process_id" | "process_key" => format!("p.{name}"),
        "truncated" | "missing" => note(name),
        _ => "NULL".to_owned(),
    }
}

fn select(columns: &[Column], expression_fn: impl Fn(&str) -> String) -> String {
    let columns: Vec<_> = columns
        .iter()
        .map(|column| format!("{} AS {}", expression_fn(column.name), column.name))
        .collect();
    format!("SELECT {}", columns.join(", "))
}

fn images() -> String {
    let own = of_image_load();
    let expression = |name: &str| {
        let own = own.iter().find(|(own, _)| *own == name);
        own.map_or_else(|| of_any_event(name), |(_, expression)| expression.clone())
    };
    select(IMAGES, expression)
        + &format!(" FROM image_load AS e LEFT JOIN process AS p ON p.id = e.process {IMAGE}")
}

fn losses() -> String {
    let expression = |name: &str| match name {
        "lost_kind" => kind_name("e.lost_kind"),
        "lost_count" | "lost_reason" => format!("e.{name}"),
        name => of_any_event(name),
    };
    select(LOSSES, expression) + &format!(" FROM mark AS e WHERE e.kind = {}", Kind::LOST.0)
}

/// The program a process ran last, of all this segment knows of it.
fn last_program(process: &str) -> String {
    format!(
        "coalesce((SELECT program FROM (\
             SELECT id, program FROM process_exec WHERE process = {process} UNION ALL \
             SELECT id, program FROM process_start WHERE process = {process}) \
         ORDER BY id DESC LIMIT 1), \
         (SELECT program FROM process_carried WHERE process = {process}))"
    )
}

fn last_image(process: &str) -> String {
    format!(
        "(SELECT s.text FROM program AS l JOIN strings AS s ON s.id = l.image WHERE l.id = {})",
        last_program(process)
    )
}

fn parent_of(process: &str) -> String {
    format!(
        "coalesce((SELECT parent FROM process_start WHERE process = {process} \
          ORDER BY id LIMIT 1), \
         (SELECT parent FROM process_carried WHERE process = {process}))"
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
             SELECT e.time AS time, {} AS image, {COMMAND_LINE} AS command_line \
             FROM process_exec AS e LEFT JOIN program AS g ON g.id = e.program \
             WHERE e.process = p.id ORDER BY e.id))",
        text("g.image")
    )
}

fn processes() -> String {
    let run_began = "coalesce((SELECT h.run_began FROM stretch AS h \
             WHERE h.first_id <= coalesce(max(l.id, e.id), l.id, e.id) \
             ORDER BY h.first_id DESC LIMIT 1), c.run_began)";
    let start_time = "coalesce(s.time, c.time)";
    let exec_time = "coalesce(e.time, c.exec_time)";
    let expression = |name: &str| match name {
        "process_id" | "process_key" => format!("p.{name}"),
        "running" => format!("x.id IS NULL AND {run_began} = (SELECT max(run_began) FROM stretch)"),
        "run_began" => run_began.to_owned(),
        "run_began_text" => time_text(run_began),
        "start_time" => start_time.to_owned(),
        "start_time_text" => time_text(start_time),
        "existing" | "creator_process_id" | "creator_thread_id" | "session_id" => {
            format!("coalesce(s.{name}, c.{name})")
        }
        "parent_process_id" => {
            "(SELECT process_id FROM process WHERE id = coalesce(s.parent, c.parent))".to_owned()
        }
        "parent_process_key" => {
            "(SELECT process_key FROM process WHERE id = coalesce(s.parent, c.parent))".to_owned()
        }
        "parent_image" => last_image("coalesce(s.parent, c.parent)"),
        "ancestry" => ancestry(),
        "host" => "(SELECT host FROM stretch AS h WHERE h.first_id <= \
                   coalesce(s.id, e.id, x.id, h.first_id) ORDER BY h.first_id DESC LIMIT 1)"
            .to_owned(),
        "image" => format!("coalesce({}, {})", text("g.image"), text("x.image")),
        "user" | "script" => text(&format!("g.{name}")),
        "command_line" => COMMAND_LINE.to_owned(),
        "arguments" => ARGUMENTS.to_owned(),
        "user_id" => "g.user_id".to_owned(),
        "exec_count" => "(SELECT count(*) FROM process_exec WHERE process = p.id) \
                         + coalesce(c.exec_count, 0)"
            .to_owned(),
        "exec_time" => exec_time.to_owned(),
        "exec_time_text" => time_text(exec_time),
        "execs" => execs(),
        "exit_time" => "x.time".to_owned(),
        "exit_time_text" => time_text("x.time"),
        "core_dumped" => "nullif(x.core_dumped, 0)".to_owned(),
        name => format!("x.{name}"),
    };
    select(PROCESSES, expression)
        + (" FROM process AS p \
             LEFT JOIN process_carried AS c ON c.process = p.id \
             LEFT JOIN process_start AS s ON s.id = \
                 (SELECT min(id) FROM process_start WHERE process = p.id) \
             LEFT JOIN process_start AS l ON l.id = \
                 (SELECT max(id) FROM process_start WHERE process = p.id) \
             LEFT JOIN process_exec AS e ON e.id = \
                 (SELECT max(id) FROM process_exec WHERE process = p.id) \
             LEFT JOIN process_exit AS x ON x.id = \
                 (SELECT max(id) FROM process_exit WHERE process = p.id) \
             LEFT JOIN program AS g ON g.id = \
                 CASE WHEN l.id > e.id THEN l.program \
                 ELSE coalesce(e.program, l.program, c.program) END \
             WHERE p.process_key IS NOT NULL \
             AND coalesce(s.id, c.process, e.id, x.id) IS NOT NULL")
}

fn threads() -> String {
    let whole = |name: &str| match name {
        "thread_id" | "remote" => format!("e.{name}"),
        "creator_process_id" => CREATOR_PROCESS_ID.to_owned(),
        "creator_thread_id" => CREATOR_THREAD_ID.to_owned(),
        "start_address" => address("e.start_address"),
        "start_time" => "e.time".to_owned(),
        "start_time_text" => time_text("e.time"),
        "exit_time" => "x.time".to_owned(),
        "exit_time_text" => time_text("x.time"),
        "run_time_ns" => "x.time - e.time".to_owned(),
        name => of_any_event(name),
    };
    let unseen = |name: &str| match name {
        "thread_id" => "e.thread_id".to_owned(),
        "exit_time" => "e.time".to_owned(),
        "exit_time_text" => time_text("e.time"),
        name @ ("process_id" | "process_key" | "host") => of_any_event(name),
        _ => "NULL".to_owned(),
    };
    let whole = select(THREADS, whole);
    let unseen = select(THREADS, unseen);
    format!(
        "{whole} FROM thread_start AS e LEFT JOIN process AS p ON p.id = e.process \
         LEFT JOIN thread_exit AS x ON x.id = (SELECT min(id) FROM thread_exit \
             WHERE process = e.process AND thread_id = e.thread_id AND id > e.id) \
         UNION ALL \
         {unseen} FROM thread_exit AS e LEFT JOIN process AS p ON p.id = e.process \
         WHERE NOT EXISTS (SELECT 1 FROM thread_start AS o WHERE o.process = e.process \
             AND o.thread_id = e.thread_id AND o.id < e.id)"
    )
}

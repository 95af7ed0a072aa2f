//! The views people ask: `events`, `processes`, `threads`, `images`, `losses`, `image_totals`, in
//! each segment and over many of them.
//!
//! Every segment brings its own views, so that any SQLite tool can be pointed at one file. Over many
//! segments, attached as `s0`, `s1` and so on, [`union`] makes temporary views of the same names.
//!
//! Columns that few ask for are subqueries, which SQLite does not run when nobody asks; tables that
//! are joined only for a column are joined from the left, which SQLite then leaves out.

use std::fmt::Write as _;

use event::Kind;

/// A view: its name, what its rows are, its columns.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// The name.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// The columns, in order.
    pub columns: &'static [Column],
}

/// A column of a view.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The name.
    pub name: &'static str,
    /// What it holds.
    pub about: &'static str,
}

const fn column(name: &'static str, about: &'static str) -> Column {
    Column { name, about }
}

/// Every view there is, in the order a person wants to hear of them.
pub const VIEWS: &[View] = &[
    View {
        name: "events",
        about: "a row an event, as the JSON log has it; what a kind does not have is NULL",
        columns: EVENTS,
    },
    View {
        name: "processes",
        about: "a row a process: start, execs and exit together",
        columns: PROCESSES,
    },
    View {
        name: "threads",
        about: "a row a thread: start and exit together",
        columns: THREADS,
    },
    View {
        name: "images",
        about: "a row an image load",
        columns: IMAGES,
    },
    View {
        name: "losses",
        about: "a row for each place where events were lost",
        columns: LOSSES,
    },
    View {
        name: "image_totals",
        about: "a row a file that was mapped, counted as it was recorded",
        columns: IMAGE_TOTALS,
    },
];

const EVENTS: &[Column] = &[
    column("sequence", "from 1, without a gap in a run"),
    column("time", "nanoseconds since the Unix epoch, UTC"),
    column("time_text", "the same as RFC 3339"),
    column(
        "kind",
        "process_start, process_exec, process_exit, thread_start, ...",
    ),
    column("host", "the machine"),
    column("process_id", "the process it is about"),
    column(
        "process_key",
        "that process's identity, 16 hex digits, never reused",
    ),
    column(
        "parent_process_id",
        "process_start: the process told of the exit",
    ),
    column("parent_process_key", "its identity"),
    column("creator_process_id", "the process that made the call"),
    column("creator_thread_id", "the thread that made the call"),
    column("image", "path of the program or of the file mapped"),
    column(
        "image_raw",
        "its bytes in hex, where they are not valid UTF-8",
    ),
    column(
        "image_deleted",
        "1 when the file had no name in any directory",
    ),
    column("command_line", "the arguments as one text"),
    column(
        "command_line_raw",
        "its bytes in hex, where they are not valid UTF-8",
    ),
    column("arguments", "the arguments one by one, a JSON list"),
    column(
        "arguments_raw",
        "their bytes in hex, where one is not valid UTF-8",
    ),
    column("user", "the user's name"),
    column("user_id", "uid, a number, or SID, a text"),
    column(
        "script",
        "process_exec: the script an interpreter was started for",
    ),
    column(
        "script_raw",
        "its bytes in hex, where they are not valid UTF-8",
    ),
    column("session_id", "the session"),
    column("existing", "1 when it was there before the sensor, else 0"),
    column(
        "exit_code",
        "the exit code; 128 + signal for a killed process",
    ),
    column("signal", "the signal that killed it"),
    column("core_dumped", "1 when it left a core dump"),
    column("run_time_ns", "process_exit: from start to exit"),
    column("thread_id", "the thread"),
    column(
        "remote",
        "1 when another process created the thread, else 0",
    ),
    column(
        "start_address",
        "where the thread begins to run, 0x and hex",
    ),
    column("image_base", "where the mapping begins, 0x and hex"),
    column("image_size", "bytes of the mapping"),
    column(
        "kernel_image",
        "1 when it is in the kernel's address space, else 0",
    ),
    column("lost_kind", "lost: the kind of the events"),
    column("lost_count", "lost: how many"),
    column("lost_reason", "lost: why"),
    column("source", "sensor_start, sensor_stop: the sensor"),
    column(
        "version",
        "sensor_start, sensor_stop: the version of the agent",
    ),
    column("account", "sensor_stop: the account, a JSON object"),
    column("truncated", "fields whose text was cut, a JSON list"),
    column(
        "missing",
        "fields that could not be had and why, a JSON object",
    ),
];

const PROCESSES: &[Column] = &[
    column("process_id", "the process"),
    column("process_key", "its identity, 16 hex digits, never reused"),
    column(
        "running",
        "1 when its exit was not seen and the newest run knows it",
    ),
    column("start_time", "nanoseconds since the Unix epoch, UTC"),
    column("start_time_text", "the same as RFC 3339"),
    column("existing", "1 when it was there before the sensor, else 0"),
    column("parent_process_id", "the process told of its exit"),
    column("parent_process_key", "its identity"),
    column("parent_image", "the program the parent ran last"),
    column(
        "ancestry",
        "images from the oldest known ancestor to the parent: a > b > c",
    ),
    column("creator_process_id", "the process that made the call"),
    column("creator_thread_id", "the thread that made the call"),
    column("session_id", "the session"),
    column("host", "the machine"),
    column("image", "path of the program it ran last"),
    column("command_line", "its arguments as one text"),
    column("arguments", "its arguments one by one, a JSON list"),
    column("user", "the user's name"),
    column("user_id", "uid, a number, or SID, a text"),
    column("script", "the script an interpreter was started for"),
    column("exec_count", "how many times it replaced its program"),
    column("exec_time", "when it did so last"),
    column(
        "execs",
        "each time: a JSON list of time, image and command_line",
    ),
    column("exit_time", "nanoseconds since the Unix epoch, UTC"),
    column("exit_time_text", "the same as RFC 3339"),
    column(
        "exit_code",
        "the exit code; 128 + signal for a killed process",
    ),
    column("signal", "the signal that killed it"),
    column("core_dumped", "1 when it left a core dump"),
    column("run_time_ns", "from start to exit"),
    column("run_began", "when the run began that told of it last"),
];

const THREADS: &[Column] = &[
    column("thread_id", "the thread"),
    column("process_id", "its process"),
    column("process_key", "that process's identity"),
    column("host", "the machine"),
    column(
        "start_time",
        "nanoseconds since the Unix epoch, UTC; NULL when not seen",
    ),
    column("start_time_text", "the same as RFC 3339"),
    column("creator_process_id", "the process that made the call"),
    column("creator_thread_id", "the thread that made the call"),
    column(
        "remote",
        "1 when another process created the thread, else 0",
    ),
    column(
        "start_address",
        "where the thread begins to run, 0x and hex",
    ),
    column(
        "exit_time",
        "nanoseconds since the Unix epoch, UTC; NULL when not seen",
    ),
    column("exit_time_text", "the same as RFC 3339"),
    column("run_time_ns", "from start to exit"),
];

const IMAGES: &[Column] = &[
    column("sequence", "from 1, without a gap in a run"),
    column("time", "nanoseconds since the Unix epoch, UTC"),
    column("time_text", "the same as RFC 3339"),
    column("host", "the machine"),
    column("process_id", "the process"),
    column("process_key", "its identity"),
    column("image", "path of the file mapped"),
    column(
        "image_raw",
        "its bytes in hex, where they are not valid UTF-8",
    ),
    column(
        "image_deleted",
        "1 when the file had no name in any directory",
    ),
    column("image_base", "where the mapping begins, 0x and hex"),
    column("image_size", "bytes of the mapping"),
    column(
        "kernel_image",
        "1 when it is in the kernel's address space, else 0",
    ),
    column("existing", "1 when it was there before the sensor, else 0"),
];

const LOSSES: &[Column] = &[
    column("sequence", "from 1, without a gap in a run"),
    column("time", "nanoseconds since the Unix epoch, UTC"),
    column("time_text", "the same as RFC 3339"),
    column("host", "the machine"),
    column("lost_kind", "the kind of the events"),
    column("lost_count", "how many"),
    column("lost_reason", "why; store:write_failed is the store's own"),
];

const IMAGE_TOTALS: &[Column] = &[
    column("image", "path of the file mapped"),
    column("load_count", "how many times it was mapped"),
];

/// The statements that make a segment's views.
pub(super) fn of_segment() -> String {
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

/// The statements that make temporary views over the attached segments `s0` to `s(count - 1)`.
pub(super) fn union(count: usize) -> String {
    let mut sql = String::new();
    for view in VIEWS {
        let body = match view.name {
            "processes" => union_of_processes(count),
            "threads" => union_of_threads(count),
            "image_totals" => format!(
                "SELECT image, sum(load_count) AS load_count FROM ({}) GROUP BY image",
                union_all(count, view, "")
            ),
            _ => union_all(count, view, ""),
        };
        create(&mut sql, "TEMP", view.name, &body);
    }
    sql
}

fn create(sql: &mut String, temp: &str, name: &str, body: &str) {
    // Writing to a String cannot fail.
    let _infallible = writeln!(sql, "CREATE {temp} VIEW {name} AS {body};");
}

/// One `SELECT` a segment, each of the view's own columns; `{n}` in `extra` is the segment's number.
fn union_all(count: usize, view: &View, extra: &str) -> String {
    let columns: Vec<_> = view.columns.iter().map(|column| column.name).collect();
    let columns = columns.join(", ");
    if count == 0 {
        let nothing: Vec<_> = view
            .columns
            .iter()
            .map(|column| format!("NULL AS {}", column.name))
            .collect();
        let extra = extra.replace("{n}", "0");
        return format!("SELECT {extra}{} WHERE 0", nothing.join(", "));
    }
    let arms: Vec<_> = (0..count)
        .map(|n| {
            let extra = extra.replace("{n}", &n.to_string());
            format!("SELECT {extra}{columns} FROM s{n}.{}", view.name)
        })
        .collect();
    arms.join(" UNION ALL ")
}

/// A process is in each segment it was running in, whole in the newest of them, which is the one
/// that is shown.
///
/// A `GROUP BY` would say the same, but no condition on the process would reach the indexes
/// through it.
fn union_of_processes(count: usize) -> String {
    let Some(view) = VIEWS.iter().find(|view| view.name == "processes") else {
        return String::new();
    };
    if count <= 1 {
        return union_all(count, view, "");
    }
    let of_each = |arm_fn: &dyn Fn(usize) -> String| {
        let arms: Vec<_> = (0..count).map(arm_fn).collect();
        arms.join(" UNION ALL ")
    };
    let newest_run = of_each(&|n| format!("SELECT max(run_began) AS began FROM s{n}.stretch"));
    let in_newer = of_each(&|n| {
        let tables = [
            "process_carried",
            "process_start",
            "process_exec",
            "process_exit",
        ];
        let told =
            tables.map(|table| format!("EXISTS (SELECT 1 FROM s{n}.{table} WHERE process = q.id)"));
        format!(
            "SELECT 1 FROM s{n}.process AS q WHERE {n} > t.part \
             AND q.process_key = t.process_key AND q.process_id IS t.process_id AND ({})",
            told.join(" OR ")
        )
    });
    let columns: Vec<_> = view
        .columns
        .iter()
        .map(|column| match column.name {
            "running" => format!(
                "t.exit_time IS NULL AND t.run_began IS \
                 (SELECT max(began) FROM ({newest_run})) AS running"
            ),
            name => format!("t.{name} AS {name}"),
        })
        .collect();
    format!(
        "SELECT {} FROM ({}) AS t WHERE NOT EXISTS ({in_newer})",
        columns.join(", "),
        union_all(count, view, "{n} AS part, "),
    )
}

/// A thread whose exit is not in the segment of its start is looked for in the others.
fn union_of_threads(count: usize) -> String {
    let Some(view) = VIEWS.iter().find(|view| view.name == "threads") else {
        return String::new();
    };
    if count <= 1 {
        return union_all(count, view, "");
    }
    let in_others = |table: &str, side: &str| {
        let arms: Vec<_> = (0..count)
            .map(|n| {
                format!(
                    "SELECT o.time AS time FROM s{n}.process AS q \
                     JOIN s{n}.{table} AS o ON o.process = q.id AND o.thread_id = t.thread_id \
                     WHERE q.process_key = t.process_key AND {side}"
                )
            })
            .collect();
        arms.join(" UNION ALL ")
    };
    let exit_time = format!(
        "coalesce(t.exit_time, (SELECT min(time) FROM ({})))",
        in_others("thread_exit", "o.time >= t.start_time")
    );
    let columns: Vec<_> = view
        .columns
        .iter()
        .map(|column| match column.name {
            "exit_time" => format!("{exit_time} AS exit_time"),
            "exit_time_text" => format!("{} AS exit_time_text", time_text(&exit_time)),
            "run_time_ns" => format!("{exit_time} - t.start_time AS run_time_ns"),
            name => format!("t.{name} AS {name}"),
        })
        .collect();
    format!(
        "SELECT {} FROM ({}) AS t \
         WHERE t.start_time IS NOT NULL OR NOT EXISTS ({})",
        columns.join(", "),
        union_all(count, view, ""),
        in_others("thread_start", "o.time <= t.exit_time")
    )
}

/// RFC 3339 with nine fractional digits of a time in nanoseconds.
fn time_text(time: &str) -> String {
    format!(
        "strftime('%Y-%m-%dT%H:%M:%S', ({time}) / 1000000000, 'unixepoch') \
         || printf('.%09dZ', ({time}) % 1000000000)"
    )
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
    let exec = [
        of_program(),
        vec![
            ("script", text("g.script")),
            ("script_raw", raw("g.script")),
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
        arm("process_exec", PROGRAM, &exec.concat()),
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
    let expression = |name: &str| match name {
        "process_id" | "process_key" => format!("p.{name}"),
        "running" => format!("x.id IS NULL AND {run_began} = (SELECT max(run_began) FROM stretch)"),
        "run_began" => run_began.to_owned(),
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
        "exec_time" => "coalesce(e.time, c.exec_time)".to_owned(),
        "execs" => execs(),
        "exit_time" => "x.time".to_owned(),
        "exit_time_text" => time_text("x.time"),
        "core_dumped" => "nullif(x.core_dumped, 0)".to_owned(),
        name => format!("x.{name}"),
    };
    select(PROCESSES, expression)
        + &format!(
            " FROM process AS p \
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
             AND coalesce(s.id, c.process, e.id, x.id) IS NOT NULL"
        )
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

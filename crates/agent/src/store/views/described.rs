//! What each view shows: a row, and column by column. `docs/STORE.md` and `systrail query --schema`
//! say the same.
//!
//! What a view computes is described here; the fields it shows as they were recorded are described
//! by the schema, and a new one is in the views of its kind by itself.

use std::sync::LazyLock;

use event::Kind;

use crate::trail::Whence;
use crate::trail::schema::{self, Type};

/// A view: its name, what its rows are, its columns.
#[derive(Clone, Debug)]
pub struct View {
    /// The name.
    pub name: &'static str,
    /// What a row is.
    pub about: &'static str,
    /// The columns, in order.
    pub columns: Vec<Column>,
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
pub fn views() -> &'static [View] {
    static VIEWS: LazyLock<Vec<View>> = LazyLock::new(|| {
        vec![
            View {
                name: "events",
                about: "a row an event, as the JSON log has it; what a kind does not have is NULL",
                columns: events(),
            },
            View {
                name: "processes",
                about: "a row a process: start, execs and exit together",
                columns: and_fields_of(
                    PROCESSES,
                    [Kind::PROCESS_START, Kind::PROCESS_EXEC, Kind::PROCESS_EXIT],
                ),
            },
            View {
                name: "threads",
                about: "a row a thread: start and exit together",
                columns: and_fields_of(THREADS, [Kind::THREAD_START]),
            },
            View {
                name: "images",
                about: "a row an image load",
                columns: and_fields_of(IMAGES, [Kind::IMAGE_LOAD]),
            },
            View {
                name: "detections",
                about: "a row for each match of a rule",
                columns: and_fields_of(DETECTIONS, [Kind::DETECTION]),
            },
            View {
                name: "losses",
                about: "a row for each place where events were lost",
                columns: and_fields_of(LOSSES, [Kind::LOST]),
            },
            View {
                name: "image_totals",
                about: "a row a file that was mapped, counted as it was recorded",
                columns: IMAGE_TOTALS.to_vec(),
            },
            View {
                name: "kind_totals",
                about: "a row a kind of event, counted without reading the events",
                columns: KIND_TOTALS.to_vec(),
            },
        ]
    });
    &VIEWS
}

/// The columns of the view with that name.
pub(super) fn columns_of(name: &str) -> &'static [Column] {
    let view = views().iter().find(|view| view.name == name);
    view.map_or(&[], |view| &view.columns)
}

/// What SQL should take a column for when it compares it, as the columns of a segment's own views
/// are taken: numbers in a text are numbers where the column has numbers.
pub(in crate::store) fn affinity(column: &str) -> &'static str {
    let field = schema::all().iter().find(|field| field.name == column);
    match field.map(|field| field.r#type) {
        Some(Type::Number | Type::Time | Type::Truth | Type::Flag) => "INTEGER",
        // A uid or a SID.
        Some(Type::UserId) => "",
        Some(_) => "TEXT",
        None => {
            let is_number = column.ends_with("_time") || NUMBERS.contains(&column);
            if is_number { "INTEGER" } else { "TEXT" }
        }
    }
}

/// Columns with numbers that are computed.
const NUMBERS: [&str; 5] = [
    "running",
    "exec_count",
    "run_began",
    "load_count",
    "event_count",
];

/// What is said of a column with bytes.
const RAW: &str = "its bytes in hex, where they are not valid Unicode";

/// The fields of the log, and the time as the log has it.
fn events() -> Vec<Column> {
    let mut columns = Vec::new();
    for field in schema::all() {
        if field.r#type == Type::Time {
            columns.push(column(field.name, "nanoseconds since the Unix epoch, UTC"));
            columns.push(column("time_text", "the same as RFC 3339"));
            continue;
        }
        columns.push(column(field.name, field.about()));
        if field.r#type.has_raw() {
            columns.push(column(field.raw_name, RAW));
        }
    }
    columns
}

/// `columns`, and the fields of these kinds that are not among them.
fn and_fields_of<const COUNT: usize>(columns: &[Column], kinds: [Kind; COUNT]) -> Vec<Column> {
    let mut columns = columns.to_vec();
    for field in kinds.into_iter().flat_map(schema::fields_of_kind) {
        if !columns.iter().any(|known| known.name == field.name) {
            columns.push(column(field.name, field.about()));
        }
    }
    columns
}

const HOST_ID: &str = Whence::host_id.about();
const RUN: &str = "when the run began, as its events say it";

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
    column("session_id", "the session, as it was told last"),
    column("host", "the machine"),
    column("host_id", HOST_ID),
    column("run", "the run that told of it last, as its events say it"),
    column("image", "path of the program it ran last"),
    column("command_line", "its arguments as one text"),
    column("arguments", "its arguments one by one, a JSON list"),
    column("user", "the user's name"),
    column("user_id", "uid, a number, or SID, a text"),
    column("script", "the script an interpreter was started for"),
    column("exec_count", "how many times it replaced its program"),
    column("exec_time", "when it did so last"),
    column("exec_time_text", "the same as RFC 3339"),
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
    column("run_began_text", "the same as RFC 3339"),
];

const THREADS: &[Column] = &[
    column("thread_id", "the thread"),
    column("process_id", "its process"),
    column("process_key", "that process's identity"),
    column("host", "the machine"),
    column("host_id", HOST_ID),
    column("run", RUN),
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
    column("host_id", HOST_ID),
    column("run", RUN),
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

const DETECTIONS: &[Column] = &[
    column("sequence", "from 1, without a gap in a run"),
    column("time", "nanoseconds since the Unix epoch, UTC"),
    column("time_text", "the same as RFC 3339"),
    column("host", "the machine"),
    column("host_id", HOST_ID),
    column("run", RUN),
    column("process_id", "the process of the event that matched"),
    column("process_key", "its identity"),
];

const LOSSES: &[Column] = &[
    column("sequence", "from 1, without a gap in a run"),
    column("time", "nanoseconds since the Unix epoch, UTC"),
    column("time_text", "the same as RFC 3339"),
    column("host", "the machine"),
    column("host_id", HOST_ID),
    column("run", RUN),
    column("lost_kind", "the kind of the events"),
    column("lost_count", "how many"),
    column("lost_reason", "why; store:write_failed is the store's own"),
];

const IMAGE_TOTALS: &[Column] = &[
    column("image", "path of the file mapped"),
    column("load_count", "how many times it was mapped"),
];

const KIND_TOTALS: &[Column] = &[
    column("kind", "the kind"),
    column("event_count", "how many events there are of it"),
];

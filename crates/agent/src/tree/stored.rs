//! The processes of the store as a tree has them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use event::ProcessKey;
use rusqlite::types::Value;
use rusqlite::{Params, Row};

use super::spool::{self, Spool};
use super::{End, Exit, NotOne, PROCESSES_MAX, Process, TooMany, Tree, Who};
use crate::store::{Guard, ReadError, Reader, Window, temporary_directory};
use crate::trail::{Program, Text, Time, UserId};

/// Why there is no tree, or no story.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] ReadError),
    /// It answers what cannot be.
    #[error("the store cannot be read: {0}")]
    Sqlite(#[from] rusqlite::Error),
    /// There are too many.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// No one process is meant.
    #[error(transparent)]
    NotOne(#[from] NotOne),
    /// There is no room for long texts.
    #[error(
        "{place}: long command lines cannot be put there: {source}; set SQLITE_TMPDIR to a directory with room"
    )]
    Spool {
        /// The directory for temporary files.
        place: String,
        /// What the system says.
        source: io::Error,
    },
}

impl Error {
    /// The same error, told as what the guard stopped where it is that.
    pub(crate) fn seen_by(self, guard: &Guard) -> Self {
        if let Self::Sqlite(source) = &self
            && let Some(stopped) = guard.stopped(source)
        {
            return ReadError::Stopped(stopped).into();
        }
        self
    }
}

/// Which processes are wanted, and how much of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// This one and what stands under it alone.
    pub who: Option<Who>,
    /// Whether all arguments are; the first tells what a process calls itself.
    pub arguments: bool,
}

/// The processes the store tells of in the window, as they were at its end. `reader` is
/// [`open`] in that window.
pub fn read(reader: &Reader, window: &Window, wanted: Wanted) -> Result<Tree, Error> {
    let with_parents = || {
        let begun = recordings(reader)?;
        if let Some(who) = wanted.who {
            return subtree(reader, window, &begun, (who, wanted.arguments));
        }
        let mut tree = tree(reader, window, &begun, wanted.arguments)?;
        add_told_parents(&mut tree, reader, window, &begun)?;
        Ok(tree)
    };
    with_parents().map_err(|error: Error| error.seen_by(reader.guard()))
}

/// The same without parents that only their children's starts tell of; `begun` are the store's
/// recordings.
#[cfg(all(feature = "top", target_os = "linux"))]
pub(crate) fn read_told_alone(
    reader: &Reader,
    window: &Window,
    begun: &[Time],
) -> Result<Tree, Error> {
    tree(reader, window, begun, false).map_err(|error| error.seen_by(reader.guard()))
}

/// Those that were there in a window: started before its end, ended after its beginning.
const THERE: &str = "(start_time < ?1) IS NOT FALSE AND (exit_time >= ?2) IS NOT FALSE";

fn tree(reader: &Reader, window: &Window, begun: &[Time], arguments: bool) -> Result<Tree, Error> {
    let bounds = bounds(window);
    let mut growing = Growing::new(arguments)?;
    let mut take = |row: &Row<'_>| growing.take(row, Time(bounds.0), begun);
    each(reader, (THERE, arguments), bounds, &mut take)?;
    growing.finish()
}

/// The end of a window, then its beginning.
fn bounds(window: &Window) -> (i64, i64) {
    let until = window.until.map_or(i64::MAX, |until| until.0);
    (until, window.since.map_or(i64::MIN, |since| since.0))
}

/// The tree of `who` and what stands under it. Of few each is asked for by its key; of many it is quicker to read
/// all, and keep those.
fn subtree(
    reader: &Reader,
    window: &Window,
    begun: &[Time],
    (who, arguments): (Who, bool),
) -> Result<Tree, Error> {
    /// Processes that are asked for by their keys, and how many in a question.
    const ASKED_MAX: usize = 4_096;
    const KEYS_MAX: usize = 256;
    let (until, since) = bounds(window);
    let keys = keys_under(reader, who)?;
    let mut growing = Growing::new(arguments)?;
    let mut take = |row: &Row<'_>| growing.take(row, Time(until), begun);
    if keys.len() > ASKED_MAX {
        let is_meant = |row: &Row<'_>| -> rusqlite::Result<bool> {
            let key: String = row.get("process_key")?;
            Ok(keys.contains(&key))
        };
        let mut take_meant = |row: &Row<'_>| if is_meant(row)? { take(row) } else { Ok(()) };
        each(reader, (THERE, arguments), (until, since), &mut take_meant)?;
        return growing.finish();
    }
    let keys: Vec<String> = keys.into_iter().collect();
    for keys in keys.chunks(KEYS_MAX) {
        let places = vec!["?"; keys.len()].join(", ");
        let condition = format!("{THERE} AND process_key IN ({places})");
        let parameters = [Value::from(until), Value::from(since)].into_iter();
        let parameters = parameters.chain(keys.iter().map(|key| Value::from(key.clone())));
        let parameters = rusqlite::params_from_iter(parameters);
        each(reader, (&condition, arguments), parameters, &mut take)?;
    }
    growing.finish()
}

/// The keys of those that `who` may mean, and of all that stand under them.
fn keys_under(reader: &Reader, who: Who) -> Result<std::collections::HashSet<String>, Error> {
    let (condition, parameters) = match who {
        Who::Id(id) => ("process_id = ?1", vec![Value::from(id)]),
        Who::Key(key) => {
            let (least, greatest) = key.agreeing();
            let span = [least, greatest].map(|key| Value::from(key.to_string()));
            ("process_key BETWEEN ?1 AND ?2", span.to_vec())
        }
    };
    let sql = format!(
        "WITH named(key) AS (SELECT process_key FROM processes WHERE {condition}) \
         SELECT key FROM named UNION SELECT process_key FROM named, descendants(named.key)"
    );
    let mut statement = reader.connection().prepare(&sql)?;
    let mut rows = statement.query(rusqlite::params_from_iter(parameters))?;
    let mut keys = std::collections::HashSet::new();
    while let Some(row) = rows.next()? {
        if keys.len() >= PROCESSES_MAX {
            return Err(TooMany::Processes.into());
        }
        reader.keep(row)?;
        keys.insert(row.get(0)?);
    }
    Ok(keys)
}

/// A tree that is read row by row, its long texts on the disk.
struct Growing {
    tree: Tree,
    spool: Spool,
    /// Whether all arguments are wanted.
    arguments: bool,
}

impl Growing {
    fn new(arguments: bool) -> Result<Self, Error> {
        let spool = Spool::open(&temporary_directory()).map_err(no_room)?;
        Ok(Self {
            tree: Tree::default(),
            spool,
            arguments,
        })
    }

    fn take(&mut self, row: &Row<'_>, until: Time, begun: &[Time]) -> Result<(), Error> {
        let mut process = process(row)?;
        let arguments: Option<String> = row.get("arguments")?;
        let arguments = arguments.as_deref();
        let all = arguments.filter(|_| self.arguments);
        self.spool.shorten(&mut process, all).map_err(no_room)?;
        if self.arguments && process.spooled.is_none() {
            spool::set_arguments(&mut process.program, arguments);
        } else {
            spool::set_first_argument(&mut process.program, arguments);
        }
        Ok(self.tree.add_process(as_of(process, until, begun))?)
    }

    fn finish(mut self) -> Result<Tree, Error> {
        self.spool.flush().map_err(no_room)?;
        self.tree.spool = Some(self.spool);
        Ok(self.tree)
    }
}

fn no_room(source: io::Error) -> Error {
    let place = temporary_directory().display().to_string();
    Error::Spool { place, source }
}

fn add_told_parents(
    tree: &mut Tree,
    reader: &Reader,
    window: &Window,
    begun: &[Time],
) -> Result<(), Error> {
    let until = window.until.map_or(i64::MAX, |until| until.0);
    for key in tree.unknown_parents() {
        // One with events of its own was not there in the window: it had ended.
        if !processes(reader, "process_key = ?1", [key.to_string()])?.is_empty() {
            continue;
        }
        if let Some(mut parent) = told_parent(reader, key, until)? {
            // No later recording told of it.
            if begun.last().is_some_and(|last| *last > parent.last_seen) {
                parent.end = End::Unseen;
            }
            tree.add_process(as_of(parent, Time(until), begun))?;
        }
    }
    Ok(())
}

/// A parent of which the store has nothing but what its first child's start says of it, as logs of other
/// recorders do; none where no start says more than its id.
fn told_parent(reader: &Reader, key: ProcessKey, until: i64) -> Result<Option<Process>, Error> {
    let sql = "SELECT parent_process_id, time, host, parent_image, parent_command_line, parent_user \
               FROM events WHERE kind = 'process_start' AND parent_process_key = ?1 AND time < ?2 \
               AND parent_image IS NOT NULL ORDER BY time LIMIT 1";
    let mut statement = reader.connection().prepare_cached(sql)?;
    let mut rows = statement.query((key.to_string(), until))?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    reader.keep(row)?;
    let text = |column| -> rusqlite::Result<Option<Text>> {
        let text: Option<String> = row.get(column)?;
        Ok(text.map(|text| Text::from(text.as_str())))
    };
    let seen = Time(row.get("time")?);
    Ok(Some(Process {
        process_id: row.get("parent_process_id")?,
        process_key: key,
        host: Arc::from(row.get::<_, Option<String>>("host")?.unwrap_or_default()),
        first_seen: seen,
        last_seen: seen,
        program: Program {
            image: text("parent_image")?,
            command_line: text("parent_command_line")?,
            user: row.get::<_, Option<String>>("parent_user")?.map(Arc::from),
            ..Program::default()
        },
        ..Process::default()
    }))
}

/// The segments that tell what was there in the window. Each tells of every process that was there
/// in its time; where none has an event in the window, those before it do.
pub(crate) fn open_unfenced(
    directory: &Path,
    window: &Window,
    guard: &Guard,
) -> Result<Reader, ReadError> {
    let reader = Reader::open(directory, window, guard)?;
    if reader.segments().len() > 0 || window.since.is_none() {
        return Ok(reader);
    }
    let before = Window {
        since: None,
        ..*window
    };
    Reader::open(directory, &before, guard)
}

/// The same, for reading alone. Which segments are [passed over](Reader::passed_over) is for the
/// caller to say: what they alone have is not in the answer.
pub fn open(directory: &Path, window: &Window, guard: &Guard) -> Result<Reader, Error> {
    let mut reader = open_unfenced(directory, window, guard)?;
    reader.fence()?;
    Ok(reader)
}

/// When the recordings of the store began, in order: those that say when, and those that a
/// `sensor_start` began.
pub(crate) fn recordings(reader: &Reader) -> Result<Vec<Time>, Error> {
    /// A recording a minute for seven years; what is beyond is of somebody else's making.
    const COUNT_MAX: u32 = 4_000_000;
    let sql = "SELECT time FROM events WHERE kind = 'sensor_start' ORDER BY time LIMIT ?1";
    let mut statement = reader.connection().prepare(sql)?;
    let times = statement.query_map([COUNT_MAX], |row| row.get(0).map(Time))?;
    let mut times: Vec<Time> = times.collect::<rusqlite::Result<_>>()?;
    times.extend(reader.runs(COUNT_MAX)?);
    times.sort_unstable();
    times.dedup();
    Ok(times)
}

/// `process` as it was known before that time: one that exits later was running, and so was one
/// that is found gone by a later recording.
pub(crate) fn as_of(mut process: Process, time: Time, begun: &[Time]) -> Process {
    match process.end {
        End::Exit(exit) if exit.time >= time => process.end = End::Running,
        End::Unseen => {
            // The recording that last told of it is the last thing that was seen of it.
            let next = begun.partition_point(|begun| *begun <= process.last_seen);
            match begun.get(next) {
                Some(next) if *next < time => process.end_unseen(*next),
                Some(_) => process.end = End::Running,
                None => {}
            }
        }
        End::Exit(_) | End::Running => {}
    }
    process
}

const COLUMNS: &str = "process_id, process_key, host, parent_process_id, parent_process_key, \
    creator_process_id, creator_thread_id, start_time, existing, kernel_process, name, image, command_line, \
    script, user, user_id, real_user, real_user_id, login_user, login_user_id, session_id, exec_count, exec_time, exit_time, exit_code, signal, \
    core_dumped, run_time_ns, running, run_began";

/// The rows of `processes` that meet a condition.
pub(crate) fn processes(
    reader: &Reader,
    condition: &str,
    parameters: impl Params,
) -> Result<Vec<Process>, Error> {
    at_most(PROCESSES_MAX, reader, condition, parameters)
}

/// No more of them than can be shown: in a segment of somebody else's making there may be no end.
fn at_most(
    count_max: usize,
    reader: &Reader,
    condition: &str,
    parameters: impl Params,
) -> Result<Vec<Process>, Error> {
    let mut processes = Vec::new();
    each(reader, (condition, true), parameters, &mut |row| {
        if processes.len() >= count_max {
            return Err(TooMany::Processes.into());
        }
        let mut process = process(row)?;
        let arguments: Option<String> = row.get("arguments")?;
        spool::set_arguments(&mut process.program, arguments.as_deref());
        processes.push(process);
        Ok(())
    })?;
    Ok(processes)
}

/// Hands each row of `processes` that meets a condition to `take_fn`, with all of its arguments or the beginning
/// of their list.
fn each(
    reader: &Reader,
    (condition, arguments): (&str, bool),
    parameters: impl Params,
    take_fn: &mut impl FnMut(&Row<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let arguments = if arguments {
        "arguments"
    } else {
        "substr(arguments, 1, 4200) AS arguments"
    };
    let sql = format!(
        "SELECT {COLUMNS}, {arguments}, CASE WHEN exec_count > 1 THEN execs END AS steps \
         FROM processes WHERE {condition}"
    );
    let mut statement = reader.connection().prepare(&sql)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        reader.keep(row)?;
        take_fn(row)?;
    }
    Ok(())
}

fn process(row: &Row<'_>) -> rusqlite::Result<Process> {
    let maybe_time = |column| row.get::<_, Option<i64>>(column).map(|time| time.map(Time));
    let maybe_u64 = |column| -> rusqlite::Result<Option<u64>> {
        let number: Option<i64> = row.get(column)?;
        Ok(number.map(i64::cast_unsigned))
    };
    let start_time = maybe_time("start_time")?;
    let exit_time = maybe_time("exit_time")?;
    let seen = [
        start_time,
        maybe_time("exec_time")?,
        exit_time,
        maybe_time("run_began")?,
    ];
    let seen = || seen.into_iter().flatten();
    let process_id: u32 = row.get("process_id")?;
    let parent_process_id = row.get("parent_process_id")?;
    let program = program(row)?;
    let exec_count = maybe_u64("exec_count")?.unwrap_or(0);
    let told: Option<bool> = row.get("kernel_process")?;
    // Version 1 does not tell. Nothing but kthreadd (2) starts kernel threads, and it starts nothing
    // else.
    let is_likely = process_id == 2 || parent_process_id == Some(2);
    let is_kernel = program.image.is_none() && exec_count == 0 && told.unwrap_or(is_likely);
    let name: Option<String> = row.get("name")?;
    let execs: Option<String> = row.get("steps")?;
    let running: Option<bool> = row.get("running")?;
    let end = match exit_time {
        Some(time) => End::Exit(Exit {
            time,
            exit_code: row.get("exit_code")?,
            signal: row.get("signal")?,
            core_dumped: row.get::<_, Option<bool>>("core_dumped")?.unwrap_or(false),
            run_time_ns: maybe_u64("run_time_ns")?,
        }),
        None if running == Some(true) => End::Running,
        None => End::Unseen,
    };
    let mut process = Process {
        process_id,
        process_key: key(row, "process_key")?.unwrap_or_default(),
        host: Arc::from(row.get::<_, Option<String>>("host")?.unwrap_or_default()),
        parent_process_id,
        parent_process_key: key(row, "parent_process_key")?,
        creator_process_id: row.get("creator_process_id")?,
        creator_thread_id: row.get("creator_thread_id")?,
        start_time,
        first_seen: seen().min().unwrap_or_default(),
        last_seen: seen().max().unwrap_or_default(),
        existing: row.get::<_, Option<bool>>("existing")?.unwrap_or(false),
        program,
        is_kernel,
        name: name.filter(|_| is_kernel).map(|name| Text::from(&*name)),
        session_id: row.get("session_id")?,
        exec_count,
        earlier_images: Vec::new(),
        spooled: None,
        end,
        known_until: None,
    };
    for image in earlier_images(execs.as_deref()) {
        process.add_earlier(image);
    }
    Ok(process)
}

/// What was run before the last of these execs, a list as the view has it.
fn earlier_images(execs: Option<&str>) -> Vec<Option<Text>> {
    #[derive(serde::Deserialize)]
    struct Exec<'j> {
        #[serde(borrow)]
        image: Option<std::borrow::Cow<'j, str>>,
    }
    // What is no such list was written by somebody else, and is not shown.
    let execs = execs.and_then(|json| serde_json::from_str::<Vec<Exec<'_>>>(json).ok());
    let mut execs = execs.unwrap_or_default();
    execs.pop();
    let images = execs.into_iter().map(|exec| exec.image);
    images
        .map(|image| image.map(|text| Text::from(&*text)))
        .collect()
}

fn program(row: &Row<'_>) -> rusqlite::Result<Program> {
    let text = |column| -> rusqlite::Result<Option<Text>> {
        let text: Option<String> = row.get(column)?;
        Ok(text.map(|text| Text::from(text.as_str())))
    };
    let name = |column| -> rusqlite::Result<Option<Arc<str>>> {
        Ok(row.get::<_, Option<String>>(column)?.map(Arc::from))
    };
    Ok(Program {
        image: text("image")?,
        command_line: text("command_line")?,
        user: name("user")?,
        user_id: match row.get("user_id")? {
            Value::Integer(uid) => u32::try_from(uid).ok().map(UserId::Uid),
            Value::Text(sid) => Some(UserId::Sid(Arc::from(sid))),
            _ => None,
        },
        real_user: name("real_user")?,
        real_user_id: row.get("real_user_id")?,
        login_user: name("login_user")?,
        login_user_id: row.get("login_user_id")?,
        script: text("script")?,
        // The view of processes has no more.
        ..Program::default()
    })
}

fn key(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<ProcessKey>> {
    let text: Option<String> = row.get(column)?;
    Ok(text.as_deref().and_then(ProcessKey::from_hex))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A view without end filled the memory before anybody counted.
    #[test]
    fn processes_without_end_are_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let guard = Guard::default();
        let reader = Reader::open(directory.path(), &Window::default(), &guard).unwrap();
        let columns = COLUMNS.split(", ").skip(1);
        let columns: Vec<String> = columns.map(|name| format!("NULL AS {name}")).collect();
        reader
            .connection()
            .execute_batch(&format!(
                "PRAGMA query_only = OFF; DROP VIEW temp.processes; \
                 CREATE TEMP VIEW processes AS WITH RECURSIVE n(n) AS \
                 (SELECT 1 UNION ALL SELECT n + 1 FROM n) \
                 SELECT n AS process_id, NULL AS execs, NULL AS arguments, {} FROM n",
                columns.join(", ")
            ))
            .unwrap();
        let all = at_most(10, &reader, "true", ());
        assert!(matches!(all, Err(Error::TooMany(TooMany::Processes))));
        let few = at_most(10, &reader, "true LIMIT 10", ());
        assert_eq!(few.unwrap().len(), 10);
    }
}

//! A story from the store: a few questions about one process, each answered by an index.

use event::ProcessKey;
use rusqlite::{OptionalExtension as _, Params, Row, params_from_iter};

use super::{Details, Exec, Image, LISTED_MAX, List, Story, Thread, ancestors, is_forked};
use crate::store::{Reader, Window};
use crate::trail::Time;
use crate::tree::stored::{Error, as_of, processes, recordings};
use crate::tree::{PROCESSES_MAX, Process, Span, TooMany, Who};

/// The story of `who`, of several with that id the one that was there `at` a time, as the window
/// has it. `reader` is [open](crate::tree::stored::open) in that window.
pub fn read(reader: &Reader, window: &Window, who: Who, at: Option<Time>) -> Result<Story, Error> {
    story(reader, window, who, at).map_err(|error| error.seen_by(reader.guard()))
}

fn story(reader: &Reader, window: &Window, who: Who, at: Option<Time>) -> Result<Story, Error> {
    let named = match who {
        Who::Id(id) => processes(reader, "process_id = ?1", [id])?,
        Who::Key(key) => with_key(reader, key)?,
    };
    let until = window.until.unwrap_or(Time(i64::MAX));
    let begun = recordings(reader)?;
    let as_of = |process| as_of(process, until, &begun);
    let named: Vec<_> = named.into_iter().map(as_of).collect();
    let process = who.find(&named, Span::new(at, window))?.clone();
    let key = process.process_key.to_string();
    let mut failure = None;
    let with_key = |key: ProcessKey| match processes(reader, "process_key = ?1", [key.to_string()])
    {
        Ok(found) => found.into_iter().next(),
        Err(error) => {
            failure = Some(error);
            None
        }
    };
    let ancestors = ancestors(&process, with_key);
    if let Some(error) = failure {
        return Err(error);
    }
    let mut children = children(reader, &process, until)?;
    children.retain(|child| child.process_key != process.process_key);
    let mut details = details(reader, &key, until)?;
    if details.execs.count == 0 {
        details.inherited_images = inherited_images(reader, &process, &ancestors)?;
    }
    Ok(Story {
        ancestors,
        children: children.into_iter().map(as_of).collect(),
        details,
        process,
    })
}

/// What was mapped when `process` was forked: what its parent had loaded since its program began, and where
/// that runs none of its own, what that one had from its parent.
fn inherited_images(
    reader: &Reader,
    process: &Process,
    ancestors: &[Process],
) -> Result<List<Image>, Error> {
    let mut inherited = List::default();
    let mut forked = begin_as_fork(process);
    let mut child = process;
    for ancestor in ancestors {
        let Some(Time(until)) = forked.filter(|_| child.process_key != ancestor.process_key) else {
            break;
        };
        let key = ancestor.process_key.to_string();
        let begin = program_begin(reader, &key, until)?;
        let images = "SELECT time, image, image_base, image_size, existing FROM images \
                      WHERE process_key = ?1 AND time BETWEEN ?2 AND ?3 AND kernel_image IS NOT 1 \
                      ORDER BY time, sequence";
        let parameters = (&key, begin.unwrap_or(i64::MIN), until);
        let mut own = list(reader, images, parameters, image)?;
        // Those of the eldest come first.
        own.count += inherited.count;
        own.first.append(&mut inherited.first);
        own.first.truncate(LISTED_MAX);
        inherited = own;
        if begin.is_some() {
            break;
        }
        forked = begin_as_fork(ancestor);
        child = ancestor;
    }
    Ok(inherited)
}

/// When it was forked, where the trail has that and it begins as its parent was.
fn begin_as_fork(process: &Process) -> Option<Time> {
    let begins_so = !process.existing && is_forked(&process.program);
    process.start_time.filter(|_| begins_so)
}

/// When the program began that a process ran at a time: with the load of its own file, a little before it
/// is told. `None` where it runs none since it was forked, or it began before the trail.
fn program_begin(reader: &Reader, key: &str, until: i64) -> Result<Option<i64>, Error> {
    let connection = reader.connection();
    let exec = "SELECT time, image FROM events WHERE process_key = ?1 AND kind = 'process_exec' \
                AND time <= ?2 ORDER BY time DESC LIMIT 1";
    let exec = connection
        .query_row(exec, (key, until), |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Option<String>>(1)?))
        })
        .optional()?;
    let Some((told, program)) = exec else {
        return Ok(None);
    };
    let load = "SELECT max(time) FROM images WHERE process_key = ?1 AND image = ?2 AND time <= ?3";
    let loaded: Option<i64> = connection.query_row(load, (key, program, told), |row| row.get(0))?;
    Ok(Some(loaded.unwrap_or(told)))
}

fn image(row: &Row<'_>) -> rusqlite::Result<Image> {
    Ok(Image {
        time: Time(row.get("time")?),
        image: row.get("image")?,
        image_base: row.get("image_base")?,
        image_size: row.get::<_, i64>("image_size")?.cast_unsigned(),
        existing: row.get("existing")?,
    })
}

/// The process with this key, or, where there is none, those whose keys agree with it.
fn with_key(reader: &Reader, key: ProcessKey) -> Result<Vec<Process>, Error> {
    let very = processes(reader, "process_key = ?1", [key.to_string()])?;
    if !very.is_empty() {
        return Ok(very);
    }
    let (least, greatest) = key.agreeing();
    let span = [least.to_string(), greatest.to_string()];
    processes(reader, "process_key BETWEEN ?1 AND ?2", span)
}

/// What a process started before a time, in that order. Asked of the starts in its time, which have an index by
/// time; their processes are then found by key.
fn children(reader: &Reader, process: &Process, until: Time) -> Result<Vec<Process>, Error> {
    /// Keys in one question.
    const KEYS_MAX: usize = 500;
    /// Start times of a snapshot are rounded, and clocks are set.
    const SLACK_NS: i64 = 1_000_000_000;
    let begins = process.start_time.map_or(i64::MIN, |time| time.0);
    let ends = process.exit().map_or(i64::MAX, |exit| exit.time.0);
    let sql = "SELECT DISTINCT process_key FROM events \
               WHERE kind = 'process_start' AND parent_process_key = ?1 AND time BETWEEN ?2 AND ?3";
    let mut statement = reader.connection().prepare(sql)?;
    let parameters = (
        process.process_key.to_string(),
        begins.saturating_sub(SLACK_NS),
        ends.saturating_add(SLACK_NS).min(until.0.saturating_sub(1)),
    );
    let mut rows = statement.query(parameters)?;
    let mut keys: Vec<String> = Vec::new();
    while let Some(row) = rows.next()? {
        if keys.len() >= PROCESSES_MAX {
            return Err(TooMany::Processes.into());
        }
        reader.keep(row)?;
        keys.push(row.get(0)?);
    }
    let mut children = Vec::new();
    for keys in keys.chunks(KEYS_MAX) {
        let places = vec!["?"; keys.len()].join(", ");
        let condition = format!("process_key IN ({places})");
        children.extend(processes(reader, &condition, params_from_iter(keys))?);
    }
    children.sort_by_key(|child| (child.start_time, child.process_id));
    Ok(children)
}

fn details(reader: &Reader, key: &str, until: Time) -> Result<Details, Error> {
    let parameters = (key, until.0);
    let text = |row: &Row<'_>, column| row.get::<_, Option<String>>(column);
    let execs = "SELECT time, image, command_line, script, user FROM events \
                 WHERE process_key = ?1 AND kind = 'process_exec' AND time < ?2 ORDER BY time";
    let threads = "SELECT thread_id, start_time, exit_time, remote, creator_process_id \
                   FROM threads WHERE process_key = ?1 AND (start_time < ?2) IS NOT FALSE \
                   ORDER BY start_time";
    let images = "SELECT time, image, image_base, image_size, existing FROM images \
                  WHERE process_key = ?1 AND time < ?2 ORDER BY time, sequence";
    Ok(Details {
        execs: list(reader, execs, parameters, |row| {
            Ok(Exec {
                time: Time(row.get("time")?),
                image: text(row, "image")?,
                command_line: text(row, "command_line")?,
                script: text(row, "script")?,
                user: text(row, "user")?,
            })
        })?,
        threads: list(reader, threads, parameters, |row| {
            let remote: Option<bool> = row.get("remote")?;
            let creator: Option<u32> = row.get("creator_process_id")?;
            let time = |column| row.get::<_, Option<i64>>(column).map(|time| time.map(Time));
            Ok(Thread {
                thread_id: row.get("thread_id")?,
                start_time: time("start_time")?,
                remote_creator: creator.filter(|_| remote == Some(true)),
                exit_time: time("exit_time")?.filter(|time| *time < until),
            })
        })?,
        images: list(reader, images, parameters, image)?,
        inherited_images: List::default(),
        inherits_unknown: false,
    })
}

fn list<T>(
    reader: &Reader,
    sql: &str,
    parameters: impl Params,
    item_fn: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<List<T>, Error> {
    let mut list = List::default();
    let mut statement = reader.connection().prepare(sql)?;
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        if list.first.len() < LISTED_MAX {
            reader.keep(row)?;
        }
        list.add(item_fn(row)?);
    }
    Ok(list)
}

//! What the store costs, on a day that is made up but told as a sensor would tell it: how many
//! events a core writes, how many bytes they take, how long the usual questions last, how much
//! memory all that needs. `cargo xtask bench store` runs it; it prints one JSON object.
//!
//! Writing is timed in processor time of the writing thread, so that other work on the machine does
//! not count; what the retention thread uses beside it is told apart.

mod day;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use day::Day;
use nix::time::{ClockId, clock_gettime};
use serde_json::json;
use systrail::sink::store::{Settings, Store};
use systrail::sink::{Sink as _, Tally};
use systrail::store::retention::Retention;
use systrail::store::{Guard, Reader, Window};
use systrail::trail::Time;

/// Events a chunk of the pipeline has.
const CHUNK_COUNT: usize = 2_048;

/// Chunks between two flushes: what half a second brings at 250,000 events a second.
const FLUSH_CHUNK_COUNT: usize = 60;

fn main() -> anyhow::Result<()> {
    // `cargo bench` adds an argument of its own.
    let arguments: Vec<_> = std::env::args().filter(|text| text != "--bench").collect();
    let [_, count, directory] = arguments.as_slice() else {
        anyhow::bail!("usage: store EVENTS DIRECTORY");
    };
    let count: u64 = count.parse().context("EVENTS is no number")?;
    let directory = PathBuf::from(directory);
    let written = write(count, &directory)?;
    let asked = ask(&directory)?;
    let result = json!({
        "events": count,
        "written": written,
        "asked_ms": asked,
        "memory_peak_kib": memory_peak_kib()?,
    });
    #[expect(clippy::print_stdout, reason = "the result is what the program is for")]
    {
        println!("{result}");
    }
    Ok(())
}

fn write(count: u64, directory: &Path) -> anyhow::Result<serde_json::Value> {
    let mut store = Store::open(Settings {
        path: directory.to_path_buf(),
        segment_size: 256 << 20,
        segment_age: Duration::from_hours(48),
        retention: Retention::default(),
    })?;
    let tally = Tally::default();
    let mut day = Day::new(count);
    let mut chunk = Vec::with_capacity(CHUNK_COUNT);
    let mut thread_time = Duration::ZERO;
    let mut making_time = Duration::ZERO;
    let began = process_time()?;
    for number in 1.. {
        let making = thread_time_now()?;
        chunk.clear();
        chunk.extend(day.by_ref().take(CHUNK_COUNT));
        making_time += thread_time_now()?.saturating_sub(making);
        if chunk.is_empty() {
            break;
        }
        let before = thread_time_now()?;
        store.write(&chunk, &tally);
        if number % FLUSH_CHUNK_COUNT == 0 {
            store.flush(&tally);
        }
        thread_time += thread_time_now()?.saturating_sub(before);
    }
    let before = thread_time_now()?;
    store.flush(&tally);
    thread_time += thread_time_now()?.saturating_sub(before);
    store.close(&tally);
    let retention_time = process_time()?
        .saturating_sub(began)
        .saturating_sub(thread_time + making_time);
    anyhow::ensure!(
        tally.written() == count,
        "{} events lost",
        tally.lost_total()
    );
    let size = size_of(directory)?;
    Ok(json!({
        "events_per_second": rate(count, thread_time),
        "retention_share": retention_time.as_secs_f64() / thread_time.as_secs_f64(),
        "bytes_per_event": ratio(size, count),
        "segments": systrail::store::segments(directory)?.len(),
        "memory_peak_kib": memory_peak_kib()?,
    }))
}

/// The usual questions, each asked three times; the shortest time counts, the machine being shared.
fn ask(directory: &Path) -> anyhow::Result<serde_json::Value> {
    let whole = Window::default();
    let opened = best_of_three(|| {
        let _reader = Reader::open(directory, &whole, &Guard::default())?;
        Ok(())
    })?;
    let noon = Time(day::MIDNIGHT + 12 * day::HOUR);
    let moment = Window {
        since: Some(noon),
        until: Some(Time(noon.0 + 1)),
    };
    let (process_id, time) = somebody(directory, noon)?;
    let point = best_of_three(|| {
        let reader = Reader::open(directory, &moment, &Guard::default())?;
        let sql = "SELECT * FROM processes WHERE process_id = ?1 \
                   AND start_time <= ?2 AND coalesce(exit_time, ?2) >= ?2";
        let count = row_count(&reader, sql, &[&process_id, &time])?;
        anyhow::ensure!(count == 1, "{count} processes where one was asked for");
        Ok(())
    })?;
    let ten_minutes = Window {
        since: Some(noon),
        until: Some(Time(noon.0 + day::HOUR / 6)),
    };
    let in_window = |sql: &str| {
        best_of_three(|| {
            let reader = Reader::open(directory, &ten_minutes, &Guard::default())?;
            let end = noon.0 + day::HOUR / 6;
            row_count(&reader, sql, &[&noon.0, &end]).map(drop)
        })
    };
    let window = in_window(
        "SELECT kind, count(*) FROM events WHERE time >= ?1 AND time < ?2 GROUP BY kind",
    )?;
    let window_execs = in_window(
        "SELECT time_text, image, command_line FROM events \
         WHERE kind = 'process_exec' AND time >= ?1 AND time < ?2",
    )?;
    let over_all = |sql: &str| {
        let began = Instant::now();
        let reader = Reader::open(directory, &whole, &Guard::default())?;
        row_count(&reader, sql, &[])?;
        anyhow::Ok(milliseconds(began.elapsed()))
    };
    let top = "ORDER BY 2 DESC LIMIT 10";
    Ok(json!({
        "open": opened,
        "point": point,
        "window": window,
        "window_execs": window_execs,
        "top_totals": over_all(&format!("SELECT * FROM image_totals {top}"))?,
        "top_programs": over_all(&format!(
            "SELECT image, count(*) FROM processes GROUP BY image {top}"
        ))?,
        "top_loads": over_all(&format!(
            "SELECT image, count(*) FROM images GROUP BY image {top}"
        ))?,
    }))
}

/// A process that ran at that time.
fn somebody(directory: &Path, time: Time) -> anyhow::Result<(i64, i64)> {
    let reader = Reader::open(
        directory,
        &Window {
            since: Some(time),
            until: None,
        },
        &Guard::default(),
    )?;
    let sql = "SELECT process_id, time FROM events WHERE kind = 'process_exec' AND time >= ?1 \
               ORDER BY time LIMIT 1";
    let connection = reader.connection();
    Ok(connection.query_row(sql, [time.0], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn row_count(
    reader: &Reader,
    sql: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> anyhow::Result<u64> {
    let mut statement = reader.connection().prepare(sql)?;
    let column_count = statement.column_count();
    let mut rows = statement.query(parameters)?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        for column in 0..column_count {
            row.get_ref(column)?;
        }
        count += 1;
    }
    Ok(count)
}

fn best_of_three(mut ask_fn: impl FnMut() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let began = Instant::now();
        ask_fn()?;
        best = best.min(milliseconds(began.elapsed()));
    }
    Ok(best)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn rate(count: u64, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn ratio(size: u64, count: u64) -> f64 {
    size as f64 / count as f64
}

fn thread_time_now() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

fn process_time() -> anyhow::Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn size_of(directory: &Path) -> anyhow::Result<u64> {
    let mut size = 0;
    for entry in std::fs::read_dir(directory)? {
        size += entry?.metadata()?.len();
    }
    Ok(size)
}

/// The most memory this process ever had.
fn memory_peak_kib() -> anyhow::Result<u64> {
    let status = procfs::process::Process::myself()?.status()?;
    status.vmhwm.context("the kernel does not tell VmHWM")
}

//! `systrail query`: SQL over the store.

use std::io::{self, IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use systrail::query::{self, EXAMPLES, Error, Format, Query};
use systrail::store::{Guard, Limits, views};
use systrail::sys::wake::Waker;
use systrail::trail::Time;

use super::console::{self, say};
use super::local::Local;
use super::options::named;
use super::pager::Out;
use super::passed_over::{self, Strict};
use super::timeout::Timeout;
use super::{Exit, Failure, stop, trail};

/// Asks the store, while `run` goes on, and prints the rows. A query can only read: whatever else
/// it says is refused. It ends after --timeout, and at Ctrl-C. Without a query, on a terminal, it asks
/// for one after the other, with a history and completion.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "a flag each")]
#[command(after_help = "\
Examples:
  systrail query \"SELECT exit_code, command_line FROM processes WHERE exit_code != 0\"
  systrail query --since 10m \"SELECT kind, count(*) FROM events GROUP BY kind\"
  systrail query --last-run --format csv \"SELECT * FROM images\" > images.csv
  systrail query                          one query after the other; .help lists commands
  systrail query --schema                 the views and their columns
  systrail query --examples               more of these")]
pub(super) struct Arguments {
    /// The query; - reads it from standard input
    #[arg(value_name = "SQL")]
    sql: Option<String>,
    /// The store's directory
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Rows from this time on: 10m (that long ago), yesterday, 02:00, 2026-11-22T02:00:00Z
    #[arg(long, value_name = "TIME", value_parser = trail::time, allow_hyphen_values = true)]
    since: Option<Time>,
    /// Rows up to this time
    #[arg(long, value_name = "TIME", value_parser = trail::time, allow_hyphen_values = true)]
    until: Option<Time>,
    /// Rows from the beginning of the newest recording on
    #[arg(long, conflicts_with = "since")]
    last_run: bool,
    /// How to print them
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    #[arg(value_parser = ["table", "json", "jsonl", "csv"])]
    format: String,
    #[command(flatten)]
    pub(super) local: Local,
    #[command(flatten)]
    strict: Strict,
    #[command(flatten)]
    timeout: Timeout,
    /// Print straight to the terminal
    #[arg(long)]
    no_pager: bool,
    /// Print the views and their columns
    #[arg(long, conflicts_with = "sql")]
    schema: bool,
    /// Print queries worth knowing
    #[arg(long, conflicts_with_all = ["sql", "schema"])]
    examples: bool,
}

/// Does `systrail query`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    if arguments.schema {
        console::result(&schema(None))?;
        return Ok(Exit::Done);
    }
    if arguments.examples {
        console::result(&examples())?;
        return Ok(Exit::Done);
    }
    let directory = trail::store_directory(arguments.store.as_deref())?;
    let Some(given) = &arguments.sql else {
        return ask_for_queries(arguments, &directory);
    };
    let sql = text_of(given)?;
    let waker = Waker::new()?;
    let _signals = stop::on_signals_saying(&waker, "aborted")?;
    arguments.ask(&directory, &sql, arguments.format(), waker)
}

fn ask_for_queries(arguments: &Arguments, directory: &Path) -> Result<Exit, Failure> {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Err(Failure::usage(anyhow::anyhow!(
            "there is no query; give one in quotes, or - to read it from standard input \
             (systrail query --examples has some)"
        )));
    }
    shell(arguments, directory)
}

#[cfg(all(feature = "shell", target_os = "linux"))]
fn shell(arguments: &Arguments, directory: &Path) -> Result<Exit, Failure> {
    super::shell::main(arguments, directory)
}

/// Says how to get a program that has it, or what there is instead.
#[cfg(not(all(feature = "shell", target_os = "linux")))]
fn shell(_arguments: &Arguments, _directory: &Path) -> Result<Exit, Failure> {
    if cfg!(target_os = "linux") {
        return Err(Failure::not_built_in("the shell for queries", "shell"));
    }
    Err(Failure::usage(anyhow::anyhow!(
        "one query after the other is for Linux; give one in quotes"
    )))
}

/// The query that an argument gives.
fn text_of(given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let size_max = u64::try_from(query::SQL_SIZE_MAX).unwrap_or(u64::MAX);
    // One byte more, so that what is too long is seen to be.
    io::stdin().take(size_max + 1).read_to_string(&mut text)?;
    Ok(text)
}

impl Arguments {
    /// How rows are printed.
    pub(super) fn format(&self) -> Format {
        named(&self.format, &Format::NAMES).unwrap_or(Format::Table)
    }

    /// Asks the store as it is now and prints the rows, until `waker` is woken.
    pub(super) fn ask(
        &self,
        directory: &Path,
        sql: &str,
        format: Format,
        waker: Waker,
    ) -> Result<Exit, Failure> {
        let guard = Guard::new(Limits {
            timeout: self.timeout.limit(),
            stop: Some(waker),
            progress_fn: progress(),
        });
        let deadline = self.timeout.start_deadline(&guard);
        let window = trail::window(directory, self.since, self.until, self.last_run, &guard)?;
        let query = Query::open(directory, &window, &guard)?;
        let mut passed_over_count = passed_over::tell_of(query.reader(), directory, &window);
        if let Some(remark) = query::remark(sql) {
            say!("{remark}");
        }
        let mut out = Out::open(format == Format::Table && !self.no_pager);
        let result = query.run(sql, &mut out.rows(format));
        drop((out, deadline));
        console::end_live_line();
        passed_over_count += passed_over::tell(&query.reader().take_failed());
        match result {
            Ok(_count) => self.strict.exit(passed_over_count),
            // Whoever closed the pipe, or the pager, has seen enough.
            Err(Error::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.strict.exit(passed_over_count)
            }
            Err(error) if error.is_usage() => Err(Failure::usage(error)),
            Err(error) => Err(error.into()),
        }
    }
}

/// Draws a line on a terminal while a query runs and prints nothing.
fn progress() -> Option<Box<dyn FnMut(Duration, u64) + Send>> {
    // Rows on the same terminal are progress enough, and would be drawn over.
    let is_wanted = io::stderr().is_terminal();
    is_wanted.then(|| -> Box<dyn FnMut(Duration, u64) + Send> {
        Box::new(|runs, row_count| {
            if row_count == 0 && runs >= Duration::from_secs(1) {
                console::live_line(&format!("asking for {} s", runs.as_secs()));
            } else {
                console::end_live_line();
            }
        })
    })
}

/// Every view, or the one of that name, then its columns, a line each.
pub(super) fn schema(name: Option<&str>) -> String {
    let mut lines = Vec::new();
    for view in views()
        .iter()
        .filter(|view| name.is_none_or(|name| view.name == name))
    {
        lines.push(format!("{}: {}", view.name, view.about));
        let width = view.columns.iter().map(|column| column.name.len()).max();
        let width = width.unwrap_or_default();
        for column in &view.columns {
            lines.push(format!("  {:width$}  {}", column.name, column.about));
        }
        lines.push(String::new());
    }
    lines.join("\n")
}

fn examples() -> String {
    let mut lines = Vec::new();
    for example in &EXAMPLES {
        lines.push(format!("-- {}", example.question));
        lines.push(format!("{};", example.sql));
        lines.push(String::new());
    }
    lines.join("\n")
}

//! `systrail driver`: the kernel driver's service alone.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use event::control::UNCONFIRMED_STARTS_MAX;
use systrail::quantity;
use systrail::service::windows::{
    DRIVER, Driver, DriverState, Installed, Parameters, StartAt, beside_this_program,
};
use systrail::sys::registry::Value;

use super::{Exit, Failure, console, launch};

/// What to do with the driver.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Install the driver, or bring its service up to date; it is not started
    #[command(after_help = "\
Examples:
  systrail driver install                            systrail.sys beside systrail.exe
  systrail driver install --boot --queue-limit 16MiB   sees what runs before the agent does")]
    Install(Install),
    /// Stop the driver and remove its service; the file stays
    #[command(after_help = "Example:\n  systrail driver uninstall")]
    Uninstall,
    /// Load the driver; it queues events until an agent reads them
    ///
    /// A driver that was started twice, and that no agent confirmed since, refuses to start, as it may be
    /// what takes the machine down. This starts it all the same, and counts anew.
    #[command(after_help = "Example:\n  systrail driver start")]
    Start,
    /// Unload the driver; what it has queued is gone
    #[command(after_help = "Example:\n  systrail driver stop")]
    Stop,
    /// Say whether the driver is installed and runs, what it has counted, and which of its settings
    /// it refused
    #[command(after_help = "Example:\n  systrail driver status")]
    Status,
}

/// How to install.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// The driver's file; systrail.sys beside this program when not given
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Start it with the system, so that what runs early waits in its queue
    #[arg(long)]
    boot: bool,
    /// Bytes of events it may queue, 64KiB to 64MiB
    #[arg(long, value_name = "SIZE", value_parser = queue_limit)]
    queue_limit: Option<u32>,
    /// The longest an event waits in it, 1ms to 1s
    #[arg(long, value_name = "TIME", value_parser = flush_interval)]
    flush_interval: Option<Duration>,
    /// Install it even from where others than administrators could exchange it
    #[arg(long)]
    allow_writable: bool,
}

/// The bounds of `QueueLimit`.
const QUEUE_LIMIT: std::ops::RangeInclusive<u64> = 64 << 10..=64 << 20;

fn queue_limit(text: &str) -> Result<u32, String> {
    let size = quantity::size(text).map_err(|error| error.to_string())?;
    match u32::try_from(size) {
        Ok(limit) if QUEUE_LIMIT.contains(&size) => Ok(limit),
        _ => Err("it must be from 64KiB to 64MiB".to_owned()),
    }
}

fn flush_interval(text: &str) -> Result<Duration, String> {
    let interval = quantity::duration(text).map_err(|error| error.to_string())?;
    if systrail::config::FLUSH_INTERVAL.contains(&interval) {
        return Ok(interval);
    }
    Err("it must be from 1ms to 1s".to_owned())
}

/// Does `systrail driver`.
pub(super) fn main(command: &Command) -> Result<Exit, Failure> {
    let text = match command {
        Command::Install(arguments) => install(arguments)?,
        Command::Uninstall => told(Driver::uninstall()?, "uninstalled", "was not installed"),
        Command::Start => told(Driver::start_anew()?, "started", "runs already"),
        Command::Stop => told(Driver::stop()?, "stopped", "did not run"),
        Command::Status => status(&Driver::state()?),
    };
    console::result(&text)?;
    Ok(Exit::Done)
}

fn told(has_changed: bool, changed: &str, unchanged: &str) -> String {
    format!(
        "{DRIVER}: {}\n",
        if has_changed { changed } else { unchanged }
    )
}

fn install(arguments: &Install) -> Result<String, Failure> {
    let file = match &arguments.file {
        Some(file) => file.clone(),
        None => beside_this_program()?,
    };
    let start_at = if arguments.boot {
        StartAt::Boot
    } else {
        StartAt::Demand
    };
    let parameters = Parameters {
        queue_limit: arguments.queue_limit,
        flush_interval: arguments.flush_interval,
    };
    let origin = launch::origin(arguments.allow_writable);
    let done = match Driver::install(&file, origin, start_at, parameters)? {
        Installed::New => "installed",
        Installed::Again => "brought up to date; what changed counts from its next start",
    };
    Ok(format!(
        "{DRIVER}: {done}; `systrail driver start` starts it\n"
    ))
}

/// What is to be said of the driver.
fn status(state: &DriverState) -> String {
    let Some(file) = &state.file else {
        return format!("{DRIVER}: not installed; `systrail driver install` does\n");
    };
    let runs = if state.is_running {
        "running"
    } else {
        "stopped"
    };
    let starts = if state.starts_at_boot {
        "with the system"
    } else {
        "on demand"
    };
    let mut lines = vec![format!(
        "{DRIVER}: {runs}, starts {starts}, {}",
        file.display()
    )];
    if let Some(untold) = &state.untold {
        lines.push(format!("it could not be asked: {untold}"));
    }
    if state.unconfirmed_starts > 0 {
        lines.push(format!(
            "{} that no agent has confirmed yet; after {UNCONFIRMED_STARTS_MAX} it refuses to start",
            quantity::show_count(state.unconfirmed_starts, "start"),
        ));
    }
    match &state.failed_start {
        None => {}
        Some(Ok(failure)) => lines.push(failure.to_string()),
        Some(Err(foreign)) => lines.push(format!(
            "what the registry says of its last start is not the driver's: {foreign}"
        )),
    }
    lines.extend(counters(state));
    lines.extend(state.refused());
    for (name, value) in Parameters::values().unwrap_or_default() {
        let value = match value {
            Value::Number(number) => number.to_string(),
            Value::Text(_) | Value::Other => "not a REG_DWORD".to_owned(),
        };
        lines.push(format!("registry {name}: {value}"));
    }
    lines.push(String::new());
    lines.join("\n")
}

fn counters(state: &DriverState) -> Vec<String> {
    let Some((welcome, counters)) = &state.told else {
        return Vec::new();
    };
    let mut lines = vec![
        format!(
            "protocol {}, flush interval {} ms, {} waiting",
            welcome.protocol_version,
            welcome.flush_interval_ms,
            quantity::show_count(counters.known.reads_pended, "read"),
        ),
        format!(
            "queue {} of {} bytes, peak {}",
            counters.known.queue_used, counters.known.queue_limit, counters.known.queue_peak
        ),
    ];
    for (kind, count) in counters.kinds() {
        if count.produced > 0 {
            lines.push(format!(
                "{kind}: {} produced, {} delivered, {} lost",
                count.produced, count.delivered, count.lost
            ));
        }
    }
    lines
}

//! What `run` and `watch` are told: defaults, overridden by the configuration file, overridden by
//! the command line.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use systrail::account::Account;
use systrail::config::{self, Config, FLUSH_INTERVAL, OnLoss, Severity};
use systrail::enrich::user;
use systrail::pipeline::scope::Scope;
use systrail::quantity;
use systrail::rules::Kinds;
use systrail::sensor::choice::Source;
use systrail::sys::processes::start_tick;

use super::console::{self, say};
use super::{Exit, Failure, launch};

/// The flags `run` and `watch` share.
#[derive(Clone, Debug, Args)]
pub(super) struct Options {
    /// Write JSON Lines to this file; - is standard output
    #[arg(long, value_name = "FILE", conflicts_with = "no_log")]
    log: Option<PathBuf>,
    /// Write no log
    #[arg(long)]
    no_log: bool,
    /// Keep the store in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "no_store")]
    store: Option<PathBuf>,
    /// Keep no store
    #[arg(long)]
    no_store: bool,
    /// Stop after this long (10s, 50ms, 2h), counted from the moment everything is seen
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// Record these alone
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    #[arg(value_parser = ["process", "thread", "image", "exec_failed"])]
    events: Option<Vec<String>>,
    /// How to observe the machine; auto takes the best that runs here
    #[arg(long, value_name = "SOURCE", value_parser = ["auto", "driver", "etw", "driver+etw", "ebpf", "perf", "connector"])]
    source: Option<String>,
    /// Read this configuration instead of the system's (`systrail config check` names it)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Write the account to this file as JSON when done
    #[arg(long, value_name = "FILE", value_parser = summary_file)]
    pub(super) summary: Option<PathBuf>,
    /// Whether lost events make the exit code 3
    #[arg(long, value_name = "POLICY", value_parser = ["log", "fail"])]
    on_loss: Option<String>,
    /// The longest an event waits in the kernel, 1ms to 1s
    #[arg(long, value_name = "TIME", value_parser = flush_interval)]
    flush_interval: Option<Duration>,
    /// Serve Prometheus metrics there, a port being this machine's own; 127.0.0.1:9477 when none is given
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:9477")]
    #[arg(value_parser = config::serve_address)]
    metrics: Option<SocketAddr>,
}

/// Where JSON Lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Log {
    /// Nowhere.
    None,
    /// To standard output.
    StandardOutput,
    /// To a file that is rotated.
    File(PathBuf),
}

impl Options {
    /// The configuration with these flags over it.
    pub(super) fn configuration(&self) -> Result<Config, Failure> {
        let mut config = load(self.config.as_deref())?;
        if let Some(name) = &self.source {
            config.source = named(name, &Source::NAMES).unwrap_or(config.source);
        }
        if let Some(name) = &self.on_loss {
            config.on_loss = named(name, &OnLoss::NAMES).unwrap_or(config.on_loss);
        }
        if let Some(names) = &self.events {
            config.events = names
                .iter()
                .filter_map(|name| named(name, &config::EVENT_NAMES))
                .fold(Kinds::NONE, Kinds::union);
        }
        config.flush_interval = self.flush_interval.unwrap_or(config.flush_interval);
        config.metrics = self.metrics.or(config.metrics);
        Ok(config)
    }

    /// Where `run` writes its log.
    pub(super) fn log(&self, config: &Config) -> Log {
        if self.log.is_some() {
            return self.explicit_log();
        }
        if self.no_log || !config.log.on {
            return Log::None;
        }
        Log::File(config.log_file())
    }

    /// Where `run` keeps its store.
    pub(super) fn store(&self, config: &Config) -> Option<PathBuf> {
        let is_wanted = config.store.on && !self.no_store;
        let configured = || is_wanted.then(|| config.store_directory());
        self.explicit_store().or_else(configured)
    }

    /// Where a store is kept that the command line asks for.
    pub(super) fn explicit_store(&self) -> Option<PathBuf> {
        self.store.clone()
    }

    /// Where a log goes that the command line asks for.
    pub(super) fn explicit_log(&self) -> Log {
        match &self.log {
            None => Log::None,
            Some(path) if path == Path::new("-") => Log::StandardOutput,
            Some(path) => Log::File(path.clone()),
        }
    }
}

/// What a name stands for in a list of them.
pub(super) fn named<T: Copy>(name: &str, names: &[(&'static str, T)]) -> Option<T> {
    names
        .iter()
        .find(|&&(known, _)| known == name)
        .map(|&(_, value)| value)
}

fn duration(text: &str) -> Result<Duration, String> {
    match quantity::duration(text) {
        Ok(Duration::ZERO) => Err("it must be longer than nothing".to_owned()),
        Ok(duration) => Ok(duration),
        Err(error) => Err(error.to_string()),
    }
}

fn flush_interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if FLUSH_INTERVAL.contains(&interval) {
        return Ok(interval);
    }
    Err("it must be from 1ms to 1s".to_owned())
}

/// The process with this id, and what is below it.
pub(super) fn scope_of_running(process_id: u32) -> Result<Scope, Failure> {
    match start_tick(process_id) {
        Some(_runs) => Ok(Scope::of_running(process_id)),
        None => Err(Failure::usage(anyhow::anyhow!(
            "no process {process_id} runs now"
        ))),
    }
}

/// A file that can be there in the end: looked at now, for then it is too late.
pub(super) fn summary_file(text: &str) -> Result<PathBuf, String> {
    if text == "-" {
        return Err("it must be a file; ./- is one, and /dev/stdout is standard output".to_owned());
    }
    let path = PathBuf::from(text);
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.file_name().is_none() || path.is_dir() {
        return Err("it must be a file".to_owned());
    }
    if !parent.is_dir() {
        return Err(format!("there is no directory {}", parent.display()));
    }
    Ok(path)
}

/// Refuses a summary that would take the place of the log it is about.
pub(super) fn keep_from_summary(log: &Path, summary: Option<&Path>) -> Result<(), Failure> {
    if summary.is_some_and(|summary| is_same_file(log, summary)) {
        let error = anyhow::anyhow!(
            "--summary would replace the log {}; name another file",
            log.display()
        );
        return Err(Failure::usage(error));
    }
    Ok(())
}

/// Whether two paths lead to one file, be it there or not.
pub(super) fn is_same_file(left: &Path, right: &Path) -> bool {
    matches!((resolved(left), resolved(right)), (Ok(left), Ok(right)) if left == right)
}

/// The path without links; of a file that is not there yet, in a directory without links.
fn resolved(path: &Path) -> io::Result<PathBuf> {
    path.canonicalize().or_else(|_not_there| {
        let path = std::path::absolute(path)?;
        match (path.parent(), path.file_name()) {
            (Some(directory), Some(name)) => Ok(directory.canonicalize()?.join(name)),
            _ => Ok(path),
        }
    })
}

/// The configuration of the file named, of the default file where it is there, or the default.
pub(super) fn load(named: Option<&Path>) -> Result<Config, Failure> {
    let default = config::default_path();
    let path = match named {
        Some(path) => path.to_owned(),
        None if default.exists() => launch::configuration_at(&default)?,
        None => return Ok(Config::default()),
    };
    let (config, findings) = read(&path).map_err(Failure::usage)?;
    for finding in &findings {
        console::line(format_args!("{}:{finding}", path.display()));
    }
    if findings
        .iter()
        .any(|finding| finding.severity == Severity::Error)
    {
        let error = anyhow::anyhow!("configuration {} is refused", path.display());
        return Err(Failure::usage(error));
    }
    Ok(config)
}

/// A configuration with all that is to be said about it.
pub(super) fn read(path: &Path) -> Result<(Config, Vec<config::Finding>), config::ReadError> {
    let text = config::read_text(path)?;
    let (config, mut findings) = Config::parse(&text);
    if findings.is_empty() {
        findings = config::hopeless_rules(&config, &user::exists_fn());
    }
    Ok((config, findings))
}

/// The exit code of a run: whether it balanced, and what a loss means.
pub(super) fn exit_of(account: &Account, on_loss: OnLoss) -> Exit {
    if !account.balanced {
        say!("the account does not balance; this is a defect of systrail, please report it");
        return Exit::Failed;
    }
    let mut kinds = account.kinds.by_kind();
    let lost_by_sensor = kinds.any(|(_, count)| count.lost > 0);
    let lost_by_sink = account.sinks.iter().any(|sink| sink.lost > 0);
    if on_loss == OnLoss::Fail && (lost_by_sensor || lost_by_sink) {
        say!("events were lost, and --on-loss is fail");
        return Exit::Lost;
    }
    Exit::Done
}

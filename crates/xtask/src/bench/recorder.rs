//! A running `systrail run`, and what it takes from the machine.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ExitStatus, Stdio};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::command::{program, read};
use crate::workspace;

/// How long the agent may take to begin, snapshot included, and to end.
const START_MAX: Duration = Duration::from_secs(30);
const STOP_MAX: Duration = Duration::from_mins(1);

/// Where the events go.
#[derive(Clone, Copy, Debug)]
pub(super) enum Output {
    /// A log file of JSON lines.
    Log,
    /// The same, with processes and threads alone in it.
    LogWithoutImages,
    /// Nowhere: sensor, enrichment and account alone.
    Nothing,
}

impl Output {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Log => "JSON log",
            Self::LogWithoutImages => "JSON log without images",
            Self::Nothing => "no log",
        }
    }
}

/// An agent that records. It is killed with this value unless it was stopped.
pub(super) struct Recorder {
    child: Child,
    directory: PathBuf,
}

/// What an agent did, from its account.
pub(super) struct Account {
    pub(super) delivered: u64,
    pub(super) lost: u64,
    pub(super) source: String,
}

impl Recorder {
    /// Starts the release build and returns when every event from then on is seen.
    pub(super) fn start(output: Output) -> Result<Self> {
        let directory = workspace::target().join("bench/run");
        if directory.exists() {
            fs::remove_dir_all(&directory).context("cannot remove the last run")?;
        }
        fs::create_dir_all(&directory)?;
        let mut command = program(executable());
        command
            .args(["run", "--no-store", "--summary"])
            .arg(directory.join("summary.json"))
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        match output {
            Output::Log | Output::LogWithoutImages => {
                command.arg("--log").arg(directory.join("log.jsonl"))
            }
            Output::Nothing => command.arg("--no-log"),
        };
        if matches!(output, Output::LogWithoutImages) {
            command.args(["--events", "process,thread"]);
        }
        let child = command.spawn().context("cannot start systrail")?;
        let mut recorder = Self { child, directory };
        recorder.wait_until_recording()?;
        Ok(recorder)
    }

    fn wait_until_recording(&mut self) -> Result<()> {
        let errors = self.child.stderr.take().context("the output is a pipe")?;
        let (sender, receiver) = sync_channel(1);
        thread::Builder::new()
            .name(String::from("agent output"))
            .spawn(move || read_to_end(errors, &sender))
            .context("cannot start a thread")?;
        match receiver.recv_timeout(START_MAX) {
            Ok(Begin::Recording) => Ok(()),
            Ok(Begin::Failed(text)) => bail!("systrail does not record: {text}"),
            Err(_) => bail!(
                "systrail did not begin to record within {} s",
                START_MAX.as_secs()
            ),
        }
    }

    /// Processor time of all its threads so far, in nanoseconds. They live as long as it records, so
    /// none that has ended is missing.
    pub(super) fn cpu_ns(&self) -> Result<u64> {
        let mut sum_ns = 0;
        for thread in fs::read_dir(self.proc("task")).context("systrail has ended")? {
            let text = fs::read_to_string(thread?.path().join("schedstat"))
                .context("the kernel does not say how long a thread ran")?;
            sum_ns += ran_ns(&text).context("cannot read /proc/PID/task/TID/schedstat")?;
        }
        Ok(sum_ns)
    }

    /// The most memory it has had, in KiB.
    pub(super) fn peak_memory_kib(&self) -> Result<u64> {
        let status = fs::read_to_string(self.proc("status")).context("systrail has ended")?;
        status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
            .context("cannot read /proc/PID/status")
    }

    /// Asks it to stop and returns its account.
    pub(super) fn stop(mut self) -> Result<Account> {
        read(program("kill").args(["-INT", &self.child.id().to_string()]))?;
        let status = self.wait()?;
        ensure!(status.success(), "systrail ended with {status}");
        Account::read(&self.directory.join("summary.json"))
    }

    fn wait(&mut self) -> Result<ExitStatus> {
        let end = Instant::now() + STOP_MAX;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        bail!("systrail did not end within {} s", STOP_MAX.as_secs())
    }

    fn proc(&self, file: &str) -> PathBuf {
        Path::new("/proc")
            .join(self.child.id().to_string())
            .join(file)
    }
}

/// What became of the start.
enum Begin {
    Recording,
    /// It ended before, and said this.
    Failed(String),
}

/// Reads what the agent says, past the beginning to the end, so that it never waits for us.
fn read_to_end(errors: ChildStderr, sender: &SyncSender<Begin>) {
    let mut said = Vec::new();
    let mut is_recording = false;
    // Sending fails when the start took too long and nobody listens any more.
    let tell = |begin| drop(sender.try_send(begin));
    for line in BufReader::new(errors).lines().map_while(Result::ok) {
        if !is_recording && line == "systrail: recording" {
            is_recording = true;
            tell(Begin::Recording);
        } else if !is_recording {
            said.push(line);
        }
    }
    if !is_recording {
        tell(Begin::Failed(said.join("; ")));
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let killed = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = killed {
            eprintln!("cannot end systrail: {error}");
        }
    }
}

impl Account {
    fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path)
            .with_context(|| format!("systrail wrote no {}", path.display()))?;
        let summary: Value = serde_json::from_str(&text).context("cannot read the summary")?;
        let kinds = summary["kinds"]
            .as_object()
            .context("the summary has no kinds")?;
        let sum = |counter: &str| {
            kinds
                .values()
                .filter_map(|kind| kind[counter].as_u64())
                .sum()
        };
        Ok(Self {
            delivered: sum("delivered"),
            lost: sum("lost"),
            source: summary["source"].as_str().unwrap_or("unknown").to_owned(),
        })
    }
}

/// The agent as users get it.
pub fn executable() -> PathBuf {
    workspace::target().join("release/systrail")
}

/// The nanoseconds a thread was on a processor: the first field of its `schedstat`.
fn ran_ns(schedstat: &str) -> Option<u64> {
    schedstat.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_thread_ran_is_not_what_it_waited() {
        assert_eq!(ran_ns("1236467 500 2\n"), Some(1_236_467));
        assert_eq!(ran_ns("\n"), None);
    }
}

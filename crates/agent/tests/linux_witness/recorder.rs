//! Starts and stops the recorder, reads what it wrote, and checks what holds for every recording.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Deserializer};

use crate::raw;
use crate::witness::is_emulated;

/// What the recorder says when every event from then on is seen.
const RECORDING: &str = "systrail: recording";

/// The longest a recorder may take to begin where nothing is emulated.
const BEGIN_TIME_MAX: Duration = Duration::from_mins(1);

/// A recorder that runs. Dropping it kills it.
pub(crate) struct Recorder {
    child: Child,
    said: Receiver<String>,
    heard: Vec<String>,
    directory: PathBuf,
}

/// How a recorder is started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Plan<'a> {
    /// Arguments after those every recorder of these tests gets.
    pub(crate) arguments: &'a [&'a str],
    /// Lines of the configuration's `[limits]`.
    pub(crate) limits: &'a str,
    /// Further tables of the configuration.
    pub(crate) tables: &'a str,
}

impl Recorder {
    /// Starts a recorder with its log and its account in `directory`, and waits until it records.
    pub(crate) fn start(directory: &Path, plan: Plan<'_>) -> Self {
        let mut recorder = Self::launch(directory, plan);
        recorder.wait_until_recording();
        recorder
    }

    /// Starts a recorder that writes its log to a pipe, and waits until it records.
    pub(crate) fn start_piped(directory: &Path, plan: Plan<'_>) -> (Self, ChildStdout) {
        let mut recorder = Self::spawn(directory, Path::new("-"), plan, Stdio::piped());
        let log = recorder.child.stdout.take().unwrap();
        recorder.wait_until_recording();
        (recorder, log)
    }

    /// Starts a recorder and does not wait.
    pub(crate) fn launch(directory: &Path, plan: Plan<'_>) -> Self {
        Self::spawn(directory, &log_path(directory), plan, Stdio::null())
    }

    fn spawn(directory: &Path, log: &Path, plan: Plan<'_>, output: Stdio) -> Self {
        // One file holds the whole recording, so that the rows can be compared with the account. A
        // store is kept where the plan names one.
        let config = format!(
            "[log]\nrotate_size = \"1 TiB\"\n[store]\non = false\n[limits]\n{}\n{}",
            plan.limits, plan.tables
        );
        let config_path = directory.join("systrail.toml");
        fs::write(&config_path, config).unwrap();
        let program = std::env::var_os("SYSTRAIL_BIN")
            .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_systrail")));
        let mut command = Command::new(program);
        command.arg("run").arg("--config").arg(config_path);
        command.arg("--log").arg(log);
        command.arg("--summary").arg(summary_path(directory));
        command.args(plan.arguments);
        command.stdin(Stdio::null()).stdout(output);
        command.stderr(Stdio::piped());
        raw::die_with_parent(&mut command);
        let mut child = command.spawn().unwrap();
        let said = lines(child.stderr.take().unwrap());
        Self {
            child,
            said,
            heard: Vec::new(),
            directory: directory.to_owned(),
        }
    }

    fn wait_until_recording(&mut self) {
        let time = BEGIN_TIME_MAX * if is_emulated() { 8 } else { 1 };
        if !self.is_recording_within(time) {
            let (heard, doing) = (&self.heard, doing(&mut self.child));
            panic!("the recorder does not begin: {heard:#?}\n{doing}");
        }
    }

    /// Whether it says in that time that it records.
    pub(crate) fn is_recording_within(&mut self, time: Duration) -> bool {
        loop {
            match self.said.recv_timeout(time) {
                Ok(line) => {
                    self.heard.push(line);
                    if self.heard.last().is_some_and(|line| line == RECORDING) {
                        return true;
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    /// The process id of the recorder.
    pub(crate) fn process_id(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.process_id(), signal).unwrap();
    }

    /// Stops it as a service manager would, and reads what it wrote.
    pub(crate) fn stop(mut self) -> Recording {
        self.end();
        let lines = fs::read(log_path(&self.directory)).unwrap();
        Recording::read(&lines, self.account())
    }

    /// Stops it as a service manager would, and reads its account alone.
    pub(crate) fn stop_without_log(mut self) -> Account {
        self.end();
        self.account()
    }

    /// Kills it and waits for its end.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn end(&mut self) {
        self.signal(Signal::SIGTERM);
        let status: ExitStatus = self.child.wait().unwrap();
        self.heard.extend(self.said.iter());
        assert!(status.success(), "{status}: {:#?}", self.heard);
    }

    fn account(&self) -> Account {
        let summary = fs::read(summary_path(&self.directory)).unwrap();
        serde_json::from_slice(&summary).unwrap()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        // Both fail for a recorder that has ended, which is what is wanted here.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

/// The log of the recorders started with that directory.
pub(crate) fn log_path(directory: &Path) -> PathBuf {
    directory.join("log.jsonl")
}

fn summary_path(directory: &Path) -> PathBuf {
    directory.join("summary.json")
}

/// How a process ended, or what each of its threads does and waits for in the kernel.
fn doing(child: &mut Child) -> String {
    if let Ok(Some(status)) = child.try_wait() {
        return format!("it ended with {status}");
    }
    let entries = |name| fs::read_dir(format!("/proc/{}/{name}", child.id()));
    // Which maps and programs it has loaded.
    let files = entries("fd").into_iter().flatten().flatten();
    let files: Vec<_> = files.map(|fd| fs::read_link(fd.path())).collect();
    let mut text = format!("{files:?}\n");
    for task in entries("task").into_iter().flatten().flatten() {
        for file in ["comm", "stat", "syscall", "stack"] {
            text += &fs::read_to_string(task.path().join(file)).unwrap_or_default();
        }
    }
    text
}

/// Reads lines on a thread of its own, so that the recorder never waits for a test.
fn lines(stderr: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The kinds of events.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    ProcessStart,
    ProcessExec,
    ProcessExit,
    ThreadStart,
    ThreadExit,
    ImageLoad,
    ImageDetails,
    Lost,
    SensorStart,
    SensorStop,
}

/// One line of the log, with the fields that tests look at.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) sequence: u64,
    /// Nanoseconds since the epoch.
    #[serde(deserialize_with = "nanoseconds")]
    pub(crate) time: i64,
    pub(crate) kind: Kind,
    pub(crate) process_id: i32,
    #[serde(deserialize_with = "key")]
    pub(crate) process_key: u64,
    pub(crate) parent_process_id: Option<i32>,
    #[serde(default, deserialize_with = "maybe_key")]
    pub(crate) parent_process_key: Option<u64>,
    pub(crate) creator_process_id: Option<i32>,
    pub(crate) creator_thread_id: Option<i32>,
    pub(crate) image: Option<String>,
    image_raw: Option<String>,
    #[serde(default)]
    pub(crate) image_deleted: bool,
    pub(crate) path_scope: Option<String>,
    pub(crate) device: Option<String>,
    pub(crate) inode: Option<u64>,
    pub(crate) mount_namespace: Option<u32>,
    pub(crate) arguments: Option<Vec<String>>,
    arguments_raw: Option<Vec<String>>,
    pub(crate) command_line: Option<String>,
    command_line_raw: Option<String>,
    pub(crate) user: Option<String>,
    pub(crate) user_id: Option<u32>,
    pub(crate) session_id: Option<i32>,
    #[serde(default)]
    pub(crate) existing: bool,
    pub(crate) script: Option<String>,
    pub(crate) script_scope: Option<String>,
    script_raw: Option<String>,
    pub(crate) exit_code: Option<i32>,
    pub(crate) signal: Option<i32>,
    pub(crate) run_time_ns: Option<i64>,
    pub(crate) user_time_ns: Option<u64>,
    pub(crate) system_time_ns: Option<u64>,
    pub(crate) peak_memory: Option<u64>,
    pub(crate) read_bytes: Option<u64>,
    pub(crate) written_bytes: Option<u64>,
    pub(crate) cgroup: Option<String>,
    pub(crate) container_id: Option<String>,
    pub(crate) systemd_unit: Option<String>,
    pub(crate) working_directory: Option<String>,
    working_directory_raw: Option<String>,
    pub(crate) working_directory_scope: Option<String>,
    pub(crate) terminal: Option<String>,
    pub(crate) environment: Option<Vec<String>>,
    pub(crate) parent_image: Option<String>,
    pub(crate) parent_command_line: Option<String>,
    pub(crate) parent_user: Option<String>,
    pub(crate) process_image: Option<String>,
    pub(crate) thread_id: Option<i32>,
    pub(crate) remote: Option<bool>,
    image_base: Option<String>,
    pub(crate) image_size: Option<u64>,
    pub(crate) sha256: Option<String>,
    pub(crate) build_id: Option<String>,
    lost_kind: Option<Kind>,
    lost_count: Option<u64>,
    account: Option<Account>,
    #[serde(default)]
    pub(crate) truncated: Vec<String>,
    #[serde(default)]
    pub(crate) missing: BTreeMap<String, String>,
}

impl Row {
    /// The image path as the kernel has it.
    pub(crate) fn image_bytes(&self) -> Option<Vec<u8>> {
        bytes(self.image.as_deref(), self.image_raw.as_deref())
    }

    /// The script's path as the kernel has it.
    pub(crate) fn script_bytes(&self) -> Option<Vec<u8>> {
        bytes(self.script.as_deref(), self.script_raw.as_deref())
    }

    /// The working directory as the kernel has it.
    pub(crate) fn working_directory_bytes(&self) -> Option<Vec<u8>> {
        bytes(
            self.working_directory.as_deref(),
            self.working_directory_raw.as_deref(),
        )
    }

    /// The command line as the kernel has it.
    pub(crate) fn command_line_bytes(&self) -> Option<Vec<u8>> {
        bytes(
            self.command_line.as_deref(),
            self.command_line_raw.as_deref(),
        )
    }

    /// The arguments as the kernel has them.
    pub(crate) fn arguments_bytes(&self) -> Vec<Vec<u8>> {
        let shown = self.arguments.as_deref().unwrap_or_default();
        match &self.arguments_raw {
            Some(raw) => raw.iter().map(|raw| unhex(raw)).collect(),
            None => shown.iter().map(|text| text.clone().into()).collect(),
        }
    }

    /// Where the image is mapped.
    pub(crate) fn base(&self) -> u64 {
        let base = self.image_base.as_deref().unwrap();
        u64::from_str_radix(base.strip_prefix("0x").unwrap(), 16).unwrap()
    }
}

/// The counters of one kind.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) produced: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    #[serde(default)]
    pub(crate) excluded: u64,
}

/// The account of a run.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(crate) struct Account {
    pub(crate) source: String,
    balanced: bool,
    kinds: HashMap<Kind, Count>,
}

impl Account {
    /// The counters of `kind`.
    pub(crate) fn of(&self, kind: Kind) -> Count {
        self.kinds.get(&kind).copied().unwrap_or_default()
    }

    /// How many events of any kind were lost.
    pub(crate) fn lost(&self) -> u64 {
        self.kinds.values().map(|count| count.lost).sum()
    }
}

/// What a recorder wrote.
#[derive(Debug)]
pub(crate) struct Recording {
    pub(crate) rows: Vec<Row>,
    pub(crate) account: Account,
}

impl Recording {
    fn read(log: &[u8], account: Account) -> Self {
        let rows = log
            .split_inclusive(|byte| *byte == b'\n')
            .map(|line| parse(line).unwrap_or_else(|error| panic!("{error}: {}", shown(line))))
            .collect();
        let recording = Self { rows, account };
        recording.check_frame();
        recording.check_balance();
        recording
    }

    /// The rows of `kind`.
    pub(crate) fn of(&self, kind: Kind) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.kind == kind)
    }

    /// Fails unless nothing was lost.
    pub(crate) fn assert_nothing_lost(&self) {
        assert_eq!(self.account.lost(), 0, "{:?}", self.account);
    }

    /// A recording begins and ends with the sensor's own events, and its numbers have no gap.
    fn check_frame(&self) {
        assert_eq!(self.rows.first().unwrap().kind, Kind::SensorStart);
        assert_eq!(self.rows.last().unwrap().kind, Kind::SensorStop);
        for (row, sequence) in self.rows.iter().zip(1..) {
            assert_eq!(row.sequence, sequence, "{row:?}");
        }
    }

    /// For each kind: produced is delivered and lost, the lines are those delivered, and the losses
    /// told are those counted.
    fn check_balance(&self) {
        assert!(self.account.balanced, "{:?}", self.account);
        let stop = self.rows.last().and_then(|row| row.account.as_ref());
        let told_at_stop = stop.map(|account| &account.kinds);
        assert_eq!(told_at_stop, Some(&self.account.kinds));
        let mut lines = HashMap::<Kind, u64>::new();
        let mut lost = HashMap::<Kind, u64>::new();
        for row in &self.rows {
            *lines.entry(row.kind).or_default() += 1;
            if let (Some(kind), Some(count)) = (row.lost_kind, row.lost_count) {
                *lost.entry(kind).or_default() += count;
            }
        }
        for (kind, count) in &self.account.kinds {
            let told = |counts: &HashMap<Kind, u64>| counts.get(kind).copied().unwrap_or_default();
            assert_eq!(count.produced, count.delivered + count.lost, "{kind:?}");
            assert_eq!(count.delivered - count.excluded, told(&lines), "{kind:?}");
            assert_eq!(count.lost, told(&lost), "{kind:?}");
        }
    }
}

/// Reads one line of the log, which must be whole.
pub(crate) fn parse(line: &[u8]) -> Result<Row, String> {
    let line = line.strip_suffix(b"\n").ok_or("not a whole line")?;
    serde_json::from_slice(line).map_err(|error| error.to_string())
}

/// The beginning of a line, for messages.
pub(crate) fn shown(line: &[u8]) -> String {
    String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned()
}

fn nanoseconds<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time: jiff::Timestamp = text.parse().map_err(serde::de::Error::custom)?;
    i64::try_from(time.as_nanosecond()).map_err(serde::de::Error::custom)
}

fn key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.len() != 16 {
        return Err(serde::de::Error::custom("a key has 16 digits"));
    }
    u64::from_str_radix(&text, 16).map_err(serde::de::Error::custom)
}

fn maybe_key<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    key(deserializer).map(Some)
}

fn bytes(shown: Option<&str>, raw: Option<&str>) -> Option<Vec<u8>> {
    raw.map(unhex)
        .or_else(|| shown.map(|shown| shown.as_bytes().to_vec()))
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| u8::try_from(digit.to_digit(16).unwrap()).unwrap())
        .collect();
    let (pairs, rest) = digits.as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte in {text}");
    pairs.iter().map(|[high, low]| high << 4 | low).collect()
}

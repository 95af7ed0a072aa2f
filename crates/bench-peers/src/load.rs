//! The workloads: what is run, how long it takes by itself, and what happens in it by kind.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use xtask::command::{program, read};

use super::cgroup::{Group, Time};
use super::family::Counts;
use super::seen::Kind;
use super::site::{LIBRARIES, Site};
use crate::interrupt;

/// The longest a workload may take before it counts as stuck.
const LOAD_MAX: Duration = Duration::from_mins(3);

/// How often a long workload is asked whether it shall go on.
const LOOK: Duration = Duration::from_millis(200);

/// Branches of the fork tree, and the processes each starts.
const BRANCHES: u32 = 20;
const LEAVES: u32 = 100;

/// How often the libraries are opened, so that it takes long enough to be measured.
const TURNS: u32 = 10;

/// A workload. Those with a number of their own are of any number; [`Load::ALL`] are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Load {
    /// Fork, exec and wait, so often a second.
    Rate(u32),
    /// Fork, exec and wait, as fast as it goes.
    FlatOut,
    /// Create a thread and join it, as fast as it goes.
    Threads,
    /// Create threads and join them, so many a second.
    Storm(u32),
    /// Processes that start processes, all at once.
    Tree,
    /// A parallel build.
    Make,
    /// A shell script of small tests.
    Configure,
    /// One process that opens many libraries.
    Dlopen,
    /// Nothing.
    Idle,
}

/// How much of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Amount {
    /// How long fixed rates go on.
    pub(super) seconds: u32,
    /// How long the idle machine is watched.
    pub(super) idle_seconds: u32,
    /// Processes of the flat-out loop.
    pub(super) processes: u32,
    pub(super) threads: u32,
}

/// What a run of a workload took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Its first process.
    pub(super) root: u32,
    /// From its start to its end.
    pub(super) elapsed_ns: f64,
    /// The same without the pauses a fixed rate makes.
    pub(super) busy_ns: f64,
    /// Processor time in its own context, what a recorder does there included.
    pub(super) time: Time,
}

impl Load {
    pub(super) const ALL: [Self; 10] = [
        Self::Rate(400),
        Self::Rate(1600),
        Self::Rate(5000),
        Self::FlatOut,
        Self::Threads,
        Self::Tree,
        Self::Make,
        Self::Configure,
        Self::Dlopen,
        Self::Idle,
    ];

    pub(super) fn name(self) -> String {
        let name = match self {
            Self::Rate(rate) => return format!("fork + exec, {rate}/s"),
            Self::Storm(rate) => return format!("threads, {rate}/s"),
            Self::FlatOut => "fork + exec, flat out",
            Self::Threads => "thread storm",
            Self::Tree => "fork tree 20x100",
            Self::Make => "parallel make",
            Self::Configure => "configure",
            Self::Dlopen => "dlopen of 500 libraries",
            Self::Idle => "idle",
        };
        name.to_owned()
    }

    /// The name on a command line.
    pub(super) fn word(self) -> String {
        match self {
            Self::Rate(rate) => format!("rate-{rate}"),
            Self::Storm(rate) => format!("storm-{rate}"),
            Self::FlatOut => String::from("flat-out"),
            other => format!("{other:?}").to_lowercase(),
        }
    }

    /// What happens in it, the workload's own first process apart: known beforehand, or for builds
    /// and scripts seen by strace, which stops every process at every step and so misses none.
    pub(super) fn happened(self, amount: Amount, site: &Site) -> Result<Counts> {
        let processes = |count: u32| {
            let count = u64::from(count);
            let kinds = [Kind::ProcessStart, Kind::ProcessExec, Kind::ProcessExit];
            kinds.map(|kind| (kind, count)).into()
        };
        let threads = |count: u32| {
            let count = u64::from(count);
            let kinds = [Kind::ThreadStart, Kind::ThreadExit];
            kinds.map(|kind| (kind, count)).into()
        };
        Ok(match self {
            Self::Rate(rate) => processes(rate * amount.seconds),
            Self::FlatOut => processes(amount.processes),
            Self::Threads => threads(amount.threads),
            Self::Storm(rate) => threads(rate * amount.seconds),
            Self::Tree => processes(BRANCHES * (LEAVES + 1)),
            Self::Make | Self::Configure => witnessed(&self.command(amount, site)?, site)?,
            Self::Dlopen => [(Kind::ImageLoad, u64::from(LIBRARIES * TURNS))].into(),
            Self::Idle => Counts::new(),
        })
    }

    /// Runs it once in its group.
    pub(super) fn run(self, amount: Amount, site: &Site, group: &Group) -> Result<Run> {
        let before = group.time()?;
        let begin = Instant::now();
        if self == Self::Idle {
            interrupt::pause(Duration::from_secs(amount.idle_seconds.into()))?;
            return Ok(Run {
                root: 0,
                elapsed_ns: nanoseconds(begin.elapsed()),
                busy_ns: nanoseconds(begin.elapsed()),
                time: Time::default(),
            });
        }
        let child = group
            .command(&self.command(amount, site)?)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot start {}", self.name()))?;
        let root = child.id();
        let (output, end) = finish(child).with_context(|| self.name())?;
        ensure!(
            output.status.success(),
            "{}: {}",
            self.name(),
            output.status
        );
        let elapsed_ns = nanoseconds(end - begin);
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(Run {
            root,
            elapsed_ns,
            busy_ns: self.busy_ns(&said, elapsed_ns)?,
            time: group.time()?.since(before),
        })
    }

    /// Whether all programs in it have marked names or its first process as parent, so that its
    /// events are known without knowing who started whom.
    pub(super) const fn is_marked(self) -> bool {
        !matches!(self, Self::Make | Self::Configure)
    }

    /// Our own workloads say how long they took themselves, the start of their program apart.
    fn busy_ns(self, said: &str, elapsed_ns: f64) -> Result<f64> {
        match self {
            Self::Rate(_) | Self::FlatOut | Self::Threads | Self::Storm(_) | Self::Tree => said
                .trim()
                .parse()
                .with_context(|| format!("{} printed no time", self.name())),
            Self::Make | Self::Configure | Self::Dlopen | Self::Idle => Ok(elapsed_ns),
        }
    }

    fn command(self, amount: Amount, site: &Site) -> Result<Command> {
        let this = std::env::current_exe().context("cannot find this program")?;
        let ours = |name: &str, numbers: &[u32]| {
            let mut command = program(&this);
            command.args(["workload", name]);
            command.args(numbers.iter().map(u32::to_string));
            command
        };
        let starting = |mut command: Command| {
            command.arg(site.nothing());
            command
        };
        Ok(match self {
            Self::Rate(rate) => starting(ours("rate", &[rate, amount.seconds])),
            Self::FlatOut => starting(ours("flat-out", &[amount.processes])),
            Self::Threads => ours("threads", &[amount.threads]),
            Self::Storm(rate) => ours("storm", &[rate, amount.seconds]),
            Self::Tree => starting(ours("tree", &[BRANCHES, LEAVES])),
            Self::Make => {
                let mut command = program("make");
                command.args(["--silent", "-j", "2", "-C"]);
                command.arg(site.path("project")).arg("again");
                command
            }
            Self::Configure => {
                let mut command = program("sh");
                command.arg(site.path("configure/configure"));
                command.arg(site.path("configure/build"));
                command
            }
            Self::Dlopen => {
                let mut command = program(site.path("dlopen"));
                command.arg(site.path("libraries"));
                command.args([LIBRARIES.to_string(), TURNS.to_string()]);
                command
            }
            Self::Idle => bail!("the idle machine runs nothing"),
        })
    }
}

/// Waits for a workload and notes when it ended. A thread does it, so that nobody has to look again
/// and again, which would be a load of its own. After an interrupt the workload's group kills it.
fn finish(child: Child) -> Result<(Output, Instant)> {
    let (sender, receiver) = sync_channel(1);
    thread::Builder::new()
        .name(String::from("workload"))
        .spawn(move || {
            let output = child.wait_with_output();
            // Nobody listens any more after an interrupt.
            drop(sender.try_send((output, Instant::now())));
        })
        .context("cannot start a thread")?;
    let begin = Instant::now();
    loop {
        match receiver.recv_timeout(LOOK) {
            Ok((output, end)) => return Ok((output.context("cannot wait")?, end)),
            Err(RecvTimeoutError::Timeout) => {
                interrupt::check()?;
                ensure!(begin.elapsed() < LOAD_MAX, "it is stuck");
            }
            Err(RecvTimeoutError::Disconnected) => bail!("nobody waits for it"),
        }
    }
}

/// Runs it under strace and counts what its processes did.
fn witnessed(command: &Command, site: &Site) -> Result<Counts> {
    let directory = site.path("witness");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir(&directory)?;
    let calls = "trace=execve,execveat,fork,vfork,clone,clone3";
    let mut strace = program("strace");
    strace.args(["-ff", "-qq", "-e", calls, "-o"]);
    strace.arg(directory.join("process"));
    strace.arg(command.get_program()).args(command.get_args());
    strace.stderr(Stdio::null());
    read(&mut strace)?;
    count_calls(&directory)
}

/// One file a process or thread, so no call is torn in two.
fn count_calls(directory: &Path) -> Result<Counts> {
    let mut counts = Counts::new();
    let mut threads = 0;
    for entry in fs::read_dir(directory)? {
        let bytes = fs::read(entry?.path())?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            match call(line) {
                Some(Kind::ThreadStart) => threads += 1,
                Some(kind) => *counts.entry(kind).or_default() += 1,
                None => {}
            }
        }
    }
    ensure!(
        threads == 0,
        "this workload is to have no threads of its own"
    );
    // The first process began in strace and ran its program there.
    if let Some(execs) = counts.get_mut(&Kind::ProcessExec) {
        *execs -= 1;
    }
    let starts = counts.get(&Kind::ProcessStart).copied().unwrap_or(0);
    ensure!(starts > 0, "strace saw no process");
    counts.insert(Kind::ProcessExit, starts);
    Ok(counts)
}

/// What a line of strace tells.
fn call(line: &str) -> Option<Kind> {
    let (name, rest) = line.split_once('(')?;
    let (_, result) = rest.rsplit_once(" = ")?;
    let result: i64 = result.split(' ').next()?.parse().ok()?;
    match name {
        "execve" | "execveat" => (result == 0).then_some(Kind::ProcessExec),
        "fork" | "vfork" | "clone" | "clone3" if result > 0 => {
            if rest.contains("CLONE_THREAD") {
                Some(Kind::ThreadStart)
            } else {
                Some(Kind::ProcessStart)
            }
        }
        _ => None,
    }
}

/// Times of this size are exact enough.
fn nanoseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strace_tells_processes_threads_and_failures_apart() {
        let expected = [
            (
                "execve(\"/bin/sh\", [\"sh\"], 0x7ffc /* 9 vars */) = 0",
                Some(Kind::ProcessExec),
            ),
            (
                "execve(\"/x\", [\"x\"], 0x7ffc /* 9 vars */) = -1 ENOENT (No such file)",
                None,
            ),
            ("vfork() = 4242", Some(Kind::ProcessStart)),
            (
                "clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD) = 7",
                Some(Kind::ProcessStart),
            ),
            (
                "clone3({flags=CLONE_VM|CLONE_THREAD, exit_signal=0}, 88) = 9",
                Some(Kind::ThreadStart),
            ),
            ("clone3({flags=CLONE_VM}, 88) = -1 EAGAIN (Resource)", None),
            ("--- SIGCHLD {si_signo=SIGCHLD} ---", None),
        ];
        for (line, kind) in expected {
            assert_eq!(call(line), kind, "{line}");
        }
    }
}

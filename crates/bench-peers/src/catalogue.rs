//! The recorders that are compared: one description each, and the same code runs them all.
//!
//! Each is set up as its documentation and Debian's packaging recommend. Where that would spoil the
//! counting (a log that deletes what is not yet counted), the description says what was changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use xtask::bench::executable;
use xtask::command::{program, read};

use super::seen::{BPFTRACE_SCRIPT, Format, Kind, SYSDIG_FIELDS, SYSDIG_FILTER};

/// One recorder.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// Debian's packages; none for ours.
    pub(super) packages: &'static [&'static str],
    /// How it is set up, for the reader of the comparison.
    pub(super) set_up: &'static str,
    /// The kinds it is made to see. Of others nothing is expected, and nothing held against it.
    pub(super) sees: &'static [Kind],
    /// Its file below the output directory, whether it opens that itself or it is standard output.
    pub(super) file: &'static str,
    pub(super) format: Format,
    pub(super) ready: Ready,
    /// The signal that makes it write what it has and end.
    pub(super) stop: &'static str,
    /// Whether the kernel's audit is to watch while it runs.
    pub(super) is_audit: bool,
    /// Whether what it writes can be read while it records.
    pub(super) is_readable: bool,
    pub(super) command_fn: fn(&Place) -> Result<Command>,
}

/// How it is known that it sees everything from then on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// It says this line.
    Says(&'static str),
    /// What is run now and again turns up in its output.
    Sees,
    /// It answers a command through pipes that have names.
    Answers,
}

/// Where a recorder runs.
pub(super) struct Place {
    /// What it reads, and what it says to people.
    pub(super) directory: PathBuf,
    /// Whether somebody reads along, so that lines are to be written one by one; else its output is
    /// buffered as for any file, which costs it less.
    pub(super) is_live: bool,
    /// Further settings of `systrail`, as its configuration file has them.
    pub(super) settings: String,
}

impl Place {
    /// What it writes is below this, and counted.
    pub(super) fn output(&self) -> PathBuf {
        self.directory.join("output")
    }

    /// Standard error, and standard output of those that do not write events there.
    pub(super) fn said(&self) -> PathBuf {
        self.directory.join("said")
    }

    /// The pipe that commands go into, and the one that answers come out of.
    pub(super) fn control(&self) -> [PathBuf; 2] {
        ["control", "answers"].map(|name| self.directory.join(name))
    }

    fn systrail(&self, command: &str) -> Result<Command> {
        let config = self.directory.join("systrail.toml");
        fs::write(&config, &self.settings).context("cannot write a configuration")?;
        let mut systrail = program(executable());
        systrail.arg(command).arg("--config").arg(config);
        systrail.arg("--summary").arg(self.summary());
        Ok(systrail)
    }

    /// Where `systrail` leaves its account.
    pub(super) fn summary(&self) -> PathBuf {
        self.directory.join("summary.json")
    }

    /// A program that knows no option for it, told by the C library.
    fn line_buffered(&self, name: &str) -> Command {
        if !self.is_live {
            return program(name);
        }
        let mut command = program("stdbuf");
        command.args(["-oL", name]);
        command
    }
}

const PROCESSES: &[Kind] = &[Kind::ProcessStart, Kind::ProcessExec, Kind::ProcessExit];
const TASKS: &[Kind] = &[
    Kind::ProcessStart,
    Kind::ProcessExec,
    Kind::ProcessExit,
    Kind::ThreadStart,
    Kind::ThreadExit,
];

/// The one that ratios are taken to, where it runs.
pub(super) const REFERENCE: &str = "auditd, raw log";

/// All of them, ours first.
pub(super) const PEERS: &[Peer] = &[
    Peer {
        name: "systrail run, log",
        packages: &[],
        set_up: "defaults: processes, threads and images into a JSON log",
        sees: &Kind::ALL,
        file: "log.jsonl",
        format: Format::Systrail,
        ready: Ready::Says("systrail: recording"),
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| {
            let mut command = place.systrail("run")?;
            command
                .arg("--no-store")
                .arg("--log")
                .arg(place.output().join("log.jsonl"));
            Ok(command)
        },
    },
    Peer {
        name: "systrail run, log + store",
        packages: &[],
        set_up: "defaults, with the store beside the log",
        sees: &Kind::ALL,
        file: "log.jsonl",
        format: Format::Systrail,
        ready: Ready::Says("systrail: recording"),
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: with_store,
    },
    Peer {
        name: "systrail watch",
        packages: &[],
        set_up: "`--all`, printed to /dev/null; counted by its own account, machine-wide",
        sees: &Kind::ALL,
        file: "watch.txt",
        format: Format::Account,
        ready: Ready::Says("systrail: recording"),
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| {
            let mut watch = place.systrail("watch")?;
            watch.arg("--all");
            Ok(watch)
        },
    },
    Peer {
        name: REFERENCE,
        packages: &["auditd"],
        set_up: "Debian's auditd.conf and audit.rules with log_format RAW; rules for execve, \
                 fork, clone and exit; logs are not rotated, lest what is counted be deleted",
        sees: TASKS,
        file: "audit.log",
        format: Format::Auditd,
        ready: Ready::Sees,
        stop: "TERM",
        is_audit: true,
        is_readable: true,
        command_fn: |place| auditd(place, "RAW"),
    },
    Peer {
        name: "auditd, enriched log",
        packages: &["auditd"],
        set_up: "the same with log_format ENRICHED, Debian's default",
        sees: TASKS,
        file: "audit.log",
        format: Format::Auditd,
        ready: Ready::Sees,
        stop: "TERM",
        is_audit: true,
        is_readable: true,
        command_fn: |place| auditd(place, "ENRICHED"),
    },
    Peer {
        name: "bpftrace",
        packages: &["bpftrace"],
        set_up: "a script that prints task_newtask, sched_process_exec, sched_process_exit and the \
                 arguments of execve",
        sees: TASKS,
        file: "bpftrace.txt",
        format: Format::Bpftrace,
        ready: Ready::Sees,
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| {
            let mut command = program("bpftrace");
            command.args(["-B", if place.is_live { "line" } else { "full" }]);
            command.args(["-e", BPFTRACE_SCRIPT]);
            Ok(command)
        },
    },
    Peer {
        name: "execsnoop (bpfcc)",
        packages: &["bpfcc-tools"],
        set_up: "no options",
        sees: &[Kind::ProcessExec],
        file: "execsnoop.txt",
        format: Format::Execsnoop,
        ready: Ready::Sees,
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| Ok(place.line_buffered("execsnoop-bpfcc")),
    },
    Peer {
        name: "execsnoop (libbpf-tools)",
        packages: &["libbpf-tools"],
        set_up: "no options",
        sees: &[Kind::ProcessExec],
        file: "execsnoop.txt",
        format: Format::Execsnoop,
        ready: Ready::Sees,
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| Ok(place.line_buffered("/usr/sbin/execsnoop")),
    },
    Peer {
        name: "forkstat",
        packages: &["forkstat"],
        set_up: "-e fork,exec,exit,clone: the process connector",
        sees: TASKS,
        file: "forkstat.txt",
        format: Format::Forkstat,
        ready: Ready::Sees,
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| {
            let mut command = program("forkstat");
            command.args(["-e", "fork,exec,exit,clone"]);
            if place.is_live {
                command.arg("-l");
            }
            Ok(command)
        },
    },
    Peer {
        name: "perf record",
        packages: &["linux-perf"],
        set_up: "-a with task_newtask, sched_process_exec and sched_process_exit; read afterwards \
                 with perf script",
        sees: &Kind::ALL,
        file: "perf.data",
        format: Format::Perf,
        ready: Ready::Answers,
        stop: "INT",
        is_audit: false,
        is_readable: false,
        command_fn: perf,
    },
    Peer {
        name: "sysdig",
        packages: &["sysdig"],
        set_up: "execve, clone and procexit events, with the eBPF probe",
        sees: PROCESSES,
        file: "sysdig.txt",
        format: Format::Sysdig,
        ready: Ready::Sees,
        stop: "INT",
        is_audit: false,
        is_readable: true,
        command_fn: |place| {
            let mut command = program("sysdig");
            if place.is_live {
                command.arg("--unbuffered");
            }
            command.args(["--bpf=", "--print", SYSDIG_FIELDS, SYSDIG_FILTER]);
            Ok(command)
        },
    },
];

impl Peer {
    /// Where its output is while it runs, `None` where it goes nowhere.
    pub(super) fn output_file(&self, place: &Place) -> Option<PathBuf> {
        let is_kept = self.format != Format::Account || place.is_live;
        is_kept.then(|| place.output().join(self.file))
    }

    /// Whether the events are what it prints, and not a file it opens by itself.
    pub(super) fn prints(&self) -> bool {
        !matches!(
            self.format,
            Format::Systrail | Format::Auditd | Format::Perf
        )
    }

    /// Whether it says who started whom, so that a workload's events can be told from others'.
    pub(super) fn knows_descent(&self) -> bool {
        self.sees.contains(&Kind::ProcessStart)
    }

    /// Its version, or what keeps it from being here.
    pub(super) fn version(&self) -> Result<String> {
        let Some((first, _)) = self.packages.split_first() else {
            let version = read(program(executable()).arg("--version"))?;
            return Ok(version.trim().to_owned());
        };
        for package in self.packages {
            ensure!(
                package_version(package).is_some(),
                "Debian's package {package} is not installed; cargo xtask setup --bench does that"
            );
        }
        let version = package_version(first).unwrap_or_default();
        Ok(format!("{first} {version}"))
    }
}

fn package_version(package: &str) -> Option<String> {
    let output = program("dpkg-query")
        .args([
            "--show",
            "--showformat=${db:Status-Abbrev}${Version}",
            package,
        ])
        .output()
        .ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.strip_prefix("ii ")
        .map(|version| version.trim().to_owned())
}

fn with_store(place: &Place) -> Result<Command> {
    let help = read(program(executable()).args(["run", "--help"]))?;
    if !help.contains("--store") {
        bail!("this systrail has no --store yet");
    }
    let mut command = place.systrail("run")?;
    command.arg("--log").arg(place.output().join("log.jsonl"));
    command.arg("--store").arg(place.output().join("store"));
    Ok(command)
}

/// Debian's configuration with another place for the log.
fn auditd(place: &Place, format: &str) -> Result<Command> {
    let plugins = place.directory.join("plugins.d");
    fs::create_dir(&plugins)?;
    let log = place.output().join("audit.log");
    let ours = [
        ("log_file", log.display().to_string()),
        ("log_group", String::from("root")),
        ("log_format", format.to_owned()),
        ("max_log_file_action", String::from("IGNORE")),
        ("plugin_dir", plugins.display().to_string()),
    ];
    let debian = fs::read_to_string("/etc/audit/auditd.conf")
        .context("cannot read Debian's configuration of auditd")?;
    let text = with_settings(&debian, &ours);
    fs::write(place.directory.join("auditd.conf"), text)
        .context("cannot write a configuration of auditd")?;
    let mut command = program("/sbin/auditd");
    command.args(["-n", "-c"]).arg(&place.directory);
    Ok(command)
}

/// A file of `key = value` lines with other values for some keys.
fn with_settings(text: &str, settings: &[(&str, String)]) -> String {
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let is_replaced =
        |line: &&str| key(line).is_none_or(|key| settings.iter().all(|(name, _)| *name != key));
    let mut lines: Vec<String> = text.lines().filter(is_replaced).map(String::from).collect();
    lines.extend(
        settings
            .iter()
            .map(|(key, value)| format!("{key} = {value}")),
    );
    lines.join("\n") + "\n"
}

fn perf(place: &Place) -> Result<Command> {
    let [control, answers] = place.control();
    for path in [&control, &answers] {
        read(program("mkfifo").arg(path))?;
    }
    let mut command = program("perf");
    command.args(["record", "--all-cpus", "--delay", "-1", "--control"]);
    command.arg(format!("fifo:{},{}", control.display(), answers.display()));
    for point in [
        "task:task_newtask",
        "sched:sched_process_exec",
        "sched:sched_process_exit",
    ] {
        command.args(["--event", point]);
    }
    command
        .arg("--output")
        .arg(place.output().join("perf.data"));
    Ok(command)
}

/// What perf recorded, as text.
pub(super) fn perf_script(file: &Path) -> Result<String> {
    let output = program("perf")
        .args(["script", "--show-mmap-events", "--ns", "--force"])
        .args(["--fields", "comm,pid,tid,time,event,trace", "--input"])
        .arg(file)
        // It complains of fields that events have not, which we did not record.
        .stderr(Stdio::null())
        .output()
        .context("cannot start perf")?;
    ensure!(output.status.success(), "perf script: {}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_replaced_and_not_said_twice() {
        let text = "# the log\nlog_file = /var/log/a\nfreq = 50\nlog_file_mode = 1\n";
        let settings = [("log_file", String::from("/b"))];
        assert_eq!(
            with_settings(text, &settings),
            "# the log\nfreq = 50\nlog_file_mode = 1\nlog_file = /b\n"
        );
    }

    #[test]
    fn no_two_recorders_have_one_name() {
        let mut names: Vec<&str> = PEERS.iter().map(|peer| peer.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), PEERS.len());
        assert!(names.contains(&REFERENCE));
    }
}

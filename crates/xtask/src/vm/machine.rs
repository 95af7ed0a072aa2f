//! One run of a machine: qemu, its serial port, and a limit on everything.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::initramfs::Archive;
use super::kernel::{First, Kernel};
use super::systemd;
use crate::command::program;
use crate::transcript::Transcript;
use crate::workspace;

/// The security modules of the machine. Debian builds `bpf` in and lists it; a kernel's own list
/// may differ, so it is said.
const SECURITY_MODULES: &str = "landlock,lockdown,yama,integrity,apparmor,bpf";

/// Memory of the machine in MiB: the archive is there twice while it is unpacked.
const MEMORY_MIB: u32 = 1536;

/// Lines of the serial port that wait to be printed.
const LINES_MAX: usize = 1024;

/// What a machine is to run.
pub(super) struct Selected<'a> {
    /// The test executables.
    pub(super) tests: Vec<&'a str>,
    /// What the names of tests have in them; any where there is none.
    pub(super) filters: &'static [&'static str],
}

/// What the machine said.
pub(super) struct Report {
    /// How each test executable ended.
    statuses: HashMap<String, i32>,
    pub(super) transcript: Transcript,
}

impl Report {
    /// The exit status of a test executable, if it ended.
    pub(super) fn status(&self, test: &str) -> Option<i32> {
        self.statuses.get(test).copied()
    }
}

/// Writes the archive to where qemu reads it.
pub(super) fn write_initramfs(archive: &Archive, name: &str) -> Result<PathBuf> {
    let path = workspace::target().join(format!("vm/initramfs-{name}.cpio"));
    fs::write(&path, archive.bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(path)
}

/// Boots the machine, has it run what is selected, passes on what it prints and reads its
/// results. The whole log stays in
/// `target/vm`.
pub(super) fn run(
    kernel: &Kernel,
    initramfs: &Path,
    selected: &Selected<'_>,
    time_max: Duration,
) -> Result<Report> {
    let directory = workspace::target().join("vm");
    let log = directory.join(format!("{}-{}.log", kernel.series.name, kernel.package));
    println!(
        "booting {} (log in {})",
        kernel.package,
        log.strip_prefix(workspace::root())
            .unwrap_or(&log)
            .display()
    );
    let mut machine = Machine::start(kernel, initramfs, selected)?;
    let lines = machine.lines()?;
    let mut log = fs::File::create(&log).context("cannot write the log")?;
    let mut report = Report {
        statuses: HashMap::new(),
        transcript: Transcript::default(),
    };
    let begin = Instant::now();
    let end = begin + time_max;
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                // With the time, so that a log tells where a slow machine was slow.
                let timed = format!("{:6.1} | {line}", begin.elapsed().as_secs_f64());
                println!("{:<7} {timed}", kernel.series.name);
                writeln!(log, "{timed}").context("cannot write the log")?;
                report.add_line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                bail!(
                    "the machine did not end within {} s{}",
                    time_max.as_secs(),
                    report.transcript.excerpt()
                )
            }
        }
    }
    Ok(report)
}

impl Report {
    fn add_line(&mut self, line: &str) {
        self.transcript.add_line(line);
        let Some((name, status)) = line
            .strip_prefix("vm: end ")
            .and_then(|rest| rest.split_once(' '))
        else {
            return;
        };
        if let Ok(status) = status.parse() {
            self.statuses.insert(name.to_owned(), status);
        }
    }
}

/// A running qemu, which ends with this value.
struct Machine {
    child: Child,
}

impl Machine {
    fn start(kernel: &Kernel, initramfs: &Path, selected: &Selected<'_>) -> Result<Self> {
        let architecture = kernel.series.architecture;
        // What the kernel does not know it hands to the first process, as its environment.
        let arguments = format!(
            "console={} quiet loglevel=4 panic=-1 oops=panic lsm={SECURITY_MODULES} tests={} \
             filters={} {}",
            architecture.console,
            selected.tests.join(","),
            selected.filters.join(","),
            match kernel.series.first {
                First::Tests => "",
                First::Systemd => systemd::ARGUMENTS,
            }
        );
        // A task that is killed cannot end it, so the kernel does.
        let child = program("setpriv")
            .args(["--pdeathsig", "KILL", architecture.emulator])
            // A thread for each processor would be faster and not sound: one processor goes on
            // with code that another has patched, and then dies of a breakpoint that is gone
            // (`Oops: int3` in a function with a tracepoint that is attached or detached).
            .args(["-accel", "tcg,thread=single", "-smp", "2"])
            .args(architecture.machine)
            .args(["-m", &MEMORY_MIB.to_string()])
            .args(["-nodefaults", "-no-reboot", "-display", "none"])
            .args(["-serial", "stdio"])
            .arg("-kernel")
            .arg(&kernel.image)
            .arg("-initrd")
            .arg(initramfs)
            .args(["-append", &arguments])
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", architecture.emulator))?;
        Ok(Self { child })
    }

    /// What the machine prints. The channel closes when qemu ends.
    fn lines(&mut self) -> Result<Receiver<String>> {
        let output = self.child.stdout.take().context("the output is a pipe")?;
        let (sender, receiver) = sync_channel(LINES_MAX);
        thread::Builder::new()
            .name(String::from("serial"))
            .spawn(move || forward(output, &sender))
            .context("cannot start a thread")?;
        Ok(receiver)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // It has usually ended by itself; then both do nothing.
        let ended = self.child.kill().and_then(|()| self.child.wait());
        if let Err(error) = ended {
            eprintln!("cannot end qemu: {error}");
        }
    }
}

/// Reads lines until the end. Lines of a serial port end in `\r\n`, and a kernel's may be no text.
fn forward(output: impl Read, sender: &SyncSender<String>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else {
            return;
        };
        let text = String::from_utf8_lossy(&line);
        if sender.send(text.trim_end_matches('\r').to_owned()).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_how_tests_ended_from_the_serial_port() {
        let (sender, receiver) = sync_channel(8);
        let serial: &[u8] = b"vm: begin a\r\ntest result: ok. 2 passed; 0 failed; 0 ignored\r\n\
                              vm: end a 0\r\nvm: end b 101\r\n\xff\r\n";
        forward(serial, &sender);
        drop(sender);
        let mut report = Report {
            statuses: HashMap::new(),
            transcript: Transcript::default(),
        };
        for line in receiver {
            report.add_line(&line);
        }
        assert_eq!(report.status("a"), Some(0));
        assert_eq!(report.status("b"), Some(101));
        assert_eq!(report.status("c"), None);
        assert_eq!(report.transcript.tally.passed, 2);
    }
}

//! A recorder at work: started until it sees everything, measured, stopped until it has written
//! everything. Dropping it at any moment ends what was started.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;
use xtask::command::{program, read};

use super::audit::{self, Audit, Rules, Status};
use super::catalogue::{Peer, Place, Ready, perf_script};
use super::cgroup::{Group, Time};
use super::family::Counts;
use super::seen::{Format, Kind, Seen};
use super::site::{Site, mark_name, size};
use crate::interrupt;

/// How long a recorder may take to begin, to end, and to come to rest after a workload.
const START_MAX: Duration = Duration::from_secs(20);
const STOP_MAX: Duration = Duration::from_mins(1);
const REST_MAX: Duration = Duration::from_secs(10);

/// How long it may take to end when nobody is interested in what it saw.
const GRACE: Duration = Duration::from_secs(1);

/// It is at rest when its output has not grown for this long.
const REST: Duration = Duration::from_millis(250);

/// Opening a pipe to write must not wait for a reader.
const O_NONBLOCK: i32 = 0o4000;

/// A recorder that runs.
pub(super) struct Session {
    // The first to go: without a daemon, the kernel prints on the console what rules find.
    rules: Option<Rules>,
    child: Child,
    group: Group,
    place: Place,
    peer: &'static Peer,
    /// What it had written when it was ready.
    begin: u64,
    begin_of_all: u64,
    lost_before: u64,
}

/// What a recorder has taken so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Taken {
    pub(super) time: Time,
    /// Of a kernel thread that works for it alone.
    pub(super) kernel_thread_ns: u64,
}

/// What it wrote.
pub(super) struct Written {
    pub(super) events: Vec<Seen>,
    pub(super) bytes: u64,
    /// How many events it says it lost; `None` where it does not say.
    pub(super) lost: Option<u64>,
    /// What it says it delivered by kind, where it keeps an account.
    pub(super) account: Counts,
}

impl Session {
    /// Starts it and returns when every event from then on is seen.
    pub(super) fn start(
        peer: &'static Peer,
        site: &Site,
        audit: Option<&Audit>,
        is_live: bool,
        settings: &str,
    ) -> Result<Self> {
        let place = Place {
            directory: site.run_directory()?,
            is_live,
            settings: settings.to_owned(),
        };
        fs::create_dir(place.output())?;
        let said = File::create(place.said())?;
        let group = Group::new("recorder")?;
        let mut command = group.command(&(peer.command_fn)(&place)?);
        command.stderr(said.try_clone()?);
        match peer.output_file(&place) {
            _ if !peer.prints() => command.stdout(said),
            Some(file) => command.stdout(File::create(file)?),
            None => command.stdout(Stdio::null()),
        };
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", peer.name))?;
        let mut session = Self {
            rules: None,
            child,
            group,
            place,
            peer,
            begin: 0,
            begin_of_all: 0,
            lost_before: 0,
        };
        session.begin(site, audit)?;
        Ok(session)
    }

    fn begin(&mut self, site: &Site, audit: Option<&Audit>) -> Result<()> {
        if self.peer.is_audit {
            let audit = audit.context("the kernel's audit cannot be had")?;
            // The daemon is there when the kernel knows its process.
            self.wait_for("registers with the kernel", || {
                Ok(Status::read()?.has_daemon())
            })?;
            self.rules = Some(Rules::watch(audit)?);
            self.lost_before = Status::read()?.lost;
        }
        match self.peer.ready {
            Ready::Says(line) => {
                let said = self.place.said();
                self.wait_for("says that it records", || {
                    Ok(fs::read_to_string(&said)?.lines().any(|it| it == line))
                })?;
            }
            Ready::Sees => self.wait_until_it_sees(site)?,
            Ready::Answers => self.ask_to_begin()?,
        }
        self.begin = self.output_size();
        self.begin_of_all = size(&self.place.output());
        Ok(())
    }

    /// Runs a program of a name of its own until that name turns up. What a recorder keeps in a
    /// buffer comes out when there is enough of it.
    fn wait_until_it_sees(&mut self, site: &Site) -> Result<()> {
        let mark = site.mark(0);
        let name = mark_name(0);
        let file = self.peer.output_file(&self.place);
        let file = file.context("a recorder without output cannot be seen to see")?;
        self.wait_for("sees a program that runs", || {
            read(&mut program(&mark))?;
            let bytes = fs::read(&file).unwrap_or_default();
            Ok(bytes.windows(name.len()).any(|it| it == name.as_bytes()))
        })
    }

    /// perf was started with its events off, and answers when they are on.
    fn ask_to_begin(&mut self) -> Result<()> {
        let [control, answers] = self.place.control();
        let open = |path: &Path| {
            // Both directions, so that neither end of the pipe is ever missing.
            let mut options = OpenOptions::new();
            options.read(true).write(true).custom_flags(O_NONBLOCK);
            options.open(path).context("cannot open a pipe to perf")
        };
        let (mut control, mut answers) = (open(&control)?, open(&answers)?);
        control.write_all(b"enable\n")?;
        let mut text = Vec::new();
        self.wait_for("answers", || {
            let mut bytes = [0; 64];
            // Nothing there yet is an error of a pipe that does not wait.
            if let Ok(count) = answers.read(&mut bytes) {
                text.extend(bytes.iter().take(count));
            }
            Ok(text.starts_with(b"ack"))
        })
    }

    /// Waits until it holds; fails when the recorder ends or takes too long.
    fn wait_for(&mut self, what: &str, mut holds_fn: impl FnMut() -> Result<bool>) -> Result<()> {
        let child = &mut self.child;
        let came = interrupt::wait_until(START_MAX, || {
            if let Some(status) = child.try_wait()? {
                bail!("it ended with {status}");
            }
            holds_fn()
        });
        match came {
            Ok(true) => Ok(()),
            Ok(false) => bail!("it never {what}{}", self.complaint()),
            Err(error) => bail!("{error:#}{}", self.complaint()),
        }
    }

    /// The line of what it said that names the trouble.
    fn complaint(&self) -> String {
        let mut text = fs::read(self.place.said()).unwrap_or_default();
        if let Some(file) = self.peer.output_file(&self.place) {
            // Some complain where their events would go.
            text.extend(fs::read(file).unwrap_or_default());
        }
        complaint(&String::from_utf8_lossy(&text)).map_or_else(String::new, |it| format!(": {it}"))
    }

    /// What it has taken so far.
    pub(super) fn taken(&self) -> Result<Taken> {
        Ok(Taken {
            time: self.group.time()?,
            kernel_thread_ns: if self.peer.is_audit {
                audit::kernel_thread_ns()?
            } else {
                0
            },
        })
    }

    /// Waits until it has written what there is to write.
    pub(super) fn rest(&self) -> Result<()> {
        let end = Instant::now() + REST_MAX;
        let mut last = size(&self.place.output());
        let mut since = Instant::now();
        while since.elapsed() < REST && Instant::now() < end {
            interrupt::pause(REST / 10)?;
            let now = size(&self.place.output());
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// The most memory its processes have had, in KiB.
    pub(super) fn peak_memory_kib(&self) -> Result<u64> {
        self.memory("VmHWM:")
    }

    /// The memory its processes have now, in KiB.
    pub(super) fn memory_kib(&self) -> Result<u64> {
        self.memory("VmRSS:")
    }

    fn memory(&self, field: &str) -> Result<u64> {
        let mut sum = 0;
        for process in self.group.processes()? {
            let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            sum += status
                .lines()
                .find_map(|line| line.strip_prefix(field))
                .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
                .unwrap_or(0);
        }
        Ok(sum)
    }

    /// Its processes, for a look at their programs in the kernel.
    pub(super) fn processes(&self) -> Result<Vec<u32>> {
        self.group.processes()
    }

    /// A reader of what it writes from now on.
    pub(super) fn follow(&self) -> Result<File> {
        let file = self.peer.output_file(&self.place);
        let file = file.context("there is no output to follow")?;
        let mut file = File::open(file).context("cannot follow the output")?;
        file.seek(SeekFrom::End(0))?;
        Ok(file)
    }

    /// Stops it and reads what it wrote.
    pub(super) fn stop(mut self) -> Result<Written> {
        let lost_by_audit = if self.rules.take().is_some() {
            Some(Status::read()?.lost.saturating_sub(self.lost_before))
        } else {
            None
        };
        let signal = format!("-{}", self.peer.stop);
        read(program("kill").args([&signal, &self.child.id().to_string()]))?;
        let child = &mut self.child;
        let is_over = interrupt::wait_until(STOP_MAX, || Ok(child.try_wait()?.is_some()))?;
        ensure!(is_over, "{} does not end", self.peer.name);
        let mut written = self.written()?;
        written.lost = written.lost.or(lost_by_audit);
        Ok(written)
    }

    fn written(&self) -> Result<Written> {
        let bytes = size(&self.place.output()).saturating_sub(self.begin_of_all);
        let text = match (self.peer.format, self.peer.output_file(&self.place)) {
            (Format::Account, _) | (_, None) => String::new(),
            (Format::Perf, Some(file)) => perf_script(&file)?,
            (_, Some(file)) => read_from(&file, self.begin)?,
        };
        let said = fs::read(self.place.said()).unwrap_or_default();
        let (account, lost) = match fs::read_to_string(self.place.summary()) {
            Ok(summary) => account(&summary)?,
            Err(_) => (Counts::new(), lost(self.peer.format, &text, &said)),
        };
        Ok(Written {
            events: self.peer.format.read(&text),
            bytes,
            lost,
            account,
        })
    }

    fn output_size(&self) -> u64 {
        let file = self.peer.output_file(&self.place);
        file.map_or(0, |file| size(&file))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Rules first, see the fields; then gently, for a daemon has things of its own to undo.
        drop(self.rules.take());
        let asked = self
            .child
            .try_wait()
            .is_ok_and(|ended| ended.is_none())
            .then(|| read(program("kill").arg(self.child.id().to_string())));
        let end = Instant::now() + GRACE;
        while matches!(asked, Some(Ok(_)))
            && matches!(self.child.try_wait(), Ok(None))
            && Instant::now() < end
        {
            thread::sleep(GRACE / 100);
        }
        // What is still there goes with the group.
    }
}

/// A file from there on, as text.
fn read_from(file: &Path, begin: u64) -> Result<String> {
    let mut file = File::open(file).with_context(|| format!("there is no {}", file.display()))?;
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// What systrail says it delivered by kind, and lost.
fn account(summary: &str) -> Result<(Counts, Option<u64>)> {
    let summary: Value = serde_json::from_str(summary).context("cannot read the account")?;
    let kinds = summary["kinds"]
        .as_object()
        .context("the account has no kinds")?;
    let of = |name: &str, counter: &str| kinds.get(name).and_then(|kind| kind[counter].as_u64());
    let mut counts = Counts::new();
    for kind in Kind::ALL {
        if let Some(delivered) = of(kind.wire_name(), "delivered") {
            counts.insert(kind, delivered);
        }
    }
    let lost = kinds.values().filter_map(|kind| kind["lost"].as_u64());
    Ok((counts, Some(lost.sum())))
}

/// What a recorder says it lost, among its events or beside them.
fn lost(format: Format, text: &str, said: &[u8]) -> Option<u64> {
    if format != Format::Bpftrace {
        return None;
    }
    let said = String::from_utf8_lossy(said);
    let count =
        |line: &str| -> Option<u64> { line.strip_prefix("Lost ")?.split(' ').next()?.parse().ok() };
    Some(text.lines().chain(said.lines()).filter_map(count).sum())
}

/// The line that sounds most like a cause; else the last line there is.
fn complaint(text: &str) -> Option<&str> {
    // What comes first says more: a cause is often followed by what it caused.
    const WORDS: [&str; 5] = ["unable", "cannot", "can't", "error", "fail"];
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let with = |word: &str| {
        let mut lines = lines.clone();
        lines.find(|line| line.to_lowercase().contains(word))
    };
    let cause = WORDS.iter().find_map(|word| with(word));
    cause.or_else(|| lines.next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_is_told_and_not_the_trace() {
        let text = "Exception: Failed to compile\nTraceback (most recent call last):\n\
                    Unable to find kernel headers. Try another.\n";
        assert_eq!(
            complaint(text),
            Some("Unable to find kernel headers. Try another.")
        );
        assert_eq!(complaint("one\ntwo\n\n"), Some("two"));
        assert_eq!(complaint(""), None);
    }

    #[test]
    fn adds_up_what_a_recorder_says_it_lost() {
        let said = b"Lost 7 events\n";
        assert_eq!(
            lost(Format::Bpftrace, "Lost 30 events\nN 1 2", said),
            Some(37)
        );
        assert_eq!(lost(Format::Bpftrace, "", b""), Some(0));
        assert_eq!(lost(Format::Forkstat, "Lost 30 events\n", b""), None);
    }

    #[test]
    fn reads_the_account_by_kind() -> Result<()> {
        let summary = r#"{"kinds": {"process_start": {"delivered": 5, "lost": 1},
                          "image_load": {"delivered": 2, "lost": 3}}}"#;
        let (counts, lost) = account(summary)?;
        let expected = [(Kind::ProcessStart, 5), (Kind::ImageLoad, 2)].into();
        assert_eq!((counts, lost), (expected, Some(4)));
        Ok(())
    }
}

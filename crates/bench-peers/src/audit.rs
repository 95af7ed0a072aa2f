//! The kernel's audit, while `auditd` is measured: rules and limits as Debian's own rule file sets
//! them, and everything as it was when the measuring is over.
//!
//! A kernel that has had auditing on once gives every new task an audit context until it boots
//! again, and each system call of such a task then takes the slow way. Whatever is measured after
//! auditd would look slower for that. The rule `never,task` takes the context away again, so it is
//! there whenever auditd is not measured.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use xtask::command::{program, read};

/// What the rules are told apart by.
const KEY: &str = "systrail-bench";

/// The system calls in which processes and threads begin, run programs and end.
const CALLS: &str = "execve,execveat,fork,vfork,clone,clone3,exit,exit_group";

/// Of Debian's `/etc/audit/rules.d/audit.rules`.
const BACKLOG: &str = "8192";
const BACKLOG_WAIT: &str = "60000";

/// The kernel's audit as we found it. Dropping it brings that back.
pub(super) struct Audit {
    before: Status,
    was_silent: bool,
}

/// The rules that watch processes. Dropping it removes them.
pub(super) struct Rules;

/// What `auditctl -s` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Status {
    enabled: u32,
    /// The process that takes the events, 0 if there is none.
    daemon: u32,
    backlog_limit: u32,
    backlog_wait: u32,
    /// How many events the kernel could not hand over.
    pub(super) lost: u64,
}

impl Audit {
    /// Notes how it is; fails where somebody else uses it, whose rules we would disturb.
    pub(super) fn take() -> Result<Self> {
        let before = Status::read()?;
        // The kernel keeps the number of a daemon that was killed until it next has to tell it
        // something.
        ensure!(
            !Path::new("/proc").join(before.daemon.to_string()).exists(),
            "another audit daemon runs (process {}); stop it first",
            before.daemon
        );
        ensure!(
            before.enabled != 2,
            "the audit rules are locked until the next boot"
        );
        auditctl(&["-D", "-k", KEY])?;
        let rules = read(program("auditctl").arg("-l"))?;
        let was_silent = rules.contains("never,task");
        let audit = Self { before, was_silent };
        Self::silence()?;
        Ok(audit)
    }

    /// Makes new tasks free of auditing.
    fn silence() -> Result<()> {
        let rules = read(program("auditctl").arg("-l"))?;
        if rules.contains("never,task") {
            return Ok(());
        }
        auditctl(&["-a", "never,task"])
    }
}

impl Rules {
    /// Starts watching. The daemon must be there, or the kernel prints the events on the console.
    /// Only who holds the audit may.
    pub(super) fn watch(_held: &Audit) -> Result<Self> {
        auditctl(&["-b", BACKLOG])?;
        auditctl(&["--backlog_wait_time", BACKLOG_WAIT])?;
        auditctl(&["-d", "never,task"])?;
        let rules = Self;
        auditctl(&[
            "-a",
            "always,exit",
            "-F",
            "arch=b64",
            "-S",
            CALLS,
            "-k",
            KEY,
        ])?;
        Ok(rules)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        let restore = || -> Result<()> {
            if !self.was_silent {
                auditctl(&["-d", "never,task"])?;
            }
            auditctl(&["-b", &self.before.backlog_limit.to_string()])?;
            auditctl(&["--backlog_wait_time", &self.before.backlog_wait.to_string()])?;
            auditctl(&["-e", &self.before.enabled.to_string()])
        };
        if let Err(error) = restore() {
            eprintln!("bench-peers: the audit settings are not as they were: {error:#}");
        }
    }
}

impl Drop for Rules {
    fn drop(&mut self) {
        let remove = auditctl(&["-D", "-k", KEY])
            .and_then(|()| auditctl(&["-a", "never,task"]))
            .and_then(|()| auditctl(&["-e", "0"]));
        if let Err(error) = remove {
            eprintln!("bench-peers: audit rules with the key {KEY} are left: {error:#}");
        }
    }
}

impl Status {
    pub(super) fn read() -> Result<Self> {
        let text = read(program("auditctl").arg("-s"))?;
        Self::parse(&text).with_context(|| format!("cannot read what auditctl says: {text}"))
    }

    /// Whether a daemon takes the events.
    pub(super) const fn has_daemon(&self) -> bool {
        self.daemon != 0
    }

    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once(' ')?;
                (key == name).then(|| value.trim().parse::<u64>().ok())?
            })
        };
        let small = |name: &str| field(name).and_then(|value| u32::try_from(value).ok());
        Some(Self {
            enabled: small("enabled")?,
            daemon: small("pid")?,
            backlog_limit: small("backlog_limit")?,
            backlog_wait: small("backlog_wait_time")?,
            lost: field("lost")?,
        })
    }
}

/// The time the kernel's own thread took to hand events to the daemon, in nanoseconds.
pub(super) fn kernel_thread_ns() -> Result<u64> {
    for entry in fs::read_dir("/proc").context("cannot read /proc")? {
        let path = entry?.path();
        let name = fs::read_to_string(path.join("comm")).unwrap_or_default();
        if name.trim_end() == "kauditd" {
            let text = fs::read_to_string(path.join("schedstat"))
                .context("cannot read the time of kauditd")?;
            let time = text.split(' ').next().and_then(|it| it.parse().ok());
            return time.context("cannot read the time of kauditd");
        }
    }
    // A container does not see kernel threads; then this share is not told.
    Ok(0)
}

fn auditctl(arguments: &[&str]) -> Result<()> {
    let output = program("auditctl")
        .args(arguments)
        .output()
        .context("cannot start auditctl")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "`auditctl {}`: {}",
        arguments.join(" "),
        said.trim()
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_auditctl_says() {
        let text = "enabled 1\nfailure 1\npid 4975\nrate_limit 0\nbacklog_limit 64\nlost 7\n\
                    backlog 0\nbacklog_wait_time 15000\nbacklog_wait_time_actual 0\n\
                    loginuid_immutable 0 unlocked\n";
        let expected = Status {
            enabled: 1,
            daemon: 4975,
            backlog_limit: 64,
            backlog_wait: 15000,
            lost: 7,
        };
        assert_eq!(Status::parse(text), Some(expected));
        assert_eq!(Status::parse("enabled 1\n"), None);
    }
}

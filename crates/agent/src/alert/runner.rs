//! Runs the commands, one at a time.

use std::io::Write as _;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam_channel::Receiver;

use super::{INTERVAL, Outcome, Settings, Shared};
use crate::sys::command;

/// The first pause between two looks at whether a command has ended, and the longest; each is twice the one
/// before. There are looks only while a command runs.
const LOOK_FIRST: Duration = Duration::from_millis(1);
const LOOK_MAX: Duration = Duration::from_millis(50);

/// What the service manager tells the agent and no command of its.
const OWN_VARIABLES: [&str; 3] = ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"];

/// The thread that runs commands.
#[derive(Debug)]
pub(super) struct Runner {
    settings: Settings,
    shared: Arc<Shared>,
    /// Writes what the last command was to read.
    input: Option<JoinHandle<()>>,
    /// Whether it was said that commands do not succeed; the next is said when one has.
    is_told: bool,
}

impl Runner {
    pub(super) const fn new(settings: Settings, shared: Arc<Shared>) -> Self {
        Self {
            settings,
            shared,
            input: None,
            is_told: false,
        }
    }

    /// Runs a command for each of what waits, until nothing more can come.
    pub(super) fn run(mut self, waiting: &Receiver<Vec<u8>>) {
        while let Ok(lines) = waiting.recv() {
            let began = Instant::now();
            let size = lines.len();
            let outcome = if self.is_over() {
                Outcome::PassedOver
            } else {
                self.run_one(lines)
            };
            self.shared.waiting_size.fetch_sub(size, Ordering::Relaxed);
            self.shared.tally.count(outcome);
            if outcome != Outcome::PassedOver {
                std::thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
            }
        }
    }

    fn is_over(&self) -> bool {
        let deadline = self.shared.deadline.get();
        deadline.is_some_and(|deadline| Instant::now() >= *deadline)
    }

    /// Runs one command with `lines` on its standard input.
    fn run_one(&mut self, lines: Vec<u8>) -> Outcome {
        // A process that left the command's group may hold its input and read nothing. One such thread is
        // enough.
        if self
            .input
            .as_ref()
            .is_some_and(|input| !input.is_finished())
        {
            return self.fail("what the last one left behind does not read its input");
        }
        let mut child = match self.command().spawn() {
            Ok(child) => child,
            Err(error) => return self.fail(&error.to_string()),
        };
        if let Some(input) = child.stdin.take() {
            self.input = feed(input, lines);
        }
        let is_in_time = self.has_ended_in_time(&child);
        command::kill_group(&mut child);
        match child.wait() {
            _ if !is_in_time => {
                let limit = self.settings.time_limit;
                self.tell(&format!("it took longer than {limit:?} and was killed"));
                Outcome::TimedOut
            }
            Ok(status) if status.success() => {
                self.is_told = false;
                Outcome::Ran
            }
            Ok(status) => self.fail(&status.to_string()),
            Err(error) => self.fail(&error.to_string()),
        }
    }

    /// The command, which has nothing of what is told in it.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.settings.program);
        command
            .args(&self.settings.arguments)
            .stdin(Stdio::piped())
            // The agent's may be the log.
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        for name in OWN_VARIABLES {
            command.env_remove(name);
        }
        command::apart(&mut command);
        command
    }

    /// Waits until the command has ended, or its time is over.
    fn has_ended_in_time(&self, child: &Child) -> bool {
        let deadline = Instant::now() + self.settings.time_limit;
        let mut pause = LOOK_FIRST;
        while !command::has_ended(child) {
            if Instant::now() >= deadline || self.is_over() {
                return false;
            }
            std::thread::sleep(pause);
            pause = pause.saturating_mul(2).min(LOOK_MAX);
        }
        true
    }

    fn fail(&mut self, reason: &str) -> Outcome {
        self.tell(reason);
        Outcome::Failed
    }

    /// Says why commands do not succeed, once until one does.
    fn tell(&mut self, reason: &str) {
        if !std::mem::replace(&mut self.is_told, true) {
            let program = self.settings.program.display();
            tracing::warn!(
                "the command of alerts, {program}: {reason}; it is run for the next match all the same, and \
                 how often it did not succeed is counted"
            );
        }
    }
}

/// Writes what the command reads, which may take as long as the command does.
fn feed(mut input: ChildStdin, lines: Vec<u8>) -> Option<JoinHandle<()>> {
    let write = move || {
        // A command that does not read everything is free not to.
        let _written = input.write_all(&lines);
    };
    crate::sys::thread::named("alert-input").spawn(write).ok()
}

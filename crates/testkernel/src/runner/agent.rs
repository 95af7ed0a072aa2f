//! The agent as the tests handle it: the shipped program, its standard error, its log.

use crate::fact::Fact;
use crate::sys::console::{CTRL_BREAK, say, send_ctrl_c};
use serde_json::Value;
use std::io::{self, BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// The agent.
pub(crate) const PROGRAM: &str = r"C:\systrail\systrail.exe";

/// The log and the account of a recording.
pub(crate) const LOG: &str = r"C:\systrail\log.jsonl";
pub(crate) const SUMMARY: &str = r"C:\systrail\summary.json";

/// How long the agent may take to record, and to end.
const RECORDING_TIME_MAX: Duration = Duration::from_secs(25);
const END_TIME_MAX: Duration = Duration::from_secs(15);

/// An agent that records.
#[derive(Debug)]
pub(crate) struct Agent {
    child: Child,
    lines: Receiver<String>,
    said: String,
}

/// How an agent ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) said: String,
}

/// Runs a command of the agent to its end.
pub(crate) fn command(arguments: &[&str]) -> io::Result<Output> {
    command_of(PROGRAM, arguments)
}

/// Runs a command of an agent that stands elsewhere to its end.
pub(crate) fn command_of(program: &str, arguments: &[&str]) -> io::Result<Output> {
    Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
}

/// Runs a command that must succeed.
pub(crate) fn succeed(arguments: &[&str]) -> io::Result<String> {
    let output = command(arguments)?;
    let text = said(&output);
    if output.status.success() {
        Ok(text)
    } else {
        Err(io::Error::other(format!(
            "systrail {}: {}: {text}",
            arguments.join(" "),
            output.status
        )))
    }
}

/// What a command said, results and remarks.
pub(crate) fn said(output: &Output) -> String {
    let remarks = String::from_utf8_lossy(&output.stderr);
    format!("{}{remarks}", String::from_utf8_lossy(&output.stdout))
}

impl Agent {
    /// Starts to record into [`LOG`] and waits until every event is seen.
    pub(crate) fn record(more: &[&str]) -> io::Result<Self> {
        for file in [LOG, SUMMARY] {
            if Path::new(file).exists() {
                std::fs::remove_file(file)?;
            }
        }
        let mut agent = Self::start(more)?;
        agent.wait_for("systrail: recording")?;
        Ok(agent)
    }

    fn start(more: &[&str]) -> io::Result<Self> {
        let mut child = Command::new(PROGRAM)
            .args(["run", "--source", "driver"])
            .args(["--log", LOG, "--summary", SUMMARY])
            .args(more)
            .args((!more.contains(&"--store")).then_some("--no-store"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let (sender, lines) = channel();
        let stderr = child.stderr.take();
        std::thread::spawn(move || {
            for line in stderr
                .into_iter()
                .flat_map(|pipe| BufReader::new(pipe).lines())
            {
                let is_wanted = line.map(|line| sender.send(line));
                if !matches!(is_wanted, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Ok(Self {
            child,
            lines,
            said: String::new(),
        })
    }

    fn wait_for(&mut self, wanted: &str) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let left = RECORDING_TIME_MAX.saturating_sub(begin.elapsed());
            match self.lines.recv_timeout(left) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if line.trim() == wanted {
                        return Ok(());
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let text = format!("the agent never said {wanted}: {}", self.said);
                    return Err(io::Error::other(text));
                }
            }
        }
    }

    /// Ends it with Ctrl-C, as a console does.
    pub(crate) fn interrupt(self) -> io::Result<Ended> {
        send_ctrl_c()?;
        self.wait()
    }

    /// Says to it what its console would say, and waits until it has ended.
    pub(crate) fn end_with(self, event: u32) -> io::Result<Ended> {
        say(&self.child, event)?;
        if !Path::new(SUMMARY).exists() && event != CTRL_BREAK {
            // When its handler returns, the system ends it.
            let text = format!("it has handled {event} before its account was written");
            return Err(io::Error::other(text));
        }
        self.wait()
    }

    /// Ends it as no program can prevent.
    pub(crate) fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(|_status| ())
    }

    /// Waits until it has ended by itself.
    pub(crate) fn wait(mut self) -> io::Result<Ended> {
        let begin = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if begin.elapsed() > END_TIME_MAX {
                return Err(io::Error::other(format!("it does not end: {}", self.said)));
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        while let Ok(line) = self.lines.recv_timeout(Duration::from_secs(1)) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        Ok(Ended {
            status,
            said: std::mem::take(&mut self.said),
        })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It has ended, or a test has failed and wants it gone.
        let _is_killed = self.child.kill();
        let _outcome = self.child.wait();
    }
}

/// The facts of a log, those of the snapshot left out. The log has no creation times: a process is
/// told by its key there, so they are 0.
pub(crate) fn facts(log: &str) -> io::Result<Vec<Fact>> {
    let text = std::fs::read_to_string(log)?;
    let mut facts = Vec::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line)?;
        if line["existing"].as_bool() != Some(true) {
            facts.extend(fact(&line));
        }
    }
    Ok(facts)
}

fn fact(line: &Value) -> Option<Fact> {
    let number = |name: &str| {
        let number = line[name]
            .as_u64()
            .and_then(|number| u32::try_from(number).ok());
        number.unwrap_or(0)
    };
    let text = |name: &str| line[name].as_str().unwrap_or("").to_owned();
    let address = |name: &str| {
        let text = line[name].as_str().unwrap_or("");
        u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
    };
    let (process_id, thread_id) = (number("process_id"), number("thread_id"));
    let creator = (number("creator_process_id"), number("creator_thread_id"));
    Some(match line["kind"].as_str()? {
        "process_start" => Fact::ProcessStart {
            process_id,
            start_time: 0,
            parent_process_id: number("parent_process_id"),
            creator,
            image: text("image"),
            command_line: text("command_line"),
        },
        "process_exit" => Fact::ProcessExit {
            process_id,
            thread_id: 0,
            exit_status: number("exit_code"),
        },
        "thread_start" => Fact::ThreadStart {
            process_id,
            thread_id,
            creator,
            start_address: address("start_address"),
        },
        "thread_exit" => Fact::ThreadExit {
            process_id,
            thread_id,
        },
        "image_load" => Fact::ImageLoad {
            process_id,
            thread_id: 0,
            base: address("image_base"),
            size: line["image_size"].as_u64().unwrap_or(0),
            image: text("image"),
        },
        "lost" => Fact::Lost {
            kind: 0,
            count: line["lost_count"].as_u64().unwrap_or(0),
        },
        _ => return None,
    })
}

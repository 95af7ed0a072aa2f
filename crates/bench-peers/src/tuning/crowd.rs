//! Processes that live and do nothing, so that there is something to take a snapshot of.

use std::process::{Child, Stdio};

use anyhow::{Context as _, Result};
use xtask::command::program;

use super::super::site::Site;
use crate::interrupt;

/// How long they live if nobody ends them, in seconds: a bench that is killed leaves nothing for
/// good.
const LIFE: &str = "600";

/// So many processes. Dropping it ends them.
pub(super) struct Crowd {
    processes: Vec<Child>,
}

impl Crowd {
    pub(super) fn gather(count: u32, site: &Site) -> Result<Self> {
        let mut crowd = Self {
            processes: Vec::new(),
        };
        for _ in 0..count {
            interrupt::check()?;
            let child = program("/bin/sleep")
                .current_dir(site.path(""))
                .arg(LIFE)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .context("cannot start another process; raise kernel.pid_max")?;
            crowd.processes.push(child);
        }
        Ok(crowd)
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let ended = process.kill().and_then(|()| process.wait());
            if let Err(error) = ended {
                eprintln!("bench-peers: cannot end process {}: {error}", process.id());
            }
        }
    }
}

//! The file system that describes tracepoints, which bpftrace and perf read. Debian mounts it;
//! containers and small machines often do not.

use std::path::Path;

use anyhow::Result;
use xtask::command::{program, read};

const PLACE: &str = "/sys/kernel/tracing";

/// Mounted by us or by somebody else; only ours is unmounted with this value.
pub(super) struct Tracefs {
    is_ours: bool,
}

impl Tracefs {
    pub(super) fn mount() -> Result<Self> {
        let is_ours = !Path::new(PLACE).join("events").exists();
        if is_ours {
            read(program("mount").args(["-t", "tracefs", "tracefs", PLACE]))?;
        }
        Ok(Self { is_ours })
    }
}

impl Drop for Tracefs {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = read(program("umount").arg(PLACE))
        {
            eprintln!("bench-peers: {error:#}");
        }
    }
}

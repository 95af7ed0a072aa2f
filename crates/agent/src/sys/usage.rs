//! What this process costs the machine.

use std::time::Duration;

/// Memory and processor time of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Bytes that are in memory, what it shares with others among them.
    pub memory_size: u64,
    /// Processor time since its begin, of user and kernel.
    pub processor_time: Duration,
}

/// That of now, where the system tells it.
#[cfg(target_os = "linux")]
pub fn own() -> Option<Usage> {
    use nix::sys::resource::{UsageWho, getrusage};
    use nix::sys::time::TimeValLike as _;

    let line = super::proc::own_status("VmRSS")?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    let usage = getrusage(UsageWho::RUSAGE_SELF).ok()?;
    let times = [usage.user_time(), usage.system_time()];
    let times = times.map(|time| u64::try_from(time.num_microseconds()).unwrap_or(0));
    Some(Usage {
        memory_size: kib.saturating_mul(1024),
        processor_time: times.into_iter().map(Duration::from_micros).sum(),
    })
}

/// Nobody asks Windows for it yet.
#[cfg(windows)]
pub const fn own() -> Option<Usage> {
    None
}

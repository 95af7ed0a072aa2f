//! How long a recorder's eBPF programs run, as the kernel accounts it. That time is spent in the
//! context of whoever is observed, so no account of the recorder's own processes shows it.

use std::fs;

use anyhow::{Context as _, Result};

const SWITCH: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// While it lives, the kernel accounts the time of eBPF programs.
pub(super) struct Accounting {
    before: String,
}

impl Accounting {
    pub(super) fn begin() -> Result<Self> {
        let before = fs::read_to_string(SWITCH).with_context(|| format!("cannot read {SWITCH}"))?;
        fs::write(SWITCH, "1").with_context(|| format!("cannot write {SWITCH}"))?;
        Ok(Self { before })
    }
}

impl Drop for Accounting {
    fn drop(&mut self) {
        if let Err(error) = fs::write(SWITCH, self.before.trim()) {
            eprintln!("bench-peers: {SWITCH} is not as it was: {error}");
        }
    }
}

/// All programs some processes hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Programs {
    count: u64,
    run_time_ns: u64,
}

impl Programs {
    pub(super) fn of(processes: &[u32]) -> Self {
        let mut programs = Self::default();
        for process in processes {
            let entries = fs::read_dir(format!("/proc/{process}/fdinfo"));
            for entry in entries.into_iter().flatten().flatten() {
                let text = fs::read_to_string(entry.path()).unwrap_or_default();
                if let Some(run_time_ns) = run_time_ns(&text) {
                    programs.count += 1;
                    programs.run_time_ns += run_time_ns;
                }
            }
        }
        programs
    }

    /// The time they ran since then; nothing where there are none.
    pub(super) fn ns_since(self, before: Self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
        let time = self.run_time_ns.saturating_sub(before.run_time_ns) as f64;
        (self.count > 0).then_some(time)
    }
}

/// What the kernel says about a program's descriptor; others have no such line.
fn run_time_ns(text: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix("run_time_ns:"))
        .and_then(|rest| rest.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_program_and_leaves_out_what_is_none() {
        let text = "pos:\t0\nprog_type:\t17\nprog_jited:\t1\nrun_time_ns:\t1234\nrun_cnt:\t5\n";
        assert_eq!(run_time_ns(text), Some(1234));
        assert_eq!(run_time_ns("pos:\t0\nmap_type:\t27\n"), None);
    }

    #[test]
    fn no_programs_is_not_no_time() {
        let of = |count, run_time_ns| Programs { count, run_time_ns };
        assert_eq!(of(2, 90).ns_since(of(2, 50)), Some(40.0));
        assert_eq!(of(0, 0).ns_since(of(0, 0)), None);
    }
}

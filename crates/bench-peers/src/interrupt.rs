//! Ctrl-C and SIGTERM during a long bench: noticed at the next step, so that everything that was
//! started, added or mounted is undone on the way out.

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

/// How long a wait goes on without looking.
const STEP: Duration = Duration::from_millis(20);

static ASKED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// Takes the signals from now on. A second one ends the program at once.
pub(super) fn take_signals() -> Result<()> {
    let asked = ASKED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM] {
        // The order matters: the first signal finds the flag unset and only sets it.
        flag::register_conditional_shutdown(signal, 1, Arc::clone(asked))
            .and_then(|_id| flag::register(signal, Arc::clone(asked)))
            .context("cannot take signals")?;
    }
    Ok(())
}

/// Fails once the person asked us to stop.
pub(super) fn check() -> Result<()> {
    if ASKED.get().is_some_and(|it| it.load(Ordering::Relaxed)) {
        bail!("interrupted; what was started has been ended");
    }
    Ok(())
}

/// Waits that long, unless interrupted.
pub(super) fn pause(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    loop {
        check()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(STEP));
    }
}

/// Waits until it holds, at most that long. Whether it did.
pub(super) fn wait_until(
    longest: Duration,
    mut holds_fn: impl FnMut() -> Result<bool>,
) -> Result<bool> {
    let end = Instant::now() + longest;
    while !holds_fn()? {
        if Instant::now() >= end {
            return Ok(false);
        }
        pause(STEP / 4)?;
    }
    Ok(true)
}

//! Signals that end a recording: the first drains and closes, the second gives up.

use std::io;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use systrail::sys::wake::Waker;

use super::Exit;
use super::console::{self, say};
use super::service_manager;

/// Signals being listened to; dropping it ends that.
#[derive(Debug)]
pub(super) struct Listening {
    handle: Handle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Wakes `waker` on SIGINT, SIGTERM and SIGHUP, and ends the process at the second of them.
pub(super) fn on_signals(waker: &Waker) -> io::Result<Listening> {
    on_signals_saying(waker, "aborted; events on their way are in no log")
}

/// The same with what is said at the second of them.
pub(super) fn on_signals_saying(waker: &Waker, last_word: &'static str) -> io::Result<Listening> {
    let mut wanted = vec![SIGINT, SIGTERM];
    // Who started us under nohup wants a hang-up not to matter.
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    let handle = signals.handle();
    let waker = waker.clone();
    systrail::sys::thread::named("signals").spawn(move || {
        for (count, _signal) in signals.forever().enumerate() {
            if count == 0 {
                waker.wake();
                service_manager::stopping();
                continue;
            }
            say!("{last_word}");
            console::finish();
            std::process::exit(Exit::Failed.code().into());
        }
    })?;
    Ok(Listening { handle })
}

/// Whether the process was started with `signal` ignored.
fn is_ignored(signal: i32) -> bool {
    let mask = systrail::sys::proc::own_status("SigIgn")
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}

//! Signals while a command runs in the foreground: they are for the command, which ends, or does not, as
//! it would without a recorder.
//!
//! The command is in our own process group, so what a terminal sends (Ctrl-C, Ctrl-\, Ctrl-Z, a hang-up)
//! reaches it anyway. What somebody sends to us alone is sent on.

use std::io::{self, IsTerminal as _};
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::{Pid, getpgrp, tcgetpgrp};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::{Handle, Signals};
use systrail::sys::wake::Waker;

/// The command while it runs. Nothing is sent to its id once that may be another's.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(Arc<Mutex<Option<Pid>>>);

impl Running {
    /// Starts the command. A signal that comes meanwhile waits, and then is the command's.
    pub(super) fn begin(
        &self,
        mut start_fn: impl FnMut() -> io::Result<Child>,
    ) -> io::Result<Child> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let child = start_fn()?;
        *running = i32::try_from(child.id()).ok().map(Pid::from_raw);
        Ok(child)
    }

    /// Waits for its end; its id stays its own until the caller has asked for its status.
    pub(super) fn wait(&self) -> io::Result<()> {
        let id = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(id) = id else {
            return Ok(());
        };
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        while let Err(error) = waitid(Id::Pid(id), flags) {
            if error != Errno::EINTR {
                return Err(error.into());
            }
        }
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Whether it ran and was sent the signal.
    fn send(&self, signal: i32) -> bool {
        let id = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let signal = Signal::try_from(signal).ok();
        id.is_some_and(|id| kill(id, signal).is_ok())
    }
}

/// Signals being listened to; dropping it ends that.
#[derive(Debug)]
pub(super) struct Listening(Handle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Has signals go to the command, or, where none runs, end the recording. So does the second request of
/// somebody's that is not a terminal: the command may not heed the first.
pub(super) fn listen(running: &Running, waker: &Waker) -> io::Result<Listening> {
    let mut signals = Signals::new([SIGINT, SIGQUIT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2])?;
    let listening = Listening(signals.handle());
    let (running, waker) = (running.clone(), waker.clone());
    systrail::sys::thread::named("signals").spawn(move || {
        let mut was_asked = false;
        for signal in signals.forever() {
            let is_request = !matches!(signal, SIGUSR1 | SIGUSR2);
            if matches!(signal, SIGINT | SIGQUIT) && is_from_terminal() {
                // The command has it already; without one it is for us.
                if !running.send(0) {
                    waker.wake();
                }
                continue;
            }
            let was_sent = running.send(signal);
            if is_request && (!was_sent || std::mem::replace(&mut was_asked, true)) {
                waker.wake();
            }
        }
    })?;
    Ok(listening)
}

/// Whether a terminal's keys reach our process group, and with it the command.
fn is_from_terminal() -> bool {
    let stdin = io::stdin();
    stdin.is_terminal() && tcgetpgrp(&stdin).is_ok_and(|group| group == getpgrp())
}

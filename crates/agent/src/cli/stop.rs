//! Signals that end a recording: the first drains and closes, a second request to stop gives up. SIGHUP has
//! a recorder read its configuration again, unless it is the last word of its terminal.
//!
//! By default more than thirty signals end a process at once, without its account. Whatever of them
//! can be caught drains and closes here; those that have another meaning for other programs, or tell
//! of a limit that a sink meets too, end nothing.

use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use signal_hook::consts::{
    SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM,
    SIGXCPU, SIGXFSZ,
};
use signal_hook::iterator::{Handle, Signals};
use systrail::sys::wake::Waker;

use super::Exit;
use super::console::{self, say};
use super::service_manager;

/// Requests to stop.
const REQUESTS: [i32; 3] = [SIGINT, SIGTERM, SIGQUIT];

/// They end the recording, and it failed: nobody asks it to stop by them, so a service manager is to
/// start it again.
const ENDS: [i32; 8] = [
    SIGHUP,
    SIGALRM,
    SIGVTALRM,
    SIGPROF,
    SIGIO,
    SIGXCPU,
    libc::SIGPWR,
    libc::SIGSTKFLT,
];

/// Sent to many programs, which rotate logs or print something then; nothing happens here. After
/// SIGXFSZ the write that met the limit on file sizes fails, which is for its sink to tell. They are
/// caught, not ignored, because a program that is started inherits what is ignored.
const PASSED_OVER: [i32; 3] = [SIGUSR1, SIGUSR2, SIGXFSZ];

/// Where a terminal's processes find it for as long as it is theirs.
const TERMINAL: &str = "/dev/tty";

/// How long it takes until a terminal is gone whose going is told: the kernel tells of the end of its shell
/// first.
const HANG_UP_TIME: Duration = Duration::from_millis(200);

/// Signals being listened to; dropping it ends that.
#[derive(Debug)]
pub(super) struct Listening {
    handle: Handle,
    was_ended: Arc<AtomicBool>,
}

impl Listening {
    /// How the command ends: one that was ended without a request to stop has failed.
    pub(super) fn exit_of(&self, exit: Exit) -> Exit {
        match exit {
            Exit::Done if self.was_ended.load(Ordering::SeqCst) => Exit::Failed,
            exit => exit,
        }
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.handle.close();
    }
}

/// Wakes `waker` on every signal that ends a process and can be caught, and ends it at the second
/// request to stop.
pub(super) fn on_signals(waker: &Waker) -> io::Result<Listening> {
    on_signals_saying(waker, LAST_WORD)
}

/// Wakes `waker` at Ctrl-C. Whatever else ends a program ends this one.
#[cfg(feature = "shell")]
pub(super) fn on_interrupt(waker: &Waker) -> io::Result<Listening> {
    let mut signals = Signals::new([SIGINT])?;
    let listening = Listening {
        handle: signals.handle(),
        was_ended: Arc::default(),
    };
    let waker = waker.clone();
    systrail::sys::thread::named("signals").spawn(move || {
        for _interrupt in signals.forever() {
            waker.wake();
        }
    })?;
    Ok(listening)
}

/// What is said at the second request to end a recording.
const LAST_WORD: &str = "aborted; events on their way are in no log";

/// The same with what is said at the second of them.
pub(super) fn on_signals_saying(waker: &Waker, last_word: &'static str) -> io::Result<Listening> {
    listen(waker, last_word, |_signal| false)
}

/// The same of a recorder, for which SIGHUP is to `reload_fn`.
pub(super) fn on_signals_or_reload(
    waker: &Waker,
    reload_fn: impl Fn() + Send + 'static,
) -> io::Result<Listening> {
    let had_terminal = File::open(TERMINAL).is_ok();
    let taken_fn = move |signal| {
        if signal != SIGHUP {
            return false;
        }
        if had_terminal {
            std::thread::sleep(HANG_UP_TIME);
            if File::open(TERMINAL).is_err() {
                return false;
            }
        }
        reload_fn();
        true
    };
    listen(waker, LAST_WORD, taken_fn)
}

/// Listens to all of them; those that `taken_fn` takes end nothing.
fn listen(
    waker: &Waker,
    last_word: &'static str,
    taken_fn: impl Fn(i32) -> bool + Send + 'static,
) -> io::Result<Listening> {
    let ignored = ignored();
    let others = ENDS.into_iter().chain(libc::SIGRTMIN()..=libc::SIGRTMAX());
    // Who started us under nohup wants a hang-up not to matter.
    let others = others.filter(|signal| ignored >> (signal - 1) & 1 == 0);
    let wanted = REQUESTS.into_iter().chain(PASSED_OVER).chain(others);
    let mut signals = Signals::new(wanted)?;
    let was_ended = Arc::<AtomicBool>::default();
    let listening = Listening {
        handle: signals.handle(),
        was_ended: Arc::clone(&was_ended),
    };
    let waker = waker.clone();
    systrail::sys::thread::named("signals").spawn(move || {
        let (mut is_ending, mut is_asked) = (false, false);
        for signal in signals.forever() {
            if PASSED_OVER.contains(&signal) || (!is_ending && taken_fn(signal)) {
                continue;
            }
            let is_request = REQUESTS.contains(&signal);
            if is_request && std::mem::replace(&mut is_asked, true) {
                say!("{last_word}");
                console::finish();
                std::process::exit(Exit::Failed.code().into());
            }
            // A terminal that goes away can send more than one SIGHUP; the first is enough.
            if std::mem::replace(&mut is_ending, true) {
                continue;
            }
            if !is_request {
                was_ended.store(true, Ordering::SeqCst);
            }
            waker.wake();
            if !is_request {
                say!("ended by {}, which is no request to stop", name(signal));
            }
            service_manager::stopping();
        }
    })?;
    Ok(listening)
}

/// The signal as manuals have it.
fn name(signal: i32) -> String {
    match nix::sys::signal::Signal::try_from(signal) {
        Ok(signal) => signal.to_string(),
        Err(_real_time) => format!("signal {signal}"),
    }
}

/// The signals that the process was started with ignored, a bit each.
fn ignored() -> u64 {
    systrail::sys::proc::own_status("SigIgn")
        .and_then(|mask| u64::from_str_radix(&mask, 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_signal_with_what_it_does() {
        let document = include_str!("../../../../docs/LINUX.md");
        let (_, table) = document.split_once("\n## Signals\n").unwrap();
        let rows: Vec<&str> = table
            .lines()
            .take_while(|line| !line.starts_with("## "))
            .filter(|line| line.starts_with("| "))
            .collect();
        let row_of = |signal: i32| {
            let name = name(signal);
            let first = |row: &&&str| row.split('|').nth(1).is_some_and(|it| it.contains(&name));
            let row = rows.iter().find(first);
            *row.unwrap_or_else(|| panic!("no row of {name}"))
        };
        for request in REQUESTS {
            assert!(row_of(request).contains("ends with 0"));
        }
        for signal in ENDS.into_iter().filter(|signal| *signal != SIGHUP) {
            assert!(row_of(signal).contains("with 1"));
        }
        assert!(row_of(SIGHUP).contains("again"));
        for signal in PASSED_OVER {
            assert!(row_of(signal).contains("nothing") || signal == SIGXFSZ);
        }
    }
}

//! What ends a recording: Ctrl-C and Ctrl-Break, of which the second gives up; a console that is
//! closed, a log-off and a shutdown, which wait until everything is drained.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use systrail::sys::console::{self, Said};
use systrail::sys::wake::Waker;

use super::Exit;
use super::console::{self as messages, say};

/// How long the system is kept waiting for the end. It ends the process after 5 s by itself.
const CLOSING_TIME_MAX: Duration = Duration::from_secs(10);

/// The console being listened to; dropping it says that all is done.
#[derive(Debug)]
pub(super) struct Listening {
    done: Arc<Done>,
}

#[derive(Debug, Default)]
struct Done {
    is_so: Mutex<bool>,
    changed: Condvar,
}

impl Listening {
    /// How the command ends: what a console says is always a request to stop.
    #[expect(
        clippy::unused_self,
        reason = "its twin for another system was told how it is ended"
    )]
    pub(super) const fn exit_of(&self, exit: Exit) -> Exit {
        exit
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        *self
            .done
            .is_so
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = true;
        self.done.changed.notify_all();
    }
}

/// Wakes `waker` when the console says so, and ends the process at the second Ctrl-C.
pub(super) fn on_signals(waker: &Waker) -> io::Result<Listening> {
    on_signals_saying(waker, "aborted; events on their way are in no log")
}

/// The same; nothing has a recorder read its configuration again here.
pub(super) fn on_signals_or_reload(
    waker: &Waker,
    _reload_fn: impl Fn() + Send + 'static,
) -> io::Result<Listening> {
    on_signals(waker)
}

/// The same with what is said at the second of them.
pub(super) fn on_signals_saying(waker: &Waker, last_word: &'static str) -> io::Result<Listening> {
    let done = Arc::<Done>::default();
    let (waker, waited) = (waker.clone(), Arc::clone(&done));
    let was_told = AtomicBool::new(false);
    console::listen(move |said| {
        let is_first = !was_told.swap(true, Ordering::SeqCst);
        waker.wake();
        match said {
            Said::End if is_first => {}
            Said::End => {
                say!("{last_word}");
                messages::finish();
                std::process::exit(Exit::Failed.code().into());
            }
            Said::Closing => waited.wait(),
        }
    })?;
    Ok(Listening { done })
}

/// Wakes `waker` at the second Ctrl-C: the first is for a command that is on the console as well.
pub(super) fn on_signals_beside_a_command(waker: &Waker) -> io::Result<Listening> {
    let done = Arc::<Done>::default();
    let (waker, waited) = (waker.clone(), Arc::clone(&done));
    let was_told = AtomicBool::new(false);
    console::listen(move |said| match said {
        Said::End if !was_told.swap(true, Ordering::SeqCst) => {}
        Said::End => waker.wake(),
        Said::Closing => {
            waker.wake();
            waited.wait();
        }
    })?;
    Ok(Listening { done })
}

impl Done {
    fn wait(&self) {
        let is_so = self.is_so.lock().unwrap_or_else(PoisonError::into_inner);
        // Done or too late, the process ends now.
        let _waited = self
            .changed
            .wait_timeout_while(is_so, CLOSING_TIME_MAX, |is_so| !*is_so);
    }
}

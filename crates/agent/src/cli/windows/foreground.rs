//! What the console says while a command runs in the foreground: Ctrl-C is for the command, which hears
//! it too.

use std::io;
use std::process::Child;

use systrail::sys::wake::Waker;

use super::stop;

/// The command while it runs.
#[derive(Clone, Debug, Default)]
pub(super) struct Running(());

impl Running {
    /// Starts the command.
    #[expect(clippy::unused_self, reason = "its twin sends signals on")]
    pub(super) fn begin(
        &self,
        mut start_fn: impl FnMut() -> io::Result<Child>,
    ) -> io::Result<Child> {
        start_fn()
    }

    /// Its end is waited for where its status is asked for.
    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "its twin must keep the id from being used again"
    )]
    pub(super) const fn wait(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Listens to the console: the second Ctrl-C ends a recording whose command does not heed the first.
pub(super) fn listen(_running: &Running, waker: &Waker) -> io::Result<stop::Listening> {
    stop::on_signals_beside_a_command(waker)
}

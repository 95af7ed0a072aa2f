//! What the service manager (systemd) is told while a recording runs, and what it asks for.

use std::time::Duration;

use sd_notify::NotifyState;

use super::console::say;

/// Half of what it waits for a ping; `None` where it wants none.
pub(super) fn ping_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

/// The recording makes progress.
pub(super) fn ping() {
    notify(NotifyState::Watchdog);
}

/// Every event from now on is seen.
pub(super) fn ready() {
    notify(NotifyState::Ready);
}

/// The recording ends.
pub(super) fn stopping() {
    notify(NotifyState::Stopping);
}

fn notify(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        say!("the service manager could not be told: {error}");
    }
}

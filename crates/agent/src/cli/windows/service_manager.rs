//! What the service manager is told while a recording runs as a service; as a program nobody is.

use std::sync::OnceLock;
use std::time::Duration;

use systrail::service::windows::Running;

use super::console::say;

static RUNNING: OnceLock<Running> = OnceLock::new();

/// From now on the service manager is told.
pub(super) fn attach(running: Running) {
    // A process is one service, and becomes so once.
    let _attached = RUNNING.set(running);
}

/// It wants no pings.
pub(super) const fn ping_interval() -> Option<Duration> {
    None
}

/// It wants no pings.
pub(super) const fn ping() {}

/// It asks for nothing to be read again.
pub(super) const fn reloading() {}

/// It asks for nothing to be read again.
pub(super) const fn reloaded(_status: &str) {}

/// Every event from now on is seen.
pub(super) fn ready() {
    if let Some(Err(error)) = RUNNING.get().map(|running| running.ready()) {
        say!("the service manager could not be told: {error}");
    }
}

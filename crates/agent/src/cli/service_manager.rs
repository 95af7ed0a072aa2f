//! What the service manager (systemd) is told while a recording runs, and what it asks for.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

use super::console::say;

/// Half of what it waits for a ping; `None` where it wants none.
pub(super) fn ping_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|timeout| timeout / 2)
}

/// The recording makes progress.
pub(super) fn ping() {
    notify(&[NotifyState::Watchdog]);
}

/// Every event from now on is seen.
pub(super) fn ready() {
    notify(&[NotifyState::Ready]);
}

/// A configuration is read again. Without the time systemd waits for the end of it in vain.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        Err(error) => say!("the service manager could not be told: {error}"),
    }
}

/// It was, and `status` is what is to be told of it; every event was seen meanwhile.
pub(super) fn reloaded(status: &str) {
    // A line is one thing that is told, and a path can have more of them in it.
    let status = status.replace('\n', " ");
    notify(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The recording ends.
pub(super) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = send(states) {
        say!("the service manager could not be told: {error}");
    }
}

/// How long a message may wait for room in the service manager's queue.
const SEND_TIME_MAX: Duration = Duration::from_secs(1);

/// Sends it, or fails where it would have to wait for long: a service manager that stands still must not
/// hold up what is recorded. `sd_notify` waits for ever, and takes every name for a path; one that begins
/// with `@` is of an abstract socket.
fn send(states: &[NotifyState<'_>]) -> io::Result<()> {
    let Some(socket_name) = env::var_os("NOTIFY_SOCKET") else {
        return Ok(());
    };
    let name = socket_name.as_bytes();
    let address = match name.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None if name.starts_with(b"/") => SocketAddr::from_pathname(&socket_name)?,
        None => return sd_notify::notify(states),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(SEND_TIME_MAX))?;
    socket.connect_addr(&address)?;
    let lines: Vec<String> = states.iter().map(ToString::to_string).collect();
    let _size = socket.send(lines.join("\n").as_bytes())?;
    Ok(())
}

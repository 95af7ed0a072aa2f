//! The agent's threads by name, as `ps -L`, `top -H` and a debugger show them.

use std::thread::Builder;

/// A thread to spawn, with the agent's prefix before `what` it does.
///
/// Linux cuts a name after 15 bytes, so two threads may not begin with the same six letters.
pub fn named(what: &str) -> Builder {
    Builder::new().name(format!("systrail-{what}"))
}

/// Drops what is large by a thread of its own, so that whoever has to go on does not wait for it; where
/// none can be started, here.
pub fn drop_beside<T: Send + 'static>(value: T) {
    // What could not be started has dropped it.
    let _started = named("drop").spawn(move || drop(value));
}

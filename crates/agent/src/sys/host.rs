//! The machine: its name and the id of this boot.

use std::io;
use std::sync::Arc;

use super::machine;

/// The host name, as `host` in every event.
pub fn name() -> Arc<str> {
    match machine::name() {
        Ok(name) => Arc::from(name),
        Err(error) => {
            tracing::warn!(%error, "the host name could not be read");
            Arc::from("localhost")
        }
    }
}

/// 128 bits that no other boot of any machine has, part of every process key.
pub fn boot_id() -> io::Result<[u8; 16]> {
    machine::boot_id()
}

//! What a start that failed leaves for the agent: its step and status, in a key of the registry that
//! does not outlive the machine's next start. The event log has them too, but nobody looks there,
//! and no program can tell which of its entries is of this start.

use event::control::{START_FAILURE, START_STATUS, START_STEP};
use nt::driver::{RegistryPath, StartError};
use nt::registry::{self, VolatileKey};

const KEY: [u16; START_FAILURE.len() + 1] = nt::string::utf_16(START_FAILURE);
const STEP: [u16; START_STEP.len() + 1] = nt::string::utf_16(START_STEP);
const STATUS: [u16; START_STATUS.len() + 1] = nt::string::utf_16(START_STATUS);

/// Removes what an earlier start left, so that what is there is always of the last one.
///
/// IRQL: `PASSIVE_LEVEL`.
pub(crate) fn forget(path: RegistryPath<'_>) {
    // What cannot be removed is no reason not to start; the agent looks after starts that fail only.
    let _status = registry::remove(path, &KEY);
}

/// Writes what failed, the step last: without it there is nothing to read.
///
/// IRQL: `PASSIVE_LEVEL`.
pub(crate) fn tell(path: RegistryPath<'_>, error: StartError) {
    let Ok(Some(key)) = VolatileKey::create(path, &KEY) else {
        return;
    };
    if key.set(&STATUS, error.status.0.cast_unsigned()).is_ok() {
        // Where this fails there is still the event log.
        let _status = key.set(&STEP, error.step);
    }
}

//! The mutexes of the emulator itself.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The mutex's data, also after a test has panicked with it.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

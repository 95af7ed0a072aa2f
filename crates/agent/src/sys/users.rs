//! Names of users, from the system's user database.

use nix::unistd::{Uid, User};

/// The name of a uid; `None` when there is none, or the database does not answer.
pub fn name_of_uid(user_id: u32) -> Option<String> {
    match User::from_uid(Uid::from_raw(user_id)) {
        Ok(user) => user.map(|user| user.name),
        Err(error) => {
            tracing::debug!(user_id, %error, "the user database did not answer");
            None
        }
    }
}

/// There are no SIDs on this system.
pub fn name_of_sid(_sid: &[u8]) -> Option<String> {
    None
}

/// Whether this machine knows the user; where it cannot tell, it may.
pub fn exists(name: &str) -> bool {
    !matches!(User::from_name(name), Ok(None))
}

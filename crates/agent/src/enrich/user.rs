//! Names for user ids.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a name, or the lack of one, is believed.
const AGE_MAX: Duration = Duration::from_mins(10);

/// The most user ids that are remembered. Beyond it all are forgotten and asked anew.
const COUNT_MAX: usize = 4_096;

/// Names by user id, from the system's user database.
///
/// The database may be a network away (NSS), so each id is asked at most once in `AGE_MAX`.
#[derive(Debug, Default)]
pub struct Users {
    names: HashMap<u32, (Option<Arc<str>>, Instant)>,
}

impl Users {
    /// The name of `user_id`, or `None` when the database has none.
    pub fn name(&mut self, user_id: u32) -> Option<Arc<str>> {
        let now = Instant::now();
        if let Some((name, asked)) = self.names.get(&user_id)
            && now.duration_since(*asked) < AGE_MAX
        {
            return name.clone();
        }
        if self.names.len() >= COUNT_MAX {
            self.names.clear();
        }
        let name = lookup(user_id);
        self.names.insert(user_id, (name.clone(), now));
        name
    }
}

#[cfg(target_os = "linux")]
fn lookup(user_id: u32) -> Option<Arc<str>> {
    use nix::unistd::{Uid, User};
    match User::from_uid(Uid::from_raw(user_id)) {
        Ok(user) => user.map(|user| Arc::from(user.name)),
        Err(error) => {
            tracing::debug!(user_id, %error, "the user database did not answer");
            None
        }
    }
}

#[cfg(not(target_os = "linux"))]
fn lookup(_user_id: u32) -> Option<Arc<str>> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_root_and_not_an_id_nobody_has() {
        let mut users = Users::default();
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(0).as_deref(), Some("root"));
        assert_eq!(users.name(3_999_999_999), None);
    }

    #[test]
    fn forgets_rather_than_grows() {
        let mut users = Users::default();
        let now = Instant::now();
        for id in 0..COUNT_MAX {
            users
                .names
                .insert(u32::try_from(id).unwrap() + 1, (None, now));
        }
        users.name(0);
        assert_eq!(users.names.len(), 1);
    }
}

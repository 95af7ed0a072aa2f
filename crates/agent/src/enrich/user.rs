//! Names for users.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use crate::sys::users;

/// How long a name, or the lack of one, is believed.
const AGE_MAX: Duration = Duration::from_mins(10);

/// The most users that are remembered. Beyond it all are forgotten and asked anew.
const COUNT_MAX: usize = 4_096;

/// Names by user, from the system's user database.
///
/// The database may be a network away (NSS, a domain controller), so each user is asked for at most
/// once in `AGE_MAX`, by the sensor's clock: the events bring its time, and reading another clock
/// for each of them would cost more than the answer.
#[derive(Debug, Default)]
pub struct Users {
    uids: Names<u32>,
    sids: Names<Box<[u8]>>,
}

impl Users {
    /// The name of a uid, or `None` when the database has none.
    pub fn name(&mut self, user_id: u32, now: u64) -> Option<Arc<str>> {
        self.uids.name(&user_id, now, |id| users::name_of_uid(*id))
    }

    /// The name of a SID in its binary form, or `None` when nobody knows one.
    pub fn name_of_sid(&mut self, sid: &[u8], now: u64) -> Option<Arc<str>> {
        self.sids.name(sid, now, users::name_of_sid)
    }
}

/// Names that were asked for, and when.
#[derive(Debug)]
struct Names<K>(HashMap<K, (Option<Arc<str>>, u64)>);

impl<K> Default for Names<K> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<K: Eq + Hash> Names<K> {
    fn name<Q>(
        &mut self,
        user: &Q,
        now: u64,
        lookup_fn: impl Fn(&Q) -> Option<String>,
    ) -> Option<Arc<str>>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned + ?Sized,
        Q::Owned: Into<K>,
    {
        if let Some((name, asked)) = self.0.get(user)
            && Duration::from_nanos(now.saturating_sub(*asked)) < AGE_MAX
        {
            return name.clone();
        }
        if self.0.len() >= COUNT_MAX {
            self.0.clear();
        }
        let name: Option<Arc<str>> = lookup_fn(user).map(Arc::from);
        self.0.insert(user.to_owned().into(), (name.clone(), now));
        name
    }
}

/// The text form of a SID as Windows stores it: revision, number of sub-authorities, the authority
/// in 6 bytes (big-endian), each sub-authority in 4 (little-endian). `None` when it is not one.
pub fn sid_text(sid: &[u8]) -> Option<Arc<str>> {
    let (&[revision, count, ref authority @ ..], rest) = sid.split_first_chunk::<8>()?;
    if rest.len() != usize::from(count) * 4 {
        return None;
    }
    let authority = authority
        .iter()
        .fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    let mut text = format!("S-{revision}-{authority}");
    for number in rest.as_chunks::<4>().0 {
        text.push('-');
        text.push_str(&u32::from_le_bytes(*number).to_string());
    }
    Some(Arc::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn names_root_and_not_an_id_nobody_has() {
        let mut users = Users::default();
        assert_eq!(users.name(0, 1).as_deref(), Some("root"));
        assert_eq!(users.name(0, 1).as_deref(), Some("root"));
        assert_eq!(users.name(3_999_999_999, 1), None);
    }

    #[test]
    fn forgets_rather_than_grows() {
        let mut users = Users::default();
        for id in 0..COUNT_MAX {
            let id = u32::try_from(id).unwrap() + 1;
            users.uids.0.insert(id, (None, 1));
        }
        users.name(0, 1);
        assert_eq!(users.uids.0.len(), 1);
    }

    #[test]
    fn a_sid_is_told_as_windows_tells_it() {
        let system = [1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0];
        assert_eq!(sid_text(&system).as_deref(), Some("S-1-5-18"));
        let administrators = [1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0];
        assert_eq!(sid_text(&administrators).as_deref(), Some("S-1-5-32-544"));
    }

    #[test]
    fn what_is_no_sid_is_refused() {
        assert_eq!(sid_text(&[]), None);
        assert_eq!(sid_text(&[1, 1, 0, 0, 0, 0, 0, 5]), None);
        assert_eq!(sid_text(&[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0, 0]), None);
        assert_eq!(sid_text(&[1, 255, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0]), None);
    }
}

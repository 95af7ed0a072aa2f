//! Names for users.

mod lookup;

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use foldhash::HashMap;

use self::lookup::{Answer, AskFn, Lookup};
use crate::sys::thread;
use crate::sys::users::{self, LocalUsers};

/// How long a name is believed.
const NAME_AGE_MAX: Duration = Duration::from_mins(10);

/// How long it is believed that there is no name: a user may be created at any time.
const NOBODY_AGE_MAX: Duration = Duration::from_mins(1);

/// How long a database that failed is left alone with the same question.
const FAILURE_AGE_MAX: Duration = Duration::from_secs(10);

/// The file of local users is looked at this often, when anybody asks for a user.
const LOCAL_AGE_MAX: Duration = Duration::from_secs(1);

/// The most users that are remembered. Beyond it all are forgotten and asked anew.
const COUNT_MAX: usize = 4_096;

/// What is known of a user's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// It.
    Is(Arc<str>),
    /// There is none.
    None,
    /// Who knows has not said yet.
    Unanswered,
}

/// Names by user: of `/etc/passwd` first, which is at hand and read again when it changes, then of
/// the system's user database.
///
/// The database may be a network away (NSS, a domain controller), so a thread asks it, for each user
/// once in a while. That while is reckoned by the sensor's clock: the events bring its time, and
/// reading another clock for each of them would cost more than the answer.
#[derive(Debug)]
pub struct Users {
    local: LocalUsers,
    /// When the local users were looked at.
    local_seen: Option<u64>,
    uids: Names<u32>,
    sids: Names<Box<[u8]>>,
}

impl Default for Users {
    fn default() -> Self {
        Self::with(
            LocalUsers::default(),
            Arc::new(|id| users::name_of_uid(*id)),
        )
    }
}

impl Users {
    fn with(local: LocalUsers, ask_fn: AskFn<u32>) -> Self {
        Self {
            local,
            local_seen: None,
            uids: Names::new(ask_fn),
            sids: Names::new(Arc::new(|sid| users::name_of_sid(sid))),
        }
    }

    /// The name of a uid.
    pub fn name(&mut self, user_id: u32, now: u64) -> Name {
        let is_recent = |seen: u64| is_younger(seen, LOCAL_AGE_MAX, now);
        if !self.local_seen.is_some_and(is_recent) {
            self.local_seen = Some(now);
            if self.local.refresh() {
                self.uids.expire();
            }
        }
        match self.local.name(user_id) {
            Some(name) => Name::Is(Arc::clone(name)),
            None => self.uids.name(&user_id, now),
        }
    }

    /// The name of a SID in its binary form.
    pub fn name_of_sid(&mut self, sid: &[u8], now: u64) -> Name {
        self.sids.name(sid, now)
    }
}

fn is_younger(then: u64, age: Duration, now: u64) -> bool {
    Duration::from_nanos(now.saturating_sub(then)) < age
}

/// Names that were asked for.
#[derive(Debug)]
struct Names<K> {
    entries: HashMap<K, Entry>,
    lookup: Lookup<K>,
}

#[derive(Debug)]
struct Entry {
    /// The last that was heard. It outlives its age until there is another answer.
    name: Name,
    /// When, and how long it is believed; `None` when it is to be asked anew.
    heard: Option<(u64, Duration)>,
    /// Whether the question is on its way.
    is_asked: bool,
}

impl<K: Clone + Eq + Hash + Send + 'static> Names<K> {
    fn new(ask_fn: AskFn<K>) -> Self {
        Self {
            entries: HashMap::default(),
            lookup: Lookup::new(ask_fn),
        }
    }

    fn name<Q>(&mut self, user: &Q, now: u64) -> Name
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned + ?Sized,
        Q::Owned: Into<K>,
    {
        if let Some(name) = self.recent(user, now) {
            return name;
        }
        while let Some((user, answer)) = self.lookup.answer() {
            hear(&mut self.entries, &user, answer, now);
        }
        if let Some(name) = self.recent(user, now) {
            return name;
        }
        if self.ask(user) {
            let entries = &mut self.entries;
            self.lookup.wait(|heard, answer| {
                hear(entries, &heard, answer, now);
                heard.borrow() == user
            });
        }
        let entry = self.entries.get(user);
        entry.map_or(Name::Unanswered, |entry| entry.name.clone())
    }

    /// What was heard not too long ago.
    fn recent<Q: Eq + Hash + ?Sized>(&self, user: &Q, now: u64) -> Option<Name>
    where
        K: Borrow<Q>,
    {
        let entry = self.entries.get(user)?;
        let (heard, age) = entry.heard?;
        is_younger(heard, age, now).then(|| entry.name.clone())
    }

    /// Asks for a user unless that was done. Tells whether there will be an answer.
    fn ask<Q>(&mut self, user: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned + ?Sized,
        Q::Owned: Into<K>,
    {
        if self.entries.get(user).is_some_and(|entry| entry.is_asked) {
            return true;
        }
        let key: K = user.to_owned().into();
        if !self.lookup.ask(key.clone()) {
            return false;
        }
        if self.entries.len() >= COUNT_MAX {
            self.entries.clear();
        }
        let entry = self.entries.entry(key).or_insert(Entry {
            name: Name::Unanswered,
            heard: None,
            is_asked: true,
        });
        entry.is_asked = true;
        true
    }

    /// Has everybody asked for anew.
    fn expire(&mut self) {
        for entry in self.entries.values_mut() {
            entry.heard = None;
        }
    }
}

/// Takes an answer. One to a question that was forgotten meanwhile is forgotten too. A database that
/// fails takes no name away that it gave.
fn hear<K: Eq + Hash>(entries: &mut HashMap<K, Entry>, user: &K, answer: Answer, now: u64) {
    let Some(entry) = entries.get_mut(user) else {
        return;
    };
    entry.is_asked = false;
    let age = match answer {
        Ok(Some(name)) => {
            entry.name = Name::Is(Arc::from(name));
            NAME_AGE_MAX
        }
        Ok(None) => {
            entry.name = Name::None;
            NOBODY_AGE_MAX
        }
        Err(error) => {
            tracing::debug!(%error, "the user database did not answer");
            FAILURE_AGE_MAX
        }
    };
    entry.heard = Some((now, age));
}

/// How long the user database may take in all to say which names of the rules it knows.
const EXISTS_PATIENCE: Duration = Duration::from_secs(2);

/// Tells whether this machine knows a user. One of whom the database does not say so in time may be
/// known.
pub fn exists_fn() -> impl Fn(&str) -> bool {
    let deadline = Instant::now() + EXISTS_PATIENCE;
    move |name| exists_until(deadline, name, users::exists)
}

fn exists_until(deadline: Instant, name: &str, ask_fn: fn(&str) -> bool) -> bool {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return true;
    }
    let (answer, answered) = sync_channel(1);
    let name = name.to_owned();
    let asked = thread::named("names").spawn(move || {
        // Nobody waits any more when it cannot be sent.
        let _sent = answer.send(ask_fn(&name));
    });
    asked.is_err() || answered.recv_timeout(left).unwrap_or(true)
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
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[cfg(target_os = "linux")]
    #[test]
    fn names_root_and_not_an_id_nobody_has() {
        let mut users = Users::default();
        assert_eq!(users.name(0, 1), Name::Is("root".into()));
        assert_eq!(users.name(0, 1), Name::Is("root".into()));
        assert!(!matches!(users.name(3_999_999_999, 1), Name::Is(_)));
    }

    fn is(name: &str) -> Name {
        Name::Is(Arc::from(name))
    }

    /// A database that says what it is told to, when it is told to.
    fn told() -> (Names<u32>, Sender<Answer>, Receiver<u32>) {
        let (answers, told) = channel::<Answer>();
        let (asked, questions) = channel();
        let told = Mutex::new(told);
        let names = Names::new(Arc::new(move |id: &u32| {
            asked.send(*id).unwrap();
            told.lock().unwrap().recv().unwrap_or(Ok(None))
        }));
        (names, answers, questions)
    }

    /// Asks until the answer that is on its way has come.
    fn settled(names: &mut Names<u32>, user: u32, now: u64) -> Name {
        let deadline = Instant::now() + Duration::from_mins(1);
        loop {
            let name = names.name(&user, now);
            if names.recent(&user, now).is_some() || Instant::now() > deadline {
                return name;
            }
            std::thread::yield_now();
        }
    }

    // A user database that hung (LDAP, sssd) stopped the stream: names were asked for on its path.
    #[test]
    fn a_database_that_hangs_holds_nobody_up_and_the_name_comes_later() {
        let (mut names, answers, _questions) = told();
        let began = Instant::now();
        for user in 1..=5_000 {
            assert_eq!(names.name(&user, 1), Name::Unanswered);
        }
        // One was waited for; 5,000 times the patience would be minutes.
        assert!(
            began.elapsed() < Duration::from_secs(20),
            "{:?}",
            began.elapsed()
        );
        assert!(names.entries.len() <= COUNT_MAX);
        answers.send(Ok(Some("late".to_owned()))).unwrap();
        assert_eq!(settled(&mut names, 1, 1), is("late"));
    }

    #[test]
    fn a_database_that_is_slow_holds_the_stream_up_by_its_share_alone() {
        let mut names: Names<u32> = Names::new(Arc::new(|_: &u32| {
            std::thread::sleep(lookup::PATIENCE * 4 / 5);
            Ok(Some("slow".to_owned()))
        }));
        let began = Instant::now();
        let mut named_count = 0;
        for user in 0..200 {
            named_count += usize::from(names.name(&user, 1) == is("slow"));
        }
        assert!(named_count < 100, "{named_count}");
        // All of them would have taken eight seconds.
        assert!(
            began.elapsed() < Duration::from_secs(4),
            "{:?}",
            began.elapsed()
        );
    }

    #[test]
    fn a_database_that_answers_at_once_names_the_first_event() {
        let mut names: Names<u32> = Names::new(Arc::new(|id: &u32| Ok(Some(format!("u{id}")))));
        assert_eq!(settled(&mut names, 7, 1), is("u7"));
        assert_eq!(settled(&mut names, 8, 1), is("u8"));
    }

    #[test]
    fn a_name_is_asked_for_again_after_its_age_and_kept_while_nobody_answers() {
        let (mut names, answers, questions) = told();
        answers.send(Ok(Some("before".to_owned()))).unwrap();
        assert_eq!(settled(&mut names, 7, 1), is("before"));
        assert_eq!(names.name(&7, 599 * SECOND), is("before"));
        let later = 601 * SECOND;
        assert_eq!(names.name(&7, later), is("before"));
        answers
            .send(Err(std::io::ErrorKind::TimedOut.into()))
            .unwrap();
        assert_eq!(settled(&mut names, 7, later), is("before"));
        answers.send(Ok(Some("renamed".to_owned()))).unwrap();
        assert_eq!(settled(&mut names, 7, later + 11 * SECOND), is("renamed"));
        assert_eq!(questions.try_iter().collect::<Vec<_>>(), [7, 7, 7]);
    }

    #[test]
    fn that_there_is_no_name_is_not_believed_for_long() {
        let (mut names, answers, _questions) = told();
        answers.send(Ok(None)).unwrap();
        assert_eq!(settled(&mut names, 7, 1), Name::None);
        assert_eq!(names.name(&7, 59 * SECOND), Name::None);
        answers.send(Ok(Some("newcomer".to_owned()))).unwrap();
        assert_eq!(settled(&mut names, 7, 61 * SECOND), is("newcomer"));
    }

    #[test]
    fn a_failure_is_not_the_word_that_there_is_no_name() {
        let (mut names, answers, _questions) = told();
        answers
            .send(Err(std::io::ErrorKind::TimedOut.into()))
            .unwrap();
        assert_eq!(settled(&mut names, 7, 1), Name::Unanswered);
    }

    #[test]
    fn forgets_rather_than_grows() {
        let (mut names, _answers, _questions) = told();
        for user in 0..COUNT_MAX {
            let entry = Entry {
                name: Name::None,
                heard: Some((1, NOBODY_AGE_MAX)),
                is_asked: false,
            };
            names
                .entries
                .insert(u32::try_from(user).unwrap() + 1, entry);
        }
        names.name(&0, 1);
        assert_eq!(names.entries.len(), 1);
    }

    // A uid that was seen before it had a name had none for ten minutes.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_user_who_is_created_or_renamed_meanwhile_has_a_name_from_then_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwd");
        std::fs::write(&path, "root:x:0:0:::\n").unwrap();
        let mut users = Users::with(LocalUsers::of_file(&path), Arc::new(|_| Ok(None)));
        assert_eq!(users.name(0, SECOND), is("root"));
        assert!(!matches!(users.name(5, SECOND), Name::Is(_)));
        std::fs::write(&path, "root:x:0:0:::\nnewcomer:x:5:5:::\n").unwrap();
        assert!(
            !matches!(users.name(5, SECOND + 1), Name::Is(_)),
            "not looked at for each event"
        );
        assert_eq!(users.name(5, 2 * SECOND), is("newcomer"));
        std::fs::write(&path, "root:x:0:0:::\nrenamed:x:5:5:::\n").unwrap();
        assert_eq!(users.name(5, 3 * SECOND), is("renamed"));
        std::fs::write(&path, "root:x:0:0:::\n").unwrap();
        assert!(!matches!(users.name(5, 4 * SECOND), Name::Is(_)));
    }

    // With a rule that names a user the recording did not begin while the database hung.
    #[test]
    fn a_user_of_whom_nothing_is_said_in_time_may_exist() {
        let hangs: fn(&str) -> bool = |_| loop {
            std::thread::park();
        };
        let deadline = Instant::now() + Duration::from_millis(10);
        assert!(exists_until(deadline, "anybody", hangs));
        assert!(
            exists_until(deadline, "anybody", |_| false),
            "the time is for all together"
        );
        let deadline = Instant::now() + Duration::from_mins(1);
        assert!(!exists_until(deadline, "anybody", |_| false));
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

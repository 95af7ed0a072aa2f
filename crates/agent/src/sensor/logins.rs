//! Who logged in, asked of `/proc`: a process writes that into its own `loginuid`, and the kernel tells
//! nobody. What a process had when it was last asked is passed on, so a child is told with it only
//! where somebody still says so.

use std::collections::HashMap;

use crate::sys::proc;

/// What was asked.
#[derive(Debug)]
pub(super) struct Logins {
    /// The login of the process that had an id at a time, while it is there.
    ask_fn: fn(u32, u64) -> Option<u32>,
    /// By process: what it has said since [`begin`](Self::begin).
    said: HashMap<u32, Option<u32>>,
    /// Processes, and what each is known to have since.
    learned: Vec<(u32, u32)>,
}

impl Default for Logins {
    fn default() -> Self {
        Self::new(proc::login_as_of)
    }
}

impl Logins {
    fn new(ask_fn: fn(u32, u64) -> Option<u32>) -> Self {
        Self {
            ask_fn,
            said: HashMap::new(),
            learned: Vec::new(),
        }
    }

    /// All that is asked about from now on has happened already, so each process is asked once.
    pub(super) fn begin(&mut self) {
        self.said.clear();
    }

    /// What a process had that was created at `time`. Its creator was last known to have
    /// `inherited`, and has nothing else where it, or the process, still says so.
    pub(super) fn at_start(
        &mut self,
        process_id: u32,
        creator_process_id: u32,
        inherited: u32,
        time: u64,
    ) -> Option<u32> {
        let creator = self.ask(creator_process_id, time);
        if creator == Some(inherited) {
            return creator;
        }
        let login = self.ask(process_id, time)?;
        self.learned.push((process_id, login));
        // The creator alone may have changed it afterwards.
        if creator == Some(login) {
            self.learned.push((creator_process_id, login));
        }
        Some(login)
    }

    /// What a process had when it executed a program at `time`; `read` is what was read with that.
    pub(super) fn at_exec(
        &mut self,
        process_id: u32,
        known: u32,
        read: Option<u32>,
        time: u64,
    ) -> Option<u32> {
        if let Some(read) = read {
            self.learned.push((process_id, read));
            return Some(read);
        }
        // It may have executed another program since.
        let said = self.ask(process_id, time)?;
        (said == known).then_some(said)
    }

    /// Hands over what was learned.
    pub(super) fn learned(&mut self) -> impl Iterator<Item = (u32, u32)> {
        self.learned.drain(..)
    }

    fn ask(&mut self, process_id: u32, time: u64) -> Option<u32> {
        let ask_fn = self.ask_fn;
        let said = self.said.entry(process_id);
        *said.or_insert_with(|| ask_fn(process_id, time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GONE: u32 = 9;

    /// Each process says its own id, and one is gone.
    fn logins() -> Logins {
        Logins::new(|process_id, _| (process_id != GONE).then_some(process_id))
    }

    fn learned(mut logins: Logins) -> Vec<(u32, u32)> {
        logins.learned().collect()
    }

    #[test]
    fn a_child_has_what_its_creator_still_has() {
        let mut logins = logins();
        assert_eq!(logins.at_start(GONE, 5, 5, 1), Some(5));
        assert_eq!(learned(logins), []);
    }

    #[test]
    fn a_child_is_asked_where_its_creator_has_another_or_is_gone() {
        for creator in [5, GONE] {
            let mut logins = logins();
            assert_eq!(logins.at_start(6, creator, 7, 1), Some(6));
            assert_eq!(learned(logins), [(6, 6)]);
        }
        let mut logins = Logins::new(|_, _| Some(1000));
        assert_eq!(logins.at_start(6, 5, 7, 1), Some(1000));
        assert_eq!(learned(logins), [(6, 1000), (5, 1000)]);
    }

    #[test]
    fn nobody_knows_that_of_a_child_which_is_gone_as_its_creator_or_when_that_has_another() {
        let mut logins = logins();
        assert_eq!(logins.at_start(GONE, 5, 7, 1), None);
        assert_eq!(logins.at_start(GONE, GONE, 7, 1), None);
        assert_eq!(learned(logins), []);
    }

    #[test]
    fn what_was_read_with_the_program_counts_and_else_what_is_still_so() {
        let mut logins = logins();
        assert_eq!(logins.at_exec(5, 7, Some(8), 1), Some(8));
        assert_eq!(logins.at_exec(5, 5, None, 1), Some(5));
        assert_eq!(logins.at_exec(5, 7, None, 1), None);
        assert_eq!(logins.at_exec(GONE, 7, None, 1), None);
        assert_eq!(learned(logins), [(5, 8)]);
    }

    #[test]
    fn a_process_is_asked_once_until_more_happens() {
        let mut logins = Logins::new(|_, time| u32::try_from(time).ok());
        assert_eq!(logins.at_start(6, 5, 1, 1), Some(1));
        assert_eq!(logins.at_start(7, 5, 1, 2), Some(1));
        logins.begin();
        assert_eq!(logins.at_start(8, 5, 2, 2), Some(2));
    }
}

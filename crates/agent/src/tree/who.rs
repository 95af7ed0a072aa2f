//! Which process is meant: one key, or a process id that may have been used many times.

use std::str::FromStr;

use event::ProcessKey;

use super::{Process, draw::state};
use crate::shown::date_and_time;
use crate::store::Window;
use crate::trail::Time;

/// A process as it is named on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// Every process that had this id.
    Id(u32),
    /// The one with this key.
    Key(ProcessKey),
}

impl FromStr for Who {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(key) = ProcessKey::from_hex(text) {
            return Ok(Self::Key(key));
        }
        text.parse()
            .map(Self::Id)
            .map_err(|_no_number| "it must be a process id or a key of 16 hex digits".to_owned())
    }
}

impl Who {
    /// Whether `process_id` or `process_key` may be meant.
    pub fn may_be(self, process_id: u32, process_key: ProcessKey) -> bool {
        match self {
            Self::Id(id) => id == process_id,
            Self::Key(key) => key.agrees_with(process_key),
        }
    }

    /// Tells which of `processes` are meant: of a key the very one, or, where there is none, those
    /// that agree. Who computed the key from `/proc` does not know the whole of it.
    pub fn among(self, processes: &[Process]) -> impl Fn(&Process) -> bool {
        let very = |key| processes.iter().any(|one| one.process_key == key);
        let has_very = matches!(self, Self::Key(key) if very(key));
        move |one: &Process| match self {
            Self::Key(key) if has_very => key == one.process_key,
            _ => self.may_be(one.process_id, one.process_key),
        }
    }

    /// The one process that is meant: of several with the id the one that was there in `span`.
    pub fn find(self, processes: &[Process], span: Span) -> Result<&Process, NotOne> {
        let is_named = self.among(processes);
        let named: Vec<&Process> = processes.iter().filter(|one| is_named(one)).collect();
        let then = |process: &&&Process| process.was_there(span.first, span.last);
        let there: Vec<&Process> = named.iter().filter(then).copied().collect();
        match there[..] {
            [process] => Ok(process),
            [] if named.is_empty() => Err(NotOne::Nobody(self)),
            [] => Err(NotOne::NotThen(candidates(&named))),
            _ => Err(NotOne::Several(candidates(&there))),
        }
    }
}

/// From a first moment to a last, both in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    first: Time,
    last: Time,
}

impl Span {
    /// All of the time there is.
    pub const ALWAYS: Self = Self {
        first: Time(i64::MIN),
        last: Time(i64::MAX),
    };

    /// The moment `at`, else the time of a window.
    pub fn new(at: Option<Time>, window: &Window) -> Self {
        let last = window.until.map(|until| Time(until.0.saturating_sub(1)));
        Self {
            first: at.or(window.since).unwrap_or(Self::ALWAYS.first),
            last: at.or(last).unwrap_or(Self::ALWAYS.last),
        }
    }
}

/// Why no one process is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOne {
    /// The trail has none of that name.
    #[error("the trail has no {}", name(*.0))]
    Nobody(Who),
    /// The machine runs none of that name now.
    #[error("no {} runs now; look for one that has ended with --since, --store or --log", name(*.0))]
    NotRunning(Who),
    /// None of that name was there then.
    #[error("it was not there at that time; these were at others:\n{0}")]
    NotThen(String),
    /// Several have had the id.
    #[error("several processes have had that id; name one by its key or say --at:\n{0}")]
    Several(String),
}

fn name(who: Who) -> String {
    match who {
        Who::Id(id) => format!("process {id}"),
        Who::Key(key) => format!("process with the key {key}"),
    }
}

/// A line a process: key, times, end, title.
fn candidates(processes: &[&Process]) -> String {
    /// More than anybody reads.
    const TOLD_MAX: usize = 20;
    let mut out = Vec::new();
    for process in processes.iter().take(TOLD_MAX) {
        let begins = date_and_time(process.begin());
        let (key, state) = (process.process_key, state(process));
        let mut row = crate::shown::Row::new(&mut out, Some(100));
        row.text(&format!(
            "  {key}  {begins}  {state:<10}  {}",
            process.title()
        ));
        row.end();
    }
    if let Some(more) = processes
        .len()
        .checked_sub(TOLD_MAX)
        .filter(|more| *more > 0)
    {
        out.extend_from_slice(format!("  and {more} more\n").as_bytes());
    }
    let text = String::from_utf8_lossy(&out);
    text.trim_end_matches('\n').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trail::{Body, Event, Further, Origin};
    use crate::tree::Tree;

    fn started(process_key: ProcessKey) -> Event {
        Event {
            sequence: 1,
            time: Time(1),
            origin: Origin::of_host("atlas"),
            process_id: 7,
            process_key,
            body: Body::ProcessStart(Box::default()),
            kept_by: None,
            truncated: Vec::new(),
            missing: Vec::new(),
            further: Further::default(),
        }
    }

    #[test]
    fn the_key_of_a_tick_names_those_that_started_in_it_unless_it_is_one_itself() {
        let tick = ProcessKey::new([0; 16], 7, 3);
        let (first, second) = (tick.with_offset(1_000), tick.with_offset(2_000));
        let mut tree = Tree::default();
        let find = |tree: &Tree, key| {
            let found = Who::Key(key).find(tree.processes(), Span::ALWAYS);
            found.map(|process| process.process_key)
        };
        tree.add(&started(first)).unwrap();
        assert_eq!(find(&tree, tick), Ok(first));
        tree.add(&started(second)).unwrap();
        assert!(matches!(find(&tree, tick), Err(NotOne::Several(_))));
        assert_eq!(find(&tree, second), Ok(second));
        tree.add(&started(tick)).unwrap();
        assert_eq!(find(&tree, tick), Ok(tick));
    }
}

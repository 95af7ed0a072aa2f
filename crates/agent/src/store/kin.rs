//! `descendants(key)` and `ancestors(key)`: who is below a process, and above it.
//!
//! Table-valued functions of SQL. A recursive query over `processes` asks every segment once for every
//! process it comes to; here each segment is asked once for the pairs of parent and child it has.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, OnceLock};

use event::ProcessKey;
use rusqlite::types::ValueRef;
use rusqlite::vtab::{IndexConstraintOp, IndexInfo};
use rusqlite::{Connection, Error, Result};

use super::segments::Segments;
use super::union::in_segment;
use super::views::render;
use super::virtual_table::{self, Cursor, Table};
use crate::trail::json;

/// The columns, before that of the argument.
const COLUMNS: [&str; 3] = ["process_key TEXT", "process_id INTEGER", "depth INTEGER"];

/// The column that the argument is, which `SELECT *` does not show.
const ARGUMENT: usize = COLUMNS.len();

/// What a process's pair takes in memory.
const PAIR_SIZE: usize = 64;

/// Which way a function goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Down,
    Up,
}

/// Makes both functions in `connection`.
pub(super) fn create(connection: &Connection, segments: &Arc<Segments>) -> Result<()> {
    let pairs = Arc::<OnceLock<Pairs>>::default();
    for (name, way) in [("descendants", Way::Down), ("ancestors", Way::Up)] {
        let kin = Kin {
            name,
            way,
            segments: Arc::clone(segments),
            pairs: Arc::clone(&pairs),
        };
        virtual_table::add(connection, name, kin)?;
    }
    Ok(())
}

/// A function.
pub(super) struct Kin {
    name: &'static str,
    way: Way,
    segments: Arc<Segments>,
    /// Read when they are needed first; a question is of one moment.
    pairs: Arc<OnceLock<Pairs>>,
}

/// A process.
type Member = (ProcessKey, Option<u32>);

/// Who is whose parent.
#[derive(Debug, Default)]
struct Pairs {
    parents: HashMap<ProcessKey, Member>,
    children: HashMap<ProcessKey, Vec<Member>>,
}

impl Pairs {
    fn read(segments: &Segments) -> Result<Self> {
        let mut pairs = Self::default();
        for segment in 0..segments.len() {
            let Some((_, shape)) = segments.shape(segment) else {
                continue;
            };
            let of_table = |table: &str| {
                format!(
                    "SELECT q.process_key, q.process_id, p.process_key, p.process_id \
                     FROM @{table} AS s JOIN @process AS q ON q.id = s.process \
                     JOIN @process AS p ON p.id = s.parent"
                )
            };
            let sql = ["process_start", "process_carried"].map(of_table);
            let sql = render(&sql.join(" UNION ALL "), |table| in_segment(shape, table));
            let mut of_segment = Vec::new();
            let mut stop = None;
            segments.ask(segment, |connection| {
                let mut statement = connection.prepare_cached(&sql)?;
                let mut rows = statement.query([])?;
                while let Some(row) = rows.next()? {
                    let member = |at: usize| -> Result<Option<Member>> {
                        let key = row.get_ref(at)?;
                        let key = key.as_str_or_null().ok().flatten();
                        let id = row.get(at + 1).unwrap_or(None);
                        Ok(key.and_then(ProcessKey::from_hex).map(|key| (key, id)))
                    };
                    if let (Some(child), Some(parent)) = (member(0)?, member(2)?) {
                        // It is no fault of the segment.
                        if let Err(why) = segments.guard().keep(PAIR_SIZE) {
                            stop = Some(why);
                            break;
                        }
                        of_segment.push((child, parent));
                    }
                }
                Ok(())
            })?;
            if let Some(why) = stop {
                return Err(Error::ModuleError(why.to_string()));
            }
            // What a segment told before it turned out damaged stays told.
            for (child, parent) in of_segment {
                pairs.add(child, parent);
            }
        }
        Ok(pairs)
    }

    /// A process that several segments tell of has one parent all the same.
    fn add(&mut self, child: Member, parent: Member) {
        if self.parents.insert(child.0, parent).is_none() {
            self.children.entry(parent.0).or_default().push(child);
        }
    }

    /// Those below or above, the nearest first, each once: a loop of parents ends.
    fn of(&self, key: ProcessKey, way: Way) -> Vec<(Member, i64)> {
        let mut found = Vec::new();
        let mut seen = HashSet::from([key]);
        let mut at = vec![key];
        for depth in 1.. {
            let mut next = Vec::new();
            for key in at {
                let members: &[Member] = match way {
                    Way::Down => self.children.get(&key).map(Vec::as_slice),
                    Way::Up => self.parents.get(&key).map(std::slice::from_ref),
                }
                .unwrap_or_default();
                for member in members {
                    if seen.insert(member.0) {
                        found.push((*member, depth));
                        next.push(member.0);
                    }
                }
            }
            if next.is_empty() {
                break;
            }
            at = next;
        }
        found
    }
}

impl Table for Kin {
    type Cursor = Walk;

    fn declaration(&self) -> String {
        format!("CREATE TABLE it({}, argument HIDDEN)", COLUMNS.join(", "))
    }

    fn plan(&self, info: &mut IndexInfo) -> Result<bool> {
        let is_argument = |column: i32| usize::try_from(column) == Ok(ARGUMENT);
        let mut has_argument = false;
        let mut place = None;
        for (n, constraint) in info.constraints().enumerate() {
            let is_equal = constraint.operator() == IndexConstraintOp::SQLITE_INDEX_CONSTRAINT_EQ;
            if is_argument(constraint.column()) && is_equal {
                has_argument = true;
                if constraint.is_usable() {
                    place = Some(n);
                }
            }
        }
        if !has_argument {
            let name = self.name;
            return Err(Error::ModuleError(format!(
                "{name} needs the key of a process: {name}('64d8d5bc4412da6f')"
            )));
        }
        // In this order of a join the argument is not known yet: another is to be tried.
        let Some(place) = place else {
            return Ok(false);
        };
        let mut usage = info.constraint_usage(place);
        usage.set_argv_index(1);
        usage.set_omit(true);
        info.set_estimated_cost(1_000.0);
        info.set_estimated_rows(100);
        Ok(true)
    }

    fn cursor(self: &Arc<Self>) -> Walk {
        Walk {
            kin: Arc::clone(self),
            found: Vec::new(),
            at: 0,
            argument: Vec::new(),
            digits: [b'0'; 16],
        }
    }
}

/// A place among those that were found.
pub(super) struct Walk {
    kin: Arc<Kin>,
    found: Vec<(Member, i64)>,
    at: usize,
    /// Whose kin they are, as it was said: SQLite may compare it once more.
    argument: Vec<u8>,
    /// The key of the member it is at.
    digits: [u8; 16],
}

impl Walk {
    fn show(&mut self) {
        if let Some(((key, _), _)) = self.found.get(self.at) {
            self.digits = json::hex_digits(key.0);
        }
    }
}

impl Cursor for Walk {
    fn begin(&mut self, _plan: &str, values: &mut dyn Iterator<Item = ValueRef<'_>>) -> Result<()> {
        self.at = 0;
        self.found.clear();
        let key = match values.next() {
            // Of nobody there is nobody: so a join answers where a parent is not known.
            None | Some(ValueRef::Null) => return Ok(()),
            Some(ValueRef::Text(text)) => {
                text.clone_into(&mut self.argument);
                str::from_utf8(text).ok().and_then(ProcessKey::from_hex)
            }
            Some(_) => None,
        };
        let Some(key) = key else {
            let name = self.kin.name;
            return Err(Error::ModuleError(format!(
                "{name} needs the key of a process, which has 16 hex digits"
            )));
        };
        let pairs = if let Some(pairs) = self.kin.pairs.get() {
            pairs
        } else {
            let pairs = Pairs::read(&self.kin.segments)?;
            self.kin.pairs.get_or_init(|| pairs)
        };
        self.found = pairs.of(key, self.kin.way);
        self.show();
        Ok(())
    }

    fn next(&mut self) -> Result<()> {
        self.at += 1;
        self.show();
        Ok(())
    }

    fn is_done(&self) -> bool {
        self.at >= self.found.len()
    }

    fn cell(&self, column: usize) -> ValueRef<'_> {
        let Some(((_, id), depth)) = self.found.get(self.at) else {
            return ValueRef::Null;
        };
        match column {
            0 => ValueRef::Text(&self.digits),
            1 => id.map_or(ValueRef::Null, |id| ValueRef::Integer(id.into())),
            2 => ValueRef::Integer(*depth),
            _ => ValueRef::Text(&self.argument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(list: &[(u64, u64)]) -> Pairs {
        let member = |key: u64| (ProcessKey(key), u32::try_from(key).ok());
        let mut pairs = Pairs::default();
        for (child, parent) in list {
            pairs.add(member(*child), member(*parent));
        }
        pairs
    }

    fn kin(pairs: &Pairs, key: u64, way: Way) -> Vec<(u64, i64)> {
        let found = pairs.of(ProcessKey(key), way).into_iter();
        found.map(|((key, _), depth)| (key.0, depth)).collect()
    }

    #[test]
    fn each_is_found_once_the_nearest_first() {
        let pairs = pairs(&[(2, 1), (3, 1), (4, 2), (5, 4), (4, 2)]);
        assert_eq!(kin(&pairs, 1, Way::Down), [(2, 1), (3, 1), (4, 2), (5, 3)]);
        assert_eq!(kin(&pairs, 5, Way::Up), [(4, 1), (2, 2), (1, 3)]);
        assert_eq!(kin(&pairs, 3, Way::Down), []);
        assert_eq!(kin(&pairs, 77, Way::Up), []);
    }

    #[test]
    fn a_loop_of_parents_ends() {
        let own = pairs(&[(1, 1)]);
        assert_eq!(kin(&own, 1, Way::Down), []);
        assert_eq!(kin(&own, 1, Way::Up), []);
        let three = pairs(&[(1, 2), (2, 3), (3, 1)]);
        assert_eq!(kin(&three, 1, Way::Down), [(3, 1), (2, 2)]);
        assert_eq!(kin(&three, 1, Way::Up), [(2, 1), (3, 2)]);
    }
}

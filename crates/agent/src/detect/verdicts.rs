//! What the rules said of a program before. A machine runs the same commands again and again; rules that
//! look at nothing but what is run, and by whom, say the same of it each time.

use std::collections::HashMap;

use foldhash::fast::RandomState;
use rsigma_eval::EventValue;

use super::view::View;

/// Bytes of what was looked at that are remembered; then all is forgotten.
const SIZE_MAX: usize = 2 << 20;

/// What is looked at of one event; a longer one is asked about each time.
const KEY_SIZE_MAX: usize = 4 << 10;

/// What an entry takes beside its bytes.
const ENTRY_SIZE: usize = 64;

/// What the rules of one log source said, by all that they looked at.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    known: HashMap<Box<[u8]>, Box<[usize]>, RandomState>,
    size: usize,
    /// The key of the event at hand.
    key: Vec<u8>,
}

impl Verdicts {
    /// What was said of such an event; `None` where nothing was. The event is the one at hand from then on.
    pub(super) fn of(&mut self, view: &View<'_>, columns: &[usize]) -> Option<&[usize]> {
        self.key.clear();
        for column in columns {
            let column = view.columns.get(*column);
            let value = column.and_then(|column| (column.read)(view.event));
            put(value.as_ref(), &mut self.key);
            if self.key.len() > KEY_SIZE_MAX {
                return None;
            }
        }
        self.known.get(&*self.key).map(|verdict| &**verdict)
    }

    /// Remembers what was said of the event at hand.
    pub(super) fn remember(&mut self, matched: &[usize]) {
        if self.key.len() > KEY_SIZE_MAX {
            return;
        }
        let size = self.key.len() + size_of_val(matched) + ENTRY_SIZE;
        if self.size + size > SIZE_MAX {
            self.forget();
        }
        self.size += size;
        self.known
            .insert(self.key.as_slice().into(), matched.into());
    }

    /// Forgets everything.
    pub(super) fn forget(&mut self) {
        self.known.clear();
        self.size = 0;
    }
}

/// Appends a value so that no two lists of values give the same bytes.
fn put(value: Option<&EventValue<'_>>, key: &mut Vec<u8>) {
    match value {
        None => key.push(0),
        Some(EventValue::Str(text)) => {
            key.push(1);
            put_count(text.len(), key);
            key.extend_from_slice(text.as_bytes());
        }
        Some(EventValue::Int(number)) => {
            key.push(2);
            key.extend_from_slice(&number.to_le_bytes());
        }
        Some(EventValue::Array(values)) => {
            key.push(3);
            put_count(values.len(), key);
            for value in values {
                put(Some(value), key);
            }
        }
        // No column gives another.
        Some(other) => {
            key.push(4);
            key.extend_from_slice(format!("{other:?}").as_bytes());
        }
    }
}

fn put_count(count: usize, key: &mut Vec<u8>) {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    key.extend_from_slice(&count.to_le_bytes());
}

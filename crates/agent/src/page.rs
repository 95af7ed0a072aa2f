//! What the pages of processes have in common, that of a job and those of `systrail web`: how a process is
//! told to a script, and the parts of the pages that show it.
//!
//! Texts are somebody else's. They are safe to look at when they come from here, and a page makes text of
//! them and nothing else.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use event::ProcessKey;
use serde::{Serialize, Serializer};
use sha2::{Digest as _, Sha256};

use crate::shown::safe;
use crate::trail::{Text, Time};
use crate::tree::{Process, Tree, state};

/// The common part of the pages' style.
pub(crate) const STYLE: &str = include_str!("page/base.css");
/// The common part of their scripts.
pub(crate) const SCRIPT: &str = include_str!("page/base.js");
/// The timeline, which needs that part.
pub(crate) const TIMELINE: &str = include_str!("page/timeline.js");

/// By which a page's policy (`Content-Security-Policy`) knows a block of it.
pub(crate) fn policy_hash(block: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(block)))
}

/// Data as it stands in a block of a page: no character in it ends the block.
pub(crate) fn in_page(data: &impl Serialize) -> serde_json::Result<String> {
    Ok(serde_json::to_string(data)?.replace('<', "\\u003c"))
}

/// Bytes of texts that a page has at most, and what of a text is left in any case.
const TEXTS_SIZE_MAX: usize = 5 << 20;
const TEXT_SIZE_LEAST: usize = 60;
/// Bytes of a text that a page has at most.
const TEXT_SIZE_MAX: usize = 4096;

/// A process: its id, its parent's place, begin and end in nanoseconds, the kind of its end, then the
/// places of the texts: state, title, command line, user; and its processor time.
#[derive(Debug, Serialize)]
pub(crate) struct Row(
    u32,
    Place,
    i64,
    i64,
    u8,
    usize,
    usize,
    usize,
    usize,
    Option<u64>,
);

#[cfg(feature = "web")]
impl Row {
    pub(crate) const fn has_failed(&self) -> bool {
        self.4 == kind::FAILED
    }
}

/// Ways to end.
mod kind {
    pub(super) const WELL: u8 = 0;
    pub(super) const FAILED: u8 = 1;
    pub(super) const ALIVE: u8 = 2;
}

/// Where a process stands in the list; -1 for none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place(pub(crate) Option<usize>);

impl Serialize for Place {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Some(place) => serializer.serialize_u64(u64::try_from(place).unwrap_or(u64::MAX)),
            None => serializer.serialize_i64(-1),
        }
    }
}

/// Texts, each once.
#[derive(Default)]
pub(crate) struct Texts {
    pub(crate) list: Vec<String>,
    places: HashMap<String, usize>,
}

impl Texts {
    pub(crate) fn place(&mut self, text: &str) -> usize {
        let text = safe(text);
        if let Some(place) = self.places.get(&text) {
            return *place;
        }
        let place = self.list.len();
        self.places.insert(text.clone(), place);
        self.list.push(text);
        place
    }

    /// Cuts the longest so that all fit. Whether any was cut.
    pub(crate) fn fit(&mut self) -> bool {
        let sizes = || self.list.iter().map(String::len);
        let whole_within = |most: usize| sizes().map(|size| size.min(most)).sum::<usize>();
        let mut most = TEXT_SIZE_MAX;
        while most > TEXT_SIZE_LEAST && whole_within(most) > TEXTS_SIZE_MAX {
            most /= 2;
        }
        let most = most.max(TEXT_SIZE_LEAST);
        let mut is_any_cut = false;
        for text in self.list.iter_mut().filter(|text| text.len() > most) {
            text.truncate(text.floor_char_boundary(most));
            text.push('…');
            is_any_cut = true;
        }
        is_any_cut
    }
}

/// The processes that are in a page, and where.
pub(crate) struct Chosen<'p> {
    processes: &'p [Process],
    /// What has their long texts, where they are shortened.
    tree: Option<&'p Tree>,
    /// Of those, in their order: ascending.
    indices: Vec<usize>,
    by_key: HashMap<ProcessKey, usize>,
    begin: Time,
    end: Time,
}

impl<'p> Chosen<'p> {
    /// All of `processes`, or, where they are more than `count_max`, those that failed and the longest of
    /// what was there from `begin` to `end`.
    pub(crate) fn of(
        processes: &'p [Process],
        (begin, end): (Time, Time),
        count_max: usize,
    ) -> Self {
        let mut indices: Vec<usize> = (0..processes.len()).collect();
        if indices.len() > count_max {
            indices.sort_by_cached_key(|index| {
                let process = &processes[*index];
                let time = process.end_or(end).0.abs_diff(process.begin().0);
                (!process.has_failed(), Reverse(time))
            });
            indices.truncate(count_max);
            indices.sort_unstable();
        }
        let key = |index: &usize| processes[*index].process_key;
        let with_place = indices.iter().enumerate();
        Self {
            by_key: with_place.map(|(place, it)| (key(it), place)).collect(),
            processes,
            tree: None,
            indices,
            begin,
            end,
        }
    }

    /// The same, of processes of that tree.
    #[cfg(feature = "web")]
    pub(crate) fn of_tree(mut self, tree: &'p Tree) -> Self {
        self.tree = Some(tree);
        self
    }

    pub(crate) fn place_of(&self, index: usize) -> Place {
        Place(self.indices.binary_search(&index).ok())
    }

    pub(crate) fn places_of(&self, indices: &[usize]) -> Vec<usize> {
        let places = indices.iter().map(|index| self.place_of(*index).0);
        places.flatten().collect()
    }

    pub(crate) fn place_of_key(&self, key: Option<ProcessKey>) -> Place {
        Place(key.and_then(|key| self.by_key.get(&key).copied()))
    }

    pub(crate) const fn since_begin(&self, time: Time) -> i64 {
        time.0.saturating_sub(self.begin.0)
    }

    pub(crate) fn processes(&self) -> impl Iterator<Item = &'p Process> {
        let processes = self.processes;
        self.indices.iter().map(move |index| &processes[*index])
    }

    /// Their rows, with what each is called in short, and its processor time.
    pub(crate) fn rows(
        &self,
        texts: &mut Texts,
        title_fn: impl Fn(&Process) -> String,
        cpu_fn: impl Fn(&Process) -> Option<u64>,
    ) -> Vec<Row> {
        let row = |process: &Process| {
            let whole = self.tree.map(|tree| tree.whole(process));
            // What cannot be read again is told as far as it is here, which is marked.
            let whole = whole.and_then(Result::ok).unwrap_or(Cow::Borrowed(process));
            let (begin, end) = (process.begin(), process.end_or(self.end));
            Row(
                process.process_id,
                self.place_of_key(process.parent_process_key),
                self.since_begin(begin),
                self.since_begin(end.max(begin)),
                kind_of(process),
                texts.place(&state(process)),
                texts.place(&title_fn(&whole)),
                texts.place(&command(&whole)),
                texts.place(process.program.user.as_deref().unwrap_or("?")),
                cpu_fn(process),
            )
        };
        self.processes().map(row).collect()
    }
}

fn kind_of(process: &Process) -> u8 {
    match process.exit() {
        Some(_) if process.has_failed() => kind::FAILED,
        Some(_) => kind::WELL,
        None => kind::ALIVE,
    }
}

fn command(process: &Process) -> String {
    let program = &process.program;
    match program.command_line.as_ref().or(program.image.as_ref()) {
        Some(text) => Text::shown(text).to_owned(),
        None => process.title().into_owned(),
    }
}

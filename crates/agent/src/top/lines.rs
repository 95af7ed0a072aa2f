//! Which processes are shown, in which order: as a tree or one after the other, those that a filter
//! chooses, and the losses where they happened.

use std::cmp::Reverse;
use std::collections::HashSet;

use event::ProcessKey;

use super::model::{Model, short_title};
use crate::trail::{Text, Time};
use crate::tree::{End, Forest, Process};

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A process, and where it stands in the tree.
    Process { key: ProcessKey, place: Place },
    /// A loss, by its place among them.
    Loss(usize),
}

impl Line {
    /// The process it shows.
    pub(super) const fn key(&self) -> Option<ProcessKey> {
        match self {
            Self::Process { key, .. } => Some(*key),
            Self::Loss(_) => None,
        }
    }
}

/// Where a process stands in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) depth: u32,
    /// Whether no sibling follows.
    pub(super) is_last: bool,
    /// Of each of the first levels above, the lowest first, whether a sibling is still to come there.
    pub(super) open: u64,
}

/// In what order the processes of the flat list stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Sort {
    /// The latest start first.
    #[default]
    Newest,
    /// What failed first, then what has ended.
    State,
    Name,
    User,
    Id,
}

impl Sort {
    /// All of them, with what they are called.
    const ALL: [(Self, &str); 5] = [
        (Self::Newest, "newest"),
        (Self::State, "state"),
        (Self::Name, "name"),
        (Self::User, "user"),
        (Self::Id, "process"),
    ];

    pub(super) fn name(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(sort, _)| *sort == self)
            .map_or("", |(_, name)| name)
    }

    pub(super) fn next(self) -> Self {
        let mut after = Self::ALL.iter().skip_while(|(sort, _)| *sort != self);
        after.nth(1).map_or_else(Self::default, |(sort, _)| *sort)
    }
}

/// How the lines are chosen.
#[derive(Clone, Debug, Default)]
pub(super) struct Choice {
    /// What a process's id, user, state, image or command has in it; empty for all.
    pub(super) filter: String,
    /// One after the other, not as a tree.
    pub(super) sort: Option<Sort>,
}

/// Losses are shown among the processes for so long.
const LOSS_SHOWN_NS: i64 = 60_000_000_000;

/// The lines at `now`.
pub(super) fn lines(model: &Model, choice: &Choice, now: Time) -> Vec<Line> {
    let forest = Forest::new(model.tree.processes(), |one| Model::is_shown(one, now));
    let wanted = Wanted::new(&choice.filter);
    match choice.sort {
        None => tree(forest, &wanted, recent_losses(model, now)),
        Some(sort) => flat(&forest, &wanted, sort, recent_losses(model, now)),
    }
}

/// When a recent loss happened, and its place.
type RecentLoss = (Time, usize);

fn recent_losses(model: &Model, now: Time) -> Vec<RecentLoss> {
    let losses = model.losses.iter().enumerate();
    let recent = losses
        .filter(|(_, loss)| loss.time <= now && loss.time.0.saturating_add(LOSS_SHOWN_NS) > now.0);
    recent.map(|(index, loss)| (loss.time, index)).collect()
}

/// What a filter asks for.
struct Wanted {
    words: Vec<String>,
}

impl Wanted {
    fn new(filter: &str) -> Self {
        let words = filter.split_whitespace();
        let words = words.map(str::to_lowercase).collect();
        Self { words }
    }

    const fn is_all(&self) -> bool {
        self.words.is_empty()
    }

    /// Whether each of its words is in one of the columns.
    fn has(&self, process: &Process) -> bool {
        let command = process.title().to_lowercase();
        let user = process.program.user.as_deref().unwrap_or_default();
        // Who calls itself something else is found by what it is.
        let image = process.program.image.as_ref().map_or("", Text::shown);
        let columns = [
            image.to_lowercase(),
            process.process_id.to_string(),
            user.to_lowercase(),
            crate::tree::state(process),
            command,
        ];
        let is_there = |word: &String| columns.iter().any(|column| column.contains(word.as_str()));
        self.words.iter().all(is_there)
    }
}

/// The tree: what is wanted, what that stands under, and what stands under it.
fn tree(forest: Forest<'_>, wanted: &Wanted, losses: Vec<RecentLoss>) -> Vec<Line> {
    let forest = if wanted.is_all() {
        forest
    } else {
        let mut chosen: HashSet<ProcessKey> = HashSet::new();
        // How deep what was chosen last stands, below which all is.
        let mut below = None;
        for visit in forest.visits() {
            below = below.filter(|depth| visit.depth > *depth);
            if below.is_none() && wanted.has(visit.process) {
                below = Some(visit.depth);
            }
            if below.is_some() {
                chosen.insert(visit.process.process_key);
            }
        }
        forest.keeping(|process| chosen.contains(&process.process_key))
    };
    let mut lines = Vec::new();
    let mut open: u64 = 0;
    let mut losses = losses.into_iter().peekable();
    for visit in forest.visits() {
        // A loss stands between the roots before and after which it happened.
        let began = visit.process.begin();
        while let Some((_, loss)) = losses.next_if(|(at, _)| visit.depth == 0 && *at < began) {
            lines.push(Line::Loss(loss));
        }
        let bit = |depth: usize| u32::try_from(depth).ok().and_then(|d| 1_u64.checked_shl(d));
        open &= bit(visit.depth).map_or(u64::MAX, |bit| bit - 1);
        let place = Place {
            depth: u32::try_from(visit.depth).unwrap_or(u32::MAX),
            is_last: visit.is_last,
            open,
        };
        lines.push(Line::Process {
            key: visit.process.process_key,
            place,
        });
        if !visit.is_last {
            open |= bit(visit.depth).unwrap_or(0);
        }
    }
    lines.extend(losses.map(|(_, loss)| Line::Loss(loss)));
    lines
}

/// One after the other: only what is wanted itself.
fn flat(forest: &Forest<'_>, wanted: &Wanted, sort: Sort, losses: Vec<RecentLoss>) -> Vec<Line> {
    let visits = forest.visits().map(|visit| visit.process);
    let mut chosen: Vec<&Process> = visits
        .filter(|process| wanted.is_all() || wanted.has(process))
        .collect();
    // The order of the forest, that of the starts, decides between equals.
    chosen.sort_by_key(|process| Reverse((process.begin(), process.process_id)));
    match sort {
        Sort::Newest => {}
        Sort::State => chosen.sort_by_key(|process| match process.end {
            _ if process.has_failed() => 0,
            End::Exit(_) | End::Unseen => 1,
            End::Running => 2,
        }),
        Sort::Name => chosen.sort_by_cached_key(|process| short_title(process).to_lowercase()),
        Sort::User => chosen.sort_by_cached_key(|process| crate::tree::user(process)),
        Sort::Id => chosen.sort_by_key(|process| process.process_id),
    }
    let mut losses = losses.into_iter().rev().peekable();
    let mut lines = Vec::new();
    for process in chosen {
        // In another order there is no place where it happened: all stand first.
        let is_before = |at: Time| sort != Sort::Newest || at >= process.begin();
        while let Some((_, loss)) = losses.next_if(|(at, _)| is_before(*at)) {
            lines.push(Line::Loss(loss));
        }
        lines.push(Line::Process {
            key: process.process_key,
            place: Place::default(),
        });
    }
    lines.extend(losses.map(|(_, loss)| Line::Loss(loss)));
    lines
}

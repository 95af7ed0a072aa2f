//! The links of a tree: who stands under whom, loops cut, in the order they are shown.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::io;

use event::ProcessKey;

use super::{Process, Tree};

/// Some of a tree's processes, linked by parent.
#[derive(Debug)]
pub struct Forest<'t> {
    processes: Vec<&'t Process>,
    /// What has their long texts.
    tree: Option<&'t Tree>,
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    /// How many stood below each that are left out, where some are.
    hidden: Vec<usize>,
}

/// One process on the way through a forest, parents before their children.
#[derive(Clone, Copy, Debug)]
pub struct Visit<'t> {
    /// The process.
    pub process: &'t Process,
    /// How many of its ancestors stand above it.
    pub depth: usize,
    /// Whether no sibling follows.
    pub is_last: bool,
    /// How many children it has here.
    pub child_count: usize,
    /// How many that stand below it are left out.
    pub hidden_count: usize,
}

impl<'t> Forest<'t> {
    /// The processes `kept_fn` keeps. One whose parent is not kept is a root.
    pub fn new(processes: &'t [Process], kept_fn: impl Fn(&Process) -> bool) -> Self {
        let mut kept: Vec<&Process> = processes.iter().filter(|one| kept_fn(one)).collect();
        // By start; a stable order where the clock is too coarse to tell.
        kept.sort_by_key(|one| (one.begin(), one.process_id, one.process_key));
        let mut parents = parents(&kept);
        cut_loops(&mut parents);
        let mut children = vec![Vec::new(); kept.len()];
        let mut roots = Vec::new();
        for (index, parent) in parents.iter().enumerate() {
            match parent {
                Some(parent) => children[*parent].push(index),
                None => roots.push(index),
            }
        }
        Self {
            hidden: vec![0; kept.len()],
            processes: kept,
            tree: None,
            children,
            roots,
        }
    }

    /// The processes of `tree` that `kept_fn` keeps.
    pub fn of(tree: &'t Tree, kept_fn: impl Fn(&Process) -> bool) -> Self {
        Self {
            tree: Some(tree),
            ..Self::new(&tree.processes, kept_fn)
        }
    }

    /// A process of it with all of its texts, which may have to be read.
    pub fn whole(&self, process: &'t Process) -> io::Result<Cow<'t, Process>> {
        match self.tree {
            Some(tree) => tree.whole(process),
            None => Ok(Cow::Borrowed(process)),
        }
    }

    /// The same with those roots alone which `root_fn` chooses, wherever in the forest they stand,
    /// and all that stands under them.
    #[must_use]
    pub fn under(mut self, root_fn: impl Fn(&Process) -> bool) -> Self {
        let mut chosen = Vec::new();
        let mut waiting: Vec<usize> = self.roots.iter().rev().copied().collect();
        while let Some(index) = waiting.pop() {
            if root_fn(self.processes[index]) {
                // What stands under it is shown with it, even if it would be chosen too.
                chosen.push(index);
            } else {
                waiting.extend(self.children[index].iter().rev());
            }
        }
        self.roots = chosen;
        self
    }

    /// The same with those alone that `wanted_fn` chooses, and all that they stand under.
    #[must_use]
    pub fn keeping(mut self, wanted_fn: impl Fn(&Process) -> bool) -> Self {
        let mut is_kept = vec![false; self.processes.len()];
        // Children come after their parents in this order, so before them in the other.
        for (index, _) in self.in_order().into_iter().rev() {
            let process = self.processes[index];
            is_kept[index] =
                wanted_fn(process) || self.children[index].iter().any(|child| is_kept[*child]);
        }
        for children in &mut self.children {
            children.retain(|child| is_kept[*child]);
        }
        self.roots.retain(|root| is_kept[*root]);
        self
    }

    /// The same without what has more than `depth` ancestors in it.
    #[must_use]
    pub fn to_depth(mut self, depth: usize) -> Self {
        let order = self.in_order();
        let mut below = vec![0; self.processes.len()];
        for (index, _) in order.iter().rev() {
            let children = self.children[*index].iter();
            below[*index] = children.map(|child| below[*child] + 1).sum();
        }
        for (index, at) in order {
            if at == depth {
                self.hidden[index] = below[index];
                self.children[index].clear();
            }
        }
        self
    }

    /// All that is reached from the roots, each before its children, with how deep it stands.
    fn in_order(&self) -> Vec<(usize, usize)> {
        let mut order = Vec::new();
        let mut waiting: Vec<(usize, usize)> = self.roots.iter().map(|root| (*root, 0)).collect();
        while let Some((index, depth)) = waiting.pop() {
            order.push((index, depth));
            waiting.extend(self.children[index].iter().map(|child| (*child, depth + 1)));
        }
        order
    }

    /// Whether there is no process in it.
    pub const fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Every process, each before its children.
    pub fn visits(&self) -> impl Iterator<Item = Visit<'t>> {
        // No recursion: a chain of parents can be as long as the trail.
        let place = |siblings: &[usize], depth: usize| -> Vec<(usize, usize, bool)> {
            let last = siblings.last().copied();
            let places = siblings
                .iter()
                .rev()
                .map(|&index| (index, depth, Some(index) == last));
            places.collect()
        };
        let mut waiting = place(&self.roots, 0);
        std::iter::from_fn(move || {
            let (index, depth, is_last) = waiting.pop()?;
            waiting.extend(place(&self.children[index], depth + 1));
            Some(Visit {
                process: self.processes[index],
                depth,
                is_last,
                child_count: self.children[index].len(),
                hidden_count: self.hidden[index],
            })
        })
    }

    /// The keys of all processes in it.
    pub fn keys(&self) -> HashSet<ProcessKey> {
        self.visits()
            .map(|visit| visit.process.process_key)
            .collect()
    }
}

/// For each process the index of its parent.
fn parents(processes: &[&Process]) -> Vec<Option<usize>> {
    let by_key: HashMap<ProcessKey, usize> = processes
        .iter()
        .enumerate()
        .map(|(index, process)| (process.process_key, index))
        .collect();
    processes
        .iter()
        .map(|process| by_key.get(&process.parent_process_key?).copied())
        .collect()
}

/// Makes a root of one process of every loop, so that all are reached from a root.
fn cut_loops(parents: &mut [Option<usize>]) {
    /// What is known of a process: whether the way up from it was followed, and by which walk.
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        Never,
        By(usize),
    }
    let mut seen = vec![Seen::Never; parents.len()];
    for start in 0..parents.len() {
        let mut at = start;
        while seen[at] == Seen::Never {
            seen[at] = Seen::By(start);
            let Some(parent) = parents[at] else {
                break;
            };
            if seen[parent] == Seen::By(start) {
                parents[at] = None;
                break;
            }
            at = parent;
        }
    }
}

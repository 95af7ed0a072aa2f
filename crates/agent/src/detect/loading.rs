//! A directory of rules, loaded by several threads: reading, understanding and compiling a thousand rules by
//! one takes longer than whoever has them read again wants to wait.

use std::mem;
use std::num::NonZero;
use std::path::Path;
use std::thread::{self, Scope, ScopedJoinHandle};

use crossbeam_channel::{Receiver, SendError, bounded};

use super::folder::{self, FolderError, RuleFile};
use super::rule_set::{Loader, RuleSet};
use crate::sys::thread::named;

/// The most threads that load; more would take the machine from others for little.
const THREAD_COUNT_MAX: usize = 4;

/// Files that are handed over at once.
const PORTION_COUNT: usize = 32;

/// Files in their order, and which portion of all they are.
type Portion = (usize, Vec<RuleFile>);

/// A loader of each portion, by its number.
type Parts = Vec<(usize, Loader)>;

/// Loads what is below `path`, as a loader does that has read nothing yet.
pub(super) fn load(path: &Path, empty: Loader) -> Result<RuleSet, FolderError> {
    let (sender, portions) = bounded::<Portion>(THREAD_COUNT_MAX);
    let load = |(number, files): Portion| {
        let mut part = empty.clone();
        for file in files {
            part.take(file);
        }
        (number, part)
    };
    let mut parts = thread::scope(|scope| {
        let threads = threads(scope, &portions, &load);
        let mut own = Parts::new();
        let mut files = Vec::new();
        let mut number = 0;
        let mut hand_over = |files: Vec<RuleFile>| {
            // With no thread to take them, or none that still does, they are loaded here.
            let portion = (number, files);
            number += 1;
            let refused = if threads.is_empty() {
                Some(portion)
            } else {
                sender.send(portion).err().map(SendError::into_inner)
            };
            own.extend(refused.map(load));
        };
        let read = folder::read(path, &mut |file| {
            files.push(file);
            if files.len() >= PORTION_COUNT {
                hand_over(mem::take(&mut files));
            }
        });
        hand_over(files);
        drop(sender);
        let ended = threads.into_iter().map(ScopedJoinHandle::join);
        own.extend(ended.flatten().flatten());
        read.map(|()| own)
    })?;
    parts.sort_unstable_by_key(|(number, _)| *number);
    let mut all = empty;
    for (_, part) in parts {
        all.append(part);
    }
    Ok(all.finish())
}

/// A thread a processor, each of which loads portions until there are no more.
fn threads<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    portions: &'env Receiver<Portion>,
    load: &'env (impl Fn(Portion) -> (usize, Loader) + Sync),
) -> Vec<ScopedJoinHandle<'scope, Parts>> {
    let processors = thread::available_parallelism().map_or(1, NonZero::get);
    let started = (0..processors.min(THREAD_COUNT_MAX)).map(|_| {
        let work = move || portions.iter().map(load).collect();
        named("load").spawn_scoped(scope, work)
    });
    started.flatten().collect()
}

/// Does two things at once.
pub(super) fn side_by_side<T: Send, U: Send>([one, other]: [T; 2], done: fn(T) -> U) -> [U; 2] {
    thread::scope(|scope| {
        let one = scope.spawn(move || done(one));
        let other = done(other);
        match one.join() {
            Ok(one) => [one, other],
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

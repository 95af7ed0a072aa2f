//! Which of the events a recorder saw are the workload's own: those of the processes that descend
//! from it. The machine does other things meanwhile, and they must not count.

use std::collections::{BTreeMap, HashSet};

use super::seen::{Kind, Seen};

/// Programs that only workloads start begin with this, so that they are known as ours even where a
/// recorder lost or cannot see how they began.
pub(super) const MARK: &str = "stb-";

/// Events by kind.
pub(super) type Counts = BTreeMap<Kind, u64>;

/// Counts the events of a workload whose first process is `root`. How that process itself began,
/// what it runs and how it ends does not count; its threads do. Of images, those count that are
/// marked, for the loader opens others.
pub(super) fn count(root: u32, events: &[Seen], happened: &Counts) -> Counts {
    let mut family = HashSet::from([root]);
    let mut counts = Counts::new();
    for event in events {
        let kind = resolve(event.kind, happened);
        let is_by_us = family.contains(&event.parent) || event.name.starts_with(MARK);
        if kind == Kind::ProcessStart && !is_by_us {
            // An id that begins anew elsewhere is no longer ours: its exit was not seen.
            if event.process != root {
                family.remove(&event.process);
            }
            continue;
        }
        if !is_by_us && !family.contains(&event.process) {
            continue;
        }
        match kind {
            // The workload's own beginning, program and end.
            Kind::ProcessStart | Kind::ProcessExec | Kind::ProcessExit if event.process == root => {
                continue;
            }
            Kind::ProcessStart | Kind::ProcessExec => {
                family.insert(event.process);
            }
            Kind::ProcessExit => {
                family.remove(&event.process);
            }
            Kind::ImageLoad if !event.name.starts_with(MARK) => continue,
            _ => {}
        }
        *counts.entry(kind).or_default() += 1;
    }
    counts.retain(|kind, _| happened.contains_key(kind));
    counts
}

/// A new task is what the workload makes: none of ours makes both processes and threads.
fn resolve(kind: Kind, happened: &Counts) -> Kind {
    match kind {
        Kind::TaskStart if happened.contains_key(&Kind::ThreadStart) => Kind::ThreadStart,
        Kind::TaskStart => Kind::ProcessStart,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: u32 = 10;

    fn event(kind: Kind, process: u32, parent: u32, name: &str) -> Seen {
        Seen {
            order: 0,
            kind,
            process,
            parent,
            name: name.to_owned(),
        }
    }

    fn counted(events: &[Seen]) -> Vec<(Kind, u64)> {
        let happened = [Kind::ProcessStart, Kind::ProcessExec, Kind::ProcessExit]
            .map(|kind| (kind, 1))
            .into();
        count(ROOT, events, &happened).into_iter().collect()
    }

    #[test]
    fn counts_descendants_and_not_the_machine() {
        let counts = counted(&[
            event(Kind::ProcessStart, ROOT, 1, "xtask"),
            event(Kind::ProcessExec, ROOT, 1, "xtask"),
            event(Kind::ProcessStart, 11, ROOT, "xtask"),
            event(Kind::ProcessStart, 99, 98, "sh"),
            event(Kind::ProcessStart, 12, 11, "sh"),
            event(Kind::ProcessExec, 12, 0, "cc"),
            event(Kind::ProcessExec, 99, 98, "cc"),
            event(Kind::ProcessExit, 12, 0, "cc"),
            event(Kind::ProcessExit, ROOT, 1, "xtask"),
        ]);
        let expected = [
            (Kind::ProcessStart, 2),
            (Kind::ProcessExec, 1),
            (Kind::ProcessExit, 1),
        ];
        assert_eq!(counts, expected);
    }

    #[test]
    fn an_id_that_somebody_else_has_now_is_not_ours() {
        let counts = counted(&[
            event(Kind::ProcessStart, 11, ROOT, "xtask"),
            event(Kind::ProcessStart, 11, 98, "sh"),
            event(Kind::ProcessExec, 11, 0, "cc"),
        ]);
        assert_eq!(counts, [(Kind::ProcessStart, 1)]);
    }

    #[test]
    fn of_images_the_marked_ones_count() {
        let events = [
            event(Kind::ImageLoad, ROOT, 0, "libc.so.6"),
            event(Kind::ImageLoad, ROOT, 0, "stb-007.so"),
        ];
        let happened = [(Kind::ImageLoad, 1)].into();
        assert_eq!(count(ROOT, &events, &happened), happened);
    }

    #[test]
    fn a_marked_program_is_ours_though_its_start_was_lost() {
        let counts = counted(&[
            event(Kind::ProcessExec, 11, 0, "stb-true"),
            event(Kind::ProcessExit, 11, 0, "stb-true"),
        ]);
        assert_eq!(counts, [(Kind::ProcessExec, 1), (Kind::ProcessExit, 1)]);
    }
}

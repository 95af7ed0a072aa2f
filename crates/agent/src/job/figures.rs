//! The figures of a job: time a program, how many were at work, what the end waited for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use event::ProcessKey;

use super::{Job, program_name};
use crate::trail::Time;
use crate::tree::{Process, short};

/// Links of the chain that are told by name.
const LINKS_MAX: usize = 5;

/// What a job comes to.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    /// Processes that ended otherwise than well, by the time of their end: indices of the job's
    /// processes.
    pub failed: Vec<usize>,
    /// What took how long, the longest first.
    pub programs: Vec<ProgramTime>,
    /// Nanoseconds of processor time of all; `None` where one was not told.
    pub cpu_ns: Option<u64>,
    /// Thousandths of the processes that were at work on average: those that waited for no child.
    pub at_work_milli: u64,
    /// Nanoseconds in which one process alone was at work, by program, the longest first.
    pub alone: Vec<(String, u64)>,
    /// What the end waited for, one after the other: the longest, in their order.
    pub chain: Vec<Link>,
    /// Nanoseconds of the chain that are in no link.
    pub chain_rest_ns: u64,
}

/// All processes of one program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProgramTime {
    /// Its name.
    pub name: String,
    /// How many there were.
    pub count: u64,
    /// Nanoseconds from start to exit, summed up.
    pub wall_ns: u64,
    /// Nanoseconds of processor time; `None` where one of them was not told.
    pub cpu_ns: Option<u64>,
    /// The longest of them, and its nanoseconds.
    pub longest: (u64, String),
}

/// A process that others waited for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it stands among the job's processes.
    pub index: usize,
    /// What it is called.
    pub title: String,
    /// Nanoseconds.
    pub time_ns: u64,
}

/// When a process was there, in nanoseconds, and whose child it is.
#[derive(Clone, Copy, Debug)]
struct Life {
    begin: i64,
    end: i64,
    parent: Option<usize>,
}

impl Figures {
    /// Those of `job`, which ended then.
    pub fn of(job: &Job, end: Time) -> Self {
        let processes = job.processes();
        let lives = lives(processes, end);
        let (at_work_milli, alone) = at_work(processes, &lives);
        let (chain, chain_rest_ns) = chain(processes, &lives);
        let programs = programs(job, &lives);
        Self {
            failed: failed(processes),
            cpu_ns: programs.iter().map(|program| program.cpu_ns).sum(),
            programs,
            at_work_milli,
            alone,
            chain,
            chain_rest_ns,
        }
    }
}

fn lives(processes: &[Process], end: Time) -> Vec<Life> {
    let by_key: HashMap<ProcessKey, usize> = processes
        .iter()
        .enumerate()
        .map(|(index, process)| (process.process_key, index))
        .collect();
    let life = |(index, process): (usize, &Process)| {
        let (Time(begin), Time(ended)) = (process.begin(), process.end_or(end));
        let parent = process.parent_process_key;
        let parent = parent.and_then(|key| by_key.get(&key).copied());
        Life {
            begin,
            // Nothing takes no time, and an end comes after its begin.
            end: ended.max(begin.saturating_add(1)),
            // Who is its own parent has none.
            parent: parent.filter(|parent| *parent != index),
        }
    };
    processes.iter().enumerate().map(life).collect()
}

fn failed(processes: &[Process]) -> Vec<usize> {
    let mut failed: Vec<usize> = (0..processes.len())
        .filter(|index| processes[*index].has_failed())
        .collect();
    failed.sort_by_key(|index| processes[*index].exit().map(|exit| exit.time));
    failed
}

fn programs(job: &Job, lives: &[Life]) -> Vec<ProgramTime> {
    let mut programs: BTreeMap<String, ProgramTime> = BTreeMap::new();
    for (process, life) in job.processes().iter().zip(lives) {
        let wall_ns = life.end.abs_diff(life.begin);
        let name = program_name(process);
        let program = programs.entry(name).or_default();
        program.count += 1;
        program.wall_ns = program.wall_ns.saturating_add(wall_ns);
        let cpu_ns = job.cpu.get(&process.process_key).copied();
        let before = if program.count == 1 {
            Some(0)
        } else {
            program.cpu_ns
        };
        program.cpu_ns = before.zip(cpu_ns).map(|(sum, ns)| sum.saturating_add(ns));
        if program.count == 1 || wall_ns > program.longest.0 {
            program.longest = (wall_ns, short(process));
        }
    }
    let mut programs: Vec<_> = programs
        .into_iter()
        .map(|(name, program)| ProgramTime { name, ..program })
        .collect();
    programs.sort_by_key(|program| std::cmp::Reverse(program.wall_ns));
    programs
}

/// How many were at work on average, and which alone. A process whose child runs is taken to wait for it:
/// of a shell and what it runs one is at work.
fn at_work(processes: &[Process], lives: &[Life]) -> (u64, Vec<(String, u64)>) {
    // Ends before begins: who ends at the moment another begins was not at work beside it.
    let mut turns: Vec<(i64, bool, usize)> = Vec::with_capacity(lives.len() * 2);
    for (index, life) in lives.iter().enumerate() {
        turns.push((life.begin, true, index));
        turns.push((life.end, false, index));
    }
    turns.sort_unstable();
    let mut child_counts = vec![0_u64; lives.len()];
    let mut is_there = vec![false; lives.len()];
    let mut working: BTreeSet<usize> = BTreeSet::new();
    let mut alone: HashMap<usize, u64> = HashMap::new();
    let (mut sum, mut last) = (0_u128, None);
    for (time, begins, index) in turns {
        if let Some(last) = last {
            let passed = time.abs_diff(last);
            sum += u128::from(passed) * working.len() as u128;
            if let (1, Some(only)) = (working.len(), working.first()) {
                *alone.entry(*only).or_default() += passed;
            }
        }
        last = Some(time);
        is_there[index] = begins;
        if begins && child_counts[index] == 0 {
            working.insert(index);
        } else if !begins {
            working.remove(&index);
        }
        if let Some(parent) = lives[index].parent {
            let count = &mut child_counts[parent];
            *count = if begins {
                *count + 1
            } else {
                count.saturating_sub(1)
            };
            if begins {
                working.remove(&parent);
            } else if *count == 0 && is_there[parent] {
                working.insert(parent);
            }
        }
    }
    let first = lives.iter().map(|life| life.begin).min().unwrap_or(0);
    let whole = last.map_or(0, |last| last.abs_diff(first));
    let average = (sum * 1_000).checked_div(u128::from(whole)).unwrap_or(0);
    let mut by_program: BTreeMap<String, u64> = BTreeMap::new();
    for (index, time_ns) in alone {
        *by_program
            .entry(program_name(&processes[index]))
            .or_default() += time_ns;
    }
    let mut by_program: Vec<_> = by_program.into_iter().collect();
    by_program.sort_by_key(|(_, time_ns)| std::cmp::Reverse(*time_ns));
    (u64::try_from(average).unwrap_or(u64::MAX), by_program)
}

/// What the end of the first process waited for, backwards: of its children the one that ended last, then
/// the one that had ended before that one began, and so on, each with its own children. What is left
/// between them is the process's own.
fn chain(processes: &[Process], lives: &[Life]) -> (Vec<Link>, u64) {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); lives.len()];
    for (index, life) in lives.iter().enumerate() {
        if let Some(parent) = life.parent {
            children[parent].push(index);
        }
    }
    for list in &mut children {
        list.sort_by_key(|index| lives[*index].end);
    }
    let Some(root) = root(lives) else {
        return (Vec::new(), 0);
    };
    let mut own = vec![0_u64; lives.len()];
    // No recursion: a chain of parents can be as long as the trail. Every child is taken from its list
    // once, so a loop of parents ends as well.
    let mut waiting = vec![(root, lives[root].end)];
    while let Some((index, until)) = waiting.pop() {
        let begin = lives[index].begin;
        match children[index].pop() {
            None => own[index] += until.max(begin).abs_diff(begin),
            // It went on beside, or after.
            Some(child) if lives[child].end > until => waiting.push((index, until)),
            Some(child) => {
                let life = lives[child];
                own[index] += until.abs_diff(life.end.max(begin));
                waiting.push((index, life.begin.max(begin).min(until)));
                if life.end > begin {
                    waiting.push((child, life.end));
                }
            }
        }
    }
    links(processes, lives, &own)
}

/// The first process that is nobody's child.
fn root(lives: &[Life]) -> Option<usize> {
    let roots = lives.iter().enumerate();
    let roots = roots.filter(|(_, life)| life.parent.is_none());
    roots
        .min_by_key(|(_, life)| life.begin)
        .map(|(index, _)| index)
}

fn links(processes: &[Process], lives: &[Life], own: &[u64]) -> (Vec<Link>, u64) {
    let mut longest: Vec<usize> = (0..own.len()).filter(|index| own[*index] > 0).collect();
    longest.sort_by_key(|index| std::cmp::Reverse(own[*index]));
    let rest = longest.get(LINKS_MAX..).unwrap_or_default();
    let rest_ns = rest.iter().map(|index| own[*index]).sum();
    longest.truncate(LINKS_MAX);
    longest.sort_by_key(|index| lives[*index].begin);
    let links = longest.iter().map(|index| Link {
        index: *index,
        title: short(&processes[*index]),
        time_ns: own[*index],
    });
    (links.collect(), rest_ns)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::tests::program;
    use crate::tree::{End, Exit};

    fn process(id: u32, parent: u32, name: &str, (begin, end): (i64, i64)) -> Process {
        Process {
            process_id: id,
            process_key: ProcessKey(id.into()),
            parent_process_id: Some(parent),
            parent_process_key: Some(ProcessKey(parent.into())),
            start_time: Some(Time(begin)),
            first_seen: Time(begin),
            last_seen: Time(end),
            program: program(&format!("/bin/{name}"), &[name]),
            end: End::Exit(Exit {
                time: Time(end),
                exit_code: Some(0),
                ..Exit::default()
            }),
            ..Process::default()
        }
    }

    fn figures(processes: Vec<Process>) -> Figures {
        let mut job = Job::default();
        for process in processes {
            job.tree.add_process(process).unwrap();
        }
        Figures::of(&job, Time(1_000))
    }

    fn named(list: &[(&str, u64)]) -> Vec<(String, u64)> {
        list.iter()
            .map(|(name, ns)| ((*name).to_owned(), *ns))
            .collect()
    }

    /// `make` runs two compilers side by side for a while, then the linker.
    fn build() -> Vec<Process> {
        vec![
            process(1, 0, "make", (0, 100)),
            process(2, 1, "cc", (10, 40)),
            process(3, 1, "cc", (20, 60)),
            process(4, 1, "ld", (70, 95)),
        ]
    }

    #[test]
    fn who_waits_for_a_child_is_not_at_work() {
        let figures = figures(build());
        // 10 make, 10 cc, 20 twice, 20 cc, 10 make, 25 ld, 5 make.
        assert_eq!(figures.at_work_milli, 1_200);
        assert_eq!(
            figures.alone,
            named(&[("cc", 30), ("ld", 25), ("make", 25)])
        );
    }

    #[test]
    fn the_chain_is_what_the_end_waited_for() {
        let figures = figures(build());
        let chain = figures.chain.iter();
        let chain = chain.map(|link| (link.title.clone(), link.time_ns));
        let chain: Vec<_> = chain.collect();
        // The first compiler had ended when the second did: nobody waited for it but while it was alone.
        assert_eq!(chain, named(&[("make", 35), ("cc", 40), ("ld", 25)]));
        assert_eq!(figures.chain_rest_ns, 0);
        let cc = &figures.programs[1];
        assert_eq!(
            (&*cc.name, cc.count, cc.wall_ns, cc.longest.0),
            ("cc", 2, 70, 40)
        );
    }

    #[test]
    fn a_child_that_outlives_its_parent_is_not_waited_for() {
        let mut processes = build();
        processes.push(process(5, 1, "daemon", (30, 500)));
        let figures = figures(processes);
        assert!(figures.chain.iter().all(|link| link.title != "daemon"));
        let sum: u64 = figures.chain.iter().map(|link| link.time_ns).sum();
        assert_eq!(sum, 100);
    }

    #[test]
    fn many_links_are_summed_up_and_a_long_line_of_parents_ends() {
        let count = 20_000;
        let chain: Vec<_> = (1..=count)
            .map(|id| {
                let inset = i64::from(id);
                process(id, id - 1, "sh", (inset, 100_000 - inset))
            })
            .collect();
        let figures = figures(chain);
        assert_eq!(figures.chain.len(), LINKS_MAX);
        let sum: u64 = figures.chain.iter().map(|link| link.time_ns).sum();
        assert_eq!(sum + figures.chain_rest_ns, 99_998);
    }

    #[test]
    fn odd_lives_end_too() {
        // Its own parent, a loop of two, a life of no time, an end before its begin.
        let figures = figures(vec![
            process(1, 1, "self", (0, 10)),
            process(2, 3, "loop", (0, 10)),
            process(3, 2, "loop", (0, 10)),
            process(4, 1, "short", (5, 5)),
            process(5, 1, "back", (9, 3)),
        ]);
        assert_eq!(figures.programs.len(), 4);
        let nothing = Figures {
            cpu_ns: Some(0),
            ..Figures::default()
        };
        assert_eq!(Figures::of(&Job::default(), Time(0)), nothing);
    }

    #[test]
    fn processor_time_is_summed_up_where_all_of_it_is_told() {
        let mut job = Job::default();
        for process in build() {
            job.cpu
                .insert(process.process_key, u64::from(process.process_id) * 10);
            job.tree.add_process(process).unwrap();
        }
        let figures = Figures::of(&job, Time(1_000));
        let told = |figures: &Figures, name: &str| {
            let found = figures.programs.iter().find(|program| program.name == name);
            found.unwrap().cpu_ns
        };
        assert_eq!(
            (figures.cpu_ns, told(&figures, "cc")),
            (Some(100), Some(50))
        );
        job.cpu.remove(&ProcessKey(3));
        let figures = Figures::of(&job, Time(1_000));
        assert_eq!((figures.cpu_ns, told(&figures, "cc")), (None, None));
        assert_eq!(told(&figures, "ld"), Some(40));
    }

    #[test]
    fn failures_come_in_the_order_of_their_ends() {
        let mut processes = build();
        for (index, code) in [(2, Some(1)), (1, Some(2)), (3, None)] {
            if let End::Exit(exit) = &mut processes[index].end {
                exit.exit_code = code;
                exit.signal = code.is_none().then_some(9);
            }
        }
        assert_eq!(figures(processes).failed, [1, 2, 3]);
    }
}

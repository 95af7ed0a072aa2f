//! From tasks, which the kernel's side-band interfaces tell of, to processes and threads.
//!
//! The proc connector and perf events report every task's exit and none of them says that it is
//! the process's last, so the threads of each process are kept here. Not exact is only this:
//!
//! - The status of a process whose first thread ended before the others. Linux reports the status
//!   of the whole group if it was ended as one, and that of the first thread otherwise, and nobody
//!   tells which. The last thread's status is taken unless it is 0.
//! - A process whose first thread had ended before the sensor began has an unknown status when
//!   its last thread ends with 0.
//! - After a loss, a process may be taken for ended too early, or its exit may go unnoticed. The
//!   loss is told, and [`Tasks::heal`] forgets what has no process any more.

use std::collections::{HashMap, HashSet};

use event::Kind;

use super::existing::Existing;
use crate::sys::proc::{self, User};

/// A task, as the kernel names it: thread and process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Task {
    pub(super) thread_id: u32,
    pub(super) process_id: u32,
}

/// What a task did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// It was created.
    Fork {
        child: Task,
        /// The one that made the call, where it is told.
        creator: Option<Task>,
        /// The process that will be told of the exit, where that is told.
        parent: Option<u32>,
    },
    /// It replaced its program.
    Exec(Task),
    /// Its effective or real user changed.
    User {
        task: Task,
        user_id: u32,
        real_user_id: u32,
    },
    /// It began a session.
    Session(Task),
    /// It ended.
    Exit {
        task: Task,
        status: Option<u32>,
        parent: Option<u32>,
    },
}

/// What an act comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    ProcessStart {
        process_id: u32,
        creator: Task,
        parent: Option<u32>,
        /// Effective user and session, inherited from the creator, where known.
        user: Option<User>,
    },
    ProcessExec {
        process_id: u32,
        user: Option<User>,
    },
    ProcessExit {
        process_id: u32,
        thread_id: u32,
        status: Option<u32>,
        parent: Option<u32>,
        /// The session at the end, where it is followed.
        session_id: Option<u32>,
    },
    ThreadStart {
        task: Task,
        creator: Option<Task>,
    },
    ThreadExit(Task),
}

impl Fact {
    /// Whether it is about a thread rather than a process.
    pub(super) const fn is_of_thread(&self) -> bool {
        matches!(self, Self::ThreadStart { .. } | Self::ThreadExit(_))
    }

    /// The kind of the event.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::ProcessStart { .. } => Kind::PROCESS_START,
            Self::ProcessExec { .. } => Kind::PROCESS_EXEC,
            Self::ProcessExit { .. } => Kind::PROCESS_EXIT,
            Self::ThreadStart { .. } => Kind::THREAD_START,
            Self::ThreadExit(_) => Kind::THREAD_EXIT,
        }
    }
}

/// The threads of every process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    processes: HashMap<u32, Process>,
    /// Threads that an exec ended, whose own exits may still come: their process, and when.
    replaced: HashMap<u32, (u32, u64)>,
}

/// Beyond this number, threads that an exec ended longer ago than [`REPLACED_LATE_NS`] are
/// forgotten.
const REPLACED_MAX: usize = 16 * 1024;

/// The exit of a thread is told less than this after the exec that ended it.
const REPLACED_LATE_NS: u64 = 10_000_000_000;

#[derive(Debug, Default)]
struct Process {
    /// All threads but the first.
    threads: Vec<u32>,
    leader: Leader,
    user: Option<User>,
    /// When the last of its messages was sent: those of two processors may come out of order.
    last_time: u64,
    /// When it began to run what it executed last.
    loaded: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leader {
    #[default]
    Alive,
    Ended(Option<u32>),
}

impl Tasks {
    /// Learns the processes of the snapshot with their threads. `users_are_followed` says that
    /// every later change of user and session will be told.
    pub(super) fn know(&mut self, snapshot: &[Existing], users_are_followed: bool) {
        for process in snapshot {
            if process.has_ended {
                continue;
            }
            let mut threads = Vec::new();
            if process.threads > 1
                && let Ok(process) = proc::Process::open(process.process_id)
            {
                // One that is gone by now has all its exits in the stream.
                threads = process.thread_ids().unwrap_or_default();
            }
            threads.retain(|id| *id != process.process_id);
            let user = User {
                user_id: process.user_id,
                asked: process.asked,
                session_id: process.session_id,
            };
            let user = users_are_followed.then_some(user);
            let known = Process::existing(threads, process.leader_has_ended, user);
            self.processes.insert(process.process_id, known);
        }
    }

    /// Learns from the first `acts`, in the order of time, what had ended when the snapshot came to
    /// it: who ends there and was not created there was there when they began.
    pub(super) fn foresee<'a>(&mut self, acts: impl Iterator<Item = &'a Act>) {
        let mut created = HashSet::new();
        for act in acts {
            match *act {
                Act::Fork { child, .. } => {
                    created.insert(child.thread_id);
                }
                Act::Exit { task, .. } if !created.contains(&task.thread_id) => {
                    let process = self.processes.entry(task.process_id);
                    // One the snapshot has not met alive has all its ends among the acts, that of
                    // its first thread included unless it came before them.
                    let process =
                        process.or_insert_with(|| Process::existing(Vec::new(), true, None));
                    if task.thread_id == task.process_id {
                        process.leader = Leader::Alive;
                    } else if !process.threads.contains(&task.thread_id) {
                        process.threads.push(task.thread_id);
                    }
                }
                _ => {}
            }
        }
    }

    /// Changes of user and session were lost: until they are read again nobody knows them.
    pub(super) fn forget_users(&mut self) {
        for process in self.processes.values_mut() {
            process.user = None;
        }
    }

    /// Forgets processes that are not there any more, and reads again for whom the others run where
    /// that is followed and was forgotten.
    pub(super) fn heal(&mut self, users_are_followed: bool) {
        self.processes.retain(|&id, process| {
            let Ok(found) = proc::Process::open(id) else {
                return false;
            };
            if users_are_followed && process.user.is_none() {
                let stat = found.stat().ok();
                process.user = stat.and_then(|stat| found.user(&stat));
            }
            true
        });
    }

    /// A process runs what it has executed from that time on.
    pub(super) fn load(&mut self, process_id: u32, time: u64) {
        self.processes.entry(process_id).or_default().loaded = time;
    }

    /// When it began to run that; 0 where it has not executed anything.
    pub(super) fn loaded(&self, process_id: u32) -> u64 {
        let process = self.processes.get(&process_id);
        process.map_or(0, |process| process.loaded)
    }

    /// Takes one act and hands over what it comes to, with the time of that.
    pub(super) fn take(&mut self, time: u64, act: &Act, fact_fn: &mut dyn FnMut(u64, Fact)) {
        if let Act::Fork { child, .. } = act {
            // The id is used again.
            self.replaced.remove(&child.thread_id);
        }
        match *act {
            Act::Fork {
                child,
                creator,
                parent,
            } if child.thread_id == child.process_id => {
                let creator = creator.unwrap_or_default();
                let user = self.user(creator.process_id);
                let process = Process {
                    user,
                    ..Process::default()
                };
                self.processes.insert(child.process_id, process);
                let fact = Fact::ProcessStart {
                    process_id: child.process_id,
                    creator,
                    parent,
                    user,
                };
                fact_fn(time, fact);
            }
            Act::Fork { child, creator, .. } => {
                let process = self.processes.entry(child.process_id).or_default();
                if !process.threads.contains(&child.thread_id) {
                    process.threads.push(child.thread_id);
                }
                let fact = Fact::ThreadStart {
                    task: child,
                    creator,
                };
                fact_fn(time, fact);
            }
            Act::Exec(task) => self.exec(time, task, fact_fn),
            Act::User {
                task,
                user_id,
                real_user_id,
            } => {
                // Each thread has its own; the process's is that of its first one.
                if task.thread_id == task.process_id {
                    self.change_user(task.process_id, |user| {
                        user.user_id = user_id;
                        if let Some(asked) = &mut user.asked {
                            asked.real_user_id = real_user_id;
                        }
                    });
                }
            }
            Act::Session(task) => {
                self.change_user(task.process_id, |user| user.session_id = task.process_id);
            }
            Act::Exit {
                task,
                status,
                parent,
            } => self.exit(time, task, (status, parent), fact_fn),
        }
    }

    /// A process is known to have that login since it was last told.
    pub(super) fn learn_login(&mut self, process_id: u32, login_user_id: u32) {
        self.change_user(process_id, |user| {
            if let Some(asked) = &mut user.asked {
                asked.login_user_id = login_user_id;
            }
        });
    }

    fn user(&self, process_id: u32) -> Option<User> {
        self.processes.get(&process_id)?.user
    }

    fn change_user(&mut self, process_id: u32, change_fn: impl FnOnce(&mut User)) {
        let process = self.processes.get_mut(&process_id);
        if let Some(user) = process.and_then(|process| process.user.as_mut()) {
            change_fn(user);
        }
    }

    fn exec(&mut self, time: u64, task: Task, fact_fn: &mut dyn FnMut(u64, Fact)) {
        let process_id = task.process_id;
        let process = self.processes.entry(process_id).or_default();
        // All other threads have ended. One that has not told so is the caller itself, which has
        // taken over the first one's id, or tells it late: the connector is told of an exit after
        // the kernel counts the thread as gone (`do_exit` of `kernel/exit.c`), and the exec waits
        // for no more than that. The old first thread may come late too, under the caller's id.
        for thread_id in process.threads.drain(..) {
            self.replaced.insert(thread_id, (process_id, time));
            fact_fn(
                time,
                Fact::ThreadExit(Task {
                    thread_id,
                    process_id,
                }),
            );
        }
        process.leader = Leader::Alive;
        fact_fn(
            time,
            Fact::ProcessExec {
                process_id,
                user: process.user,
            },
        );
        if self.replaced.len() > REPLACED_MAX {
            let is_late = |from: u64| time.saturating_sub(from) < REPLACED_LATE_NS;
            self.replaced.retain(|_, (_, from)| is_late(*from));
        }
    }

    fn exit(
        &mut self,
        time: u64,
        task: Task,
        (status, parent): (Option<u32>, Option<u32>),
        fact_fn: &mut dyn FnMut(u64, Fact),
    ) {
        let Task {
            thread_id,
            process_id,
        } = task;
        // The exec has told it, and the process may be gone by now.
        let replaced = self.replaced.remove(&thread_id);
        if thread_id != process_id && replaced.is_some_and(|(whose, _)| whose == process_id) {
            return;
        }
        let process = self.processes.entry(process_id).or_default();
        process.last_time = process.last_time.max(time);
        let last_time = process.last_time;
        let status = if thread_id == process_id {
            process.leader = Leader::Ended(status);
            status
        } else {
            process.threads.retain(|&id| id != thread_id);
            fact_fn(time, Fact::ThreadExit(task));
            match process.leader {
                Leader::Ended(leader_status) if status == Some(0) => leader_status,
                Leader::Ended(_) | Leader::Alive => status,
            }
        };
        if process.threads.is_empty() && process.leader != Leader::Alive {
            let session_id = process.user.map(|user| user.session_id);
            self.processes.remove(&process_id);
            fact_fn(
                last_time,
                Fact::ProcessExit {
                    process_id,
                    thread_id,
                    status,
                    parent,
                    session_id,
                },
            );
        }
    }
}

impl Process {
    fn existing(threads: Vec<u32>, leader_has_ended: bool, user: Option<User>) -> Self {
        let leader = if leader_has_ended {
            Leader::Ended(None)
        } else {
            Leader::Alive
        };
        Self {
            threads,
            leader,
            user,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use event::process::Users;

    use super::*;

    fn task(thread_id: u32, process_id: u32) -> Task {
        Task {
            thread_id,
            process_id,
        }
    }

    fn facts(tasks: &mut Tasks, acts: &[Act]) -> Vec<Fact> {
        let mut facts = Vec::new();
        for act in acts {
            tasks.take(0, act, &mut |_, fact| facts.push(fact));
        }
        facts
    }

    fn fork(thread_id: u32, process_id: u32) -> Act {
        Act::Fork {
            child: task(thread_id, process_id),
            creator: Some(task(1, 1)),
            parent: None,
        }
    }

    fn exit(thread_id: u32, process_id: u32, status: u32) -> Act {
        Act::Exit {
            task: task(thread_id, process_id),
            status: Some(status),
            parent: Some(1),
        }
    }

    fn process_exit(thread_id: u32, process_id: u32, status: Option<u32>) -> Fact {
        Fact::ProcessExit {
            process_id,
            thread_id,
            status,
            parent: Some(1),
            session_id: None,
        }
    }

    #[test]
    fn a_process_ends_once_with_its_last_thread() {
        let mut tasks = Tasks::default();
        facts(&mut tasks, &[fork(5, 5), fork(6, 5), fork(7, 5)]);
        let ends = [exit(6, 5, 0), exit(5, 5, 256), exit(7, 5, 0)];
        assert_eq!(
            facts(&mut tasks, &ends),
            [
                Fact::ThreadExit(task(6, 5)),
                Fact::ThreadExit(task(7, 5)),
                process_exit(7, 5, Some(256)),
            ]
        );
        assert_eq!(tasks.processes.len(), 0);
    }

    #[test]
    fn the_status_of_a_group_that_ended_as_one_is_the_processs() {
        let mut tasks = Tasks::default();
        facts(&mut tasks, &[fork(5, 5), fork(6, 5)]);
        let ends = facts(&mut tasks, &[exit(5, 5, 0), exit(6, 5, 768)]);
        assert_eq!(ends.last(), Some(&process_exit(6, 5, Some(768))));
    }

    #[test]
    fn an_exec_by_another_thread_ends_that_thread_and_not_the_process() {
        let mut tasks = Tasks::default();
        facts(&mut tasks, &[fork(5, 5), fork(6, 5), fork(7, 5)]);
        let exec = Act::Exec(task(5, 5));
        // The kernel ends thread 7 and the first thread; thread 6 goes on as the first.
        let told = facts(&mut tasks, &[exit(7, 5, 0), exit(5, 5, 0), exec]);
        assert_eq!(
            told,
            [
                Fact::ThreadExit(task(7, 5)),
                Fact::ThreadExit(task(6, 5)),
                Fact::ProcessExec {
                    process_id: 5,
                    user: None
                },
            ]
        );
        // The exit of the old first thread came late and so under the id it was left with.
        assert_eq!(facts(&mut tasks, &[exit(6, 5, 0)]), []);
        assert_eq!(
            facts(&mut tasks, &[exit(5, 5, 9)]),
            [process_exit(5, 5, Some(9))]
        );
    }

    // Where the first thread had ended before, each thread that an exec ended was told to end twice,
    // and the last of them after the process.
    #[test]
    fn threads_that_an_exec_ends_end_once_however_late_they_tell() {
        let mut tasks = Tasks::default();
        facts(
            &mut tasks,
            &[fork(5, 5), fork(6, 5), fork(7, 5), fork(8, 5)],
        );
        let told = facts(&mut tasks, &[exit(5, 5, 0), Act::Exec(task(5, 5))]);
        let ends = [6, 7, 8].map(|thread_id| Fact::ThreadExit(task(thread_id, 5)));
        assert_eq!(told[..3], ends);
        let late = [exit(6, 5, 0), exit(5, 5, 0), exit(7, 5, 0)];
        assert_eq!(facts(&mut tasks, &late), [process_exit(5, 5, Some(0))]);
        assert_eq!(tasks.processes.len(), 0);
        // The caller has not ended, and its id is another's now.
        facts(&mut tasks, &[fork(9, 9), fork(8, 9)]);
        assert_eq!(
            facts(&mut tasks, &[exit(8, 9, 0)]),
            [Fact::ThreadExit(task(8, 9))]
        );
    }

    #[test]
    fn threads_that_an_exec_ended_are_forgotten_in_time() {
        let mut tasks = Tasks::default();
        let count = u32::try_from(REPLACED_MAX).unwrap() + 1;
        for process_id in 0..count {
            let process = Process::existing(vec![count + process_id], false, None);
            tasks.processes.insert(process_id, process);
            tasks.take(7, &Act::Exec(task(process_id, process_id)), &mut |_, _| {});
        }
        assert_eq!(tasks.replaced.len(), REPLACED_MAX + 1);
        let exec = Act::Exec(task(0, 0));
        tasks.take(7 + REPLACED_LATE_NS, &exec, &mut |_, _| {});
        assert_eq!(tasks.replaced.len(), 0);
    }

    #[test]
    fn threads_from_before_count() {
        let mut tasks = Tasks::default();
        let known = Process::existing(vec![6], false, None);
        tasks.processes.insert(5, known);
        let known = Process::existing(vec![9], true, None);
        tasks.processes.insert(8, known);
        assert_eq!(facts(&mut tasks, &[exit(5, 5, 0)]), []);
        let told = facts(&mut tasks, &[exit(6, 5, 0), exit(9, 8, 0)]);
        assert_eq!(told[1], process_exit(6, 5, Some(0)));
        assert_eq!(told[3], process_exit(9, 8, None));
    }

    // Processes that ended while a recording began were told to end before their threads, or twice.
    #[test]
    fn who_ends_while_the_snapshot_is_taken_ends_once_and_last() {
        let acts = [
            exit(6, 5, 0),
            exit(5, 5, 0),
            exit(7, 5, 9),
            // The first thread had ended before.
            exit(9, 8, 0),
            exit(10, 8, 0),
            // The id of a thread is used again.
            fork(7, 7),
            exit(7, 7, 0),
        ];
        // The snapshot saw none, all with the first thread only, or with it ended.
        let seen = [None, Some(false), Some(true)];
        for leader_has_ended in seen {
            let mut tasks = Tasks::default();
            if let Some(leader_has_ended) = leader_has_ended {
                let known = Process::existing(Vec::new(), leader_has_ended, None);
                tasks.processes.insert(5, known);
            }
            tasks.foresee(acts.iter());
            let told = facts(&mut tasks, &acts);
            let ends = [
                Fact::ThreadExit(task(6, 5)),
                Fact::ThreadExit(task(7, 5)),
                process_exit(7, 5, Some(9)),
                Fact::ThreadExit(task(9, 8)),
                Fact::ThreadExit(task(10, 8)),
                process_exit(10, 8, None),
            ];
            assert_eq!(told[..6], ends);
            assert_eq!(told.last(), Some(&process_exit(7, 7, Some(0))));
            assert_eq!(tasks.processes.len(), 0);
        }
    }

    #[test]
    fn user_and_session_are_inherited_and_follow_changes() {
        let mut tasks = Tasks::default();
        let users = |real_user_id| {
            let login_user_id = 1000;
            Some(Users {
                real_user_id,
                login_user_id,
            })
        };
        let root = User {
            user_id: 0,
            asked: users(0),
            session_id: 1,
        };
        let known = Process::existing(Vec::new(), false, Some(root));
        tasks.processes.insert(1, known);
        let changes = [
            fork(5, 5),
            Act::Session(task(5, 5)),
            Act::User {
                task: task(5, 5),
                user_id: 1000,
                real_user_id: 33,
            },
            Act::Exec(task(5, 5)),
        ];
        let told = facts(&mut tasks, &changes);
        assert_eq!(
            told,
            [
                Fact::ProcessStart {
                    process_id: 5,
                    creator: task(1, 1),
                    parent: None,
                    user: Some(root)
                },
                Fact::ProcessExec {
                    process_id: 5,
                    user: Some(User {
                        user_id: 1000,
                        asked: users(33),
                        session_id: 5
                    })
                },
            ]
        );
    }

    #[test]
    fn what_is_gone_is_forgotten_after_a_loss() {
        let mut tasks = Tasks::default();
        let own = std::process::id();
        let nobody = u32::MAX - 1;
        facts(&mut tasks, &[fork(nobody, nobody), fork(own, own)]);
        tasks.forget_users();
        tasks.heal(true);
        assert_eq!(tasks.processes.len(), 1);
        let user = tasks.user(own).unwrap();
        assert_eq!(user.user_id, nix::unistd::geteuid().as_raw());
    }
}

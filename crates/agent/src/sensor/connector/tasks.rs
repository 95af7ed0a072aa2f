//! From tasks, which the connector tells of, to processes and threads.
//!
//! The connector reports every task's exit and none of them says that it is the process's last, so
//! the threads of each process are kept here. Not exact is only this:
//!
//! - The status of a process whose first thread ended before the others. Linux reports the status
//!   of the whole group if it was ended as one, and that of the first thread otherwise, and the
//!   connector does not tell which. The last thread's status is taken unless it is 0.
//! - A process whose first thread had ended before the sensor began has an unknown status when
//!   its last thread ends with 0.
//! - After a loss, a process may be taken for ended too early, or its exit may go unnoticed. The
//!   loss is told, and [`Tasks::heal`] forgets what has no process any more.

use std::collections::HashMap;

use event::Kind;

use super::message::{Body, Task};

/// What a message comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    ProcessStart {
        process_id: u32,
        parent: Task,
        /// Effective user and session, inherited from the parent, where known.
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
    },
    ThreadStart(Task),
    ThreadExit(Task),
}

impl Fact {
    /// The kind of the event.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Self::ProcessStart { .. } => Kind::PROCESS_START,
            Self::ProcessExec { .. } => Kind::PROCESS_EXEC,
            Self::ProcessExit { .. } => Kind::PROCESS_EXIT,
            Self::ThreadStart(_) => Kind::THREAD_START,
            Self::ThreadExit(_) => Kind::THREAD_EXIT,
        }
    }
}

/// For whom a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) user_id: u32,
    pub(super) session_id: u32,
}

/// The threads of every process.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    processes: HashMap<u32, Process>,
}

#[derive(Debug, Default)]
struct Process {
    /// All threads but the first.
    threads: Vec<u32>,
    leader: Leader,
    user: Option<User>,
    /// When the last of its messages was sent: those of two processors may come out of order.
    last_time: u64,
    /// A thread that became the first one by an exec. The exit of its old self may come late.
    exec_thread_id: Option<u32>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Leader {
    #[default]
    Alive,
    Ended(Option<u32>),
}

impl Tasks {
    /// Notes a process that was there before. `leader_has_ended` says that only other threads live.
    pub(super) fn existing(
        &mut self,
        process_id: u32,
        threads: Vec<u32>,
        leader_has_ended: bool,
        user: User,
    ) {
        let process = Process {
            threads,
            leader: if leader_has_ended {
                Leader::Ended(None)
            } else {
                Leader::Alive
            },
            user: Some(user),
            ..Process::default()
        };
        self.processes.insert(process_id, process);
    }

    /// Forgets processes that are not there any more.
    pub(super) fn heal(&mut self, is_there_fn: impl Fn(u32) -> bool) {
        self.processes.retain(|&id, _| is_there_fn(id));
    }

    /// Takes one message and hands over what it comes to, with the time of that.
    pub(super) fn take(&mut self, time: u64, body: &Body, fact_fn: &mut dyn FnMut(u64, Fact)) {
        match *body {
            Body::Fork { parent, child } if child.thread_id == child.process_id => {
                let user = self.user(parent.process_id);
                let process = Process {
                    user,
                    ..Process::default()
                };
                self.processes.insert(child.process_id, process);
                fact_fn(
                    time,
                    Fact::ProcessStart {
                        process_id: child.process_id,
                        parent,
                        user,
                    },
                );
            }
            Body::Fork { child, .. } => {
                let process = self.processes.entry(child.process_id).or_default();
                if !process.threads.contains(&child.thread_id) {
                    process.threads.push(child.thread_id);
                }
                fact_fn(time, Fact::ThreadStart(child));
            }
            Body::Exec(task) => self.exec(time, task, fact_fn),
            Body::User { task, user_id } if task.thread_id == task.process_id => {
                self.change_user(task.process_id, |user| user.user_id = user_id);
            }
            Body::Session(task) => {
                self.change_user(task.process_id, |user| user.session_id = task.process_id);
            }
            Body::Exit {
                task,
                status,
                parent,
            } => {
                let parent = parent.map(|parent| parent.process_id);
                self.exit(time, task, (status, parent), fact_fn);
            }
            Body::User { .. } | Body::Answer { .. } | Body::Name(_) | Body::Other => {}
        }
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
        // All other threads have ended, and told so; one that has not is the caller itself, which
        // has taken over the first one's id.
        for thread_id in process.threads.drain(..) {
            process.exec_thread_id = Some(thread_id);
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
    }

    fn exit(
        &mut self,
        time: u64,
        task: Task,
        (status, parent): (u32, Option<u32>),
        fact_fn: &mut dyn FnMut(u64, Fact),
    ) {
        let Task {
            thread_id,
            process_id,
        } = task;
        let process = self.processes.entry(process_id).or_default();
        process.last_time = process.last_time.max(time);
        let last_time = process.last_time;
        let status = if thread_id == process_id {
            process.leader = Leader::Ended(Some(status));
            Some(status)
        } else {
            if process.exec_thread_id == Some(thread_id) {
                process.exec_thread_id = None;
                return;
            }
            process.threads.retain(|&id| id != thread_id);
            fact_fn(time, Fact::ThreadExit(task));
            match process.leader {
                Leader::Ended(leader_status) if status == 0 => leader_status,
                Leader::Ended(_) | Leader::Alive => Some(status),
            }
        };
        if process.threads.is_empty() && process.leader != Leader::Alive {
            self.processes.remove(&process_id);
            fact_fn(
                last_time,
                Fact::ProcessExit {
                    process_id,
                    thread_id,
                    status,
                    parent,
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(thread_id: u32, process_id: u32) -> Task {
        Task {
            thread_id,
            process_id,
        }
    }

    fn facts(tasks: &mut Tasks, bodies: &[Body]) -> Vec<Fact> {
        let mut facts = Vec::new();
        for body in bodies {
            tasks.take(0, body, &mut |_, fact| facts.push(fact));
        }
        facts
    }

    fn fork(thread_id: u32, process_id: u32) -> Body {
        Body::Fork {
            parent: task(1, 1),
            child: task(thread_id, process_id),
        }
    }

    fn exit(thread_id: u32, process_id: u32, status: u32) -> Body {
        Body::Exit {
            task: task(thread_id, process_id),
            status,
            parent: Some(task(1, 1)),
        }
    }

    fn process_exit(thread_id: u32, process_id: u32, status: Option<u32>) -> Fact {
        Fact::ProcessExit {
            process_id,
            thread_id,
            status,
            parent: Some(1),
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
        let exec = Body::Exec(task(5, 5));
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

    #[test]
    fn threads_from_before_count() {
        let mut tasks = Tasks::default();
        tasks.existing(5, vec![6], false, User::default());
        tasks.existing(8, vec![9], true, User::default());
        assert_eq!(facts(&mut tasks, &[exit(5, 5, 0)]), []);
        let told = facts(&mut tasks, &[exit(6, 5, 0), exit(9, 8, 0)]);
        assert_eq!(told[1], process_exit(6, 5, Some(0)));
        assert_eq!(told[3], process_exit(9, 8, None));
    }

    #[test]
    fn user_and_session_are_inherited_and_follow_changes() {
        let mut tasks = Tasks::default();
        let root = User {
            user_id: 0,
            session_id: 1,
        };
        tasks.existing(1, Vec::new(), false, root);
        let changes = [
            fork(5, 5),
            Body::Session(task(5, 5)),
            Body::User {
                task: task(5, 5),
                user_id: 1000,
            },
            Body::Exec(task(5, 5)),
        ];
        let told = facts(&mut tasks, &changes);
        assert_eq!(
            told,
            [
                Fact::ProcessStart {
                    process_id: 5,
                    parent: task(1, 1),
                    user: Some(root)
                },
                Fact::ProcessExec {
                    process_id: 5,
                    user: Some(User {
                        user_id: 1000,
                        session_id: 5
                    })
                },
            ]
        );
    }

    #[test]
    fn what_is_gone_is_forgotten_after_a_loss() {
        let mut tasks = Tasks::default();
        facts(&mut tasks, &[fork(5, 5), fork(6, 6)]);
        tasks.heal(|id| id == 6);
        assert_eq!(tasks.processes.len(), 1);
    }
}

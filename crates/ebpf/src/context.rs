//! What surrounds the process of an exec: its directory, its terminal, the variables it was given.
//!
//! It is put together by a program of its own in front of the one that tells the exec, which appends it
//! to its record: both together are more than the verifier of an old kernel is willing to look at, which
//! walks through each step of a loop (`kernel/repeat.rs`). Between the two the
//! processor may have been given to another exec, and since Linux 7.0 in the middle of each; so it says
//! of which exec it is, and whoever takes it looks before and afterwards.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use event::{Flags, Kind, process};

use crate::kernel::{ENVIRONMENT_IS_ASKED, Shared, Task, Variables};
use crate::maps;
use crate::record::{Record, Scratch, Text};
use crate::turn::{Act, Turn};

/// Room for directory and environment, as far as the verifier sees it: a power of two, and the most
/// that it takes a variable for.
const TEXTS_SIZE: usize = 40 * 1024;

/// What surrounds the process of one exec.
#[repr(C)]
pub(crate) struct ExecContext {
    /// The number of the act; 0 while it is put together.
    act: Shared,
    flags: Shared,
    terminal: Shared,
    directory_size: Shared,
    environment_size: Shared,
    variables: Variables,
    texts: Scratch<TEXTS_SIZE>,
}

impl ExecContext {
    /// Whether it is that of the act with this number.
    #[inline(always)]
    pub(crate) fn is_of(&self, act: u64) -> bool {
        self.act.load() == act
    }

    /// Its fixed part, and the sizes of directory and environment.
    #[inline(always)]
    pub(crate) fn fixed(&self) -> (process::Context<'static>, [u64; 2]) {
        let fixed = process::Context {
            flags: Flags(self.flags.load() as u32),
            terminal: self.terminal.load() as u32,
            ..process::Context::default()
        };
        (
            fixed,
            [self.directory_size.load(), self.environment_size.load()],
        )
    }

    /// Puts it together, and returns where it is said of which act it is.
    #[inline(always)]
    fn put_together(&'static mut self, task: Task) -> &'static Shared {
        self.terminal.store(task.terminal().into());
        let mut texts = Record::of_texts(&mut self.texts);
        let directory = texts.append_path(task.directory());
        let environment = match (task.environment(), maps::environment_names()) {
            _ if ENVIRONMENT_IS_ASKED.value() == 0 => Text::NONE,
            (Some(range), Some(names)) => texts.append_variables(range, &self.variables, names),
            _ => Text::arguments_unavailable(),
        };
        self.directory_size.store(directory.size.into());
        self.environment_size.store(environment.size.into());
        let flags = directory.flags.with(environment.flags);
        self.flags.store(flags.0.into());
        &self.act
    }

    /// Directory and environment, one behind the other.
    #[inline(always)]
    pub(crate) const fn texts(&self) -> &Scratch<TEXTS_SIZE> {
        &self.texts
    }
}

/// The same tracepoint as that of `sched_process_exec`, and attached before.
#[btf_tracepoint]
fn sched_process_exec_context(context: BtfTracePointContext) -> Option<()> {
    exec_context(&context, Turn::First)
}

/// The same, where the first was busy.
#[btf_tracepoint]
fn sched_process_exec_context_second(context: BtfTracePointContext) -> Option<()> {
    exec_context(&context, Turn::Second)
}

#[inline(always)]
fn exec_context(context: &BtfTracePointContext, turn: Turn) -> Option<()> {
    let task = Task::new(context.arg(0))?;
    if !maps::is_enabled() {
        return None;
    }
    let act = Act::of_exec(task).id();
    if turn == Turn::Second && maps::exec_context(Turn::First)?.is_of(act) {
        return None;
    }
    let context = maps::exec_context_mut(turn)?;
    context.act.store(0);
    let act_told = context.put_together(task);
    act_told.store(act);
    Some(())
}

impl Act {
    /// That a task has executed a program.
    #[inline(always)]
    pub(crate) fn of_exec(task: Task) -> Self {
        Self {
            kind: Kind::PROCESS_EXEC,
            task,
            count: task.exec_count(),
        }
    }
}

//! Process start, exec and exit.

use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use event::extension::write_extended;
use event::{Event, Extension, Flags, HEADER_SIZE, Kind, process};

use crate::kernel::{EXIT_TELLS_LAST, KernelText, Path, Program, RUNS_TWICE, Task};
use crate::maps::{self, EXEC_SIZE_MAX, Ring};
use crate::record::{Buffer, Record, Text, header};
use crate::thread;
use crate::turn::{Act, Turn};

/// `task_newtask(struct task_struct *task, unsigned long clone_flags)`: the one place every new
/// task passes, kernel threads and the workers of `io_uring` included.
#[btf_tracepoint]
fn task_newtask(context: BtfTracePointContext) -> Option<()> {
    newtask(&context, Turn::First)
}

/// The same, where the first was busy.
#[btf_tracepoint]
fn task_newtask_second(context: BtfTracePointContext) -> Option<()> {
    newtask(&context, Turn::Second)
}

#[inline(always)]
fn newtask(context: &BtfTracePointContext, turn: Turn) -> Option<()> {
    const CLONE_THREAD: u64 = 0x0001_0000;
    let task = Task::new(context.arg(0))?;
    let clone_flags: u64 = context.arg(1);
    // Process id 0 is the idle thread of a processor that comes up.
    if !maps::is_enabled() || task.pid() == 0 {
        return None;
    }
    let act = Act {
        kind: Kind::PROCESS_START,
        task,
        count: 0,
    };
    if !turn.begin(act) {
        return None;
    }
    if clone_flags & CLONE_THREAD != 0 {
        thread::start(task);
    } else {
        start(task);
    }
    turn.end(act);
    Some(())
}

#[inline(always)]
fn start(task: Task) {
    let (parent, creator) = (task.parent(), Task::current());
    let start = process::Start {
        parent_process_id: parent.tgid(),
        creator_process_id: creator.tgid(),
        creator_thread_id: creator.pid(),
        session_id: task.session_id(),
        user_id: task.effective_user_id(),
        parent_start_time: parent.leader().start_time(),
        creator_start_time: creator.leader().start_time(),
        image: &[],
        command_line: &[],
    };
    let ring = Ring::of(Kind::PROCESS_START);
    let mut header = header(task, ring.lost());
    if task.is_kernel_thread() {
        header.flags = Flags::KERNEL_PROCESS;
    }
    const SIZE: usize = HEADER_SIZE
        .wrapping_add(process::Start::FIXED_SIZE)
        .wrapping_add(process::Users::SIZE)
        .wrapping_add(process::Setting::SIZE)
        .wrapping_add(process::Context::FIXED_SIZE);
    let mut buffer = Buffer([0; SIZE]);
    let context = process::Context::of_terminal(task.terminal());
    let origin = Extension::Context(task.users(), task.setting(), context);
    let record = write_extended(header, &Event::ProcessStart(start), &origin, &mut buffer.0);
    ring.store(Kind::PROCESS_START, record);
}

/// `sched_process_exec(struct task_struct *p, pid_t old_pid, struct linux_binprm *bprm)`: the new
/// program is in place and has not run yet.
#[btf_tracepoint]
fn sched_process_exec(context: BtfTracePointContext) -> Option<()> {
    process_exec(&context, Turn::First)
}

/// The same, where the first was busy.
#[btf_tracepoint]
fn sched_process_exec_second(context: BtfTracePointContext) -> Option<()> {
    process_exec(&context, Turn::Second)
}

#[inline(always)]
fn process_exec(context: &BtfTracePointContext, turn: Turn) -> Option<()> {
    let task = Task::new(context.arg(0))?;
    let old_pid: u32 = context.arg(1);
    let program = Program::new(context.arg(2))?;
    if !maps::is_enabled() {
        return None;
    }
    let act = Act::of_exec(task);
    if !turn.begin(act) {
        return None;
    }
    // A thread that execs takes over the process id; its own id ends here.
    if old_pid != task.pid() {
        thread::exit(task, old_pid);
    }
    let ring = Ring::of(Kind::PROCESS_EXEC);
    ring.store(Kind::PROCESS_EXEC, exec(task, program, ring, turn));
    turn.end(act);
    Some(())
}

#[inline(always)]
fn exec(task: Task, program: Program, ring: Ring, turn: Turn) -> Option<&'static [u8]> {
    let mut header = header(task, ring.lost());
    let mut record = Record::new(maps::exec_scratch(turn)?, process::Exec::FIXED_SIZE);
    let image = match program.file() {
        Some(file) => record.append_image(file.path()),
        None => Text::image_unavailable(),
    };
    let arguments = match task.arguments() {
        Some(range) => record.append_arguments(range, ring),
        None => Text::NONE,
    };
    let (mut script, mut directory) = (Text::NONE, Text::NONE);
    if let Some(path) = program.script() {
        script = record.append_text(path);
        directory = record.append_path(begin_of(task, path));
    }
    header.kind = Kind::PROCESS_EXEC;
    header.flags = image
        .flags
        .with(arguments.flags)
        .with(script_flags(directory.flags))
        .with(record.append_origin(task.users(), task.setting()));
    append_context(&mut record, task, ring);
    let exec = process::Exec {
        user_id: task.effective_user_id(),
        session_id: task.session_id(),
        ..process::Exec::default()
    };
    let sizes = [image.size, arguments.size, script.size, directory.size];
    record.finish(header, |writer| exec.write_fixed(writer, sizes))
}

/// Appends what was put together before, where that is of this exec.
#[inline(always)]
fn append_context(record: &mut Record<EXEC_SIZE_MAX>, task: Task, ring: Ring) {
    let act = Act::of_exec(task).id();
    let of_turn = |turn| maps::exec_context(turn).filter(|context| context.is_of(act));
    let context = match of_turn(Turn::First) {
        None if RUNS_TWICE.value() != 0 => of_turn(Turn::Second),
        first => first,
    };
    if let Some(context) = context {
        record.append_context(context, act, ring);
    }
}

/// Where the path of a script begins: its descriptor is still open, for its interpreter reads it.
#[inline(always)]
fn begin_of(task: Task, script: KernelText) -> Path {
    if !script.begins_with(b'/') {
        return task.directory();
    }
    match script.descriptor() {
        Some(number) => task.descriptor(number),
        None => task.root(),
    }
}

/// What is said of a script whose path begins at a path with these flags.
#[inline(always)]
fn script_flags(directory: Flags) -> Flags {
    let mut flags = Flags::NONE;
    if directory.contains(Flags::IMAGE_TRUNCATED) {
        flags = flags.with(Flags::SCRIPT_TRUNCATED);
    }
    if directory.contains(Flags::IMAGE_DELETED) {
        flags = flags.with(Flags::SCRIPT_DELETED);
    }
    flags
}

/// `sched_process_exit(struct task_struct *p, bool group_dead)`; kernels before 6.17 do not pass
/// the second.
#[btf_tracepoint]
fn sched_process_exit(context: BtfTracePointContext) -> Option<()> {
    process_exit(&context, Turn::First)
}

/// The same, where the first was busy.
#[btf_tracepoint]
fn sched_process_exit_second(context: BtfTracePointContext) -> Option<()> {
    process_exit(&context, Turn::Second)
}

#[inline(always)]
fn process_exit(context: &BtfTracePointContext, turn: Turn) -> Option<()> {
    let task = Task::new(context.arg(0))?;
    if !maps::is_enabled() {
        return None;
    }
    let act = Act {
        kind: Kind::PROCESS_EXIT,
        task,
        count: 0,
    };
    if !turn.begin(act) {
        return None;
    }
    let process_id = task.tgid();
    if task.pid() != process_id {
        thread::exit(task, task.pid());
    }
    let is_last = if EXIT_TELLS_LAST.value() != 0 {
        let group_dead: u64 = context.arg(1);
        group_dead & 0xff != 0
    } else {
        task.live_threads() == 0 && maps::claim_exit(process_id, task.leader().start_time())
    };
    if is_last {
        exit(task);
    }
    turn.end(act);
    Some(())
}

#[inline(always)]
fn exit(task: Task) {
    let exit = process::Exit {
        exit_status: task.exit_status(),
        parent_process_id: task.parent().tgid(),
    };
    let ring = Ring::of(Kind::PROCESS_EXIT);
    const SIZE: usize = HEADER_SIZE
        .wrapping_add(process::Exit::SIZE)
        .wrapping_add(process::Session::SIZE)
        .wrapping_add(process::Usage::SIZE);
    let session = process::Session {
        session_id: task.session_id(),
    };
    let ending = Extension::Ending(session, task.usage());
    let mut buffer = Buffer([0; SIZE]);
    let record = write_extended(
        header(task, ring.lost()),
        &Event::ProcessExit(exit),
        &ending,
        &mut buffer.0,
    );
    ring.store(Kind::PROCESS_EXIT, record);
}

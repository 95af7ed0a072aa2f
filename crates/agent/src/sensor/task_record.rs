//! The records of what tasks did, with `/proc` for what their sensors are not told.

use event::process::Users;
use event::{Event, Extension, Flags, Header, process, thread};

use super::Batch;
use super::logins::Logins;
use super::tasks::Fact;
use crate::sys::proc::{self, Program, User};
use crate::sys::processes::START_TICK_NS;

/// A fork is told less than this after the process's start time was taken.
const FORK_LATE_NS: u64 = 500_000;

/// Appends the record of `fact`, which happened at `time`. `program_fn` says what a process that
/// has just executed a program runs, and for whom; `None` where that is not known any more.
pub(super) fn write(
    time: u64,
    fact: &Fact,
    batch: &mut Batch,
    logins: &mut Logins,
    program_fn: &mut dyn FnMut(u32) -> Option<(Program, Option<User>)>,
) {
    match *fact {
        Fact::ProcessStart { .. } => write_start(time, fact, batch, logins),
        Fact::ProcessExec { process_id, user } => {
            let (program, read) =
                program_fn(process_id).unwrap_or_else(|| (Program::unavailable(), None));
            // What is followed is of the moment of the exec, but not the login.
            let (user, login) = match user {
                Some(user) => {
                    let read = read.and_then(|read| read.asked);
                    let asked = user.asked.or(read);
                    let login = asked.and_then(|asked| {
                        let read = read.map(|read| read.login_user_id);
                        logins.at_exec(process_id, asked.login_user_id, read, time)
                    });
                    with_login(User { asked, ..user }, login)
                }
                None => (read, Flags::NONE),
            };
            write_exec(time, process_id, &program, (user, login), batch);
        }
        Fact::ProcessExit {
            process_id,
            thread_id,
            status,
            parent,
            session_id,
        } => {
            let mut header = header(time, thread_id, process_id);
            if status.is_none() {
                header.flags = Flags::EXIT_STATUS_UNAVAILABLE;
            }
            let exit = process::Exit {
                exit_status: status.unwrap_or(0),
                parent_process_id: parent.unwrap_or(0),
            };
            let session = session_id.map(|session_id| process::Session { session_id });
            let session = session.map_or(Extension::None, Extension::Session);
            put(batch, header, &Event::ProcessExit(exit), &session);
        }
        Fact::ThreadStart { task, creator } => {
            let start = thread::Start {
                // A thread is always made by one of its own process.
                creator_process_id: task.process_id,
                creator_thread_id: creator.map_or(0, |creator| creator.thread_id),
                ..thread::Start::default()
            };
            let header = header(time, task.thread_id, task.process_id);
            put(batch, header, &Event::ThreadStart(start), &Extension::None);
        }
        Fact::ThreadExit(task) => {
            let header = header(time, task.thread_id, task.process_id);
            put(
                batch,
                header,
                &Event::ThreadExit(thread::Exit),
                &Extension::None,
            );
        }
    }
}

fn write_start(time: u64, fact: &Fact, batch: &mut Batch, logins: &mut Logins) {
    let &Fact::ProcessStart {
        process_id,
        creator,
        parent,
        user,
    } = fact
    else {
        return;
    };
    let mut header = header(time, process_id, process_id);
    // No more than the tick: the time of the fork is not that of the start.
    let mut tick = time / START_TICK_NS;
    let mut parent = parent;
    let (mut user, login) = user.map_or((None, Flags::NONE), |user| {
        let inherited = user.asked.map(|asked| asked.login_user_id);
        let login = inherited
            .and_then(|inherited| logins.at_start(process_id, creator.process_id, inherited, time));
        with_login(user, login)
    });
    // The fork may be told in the tick after the one that counts as the start.
    let is_early_in_tick = time % START_TICK_NS < FORK_LATE_NS;
    if (is_early_in_tick || user.is_none())
        && let Ok((process, stat)) = proc::Process::open_as_of(process_id, time)
    {
        tick = tick.min(stat.start_tick);
        parent = parent.or(Some(stat.parent_process_id));
        user = user.or_else(|| process.user(&stat));
    }
    header.start_time = tick.saturating_mul(START_TICK_NS);
    header.flags = login;
    if user.is_none() {
        header.flags = Flags::USER_UNAVAILABLE;
    }
    let user = user.unwrap_or_default();
    let start = process::Start {
        parent_process_id: parent.unwrap_or(creator.process_id),
        creator_process_id: creator.process_id,
        creator_thread_id: creator.thread_id,
        session_id: user.session_id,
        user_id: user.user_id,
        ..process::Start::default()
    };
    put(batch, header, &Event::ProcessStart(start), &who(user));
}

fn write_exec(
    time: u64,
    process_id: u32,
    program: &Program,
    (user, login): (Option<User>, Flags),
    batch: &mut Batch,
) {
    let mut header = header(time, process_id, process_id);
    header.flags = program.flags.with(login);
    if user.is_none() {
        header.flags = header.flags.with(Flags::USER_UNAVAILABLE);
    }
    let user = user.unwrap_or_default();
    let exec = process::Exec {
        user_id: user.user_id,
        session_id: user.session_id,
        image: &program.image,
        command_line: &program.command_line,
        ..process::Exec::default()
    };
    put(batch, header, &Event::ProcessExec(exec), &who(user));
}

/// The user with that login, and what says that it is not known.
fn with_login(user: User, login: Option<u32>) -> (Option<User>, Flags) {
    let asked = user.asked.map(|asked| Users {
        login_user_id: login.unwrap_or(Users::NOBODY),
        ..asked
    });
    let is_unknown = asked.is_some() && login.is_none();
    let flags = if is_unknown {
        Flags::LOGIN_UNAVAILABLE
    } else {
        Flags::NONE
    };
    (Some(User { asked, ..user }), flags)
}

fn header(time: u64, thread_id: u32, process_id: u32) -> Header {
    Header {
        time,
        process_id,
        thread_id,
        ..Header::default()
    }
}

fn who(user: User) -> Extension<'static> {
    user.asked.map_or(Extension::None, Extension::Users)
}

fn put(batch: &mut Batch, header: Header, event: &Event<'_>, extension: &Extension<'_>) {
    let written = batch.write_extended(header, event, extension);
    debug_assert!(written, "texts of limited size");
}

//! What Windows audits of processes: events 4688 and 4689 of the Security log, by the names of their
//! values. Ids are hexadecimal text, and `ProcessId` of a start is the creator's.

use std::sync::Arc;

use super::convert::{Context, Converted, integrity_level, run_time};
use super::data::Data;
use crate::trail::{Body, Parent, ProcessExit, ProcessStart, Program, StartDetails, UserId};

/// The event of that id.
pub(super) fn event(event_id: u64, context: &mut Context<'_>) -> Converted {
    match event_id {
        4688 => process_start(context),
        _ => process_exit(context),
    }
}

fn process_start(context: &mut Context<'_>) -> Converted {
    let data = context.data;
    let named = context.named("NewProcessId", "")?;
    let creator = context.named("ProcessId", "").ok();
    let creator_key = creator.map(|creator| context.processes.key(creator, context.time));
    let creator_id = creator.map(|creator| creator.process_id);
    let image = data.text("NewProcessName").cloned();
    let key = context
        .processes
        .started(named, context.time, image.as_ref());
    context.never(&["creator_thread_id", "session_id"]);
    let creator_process_id = context.unknown("creator_process_id", creator_id);
    let (user, user_id, logon_id) = user(data);
    let start = ProcessStart {
        parent_process_id: context.unknown("parent_process_id", creator_id),
        parent_process_key: context.unknown("parent_process_key", creator_key),
        creator_process_id,
        program: Program {
            image: context.unknown("image", image),
            // Not there where the policy does not want it.
            command_line: context.unknown("command_line", data.text("CommandLine").cloned()),
            user: context.unknown("user", user),
            user_id: context.unknown("user_id", user_id),
            ..Program::default()
        },
        parent: Parent {
            parent_image: data.text("ParentProcessName").cloned(),
            ..Parent::default()
        },
        integrity_level: data.shown("MandatoryLabel").map(integrity_level),
        elevated: elevated(data),
        details: Some(Box::new(StartDetails {
            logon_id,
            ..StartDetails::default()
        })),
        ..ProcessStart::default()
    };
    Ok(((named.process_id, key), Body::from(start)))
}

fn process_exit(context: &mut Context<'_>) -> Converted {
    let named = context.named("ProcessId", "")?;
    let (key, start) = context.processes.ended(named, context.time);
    let image = context.data.text("ProcessName").cloned();
    let status = context.data.id("Status");
    let exit = ProcessExit {
        exit_code: context.unknown("exit_code", status),
        image: context.unknown("image", image),
        run_time_ns: context.unknown("run_time_ns", run_time(start, context.time)),
        ..ProcessExit::default()
    };
    Ok(((named.process_id, key), Body::from(exit)))
}

/// For whom the process runs, and the logon session: those of the target where the record has one, as
/// where somebody starts a program as another, else those of whoever started it.
fn user(data: &Data) -> (Option<Arc<str>>, Option<UserId>, Option<u64>) {
    /// The SID of nobody.
    const NOBODY: &str = "S-1-0-0";
    let of = |who: &str| {
        let value = |what: &str| data.shown(&format!("{who}{what}"));
        let sid = value("UserSid").filter(|sid| *sid != NOBODY);
        let name = value("UserName").map(|name| match value("DomainName") {
            Some(domain) => format!("{domain}\\{name}"),
            None => name.to_owned(),
        });
        let logon_id = data.number(&format!("{who}LogonId")).filter(|id| *id != 0);
        let sid = sid.map(|sid| UserId::Sid(sid.into()));
        (name.map(Into::into), sid, logon_id)
    };
    match of("Target") {
        (None, None, _) => of("Subject"),
        target => target,
    }
}

/// Whether the token has an administrator's rights; a token of one who has no other does not say.
fn elevated(data: &Data) -> Option<bool> {
    match data.shown("TokenElevationType")? {
        "%%1937" => Some(true),
        "%%1938" => Some(false),
        _ => None,
    }
}

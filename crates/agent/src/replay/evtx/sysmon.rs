//! Sysmon's events, by the names of their values.

use super::convert::{Context, Converted, integrity_level, run_time};
use super::data::Data;
use crate::trail::{
    Body, ImageFile, ImageLoad, LoadDetails, Parent, ProcessExit, ProcessStart, Program,
    ProgramFile, Setting, StartDetails, ThreadDetails, ThreadStart,
};

/// The event of that id.
pub(super) fn event(event_id: u64, context: &mut Context<'_>) -> Converted {
    match event_id {
        1 => process_start(context),
        5 => process_exit(context),
        // A driver is loaded into the kernel: process 0, as where our own driver tells of it.
        6 => Ok(((0, context.kernel_key()), loaded(context, true))),
        7 => image_load(context),
        _ => thread_start(context),
    }
}

fn process_start(context: &mut Context<'_>) -> Converted {
    let data = context.data;
    let named = context.named("ProcessId", "ProcessGuid")?;
    let parent = context.named("ParentProcessId", "ParentProcessGuid").ok();
    let parent_key = parent.map(|parent| context.processes.key(parent, context.time));
    let image = data.text("Image").cloned();
    let key = context
        .processes
        .started(named, context.time, image.as_ref());
    context.never(&["creator_process_id", "creator_thread_id", "user_id"]);
    let start = ProcessStart {
        parent_process_id: context.unknown("parent_process_id", parent.map(|id| id.process_id)),
        parent_process_key: context.unknown("parent_process_key", parent_key),
        program: Program {
            image: context.unknown("image", image),
            command_line: context.unknown("command_line", data.text("CommandLine").cloned()),
            user: context.unknown("user", data.shown("User").map(Into::into)),
            ..Program::default()
        },
        parent: Parent {
            parent_image: data.text("ParentImage").cloned(),
            parent_command_line: data.text("ParentCommandLine").cloned(),
            parent_user: data.shown("ParentUser").map(Into::into),
        },
        setting: Setting {
            working_directory: data.text("CurrentDirectory").cloned(),
            ..Setting::default()
        },
        session_id: context.unknown("session_id", data.id("TerminalSessionId")),
        integrity_level: data.shown("IntegrityLevel").map(integrity_level),
        details: Some(Box::new(StartDetails {
            logon_id: data.number("LogonId"),
            file: program_file(data),
            ..StartDetails::default()
        })),
        ..ProcessStart::default()
    };
    Ok(((named.process_id, key), Body::from(start)))
}

fn process_exit(context: &mut Context<'_>) -> Converted {
    let named = context.named("ProcessId", "ProcessGuid")?;
    let (key, start) = context.processes.ended(named, context.time);
    context.never(&["exit_code"]);
    let image = context.data.text("Image").cloned();
    let exit = ProcessExit {
        image: context.unknown("image", image),
        run_time_ns: context.unknown("run_time_ns", run_time(start, context.time)),
        ..ProcessExit::default()
    };
    Ok(((named.process_id, key), Body::from(exit)))
}

fn image_load(context: &mut Context<'_>) -> Converted {
    let named = context.named("ProcessId", "ProcessGuid")?;
    let key = context.processes.key(named, context.time);
    let body = loaded(context, false);
    Ok(((named.process_id, key), body))
}

fn loaded(context: &mut Context<'_>, kernel_image: bool) -> Body {
    let data = context.data;
    context.never(&["image_base", "image_size"]);
    Body::from(ImageLoad {
        image: context.unknown("image", data.text("ImageLoaded").cloned()),
        process_image: data.text("Image").cloned(),
        kernel_image,
        details: Some(Box::new(LoadDetails {
            file: image_file(data),
            build_id: None,
            signed: data.truth("Signed"),
            signer: data.text("Signature").cloned(),
            signature_status: data.text("SignatureStatus").cloned(),
        })),
        ..ImageLoad::default()
    })
}

fn thread_start(context: &mut Context<'_>) -> Converted {
    let data = context.data;
    let named = context.named("TargetProcessId", "TargetProcessGuid")?;
    let key = context.processes.key(named, context.time);
    context.never(&["creator_thread_id"]);
    let creator = context.unknown("creator_process_id", data.id("SourceProcessId"));
    let start = ThreadStart {
        thread_id: data.id("NewThreadId").ok_or("NewThreadId")?,
        process_image: data.text("TargetImage").cloned(),
        creator_process_id: creator,
        creator_thread_id: None,
        remote: creator != Some(named.process_id),
        start_address: data.number("StartAddress"),
        details: Some(Box::new(ThreadDetails {
            creator_image: data.text("SourceImage").cloned(),
            creator_command_line: None,
        })),
    };
    Ok(((named.process_id, key), Body::from(start)))
}

/// What is known of a file: structs of one form and two declarations.
macro_rules! file {
    ($file:ident, $data:expr) => {
        $file {
            original_file_name: $data.text("OriginalFileName").cloned(),
            description: $data.text("Description").cloned(),
            product: $data.text("Product").cloned(),
            company: $data.text("Company").cloned(),
            file_version: $data.text("FileVersion").cloned(),
            md5: $data.hash("Hashes", "MD5"),
            sha1: $data.hash("Hashes", "SHA1"),
            sha256: $data.hash("Hashes", "SHA256"),
            imphash: $data.hash("Hashes", "IMPHASH"),
        }
    };
}

fn program_file(data: &Data) -> ProgramFile {
    file!(ProgramFile, data)
}

fn image_file(data: &Data) -> ImageFile {
    file!(ImageFile, data)
}

//! Process start, exec and exit.

use std::borrow::Cow;
use std::sync::Arc;

use event::ProcessKey;

use crate::schema::fields;
use crate::{ExecDetails, StartDetails, Text, UserId};

fields! {
    /// The program a process runs and for whom. Shared, not copied, between the events of a process.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Program {
        /// full path of the program as the kernel resolved it; for a script that of its interpreter
        image: Option<Text> => SystemText in Shared since 1, ecs "process.executable", ocsf "process.file.path";
        /// the program's file had no name in any directory: deleted, or anonymous memory
        image_deleted: bool => Flag in Shared since 1;
        /// Linux: in whose tree `image` is told, where that is not the host's: `mount_namespace`, `detached`, `root`, `unknown`
        path_scope: Option<Cow<'static, str>> => MaybePlainText in Shared since 3;
        /// Linux: the device of the program's file, `major:minor`
        device: Option<Arc<str>> => MaybePlainText in Shared since 3;
        /// Linux: the inode of the program's file
        inode: Option<u64> => MaybeNumber in Shared since 3;
        /// Linux: the inode of the mount namespace `image` is told in, where that is not the host's
        mount_namespace: Option<u32> => MaybeNumber in Shared since 3;
        /// the arguments as one text
        command_line: Option<Text> => SystemText in Shared since 1, ecs "process.command_line", ocsf "process.cmd_line";
        /// Linux: the arguments one by one
        arguments: Option<Arc<[Text]>> => MaybeTexts in Shared since 1, ecs "process.args";
        /// the user's name, set-user-id honoured
        user: Option<Arc<str>> => PlainText in Shared since 1, ecs "user.name", ocsf "process.user.name";
        /// Linux: the effective uid, a number; Windows: the SID, a text
        user_id: Option<UserId> => User in Shared since 1, ecs "user.id", ocsf "process.user.uid";
        /// Linux: the name of the real user, who asked for a set-user-id program; where he is another than `user`
        real_user: Option<Arc<str>> => MaybePlainText in Shared since 3, ecs "process.real_user.name";
        /// his uid
        real_user_id: Option<u32> => MaybeNumber in Shared since 3, ecs "process.real_user.id";
        /// Linux: the name of the user who logged in (audit), which stays through `su` and `sudo`; where that was set
        login_user: Option<Arc<str>> => MaybePlainText in Shared since 3;
        /// the uid of the login
        login_user_id: Option<u32> => MaybeNumber in Shared since 3;
        /// the script the program, an interpreter, was started for, as an absolute path
        script: Option<Text> => MaybeSystemText in Shared since 1;
        /// Linux: in whose tree `script` is told, where that is not the host's: as `path_scope`, and `none`
        script_scope: Option<Cow<'static, str>> => MaybePlainText in Shared since 3;
        /// Linux: of the variables it was given those that are asked for, `NAME=value`; where there is one
        environment: Option<Arc<[Text]>> => MaybeTexts in Shared since 3, ecs "process.env_vars";
    }
}

impl Program {
    /// Bytes of the texts from the process itself, which can be long or many: by them whoever keeps
    /// many programs bounds himself.
    pub fn size(&self) -> usize {
        /// What an argument takes beside its bytes: its place in the list, and in memory.
        const ARGUMENT_SIZE: usize = size_of::<Text>() + 32;
        let own = [&self.image, &self.command_line, &self.script];
        let own = own.into_iter().flatten();
        let lists = [&self.arguments, &self.environment].into_iter().flatten();
        let arguments = lists.flat_map(|list| list.iter());
        let arguments = arguments.map(|argument| argument.size().saturating_add(ARGUMENT_SIZE));
        own.map(Text::size)
            .chain(arguments)
            .fold(0, usize::saturating_add)
    }

    /// Whether it runs for the user of this name, or of this id.
    pub fn is_of_user(&self, user: &str) -> bool {
        let has_id = match &self.user_id {
            Some(UserId::Uid(uid)) => uid.to_string() == user,
            Some(UserId::Sid(sid)) => **sid == *user,
            None => false,
        };
        has_id || self.user.as_deref() == Some(user)
    }

    /// Forgets the arguments, and the environment, which are what is long.
    pub fn forget_arguments(&mut self) {
        self.command_line = None;
        self.arguments = None;
        self.environment = None;
    }
}

fields! {
    /// What the parent runs and for whom, at that moment.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Parent {
        /// path of the parent's program
        parent_image: Option<Text> => MaybeSystemText in Row since 3, ecs "process.parent.executable", ocsf "process.parent_process.path";
        /// its arguments as one text, of which no more than 1,024 bytes are told
        parent_command_line: Option<Text> => MaybeSystemText in Row since 3, ecs "process.parent.command_line", ocsf "process.parent_process.cmd_line";
        /// the name of its user
        parent_user: Option<Arc<str>> => MaybePlainText in Row since 3, ecs "process.parent.user.name", ocsf "process.parent_process.user.name";
    }
}

fields! {
    /// Where a process runs.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct Setting {
        /// Linux: its control group in the unified hierarchy (version 2), as a path from the root
        cgroup: Option<Text> => MaybeSystemText in Shared since 3;
        /// Linux: the id of the container that the control group is of, 64 hex digits
        container_id: Option<Arc<str>> => MaybePlainText in Shared since 3, ecs "container.id", ocsf "process.container.uid";
        /// Linux: the unit of the system's systemd that the control group is of
        systemd_unit: Option<Arc<str>> => MaybePlainText in Shared since 3;
        /// its working directory
        working_directory: Option<Text> => MaybeSystemText in Row since 3, ecs "process.working_directory", ocsf "process.working_directory";
        /// Linux: in whose tree `working_directory` is told, where that is not the host's: as `path_scope`, and `none`
        working_directory_scope: Option<Cow<'static, str>> => MaybePlainText in Row since 3;
        /// Linux: its controlling terminal, where it has one: `pts/3`, `tty1`
        terminal: Option<Arc<str>> => MaybePlainText in Row since 3, ocsf "process.session.terminal";
    }
}

fields! {
    /// A process was created.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ProcessStart {
        /// the process that will be told of the exit
        parent_process_id: Option<u32> => Number in Parent since 1, ecs "process.parent.pid", ocsf "process.parent_process.pid";
        /// its identity
        parent_process_key: Option<ProcessKey> => Key in Parent since 1, ecs "process.parent.entity_id", ocsf "process.parent_process.uid";
        /// the process that made the call; differs from the parent under `CLONE_PARENT`
        creator_process_id: Option<u32> => Number in Row since 1;
        /// the thread that made the call
        creator_thread_id: Option<u32> => Number in Row since 1;
        /// the program
        program: Program => Group in Apart since 1;
        /// what its parent runs
        parent: Parent => Group in Apart since 3;
        /// where it runs
        setting: Setting => Group in Apart since 3;
        /// the session
        session_id: Option<u32> => Number in Row since 1, ocsf "process.session.uid";
        /// Windows: how far the process is trusted: `untrusted`, `low`, `medium`, `medium_plus`, `high`, `system`, `protected`
        integrity_level: Option<Cow<'static, str>> => MaybePlainText in Row since 2;
        /// Windows: the token has an administrator's rights, not held back by User Account Control
        elevated: Option<bool> => MaybeTruth in Row since 2;
        /// it was there before the sensor; part of the snapshot a run begins with
        existing: bool => Truth in Row since 1;
        /// the process has no user mode: a Linux kernel thread, a Windows system process
        kernel_process: bool => Flag in Row since 2;
        /// what the kernel calls such a process when it is first told: `kthreadd`, `Registry`; in a trace of Windows also one whose path is not told
        name: Option<Text> => MaybeSystemText in Row since 2, ecs "process.name", ocsf "process.name";
        /// what few sensors know of it
        details: Option<Box<StartDetails>> => MaybeGroup in Apart since 3;
    }
}

fields! {
    /// A process replaced its program (Linux).
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ProcessExec {
        /// the program it runs now
        program: Program => Group in Apart since 1;
        /// what its parent runs
        parent: Parent => Group in Apart since 3;
        /// where it runs
        setting: Setting => Group in Apart since 3;
        /// the session at that moment
        session_id: Option<u32> => Number in Row since 3, ocsf "process.session.uid";
        /// what few sensors know of it
        details: Option<Box<ExecDetails>> => MaybeGroup in Apart since 3;
    }
}

fields! {
    /// What a process used by its end, all its threads together (Linux).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Usage {
        /// Linux: nanoseconds of processor time in user mode
        user_time_ns: Option<u64> => MaybeNumber in Row since 3;
        /// Linux: nanoseconds of processor time in kernel mode
        system_time_ns: Option<u64> => MaybeNumber in Row since 3;
        /// Linux: the most bytes of it that were in memory at once
        peak_memory: Option<u64> => MaybeNumber in Row since 3;
        /// Linux: bytes that were read from storage for it
        read_bytes: Option<u64> => MaybeNumber in Row since 3;
        /// Linux: bytes that it had written to storage
        written_bytes: Option<u64> => MaybeNumber in Row since 3;
    }
}

fields! {
    /// A process ended.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ProcessExit {
        /// the exit code; for a process killed by a signal 128 + the signal, as shells have it
        exit_code: Option<u32> => Number in Row since 1, ecs "process.exit_code", ocsf "exit_code";
        /// Linux: the signal that killed it
        signal: Option<u32> => MaybeNumber in Row since 1;
        /// it left a core dump
        core_dumped: bool => Flag in Row since 1;
        /// the program it ran last
        image: Option<Text> => SystemText in Row since 1, ecs "process.executable", ocsf "process.file.path";
        /// nanoseconds from its start to its exit
        run_time_ns: Option<u64> => Number in Row since 1, ecs "event.duration";
        /// what it used
        usage: Usage => Group in Apart since 3;
        /// Linux: the session at the end, where it is another than was told last
        session_id: Option<u32> => MaybeNumber in Row since 3, ocsf "process.session.uid";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of 60 lines with 900,000 empty arguments each, a megabyte as gzip, took 3 GiB of `tree`,
    /// which bounds itself by these bytes.
    #[test]
    fn empty_arguments_take_room_as_well() {
        let program = Program {
            arguments: Some(vec![Text::default(); 900_000].into()),
            ..Program::default()
        };
        assert!(program.size() >= 900_000 * size_of::<Text>());
    }
}

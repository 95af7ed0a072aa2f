//! What few sensors know: groups of fields that most events of their kind do not have.

use std::borrow::Cow;
use std::sync::Arc;

use crate::Text;
use crate::schema::fields;

fields! {
    /// Of a process's start, what the event log of another sensor says beyond the rest.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct StartDetails {
        /// Windows: the logon session
        logon_id: Option<u64> => MaybeAddress in Noted since 3;
        /// Windows: the name with which `image` was opened, where it is another: an 8.3 name, one that leads through a junction or a drive of the creator's own
        image_opened: Option<Text> => MaybeSystemText in Noted since 3;
        /// Windows: the subsystem, where it is not Win32: `linux` (version 1 of the Windows Subsystem for Linux), `other`
        subsystem: Option<Cow<'static, str>> => MaybePlainText in Noted since 3;
        /// Windows: how the process is protected, where it is: `protected` or `light`, and for whom: `light_antimalware`, `protected_windows_tcb`
        protection_level: Option<Cow<'static, str>> => MaybePlainText in Noted since 3;
        /// Windows: the NTSTATUS with which another driver refused the start; the process then ends at once
        creation_status: Option<u32> => MaybeNumber in Noted since 3;
        /// what is known of the program's file
        file: ProgramFile => Group in Apart since 3;
    }
}

fields! {
    /// Of an exec, what is known of the program's file.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ExecDetails {
        /// the SHA-256 of the program's file, in lower case
        sha256: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "process.hash.sha256";
        /// Linux: the build id of the program, as its linker wrote it into the file
        build_id: Option<Arc<str>> => MaybePlainText in Noted since 3;
    }
}

fields! {
    /// Of a thread's start.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ThreadDetails {
        /// path of the program of the process that made the call, where that is another
        creator_image: Option<Text> => MaybeSystemText in Noted since 3;
        /// its arguments as one text
        creator_command_line: Option<Text> => MaybeSystemText in Noted since 3;
    }
}

fields! {
    /// Of an image load.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct LoadDetails {
        /// what is known of the file
        file: ImageFile => Group in Apart since 3;
        /// Linux: the build id of the file, as its linker wrote it there
        build_id: Option<Arc<str>> => MaybePlainText in Noted since 3;
        /// Windows: the file has a signature
        signed: Option<bool> => MaybeTruth in Noted since 3, ecs "dll.code_signature.exists";
        /// Windows: who signed it
        signer: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.code_signature.subject_name";
        /// Windows: what came of checking the signature, in the words of who checked it: `Valid`, `Expired`, ...
        signature_status: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.code_signature.status";
    }
}

fields! {
    /// What is known of a program's file: its version resource, and its hashes, which are in lower case.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ProgramFile {
        /// Windows: the name the file was made under
        original_file_name: Option<Text> => MaybeSystemText in Noted since 3, ecs "process.pe.original_file_name";
        /// Windows: what its maker says it is
        description: Option<Text> => MaybeSystemText in Noted since 3, ecs "process.pe.description";
        /// Windows: the product it is a part of
        product: Option<Text> => MaybeSystemText in Noted since 3, ecs "process.pe.product";
        /// Windows: its maker
        company: Option<Text> => MaybeSystemText in Noted since 3, ecs "process.pe.company";
        /// Windows: its version
        file_version: Option<Text> => MaybeSystemText in Noted since 3, ecs "process.pe.file_version";
        /// the MD5 of the file
        md5: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "process.hash.md5";
        /// the SHA-1 of the file
        sha1: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "process.hash.sha1";
        /// the SHA-256 of the file
        sha256: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "process.hash.sha256";
        /// Windows: the hash of its imports
        imphash: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "process.pe.imphash";
    }
}

fields! {
    /// What is known of the file of an image: its version resource, and its hashes, which are in lower case.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ImageFile {
        /// Windows: the name the file was made under
        original_file_name: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.pe.original_file_name";
        /// Windows: what its maker says it is
        description: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.pe.description";
        /// Windows: the product it is a part of
        product: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.pe.product";
        /// Windows: its maker
        company: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.pe.company";
        /// Windows: its version
        file_version: Option<Text> => MaybeSystemText in Noted since 3, ecs "dll.pe.file_version";
        /// the MD5 of the file
        md5: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "dll.hash.md5";
        /// the SHA-1 of the file
        sha1: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "dll.hash.sha1";
        /// the SHA-256 of the file
        sha256: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "dll.hash.sha256";
        /// Windows: the hash of its imports
        imphash: Option<Arc<str>> => MaybePlainText in Noted since 3, ecs "dll.pe.imphash";
    }
}

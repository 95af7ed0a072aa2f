//! Image load and unload, and what is known of the file.

use std::borrow::Cow;
use std::sync::Arc;

use crate::schema::fields;
use crate::{LoadDetails, Text};

fields! {
    /// A file was mapped executable.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ImageLoad {
        /// full path of the file
        image: Option<Text> => SystemText in Shared since 1, ecs "dll.path", ocsf "module.file.path";
        /// the file had no name in any directory: deleted, or anonymous memory
        image_deleted: bool => Flag in Shared since 1;
        /// Linux: in whose tree `image` is told, where that is not the host's: `mount_namespace`, `detached`, `root`, `unknown`
        path_scope: Option<Cow<'static, str>> => MaybePlainText in Shared since 3;
        /// Linux: the device of the file, `major:minor`
        device: Option<Arc<str>> => MaybePlainText in Shared since 3;
        /// Linux: the inode of the file
        inode: Option<u64> => MaybeNumber in Shared since 3;
        /// Linux: the inode of the mount namespace `image` is told in, where that is not the host's
        mount_namespace: Option<u32> => MaybeNumber in Shared since 3;
        /// path of the program of the process
        process_image: Option<Text> => MaybeSystemText in Row since 3, ecs "process.executable", ocsf "process.file.path";
        /// where the mapping begins
        image_base: u64 => Address in Row since 1, ocsf "module.base_address";
        /// bytes of the mapping
        image_size: u64 => Number in Shared since 1, ocsf "module.file.size";
        /// it is in the kernel's address space
        kernel_image: bool => Truth in Shared since 1;
        /// Windows: by whom the file is signed, as code integrity saw it: `unsigned`, `microsoft`, `windows`, ...; `unchecked` is common
        signature_level: Option<Cow<'static, str>> => MaybePlainText in Shared since 2;
        /// Windows: where the signature is: `none`, `embedded`, `catalog_cached`, ...
        signature_type: Option<Cow<'static, str>> => MaybePlainText in Shared since 2;
        /// it was there before the sensor; part of the snapshot a run begins with
        existing: bool => Truth in Shared since 1;
        /// what few sensors know of it
        details: Option<Box<LoadDetails>> => MaybeGroup in Apart since 3;
    }
}

fields! {
    /// An image was unmapped (Windows).
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ImageUnload {
        /// full path of the file
        image: Option<Text> => SystemText in Row since 3, ecs "dll.path", ocsf "module.file.path";
        /// where the mapping began
        image_base: u64 => Address in Row since 3, ocsf "module.base_address";
        /// bytes of the mapping
        image_size: u64 => Number in Row since 3, ocsf "module.file.size";
        /// it was in the kernel's address space
        kernel_image: bool => Truth in Row since 3;
    }
}

fields! {
    /// What was found in the file of an image. It completes the events before it that said of this file
    /// that its hash (Linux) or its version (Windows) was `pending`, and is of the process of the first of
    /// them.
    #[derive(Clone, Debug, Default, PartialEq)]
    pub struct ImageDetails {
        /// path of the file, as that event has it
        image: Option<Text> => MaybeSystemText in Row since 3, ecs "file.path", ocsf "module.file.path";
        /// in whose tree `image` is told, where that is not the host's: as of `image_load`
        path_scope: Option<Cow<'static, str>> => MaybePlainText in Row since 3;
        /// Linux: the device of the file, `major:minor`
        device: Option<Arc<str>> => MaybePlainText in Row since 3;
        /// Linux: the inode of the file
        inode: Option<u64> => MaybeNumber in Row since 3;
        /// when content, owner or permissions of the file (Windows: its content) were changed last, in nanoseconds since the Unix epoch: what is said here is of events that are not older
        change_time_ns: Option<u64> => MaybeNumber in Row since 3;
        /// bytes of the file
        file_size: Option<u64> => MaybeNumber in Row since 3, ecs "file.size", ocsf "module.file.size";
        /// Linux: the SHA-256 of the file, in lower case
        sha256: Option<Arc<str>> => MaybePlainText in Row since 3, ecs "file.hash.sha256";
        /// its build id, where it has one
        build_id: Option<Arc<str>> => MaybePlainText in Row since 3;
        /// Windows: the name the file was made under
        original_file_name: Option<Text> => MaybeSystemText in Row since 3, ecs "file.pe.original_file_name";
        /// Windows: what its maker says it is
        description: Option<Text> => MaybeSystemText in Row since 3, ecs "file.pe.description";
        /// Windows: the product it is a part of
        product: Option<Text> => MaybeSystemText in Row since 3, ecs "file.pe.product";
        /// Windows: its maker
        company: Option<Text> => MaybeSystemText in Row since 3, ecs "file.pe.company";
        /// Windows: its version
        file_version: Option<Text> => MaybeSystemText in Row since 3, ecs "file.pe.file_version";
    }
}

//! The fields of the kernel's structures that the programs read, and where they are in this kernel.

use super::btf::Types;
use crate::sensor::Error;

/// The fields the programs read, named as the read-only globals that carry their offsets.
const FIELDS: [&str; 55] = [
    "linux_binprm.file",
    "linux_binprm.filename",
    "linux_binprm.interp",
    "cred.euid",
    "cred.uid",
    "dentry.d_hash.pprev",
    "dentry.d_inode",
    "dentry.d_name.name",
    "dentry.d_parent",
    "dentry.d_sb",
    "fdtable.fd",
    "fdtable.max_fds",
    "file.f_mode",
    "file.f_path",
    "files_struct.fdt",
    "fs_struct.pwd",
    "fs_struct.root",
    "inode.i_ino",
    "inode.i_sb",
    "mm_struct.arg_end",
    "mm_struct.arg_start",
    "mm_struct.end_code",
    "mm_struct.env_end",
    "mm_struct.env_start",
    "mm_struct.exe_file",
    "mnt_namespace.ns.inum",
    "mount.mnt",
    "mount.mnt_mountpoint",
    "mount.mnt_ns",
    "mount.mnt_parent",
    "pid.numbers.nr",
    "signal_struct.flags",
    "signal_struct.group_exit_code",
    "signal_struct.live",
    "signal_struct.pids",
    "super_block.s_dev",
    "task_struct.exit_code",
    "task_struct.files",
    "task_struct.flags",
    "task_struct.fs",
    "task_struct.group_leader",
    "task_struct.mm",
    "task_struct.pid",
    "task_struct.real_cred",
    "task_struct.real_parent",
    "task_struct.self_exec_id",
    "task_struct.signal",
    "task_struct.start_boottime",
    "task_struct.tgid",
    "vfsmount.mnt_root",
    "vfsmount.mnt_sb",
    "vm_area_struct.vm_end",
    "vm_area_struct.vm_file",
    "vm_area_struct.vm_flags",
    "vm_area_struct.vm_start",
];

/// Fields that the programs do without where the kernel was built without them.
const OPTIONAL_FIELDS: [&str; 1] = ["task_struct.loginuid"];
/// What a process used, which is told where the kernel has all of these.
const USAGE_FIELDS: [&str; 10] = [
    "signal_struct.maxrss",
    "signal_struct.stats_lock.seqcount.seqcount.sequence",
    "signal_struct.stime",
    "signal_struct.sum_sched_runtime",
    "signal_struct.thread_head",
    "signal_struct.utime",
    "task_struct.se.sum_exec_runtime",
    "task_struct.stime",
    "task_struct.thread_node",
    "task_struct.utime",
];
/// And what it read and wrote.
const IO_FIELDS: [&str; 4] = [
    "signal_struct.ioac.read_bytes",
    "signal_struct.ioac.write_bytes",
    "task_struct.ioac.read_bytes",
    "task_struct.ioac.write_bytes",
];
/// And in which control group it was.
const CGROUP_FIELDS: [&str; 4] = [
    "cgroup.kn",
    "css_set.dfl_cgrp",
    "kernfs_node.id",
    "task_struct.cgroups",
];
/// And what its controlling terminal is.
const TERMINAL_FIELDS: [&str; 5] = [
    "signal_struct.tty",
    "tty_driver.major",
    "tty_driver.minor_start",
    "tty_struct.driver",
    "tty_struct.index",
];
/// And which system call fails, by the registers of this kind of processor.
const SYSTEM_CALL_FIELDS: [&str; 6] = [
    "pt_regs.bx",
    "pt_regs.cx",
    "pt_regs.di",
    "pt_regs.orig_ax",
    "pt_regs.si",
    "task_struct.thread_info.status",
];
/// The state of a file, each field by the names it had: of Linux 6.11, of 6.6, and before.
const STAMP_FIELDS: [(&str, [&str; 3]); 3] = [
    (
        "inode.i_ctime_sec",
        [
            "inode.i_ctime_sec",
            "inode.__i_ctime.tv_sec",
            "inode.i_ctime.tv_sec",
        ],
    ),
    (
        "inode.i_ctime_nsec",
        [
            "inode.i_ctime_nsec",
            "inode.__i_ctime.tv_nsec",
            "inode.i_ctime.tv_nsec",
        ],
    ),
    ("inode.i_size", ["inode.i_size"; 3]),
];
/// What they are told of a field that is not there, or not of use.
const NOWHERE: u64 = u64::MAX;
/// A field that not every kernel has: 0 stands for none, and it is never the first.
const MAYBE_FIELD: &str = "backing_file.user_path";

/// Of these fields' structures the programs copy only the first words.
const HEAD_FIELDS: [&str; 4] = [
    "dentry.d_name.name",
    "dentry.d_parent",
    "mount.mnt_mountpoint",
    "mount.mnt_parent",
];
const HEAD_SIZE: u64 = 64;

/// The offsets of the fields that tell the state of a file; `None` where one of them is not there.
pub(super) fn stamp_offsets(types: &Types<'_>) -> Option<[(&'static str, u64); 3]> {
    let mut offsets = [("", 0); 3];
    for (slot, (field, names)) in offsets.iter_mut().zip(STAMP_FIELDS) {
        let offset = names.into_iter().find_map(|name| types.offset(name))?;
        *slot = (field, offset);
    }
    Some(offsets)
}

/// Whether it can be seen which system calls fail.
pub(super) fn has_system_calls(types: &Types<'_>) -> bool {
    let mut fields = SYSTEM_CALL_FIELDS.iter();
    fields.all(|field| types.offset(field).is_some())
}

/// The offset of each field, by its name.
pub(super) fn offsets(types: &Types<'_>) -> Result<Vec<(&'static str, u64)>, Error> {
    let mut parameters = vec![(MAYBE_FIELD, types.offset(MAYBE_FIELD).unwrap_or(0))];
    for field in FIELDS {
        let offset = types.offset(field).filter(|offset| {
            !HEAD_FIELDS.contains(&field) || offset + size_of::<u64>() as u64 <= HEAD_SIZE
        });
        let offset = offset.ok_or_else(|| Error::Unavailable {
            cause: format!("this kernel has no field {field}, or not where it is looked for"),
            cure: "update systrail, or use another source".to_owned(),
        })?;
        parameters.push((field, offset));
    }
    let offset_of = |field| (field, types.offset(field).unwrap_or(NOWHERE));
    parameters.extend(OPTIONAL_FIELDS.map(offset_of));
    let groups = [
        &USAGE_FIELDS[..],
        &IO_FIELDS,
        &CGROUP_FIELDS,
        &TERMINAL_FIELDS,
        &SYSTEM_CALL_FIELDS,
    ];
    for fields in groups {
        let is_there = fields.iter().all(|field| types.offset(field).is_some());
        let or_nowhere = |field: &&'static str| {
            if is_there {
                offset_of(field)
            } else {
                (*field, NOWHERE)
            }
        };
        parameters.extend(fields.iter().map(or_nowhere));
    }
    Ok(parameters)
}

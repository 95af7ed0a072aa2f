//! Execs that fail.
//!
//! Whoever attaches these attaches one way: the programs on the functions that the kernel enters for an
//! exec, which cost nothing but execs, or else the one on the exit of every system call.

use aya_ebpf::macros::{btf_tracepoint, fexit};
use aya_ebpf::programs::{BtfTracePointContext, FExitContext};
use event::{Kind, exec};

use crate::kernel::{self, Registers, Task};
use crate::maps::{self, Ring, SCRATCH_EXEC, SCRATCH_EXECS};
use crate::record::{Record, header};

/// `sys_exit(struct pt_regs *regs, long ret)`: every system call of the machine comes by, so the result
/// is looked at first.
#[btf_tracepoint]
fn sys_exit(context: BtfTracePointContext) -> Option<()> {
    returned(
        context.arg(1),
        || Registers::new(context.arg(0)),
        SCRATCH_EXEC,
    )
}

/// `__x64_sys_execve(const struct pt_regs *regs)`
#[fexit]
fn __x64_sys_execve(context: FExitContext) -> Option<()> {
    exited(&context, SCRATCH_EXECS[0])
}

/// `__x64_sys_execveat(const struct pt_regs *regs)`
#[fexit]
fn __x64_sys_execveat(context: FExitContext) -> Option<()> {
    exited(&context, SCRATCH_EXECS[1])
}

/// `__ia32_compat_sys_execve(const struct pt_regs *regs)`
#[fexit]
fn __ia32_compat_sys_execve(context: FExitContext) -> Option<()> {
    exited(&context, SCRATCH_EXECS[2])
}

/// `__ia32_compat_sys_execveat(const struct pt_regs *regs)`
#[fexit]
fn __ia32_compat_sys_execveat(context: FExitContext) -> Option<()> {
    exited(&context, SCRATCH_EXECS[3])
}

#[inline(always)]
fn exited(context: &FExitContext, scratch: u32) -> Option<()> {
    returned(context.arg(1), || Registers::new(context.arg(0)), scratch)
}

#[inline(always)]
fn returned(
    result: u64,
    registers_fn: impl FnOnce() -> Option<Registers>,
    scratch: u32,
) -> Option<()> {
    let error = kernel::error_of(result)?;
    let path = registers_fn()?.path_of_exec()?;
    if !maps::is_enabled() {
        return None;
    }
    let ring = Ring::of(Kind::EXEC_FAILED);
    ring.store(Kind::EXEC_FAILED, failed(error, path, ring, scratch));
    Some(())
}

/// The record of an exec of the program whose path is at this address.
#[inline(always)]
fn failed(error: u32, path: u64, ring: Ring, scratch: u32) -> Option<&'static [u8]> {
    let mut header = header(Task::current(), ring.lost());
    let mut record = Record::new(maps::scratch(scratch)?, exec::Failed::FIXED_SIZE);
    let path = record.append_user_path(path);
    header.kind = Kind::EXEC_FAILED;
    header.flags = path.flags;
    let failed = exec::Failed { error, path: &[] };
    record.finish(header, |writer| failed.write_fixed(writer, path.size))
}

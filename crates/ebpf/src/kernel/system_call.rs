//! A system call that is about to return, by the registers its caller had.

use core::ffi::c_void;

use super::{Parameter, Pointer, Task, copy_user_text, field};

parameters! {
    PT_REGS_BX = "pt_regs.bx";
    PT_REGS_CX = "pt_regs.cx";
    PT_REGS_DI = "pt_regs.di";
    PT_REGS_ORIG_AX = "pt_regs.orig_ax";
    PT_REGS_SI = "pt_regs.si";
    TASK_THREAD_STATUS = "task_struct.thread_info.status";
}

/// Set while a task is in a system call by the numbers of 32 bits (`asm/thread_info.h`).
const TS_COMPAT: u32 = 2;
/// The numbers of `execve` and `execveat`: of 64 bits, of x32, and of 32 bits.
const EXECVE: u64 = 59;
const EXECVEAT: u64 = 322;
const X32_EXECVE: u64 = 0x4000_0000 | 520;
const X32_EXECVEAT: u64 = 0x4000_0000 | 545;
const COMPAT_EXECVE: u64 = 11;
const COMPAT_EXECVEAT: u64 = 358;

/// Errors up to here are for the caller; the kernel begins the call again after those beyond.
const ERROR_MAX: u64 = 511;

/// The kernel's `pt_regs`, as they were when the current task entered the kernel: a system call that
/// fails leaves them.
#[derive(Clone, Copy)]
pub(crate) struct Registers(Pointer);

impl Registers {
    /// The ones a program was given.
    #[inline(always)]
    pub(crate) fn new(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer.cast()))
    }

    /// Where the path of the program is in user memory that an exec was to run; `None` where the call
    /// was another one.
    #[inline(always)]
    pub(crate) fn path_of_exec(self) -> Option<u64> {
        let number: u64 = field(self.0, PT_REGS_ORIG_AX);
        let is_compat = field::<u32>(Task::current().0, TASK_THREAD_STATUS) & TS_COMPAT != 0;
        match (is_compat, number) {
            (false, EXECVE | X32_EXECVE) => Some(field(self.0, PT_REGS_DI)),
            (false, EXECVEAT | X32_EXECVEAT) => Some(field(self.0, PT_REGS_SI)),
            (true, COMPAT_EXECVE) => Some(low(field(self.0, PT_REGS_BX))),
            (true, COMPAT_EXECVEAT) => Some(low(field(self.0, PT_REGS_CX))),
            _another => None,
        }
    }
}

/// Addresses of 32 bits are told in registers of 64.
#[inline(always)]
const fn low(register: u64) -> u64 {
    register & 0xffff_ffff
}

/// The error that a system call returns, where it fails for its caller.
#[inline(always)]
pub(crate) const fn error_of(result: u64) -> Option<u32> {
    let error = result.wrapping_neg();
    if error == 0 || error > ERROR_MAX {
        return None;
    }
    Some(error as u32)
}

/// Copies a path of user memory of the current process, cut to `room`, with its NUL byte. The bytes
/// written; negative where it cannot be read.
#[inline(always)]
pub(crate) fn copy_user_path(address: u64, room: &mut [u8]) -> i64 {
    copy_user_text(address, room.as_mut_ptr(), room.len())
}

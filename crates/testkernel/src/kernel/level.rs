//! The IRQL as a register: a driver reads CR8 inline, which no process may, so the exception is
//! answered with the level of the model. A fault in the driver's image is written to a file, since
//! it takes the whole process with it.

#![expect(
    unsafe_code,
    reason = "an exception handler reads and changes the processor's state"
)]

use crate::contract::irql;
use crate::target;
use windows_sys::Win32::System::Diagnostics::Debug::{
    AddVectoredExceptionHandler, CONTEXT, EXCEPTION_CONTINUE_EXECUTION, EXCEPTION_CONTINUE_SEARCH,
    EXCEPTION_POINTERS,
};

const ACCESS_VIOLATION: i32 = 0xc000_0005_u32.cast_signed();
const PRIVILEGED_INSTRUCTION: i32 = 0xc000_0096_u32.cast_signed();

/// Where a fault in the driver's image is told.
const FAULT_FILE: &str = r"C:\systrail-fault.txt";

pub(crate) fn start() {
    const FIRST: u32 = 1;
    // SAFETY: the handler stays good: this image is never unloaded.
    let _handle = unsafe { AddVectoredExceptionHandler(FIRST, Some(handle)) };
}

unsafe extern "system" fn handle(pointers: *mut EXCEPTION_POINTERS) -> i32 {
    // SAFETY: the system passes pointers that are good for the call.
    let pointers = unsafe { &*pointers };
    // SAFETY: as above.
    let code = unsafe { (*pointers.ExceptionRecord).ExceptionCode };
    // SAFETY: as above.
    let context = unsafe { &mut *pointers.ContextRecord };
    let place = usize::try_from(context.Rip).unwrap_or(0);
    if code == PRIVILEGED_INSTRUCTION && target::is_in_image(place) && answer(context, place) {
        return EXCEPTION_CONTINUE_EXECUTION;
    }
    if code == ACCESS_VIOLATION && target::is_in_image(place) {
        let offset = place - target::base();
        // Nothing can be done if it cannot be written; the process ends either way.
        let _is_told = std::fs::write(FAULT_FILE, format!("the driver faults at {offset:#x}\n"));
    }
    EXCEPTION_CONTINUE_SEARCH
}

/// Does `mov register, cr8`; whether the instruction was one.
fn answer(context: &mut CONTEXT, place: usize) -> bool {
    const SIZE: u64 = 4;
    let start = std::ptr::with_exposed_provenance::<[u8; 4]>(place);
    // SAFETY: the processor has just read the instruction there.
    let [prefix, first, second, operands] = unsafe { start.read_unaligned() };
    let is_wanted = prefix & 0xf4 == 0x44 && (first, second) == (0x0f, 0x20);
    if !is_wanted || operands & 0xf8 != 0xc0 {
        return false;
    }
    let register = (operands & 7) | ((prefix & 1) << 3);
    let level = u64::from(irql());
    match register {
        0 => context.Rax = level,
        1 => context.Rcx = level,
        2 => context.Rdx = level,
        3 => context.Rbx = level,
        5 => context.Rbp = level,
        6 => context.Rsi = level,
        7 => context.Rdi = level,
        8 => context.R8 = level,
        9 => context.R9 = level,
        10 => context.R10 = level,
        11 => context.R11 = level,
        12 => context.R12 = level,
        13 => context.R13 = level,
        14 => context.R14 = level,
        15 => context.R15 = level,
        _ => return false,
    }
    context.Rip += SIZE;
    true
}

//! Raising and lowering the interrupt request level.

#![expect(unsafe_code, reason = "defines the kernel's functions")]

use crate::contract::{HIGH_LEVEL, breach, enter, irql, set_irql};
use crate::timer;

#[unsafe(no_mangle)]
extern "system" fn KfRaiseIrql(new: u8) -> u8 {
    enter("KfRaiseIrql", HIGH_LEVEL);
    let old = irql();
    if new < old {
        breach(format!("IRQL {old} is raised to {new}"));
    }
    set_irql(new);
    old
}

#[unsafe(no_mangle)]
extern "system" fn KeLowerIrql(new: u8) {
    enter("KeLowerIrql", HIGH_LEVEL);
    let old = irql();
    if new > old {
        breach(format!("IRQL {old} is lowered to {new}"));
    }
    set_irql(new);
    timer::run_queued_dpcs();
}

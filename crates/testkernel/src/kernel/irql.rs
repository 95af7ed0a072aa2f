//! Raising and lowering the interrupt request level. A DPC runs on a thread of its own here, and waits
//! for no level.

use crate::contract::{HIGH_LEVEL, breach, enter, irql, set_irql};

pub(crate) extern "system" fn raise(new: u8) -> u8 {
    enter("KfRaiseIrql", HIGH_LEVEL);
    let old = irql();
    if new < old {
        breach(format!("IRQL {old} is raised to {new}"));
    }
    set_irql(new);
    old
}

pub(crate) extern "system" fn lower(new: u8) {
    enter("KeLowerIrql", HIGH_LEVEL);
    let old = irql();
    if new > old {
        breach(format!("IRQL {old} is lowered to {new}"));
    }
    set_irql(new);
}

//! Critical regions. One that is left and was not entered, or entered and not left, is a breach.

use crate::contract::{APC_LEVEL, breach, critical_regions, enter, set_critical_regions};

pub(crate) extern "system" fn enter_region() {
    enter("KeEnterCriticalRegion", APC_LEVEL);
    set_critical_regions(critical_regions() + 1);
}

pub(crate) extern "system" fn leave_region() {
    enter("KeLeaveCriticalRegion", APC_LEVEL);
    match critical_regions().checked_sub(1) {
        Some(count) => set_critical_regions(count),
        None => breach("a critical region is left that nobody entered"),
    }
}

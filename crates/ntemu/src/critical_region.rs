//! Critical regions. One that is left and was not entered, or entered and not left, is a breach.

#![expect(unsafe_code, reason = "defines the kernel's functions")]

use crate::contract::{APC_LEVEL, breach, critical_regions, enter, set_critical_regions};

#[unsafe(no_mangle)]
extern "system" fn KeEnterCriticalRegion() {
    enter("KeEnterCriticalRegion", APC_LEVEL);
    set_critical_regions(critical_regions() + 1);
}

#[unsafe(no_mangle)]
extern "system" fn KeLeaveCriticalRegion() {
    enter("KeLeaveCriticalRegion", APC_LEVEL);
    match critical_regions().checked_sub(1) {
        Some(count) => set_critical_regions(count),
        None => breach("a critical region was left that nobody entered"),
    }
}

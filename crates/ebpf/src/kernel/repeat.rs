//! Loops of many steps.
//!
//! The verifier walks through a loop step by step, and a path may have 2,048 of them. A step that the
//! kernel itself calls (`bpf_loop`, since Linux 5.17) it looks at once.

#![expect(
    unsafe_code,
    reason = "the kernel calls a step, and its helper takes bare pointers"
)]

use core::ffi::c_void;
use core::ptr::from_mut;

use aya_ebpf::helpers::generated as helpers;

use super::HAS_LOOP;

/// Something done step by step.
///
/// What a step changes for the next one it keeps in a map's memory, or it is a number of which the
/// verifier knows nothing: some kernels' verifiers believe that there was one step.
pub(crate) trait Steps {
    /// One step; whether it was the last.
    fn step(&mut self) -> bool;
}

/// Takes steps until one is the last, and `count_max` at most.
#[inline(always)]
pub(crate) fn repeat<S: Steps>(count_max: u32, steps: &mut S) {
    if HAS_LOOP.value() == 0 {
        for _ in 0..count_max {
            if steps.step() {
                return;
            }
        }
        return;
    }
    let callback = one_step::<S> as *mut c_void;
    // SAFETY: the kernel calls the function with this very pointer, and never after it has returned.
    let _count = unsafe { helpers::bpf_loop(count_max, callback, from_mut(steps).cast(), 0) };
}

/// What the kernel calls: 0 asks for another step.
unsafe extern "C" fn one_step<S: Steps>(_index: u64, steps: *mut S) -> u64 {
    // SAFETY: it is the pointer that `repeat` gave the kernel, which nobody else has meanwhile.
    let is_last = unsafe { &mut *steps }.step();
    u64::from(is_last)
}

//! The driver that is taken over: where its image is, and the routines it set up.

use crate::contract::lock;
use nt::sys::{DRIVER_DISPATCH, DRIVER_UNLOAD};
use std::sync::Mutex;

/// Bytes of `mov r11, imm64` and `jmp r11`, which stand at the entry point until it is called.
pub(crate) const JUMP_SIZE: usize = 13;

/// Dispatch routines of a driver object.
pub(crate) const ROUTINES: usize = 28;

static TARGET: Mutex<Option<Target>> = Mutex::new(None);

#[derive(Clone, Copy)]
pub(crate) struct Target {
    pub(crate) base: usize,
    pub(crate) size: usize,
    pub(crate) entry: usize,
    /// What the image has at its entry point.
    pub(crate) entry_bytes: [u8; JUMP_SIZE],
    pub(crate) has_force_integrity: bool,
    /// Those of the driver object after the start.
    pub(crate) routines: [Option<DRIVER_DISPATCH>; ROUTINES],
    pub(crate) unload: Option<DRIVER_UNLOAD>,
}

impl Target {
    fn contains(&self, address: usize) -> bool {
        (self.base..self.base + self.size).contains(&address)
    }
}

/// Keeps `target` as the driver that is taken over.
pub(crate) fn take(target: &Target) {
    *lock(&TARGET) = Some(*target);
}

/// The driver that is taken over.
pub(crate) fn taken() -> Option<Target> {
    *lock(&TARGET)
}

pub(crate) fn forget() {
    *lock(&TARGET) = None;
}

/// Whether a driver is loaded and runs.
pub(crate) fn is_loaded() -> bool {
    taken().is_some_and(|target| target.unload.is_some())
}

/// Whether `address` is in the driver's image.
pub(crate) fn is_in_image(address: usize) -> bool {
    taken().is_some_and(|target| target.contains(address))
}

/// Where the image begins.
pub(crate) fn base() -> usize {
    taken().map_or(0, |target| target.base)
}

/// Whether the driver's image has `IMAGE_DLLCHARACTERISTICS_FORCE_INTEGRITY`.
pub(crate) fn has_force_integrity() -> bool {
    taken().is_some_and(|target| target.has_force_integrity)
}

/// The routine the driver object had for `major`, and whether it is the driver's own.
pub(crate) fn dispatch_routine(major: usize) -> Option<(DRIVER_DISPATCH, bool)> {
    let target = taken()?;
    let routine = (*target.routines.get(major)?)?;
    #[expect(clippy::fn_to_numeric_cast_any, reason = "asks where the routine is")]
    let address = routine as *const ();
    Some((routine, target.contains(address.addr())))
}

//! What an exec is about.

use core::ffi::c_void;

use super::{BPRM_FILE, BPRM_FILENAME, BPRM_INTERP, File, KernelText, Pointer, field};

/// The kernel's `linux_binprm`.
#[derive(Clone, Copy)]
pub(crate) struct Program(Pointer);

impl Program {
    /// The one a program was given.
    #[inline(always)]
    pub(crate) fn new(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer.cast()))
    }

    /// The file that runs; for a script its interpreter.
    #[inline(always)]
    pub(crate) fn file(self) -> Option<File> {
        File::new(field(self.0, BPRM_FILE))
    }

    /// The path the caller gave, where an interpreter runs instead of it.
    #[inline(always)]
    pub(crate) fn script(self) -> Option<KernelText> {
        let filename: Pointer = field(self.0, BPRM_FILENAME);
        let interp: Pointer = field(self.0, BPRM_INTERP);
        (filename != interp).then_some(KernelText::new(filename))
    }
}

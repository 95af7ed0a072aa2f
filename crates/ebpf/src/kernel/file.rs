//! Open files, and the mappings of files.

use core::ffi::c_void;

use super::{
    BACKING_FILE_USER_PATH, FDTABLE_FD, FDTABLE_MAX_FDS, FILE_MODE, FILE_PATH, FILES_FDT, Path,
    Pointer, TASK_FILES, Task, VMA_END, VMA_FILE, VMA_FLAGS, VMA_START, field, probe, probe_at,
};

/// A mapping of a process: the kernel's `vm_area_struct`.
#[derive(Clone, Copy)]
pub(crate) struct Vma(Pointer);

impl Vma {
    const VM_EXEC: u64 = 4;

    /// The one a program was given; `None` for null.
    #[inline(always)]
    pub(crate) fn new(pointer: *const c_void) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer.cast()))
    }

    /// Whether it may be executed.
    #[inline(always)]
    pub(crate) fn is_executable(self) -> bool {
        field::<u64>(self.0, VMA_FLAGS) & Self::VM_EXEC != 0
    }

    /// Where the file it maps is, as whoever mapped it found it.
    #[inline(always)]
    pub(crate) fn path(self) -> Option<Path> {
        File::new(field(self.0, VMA_FILE)).map(File::user_path)
    }

    /// Its first address.
    #[inline(always)]
    pub(crate) fn start(self) -> u64 {
        field(self.0, VMA_START)
    }

    /// Its bytes.
    #[inline(always)]
    pub(crate) fn size(self) -> u64 {
        field::<u64>(self.0, VMA_END).wrapping_sub(self.start())
    }
}

/// An open file.
#[derive(Clone, Copy)]
pub(crate) struct File(pub(super) Pointer);

impl File {
    /// `FMODE_BACKING`, which is one of two bits, by the version of the kernel.
    const MAYBE_FMODE_BACKING: u32 = 3 << 24;

    #[inline(always)]
    pub(super) fn new(pointer: Pointer) -> Option<Self> {
        (!pointer.is_null()).then_some(Self(pointer))
    }

    /// Where it is.
    #[inline(always)]
    pub(crate) fn path(self) -> Path {
        probe(self.0, FILE_PATH)
    }

    /// Where its user has it. What an overlay hands out for a mapping is the file below it, on a
    /// mount that nobody sees (`struct backing_file`); the path in the overlay stands right after it.
    #[inline(always)]
    fn user_path(self) -> Path {
        let path = self.path();
        if BACKING_FILE_USER_PATH.value() == 0
            || field::<u32>(self.0, FILE_MODE) & Self::MAYBE_FMODE_BACKING == 0
        {
            return path;
        }
        let user_path: Path = probe(self.0, BACKING_FILE_USER_PATH);
        if user_path.is_coherent() {
            user_path
        } else {
            path
        }
    }
}

impl Task {
    /// What one of its descriptors leads to; nothing where it is not open.
    #[inline(always)]
    pub(crate) fn descriptor(self, number: u32) -> Path {
        let table: Pointer = probe(field(self.0, TASK_FILES), FILES_FDT);
        if number >= probe(table, FDTABLE_MAX_FDS) {
            return Path::default();
        }
        let files: Pointer = probe(table, FDTABLE_FD);
        let offset = (number as usize).wrapping_mul(size_of::<Pointer>());
        File(probe_at(files.wrapping_add(offset))).path()
    }
}

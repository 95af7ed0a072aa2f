//! The pool: each block ends where a page begins that nobody may touch, and its memory is never
//! used again, so that a byte too far and a late use are faults. Fresh memory is garbage.

#![expect(unsafe_code, reason = "gives out memory and takes it back")]

use crate::contract::{DISPATCH_LEVEL, breach, enter, lock, strikes};
use std::collections::BTreeMap;
use std::ffi::c_void;
use std::ptr;
use std::sync::Mutex;
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
};

const PAGE_SIZE: usize = 4096;
/// What fresh memory holds.
const GARBAGE: u8 = 0xcd;
/// What stands between a block's end and the page that nobody may touch.
const FENCE: u8 = 0xfd;

static BLOCKS: Mutex<BTreeMap<usize, Tagged>> = Mutex::new(BTreeMap::new());

struct Tagged {
    block: Guarded,
    tag: u32,
}

/// Memory with a page behind it that nobody may touch.
pub(crate) struct Guarded {
    base: *mut c_void,
    start: *mut u8,
    size: usize,
    /// Bytes of the fence.
    fence: usize,
}

// SAFETY: memory is good in every thread.
unsafe impl Send for Guarded {}

impl Guarded {
    /// `size` bytes of garbage, aligned as the pool does.
    pub(crate) fn new(size: usize) -> Option<Self> {
        let aligned = size.checked_next_multiple_of(16)?.max(16);
        let room = aligned.checked_next_multiple_of(PAGE_SIZE)?;
        // SAFETY: asks for new memory.
        let base =
            unsafe { VirtualAlloc(ptr::null(), room + PAGE_SIZE, MEM_RESERVE, PAGE_READWRITE) };
        // SAFETY: all but the last page of what was just reserved.
        let first = unsafe { VirtualAlloc(base, room, MEM_COMMIT, PAGE_READWRITE) };
        if base.is_null() || first.is_null() {
            return None;
        }
        // SAFETY: within the committed pages.
        let start = unsafe { base.cast::<u8>().add(room - aligned) };
        // SAFETY: `aligned` bytes are left to the end of the committed pages.
        unsafe {
            start.write_bytes(GARBAGE, size);
        }
        // SAFETY: as above.
        let end = unsafe { start.add(size) };
        // SAFETY: as above.
        unsafe {
            end.write_bytes(FENCE, aligned - size);
        }
        Some(Self {
            base,
            start,
            size,
            fence: aligned - size,
        })
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.start
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Whether nothing was written behind the block's end.
    pub(crate) fn is_whole(&self) -> bool {
        // SAFETY: the block and its fence are committed.
        let end = unsafe { self.start.add(self.size) };
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts(end, self.fence) }
            .iter()
            .all(|byte| *byte == FENCE)
    }

    /// Gives the memory back, for other uses.
    pub(crate) fn release(self) {
        // SAFETY: reserved in `new`, and nobody uses it any more.
        let _is_freed = unsafe { VirtualFree(self.base, 0, MEM_RELEASE) };
    }

    /// Lets whoever uses the memory after this fault.
    fn bury(self) {
        // SAFETY: committed in `new`; the addresses stay reserved.
        let _is_freed = unsafe { VirtualFree(self.base, 0, MEM_DECOMMIT) };
    }
}

/// Notes what was not freed, and forgets it.
pub(crate) fn finish() {
    for (_start, tagged) in std::mem::take(&mut *lock(&BLOCKS)) {
        breach(format!(
            "{} bytes of pool with tag {:#x} were never freed",
            tagged.block.size(),
            tagged.tag
        ));
    }
}

pub(crate) unsafe extern "system" fn allocate(kind: i32, size: usize, tag: u32) -> *mut c_void {
    enter("ExAllocatePoolWithTag", DISPATCH_LEVEL);
    if kind != nt::sys::NON_PAGED_POOL_NX {
        breach(format!(
            "pool of kind {kind} is not nonpaged and non-executable"
        ));
    }
    if size == 0 || tag == 0 {
        breach("pool of no size or no tag");
    }
    if strikes("ExAllocatePoolWithTag") {
        return ptr::null_mut();
    }
    let Some(block) = Guarded::new(size) else {
        return ptr::null_mut();
    };
    let start = block.start();
    lock(&BLOCKS).insert(start.addr(), Tagged { block, tag });
    start.cast()
}

pub(crate) unsafe extern "system" fn free(start: *mut c_void, tag: u32) {
    enter("ExFreePoolWithTag", DISPATCH_LEVEL);
    let Some(tagged) = lock(&BLOCKS).remove(&start.addr()) else {
        breach("pool freed that is not allocated");
        return;
    };
    if tagged.tag != tag {
        breach(format!(
            "pool with tag {:#x} freed with {tag:#x}",
            tagged.tag
        ));
    }
    if !tagged.block.is_whole() {
        breach("a block of pool was written behind its end");
    }
    tagged.block.bury();
}

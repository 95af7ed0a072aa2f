//! The pool: what is freed twice, with another tag or never is a breach. Fresh memory is garbage.

#![expect(unsafe_code, reason = "gives out memory and takes it back")]

use crate::contract::{DISPATCH_LEVEL, breach, enter};
use crate::fault;
use crate::mutex::lock;
use std::alloc::{Layout, alloc, dealloc};
use std::collections::HashMap;
use std::ffi::c_void;
use std::sync::Mutex;

static BLOCKS: Mutex<Option<HashMap<usize, Block>>> = Mutex::new(None);

#[derive(Clone, Copy)]
struct Block {
    layout: Layout,
    tag: u32,
}

/// Notes what was not freed, and forgets it.
pub(crate) fn finish() {
    for block in lock(&BLOCKS).take().unwrap_or_default().values() {
        breach(format!(
            "{} bytes of pool with tag {:#x} were never freed",
            block.layout.size(),
            block.tag
        ));
    }
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ExAllocatePoolWithTag(kind: i32, size: usize, tag: u32) -> *mut c_void {
    const NON_PAGED_POOL_NX: i32 = 512;
    const GARBAGE: u8 = 0xcd;
    enter("ExAllocatePoolWithTag", DISPATCH_LEVEL);
    if kind != NON_PAGED_POOL_NX {
        breach(format!(
            "pool of kind {kind} is not nonpaged and non-executable"
        ));
    }
    if size == 0 || tag == 0 {
        breach("pool of no size or no tag");
    }
    if fault::strikes("ExAllocatePoolWithTag") {
        return std::ptr::null_mut();
    }
    let Ok(layout) = Layout::from_size_align(size.max(1), 16) else {
        return std::ptr::null_mut();
    };
    // SAFETY: the layout has a size.
    let start = unsafe { alloc(layout) };
    if start.is_null() {
        return start.cast();
    }
    // SAFETY: the memory was just allocated with this size.
    unsafe {
        start.write_bytes(GARBAGE, size);
    }
    lock(&BLOCKS)
        .get_or_insert_default()
        .insert(start.addr(), Block { layout, tag });
    start.cast()
}

#[unsafe(no_mangle)]
unsafe extern "system" fn ExFreePoolWithTag(start: *mut c_void, tag: u32) {
    enter("ExFreePoolWithTag", DISPATCH_LEVEL);
    let block = lock(&BLOCKS).get_or_insert_default().remove(&start.addr());
    match block {
        Some(block) if block.tag == tag => {
            // SAFETY: allocated above with this layout, and off the list.
            unsafe {
                dealloc(start.cast(), block.layout);
            }
        }
        Some(block) => breach(format!(
            "pool with tag {:#x} freed with {tag:#x}",
            block.tag
        )),
        None => breach("pool freed that is not allocated"),
    }
}

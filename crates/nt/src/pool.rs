//! Nonpaged, non-executable pool that lives until the driver is unloaded.
//!
//! The driver allocates at its start and never again. Each block is part of the [`Region`], which
//! the unload routine, or a start that fails, releases in the reverse order: first a block's value
//! is dropped, then its memory is freed. `'static` therefore means: as long as the driver's code.

#![expect(
    unsafe_code,
    reason = "calls the kernel and places values in raw memory"
)]

use crate::{Result, Status, sys};
use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The tag of every block, `SysT` in a dump.
pub const TAG: u32 = u32::from_le_bytes(*b"SysT");

/// The blocks of this driver, the newest first.
static NEWEST: AtomicPtr<Block> = AtomicPtr::new(ptr::null_mut());

/// What a block begins with.
#[derive(Debug)]
struct Block {
    older: *mut Self,
    value: *mut u8,
    drop_fn: unsafe fn(*mut u8),
}

/// The right to allocate: given to a driver's start, and to nobody later.
#[derive(Debug)]
pub struct Region {
    newest: &'static AtomicPtr<Block>,
}

impl Region {
    /// # Safety
    /// The caller is the driver's entry point or its unload routine, which the kernel never runs
    /// at once.
    pub(crate) const unsafe fn new() -> Self {
        Self { newest: &NEWEST }
    }

    /// Moves `value` into the pool.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`; the value is dropped.
    pub fn place<T: Send + Sync + 'static>(&self, value: T) -> Result<&'static T> {
        self.place_with(|| value)
    }

    /// Makes a value in the pool, where a large one takes no room on the stack.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`; `make_fn` is not called.
    pub fn place_with<T: Send + Sync + 'static>(
        &self,
        make_fn: impl FnOnce() -> T,
    ) -> Result<&'static T> {
        let block = self.allocate::<T>(1, drop_value::<T>)?;
        // SAFETY: `allocate` gave room for one `T`, aligned for it.
        unsafe {
            block.write(make_fn());
        }
        // SAFETY: just written, and freed only after the driver's last code has run.
        Ok(unsafe { &*block })
    }

    /// A slice of `count` values, each made by `make_fn`, for the caller alone.
    ///
    /// IRQL: at most `DISPATCH_LEVEL`.
    ///
    /// # Errors
    /// `INSUFFICIENT_RESOURCES`
    pub fn slice<T: Send + 'static>(
        &self,
        count: usize,
        mut make_fn: impl FnMut() -> T,
    ) -> Result<&'static mut [T]> {
        const { assert!(!core::mem::needs_drop::<T>()) };
        let first = self.allocate::<T>(count, drop_nothing)?;
        for index in 0..count {
            // SAFETY: `allocate` gave room for `count` values, and `index` is below.
            let slot = unsafe { first.add(index) };
            // SAFETY: the slot is aligned and nobody else's.
            unsafe {
                slot.write(make_fn());
            }
        }
        // SAFETY: `count` values were just written, nobody else knows them, and they are freed only
        // after the driver's last code has run.
        Ok(unsafe { core::slice::from_raw_parts_mut(first, count) })
    }

    /// Drops and frees everything, the newest first.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    ///
    /// # Safety
    /// No callback into this driver can run any more but those that the dropped values undo.
    pub(crate) unsafe fn release(&self) {
        loop {
            let block = self.newest.load(Ordering::Acquire);
            if block.is_null() {
                return;
            }
            // SAFETY: blocks on the list are whole until they are freed below.
            let Block {
                older,
                value,
                drop_fn,
            } = unsafe { ptr::read(block) };
            self.newest.store(older, Ordering::Release);
            // SAFETY: `drop_fn` belongs to the block's value, which is dropped here only.
            unsafe {
                drop_fn(value);
            }
            // SAFETY: the block came from the pool with this tag, and is off the list.
            unsafe {
                sys::ExFreePoolWithTag(block.cast(), TAG);
            }
        }
    }

    /// Room for `count` values behind a block header, on the list with a `drop_fn` for them.
    fn allocate<T>(&self, count: usize, drop_fn: unsafe fn(*mut u8)) -> Result<*mut T> {
        let size = size_of::<T>()
            .checked_mul(count)
            .and_then(|size| size.checked_add(size_of::<Block>()))
            .and_then(|size| size.checked_add(align_of::<T>()))
            .ok_or(Status::INSUFFICIENT_RESOURCES)?;
        // SAFETY: has no precondition but the IRQL.
        let start = unsafe { sys::ExAllocatePoolWithTag(sys::NON_PAGED_POOL_NX, size, TAG) };
        if start.is_null() {
            return Err(Status::INSUFFICIENT_RESOURCES);
        }
        let block = start.cast::<Block>();
        // SAFETY: the allocation holds a header and more.
        let after = unsafe { block.add(1) }.cast::<u8>();
        // SAFETY: the allocation holds an alignment's worth of bytes beyond header and values.
        let value = unsafe { after.add(after.align_offset(align_of::<T>())) };
        let header = Block {
            older: self.newest.load(Ordering::Acquire),
            value,
            drop_fn,
        };
        // SAFETY: pool is aligned to 16 bytes, which suffices for a header.
        unsafe {
            block.write(header);
        }
        self.newest.store(block, Ordering::Release);
        Ok(value.cast())
    }
}

/// # Safety
/// `value` points to a `T` that nobody uses any more.
unsafe fn drop_value<T>(value: *mut u8) {
    // SAFETY: by this function's contract.
    unsafe {
        ptr::drop_in_place(value.cast::<T>());
    }
}

/// For values that need no drop.
unsafe fn drop_nothing(_value: *mut u8) {}

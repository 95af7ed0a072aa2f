//! Handles to kernel objects.

#![expect(unsafe_code, reason = "opens and closes handles")]

use crate::{Result, Status, sys};

/// A kernel handle, closed when it is dropped.
///
/// # Invariants
/// `raw` is open, in the kernel's handle table, and this value's to close.
#[derive(Debug)]
pub(crate) struct Handle {
    raw: sys::HANDLE,
}

// SAFETY: kernel handles are good in every thread.
unsafe impl Send for Handle {}
// SAFETY: and may be used by several at once; the kernel locks what they stand for.
unsafe impl Sync for Handle {}

impl Handle {
    /// # Safety
    /// `raw` is an open kernel handle that nobody else closes.
    pub(crate) unsafe fn owned(raw: sys::HANDLE) -> Self {
        Self { raw }
    }

    /// A kernel handle to `object`, which must be alive.
    ///
    /// IRQL: `PASSIVE_LEVEL`.
    pub(crate) fn open(object: sys::PVOID, access: u32) -> Result<Self> {
        let mut raw = core::ptr::null_mut();
        // SAFETY: every caller holds a reference to the object; in kernel mode the kernel asks for
        // no object type.
        let status = unsafe {
            sys::ObOpenObjectByPointer(
                object,
                sys::OBJ_KERNEL_HANDLE,
                core::ptr::null_mut(),
                access,
                core::ptr::null_mut(),
                sys::KERNEL_MODE,
                &raw mut raw,
            )
        };
        Status(status).ok()?;
        Ok(Self { raw })
    }

    pub(crate) fn raw(&self) -> sys::HANDLE {
        self.raw
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // SAFETY: by the invariant the handle is open and this value's. Closing it cannot fail.
        let _status = unsafe { sys::ZwClose(self.raw) };
    }
}

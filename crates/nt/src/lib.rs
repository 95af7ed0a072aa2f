//! The part of the Windows kernel that the driver needs, as safe Rust under the kernel's own names.
//!
//! Each foreign function is called in one place. A callback from the kernel lands in a trampoline
//! that turns pointers into types, calls a safe trait method and turns the result into a status.
//! Whatever is registered, created, referenced or opened is a value whose `Drop` undoes it.
//!
//! Every function says its highest IRQL; `ntemu` asserts the same when the driver runs on it. Off
//! Windows the kernel's functions are symbols that `ntemu` defines.
//!
//! One image, one driver: what must outlive its callers ([`pool::Region`], the notify routines'
//! targets) hangs on statics of this crate and is undone by [`driver::entry`]'s unload routine.

#![no_std]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

pub mod csq;
pub mod device;
pub mod driver;
pub mod error_log;
mod handle;
pub mod irp;
pub mod irql;
pub mod lock;
pub mod notify;
pub mod pool;
pub mod process;
pub mod registry;
pub mod security;
pub mod string;
pub mod sys;
pub mod time;
pub mod timer;
pub mod token;

use core::fmt;

/// An NTSTATUS: a number with names.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Status(pub i32);

/// What a kernel function gives: a value, or the status that says why not.
pub type Result<T> = core::result::Result<T, Status>;

impl Status {
    /// It is done.
    pub const SUCCESS: Self = Self(0);
    /// It will be done later.
    pub const PENDING: Self = Self::code(0x0000_0103);
    /// A buffer received part of the value.
    pub const BUFFER_OVERFLOW: Self = Self::code(0x8000_0005);
    /// It cannot be done, without a better reason.
    pub const UNSUCCESSFUL: Self = Self::code(0xc000_0001);
    /// An argument is wrong.
    pub const INVALID_PARAMETER: Self = Self::code(0xc000_000d);
    /// The device does not know the request.
    pub const INVALID_DEVICE_REQUEST: Self = Self::code(0xc000_0010);
    /// The caller may not do this.
    pub const ACCESS_DENIED: Self = Self::code(0xc000_0022);
    /// The buffer cannot hold what was asked for.
    pub const BUFFER_TOO_SMALL: Self = Self::code(0xc000_0023);
    /// There is no object of this name.
    pub const OBJECT_NAME_NOT_FOUND: Self = Self::code(0xc000_0034);
    /// Somebody else has it open in a way that excludes this.
    pub const SHARING_VIOLATION: Self = Self::code(0xc000_0043);
    /// No memory, or a limit was reached.
    pub const INSUFFICIENT_RESOURCES: Self = Self::code(0xc000_009a);
    /// The request was cancelled.
    pub const CANCELLED: Self = Self::code(0xc000_0120);
    /// It was begun and is not gone on with.
    pub const REQUEST_ABORTED: Self = Self::code(0xc000_0240);
    /// The other side speaks another version.
    pub const REVISION_MISMATCH: Self = Self::code(0xc000_0059);

    const fn code(code: u32) -> Self {
        Self(code.cast_signed())
    }

    /// Whether it means success or information.
    pub const fn is_success(self) -> bool {
        self.0 >= 0
    }

    /// `Ok` on success or information.
    pub const fn ok(self) -> Result<()> {
        if self.is_success() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Status({:#010x})", self.0)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:#010x}", self.0)
    }
}

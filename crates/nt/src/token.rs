//! What a process's primary token says.

#![expect(
    unsafe_code,
    reason = "reads token information the kernel wrote into a buffer"
)]

use crate::handle::Handle;
use crate::{Result, Status, sys};
use core::mem::MaybeUninit;

/// Bytes of the largest SID.
pub const SID_SIZE_MAX: usize = sys::SECURITY_MAX_SID_SIZE;

/// User, integrity level, elevation and session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    user_sid: Sid,
    /// The relative id of the integrity level.
    pub integrity_level: u32,
    /// Whether the token is elevated.
    pub is_elevated: bool,
    /// The terminal services session.
    pub session_id: u32,
}

impl Facts {
    /// The user's SID, as Windows stores it.
    pub fn user_sid(&self) -> &[u8] {
        self.user_sid.bytes()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sid {
    bytes: [u8; SID_SIZE_MAX],
    size: usize,
}

impl Sid {
    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or(&[])
    }

    /// The last of the relative ids, which for an integrity level is the level.
    fn last_relative_id(&self) -> u32 {
        self.bytes()
            .last_chunk::<4>()
            .map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }
}

/// Room for a `TOKEN_USER` or `TOKEN_MANDATORY_LABEL` and the SID behind it.
#[repr(C)]
struct SidBuffer {
    head: sys::SID_AND_ATTRIBUTES,
    sid: [u8; SID_SIZE_MAX],
}

/// IRQL: `PASSIVE_LEVEL`. The token must be alive.
pub(crate) fn facts(token: sys::PVOID) -> Result<Facts> {
    let handle = Handle::open(token, sys::TOKEN_QUERY)?;
    Ok(Facts {
        user_sid: sid(&handle, sys::TOKEN_USER_CLASS)?,
        integrity_level: sid(&handle, sys::TOKEN_INTEGRITY_LEVEL_CLASS)?.last_relative_id(),
        is_elevated: number(&handle, sys::TOKEN_ELEVATION_CLASS)? != 0,
        session_id: number(&handle, sys::TOKEN_SESSION_ID_CLASS)?,
    })
}

fn number(handle: &Handle, class: i32) -> Result<u32> {
    let mut number = 0_u32;
    query(handle, class, (&raw mut number).cast(), size_of::<u32>())?;
    Ok(number)
}

/// Copies the SID that the kernel wrote behind the fixed part, with the size it claims, checked.
fn sid(handle: &Handle, class: i32) -> Result<Sid> {
    const HEAD_SIZE: usize = 8;
    let mut buffer = MaybeUninit::<SidBuffer>::zeroed();
    query(
        handle,
        class,
        buffer.as_mut_ptr().cast(),
        size_of::<SidBuffer>(),
    )?;
    // SAFETY: all zero is a valid value, and so is whatever the kernel wrote over it.
    let buffer = unsafe { buffer.assume_init() };
    // The kernel puts the SID right behind the fixed part, and its address into it.
    let sub_authorities = usize::from(buffer.sid[1]);
    let size = sub_authorities
        .checked_mul(4)
        .and_then(|size| size.checked_add(HEAD_SIZE))
        .filter(|size| *size <= SID_SIZE_MAX)
        .ok_or(Status::UNSUCCESSFUL)?;
    Ok(Sid {
        bytes: buffer.sid,
        size,
    })
}

fn query(handle: &Handle, class: i32, buffer: sys::PVOID, size: usize) -> Result<()> {
    let size = u32::try_from(size).unwrap_or(0);
    let mut needed = 0;
    // SAFETY: the handle is open, and every caller's buffer as large as it says.
    let status =
        unsafe { sys::ZwQueryInformationToken(handle.raw(), class, buffer, size, &raw mut needed) };
    Status(status).ok()
}

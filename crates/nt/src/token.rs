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

/// User, integrity level, elevation and sessions; each `None` where it could not be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    user_sid: Option<Sid>,
    /// The relative id of the integrity level.
    pub integrity_level: Option<u32>,
    /// Whether the token is elevated.
    pub is_elevated: Option<bool>,
    /// The terminal services session.
    pub session_id: Option<u32>,
    /// The logon session, a LUID.
    pub logon_id: Option<u64>,
}

impl Facts {
    /// The user's SID, as Windows stores it.
    pub fn user_sid(&self) -> Option<&[u8]> {
        self.user_sid.as_ref().map(Sid::bytes)
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

/// What can be had of a token, which must be alive. One fact that is refused costs no other.
///
/// IRQL: `PASSIVE_LEVEL`.
pub(crate) fn facts(token: sys::PVOID) -> Facts {
    let logon_id = logon_id(token).ok();
    let Ok(handle) = Handle::open(token, sys::TOKEN_QUERY) else {
        return Facts {
            logon_id,
            ..Facts::default()
        };
    };
    let integrity = sid(&handle, sys::TOKEN_INTEGRITY_LEVEL_CLASS).ok();
    let elevation = number(&handle, sys::TOKEN_ELEVATION_CLASS).ok();
    Facts {
        user_sid: sid(&handle, sys::TOKEN_USER_CLASS).ok(),
        integrity_level: integrity.map(|sid| sid.last_relative_id()),
        is_elevated: elevation.map(|elevation| elevation != 0),
        session_id: number(&handle, sys::TOKEN_SESSION_ID_CLASS).ok(),
        logon_id,
    }
}

fn logon_id(token: sys::PVOID) -> Result<u64> {
    let mut luid = 0_u64;
    // SAFETY: the caller says that the token is alive; a LUID has eight bytes.
    let status = unsafe { sys::SeQueryAuthenticationIdToken(token, (&raw mut luid).cast()) };
    Status(status).ok()?;
    Ok(luid)
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

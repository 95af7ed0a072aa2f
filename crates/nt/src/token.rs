//! What a process's primary token says.

#![expect(
    unsafe_code,
    reason = "reads token information the kernel wrote into a buffer"
)]

use crate::handle::Handle;
use crate::{Result, Status, sys};
use core::fmt;
use core::mem::offset_of;

/// Bytes of the largest SID.
pub const SID_SIZE_MAX: usize = sys::SECURITY_MAX_SID_SIZE;

/// User, integrity level, elevation and sessions; each `None` where it could not be had.
#[derive(Clone, Copy)]
pub struct Facts {
    user: Sid,
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
    /// Nothing could be had.
    pub(crate) const NONE: Self = Self {
        user: Sid::NONE,
        integrity_level: None,
        is_elevated: None,
        session_id: None,
        logon_id: None,
    };

    /// The user's SID, as Windows stores it.
    pub fn user_sid(&self) -> Option<&[u8]> {
        Some(self.user.bytes()).filter(|sid| !sid.is_empty())
    }
}

/// A `TOKEN_USER` or `TOKEN_MANDATORY_LABEL` as the kernel writes it: the fixed part, and the SID behind
/// it. The address in the fixed part is never followed.
#[repr(C)]
#[derive(Clone, Copy)]
struct Sid {
    head: [u64; HEAD_WORDS],
    bytes: [u8; SID_SIZE_MAX],
    size: usize,
}

/// Words of a `SID_AND_ATTRIBUTES`.
const HEAD_WORDS: usize = size_of::<sys::SID_AND_ATTRIBUTES>() / 8;

impl fmt::Debug for Facts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Facts").finish_non_exhaustive()
    }
}

impl Sid {
    const NONE: Self = Self {
        head: [0; HEAD_WORDS],
        bytes: [0; SID_SIZE_MAX],
        size: 0,
    };

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

/// What can be had of a token, which must be alive. One fact that is refused costs no other.
///
/// IRQL: `PASSIVE_LEVEL`.
pub(crate) fn facts(token: sys::PVOID) -> Facts {
    let logon_id = logon_id(token).ok();
    let Ok(handle) = Handle::open(token, sys::TOKEN_QUERY) else {
        return Facts {
            logon_id,
            ..Facts::NONE
        };
    };
    let (mut user, mut integrity) = (Sid::NONE, Sid::NONE);
    let has_integrity = sid(&handle, sys::TOKEN_INTEGRITY_LEVEL_CLASS, &mut integrity).is_ok();
    let elevation = number(&handle, sys::TOKEN_ELEVATION_CLASS).ok();
    // What failed has left no SID.
    let _user = sid(&handle, sys::TOKEN_USER_CLASS, &mut user);
    Facts {
        user,
        integrity_level: has_integrity.then(|| integrity.last_relative_id()),
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

/// Asks for a SID. Where that fails, or what the kernel wrote is none, `sid` has no bytes.
fn sid(handle: &Handle, class: i32, sid: &mut Sid) -> Result<()> {
    const HEAD_SIZE: usize = 8;
    let room = offset_of!(Sid, size);
    query(handle, class, core::ptr::from_mut(sid).cast(), room)?;
    // The kernel puts the SID right behind the fixed part, and its address into it.
    let sub_authorities = usize::from(sid.bytes[1]);
    sid.size = sub_authorities
        .checked_mul(4)
        .and_then(|size| size.checked_add(HEAD_SIZE))
        .filter(|size| *size <= SID_SIZE_MAX)
        .ok_or(Status::UNSUCCESSFUL)?;
    Ok(())
}

fn query(handle: &Handle, class: i32, buffer: sys::PVOID, size: usize) -> Result<()> {
    let size = u32::try_from(size).unwrap_or(0);
    let mut needed = 0;
    // SAFETY: the handle is open, and every caller's buffer as large as it says.
    let status =
        unsafe { sys::ZwQueryInformationToken(handle.raw(), class, buffer, size, &raw mut needed) };
    Status(status).ok()
}

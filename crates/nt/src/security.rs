//! Who may open the device.

#![expect(unsafe_code, reason = "asks the kernel about the caller's token")]

use crate::sys;

/// The security descriptor `D:P(A;;FA;;;SY)(A;;FA;;;BA)`, self-relative: SYSTEM and administrators
/// may do everything, nobody else anything, and nothing is inherited.
#[rustfmt::skip]
pub const ADMINISTRATORS_ONLY: [u8; 72] = [
    // SECURITY_DESCRIPTOR_RELATIVE: revision, padding, SE_SELF_RELATIVE | SE_DACL_PROTECTED |
    // SE_DACL_PRESENT, then the offsets of owner, group, SACL and DACL.
    1, 0, 0x04, 0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 20, 0, 0, 0,
    // ACL: revision, padding, size, number of entries, padding.
    2, 0, 52, 0, 2, 0, 0, 0,
    // ACCESS_ALLOWED_ACE: type, flags, size, mask FILE_ALL_ACCESS; S-1-5-18.
    0, 0, 20, 0, 0xff, 0x01, 0x1f, 0x00, 1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0,
    // ACCESS_ALLOWED_ACE: type, flags, size, mask FILE_ALL_ACCESS; S-1-5-32-544.
    0, 0, 24, 0, 0xff, 0x01, 0x1f, 0x00, 1, 2, 0, 0, 0, 0, 0, 5, 32, 0, 0, 0, 0x20, 2, 0, 0,
];

/// Whether the thread that runs now acts for an administrator or for SYSTEM. A client that lets
/// itself be identified only, not impersonated, does not.
///
/// IRQL: `PASSIVE_LEVEL`.
pub(crate) fn is_administrator() -> bool {
    let mut context = sys::SECURITY_SUBJECT_CONTEXT {
        ClientToken: core::ptr::null_mut(),
        ImpersonationLevel: 0,
        PrimaryToken: core::ptr::null_mut(),
        ProcessAuditId: core::ptr::null_mut(),
    };
    // SAFETY: fills the context it is given.
    unsafe {
        sys::SeCaptureSubjectContext(&raw mut context);
    }
    let acts = if context.ClientToken.is_null() {
        // SAFETY: the captured context keeps the token alive.
        unsafe { sys::SeTokenIsAdmin(context.PrimaryToken) != 0 }
    } else {
        context.ImpersonationLevel >= sys::SECURITY_IMPERSONATION
            // SAFETY: the captured context keeps the token alive.
            && unsafe { sys::SeTokenIsAdmin(context.ClientToken) != 0 }
    };
    // SAFETY: captured above, released once.
    unsafe {
        sys::SeReleaseSubjectContext(&raw mut context);
    }
    acts
}

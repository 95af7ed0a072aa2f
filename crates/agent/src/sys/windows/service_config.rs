//! What the `windows-service` crate does not set of a service.

#![expect(unsafe_code, reason = "changes a service's configuration")]

use std::io;
use std::ptr::{null, null_mut};

use windows_service::service::Service;
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, ChangeServiceConfigW, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
    SERVICE_NO_CHANGE, SERVICE_REQUIRED_PRIVILEGES_INFOW,
};

use super::call::{check, wide};

/// Puts the service into a load order group.
pub fn join_group(service: &Service, group: &str) -> io::Result<()> {
    let group = wide(group);
    // SAFETY: an open service and a text ended by a NUL; what is null stays as it is.
    check(unsafe {
        ChangeServiceConfigW(
            service.raw_handle(),
            SERVICE_NO_CHANGE,
            SERVICE_NO_CHANGE,
            SERVICE_NO_CHANGE,
            null(),
            group.as_ptr(),
            null_mut(),
            null(),
            null(),
            null(),
            null(),
        )
    })
}

/// Has the service's process run with these privileges and no others.
pub fn require_privileges(service: &Service, names: &[&str]) -> io::Result<()> {
    let mut list: Vec<u16> = names
        .iter()
        .flat_map(|name| name.encode_utf16().chain([0]))
        .collect();
    list.push(0);
    let information = SERVICE_REQUIRED_PRIVILEGES_INFOW {
        pmszRequiredPrivileges: list.as_mut_ptr(),
    };
    // SAFETY: an open service, and the structure of that level with a list that ends in two NULs.
    check(unsafe {
        ChangeServiceConfig2W(
            service.raw_handle(),
            SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
            (&raw const information).cast(),
        )
    })
}

//! What the `windows-service` crate does not set of a service.

#![expect(unsafe_code, reason = "changes a service's configuration")]

use std::io;

use windows_service::service::Service;
use windows_sys::Win32::System::Services::{
    ChangeServiceConfig2W, SERVICE_CONFIG_REQUIRED_PRIVILEGES_INFO,
    SERVICE_REQUIRED_PRIVILEGES_INFOW,
};

use super::call::check;

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

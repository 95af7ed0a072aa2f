//! Which drivers this machine's kernel loads.

#![expect(unsafe_code, reason = "asks the kernel for its code integrity options")]

use std::io;

use windows_sys::Wdk::System::SystemInformation::{
    NtQuerySystemInformation, SystemCodeIntegrityInformation,
};
use windows_sys::Win32::System::WindowsProgramming::SYSTEM_CODEINTEGRITY_INFORMATION;

use super::call::check_status;

/// `CODEINTEGRITY_OPTION_*`, as `NtQuerySystemInformation` documents them.
const ENABLED: u32 = 0x1;
const TEST_SIGN: u32 = 0x2;
const HVCI_KMCI_ENABLED: u32 = 0x400;

/// What the kernel asks of a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeIntegrity {
    /// Drivers must be signed.
    pub is_enforced: bool,
    /// Certificates made for tests count (`bcdedit /set testsigning on`).
    pub takes_test_certificates: bool,
    /// Memory integrity: the hypervisor checks every page of kernel code.
    pub has_memory_integrity: bool,
}

/// Asks the kernel.
pub fn read() -> io::Result<CodeIntegrity> {
    let size = u32::try_from(size_of::<SYSTEM_CODEINTEGRITY_INFORMATION>()).unwrap_or(u32::MAX);
    let mut information = SYSTEM_CODEINTEGRITY_INFORMATION {
        Length: size,
        CodeIntegrityOptions: 0,
    };
    let mut told_size = 0;
    // SAFETY: a structure with the size it has, its `Length` filled in as the call wants.
    let status = unsafe {
        NtQuerySystemInformation(
            SystemCodeIntegrityInformation,
            (&raw mut information).cast(),
            size,
            &raw mut told_size,
        )
    };
    check_status(status)?;
    let has = |option| information.CodeIntegrityOptions & option != 0;
    Ok(CodeIntegrity {
        is_enforced: has(ENABLED),
        takes_test_certificates: has(TEST_SIGN),
        has_memory_integrity: has(HVCI_KMCI_ENABLED),
    })
}

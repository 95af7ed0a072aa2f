//! The agent as a service of the system, and on Windows the driver's service with it.

pub mod cause;
pub mod driver_file;
pub mod ending;
pub mod start_failure;
pub mod write_access;

#[cfg(target_os = "linux")]
pub mod linux;
#[cfg(windows)]
pub mod windows;

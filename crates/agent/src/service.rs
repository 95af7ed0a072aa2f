//! The agent as a service of the system.

#[cfg(target_os = "linux")]
pub mod linux;

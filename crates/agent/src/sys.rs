//! The fence: the only module of the agent with `unsafe` code, and what few system interfaces no
//! library wraps.

#[cfg(target_os = "linux")]
pub mod clock;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(target_os = "linux")]
pub mod perf;
#[cfg(target_os = "linux")]
pub mod rcu;
#[cfg(target_os = "linux")]
pub mod wake;

//! The fence: the only module of the agent with `unsafe` code, and what few system interfaces no
//! library wraps.
//!
//! What both systems need has one name and two files: `sys/wake.rs` for Linux, its twin
//! `sys/windows/wake.rs`. What only one has is declared for that one alone.

pub mod believed;
#[cfg(any(windows, test))]
mod boot_id;
#[cfg_attr(windows, path = "sys/windows/clock.rs")]
pub mod clock;
#[cfg_attr(windows, path = "sys/windows/command.rs")]
pub mod command;
pub mod driver;
pub mod host;
#[cfg_attr(windows, path = "sys/windows/machine.rs")]
pub mod machine;
pub mod memory;
pub mod offset;
#[cfg_attr(windows, path = "sys/windows/processes.rs")]
pub mod processes;
#[cfg_attr(windows, path = "sys/windows/sockets.rs")]
pub mod sockets;
pub mod thread;
pub mod trace;
pub mod usage;
#[cfg_attr(windows, path = "sys/windows/users.rs")]
pub mod users;
pub mod volumes;
#[cfg_attr(windows, path = "sys/windows/wake.rs")]
pub mod wake;

#[cfg(target_os = "linux")]
pub mod cgroup;
#[cfg(target_os = "linux")]
pub mod inode;
#[cfg(target_os = "linux")]
pub mod netlink;
#[cfg(target_os = "linux")]
pub mod perf;
#[cfg(target_os = "linux")]
pub mod pid_namespace;
#[cfg(target_os = "linux")]
pub mod place;
#[cfg(target_os = "linux")]
pub mod proc;
#[cfg(target_os = "linux")]
pub mod rcu;

#[cfg(windows)]
#[path = "sys/windows/call.rs"]
mod call;
#[cfg(windows)]
#[path = "sys/windows/code_integrity.rs"]
pub mod code_integrity;
#[cfg(windows)]
#[path = "sys/windows/console.rs"]
pub mod console;
#[cfg(windows)]
#[path = "sys/windows/device.rs"]
pub mod device;
#[cfg(windows)]
#[path = "sys/windows/directory.rs"]
pub mod directory;
#[cfg(windows)]
#[path = "sys/windows/event_log.rs"]
pub mod event_log;
#[cfg(windows)]
#[path = "sys/windows/privilege.rs"]
pub mod privilege;
#[cfg(windows)]
#[path = "sys/windows/registry.rs"]
pub mod registry;
#[cfg(windows)]
#[path = "sys/windows/security.rs"]
pub mod security;
#[cfg(windows)]
#[path = "sys/windows/service_config.rs"]
pub mod service_config;
#[cfg(windows)]
#[path = "sys/windows/trace_session.rs"]
pub mod trace_session;

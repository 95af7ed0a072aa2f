//! The store to a receiver: exactly once, whatever the receiver, the network, the disk and the kernel do.

#![cfg(all(feature = "forward", target_os = "linux"))]

mod answers;
mod clickhouse;
mod cursors;
mod kills;
mod network;
mod receiver;
mod spool;
mod tls;
#[path = "../log/warnings.rs"]
mod warnings;

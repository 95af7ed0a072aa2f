//! The driver, unchanged, on a kernel that asserts its contract.

mod control;
mod fault;
mod image;
mod process;
mod read;
mod start;
mod stream;
mod stress;
mod thread;
mod unconfirmed;

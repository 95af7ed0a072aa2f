//! Windows' event traces (ETW): the trace file, and what the kernel tells in it.

#![forbid(unsafe_code)]

pub mod clock;
pub mod fields;
pub mod guid;
pub mod lzxpress;

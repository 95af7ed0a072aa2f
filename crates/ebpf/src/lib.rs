//! Empty on purpose: it lets hosts build and test the workspace. The programs are in `main.rs` and
//! are built for the eBPF target by `cargo xtask ebpf`, with the feature `image`.
#![no_std]

//! The eBPF programs of the Linux sensor: they watch processes, threads and images, and write
//! records of `event` into ring buffers.
//!
//! A program is named after its hook. It decodes nothing, formats nothing and waits for nobody: it
//! copies fields of kernel structures into a record and stores it, or counts it as lost. All reads
//! of kernel memory are in `kernel.rs`. `cargo xtask ebpf` builds the committed object,
//! `crates/agent/assets/systrail.bpf.o`.

#![no_std]
#![no_main]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![expect(
    clippy::inline_always,
    reason = "across a call the compiler cannot fold checks and the verifier forgets what it knew"
)]
#![expect(
    clippy::needless_pass_by_value,
    reason = "the macros of programs pass the context by value"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "a pointer has 64 bits here, and no size leaves its scratch memory of 64 KiB"
)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod context;
mod exec;
mod image;
mod iterator;
mod kernel;
mod maps;
mod process;
mod record;
mod thread;
mod turn;

/// The kernel gives its own helpers only to programs under a licence it is compatible with.
#[expect(unsafe_code, reason = "the kernel finds the licence by its section")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// A panic path that is left would be an endless loop, which the verifier refuses to load.
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

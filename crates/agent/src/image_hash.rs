//! Hashes of images: the SHA-256 and the build id of every file that is executed or mapped.
#![cfg_attr(
    not(test),
    expect(dead_code, reason = "the thread that uses these comes next")
)]

mod budget;
mod cache;
mod elf;

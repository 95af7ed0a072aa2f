//! Memory of this process.

/// Gives the system back what was allocated and is not needed any more. The start takes some 16 MiB,
/// most of it for the kernel's type information, and glibc keeps what is freed for later.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    give_back_to_linux();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[expect(unsafe_code, reason = "nothing safe tells glibc's allocator so")]
fn give_back_to_linux() {
    // SAFETY: it may be called at any time from any thread.
    let _is_any = unsafe { libc::malloc_trim(0) };
}

//! Waiting for the kernel's RCU readers, which eBPF programs are.
#![expect(unsafe_code, reason = "no library wraps membarrier")]

use std::io;

/// Returns when every eBPF program that was running at the call has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` is the kernel's `synchronize_rcu`, and tracing programs run as RCU
/// readers.
pub fn wait_for_readers() -> io::Result<()> {
    const NO_FLAGS: libc::c_int = 0;
    const ANY_CPU: libc::c_int = 0;
    // SAFETY: the call takes no pointers.
    let status = unsafe {
        libc::syscall(
            libc::SYS_membarrier,
            libc::MEMBARRIER_CMD_GLOBAL,
            NO_FLAGS,
            ANY_CPU,
        )
    };
    if status == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

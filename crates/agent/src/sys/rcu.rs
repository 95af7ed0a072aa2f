//! Waiting for the kernel's RCU readers, which eBPF programs are.
#![expect(unsafe_code, reason = "no library wraps membarrier")]

use std::time::Duration;

/// No tracing program runs longer than a small part of this.
const PROGRAM_TIME_MAX: Duration = Duration::from_millis(50);

/// Returns when every eBPF program that was running at the call has ended.
///
/// `MEMBARRIER_CMD_GLOBAL` is the kernel's `synchronize_rcu`, and tracing programs run as RCU
/// readers. Where the kernel or a sandbox does not offer it (`nohz_full`), time has to do.
pub fn wait_for_readers() {
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
    if status != 0 {
        std::thread::sleep(PROGRAM_TIME_MAX);
    }
}

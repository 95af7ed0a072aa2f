//! The machine: its name and the id of this boot.

use std::io;
use std::sync::Arc;

/// The host name, as `host` in every event.
#[cfg(target_os = "linux")]
pub fn name() -> Arc<str> {
    match nix::unistd::gethostname() {
        Ok(name) => Arc::from(name.to_string_lossy()),
        Err(error) => {
            tracing::warn!(%error, "the host name could not be read");
            Arc::from("localhost")
        }
    }
}

/// The 128-bit random id the kernel drew at boot (`/proc/sys/kernel/random/boot_id`), part of every
/// process key.
#[cfg(target_os = "linux")]
pub fn boot_id() -> io::Result<[u8; 16]> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    let digits: String = text.trim().chars().filter(|digit| *digit != '-').collect();
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the boot id is not a UUID");
    if digits.len() != 32 {
        return Err(invalid());
    }
    u128::from_str_radix(&digits, 16)
        .map(u128::to_be_bytes)
        .map_err(|_not_hex| invalid())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn reads_the_boot_id_the_kernel_tells() {
        let id = boot_id().unwrap();
        assert_ne!(id, [0; 16]);
        assert_eq!(id, boot_id().unwrap(), "it is the same for the whole boot");
    }
}

//! The machine: its name, its own id, the id of this boot, and who runs this program.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::LazyLock;

use super::cgroup::Hierarchy;
use super::proc;
use super::volumes::Volumes;

/// The host name.
pub fn name() -> io::Result<String> {
    let name = nix::unistd::gethostname()?;
    Ok(name.to_string_lossy().into_owned())
}

/// The id the system was given when it was installed. In a container it is the container's.
pub fn id() -> io::Result<String> {
    let read = |path| fs::read_to_string(path).map(|text| text.trim().to_owned());
    match read("/etc/machine-id") {
        Ok(id) if !id.is_empty() => Ok(id),
        _ => read("/var/lib/dbus/machine-id"),
    }
}

/// The 128-bit random id the kernel drew at boot (`/proc/sys/kernel/random/boot_id`).
pub fn boot_id() -> io::Result<[u8; 16]> {
    let text = proc::kernel_setting("random/boot_id")?;
    let digits: String = text.chars().filter(|digit| *digit != '-').collect();
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "the boot id is not a UUID");
    if digits.len() != 32 {
        return Err(invalid());
    }
    u128::from_str_radix(&digits, 16)
        .map(u128::to_be_bytes)
        .map_err(|_not_hex| invalid())
}

/// The path of the control group with this id, which the process was in, from the root of the unified
/// hierarchy, where there is such a group and it can be asked for.
pub fn cgroup_path(id: u64, process_id: u32) -> Option<Vec<u8>> {
    static HIERARCHY: LazyLock<Option<Hierarchy>> = LazyLock::new(Hierarchy::open);
    HIERARCHY.as_ref()?.path(id, process_id).ok()
}

/// What the kernel calls a device that is no block device, such as a terminal: `tty1`.
pub fn character_device(major: u32, minor: u32) -> Option<String> {
    let device = fs::read_link(format!("/sys/dev/char/{major}:{minor}")).ok()?;
    Some(device.file_name()?.to_str()?.to_owned())
}

/// There are no drive letters on this system.
pub fn volumes() -> Volumes {
    Volumes::default()
}

/// The configuration file of the system.
pub fn configuration_path() -> PathBuf {
    PathBuf::from("/etc/systrail/systrail.toml")
}

/// Where data is kept when no other place is said: `/var/lib/systrail` for root, and for others
/// what the XDG base directory specification calls the state directory.
pub fn data_directory() -> PathBuf {
    let absolute = |name| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    if nix::unistd::geteuid().is_root() {
        return PathBuf::from("/var/lib/systrail");
    }
    absolute("XDG_STATE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state")))
        .unwrap_or_else(std::env::temp_dir)
        .join("systrail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_boot_id_the_kernel_tells() {
        let id = boot_id().unwrap();
        assert_ne!(id, [0; 16]);
        assert_eq!(id, boot_id().unwrap(), "it is the same for the whole boot");
    }
}

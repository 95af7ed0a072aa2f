//! The machine: its name, its own id, the id of this boot, its drive letters, and where its files are.

#![expect(unsafe_code, reason = "asks the system for names and times")]

use std::io;
use std::path::PathBuf;

use windows_sys::Wdk::System::SystemInformation::{
    NtQuerySystemInformation, SystemTimeOfDayInformation,
};
use windows_sys::Win32::Storage::FileSystem::{GetLogicalDrives, QueryDosDeviceW};
use windows_sys::Win32::System::SystemInformation::{
    ComputerNamePhysicalDnsHostname, GetComputerNameExW, GetSystemWindowsDirectoryW,
};

use super::boot_id;
use super::call::{check, check_status, text, wide};
use super::registry::{self, Value};
use super::volumes::Volumes;

/// The longest name asked for, in UTF-16 units.
const NAME_SIZE_MAX: u32 = 1_024;

/// The DNS host name of this machine.
pub fn name() -> io::Result<String> {
    let mut buffer = [0_u16; NAME_SIZE_MAX as usize];
    let mut size = NAME_SIZE_MAX;
    // SAFETY: a buffer with the size it has.
    let told = unsafe {
        GetComputerNameExW(
            ComputerNamePhysicalDnsHostname,
            buffer.as_mut_ptr(),
            &raw mut size,
        )
    };
    check(told)?;
    Ok(text(&buffer))
}

/// The id Windows was given when it was installed.
pub fn id() -> io::Result<String> {
    match registry::value(r"SOFTWARE\Microsoft\Cryptography", "MachineGuid")? {
        Some(Value::Text(guid)) => Ok(guid),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

/// 128 bits that no other boot of any machine has: a hash of the id Windows was given when it was
/// installed, and the time of the boot.
///
/// Windows draws no number at boot. The boot time moves when the clock is set; what the kernel tells
/// as its bias moves with it, and the difference stays.
pub fn boot_id() -> io::Result<[u8; 16]> {
    let mut information = [0_u64; 6];
    let size = u32::try_from(size_of_val(&information)).unwrap_or(u32::MAX);
    let mut told_size = 0;
    // SAFETY: a buffer with the size it has.
    let status = unsafe {
        NtQuerySystemInformation(
            SystemTimeOfDayInformation,
            information.as_mut_ptr().cast(),
            size,
            &raw mut told_size,
        )
    };
    check_status(status)?;
    // SYSTEM_TIMEOFDAY_INFORMATION: boot time, current time, time zone bias, its id and a reserved
    // number, boot time bias, sleep time bias.
    let [boot_time, _, _, _, boot_time_bias, _] = information;
    let boot = boot_time.wrapping_sub(boot_time_bias);
    let installation = match id() {
        Ok(guid) => guid,
        // The host's name is the next best thing to tell machines apart.
        Err(_none) => name()?,
    };
    Ok(boot_id::of(&installation, boot))
}

/// There are no control groups here.
pub const fn cgroup_path(_id: u64, _process_id: u32) -> Option<Vec<u8>> {
    None
}

/// There are no names of devices to be asked for here.
pub const fn character_device(_major: u32, _minor: u32) -> Option<String> {
    None
}

/// The drive letters there are now, and the directory of Windows.
pub fn volumes() -> Volumes {
    // SAFETY: takes nothing and returns a bit a letter.
    let letters = unsafe { GetLogicalDrives() };
    let drives = ('A'..='Z')
        .zip(0..)
        .filter(|&(_, bit)| letters >> bit & 1 == 1)
        .filter_map(|(letter, _)| {
            let drive = format!("{letter}:");
            Some((device_of(&drive)?, drive))
        })
        .collect();
    Volumes {
        drives,
        system_root: windows_directory(),
    }
}

/// The kernel's name of a drive.
fn device_of(drive: &str) -> Option<String> {
    let drive = wide(drive);
    let mut buffer = [0_u16; NAME_SIZE_MAX as usize];
    // SAFETY: a text ended by a NUL, and a buffer with the size it has.
    let size = unsafe { QueryDosDeviceW(drive.as_ptr(), buffer.as_mut_ptr(), NAME_SIZE_MAX) };
    (size != 0).then(|| text(&buffer))
}

fn windows_directory() -> Option<String> {
    let mut buffer = [0_u16; NAME_SIZE_MAX as usize];
    // SAFETY: a buffer with the size it has.
    let size = unsafe { GetSystemWindowsDirectoryW(buffer.as_mut_ptr(), NAME_SIZE_MAX) };
    (0 < size && size < NAME_SIZE_MAX).then(|| text(&buffer))
}

/// The configuration file of the system.
pub fn configuration_path() -> PathBuf {
    data_directory().join("systrail.toml")
}

/// Where data is kept when no other place is said: `%ProgramData%\SysTrail`.
///
/// The place is read where the system has it. The environment has it too, but there anybody who
/// starts this program could name another.
pub fn data_directory() -> PathBuf {
    const PROFILES: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList";
    let drive = windows_directory().and_then(|path| path.get(..2).map(str::to_owned));
    let drive = drive.unwrap_or_else(|| "C:".to_owned());
    let path = match registry::value(PROFILES, "ProgramData") {
        Ok(Some(Value::Text(path))) => path.replace("%SystemDrive%", &drive),
        _ => format!(r"{drive}\ProgramData"),
    };
    PathBuf::from(path).join("SysTrail")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_id_is_the_same_for_the_whole_boot() {
        let id = boot_id().unwrap();
        assert_ne!(id, [0; 16]);
        assert_eq!(id, boot_id().unwrap());
    }

    #[test]
    fn the_drive_of_windows_has_a_letter_and_a_device() {
        let volumes = volumes();
        let root = volumes.system_root.unwrap();
        let drive = root.get(..2).unwrap();
        let has_letter = |(device, letter): &(String, String)| {
            letter == drive && device.starts_with(r"\Device\")
        };
        assert!(
            volumes.drives.iter().any(has_letter),
            "{:?}",
            volumes.drives
        );
    }
}

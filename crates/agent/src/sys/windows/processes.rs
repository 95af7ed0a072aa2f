//! Processes that are there now, as the system tells of them by id.

#![expect(unsafe_code, reason = "asks the system about processes")]

use std::io;
use std::os::windows::io::{AsRawHandle as _, OwnedHandle};
use std::ptr::null_mut;

use event::Flags;
use windows_sys::Wdk::System::SystemInformation::{
    NtQuerySystemInformation, SYSTEM_INFORMATION_CLASS, SystemProcessInformation,
};
use windows_sys::Wdk::System::Threading::{
    NtQueryInformationProcess, PROCESSINFOCLASS, ProcessCommandLineInformation,
    ProcessImageFileName,
};
use windows_sys::Win32::Foundation::{
    FILETIME, STATUS_BUFFER_OVERFLOW, STATUS_BUFFER_TOO_SMALL, STATUS_INFO_LENGTH_MISMATCH,
};
use windows_sys::Win32::Globalization::{CP_ACP, MultiByteToWideChar};
use windows_sys::Win32::Security::{GetTokenInformation, TOKEN_QUERY, TokenUser};
use windows_sys::Win32::System::Memory::{MEM_IMAGE, MEMORY_BASIC_INFORMATION, VirtualQueryEx};
use windows_sys::Win32::System::ProcessStatus::K32GetMappedFileNameW;
use windows_sys::Win32::System::Threading::{
    GetProcessTimes, OpenProcess, OpenProcessToken, PROCESS_QUERY_INFORMATION,
    PROCESS_QUERY_LIMITED_INFORMATION,
};

use super::call::{Answer, check, check_status, growing, owned};
use super::clock;

/// Nanoseconds in the unit of a [`ProcessKey`](event::ProcessKey)'s start time: that of Windows'
/// system times.
pub const START_TICK_NS: u64 = 100;

/// Whether an id can be another process's within a tick, which is shorter than any life here.
pub const IDS_RETURN_WITHIN_TICK: bool = false;

/// Whether a process may come to run another program.
pub const PROGRAMS_ARE_REPLACED: bool = false;

/// The most bytes of the list of processes, which also holds a line for each thread.
const LIST_SIZE_MAX: usize = 256 << 20;

/// The most bytes of a command line with what stands before it.
const TEXT_SIZE_MAX: usize = 80 << 10;

/// The most memory regions that are looked at in one process.
const REGIONS_MAX: usize = 1 << 20;

/// The longest path, in UTF-16 units.
const PATH_SIZE_MAX: usize = 32 << 10;

/// What everybody may know of a process.
const ACCESS: u32 = PROCESS_QUERY_LIMITED_INFORMATION;

/// That, and the regions of its memory with the files that are mapped there. Their contents are nobody's
/// business: who opens lsass.exe to read its memory is what detectors of attacks look for.
const REGIONS_ACCESS: u32 = PROCESS_QUERY_INFORMATION;

/// What a process runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// What is known of the texts.
    pub flags: Flags,
    /// The image path.
    pub image: Vec<u8>,
    /// The command line, in the form of a record.
    pub command_line: Vec<u8>,
}

/// A file mapped as an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Where the mapping begins.
    pub base: u64,
    /// Its bytes.
    pub size: u64,
    /// The kernel's name of the file, in UTF-16; empty when it has none.
    pub path: Vec<u8>,
}

/// Whether the system tells of processes under the ids that events have.
pub const fn are_told() -> bool {
    true
}

/// This process's own id as events have it.
pub fn own_id() -> Option<u32> {
    Some(std::process::id())
}

/// When the process that has this id now started, in ticks.
pub fn start_tick(process_id: u32) -> Option<u64> {
    let process = Process::open(process_id).ok()?;
    Some(process.start_time().ok()? / START_TICK_NS)
}

/// The parent is told by a process's start alone: its id may be another's by now.
pub const fn parent_id(_process_id: u32, _start_time: u64) -> Option<u32> {
    None
}

/// For whom it runs is told by its SID here, and never changes.
pub const fn user(_process_id: u32, _start_time: u64) -> Option<(u32, event::process::Users)> {
    None
}

/// Whether it is one of the kernel's own; nobody asks, as no program is lost here.
pub const fn is_kernel(_process_id: u32, _time: u64) -> bool {
    false
}

/// What the process with this id that started at `start_time` runs.
pub fn program(process_id: u32, start_time: u64) -> Option<Program> {
    let process = Process::open(process_id).ok()?;
    let is_it = start_time != 0 && process.start_time().ok()? == start_time;
    is_it.then(|| process.program())
}

/// What the kernel calls a process of its own: only the list of processes tells it, and that is the
/// snapshot's.
pub const fn kernel_name(_process_id: u32, _time: u64) -> Option<String> {
    None
}

/// The bytes of `SystemProcessInformation`: every process there is now, with its threads.
pub fn list() -> io::Result<Vec<u8>> {
    system_information(SystemProcessInformation)
}

/// The bytes of `SystemModuleInformation`: the kernel and every driver that is loaded.
pub fn list_drivers() -> io::Result<Vec<u8>> {
    /// Its number, which only the header of drivers has.
    const SYSTEM_MODULE_INFORMATION: SYSTEM_INFORMATION_CLASS = 11;
    system_information(SYSTEM_MODULE_INFORMATION)
}

fn system_information(class: SYSTEM_INFORMATION_CLASS) -> io::Result<Vec<u8>> {
    let words = growing(1 << 20, LIST_SIZE_MAX, |buffer| {
        let mut size = 0;
        // SAFETY: a buffer with the size it has.
        let status = unsafe {
            NtQuerySystemInformation(
                class,
                buffer.as_mut_ptr().cast(),
                size_of_words(buffer),
                &raw mut size,
            )
        };
        answer(status, size)
    })?;
    Ok(words.into_iter().flat_map(u64::to_le_bytes).collect())
}

/// A text in the system's code page as UTF-16; empty when it is none.
pub fn from_code_page(text: &[u8]) -> Vec<u8> {
    let size = i32::try_from(text.len()).unwrap_or(0);
    // No character has more UTF-16 units than it has bytes.
    let mut units = vec![0_u16; text.len()];
    // SAFETY: both have the sizes that are said.
    let written =
        unsafe { MultiByteToWideChar(CP_ACP, 0, text.as_ptr(), size, units.as_mut_ptr(), size) };
    units.truncate(usize::try_from(written).unwrap_or(0));
    units.into_iter().flat_map(u16::to_le_bytes).collect()
}

/// A process that is open, so that its id stays its own.
#[derive(Debug)]
pub struct Process(OwnedHandle);

impl Process {
    /// Opens a process to ask what everybody may know.
    pub fn open(process_id: u32) -> io::Result<Self> {
        Self::open_for(process_id, ACCESS)
    }

    /// Opens a process to ask for the regions of its memory as well. Protected processes do not allow
    /// that.
    pub fn open_regions(process_id: u32) -> io::Result<Self> {
        Self::open_for(process_id, REGIONS_ACCESS)
    }

    fn open_for(process_id: u32, access: u32) -> io::Result<Self> {
        // SAFETY: takes numbers alone.
        let handle = unsafe { OpenProcess(access, 0, process_id) };
        // SAFETY: just opened, and nobody else has it.
        Ok(Self(unsafe { owned(handle) }?))
    }

    /// When it started, on the sensor's clock.
    pub fn start_time(&self) -> io::Result<u64> {
        let [mut start, mut exit, mut kernel, mut user] = [FILETIME::default(); 4];
        // SAFETY: an open handle, and all four are writable for the call.
        check(unsafe {
            GetProcessTimes(
                self.0.as_raw_handle(),
                &raw mut start,
                &raw mut exit,
                &raw mut kernel,
                &raw mut user,
            )
        })?;
        Ok(clock::on_sensor_clock(clock::of(start)))
    }

    /// What it runs.
    pub fn program(&self) -> Program {
        let image = self.text(ProcessImageFileName);
        let command_line = self.text(ProcessCommandLineInformation);
        let flags = [
            (image.is_err(), Flags::IMAGE_UNAVAILABLE),
            (command_line.is_err(), Flags::COMMAND_LINE_UNAVAILABLE),
        ];
        let flags = flags.into_iter().filter(|(is_so, _)| *is_so);
        Program {
            flags: flags.fold(Flags::UTF_16, |flags, (_, flag)| flags.with(flag)),
            image: image.unwrap_or_default(),
            command_line: command_line.unwrap_or_default(),
        }
    }

    /// The SID of its user, in its binary form.
    pub fn user_sid(&self) -> io::Result<Vec<u8>> {
        let mut token = null_mut();
        // SAFETY: an open handle, and room for one of its token.
        check(unsafe { OpenProcessToken(self.0.as_raw_handle(), TOKEN_QUERY, &raw mut token) })?;
        // SAFETY: just opened, and nobody else has it.
        let token = unsafe { owned(token) }?;
        // TOKEN_USER (a pointer and attributes), then the SID, which has at most 68 bytes.
        let mut buffer = [0_u64; 16];
        let mut size = 0;
        // SAFETY: a buffer with the size it has.
        check(unsafe {
            GetTokenInformation(
                token.as_raw_handle(),
                TokenUser,
                buffer.as_mut_ptr().cast(),
                size_of_words(&buffer),
                &raw mut size,
            )
        })?;
        let address = buffer.as_ptr().addr();
        let bytes: Vec<u8> = buffer.iter().flat_map(|word| word.to_le_bytes()).collect();
        let pointer = usize::try_from(buffer[0]).map_err(io::Error::other)?;
        let sid = pointer.checked_sub(address).and_then(|at| bytes.get(at..));
        let sid = sid.and_then(|sid| sid.get(..8 + usize::from(*sid.get(1)?) * 4));
        sid.map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// A text of the process, which follows the `UNICODE_STRING` that describes it.
    fn text(&self, class: PROCESSINFOCLASS) -> io::Result<Vec<u8>> {
        let words = growing(1 << 10, TEXT_SIZE_MAX, |buffer| {
            let mut size = 0;
            // SAFETY: an open handle, and a buffer with the size it has.
            let status = unsafe {
                NtQueryInformationProcess(
                    self.0.as_raw_handle(),
                    class,
                    buffer.as_mut_ptr().cast(),
                    size_of_words(buffer),
                    &raw mut size,
                )
            };
            answer(status, size)
        })?;
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        let size = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
        let text = bytes.get(16..16 + size);
        text.map(<[u8]>::to_vec)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// The images that are mapped. Regions are told one by one: each with the base of its mapping.
    pub fn images(&self) -> Vec<Image> {
        let mut images: Vec<Image> = Vec::new();
        let mut address = 0_usize;
        for _ in 0..REGIONS_MAX {
            let Some(region) = self.region(address) else {
                break;
            };
            let end = region.BaseAddress.addr().saturating_add(region.RegionSize);
            if end <= address {
                break;
            }
            address = end;
            if region.Type != MEM_IMAGE {
                continue;
            }
            let base = region.AllocationBase.addr();
            let (base_u64, size) = (base as u64, (end - base) as u64);
            match images.last_mut() {
                Some(image) if image.base == base_u64 => image.size = size,
                _ => images.push(Image {
                    base: base_u64,
                    size,
                    path: self.mapped_file(base),
                }),
            }
        }
        images
    }

    fn region(&self, address: usize) -> Option<MEMORY_BASIC_INFORMATION> {
        let mut region = MEMORY_BASIC_INFORMATION::default();
        // SAFETY: an open handle, and a structure with the size it has; the address is one of that
        // process and is not read from.
        let size = unsafe {
            VirtualQueryEx(
                self.0.as_raw_handle(),
                std::ptr::without_provenance(address),
                &raw mut region,
                size_of::<MEMORY_BASIC_INFORMATION>(),
            )
        };
        (size != 0).then_some(region)
    }

    fn mapped_file(&self, address: usize) -> Vec<u8> {
        let mut buffer = vec![0_u16; PATH_SIZE_MAX];
        let room = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        // SAFETY: an open handle, and a buffer with the size it has; the address is one of that
        // process and is not read from.
        let size = unsafe {
            K32GetMappedFileNameW(
                self.0.as_raw_handle(),
                std::ptr::without_provenance(address),
                buffer.as_mut_ptr(),
                room,
            )
        };
        let units = buffer.into_iter().take(usize::try_from(size).unwrap_or(0));
        units.flat_map(u16::to_le_bytes).collect()
    }
}

fn size_of_words(words: &[u64]) -> u32 {
    u32::try_from(size_of_val(words)).unwrap_or(u32::MAX)
}

fn answer(status: i32, size: u32) -> Answer {
    match status {
        STATUS_INFO_LENGTH_MISMATCH | STATUS_BUFFER_TOO_SMALL | STATUS_BUFFER_OVERFLOW => {
            // Processes come and go, so the next answer may be a little larger.
            Answer::TooSmall(usize::try_from(size).unwrap_or(0) + (64 << 10))
        }
        status => match check_status(status) {
            Ok(()) => Answer::Filled,
            Err(error) => Answer::Failed(error),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The snapshot asked for PROCESS_VM_READ, of lsass.exe too, and never read a byte.
    #[test]
    fn no_process_is_opened_for_its_memory_or_to_be_changed() {
        let asking = PROCESS_QUERY_INFORMATION | PROCESS_QUERY_LIMITED_INFORMATION;
        assert_eq!((ACCESS | REGIONS_ACCESS) & !asking, 0);
    }

    #[test]
    fn the_regions_of_this_process_are_told_with_their_files() {
        let this = Process::open_regions(std::process::id()).unwrap();
        assert!(this.images().iter().any(|image| !image.path.is_empty()));
    }
}

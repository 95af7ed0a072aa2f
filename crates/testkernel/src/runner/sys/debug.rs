//! Programs run under the debugger interface: every process, thread and image event of a tree, told
//! while the one it happens to is stopped.

#![expect(
    unsafe_code,
    reason = "the debugger interface, and reads of a stopped process's memory"
)]

use super::handle::Handle;
use super::{check, wide};
use std::collections::BTreeMap;
use std::io;
use std::ptr;
use windows_sys::Wdk::System::Threading::{NtQueryInformationProcess, ProcessBasicInformation};
use windows_sys::Win32::Foundation::{
    DBG_CONTINUE, DBG_EXCEPTION_NOT_HANDLED, EXCEPTION_BREAKPOINT, FILETIME, HANDLE,
};
use windows_sys::Win32::Storage::FileSystem::{GetFinalPathNameByHandleW, QueryDosDeviceW};
use windows_sys::Win32::System::Diagnostics::Debug::{
    CREATE_PROCESS_DEBUG_EVENT, CREATE_THREAD_DEBUG_EVENT, ContinueDebugEvent, DEBUG_EVENT,
    EXCEPTION_DEBUG_EVENT, EXIT_PROCESS_DEBUG_EVENT, EXIT_THREAD_DEBUG_EVENT, LOAD_DLL_DEBUG_EVENT,
    ReadProcessMemory, WaitForDebugEvent,
};
use windows_sys::Win32::System::Threading::{
    CreateProcessW, DEBUG_PROCESS, GetProcessTimes, PEB, PROCESS_BASIC_INFORMATION,
    PROCESS_INFORMATION, STARTUPINFOW,
};

/// How long nothing may happen before the tree counts as stuck.
const SILENCE_MAX_MS: u32 = 60_000;

/// What happened, as the debugger interface has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Happening {
    ProcessStart {
        parent_process_id: u32,
        /// In 100 ns since 1601.
        create_time: u64,
        image: Image,
        command_line: String,
    },
    ProcessExit {
        exit_status: u32,
    },
    ThreadStart {
        start_address: u64,
    },
    ThreadExit,
    ImageLoad(Image),
}

/// A mapped image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Image {
    pub(crate) base: u64,
    pub(crate) size: u64,
    /// `C:\…`
    pub(crate) path: String,
}

/// Starts `command_line` and runs its whole tree to the end. `tell_fn` gets each happening with its
/// process and thread while the process is stopped.
pub(crate) fn run(
    command_line: &str,
    mut tell_fn: impl FnMut(u32, u32, Happening) -> io::Result<()>,
) -> io::Result<()> {
    let mut line = wide(command_line);
    let startup = STARTUPINFOW {
        cb: u32::try_from(size_of::<STARTUPINFOW>()).unwrap_or(0),
        ..STARTUPINFOW::default()
    };
    let mut started = PROCESS_INFORMATION::default();
    // SAFETY: all pointers are good for the call.
    check(unsafe {
        CreateProcessW(
            ptr::null(),
            line.as_mut_ptr(),
            ptr::null(),
            ptr::null(),
            0,
            DEBUG_PROCESS,
            ptr::null(),
            ptr::null(),
            &raw const startup,
            &raw mut started,
        )
    })?;
    let _process = Handle::new(started.hProcess)?;
    let _thread = Handle::new(started.hThread)?;
    let mut processes = BTreeMap::new();
    let mut is_over = false;
    while !is_over {
        let mut event = DEBUG_EVENT::default();
        // SAFETY: there is room for the event.
        check(unsafe { WaitForDebugEvent(&raw mut event, SILENCE_MAX_MS) })?;
        let (process_id, thread_id) = (event.dwProcessId, event.dwThreadId);
        let told = tell(&event, &mut processes, |happening| {
            tell_fn(process_id, thread_id, happening)
        });
        is_over = processes.is_empty();
        // SAFETY: answers the event that was waited for.
        check(unsafe { ContinueDebugEvent(process_id, thread_id, answer(&event)) })?;
        told?;
    }
    Ok(())
}

fn answer(event: &DEBUG_EVENT) -> i32 {
    if event.dwDebugEventCode != EXCEPTION_DEBUG_EVENT {
        return DBG_CONTINUE;
    }
    // SAFETY: the code says which field is valid.
    let exception = unsafe { event.u.Exception };
    if exception.ExceptionRecord.ExceptionCode == EXCEPTION_BREAKPOINT {
        DBG_CONTINUE
    } else {
        DBG_EXCEPTION_NOT_HANDLED
    }
}

/// Turns an event into what happened.
fn tell(
    event: &DEBUG_EVENT,
    processes: &mut BTreeMap<u32, HANDLE>,
    mut tell_fn: impl FnMut(Happening) -> io::Result<()>,
) -> io::Result<()> {
    let process_id = event.dwProcessId;
    match event.dwDebugEventCode {
        CREATE_PROCESS_DEBUG_EVENT => {
            // SAFETY: the code says which field is valid.
            let created = unsafe { event.u.CreateProcessInfo };
            processes.insert(process_id, created.hProcess);
            let file = Handle::new(created.hFile)?;
            let base = created.lpBaseOfImage.addr();
            let (parent_process_id, command_line) = parameters(created.hProcess)?;
            let image = image(created.hProcess, base, &file)?;
            tell_fn(Happening::ProcessStart {
                parent_process_id,
                create_time: create_time(created.hProcess)?,
                image: image.clone(),
                command_line,
            })?;
            tell_fn(Happening::ThreadStart {
                start_address: address(created.lpStartAddress),
            })?;
            tell_fn(Happening::ImageLoad(image))
        }
        CREATE_THREAD_DEBUG_EVENT => {
            // SAFETY: the code says which field is valid.
            let created = unsafe { event.u.CreateThread };
            tell_fn(Happening::ThreadStart {
                start_address: address(created.lpStartAddress),
            })
        }
        EXIT_THREAD_DEBUG_EVENT => tell_fn(Happening::ThreadExit),
        EXIT_PROCESS_DEBUG_EVENT => {
            // SAFETY: the code says which field is valid.
            let exit = unsafe { event.u.ExitProcess };
            processes.remove(&process_id);
            tell_fn(Happening::ThreadExit)?;
            tell_fn(Happening::ProcessExit {
                exit_status: exit.dwExitCode,
            })
        }
        LOAD_DLL_DEBUG_EVENT => {
            // SAFETY: the code says which field is valid.
            let load = unsafe { event.u.LoadDll };
            let file = Handle::new(load.hFile)?;
            let process = processes.get(&process_id).copied();
            let process = process.ok_or_else(|| io::Error::other("an unknown process loads"))?;
            tell_fn(Happening::ImageLoad(image(
                process,
                load.lpBaseOfDll.addr(),
                &file,
            )?))
        }
        _ => Ok(()),
    }
}

/// What a drive stands for.
pub(crate) fn device_of(drive: &str) -> io::Result<String> {
    let (name, mut target) = (wide(drive), [0_u16; 256]);
    // SAFETY: the name is good for the call, and there is room as said.
    let size = unsafe { QueryDosDeviceW(name.as_ptr(), target.as_mut_ptr(), 256) };
    check(size.cast_signed())?;
    let units = target.split(|unit| *unit == 0).next().unwrap_or_default();
    Ok(String::from_utf16_lossy(units))
}

fn address(routine: windows_sys::Win32::System::Threading::LPTHREAD_START_ROUTINE) -> u64 {
    routine.map_or(0, |routine| {
        #[expect(
            clippy::fn_to_numeric_cast_any,
            reason = "the address is all there is to say"
        )]
        let pointer = routine as *const ();
        u64::try_from(pointer.addr()).unwrap_or(0)
    })
}

fn image(process: HANDLE, base: usize, file: &Handle) -> io::Result<Image> {
    let header: u32 = read(process, base + 0x3c)?;
    let header = base + usize::try_from(header).unwrap_or(0);
    let size: u32 = read(process, header + 24 + 56)?;
    Ok(Image {
        base: u64::try_from(base).unwrap_or(0),
        size: u64::from(size),
        path: path(file)?,
    })
}

fn path(file: &Handle) -> io::Result<String> {
    const UNITS: u32 = 1024;
    let mut units = vec![0_u16; 1024];
    // SAFETY: the file is open, and there is room as said.
    let size = unsafe { GetFinalPathNameByHandleW(file.raw(), units.as_mut_ptr(), UNITS, 0) };
    check(size.cast_signed())?;
    units.truncate(usize::try_from(size).unwrap_or(0));
    let text = String::from_utf16_lossy(&units);
    Ok(text.strip_prefix(r"\\?\").unwrap_or(&text).to_owned())
}

/// The parent's id and the command line of a process that is stopped.
fn parameters(process: HANDLE) -> io::Result<(u32, String)> {
    // `RTL_USER_PROCESS_PARAMETERS.CommandLine`: size, capacity, address.
    const COMMAND_LINE: usize = 0x70;
    // SAFETY: numbers and pointers that may be null.
    let mut basic: PROCESS_BASIC_INFORMATION = unsafe { std::mem::zeroed() };
    // SAFETY: the process is open, and there is room as said.
    let status = unsafe {
        NtQueryInformationProcess(
            process,
            ProcessBasicInformation,
            (&raw mut basic).cast(),
            u32::try_from(size_of::<PROCESS_BASIC_INFORMATION>()).unwrap_or(0),
            ptr::null_mut(),
        )
    };
    if status < 0 {
        return Err(io::Error::other(format!(
            "process information: {status:#x}"
        )));
    }
    let parameters: usize = read(
        process,
        basic.PebBaseAddress.addr() + std::mem::offset_of!(PEB, ProcessParameters),
    )?;
    let size: u16 = read(process, parameters + COMMAND_LINE)?;
    let start: usize = read(process, parameters + COMMAND_LINE + 8)?;
    let mut units = vec![0_u16; usize::from(size) / 2];
    read_into(process, start, units.as_mut_ptr().cast(), usize::from(size))?;
    let parent = u32::try_from(basic.InheritedFromUniqueProcessId).unwrap_or(0);
    Ok((parent, String::from_utf16_lossy(&units)))
}

fn create_time(process: HANDLE) -> io::Result<u64> {
    let mut times = [FILETIME::default(); 4];
    let [created, exited, kernel, user] = &mut times;
    // SAFETY: the process is open, and there is room for the times.
    check(unsafe { GetProcessTimes(process, created, exited, kernel, user) })?;
    let created = times[0];
    Ok((u64::from(created.dwHighDateTime) << 32) | u64::from(created.dwLowDateTime))
}

/// A number from a stopped process's memory.
fn read<T: Copy + Default>(process: HANDLE, address: usize) -> io::Result<T> {
    let mut value = T::default();
    read_into(process, address, (&raw mut value).cast(), size_of::<T>())?;
    Ok(value)
}

fn read_into(process: HANDLE, address: usize, target: *mut u8, size: usize) -> io::Result<()> {
    // SAFETY: callers have room for `size` bytes; the address is checked by the system.
    check(unsafe {
        ReadProcessMemory(
            process,
            ptr::without_provenance(address),
            target.cast(),
            size,
            ptr::null_mut(),
        )
    })
}

//! A console without a window, and what it sends.
//!
//! Wine gives a program that was started from a shell no console that could send anything, and a
//! console of its own wants a window. A pseudo console needs neither, but has to be there before the
//! program that is to be in it.

#![expect(unsafe_code, reason = "calls the system")]

use super::handle::Handle;
use super::{check, wide};
use std::io;
use std::ptr;
use windows_sys::Win32::Foundation::HANDLE;
use windows_sys::Win32::System::Console::{
    COORD, CTRL_C_EVENT, ClosePseudoConsole, CreatePseudoConsole, GenerateConsoleCtrlEvent,
    GetStdHandle, HPCON, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::Pipes::CreatePipe;
use windows_sys::Win32::System::Threading::{
    CreateProcessW, EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE,
    InitializeProcThreadAttributeList, PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE, PROCESS_INFORMATION,
    STARTF_USESTDHANDLES, STARTUPINFOEXW, STARTUPINFOW, UpdateProcThreadAttribute,
    WaitForSingleObject,
};

/// A pseudo console.
#[derive(Debug)]
struct Console {
    raw: HPCON,
    _input: Handle,
    _output: Handle,
}

impl Drop for Console {
    fn drop(&mut self) {
        // SAFETY: created below, closed once.
        unsafe {
            ClosePseudoConsole(self.raw);
        }
    }
}

/// Runs a program in a new console to its end and gives its exit code. What it prints goes where
/// this process's goes.
pub(crate) fn run(command_line: &str) -> io::Result<u32> {
    let console = Console::open()?;
    let process = console.start(command_line)?;
    // SAFETY: the process is open.
    let _state = unsafe { WaitForSingleObject(process.raw(), INFINITE) };
    let mut code = 0;
    // SAFETY: as above, and there is room for the code.
    check(unsafe { GetExitCodeProcess(process.raw(), &raw mut code) })?;
    Ok(code)
}

/// Sends Ctrl-C to every program of this console but this one. Wine knows no Ctrl-Break.
pub(crate) fn send_ctrl_c() -> io::Result<()> {
    const OWN_GROUP: u32 = 0;
    // SAFETY: the handler is good as long as the process.
    check(unsafe { SetConsoleCtrlHandler(Some(handled), 1) })?;
    // SAFETY: has no precondition.
    check(unsafe { GenerateConsoleCtrlEvent(CTRL_C_EVENT, OWN_GROUP) })
}

/// Ends nothing. To ignore Ctrl-C altogether would be inherited by what this process starts.
unsafe extern "system" fn handled(_event: u32) -> i32 {
    1
}

impl Console {
    fn open() -> io::Result<Self> {
        let (their_input, input) = pipe()?;
        let (output, their_output) = pipe()?;
        let mut raw: HPCON = 0;
        // SAFETY: both ends are open, and there is room for the handle.
        let status = unsafe {
            CreatePseudoConsole(
                COORD { X: 80, Y: 25 },
                their_input.raw(),
                their_output.raw(),
                0,
                &raw mut raw,
            )
        };
        if status < 0 {
            return Err(io::Error::other(format!("no pseudo console: {status:#x}")));
        }
        Ok(Self {
            raw,
            _input: input,
            _output: output,
        })
    }

    fn start(&self, command_line: &str) -> io::Result<Handle> {
        const ATTRIBUTE: usize = PROC_THREAD_ATTRIBUTE_PSEUDOCONSOLE as usize;
        // Room for a list of one attribute, aligned for pointers.
        let mut list = [0_usize; 32];
        let mut size = size_of_val(&list);
        let list: *mut std::ffi::c_void = list.as_mut_ptr().cast();
        // SAFETY: there is room as said.
        check(unsafe { InitializeProcThreadAttributeList(list, 1, 0, &raw mut size) })?;
        let value = ptr::with_exposed_provenance::<std::ffi::c_void>(self.raw.cast_unsigned());
        // SAFETY: the list has room for one attribute, whose value is the handle itself.
        check(unsafe {
            UpdateProcThreadAttribute(
                list,
                0,
                ATTRIBUTE,
                value,
                size_of::<HPCON>(),
                ptr::null_mut(),
                ptr::null(),
            )
        })?;
        let [input, output, error] = [STD_INPUT_HANDLE, STD_OUTPUT_HANDLE, STD_ERROR_HANDLE]
            // SAFETY: has no precondition.
            .map(|stream| unsafe { GetStdHandle(stream) });
        let startup = STARTUPINFOEXW {
            StartupInfo: STARTUPINFOW {
                cb: u32::try_from(size_of::<STARTUPINFOEXW>()).unwrap_or(0),
                dwFlags: STARTF_USESTDHANDLES,
                hStdInput: input,
                hStdOutput: output,
                hStdError: error,
                ..STARTUPINFOW::default()
            },
            lpAttributeList: list,
        };
        let (mut line, mut started) = (wide(command_line), PROCESS_INFORMATION::default());
        // SAFETY: all pointers are good for the call.
        check(unsafe {
            CreateProcessW(
                ptr::null(),
                line.as_mut_ptr(),
                ptr::null(),
                ptr::null(),
                1,
                EXTENDED_STARTUPINFO_PRESENT,
                ptr::null(),
                ptr::null(),
                (&raw const startup).cast(),
                &raw mut started,
            )
        })?;
        let _thread = Handle::new(started.hThread)?;
        Handle::new(started.hProcess)
    }
}

/// The end to read from, and the one to write to.
fn pipe() -> io::Result<(Handle, Handle)> {
    let (mut read, mut write): (HANDLE, HANDLE) = (ptr::null_mut(), ptr::null_mut());
    // SAFETY: there is room for both handles.
    check(unsafe { CreatePipe(&raw mut read, &raw mut write, ptr::null(), 0) })?;
    Ok((Handle::new(read)?, Handle::new(write)?))
}

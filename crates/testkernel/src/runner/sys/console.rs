//! A console without a window, and what it sends.
//!
//! Wine gives a program that was started from a shell no console that could send anything, and a
//! console of its own wants a window. A pseudo console needs neither, but has to be there before the
//! program that is to be in it.

#![expect(unsafe_code, reason = "calls the system")]

use super::handle::Handle;
use super::{check, wide};
use std::ffi::c_void;
use std::io;
use std::os::windows::io::AsRawHandle as _;
use std::process::Child;
use std::ptr;
use windows_sys::Win32::Foundation::{HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Console::{
    COORD, CTRL_BREAK_EVENT, CTRL_C_EVENT, CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT,
    CTRL_SHUTDOWN_EVENT, ClosePseudoConsole, CreatePseudoConsole, GenerateConsoleCtrlEvent,
    GetStdHandle, HPCON, STD_ERROR_HANDLE, STD_INPUT_HANDLE, STD_OUTPUT_HANDLE,
    SetConsoleCtrlHandler,
};
use windows_sys::Win32::System::LibraryLoader::{GetModuleHandleW, GetProcAddress};
use windows_sys::Win32::System::Pipes::CreatePipe;
use windows_sys::Win32::System::Threading::{
    CreateProcessW, CreateRemoteThread, EXTENDED_STARTUPINFO_PRESENT, GetExitCodeProcess, INFINITE,
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

/// What a console says beside Ctrl-C.
pub(crate) const CTRL_BREAK: u32 = CTRL_BREAK_EVENT;
pub(crate) const CLOSE: u32 = CTRL_CLOSE_EVENT;
pub(crate) const LOG_OFF: u32 = CTRL_LOGOFF_EVENT;
pub(crate) const SHUT_DOWN: u32 = CTRL_SHUTDOWN_EVENT;

/// The longest that a program takes to handle what is said.
const HANDLING_TIME_MAX_MS: u32 = 15_000;

/// Says `event` to one program, and waits until it has handled it.
///
/// Wine's console says nothing but Ctrl-C. For all else this does what Windows does: a thread in the
/// program runs the system's own routine, which calls the program's handlers.
pub(crate) fn say(program: &Child, event: u32) -> io::Result<()> {
    type Routine = unsafe extern "system" fn(*mut c_void) -> u32;
    let library = wide("kernelbase.dll");
    // SAFETY: the name is good for the call.
    let library = unsafe { GetModuleHandleW(library.as_ptr()) };
    // SAFETY: as above.
    let routine = unsafe { GetProcAddress(library, c"CtrlRoutine".as_ptr().cast()) };
    let routine = routine.ok_or_else(io::Error::last_os_error)?;
    // SAFETY: the routine takes the event where a thread has its parameter.
    let routine: Routine = unsafe { std::mem::transmute(routine) };
    let parameter = ptr::without_provenance(usize::try_from(event).map_err(io::Error::other)?);
    // SAFETY: the library is at the same address in every process, and the parameter is no pointer.
    let thread = Handle::new(unsafe {
        CreateRemoteThread(
            program.as_raw_handle(),
            ptr::null(),
            0,
            Some(routine),
            parameter,
            0,
            ptr::null_mut(),
        )
    })?;
    // SAFETY: the thread is open.
    match unsafe { WaitForSingleObject(thread.raw(), HANDLING_TIME_MAX_MS) } {
        WAIT_OBJECT_0 => Ok(()),
        state => Err(io::Error::other(format!(
            "it does not handle {event}: {state}"
        ))),
    }
}

/// Sends Ctrl-C to every program of this console but this one.
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
        let list: *mut c_void = list.as_mut_ptr().cast();
        // SAFETY: there is room as said.
        check(unsafe { InitializeProcThreadAttributeList(list, 1, 0, &raw mut size) })?;
        let value = ptr::with_exposed_provenance::<c_void>(self.raw.cast_unsigned());
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

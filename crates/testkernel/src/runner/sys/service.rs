//! Kernel services: installed, started, stopped and removed through the service manager.

#![expect(unsafe_code, reason = "calls the service manager")]

use super::{check, wide};
use std::io;
use std::ptr;
use windows_sys::Win32::System::Services::{
    CloseServiceHandle, ControlService, CreateServiceW, DeleteService, OpenSCManagerW,
    OpenServiceW, QueryServiceStatus, QueryServiceStatusEx, SC_HANDLE, SC_MANAGER_ALL_ACCESS,
    SC_STATUS_PROCESS_INFO, SERVICE_ALL_ACCESS, SERVICE_CONTROL_STOP, SERVICE_DEMAND_START,
    SERVICE_ERROR_NORMAL, SERVICE_KERNEL_DRIVER, SERVICE_STATUS, SERVICE_STATUS_PROCESS,
    StartServiceW,
};

/// A service, open.
#[derive(Debug)]
pub(crate) struct Service(Opened);

#[derive(Debug)]
struct Opened(SC_HANDLE);

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: open, and nobody else's.
        let _is_closed = unsafe { CloseServiceHandle(self.0) };
    }
}

impl Opened {
    fn new(raw: SC_HANDLE) -> io::Result<Self> {
        if raw.is_null() {
            return Err(io::Error::last_os_error());
        }
        Ok(Self(raw))
    }
}

fn manager() -> io::Result<Opened> {
    // SAFETY: null means this machine and its active database.
    Opened::new(unsafe { OpenSCManagerW(ptr::null(), ptr::null(), SC_MANAGER_ALL_ACCESS) })
}

impl Service {
    /// Installs a kernel driver in the load order group of the test kernel.
    pub(crate) fn install(name: &str, path: &str) -> io::Result<Self> {
        let group = wide(testkernel::LOAD_ORDER_GROUP);
        let manager = manager()?;
        let (name, path) = (wide(name), wide(path));
        // SAFETY: all texts are good for the call.
        let service = unsafe {
            CreateServiceW(
                manager.0,
                name.as_ptr(),
                name.as_ptr(),
                SERVICE_ALL_ACCESS,
                SERVICE_KERNEL_DRIVER,
                SERVICE_DEMAND_START,
                SERVICE_ERROR_NORMAL,
                path.as_ptr(),
                group.as_ptr(),
                ptr::null_mut(),
                ptr::null(),
                ptr::null(),
                ptr::null(),
            )
        };
        Ok(Self(Opened::new(service)?))
    }

    /// A service that is installed.
    pub(crate) fn open(name: &str) -> io::Result<Self> {
        let manager = manager()?;
        let name = wide(name);
        // SAFETY: the text is good for the call.
        let service = unsafe { OpenServiceW(manager.0, name.as_ptr(), SERVICE_ALL_ACCESS) };
        Ok(Self(Opened::new(service)?))
    }

    pub(crate) fn start(&self) -> io::Result<()> {
        // SAFETY: the service is open.
        check(unsafe { StartServiceW(self.0.0, 0, ptr::null()) })
    }

    pub(crate) fn stop(&self) -> io::Result<()> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the service is open, and there is room for its status.
        check(unsafe { ControlService(self.0.0, SERVICE_CONTROL_STOP, &raw mut status) })
    }

    /// `SERVICE_STOPPED` and so on.
    pub(crate) fn state(&self) -> io::Result<u32> {
        Ok(self.status()?.dwCurrentState)
    }

    /// Why it has stopped: Windows' number, and its own.
    pub(crate) fn exit_codes(&self) -> io::Result<(u32, u32)> {
        let status = self.status()?;
        Ok((status.dwWin32ExitCode, status.dwServiceSpecificExitCode))
    }

    /// The process it runs in.
    pub(crate) fn process_id(&self) -> io::Result<u32> {
        let mut status = SERVICE_STATUS_PROCESS::default();
        let size = u32::try_from(size_of_val(&status)).map_err(io::Error::other)?;
        let mut needed = 0;
        // SAFETY: the service is open, and the structure has the size it has.
        check(unsafe {
            QueryServiceStatusEx(
                self.0.0,
                SC_STATUS_PROCESS_INFO,
                (&raw mut status).cast(),
                size,
                &raw mut needed,
            )
        })?;
        Ok(status.dwProcessId)
    }

    fn status(&self) -> io::Result<SERVICE_STATUS> {
        let mut status = SERVICE_STATUS::default();
        // SAFETY: the service is open, and there is room for its status.
        check(unsafe { QueryServiceStatus(self.0.0, &raw mut status) })?;
        Ok(status)
    }

    pub(crate) fn delete(&self) -> io::Result<()> {
        // SAFETY: the service is open.
        check(unsafe { DeleteService(self.0.0) })
    }
}

//! The services on Windows: the driver, `SysTrail`, and the agent, `SysTrailAgent`.
//!
//! What is asked for is done or refused as a whole, and asking twice is no failure. A service that
//! Windows has marked for deletion, a file that is no driver of ours and a reader that is still
//! there are told as what they are.

mod agent;
pub mod data;
mod driver;
mod launch;
mod place;

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use windows_service::service::{Service, ServiceAccess, ServiceExitCode, ServiceState};
use windows_service::service_manager::{ServiceManager, ServiceManagerAccess};

pub use self::agent::{AGENT, Agent, Running, run_as_service};
pub use self::driver::{DRIVER, Driver, DriverState, Parameters, StartAt, beside_this_program};
pub use self::launch::{Launch, Stay};
pub use self::place::{Exposure, Origin};

use super::cause::{self, Cause};
use super::driver_file::Unfit;
use super::start_failure::{Foreign, StartFailure};
use crate::sys::device::Control;

/// The longest that a service takes to start or stop.
const CHANGE_TIME_MAX: Duration = Duration::from_secs(30);

/// How often its state is looked at meanwhile; the service manager has no better way for a driver.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

const NOT_INSTALLED: i32 = 1060;
const ALREADY_RUNNING: i32 = 1056;
const NOT_RUNNING: i32 = 1062;
const EXISTS: i32 = 1073;

/// Why a service command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Windows refuses, and it is known why.
    #[error("{action} {service}: {}; {}", cause.cause, cause.cure)]
    Refused {
        /// What was asked for.
        action: &'static str,
        /// Of which service.
        service: &'static str,
        /// Why not, and what to do.
        cause: Cause,
        /// Windows' number for it.
        code: i32,
    },
    /// Windows refuses.
    #[error("{action} {service}: {source}")]
    Windows {
        /// What was asked for.
        action: &'static str,
        /// Of which service.
        service: &'static str,
        /// What Windows said.
        source: io::Error,
    },
    /// The driver was loaded and its start failed.
    #[error("{action} {service}: {failure}")]
    Start {
        /// What was asked for.
        action: &'static str,
        /// Of which service: the driver's, or one that depends on it.
        service: &'static str,
        /// At which step, and why.
        failure: StartFailure,
    },
    /// The driver was perhaps loaded, and what stands in the registry of that is not its own.
    #[error(
        "{error}; HKLM\\{} is not what the driver writes there ({foreign}), so look into the System \
         event log",
        driver::start_failure_key()
    )]
    StartUntold {
        /// Why Windows says that it failed.
        error: Box<Self>,
        /// What stands there.
        foreign: Foreign,
    },
    /// The driver's file cannot be read.
    #[error(
        "driver {}: {source}; put the systrail.sys of this release beside systrail.exe, or name it \
         with --file", path.display()
    )]
    DriverFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The driver's file is none.
    #[error("driver {}: {reason}; name the systrail.sys of this release", path.display())]
    Unfit {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Unfit,
    },
    /// Others may change what would run as SYSTEM or in the kernel.
    #[error(
        "{} is not taken from where it is: {exposure}, and whoever does so chooses what runs with \
         all rights; copy systrail.exe and systrail.sys to %ProgramFiles%\\SysTrail (a file that is \
         moved keeps its owner), or take that right away with icacls; --allow-writable takes the \
         risk",
        file.file_name().unwrap_or(file.as_os_str()).display()
    )]
    Exposed {
        /// The program or the driver.
        file: PathBuf,
        /// It, or a directory above it.
        exposure: Exposure,
    },
    /// There is a service of that name which is not ours.
    #[error(
        "there is a service {service} that is no driver, so not ours; if nobody needs it, remove it \
         with `sc delete {service}`"
    )]
    Foreign {
        /// Its name.
        service: &'static str,
    },
    /// An agent reads the driver.
    #[error(
        "an agent reads the driver, which goes on until it ends; stop that first: `systrail service \
         stop`, or Ctrl-C where `systrail run` runs"
    )]
    Busy,
    /// It takes too long.
    #[error(
        "{action} {service}: not done after {} s; `sc query {service}` shows its state",
        CHANGE_TIME_MAX.as_secs()
    )]
    Slow {
        /// What was asked for.
        action: &'static str,
        /// Of which service.
        service: &'static str,
    },
    /// Something that goes with the service.
    #[error("{what}: {source}")]
    Io {
        /// What.
        what: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    fn new(
        action: &'static str,
        service: &'static str,
    ) -> impl FnOnce(windows_service::Error) -> Self {
        Self::with(cause::of, action, service)
    }

    fn with(
        cause_fn: fn(i32) -> Option<Cause>,
        action: &'static str,
        service: &'static str,
    ) -> impl FnOnce(windows_service::Error) -> Self {
        move |error| {
            let source = cause_of(error);
            let code = source.raw_os_error().unwrap_or(0);
            match cause_fn(code) {
                Some(cause) => Self::Refused {
                    action,
                    service,
                    cause,
                    code,
                },
                None => Self::Windows {
                    action,
                    service,
                    source,
                },
            }
        }
    }

    /// Windows' number for it.
    fn code(&self) -> Option<i32> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            Self::Windows { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// The system's error, without the words around it.
fn cause_of(error: windows_service::Error) -> io::Error {
    match error {
        windows_service::Error::Winapi(error) => error,
        error => io::Error::other(error),
    }
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// It was not there.
    New,
    /// It was there and is now as asked for.
    Again,
}

fn manager(access: ServiceManagerAccess) -> Result<ServiceManager, Error> {
    ServiceManager::local_computer(None::<&OsStr>, access)
        .map_err(Error::new("asking the service manager about", DRIVER))
}

/// A service, or `None` when it is not installed.
fn open(
    name: &'static str,
    action: &'static str,
    access: ServiceAccess,
) -> Result<Option<Service>, Error> {
    let manager = manager(ServiceManagerAccess::CONNECT)?;
    match manager
        .open_service(name, access)
        .map_err(Error::new(action, name))
    {
        Ok(service) => Ok(Some(service)),
        Err(error) if error.code() == Some(NOT_INSTALLED) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A service that must be there.
fn open_installed(
    name: &'static str,
    action: &'static str,
    access: ServiceAccess,
) -> Result<Service, Error> {
    let not_installed = || {
        let error = io::Error::from_raw_os_error(NOT_INSTALLED);
        Error::new(action, name)(windows_service::Error::Winapi(error))
    };
    open(name, action, access)?.ok_or_else(not_installed)
}

fn state(
    service: &Service,
    name: &'static str,
    action: &'static str,
) -> Result<ServiceState, Error> {
    let status = service.query_status().map_err(Error::new(action, name))?;
    Ok(status.current_state)
}

/// Starts a service and waits until it runs. Says whether it had to be started.
fn start(service: &Service, name: &'static str) -> Result<bool, Error> {
    const ACTION: &str = "starting";
    // What is there afterwards is then of this start: of the driver, whose start may be part of it.
    let is_clear = driver::forget_failed_start();
    match service
        .start::<&OsStr>(&[])
        .map_err(Error::with(cause::of_start, ACTION, name))
    {
        Ok(()) => {}
        Err(error) if error.code() == Some(ALREADY_RUNNING) => {
            return if name == DRIVER && cause::is_held(&Control::open()) {
                Err(Error::Refused {
                    action: ACTION,
                    service: name,
                    cause: cause::HELD,
                    code: ALREADY_RUNNING,
                })
            } else {
                Ok(false)
            };
        }
        Err(error) if is_clear => return Err(explained(error, ACTION, name)),
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + CHANGE_TIME_MAX;
    loop {
        let status = service.query_status().map_err(Error::new(ACTION, name))?;
        match status.current_state {
            ServiceState::Running => return Ok(true),
            ServiceState::StartPending if Instant::now() < deadline => {
                std::thread::sleep(LOOK_INTERVAL);
            }
            ServiceState::StartPending => {
                return Err(Error::Slow {
                    action: ACTION,
                    service: name,
                });
            }
            _ => {
                let end = match status.exit_code {
                    ServiceExitCode::ServiceSpecific(code) => format!("exit code {code}"),
                    ServiceExitCode::Win32(code) => format!("error {code}"),
                };
                let source = io::Error::other(format!(
                    "it ended again at once ({end}); the Application event log says why"
                ));
                return Err(Error::Windows {
                    action: ACTION,
                    service: name,
                    source,
                });
            }
        }
    }
}

/// Why a start failed, by what the driver tells of it where it does.
fn explained(error: Error, action: &'static str, service: &'static str) -> Error {
    match driver::failed_start() {
        Ok(None) => error,
        Ok(Some(failure)) => {
            // It is told now.
            driver::forget_failed_start();
            Error::Start {
                action,
                service,
                failure,
            }
        }
        Err(foreign) => Error::StartUntold {
            error: Box::new(error),
            foreign,
        },
    }
}

/// Stops a service and waits until it has. Says whether it ran.
fn stop(service: &Service, name: &'static str) -> Result<bool, Error> {
    const ACTION: &str = "stopping";
    if state(service, name, ACTION)? == ServiceState::Stopped {
        return Ok(false);
    }
    match service.stop().map_err(Error::new(ACTION, name)) {
        Ok(_) => {}
        Err(error) if error.code() == Some(NOT_RUNNING) => return Ok(false),
        Err(error) => return Err(error),
    }
    let deadline = Instant::now() + CHANGE_TIME_MAX;
    while state(service, name, ACTION)? != ServiceState::Stopped {
        if Instant::now() > deadline {
            return Err(Error::Slow {
                action: ACTION,
                service: name,
            });
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A raw text kept the backslash and the line break with which its source went on.
    #[test]
    fn a_foreign_failure_is_told_in_one_line() {
        let error = Error::StartUntold {
            error: Box::new(Error::Busy),
            foreign: Foreign::Values,
        };
        let text = error.to_string();
        assert!(text.contains(r"; HKLM\SYSTEM\"), "{text}");
        assert!(text.ends_with("look into the System event log"), "{text}");
    }
}

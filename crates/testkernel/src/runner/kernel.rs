//! The test kernel and the driver, as the tests handle them.

use crate::sys::device::{Access, Device};
use crate::sys::service::Service;
use std::io;
use std::time::{Duration, Instant};
use testkernel::{CONTROL_CODE, Report, Request, SERVICE};

/// The driver's service.
pub(crate) const DRIVER_SERVICE: &str = "SysTrail";

/// Where the images are.
pub(crate) const DRIVER_PATH: &str = r"C:\systrail\systrail.sys";
const TEST_KERNEL_PATH: &str = r"C:\systrail\testkernel.sys";

/// How long a service may take to reach a state.
const STATE_TIME_MAX: Duration = Duration::from_secs(20);

/// States of a service.
pub(crate) const STOPPED: u32 = 1;
pub(crate) const RUNNING: u32 = 4;

/// The test kernel, running.
#[derive(Debug)]
pub(crate) struct Kernel(Device);

impl Kernel {
    /// Installs and starts the test kernel.
    pub(crate) fn start() -> io::Result<Self> {
        // It stays installed in a prefix that is used again.
        let service = Service::open(SERVICE)
            .or_else(|_absent| Service::install(SERVICE, TEST_KERNEL_PATH))?;
        start_when_unlocked(&service)?;
        reach(&service, RUNNING)?;
        Ok(Self(Device::open(SERVICE, Access::Read)?))
    }

    /// Plays an event.
    pub(crate) fn play(&self, request: &Request) -> io::Result<()> {
        self.0
            .control(CONTROL_CODE, &request.to_bytes(), 0)
            .map(|_nothing| ())
    }

    /// Lets the `nth` call of `function` from now on fail.
    pub(crate) fn fail(&self, function: &str, nth: u64) -> io::Result<()> {
        self.play(&Request::Fail {
            function: function.to_owned(),
            nth,
        })
    }

    /// Forgets what was noted.
    pub(crate) fn reset(&self) -> io::Result<()> {
        self.play(&Request::Reset)
    }

    /// What was noted.
    pub(crate) fn report(&self) -> io::Result<Report> {
        const SIZE_MAX: usize = 256 * 1024;
        let text = self
            .0
            .control(CONTROL_CODE, &Request::Report.to_bytes(), SIZE_MAX)?;
        Ok(Report::read(&String::from_utf8_lossy(&text)))
    }
}

/// The driver's service, removed when it is dropped.
#[derive(Debug)]
pub(crate) struct Driver(Service);

impl Driver {
    /// Installs the driver from `path`.
    pub(crate) fn install(path: &str) -> io::Result<Self> {
        Service::install(DRIVER_SERVICE, path).map(Self)
    }

    /// Installs the driver that is shipped and starts it.
    pub(crate) fn started() -> io::Result<Self> {
        let driver = Self::install(DRIVER_PATH)?;
        driver.start()?;
        Ok(driver)
    }

    /// Starts it and waits until it runs.
    pub(crate) fn start(&self) -> io::Result<()> {
        self.0.start()?;
        reach(&self.0, RUNNING)
    }

    /// Stops it and waits until it has stopped.
    pub(crate) fn stop(&self) -> io::Result<()> {
        self.0.stop()?;
        reach(&self.0, STOPPED)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.0.state().is_ok_and(|state| state != STOPPED) {
            // A test that failed half way must not fail the next one.
            let _outcome = self.stop();
        }
        // As above.
        let _outcome = self.0.delete();
    }
}

/// Starts a service in a prefix that may still be starting its own, which locks the database.
fn start_when_unlocked(service: &Service) -> io::Result<()> {
    const DATABASE_LOCKED: i32 = 1055;
    let begin = Instant::now();
    loop {
        match service.start() {
            Err(error)
                if error.raw_os_error() == Some(DATABASE_LOCKED)
                    && begin.elapsed() < STATE_TIME_MAX =>
            {
                std::thread::sleep(Duration::from_millis(50));
            }
            outcome => return outcome,
        }
    }
}

/// Waits until the service is in that state.
pub(crate) fn reach(service: &Service, state: u32) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let now = service.state()?;
        if now == state {
            return Ok(());
        }
        if begin.elapsed() > STATE_TIME_MAX {
            let text = format!("the service is in state {now}, not in {state}");
            return Err(io::Error::other(text));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

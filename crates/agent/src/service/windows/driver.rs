//! The driver's own service.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use event::control::{
    Conditions, START_FAILURE, START_STATUS, START_STEP, UNCONFIRMED_STARTS, Welcome,
};
use windows_service::service::{
    Service, ServiceAccess, ServiceErrorControl, ServiceInfo, ServiceStartType, ServiceState,
    ServiceType,
};
use windows_service::service_manager::ServiceManagerAccess;

use super::{EXISTS, Error, Installed, Origin, manager, open, open_installed, start, stop};
use crate::sensor;
use crate::sensor::windows::{self, refusal};
use crate::service::driver_file;
use crate::service::start_failure::{Foreign, StartFailure};
use crate::sys::device::{self, Control, SERVICE_KEY};
use crate::sys::driver::Counted;
use crate::sys::event_log::Source;
use crate::sys::registry::{self, Value};
use crate::sys::service_config;

/// The name of the driver's service.
pub const DRIVER: &str = "SysTrail";

/// The driver's load order group. Where it starts with the system, Windows starts the groups it has in
/// a list, then all others, then the drivers of none: so after everything the system itself needs, and
/// before what others have added. The listed `FSFilter Activity Monitor` is for file system filters,
/// which have an altitude; this driver is none. `systrail.inf` says the same.
const LOAD_ORDER_GROUP: &str = "SysTrail";

/// Where the driver reads its settings.
const PARAMETERS: &str = r"SYSTEM\CurrentControlSet\Services\SysTrail\Parameters";
const QUEUE_LIMIT: &str = "QueueLimit";
const FLUSH_INTERVAL: &str = "FlushIntervalMs";

/// When the driver starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartAt {
    /// When somebody asks for it.
    Demand,
    /// With the system: what runs early is seen, and waits in the queue.
    Boot,
}

/// What the driver is told; what is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Bytes of queued records.
    pub queue_limit: Option<u32>,
    /// The longest an event waits in the driver.
    pub flush_interval: Option<Duration>,
}

/// The driver's service as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DriverState {
    /// The file it was installed from; `None` when it is not installed.
    pub file: Option<PathBuf>,
    /// Whether it starts with the system.
    pub starts_at_boot: bool,
    /// Whether it runs.
    pub is_running: bool,
    /// What it says of itself, where it may be asked.
    pub told: Option<(Welcome, Counted)>,
    /// Why it could not be asked.
    pub untold: Option<String>,
    /// Its starts that no agent has confirmed yet.
    pub unconfirmed_starts: u32,
    /// What it left of its last start where that failed and nobody was told.
    pub failed_start: Option<Result<StartFailure, Foreign>>,
}

impl DriverState {
    /// The registry values the driver refused, each with what it takes instead.
    pub fn refused(&self) -> Vec<String> {
        let Some((welcome, counters)) = &self.told else {
            return Vec::new();
        };
        let mut refused = Vec::new();
        let conditions = counters.known.conditions;
        if conditions.contains(Conditions::QUEUE_LIMIT_REFUSED) {
            refused.push(format!(
                "{QUEUE_LIMIT} is refused: it must be a REG_DWORD from 65536 to 67108864; {} is in \
                 use",
                welcome.queue_limit
            ));
        }
        if conditions.contains(Conditions::FLUSH_INTERVAL_REFUSED) {
            refused.push(format!(
                "{FLUSH_INTERVAL} is refused: it must be a REG_DWORD from 1 to 1000; {} is in use",
                welcome.flush_interval_ms
            ));
        }
        if conditions.contains(Conditions::START_ADDRESS_REFUSED) {
            refused.push(
                "StartAddress is refused: it must be a REG_DWORD from 0 (no thread) to 2 (all); 1, \
                 threads that another process makes, is in use"
                    .to_owned(),
            );
        }
        if conditions.contains(Conditions::QUEUE_CORRUPT) {
            refused.push(
                "the driver's queue was overwritten from outside and takes no more events; \
                 `systrail driver stop`, `systrail driver start`"
                    .to_owned(),
            );
        }
        refused
    }
}

/// The driver's file where a release has it.
pub fn beside_this_program() -> Result<PathBuf, Error> {
    let program = std::env::current_exe().map_err(|source| Error::Io {
        what: "the path of this program".to_owned(),
        source,
    })?;
    Ok(program.with_file_name("systrail.sys"))
}

/// The driver's service.
#[derive(Clone, Copy, Debug)]
pub struct Driver;

impl Driver {
    /// Installs the driver from `file`, or brings its service up to date.
    pub fn install(
        file: &Path,
        origin: Origin,
        start_at: StartAt,
        parameters: Parameters,
    ) -> Result<Installed, Error> {
        const ACTION: &str = "installing";
        let file = checked(file, origin)?;
        let info = ServiceInfo {
            name: DRIVER.into(),
            display_name: "SysTrail driver".into(),
            service_type: ServiceType::KERNEL_DRIVER,
            start_type: match start_at {
                StartAt::Demand => ServiceStartType::OnDemand,
                StartAt::Boot => ServiceStartType::SystemStart,
            },
            error_control: ServiceErrorControl::Normal,
            executable_path: file,
            launch_arguments: Vec::new(),
            dependencies: Vec::new(),
            account_name: None,
            account_password: None,
        };
        let manager =
            manager(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)?;
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::CHANGE_CONFIG;
        let (service, installed) = match manager
            .create_service(&info, access)
            .map_err(Error::new(ACTION, DRIVER))
        {
            Ok(service) => (service, Installed::New),
            Err(error) if error.code() == Some(EXISTS) => (Self::update(&info)?, Installed::Again),
            Err(error) => return Err(error),
        };
        let completed = complete(&service, parameters);
        drop(service);
        if let (Err(_), Installed::New) = (&completed, installed) {
            // A new service that lacks what was asked for is none.
            if let Err(error) = Self::uninstall() {
                tracing::warn!(%error, "what was installed could not be removed again");
            }
        }
        completed.map(|()| installed)
    }

    fn update(info: &ServiceInfo) -> Result<Service, Error> {
        const ACTION: &str = "changing";
        let access = ServiceAccess::QUERY_CONFIG | ServiceAccess::CHANGE_CONFIG;
        let service = open_installed(DRIVER, ACTION, access)?;
        let config = service.query_config().map_err(Error::new(ACTION, DRIVER))?;
        if config.service_type != ServiceType::KERNEL_DRIVER {
            return Err(Error::Foreign { service: DRIVER });
        }
        service
            .change_config(info)
            .map_err(Error::new(ACTION, DRIVER))?;
        Ok(service)
    }

    /// Loads the driver because a person says so: whatever came of earlier starts counts no more. Says
    /// whether it had to be started.
    pub fn start_anew() -> Result<bool, Error> {
        // One that is not installed is told as such.
        open_installed(DRIVER, "starting", ServiceAccess::QUERY_STATUS)?;
        device::confirm_starts().map_err(|source| Error::Io {
            what: format!(r"HKLM\{SERVICE_KEY}\{UNCONFIRMED_STARTS}"),
            source,
        })?;
        Self::start()
    }

    /// Starts that no agent confirmed.
    fn unconfirmed_starts() -> u32 {
        match registry::value(SERVICE_KEY, UNCONFIRMED_STARTS) {
            Ok(Some(Value::Number(starts))) => starts,
            Ok(Some(Value::Text(_) | Value::Other) | None) | Err(_) => 0,
        }
    }

    /// Loads the driver and waits until it runs. Says whether it had to be started.
    pub fn start() -> Result<bool, Error> {
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::START;
        start(&open_installed(DRIVER, "starting", access)?, DRIVER)
    }

    /// Unloads the driver and waits until it has gone. Says whether it ran. Windows would keep it
    /// half stopped for as long as somebody has it open, so that is refused.
    pub fn stop() -> Result<bool, Error> {
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP;
        let service = open_installed(DRIVER, "stopping", access)?;
        Self::refuse_while_read()?;
        stop(&service, DRIVER)
    }

    fn refuse_while_read() -> Result<(), Error> {
        // A driver that cannot be asked is not one that somebody reads.
        let counters = Control::open().and_then(|control| control.counters());
        if counters.is_ok_and(|counters| counters.known.reads_pended > 0) {
            return Err(Error::Busy);
        }
        Ok(())
    }

    /// Stops the driver and removes its service. Says whether there was one.
    pub fn uninstall() -> Result<bool, Error> {
        const ACTION: &str = "removing";
        let access = ServiceAccess::QUERY_STATUS
            | ServiceAccess::QUERY_CONFIG
            | ServiceAccess::STOP
            | ServiceAccess::DELETE;
        let Some(service) = open(DRIVER, ACTION, access)? else {
            return Ok(false);
        };
        let config = service.query_config().map_err(Error::new(ACTION, DRIVER))?;
        if config.service_type != ServiceType::KERNEL_DRIVER {
            return Err(Error::Foreign { service: DRIVER });
        }
        Self::refuse_while_read()?;
        stop(&service, DRIVER)?;
        service.delete().map_err(Error::new(ACTION, DRIVER))?;
        Source::Driver(DRIVER)
            .unregister()
            .map_err(|source| Error::Io {
                what: "the source of event log messages".to_owned(),
                source,
            })?;
        Ok(true)
    }

    /// How it is.
    pub fn state() -> Result<DriverState, Error> {
        const ACTION: &str = "asking about";
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::QUERY_CONFIG;
        let Some(service) = open(DRIVER, ACTION, access)? else {
            return Ok(DriverState::default());
        };
        let config = service.query_config().map_err(Error::new(ACTION, DRIVER))?;
        let mut state = DriverState {
            file: Some(config.executable_path),
            starts_at_boot: config.start_type == ServiceStartType::SystemStart,
            is_running: super::state(&service, DRIVER, ACTION)? == ServiceState::Running,
            unconfirmed_starts: Self::unconfirmed_starts(),
            ..DriverState::default()
        };
        if state.is_running {
            match ask() {
                Ok(told) => state.told = Some(told),
                Err(error) => state.untold = Some(error.to_string()),
            }
        } else {
            state.failed_start = failed_start().transpose();
        }
        Ok(state)
    }
}

/// What the driver says of itself; one of another version is not asked for its counters.
fn ask() -> Result<(Welcome, Counted), sensor::Error> {
    let control = Control::open().map_err(refusal::open)?;
    let welcome = control.handshake().map_err(refusal::handshake)?;
    windows::check(&welcome)?;
    let counters = control.counters();
    let counters = counters.map_err(sensor::Error::io("reading the driver's counters"))?;
    Ok((welcome, counters))
}

/// Sets what creating the service leaves open.
fn complete(service: &Service, parameters: Parameters) -> Result<(), Error> {
    service_config::join_group(service, LOAD_ORDER_GROUP).map_err(|source| Error::Io {
        what: format!("the load order group of {DRIVER}"),
        source,
    })?;
    if let Err(error) = Source::Driver(DRIVER).register() {
        tracing::warn!(%error, "the driver's entries in the event log have no words");
    }
    parameters.write()
}

/// The key in which the driver tells of a start that failed.
pub(super) fn start_failure_key() -> String {
    format!(r"{SERVICE_KEY}\{START_FAILURE}")
}

/// What the driver left of its last start, if that failed.
pub(super) fn failed_start() -> Result<Option<StartFailure>, Foreign> {
    let key = start_failure_key();
    let number = |name| match registry::value(&key, name) {
        Ok(Some(Value::Number(number))) => Ok(Some(number)),
        Ok(None) => Ok(None),
        Ok(Some(Value::Text(_) | Value::Other)) | Err(_) => Err(Foreign::Values),
    };
    match (number(START_STEP)?, number(START_STATUS)?) {
        (Some(step), Some(status)) => StartFailure::new(step, status).map(Some),
        // The driver writes the step last.
        (None, _) => Ok(None),
        (Some(_), None) => Err(Foreign::Values),
    }
}

/// Removes what the driver left. Says whether nothing is there now.
pub(super) fn forget_failed_start() -> bool {
    let key = start_failure_key();
    let removed = registry::remove(&key);
    if let Err(error) = &removed {
        tracing::warn!(%error, r"HKLM\{key} cannot be removed");
    }
    removed.is_ok()
}

impl Parameters {
    fn write(self) -> Result<(), Error> {
        let set = |name: &str, number: Option<u32>| {
            let Some(number) = number else {
                return Ok(());
            };
            registry::set_number(PARAMETERS, name, number).map_err(|source| Error::Io {
                what: format!(r"HKLM\{PARAMETERS}\{name}"),
                source,
            })
        };
        set(QUEUE_LIMIT, self.queue_limit)?;
        let in_ms = |interval: Duration| u32::try_from(interval.as_millis()).unwrap_or(u32::MAX);
        set(FLUSH_INTERVAL, self.flush_interval.map(in_ms))
    }

    /// The values that are set, as they stand in the registry.
    pub fn values() -> io::Result<Vec<(&'static str, Value)>> {
        let mut values = Vec::new();
        for name in [QUEUE_LIMIT, FLUSH_INTERVAL] {
            if let Some(value) = registry::value(PARAMETERS, name)? {
                values.push((name, value));
            }
        }
        Ok(values)
    }
}

/// The whole path of a file that is our driver. Where it stands comes first: what others may change
/// is not looked into.
fn checked(file: &Path, origin: Origin) -> Result<PathBuf, Error> {
    let at_file = |source| Error::DriverFile {
        path: file.to_owned(),
        source,
    };
    let bytes_of = |path: &Path| {
        let mut bytes = Vec::new();
        File::open(path)?
            .take(driver_file::SIZE_MAX)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    // One that is not there is told as such, whatever may be said of the place.
    std::fs::metadata(file).map_err(at_file)?;
    let path = origin.take(file)?;
    driver_file::check(&bytes_of(&path).map_err(at_file)?).map_err(|reason| Error::Unfit {
        path: path.clone(),
        reason,
    })?;
    Ok(path)
}

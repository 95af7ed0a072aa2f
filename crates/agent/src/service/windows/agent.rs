//! The agent's own service.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use windows_service::service::{
    Service, ServiceAccess, ServiceAction, ServiceActionType, ServiceControl, ServiceControlAccept,
    ServiceDependency, ServiceErrorControl, ServiceExitCode, ServiceFailureActions,
    ServiceFailureResetPeriod, ServiceInfo, ServiceStartType, ServiceState, ServiceStatus,
    ServiceType,
};
use windows_service::service_control_handler::{
    self, ServiceControlHandlerResult, ServiceStatusHandle,
};
use windows_service::service_dispatcher;
use windows_service::service_manager::ServiceManagerAccess;

use super::{
    EXISTS, Error, Installed, Origin, cause_of, data, manager, open, open_installed, start, stop,
};
use crate::sys::{event_log, machine, service_config};

/// The name of the agent's service.
pub const AGENT: &str = "SysTrailAgent";

/// How long a start and a stop may take before the service manager calls them hung.
const PENDING_TIME_MAX: Duration = Duration::from_secs(30);

/// How long after a crash it is started again: the first time, the second, and from then on. What
/// counts as one says [`ending`](crate::service::ending).
const RESTART_DELAYS: [Duration; 3] = [
    Duration::from_secs(1),
    Duration::from_secs(10),
    Duration::from_mins(1),
];

/// The privileges of the service's process: to look into other users' processes for the snapshot,
/// to follow the kernel's own events where there is no driver, and to reach files below directories it
/// may not list, which every program has. The driver is started by the service manager, so the agent
/// needs none for that.
const PRIVILEGES: [&str; 3] = [
    "SeDebugPrivilege",
    "SeSystemProfilePrivilege",
    "SeChangeNotifyPrivilege",
];

/// The agent's service.
#[derive(Clone, Copy, Debug)]
pub struct Agent;

impl Agent {
    /// Installs the service, which runs `program` with `arguments` after the services that it `needs`, or
    /// brings it up to date; and makes the data directory, which only the system and administrators may
    /// enter.
    pub fn install(
        program: &Path,
        origin: Origin,
        arguments: &[&str],
        needs: &[&str],
    ) -> Result<Installed, Error> {
        const ACTION: &str = "installing";
        let program = origin.take(program)?;
        let directory = machine::data_directory();
        data::protect(&directory).map_err(|source| Error::Io {
            what: directory.display().to_string(),
            source,
        })?;
        let info = ServiceInfo {
            name: AGENT.into(),
            display_name: "SysTrail agent".into(),
            service_type: ServiceType::OWN_PROCESS,
            start_type: ServiceStartType::AutoStart,
            error_control: ServiceErrorControl::Normal,
            executable_path: program,
            launch_arguments: arguments.iter().map(OsString::from).collect(),
            dependencies: needs
                .iter()
                .map(|name| ServiceDependency::Service(name.into()))
                .collect(),
            account_name: None,
            account_password: None,
        };
        let manager =
            manager(ServiceManagerAccess::CONNECT | ServiceManagerAccess::CREATE_SERVICE)?;
        let access = ServiceAccess::CHANGE_CONFIG | ServiceAccess::START;
        let (service, installed) = match manager
            .create_service(&info, access)
            .map_err(Error::new(ACTION, AGENT))
        {
            Ok(service) => (service, Installed::New),
            Err(error) if error.code() == Some(EXISTS) => {
                let service = open_installed(AGENT, ACTION, access)?;
                service
                    .change_config(&info)
                    .map_err(Error::new(ACTION, AGENT))?;
                (service, Installed::Again)
            }
            Err(error) => return Err(error),
        };
        complete(&service);
        Ok(installed)
    }

    /// Starts it, and the driver it depends on, and waits until it records. Says whether it had to
    /// be started.
    pub fn start() -> Result<bool, Error> {
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::START;
        start(&open_installed(AGENT, "starting", access)?, AGENT)
    }

    /// Stops it and waits until its log is closed. Says whether it ran.
    pub fn stop() -> Result<bool, Error> {
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP;
        stop(&open_installed(AGENT, "stopping", access)?, AGENT)
    }

    /// Stops and removes it; data and configuration stay. Says whether there was one.
    pub fn uninstall() -> Result<bool, Error> {
        const ACTION: &str = "removing";
        let access = ServiceAccess::QUERY_STATUS | ServiceAccess::STOP | ServiceAccess::DELETE;
        let Some(service) = open(AGENT, ACTION, access)? else {
            return Ok(false);
        };
        stop(&service, AGENT)?;
        service.delete().map_err(Error::new(ACTION, AGENT))?;
        event_log::Source::Program(AGENT)
            .unregister()
            .map_err(|source| Error::Io {
                what: "the source of event log messages".to_owned(),
                source,
            })?;
        Ok(true)
    }

    /// Its state in a word, and its process; `None` when it is not installed.
    pub fn state() -> Result<Option<(&'static str, Option<u32>)>, Error> {
        const ACTION: &str = "asking about";
        let Some(service) = open(AGENT, ACTION, ServiceAccess::QUERY_STATUS)? else {
            return Ok(None);
        };
        let status = service.query_status().map_err(Error::new(ACTION, AGENT))?;
        let word = match status.current_state {
            ServiceState::Stopped => "stopped",
            ServiceState::StartPending => "starting",
            ServiceState::StopPending => "stopping",
            ServiceState::Running => "running",
            _ => "paused",
        };
        Ok(Some((word, status.process_id.filter(|id| *id != 0))))
    }
}

/// Sets what a service can do without: words for people, what happens when it crashes, and that it
/// has no privilege it does not need. What this system does not know is told and left out.
fn complete(service: &Service) {
    let words = "Records what this machine runs, straight from the kernel";
    let steps = [
        (
            "its messages in the event log have no source",
            event_log::Source::Program(AGENT).register(),
        ),
        (
            "it runs with every privilege of the system, not only those it needs",
            service_config::require_privileges(service, &PRIVILEGES),
        ),
        (
            "it has no description",
            service.set_description(words).map_err(cause_of),
        ),
        (
            "it is not started again after a crash",
            service
                .update_failure_actions(failure_actions())
                .map_err(cause_of),
        ),
        (
            "it may be started again after an end that a restart does not cure",
            service
                .set_failure_actions_on_non_crash_failures(false)
                .map_err(cause_of),
        ),
    ];
    for (lack, done) in steps {
        if let Err(error) = done {
            tracing::warn!("the service is installed, but {lack}: {error}");
        }
    }
}

fn failure_actions() -> ServiceFailureActions {
    let restart = |delay| ServiceAction {
        action_type: ServiceActionType::Restart,
        delay,
    };
    ServiceFailureActions {
        reset_period: ServiceFailureResetPeriod::After(Duration::from_hours(24)),
        reboot_msg: None,
        command: None,
        actions: Some(RESTART_DELAYS.map(restart).to_vec()),
    }
}

/// What the service manager is told while the service runs.
#[derive(Clone, Copy, Debug)]
pub struct Running(ServiceStatusHandle);

impl Running {
    /// Every event from now on is seen.
    pub fn ready(self) -> Result<(), Error> {
        let accepted = ServiceControlAccept::STOP | ServiceControlAccept::SHUTDOWN;
        self.tell(ServiceState::Running, accepted, Duration::ZERO, 0)
    }

    /// The recording ends.
    pub fn stopping(self) -> Result<(), Error> {
        let accepted = ServiceControlAccept::empty();
        self.tell(ServiceState::StopPending, accepted, PENDING_TIME_MAX, 0)
    }

    fn starting(self) -> Result<(), Error> {
        let accepted = ServiceControlAccept::empty();
        self.tell(ServiceState::StartPending, accepted, PENDING_TIME_MAX, 0)
    }

    fn stopped(self, exit_code: u8) -> Result<(), Error> {
        let accepted = ServiceControlAccept::empty();
        self.tell(ServiceState::Stopped, accepted, Duration::ZERO, exit_code)
    }

    fn tell(
        self,
        state: ServiceState,
        accepted: ServiceControlAccept,
        wait_hint: Duration,
        exit_code: u8,
    ) -> Result<(), Error> {
        let status = ServiceStatus {
            service_type: ServiceType::OWN_PROCESS,
            current_state: state,
            controls_accepted: accepted,
            exit_code: match exit_code {
                0 => ServiceExitCode::NO_ERROR,
                code => ServiceExitCode::ServiceSpecific(u32::from(code)),
            },
            checkpoint: 0,
            wait_hint,
            process_id: None,
        };
        self.0
            .set_service_status(status)
            .map_err(Error::new("telling the state of", AGENT))
    }
}

/// What the service does: `main_fn` records until told to stop and gives the exit code, `stop_fn`
/// tells it to.
struct Job {
    main_fn: Box<dyn FnOnce(Running) -> u8 + Send>,
    stop_fn: Box<dyn Fn() + Send + Sync>,
}

static JOB: Mutex<Option<Job>> = Mutex::new(None);
static RUNNING: OnceLock<Running> = OnceLock::new();

/// Does the job as the service manager asks for, and returns when it is done. Fails when it was not
/// the service manager that started this process. Once `main_fn` has given its exit code the service
/// has stopped, and stays so; one that is to be started again ends the process in `main_fn`.
pub fn run_as_service(
    main_fn: impl FnOnce(Running) -> u8 + Send + 'static,
    stop_fn: impl Fn() + Send + Sync + 'static,
) -> Result<(), Error> {
    let job = Job {
        main_fn: Box::new(main_fn),
        stop_fn: Box::new(stop_fn),
    };
    *JOB.lock().unwrap_or_else(PoisonError::into_inner) = Some(job);
    service_dispatcher::start(AGENT, service_main).map_err(Error::new("running as", AGENT))
}

/// Called by the service manager, on a thread of its own. The arguments are the service's own.
extern "system" fn service_main(_count: u32, _arguments: *mut *mut u16) {
    let job = JOB.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(job) = job else {
        return;
    };
    if let Err(error) = serve(job) {
        tracing::error!(%error, "the service manager could not be told");
    }
}

fn serve(job: Job) -> Result<(), Error> {
    let stop_fn = job.stop_fn;
    let handler = move |control| match control {
        ServiceControl::Stop | ServiceControl::Shutdown | ServiceControl::Preshutdown => {
            if let Some(running) = RUNNING.get()
                && let Err(error) = running.stopping()
            {
                tracing::warn!(%error, "the service manager could not be told");
            }
            stop_fn();
            ServiceControlHandlerResult::NoError
        }
        ServiceControl::Interrogate => ServiceControlHandlerResult::NoError,
        _ => ServiceControlHandlerResult::NotImplemented,
    };
    let handle = service_control_handler::register(OsStr::new(AGENT), handler)
        .map_err(Error::new("running as", AGENT))?;
    let running = *RUNNING.get_or_init(|| Running(handle));
    running.starting()?;
    let exit_code = (job.main_fn)(running);
    running.stopped(exit_code)
}

//! `systrail service`: the agent as a Windows service, and the driver's service with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::{Args, Subcommand};
use systrail::account::Account;
use systrail::config;
use systrail::service::ending::{self, Ending};
use systrail::service::windows::{
    AGENT, Agent, DRIVER, Driver, Installed, Parameters, StartAt, beside_this_program,
    run_as_service,
};
use systrail::sys::event_log::{EventLog, Level};
use systrail::sys::wake::Waker;

use super::console::{self, Tone, say};
use super::record::{self, RunArguments};
use super::{Exit, Failure, launch, report, service_manager};

/// What to do with the services.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Install the agent, as a service that starts with the system, and the driver
    ///
    /// The service runs this very program, and the driver from the file beside it. Windows starts the driver
    /// for the agent; with `--boot` it starts with the system, and what runs before the agent waits in its
    /// queue. Installing again brings both up to date.
    #[command(after_help = "\
Examples:
  systrail service install
  systrail service install --boot               sees what runs before the agent does
  systrail service install --driver D:\\systrail\\systrail.sys
  systrail service install --no-driver          the agent alone, which follows event tracing")]
    Install(Install),
    /// Stop and remove both services; data, configuration and files stay
    #[command(after_help = "Example:\n  systrail service uninstall")]
    Uninstall,
    /// Start both services and wait until the agent records
    #[command(after_help = "Example:\n  systrail service start")]
    Start,
    /// Stop both services and wait until the log is closed
    #[command(after_help = "Example:\n  systrail service stop")]
    Stop,
    /// Stop and start the agent's service; the driver queues events meanwhile
    #[command(after_help = "Example:\n  systrail service restart")]
    Restart,
    /// Say whether the services run, and the account of the last run
    #[command(after_help = "Example:\n  systrail service status")]
    Status,
    /// What the service manager starts
    #[command(hide = true)]
    Run(Box<RunArguments>),
}

/// What to install.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// The driver's file; systrail.sys beside this program when not given
    #[arg(long, value_name = "FILE")]
    driver: Option<PathBuf>,
    /// Start the driver with the system, and not for the agent
    #[arg(long, conflicts_with = "no_driver")]
    boot: bool,
    /// Install the agent alone, which then follows event tracing (`--source etw`)
    #[arg(long, conflicts_with = "driver")]
    no_driver: bool,
    /// Install both even from where others than administrators could exchange them
    #[arg(long)]
    allow_writable: bool,
}

/// Does `systrail service`.
pub(super) fn main(command: &Command) -> Result<Exit, Failure> {
    let text = match command {
        Command::Install(arguments) => install(arguments)?,
        Command::Uninstall => uninstall()?,
        Command::Start => start()?,
        Command::Stop => stop()?,
        Command::Restart => {
            Agent::stop()?;
            Agent::start()?;
            format!("{AGENT}: restarted; it records\n")
        }
        Command::Status => status()?,
        Command::Run(arguments) => return run(arguments),
    };
    console::result(&text)?;
    Ok(Exit::Done)
}

fn install(arguments: &Install) -> Result<String, Failure> {
    if arguments.no_driver {
        return install_alone(arguments);
    }
    let program = std::env::current_exe()?;
    let file = match &arguments.driver {
        Some(file) => file.clone(),
        None => beside_this_program()?,
    };
    let origin = launch::origin(arguments.allow_writable);
    let start_at = if arguments.boot {
        StartAt::Boot
    } else {
        StartAt::Demand
    };
    let driver = Driver::install(&file, origin, start_at, Parameters::default())?;
    let account = account_path();
    let run = ["service", "run", "--summary", &account.to_string_lossy()];
    let agent = match Agent::install(&program, origin, &run, &[DRIVER]) {
        Ok(agent) => agent,
        Err(error) => {
            // Both or none: a driver alone would only fill its queue.
            if driver == Installed::New
                && let Err(error) = Driver::uninstall()
            {
                say!("the driver's service stays: {error}");
            }
            return Err(error.into());
        }
    };
    let done = done(agent);
    Ok(format!(
        "{AGENT} and {DRIVER}: {done}; `systrail service start` starts them, or the next boot does\n"
    ))
}

/// Installs the agent without a driver. With one the services depend on each other.
fn install_alone(arguments: &Install) -> Result<String, Failure> {
    if has_driver()? {
        return Err(Failure::usage(anyhow::anyhow!(
            "the driver's service is installed; `systrail service uninstall` removes both, then install \
             the agent alone"
        )));
    }
    let program = std::env::current_exe()?;
    let origin = launch::origin(arguments.allow_writable);
    let account = account_path();
    let account = account.to_string_lossy();
    let run = ["service", "run", "--summary", &*account, "--source", "etw"];
    let done = done(Agent::install(&program, origin, &run, &[])?);
    Ok(format!(
        "{AGENT}: {done}, without a driver; `systrail service start` starts it, or the next boot does\n"
    ))
}

const fn done(installed: Installed) -> &'static str {
    match installed {
        Installed::New => "installed",
        Installed::Again => "brought up to date",
    }
}

fn has_driver() -> Result<bool, Failure> {
    Ok(Driver::state()?.file.is_some())
}

/// The services there are, by their names.
fn names(has_driver: bool) -> String {
    if has_driver {
        format!("{AGENT} and {DRIVER}")
    } else {
        AGENT.to_owned()
    }
}

fn uninstall() -> Result<String, Failure> {
    let agent = Agent::uninstall()?;
    let driver = Driver::uninstall()?;
    let done = if agent || driver {
        "uninstalled"
    } else {
        "were not installed"
    };
    Ok(format!(
        "{AGENT} and {DRIVER}: {done}; what was recorded stays in {}\n",
        config::data_directory().display()
    ))
}

fn start() -> Result<String, Failure> {
    let has_driver = has_driver()?;
    if has_driver {
        Driver::start()?;
    }
    let (has_started, names) = (Agent::start()?, names(has_driver));
    Ok(if has_started {
        format!("{names}: started; the agent records\n")
    } else {
        format!("{names}: run already\n")
    })
}

fn stop() -> Result<String, Failure> {
    let agent = Agent::stop()?;
    let has_driver = has_driver()?;
    let driver = has_driver && Driver::stop()?;
    let names = names(has_driver);
    Ok(if agent || driver {
        format!("{names}: stopped\n")
    } else {
        format!("{names}: did not run\n")
    })
}

fn status() -> Result<String, Failure> {
    let mut text = match Agent::state()? {
        None => format!("{AGENT}: not installed; `systrail service install` does\n"),
        Some((state, Some(process))) => format!("{AGENT}: {state}, process {process}\n"),
        Some((state, None)) => format!("{AGENT}: {state}\n"),
    };
    let driver = Driver::state()?;
    let driver = match (&driver.file, driver.is_running) {
        (None, _) => "not installed",
        (Some(_), true) => "running; `systrail driver status` tells more",
        (Some(_), false) => "stopped",
    };
    text = format!("{text}{DRIVER}: {driver}\n");
    // Not there before the first run ends, and not for everybody to read.
    if let Some(account) = read_account(&account_path()) {
        text.push_str("last run that ended:\n");
        text.push_str(&report::table(&account));
        text.push('\n');
    }
    Ok(text)
}

fn account_path() -> PathBuf {
    config::data_directory().join("account.json")
}

fn read_account(path: &Path) -> Option<Account> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// Records as the service manager asks for.
fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    speak_to_event_log()?;
    let waker = Waker::new()?;
    let (arguments, ended) = (arguments.clone(), waker.clone());
    let is_asked_to_stop = Arc::<AtomicBool>::default();
    let asked = Arc::clone(&is_asked_to_stop);
    let job = move |running| {
        service_manager::attach(running);
        let result = record::run_until_woken(&arguments, &waker);
        let exit = result.unwrap_or_else(|Failure { exit, error }| {
            console::fail(&error);
            exit
        });
        // All is written and closed; what is left is how the service manager sees it.
        if ending::of(exit.code(), asked.load(Ordering::SeqCst)) == Ending::Gone {
            std::process::exit(exit.code().into());
        }
        exit.code()
    };
    let stop = move || {
        is_asked_to_stop.store(true, Ordering::SeqCst);
        ended.wake();
    };
    run_as_service(job, stop)?;
    Ok(Exit::Done)
}

/// A service has no standard error, so what it says goes to the event log. What that does not take
/// is said nowhere: recording matters more.
fn speak_to_event_log() -> Result<(), Failure> {
    let log = EventLog::open(AGENT)?;
    console::speak_through(move |tone, text| {
        let level = match tone {
            Tone::Remark => Level::Information,
            Tone::Warning => Level::Warning,
            Tone::Failure => Level::Error,
        };
        let _written = log.write(level, text);
    });
    Ok(())
}

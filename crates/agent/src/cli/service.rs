//! `systrail service`: the agent as a systemd unit.

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use systrail::account::Account;
use systrail::service::linux::{self, Installed, Service, State};
use systrail::sys::place;

use super::{Exit, Failure, console, report};

/// What the unit's `--summary` names.
pub(super) const ACCOUNT: &str = "/var/lib/systrail/account.json";

/// What to do with the service.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Write the systemd unit and have it started at boot
    ///
    /// The unit runs this very program. Installing again changes nothing, or brings the unit up to
    /// date.
    #[command(after_help = "\
Examples:
  sudo systrail service install && sudo systrail service start
  systrail service install --print                 look at the unit
  systrail service install --root image/           into an image that is being built")]
    Install(Install),
    /// Stop the service and remove the unit; data and configuration stay
    #[command(after_help = "Example:\n  sudo systrail service uninstall")]
    Uninstall {
        /// Work on the image with this root directory
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,
    },
    /// Start the service and wait until it records
    #[command(after_help = "Example:\n  sudo systrail service start")]
    Start,
    /// Stop the service and wait until its log is closed
    #[command(after_help = "Example:\n  sudo systrail service stop")]
    Stop,
    /// Stop and start the service
    #[command(after_help = "Example:\n  sudo systrail service restart")]
    Restart,
    /// Have the service read its rules and detections again, without a gap
    #[command(after_help = "Example:\n  systrail config check && sudo systrail service reload")]
    Reload,
    /// Say whether the service runs, and the account of its last run
    #[command(after_help = "Example:\n  systrail service status")]
    Status,
}

/// Where to install.
#[derive(Debug, Args)]
pub(super) struct Install {
    /// Print the unit instead of installing it
    #[arg(long, conflicts_with = "root")]
    print: bool,
    /// Install into the image with this root directory; systemd is not asked
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// The program the unit runs, instead of this one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Take the program even where others than root could exchange it
    #[arg(long)]
    allow_writable: bool,
}

/// Does `systrail service`.
pub(super) fn main(command: &Command) -> Result<Exit, Failure> {
    let text = match command {
        Command::Install(arguments) => install(arguments)?,
        Command::Uninstall { root } => uninstall(root.as_deref())?,
        Command::Start => {
            Service::of_this_machine()?.start()?;
            "started; it records\n".to_owned()
        }
        Command::Stop => {
            Service::of_this_machine()?.stop()?;
            "stopped\n".to_owned()
        }
        Command::Restart => {
            Service::of_this_machine()?.restart()?;
            "restarted; it records\n".to_owned()
        }
        Command::Reload => {
            Service::of_this_machine()?.reload()?;
            format!(
                "asked to; `journalctl --unit {}` says what came of it\n",
                linux::UNIT
            )
        }
        Command::Status => status(&Service::readable()?.state()?, Path::new(ACCOUNT)),
    };
    console::result(&text)?;
    Ok(Exit::Done)
}

fn install(arguments: &Install) -> Result<String, Failure> {
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => std::env::current_exe()?,
    };
    if arguments.print {
        return Ok(linux::unit(&program)?);
    }
    // What is in an image, and whose it is there, cannot be told from here.
    let is_checked = arguments.root.is_none() && !arguments.allow_writable;
    if is_checked && place::is_root() {
        linux::check_program(&program)?;
    }
    let service = match &arguments.root {
        Some(root) => Service::in_image(root.clone()),
        None => Service::of_this_machine()?,
    };
    let done = match service.install(&program)? {
        Installed::New => "installed",
        Installed::Replaced => "brought up to date",
        Installed::Unchanged => "already installed",
    };
    let next = if arguments.root.is_some() {
        "it starts when the image boots"
    } else {
        "`systrail service start` starts it, or the next boot does"
    };
    Ok(format!("{}: {done}; {next}\n", linux::UNIT))
}

fn uninstall(root: Option<&Path>) -> Result<String, Failure> {
    let service = match root {
        Some(root) => Service::in_image(root.to_owned()),
        None => Service::of_this_machine()?,
    };
    let done = if service.uninstall()? {
        "uninstalled"
    } else {
        "was not installed"
    };
    Ok(format!(
        "{}: {done}; what it recorded stays in /var/lib/systrail\n",
        linux::UNIT
    ))
}

fn status(state: &State, account: &Path) -> String {
    let mut text = match state.load.as_str() {
        "not-found" => format!(
            "{}: not installed; `systrail service install` does\n",
            linux::UNIT
        ),
        _ => format!(
            "{}: {} ({}), result {}{}\n",
            linux::UNIT,
            state.active,
            state.sub,
            state.result,
            state
                .process_id
                .map(|id| format!(", process {id}"))
                .unwrap_or_default(),
        ),
    };
    // Not there before the first run ends, and not for everybody to read.
    if let Some(account) = fs::read(account)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Account>(&bytes).ok())
    {
        text.push_str("last run that ended:\n");
        text.push_str(&report::table(&account));
        text.push('\n');
    }
    text
}

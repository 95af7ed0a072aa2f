//! The launch routine of this system: the driver is installed and started where it does not run, and
//! put back as it was when the recording has ended.

use std::path::{Path, PathBuf};

use clap::Args;
use systrail::config::{self, Config};
use systrail::sensor::choice::Source;
use systrail::service::windows::{Launch, Origin, Stay, data};
use systrail::sink::log_file::Others;
use systrail::sys::privilege;

use super::Failure;
use super::console::say;

/// Flags of `run` that only some systems have.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct LaunchArguments {
    /// Leave the driver installed and running at the end; it then queues events for the next agent
    #[arg(long)]
    keep: bool,
    /// Take the driver from beside this program even where others could exchange it
    #[arg(long)]
    allow_writable: bool,
}

impl LaunchArguments {
    /// Makes no difference on this system.
    #[expect(
        clippy::unused_self,
        reason = "its twin for another system asks the flag"
    )]
    pub(super) const fn others(self) -> Others {
        Others::Refused
    }
}

/// What was done to the machine for a recording.
#[derive(Debug)]
pub(super) struct Launched {
    launch: Launch,
    keep: bool,
}

/// Has the driver run, where this user may. Where it does not, and any sensor would do, that is said.
pub(super) fn begin(config: &Config, arguments: LaunchArguments) -> Result<Launched, Failure> {
    let is_for_driver = matches!(
        config.source,
        Source::Auto | Source::Driver | Source::DriverEtw
    );
    // Who is no administrator is told so when the device is opened.
    let launch = if is_for_driver && privilege::is_elevated().unwrap_or(true) {
        let stay = if arguments.keep {
            Stay::Kept
        } else {
            Stay::Recording
        };
        let origin = origin(arguments.allow_writable);
        match Launch::begin(config.flush_interval, origin, stay) {
            Ok(launch) => launch,
            // Nearly nobody has a driver that Windows loads; there is another way.
            Err(error) if config.source == Source::Auto => {
                say!("{error}; going on without the driver");
                Launch::default()
            }
            Err(error) => return Err(Failure::no_sensor(error)),
        }
    } else {
        Launch::default()
    };
    if launch.has_changed_anything() {
        say!("the driver was started for this recording");
    }
    Ok(Launched {
        launch,
        keep: arguments.keep,
    })
}

/// What `--allow-writable` says.
pub(super) const fn origin(is_writable_allowed: bool) -> Origin {
    if is_writable_allowed {
        Origin::Anywhere
    } else {
        Origin::Protected
    }
}

/// Where the system's configuration is read. It is refused where others could change it: an
/// administrator's program would write where they say.
pub(super) fn configuration_at(path: &Path) -> Result<PathBuf, Failure> {
    // Who is no administrator lends no rights to it.
    if !privilege::is_elevated().unwrap_or(true) {
        return Ok(path.to_owned());
    }
    data::trusted(path)
        .map_err(|error| anyhow::anyhow!("configuration {}: {error}", path.display()))
        .map_err(Failure::usage)
}

/// Sees to it that a program which an administrator runs for matches is there, and that nobody else may
/// change it.
pub(super) fn check_alert(program: &Path) -> Result<(), Failure> {
    let checked = if privilege::is_elevated().unwrap_or(true) {
        data::of_nobody_else(program)
    } else {
        program.metadata().map(drop)
    };
    checked
        .map_err(|error| anyhow::anyhow!("alert.command {}: {error}", program.display()))
        .map_err(Failure::usage)
}

/// Prepares the data directory for a log.
pub(super) fn prepare_log(path: &Path) -> Result<(), Failure> {
    prepare_data(path)
}

/// Making a link takes a right that leads to the same here.
pub(super) const fn summary_exposure(_path: &Path) -> Option<String> {
    None
}

/// Prepares the data directory for a store.
pub(super) fn prepare_store(path: &Path, _arguments: LaunchArguments) -> Result<(), Failure> {
    prepare_data(path)
}

/// Sees to it that only the system and administrators may enter the data directory, where `path` is
/// in it. Anybody may make a directory there, so it may be somebody else's.
fn prepare_data(path: &Path) -> Result<(), Failure> {
    let directory = config::data_directory();
    // Who is no administrator keeps data for himself.
    if path.starts_with(&directory) && privilege::is_elevated().unwrap_or(false) {
        data::protect(&directory)
            .map_err(|error| anyhow::anyhow!("{}: {error}", directory.display()))?;
    }
    Ok(())
}

impl Launched {
    /// Puts the machine back as it was, unless it was said to be kept so.
    pub(super) fn end(self) {
        if self.keep {
            return self.launch.keep();
        }
        if let Err(error) = self.launch.undo() {
            say!("the driver could not be put back as it was: {error}");
        }
    }
}

//! The launch routine: has the driver run for as long as a recording needs it, then leaves the
//! machine as it was.

use std::time::Duration;

use super::{Driver, Error, Installed, Origin, Parameters, StartAt, beside_this_program};

/// How long what is installed stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// Until the recording ends.
    Recording,
    /// For good.
    Kept,
}

/// What was done so that the driver runs.
#[derive(Debug, Default)]
pub struct Launch {
    has_installed: bool,
    has_started: bool,
}

impl Launch {
    /// Installs the driver where it is not, from the file beside this program and with
    /// `flush_interval`, and starts it where it does not run. What one step did is undone when the
    /// next fails.
    ///
    /// A driver that is to stay is taken from a protected place alone, if `origin` says so. One that
    /// goes with the recording is taken from anywhere, with a warning: this program stands in the
    /// same place and runs with an administrator's rights already, so who could exchange the driver
    /// could as well have exchanged the program that would refuse it.
    pub fn begin(flush_interval: Duration, origin: Origin, stay: Stay) -> Result<Self, Error> {
        let state = Driver::state()?;
        let mut launch = Self::default();
        if state.is_running {
            return Ok(launch);
        }
        if state.file.is_none() {
            let parameters = Parameters {
                queue_limit: None,
                flush_interval: Some(flush_interval),
            };
            let installed = install(origin, stay, parameters)?;
            // One that another agent has installed in between is not ours to remove.
            launch.has_installed = installed == Installed::New;
        }
        match Driver::start() {
            Ok(has_started) => launch.has_started = has_started,
            Err(error) => {
                // Why it does not start is what matters; what was installed goes again.
                if let Err(undo) = launch.undo() {
                    tracing::warn!(error = %undo, "what was installed could not be removed again");
                }
                return Err(error);
            }
        }
        Ok(launch)
    }

    /// Whether the driver was installed or started for this.
    pub const fn has_changed_anything(&self) -> bool {
        self.has_installed || self.has_started
    }

    /// Leaves the driver as it is now.
    pub fn keep(mut self) {
        self.has_installed = false;
        self.has_started = false;
    }

    /// Undoes what was done. Nobody may have the device open any more.
    pub fn undo(mut self) -> Result<(), Error> {
        self.take_back()
    }

    fn take_back(&mut self) -> Result<(), Error> {
        // Once: what could not be taken back is told and stays.
        let has_started = std::mem::take(&mut self.has_started);
        let has_installed = std::mem::take(&mut self.has_installed);
        if has_started {
            Driver::stop()?;
        }
        if has_installed {
            Driver::uninstall()?;
        }
        Ok(())
    }
}

fn install(origin: Origin, stay: Stay, parameters: Parameters) -> Result<Installed, Error> {
    let file = beside_this_program()?;
    match Driver::install(&file, origin, StartAt::Demand, parameters) {
        Err(exposed @ Error::Exposed { .. }) if stay == Stay::Recording => {
            tracing::warn!("the driver is loaded all the same: {exposed}");
            Driver::install(&file, Origin::Anywhere, StartAt::Demand, parameters)
        }
        installed => installed,
    }
}

impl Drop for Launch {
    fn drop(&mut self) {
        if let Err(error) = self.take_back() {
            tracing::warn!(%error, "the driver could not be put back as it was");
        }
    }
}

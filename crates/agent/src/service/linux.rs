//! The agent as a systemd unit: `assets/systrail.service` with this program's own path.
//!
//! systemd is asked through `systemctl`, as an administrator would, so that whatever it says is
//! what the administrator knows.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sys::place::{self, Exposure};

/// The unit's name.
pub const UNIT: &str = "systrail.service";

/// Where units of the administrator are, under the root directory.
const UNIT_DIRECTORY: &str = "etc/systemd/system";

/// What enabling the unit links, under the root directory.
const WANTED_BY: &str = "etc/systemd/system/multi-user.target.wants";

/// The unit as packages install it.
const TEMPLATE: &str = include_str!("../../assets/systrail.service");

/// The program of the template.
const PACKAGED_PROGRAM: &str = "/usr/bin/systrail";

/// Directories the unit cannot run a program from, because it does not see them.
const HIDDEN: [&str; 5] = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];

/// Why a service command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no systemd to ask.
    #[error(
        "this machine was not booted with systemd; start `systrail run` with its own init system, \
         or write the unit elsewhere with --root or --print"
    )]
    NoSystemd,
    /// Units belong to root.
    #[error("only root can change services; run it with sudo")]
    NotRoot,
    /// Its path cannot stand in the unit.
    #[error(
        "the program is at {}, where the service could not run it ({reason}); copy it to \
         /usr/local/bin/systrail and run that", program.display()
    )]
    Program {
        /// The program.
        program: PathBuf,
        /// What is wrong with its place.
        reason: &'static str,
    },
    /// Others may change what would run as root.
    #[error(
        "{} is not taken from where it is: {exposure}, and whoever does so chooses what runs as \
         root; copy it to /usr/local/bin/systrail and run that, or give it to root alone with chown \
         and chmod; --allow-writable takes the risk", program.display()
    )]
    Exposed {
        /// The program.
        program: PathBuf,
        /// It, or a directory above it.
        exposure: Exposure,
    },
    /// A file.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `systemctl` could not be run, or failed.
    #[error("systemctl {arguments}: {message}")]
    Systemctl {
        /// What it was told.
        arguments: String,
        /// What it said.
        message: String,
    },
}

/// Where the service is installed.
#[derive(Clone, Debug)]
pub struct Service {
    /// Another root directory, of an image that is being built; systemd is not asked then.
    root: Option<PathBuf>,
}

/// What an installation did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Installed {
    /// The unit was not there.
    New,
    /// It was another.
    Replaced,
    /// It was there as it is to be.
    Unchanged,
}

/// What systemd says of the unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// `loaded`, `not-found`.
    pub load: String,
    /// `active`, `inactive`, `failed`.
    pub active: String,
    /// `running`, `dead`.
    pub sub: String,
    /// `success`, `exit-code`, `watchdog`.
    pub result: String,
    /// The process, where it runs.
    pub process_id: Option<u32>,
}

/// The unit for `program`.
pub fn unit(program: &Path) -> Result<String, Error> {
    let refuse = |reason| Error::Program {
        program: program.to_owned(),
        reason,
    };
    if !program.is_absolute() {
        return Err(refuse("systemd takes an absolute path alone"));
    }
    let text = program
        .to_str()
        .ok_or_else(|| refuse("it is not Unicode"))?;
    let is_plain =
        |character: char| character.is_ascii_alphanumeric() || "/._+-".contains(character);
    if !text.chars().all(is_plain) {
        return Err(refuse("systemd gives a meaning to some of its characters"));
    }
    if HIDDEN.iter().any(|hidden| program.starts_with(hidden)) {
        return Err(refuse("the unit hides that directory"));
    }
    // A comment may name the program as well.
    let own = |key: &str| {
        (
            format!("{key}={PACKAGED_PROGRAM} "),
            format!("{key}={text} "),
        )
    };
    let ((start, own_start), (reload, own_reload)) = (own("ExecStart"), own("ExecReload"));
    Ok(TEMPLATE
        .replace(&start, &own_start)
        .replace(&reload, &own_reload))
}

/// Refuses a program that others than root could change or exchange.
pub fn check_program(program: &Path) -> Result<(), Error> {
    let exposure = place::of_trusted(program).map_err(|source| Error::File {
        path: program.to_owned(),
        source,
    })?;
    match exposure {
        None => Ok(()),
        Some(exposure) => Err(Error::Exposed {
            program: program.to_owned(),
            exposure,
        }),
    }
}

impl Service {
    /// The service of this machine, which root alone may change.
    pub fn of_this_machine() -> Result<Self, Error> {
        let service = Self::readable()?;
        if !nix::unistd::geteuid().is_root() {
            return Err(Error::NotRoot);
        }
        Ok(service)
    }

    /// The service of this machine, to look at.
    pub fn readable() -> Result<Self, Error> {
        // It cannot be told only where /run cannot be read, and then systemd does not run either.
        if !sd_notify::booted().unwrap_or(false) {
            return Err(Error::NoSystemd);
        }
        Ok(Self { root: None })
    }

    /// The service in an image whose root directory is `root`.
    pub const fn in_image(root: PathBuf) -> Self {
        Self { root: Some(root) }
    }

    fn unit_path(&self) -> PathBuf {
        self.root().join(UNIT_DIRECTORY).join(UNIT)
    }

    fn root(&self) -> &Path {
        self.root.as_deref().unwrap_or_else(|| Path::new("/"))
    }

    /// Writes the unit and has it started at boot. What is there already stays as it is.
    pub fn install(&self, program: &Path) -> Result<Installed, Error> {
        let unit = unit(program)?;
        let path = self.unit_path();
        let before = fs::read_to_string(&path);
        let installed = match &before {
            Ok(text) if *text == unit => Installed::Unchanged,
            Ok(_) => Installed::Replaced,
            Err(_) => Installed::New,
        };
        if installed != Installed::Unchanged {
            write_whole(&path, &unit)?;
        }
        if self.root.is_some() {
            self.link_in_image()?;
        } else {
            systemctl(&["daemon-reload"])?;
            systemctl(&["enable", UNIT])?;
        }
        Ok(installed)
    }

    /// What `systemctl enable` does, for an image.
    fn link_in_image(&self) -> Result<(), Error> {
        let link = self.root().join(WANTED_BY).join(UNIT);
        let at_link = |source| Error::File {
            path: link.clone(),
            source,
        };
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent).map_err(at_link)?;
        }
        match std::os::unix::fs::symlink(Path::new("/").join(UNIT_DIRECTORY).join(UNIT), &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(at_link(error)),
            _ => Ok(()),
        }
    }

    /// Stops the service and removes the unit; data and configuration stay. Tells whether there was
    /// one.
    pub fn uninstall(&self) -> Result<bool, Error> {
        let path = self.unit_path();
        if !path.exists() {
            return Ok(false);
        }
        if self.root.is_some() {
            remove(&self.root().join(WANTED_BY).join(UNIT))?;
        } else {
            systemctl(&["disable", "--now", UNIT])?;
        }
        remove(&path)?;
        if self.root.is_none() {
            systemctl(&["daemon-reload"])?;
        }
        Ok(true)
    }

    /// Starts it and waits until it records.
    pub fn start(&self) -> Result<(), Error> {
        systemctl(&["start", UNIT]).map(drop)
    }

    /// Stops it and waits until the log is closed.
    pub fn stop(&self) -> Result<(), Error> {
        systemctl(&["stop", UNIT]).map(drop)
    }

    /// Stops and starts it.
    pub fn restart(&self) -> Result<(), Error> {
        systemctl(&["restart", UNIT]).map(drop)
    }

    /// Has it read its rules again.
    pub fn reload(&self) -> Result<(), Error> {
        systemctl(&["reload", UNIT]).map(drop)
    }

    /// What systemd says of it.
    pub fn state(&self) -> Result<State, Error> {
        let properties = "LoadState,ActiveState,SubState,Result,MainPID";
        let text = systemctl(&["show", "--property", properties, UNIT])?;
        Ok(State::read(&text))
    }
}

impl State {
    /// Reads what `systemctl show` prints.
    fn read(text: &str) -> Self {
        let value = |name: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|&(key, _)| key == name)
                .map_or_else(|| "unknown".to_owned(), |(_, value)| value.to_owned())
        };
        Self {
            load: value("LoadState"),
            active: value("ActiveState"),
            sub: value("SubState"),
            result: value("Result"),
            process_id: value("MainPID").parse().ok().filter(|&id| id != 0),
        }
    }
}

/// Writes a file so that it is there as a whole or not at all.
fn write_whole(path: &Path, text: &str) -> Result<(), Error> {
    let at_path = |source| Error::File {
        path: path.to_owned(),
        source,
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(at_path)?;
    }
    // systemd reads names that end in .service alone.
    let new = path.with_extension("service.new");
    fs::write(&new, text).map_err(at_path)?;
    fs::rename(&new, path).map_err(at_path)
}

fn remove(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(Error::File {
            path: path.to_owned(),
            source,
        }),
        _ => Ok(()),
    }
}

fn systemctl(arguments: &[&str]) -> Result<String, Error> {
    let failed = |message: String| Error::Systemctl {
        arguments: arguments.join(" "),
        message,
    };
    let output = Command::new("systemctl")
        .arg("--no-ask-password")
        .args(arguments)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(failed(match said.trim() {
        "" => output.status.to_string(),
        said => said.to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use super::{Error, Installed, PACKAGED_PROGRAM, Service, State, TEMPLATE, UNIT, unit};

    #[test]
    fn the_unit_runs_the_program_that_installed_it() {
        let unit = unit(Path::new("/opt/systrail/bin/systrail")).unwrap();
        assert!(unit.contains("\nExecStart=/opt/systrail/bin/systrail run "));
        assert!(unit.contains("\nExecReload=/opt/systrail/bin/systrail config check\n"));
        assert!(!unit.contains(PACKAGED_PROGRAM));
    }

    #[test]
    fn the_packaged_unit_is_the_one_that_is_installed() {
        assert_eq!(unit(Path::new(PACKAGED_PROGRAM)).unwrap(), TEMPLATE);
    }

    #[test]
    fn a_program_the_service_could_not_run_is_refused() {
        for program in [
            "/home/me/systrail",
            "systrail",
            "bin/systrail",
            "/tmp/systrail",
            "/opt/my systrail",
            "/opt/%n",
        ] {
            assert!(
                matches!(unit(Path::new(program)), Err(Error::Program { .. })),
                "{program}"
            );
        }
    }

    #[test]
    fn installing_twice_changes_nothing_and_uninstalling_leaves_data() {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("var/lib/systrail");
        fs::create_dir_all(&data).unwrap();
        let service = Service::in_image(root.path().to_owned());
        let program = Path::new("/usr/bin/systrail");
        assert_eq!(service.install(program).unwrap(), Installed::New);
        assert_eq!(service.install(program).unwrap(), Installed::Unchanged);
        let other = Path::new("/usr/local/bin/systrail");
        assert_eq!(service.install(other).unwrap(), Installed::Replaced);
        let link = root
            .path()
            .join("etc/systemd/system/multi-user.target.wants")
            .join(UNIT);
        assert!(link.is_symlink());
        assert!(service.uninstall().unwrap());
        assert!(!service.uninstall().unwrap());
        assert!(!link.is_symlink() && data.is_dir());
    }

    #[test]
    fn the_state_is_read_from_what_systemctl_shows() {
        let state = State::read(
            "Result=success\nMainPID=4711\nLoadState=loaded\nActiveState=active\nSubState=running\n",
        );
        assert_eq!(
            (state.active.as_str(), state.process_id),
            ("active", Some(4711))
        );
        let state = State::read("MainPID=0\nLoadState=not-found\n");
        assert_eq!((state.active.as_str(), state.process_id), ("unknown", None));
    }

    #[test]
    fn systemd_finds_nothing_wrong_with_the_unit() {
        let directory = tempfile::tempdir().unwrap();
        // The program of the unit has to be there for systemd to be content.
        let text = TEMPLATE.replace(PACKAGED_PROGRAM, "/bin/true");
        let path = directory.path().join(UNIT);
        fs::write(&path, text).unwrap();
        let verified = Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(&path)
            .output();
        // Without systemd's tools there is nobody to ask.
        if let Ok(verified) = verified {
            let said = String::from_utf8_lossy(&verified.stderr);
            assert!(verified.status.success() && !said.contains(UNIT), "{said}");
        }
    }
}

//! The launch routine of this system: the sensors load what they need themselves, and take it with
//! them when they go.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use systrail::config::Config;
use systrail::sink::log_file::Others;
use systrail::sys::place;

use super::Failure;

/// Flags of `run` that only some systems have.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct LaunchArguments {
    /// As root: write the log and the store even where other users could exchange them
    #[arg(long)]
    allow_writable: bool,
}

impl LaunchArguments {
    /// What `--allow-writable` says of the log.
    pub(super) const fn others(self) -> Others {
        if self.allow_writable {
            Others::Allowed
        } else {
            Others::Refused
        }
    }
}

/// What was done to the machine for a recording.
#[derive(Debug)]
pub(super) struct Launched;

/// Nothing is to be done.
#[expect(
    clippy::unnecessary_wraps,
    reason = "its twin for another system can fail"
)]
pub(super) const fn begin(
    _config: &Config,
    _arguments: LaunchArguments,
) -> Result<Launched, Failure> {
    Ok(Launched)
}

/// Where the system's configuration is read. It is refused where others could change it: root's
/// program would write where they say.
pub(super) fn configuration_at(path: &Path) -> Result<PathBuf, Failure> {
    let exposure = if place::is_root() {
        place::of_trusted(path).unwrap_or_default()
    } else {
        None
    };
    match exposure {
        // What cannot be looked at is told by who reads it.
        None => Ok(path.to_owned()),
        Some(exposure) => Err(Failure::usage(anyhow::anyhow!(
            "configuration {}: {exposure}, and whoever does so chooses what this program does with \
             root's rights; look into it, then give it to root alone with chown and chmod, or name \
             it with --config",
            path.display()
        ))),
    }
}

/// Sees to it that a program which root runs for matches is there, and that nobody else may change it.
pub(super) fn check_alert(program: &Path) -> Result<(), Failure> {
    let refuse = |reason: String| {
        let program = program.display();
        Err(Failure::usage(anyhow::anyhow!(
            "alert.command {program}: {reason}"
        )))
    };
    match place::of_trusted(program) {
        Err(error) => refuse(format!("{error}; name a program that is there")),
        Ok(Some(exposure)) if place::is_root() => refuse(format!(
            "{exposure}, and whoever does so chooses what is run with root's rights; give it to root alone \
             with chown and chmod"
        )),
        Ok(_) if !program.is_file() => refuse("not a file; name a program".to_owned()),
        Ok(_) => Ok(()),
    }
}

/// The log looks after itself when it is opened.
#[expect(
    clippy::unnecessary_wraps,
    reason = "its twin for another system can fail"
)]
pub(super) const fn prepare_log(_path: &Path) -> Result<(), Failure> {
    Ok(())
}

/// Whose link it is that leads a summary of root's to where it is written.
pub(super) fn summary_exposure(path: &Path) -> Option<String> {
    let exposure = place::is_root().then(|| place::of_link(path)).flatten();
    exposure.map(|exposure| exposure.to_string())
}

/// Sees to it that a store of root's is in a directory that nobody else may change.
pub(super) fn prepare_store(path: &Path, arguments: LaunchArguments) -> Result<(), Failure> {
    if arguments.allow_writable || !place::is_root() {
        return Ok(());
    }
    let check = || match place::of_directory(path) {
        None => Ok(()),
        Some(exposure) => Err(Failure::usage(anyhow::anyhow!(
            "store {}: {exposure}, and root's store does not go where others lead it; give the \
             directory to root alone with chown and chmod, or name another; --allow-writable takes \
             the risk",
            path.display()
        ))),
    };
    check()?;
    // Looked at again, for somebody may have made it meanwhile. When it cannot be made, the store
    // says so.
    let _made = DirBuilder::new().recursive(true).mode(0o750).create(path);
    check()
}

impl Launched {
    /// There is nothing to undo.
    pub(super) const fn end(self) {
        let Self = self;
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown};

    use super::*;

    const NOBODY: u32 = 65_534;

    #[test]
    fn roots_store_and_orders_are_not_another_users() {
        if !place::is_root() {
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let store = directory.path().join("above/store");
        let refused = LaunchArguments::default();
        let allowed = LaunchArguments {
            allow_writable: true,
        };
        assert!(prepare_store(&store, refused).is_ok());
        let mode = fs::metadata(&store).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o750, "made for root and its group");
        chown(&store, Some(NOBODY), None).unwrap();
        assert!(prepare_store(&store, refused).is_err());
        assert!(prepare_store(&store, allowed).is_ok());

        let link = directory.path().join("summary");
        std::os::unix::fs::symlink("/nowhere", &link).unwrap();
        assert_eq!(summary_exposure(&link), None, "root's own");
        std::os::unix::fs::lchown(&link, Some(NOBODY), None).unwrap();
        let exposure = summary_exposure(&link).unwrap();
        assert!(
            exposure.ends_with("is a link of the user 65534"),
            "{exposure}"
        );

        let program = directory.path().join("program");
        assert!(check_alert(&program).is_err(), "it is not there");
        fs::write(&program, "").unwrap();
        assert!(check_alert(&program).is_ok());
        fs::set_permissions(&program, Permissions::from_mode(0o777)).unwrap();
        assert!(check_alert(&program).is_err(), "everybody may change it");

        let configuration = directory.path().join("systrail.toml");
        fs::write(&configuration, "").unwrap();
        assert!(configuration_at(&configuration).is_ok());
        fs::set_permissions(&configuration, Permissions::from_mode(0o666)).unwrap();
        assert!(configuration_at(&configuration).is_err());
    }
}

//! The data directory: what is recorded, and the configuration with which a service runs as SYSTEM.
//!
//! It stands in `%ProgramData%`, where everybody may make directories. So one that was there before
//! is no place for either unless nobody else could change it: closing it would neither take back
//! files that its maker put there, which he reaches without listing the directory, nor handles that
//! he holds.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::place::{exposure_by, exposure_of, without_links};
use crate::service::write_access::Part;
use crate::sys::directory::{self, Directory};

/// Makes the directory where it is not there, and closes it to all but the system and
/// administrators. One that somebody else could change is refused, and so is a link to another
/// place.
pub fn protect(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        fs::create_dir_all(above)?;
    }
    match directory::create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        created => return created,
    }
    let directory = Directory::open(path)?;
    if directory.is_link()? {
        return Err(io::Error::other(
            "it is a link to another place; remove it, for what is recorded must not go there",
        ));
    }
    if let Some(exposure) = exposure_by(path, &directory.security()?, Part::Directory) {
        return Err(io::Error::other(format!(
            "it was there before, and {exposure}: neither a configuration nor a recording that is \
             in it can be trusted; look into it, then move it away"
        )));
    }
    directory.close_to_others()
}

/// The path, without links, of a configuration file that nobody else can change. It says where an
/// administrator's program writes.
pub fn trusted(configuration: &Path) -> io::Result<PathBuf> {
    let path = without_links(configuration)?;
    match exposure_of(&path)? {
        None => Ok(path),
        Some(exposure) => Err(io::Error::other(format!(
            "{exposure}, and whoever does so chooses what this program does with an \
             administrator's rights; look into it, then move it away, or name it with --config"
        ))),
    }
}

/// Fails where a program that is run with an administrator's rights could be changed by others.
pub fn of_nobody_else(program: &Path) -> io::Result<()> {
    match exposure_of(&without_links(program)?)? {
        None => Ok(()),
        Some(exposure) => Err(io::Error::other(format!(
            "{exposure}, and whoever does so chooses what is run with an administrator's rights; put it \
             where administrators alone may write"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_made_once_and_closed_again() {
        let place = std::env::temp_dir().join(format!("systrail-data-{}", std::process::id()));
        let below = place.join("below");
        let outcomes = [protect(&below), protect(&below)];
        fs::remove_dir_all(&place).unwrap();
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    }
}

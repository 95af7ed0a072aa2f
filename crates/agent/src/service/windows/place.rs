//! Where a program that is to run as SYSTEM, or a driver, is taken from: a place that nobody but the
//! system and administrators can change. Who else could would choose what runs there.

use std::fmt;
use std::io;
use std::path::{Component, Path, PathBuf, Prefix};

use super::Error;
use crate::enrich::user::sid_text;
use crate::service::write_access::{self, Exposed, Part};
use crate::sys::{security, users};

/// What places will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One that is the system's and the administrators' alone.
    Protected,
    /// Any: whoever asks for it takes the risk.
    Anywhere,
}

impl Origin {
    /// The whole path of `file`, which will do.
    pub(super) fn take(self, file: &Path) -> Result<PathBuf, Error> {
        let at_file = |source| Error::Io {
            what: file.display().to_string(),
            source,
        };
        match self {
            // Without the `\\?\` that `canonicalize` would put before it.
            Self::Anywhere => std::path::absolute(file).map_err(at_file),
            Self::Protected => {
                let path = without_links(file).map_err(at_file)?;
                check(&path)?;
                Ok(path)
            }
        }
    }
}

/// The path that the file is at now, by its drive letter. A link on the way could be led elsewhere
/// later, wherever the file is.
pub(super) fn without_links(file: &Path) -> io::Result<PathBuf> {
    let path = file.canonicalize()?;
    let mut parts = path.components();
    let Some(Component::Prefix(prefix)) = parts.next() else {
        return Ok(path);
    };
    let Prefix::VerbatimDisk(letter) = prefix.kind() else {
        return Err(io::Error::other(
            "it is on no drive of this machine; copy it to one",
        ));
    };
    let drive = format!("{}:", char::from(letter));
    Ok(Path::new(&drive).join(parts.as_path()))
}

fn check(file: &Path) -> Result<(), Error> {
    let exposure = exposure_of(file).map_err(|source| Error::Io {
        what: format!("who may change {}", file.display()),
        source,
    })?;
    match exposure {
        None => Ok(()),
        Some(exposure) => Err(Error::Exposed {
            file: file.to_owned(),
            exposure,
        }),
    }
}

/// What others could change, and how.
#[derive(Debug)]
pub struct Exposure {
    place: PathBuf,
    exposed: Exposed,
}

impl fmt::Display for Exposure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.display().to_string();
        formatter.write_str(&self.exposed.words(&place, name))
    }
}

/// Looks from the root down: once nobody else can change what stands above, what stands below is
/// what will be found there later.
pub(super) fn exposure_of(file: &Path) -> io::Result<Option<Exposure>> {
    let from_file_up: Vec<&Path> = file.ancestors().collect();
    for (depth, place) in from_file_up.into_iter().enumerate().rev() {
        let part = match depth {
            0 => Part::File,
            1 => Part::Directory,
            _ => Part::Above,
        };
        let exposure = exposure_by(place, &security::at(place)?, part);
        if exposure.is_some() {
            return Ok(exposure);
        }
    }
    Ok(None)
}

/// What others could change of `place`, by its descriptor.
pub(super) fn exposure_by(place: &Path, descriptor: &[u8], part: Part) -> Option<Exposure> {
    let verdict = write_access::check(descriptor, part);
    verdict.err().map(|exposed| Exposure {
        place: place.to_owned(),
        exposed,
    })
}

fn name(sid: &[u8]) -> String {
    users::name_of_sid(sid)
        .ok()
        .flatten()
        .or_else(|| sid_text(sid).map(|text| text.to_string()))
        .unwrap_or_else(|| "somebody unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_taken_with_its_drive_letter_and_without_detours() {
        let program = std::env::current_exe().unwrap();
        let directory = program.parent().unwrap();
        let name = program.file_name().unwrap();
        let detour = directory.join("..").join(directory.file_name().unwrap());
        let taken = without_links(&detour.join(name)).unwrap();
        let text = taken.to_str().unwrap();
        assert_eq!(text.get(1..3), Some(r":\"), "{text}");
        assert!(!text.contains(".."), "{text}");
        assert_eq!(
            taken.canonicalize().unwrap(),
            program.canonicalize().unwrap()
        );
    }

    #[test]
    fn what_is_not_there_is_told_with_its_name() {
        let absent = Path::new(r"C:\no such directory\systrail.sys");
        let error = Origin::Protected.take(absent).unwrap_err().to_string();
        assert!(error.contains("no such directory"), "{error}");
    }
}

//! Who beside root could change a file, or what a path leads to: by owners and permissions.
//!
//! What root writes must not land where another user has it lead, and what root runs or reads its
//! orders from must not be another user's. For who is not root there is nothing to protect: all of
//! it is his own right.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

const ROOT: u32 = 0;
const STICKY: u32 = 0o1000;
const GROUP_MAY_WRITE: u32 = 0o020;
const EVERYBODY_MAY_WRITE: u32 = 0o002;

/// What others could change, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    place: PathBuf,
    how: How,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Owned(u32),
    Link(u32),
    Group(u32),
    Everybody,
}

impl fmt::Display for Exposure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place.display();
        match self.how {
            How::Owned(id) => write!(formatter, "{place} belongs to the user {id}"),
            How::Link(id) => write!(formatter, "{place} is a link of the user {id}"),
            How::Group(id) => write!(formatter, "the group {id} may change {place}"),
            How::Everybody => write!(formatter, "everybody may change {place}"),
        }
    }
}

/// Whether this program has root's rights to lend.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// What is wrong with a file that root appends to: it is another user's, a link on its way is, or
/// everybody may put one there. A directory of one user will do: he chose to have root's log there,
/// and a link or a file that he puts in its place is refused.
pub fn of_log(path: &Path) -> Option<Exposure> {
    on_the_way(path, &of_directory_above).or_else(|| {
        let there = fs::metadata(path).ok()?;
        (there.is_file() && there.uid() != ROOT).then(|| owned(path, &there))
    })
}

/// What is wrong with a path that is a link, or has one on its way: it is another user's, who chooses
/// what root writes over.
pub fn of_link(path: &Path) -> Option<Exposure> {
    on_the_way(path, &|_, _| None)
}

/// What is wrong with an open file that root appends to.
pub fn of_open_log(path: &Path, file: &Metadata) -> Option<Exposure> {
    (file.uid() != ROOT).then(|| owned(path, file))
}

/// What is wrong with a directory in which root keeps files: it is to be root's alone.
pub fn of_directory(path: &Path) -> Option<Exposure> {
    on_the_way(path, &of_directory_above).or_else(|| of_own(path, &fs::metadata(path).ok()?))
}

/// What is wrong with a file from which root takes orders, or which it runs: it and all above it are
/// to be root's alone.
///
/// # Errors
/// When the file is not there, or cannot be looked at.
pub fn of_trusted(file: &Path) -> io::Result<Option<Exposure>> {
    let there = fs::metadata(file)?;
    let of_above = |place: &Path, above: &Metadata| {
        if is_shared_safely(above) {
            return None;
        }
        of_own(place, above)
    };
    Ok(on_the_way(file, &of_above).or_else(|| of_own(file, &there)))
}

/// Looks at all that stands above a file, by the path that was given and by the one without links,
/// from the root down, and at each link. What cannot be looked at is told by who opens it.
fn on_the_way(
    path: &Path,
    of_above_fn: &dyn Fn(&Path, &Metadata) -> Option<Exposure>,
) -> Option<Exposure> {
    let given = std::path::absolute(path).ok()?;
    // Of what is not there yet, as far as it is.
    let real = given.canonicalize().ok().or_else(|| {
        let there = given
            .ancestors()
            .find_map(|above| above.canonicalize().ok())?;
        Some(there.join("new"))
    });
    let ways = [Some(&given), real.as_ref()];
    ways.into_iter().flatten().find_map(|way| {
        let from_file_up: Vec<&Path> = way.ancestors().collect();
        from_file_up.into_iter().rev().find_map(|place| {
            let there = fs::symlink_metadata(place).ok()?;
            if there.is_symlink() {
                let how = How::Link(there.uid());
                return (there.uid() != ROOT).then(|| exposure(place, how));
            }
            let is_above = place != way.as_path() && there.is_dir();
            is_above.then(|| of_above_fn(place, &there)).flatten()
        })
    })
}

/// A directory that everybody may write is refused, but for one like `/tmp`.
fn of_directory_above(place: &Path, there: &Metadata) -> Option<Exposure> {
    let is_open = there.mode() & EVERYBODY_MAY_WRITE != 0 && !is_shared_safely(there);
    is_open.then(|| exposure(place, How::Everybody))
}

/// Whether it is as `/tmp` is: nobody but root can move what is not his.
fn is_shared_safely(there: &Metadata) -> bool {
    there.uid() == ROOT && there.mode() & STICKY != 0
}

fn of_own(place: &Path, there: &Metadata) -> Option<Exposure> {
    if there.uid() != ROOT {
        return Some(owned(place, there));
    }
    if there.mode() & EVERYBODY_MAY_WRITE != 0 {
        return Some(exposure(place, How::Everybody));
    }
    let is_groups = there.mode() & GROUP_MAY_WRITE != 0 && there.gid() != ROOT;
    is_groups.then(|| exposure(place, How::Group(there.gid())))
}

fn owned(place: &Path, there: &Metadata) -> Exposure {
    exposure(place, How::Owned(there.uid()))
}

fn exposure(place: &Path, how: How) -> Exposure {
    Exposure {
        place: place.to_owned(),
        how,
    }
}

#[cfg(test)]
mod tests;

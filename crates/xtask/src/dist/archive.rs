//! Archives whose bytes depend on nothing but their contents: names in order, one time for all, the
//! rights of any file, no owner. GNU tar, gzip and Info-ZIP do the packing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};

use crate::command::{program, read, run};

/// Programs among the contents; everything else is only read.
const PROGRAMS: &[&str] = &["systrail"];

/// Copies the contents into a directory `name` below `out`, all with the time of the commit.
pub(super) fn stage(
    out: &Path,
    name: &str,
    contents: &[(PathBuf, &'static str)],
) -> Result<PathBuf> {
    stage_at(out, name, contents, commit_time()?)
}

fn stage_at(
    out: &Path,
    name: &str,
    contents: &[(PathBuf, &'static str)],
    time: SystemTime,
) -> Result<PathBuf> {
    const PROGRAM: u32 = 0o755;
    const DATA: u32 = 0o644;
    let staged = out.join(name);
    for (from, to) in contents {
        let target = staged.join(to);
        fs::create_dir_all(target.parent().unwrap_or(&staged))?;
        fs::copy(from, &target).with_context(|| format!("copying {}", from.display()))?;
        let mode = if PROGRAMS.contains(to) { PROGRAM } else { DATA };
        fs::set_permissions(&target, fs::Permissions::from_mode(mode))?;
        File::options()
            .write(true)
            .open(&target)?
            .set_modified(time)?;
    }
    Ok(staged)
}

fn commit_time() -> Result<SystemTime> {
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(commit_seconds()?))
}

/// The time of the last commit, or what `SOURCE_DATE_EPOCH` says, in seconds since the epoch.
pub(super) fn commit_seconds() -> Result<u64> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(seconds) => seconds,
        Err(_) => read(program("git").args(["log", "-1", "--format=%ct"]))?,
    };
    let seconds = seconds.trim().parse();
    seconds.context("the time of the commit is no number of seconds")
}

/// Packs a staged directory and returns the name of the archive.
pub(super) fn tarball(out: &Path, staged: &Path) -> Result<String> {
    let (directory, archive) = names(staged, "tar.gz")?;
    let files = files(out, &directory)?;
    run(program("tar")
        .current_dir(out)
        .args(["--create", "--format=ustar", "--owner=0", "--group=0"])
        // gzip would write name and time of its input.
        .args(["--numeric-owner", "--use-compress-program=gzip -n -9"])
        .arg(format!("--file={archive}"))
        .args(&files))?;
    Ok(archive)
}

/// The same for Windows.
pub(super) fn zip(out: &Path, staged: &Path) -> Result<String> {
    let (directory, archive) = names(staged, "zip")?;
    let files = files(out, &directory)?;
    run(program("zip")
        .current_dir(out)
        // No owners, and times as they are in one zone.
        .args(["-X", "-9", "--quiet", &archive])
        .args(&files)
        .env("TZ", "UTC"))
    .context("packing; it needs zip (`cargo xtask setup`)")?;
    Ok(archive)
}

fn names(staged: &Path, extension: &str) -> Result<(String, String)> {
    let name = staged.file_name().and_then(|name| name.to_str());
    let name = name.context("a staged directory has a name")?;
    Ok((name.to_owned(), format!("{name}.{extension}")))
}

/// The files below a directory, in order, as an archive names them.
fn files(out: &Path, directory: &str) -> Result<Vec<String>> {
    let mut files = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(out.join(&directory))? {
            let entry = entry?;
            let name = format!("{directory}/{}", entry.file_name().to_string_lossy());
            if entry.file_type()?.is_dir() {
                open.push(name);
            } else {
                files.push(name);
            }
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Writes `SHA256SUMS`, as `sha256sum --check` takes it.
pub(super) fn checksums(out: &Path, files: &[String]) -> Result<()> {
    let sums = read(program("sha256sum").current_dir(out).args(files))?;
    fs::write(out.join("SHA256SUMS"), sums).context("writing SHA256SUMS")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs two files, made in the order given, and returns the archive's bytes.
    fn packed(order: [&'static str; 2], pack_fn: fn(&Path, &Path) -> Result<String>) -> Vec<u8> {
        let place = tempfile::tempdir().unwrap();
        let contents = order.map(|name| {
            let file = place.path().join(format!("{name}.source"));
            fs::write(&file, name).unwrap();
            (file, name)
        });
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let staged = stage_at(place.path(), "a-1", &contents, time).unwrap();
        let archive = pack_fn(place.path(), &staged).unwrap();
        fs::read(place.path().join(archive)).unwrap()
    }

    #[test]
    fn the_same_contents_give_the_same_tarball() {
        let one = packed(["systrail", "README.md"], tarball);
        assert!(!one.is_empty());
        assert!(one == packed(["README.md", "systrail"], tarball));
    }

    #[test]
    fn a_program_can_be_started_and_a_text_cannot() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("source");
        fs::write(&file, "").unwrap();
        let contents = [(file.clone(), "systrail"), (file, "README.md")];
        let staged = stage_at(place.path(), "a-1", &contents, SystemTime::UNIX_EPOCH).unwrap();
        let mode = |name: &str| {
            let metadata = fs::metadata(staged.join(name)).unwrap();
            metadata.permissions().mode() & 0o777
        };
        assert_eq!((mode("systrail"), mode("README.md")), (0o755, 0o644));
    }
}

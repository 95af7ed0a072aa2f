//! Packages of Debian's archive: of the releases this machine has lists for, and of others, whose lists
//! are kept under `target/vm` and checked with the same keys.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::architecture::Architecture;
use crate::command::{program, read, run};
use crate::workspace;

/// Who signs the archive's releases, also those this machine does not use.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages come from.
pub(super) struct Archive {
    /// apt's options for its lists; none for the machine's own.
    options: Vec<String>,
}

impl Archive {
    /// The packages for `architecture` of the release of that name, such as `bullseye-security`; of the
    /// machine's own releases for `None`.
    pub(super) fn of(release: Option<&str>, architecture: &Architecture) -> Result<Self> {
        let is_for_host = architecture.target.is_none();
        if release.is_none() && is_for_host {
            return Ok(Self {
                options: Vec::new(),
            });
        }
        let name = match release {
            Some(release) if is_for_host => release.to_owned(),
            Some(release) => format!("{release}-{}", architecture.name),
            None => architecture.name.to_owned(),
        };
        let directory = workspace::target().join("vm/apt").join(name);
        fs::create_dir_all(directory.join("lists/partial"))?;
        fs::create_dir_all(directory.join("cache/archives/partial"))?;
        let sources = directory.join("sources.list");
        fs::write(&sources, sources_of(release)?)?;
        let option = |name: &str, value: &Path| format!("Dir::{name}={}", value.display());
        let options = vec![
            option("State::lists", &directory.join("lists")),
            option("Cache", &directory.join("cache")),
            option("Etc::sourcelist", &sources),
            option("Etc::sourceparts", Path::new("/dev/null")),
            // What is installed here has no bearing on a kernel that is not.
            option("State::status", Path::new("/dev/null")),
            format!("APT::Architecture={}", architecture.name),
            format!("APT::Architectures={}", architecture.name),
        ];
        Ok(Self { options })
    }

    /// The newest build of a kernel: the package on which `package` depends.
    pub(super) fn newest_kernel(&self, package: &str) -> Result<String> {
        let depends = read(
            self.apt("apt-cache")
                .args(["depends", "--important", package])
                .env("LC_ALL", "C"),
        )?;
        depends
            .lines()
            .find_map(|line| line.trim().strip_prefix("Depends: linux-image-"))
            .map(|rest| format!("linux-image-{rest}"))
            .with_context(|| format!("{package} depends on no kernel"))
    }

    /// Reads the archive's lists again, which needs root for the machine's own.
    pub(super) fn refresh(&self) -> Result<()> {
        run(self.apt("apt-get").args(["update", "--quiet"]))
    }

    /// Whether it has that package.
    pub(super) fn has(&self, package: &str) -> bool {
        read(self.apt("apt-cache").args(["show", package])).is_ok()
    }

    /// Unpacks a package into a directory.
    pub(super) fn unpack(&self, package: &str, directory: &Path) -> Result<()> {
        let downloads = workspace::target().join("vm/download");
        if downloads.exists() {
            fs::remove_dir_all(&downloads)?;
        }
        fs::create_dir_all(&downloads)?;
        run(self
            .apt("apt-get")
            .args(["download", "--quiet", package])
            .current_dir(&downloads))?;
        let packages: Vec<PathBuf> = fs::read_dir(&downloads)?
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<_>>()?;
        ensure!(!packages.is_empty(), "apt downloaded nothing of {package}");
        fs::create_dir_all(directory)?;
        for path in packages {
            run(program("dpkg-deb")
                .arg("--extract")
                .arg(path)
                .arg(directory))?;
        }
        fs::remove_dir_all(&downloads).context("cannot remove the download")
    }

    fn apt(&self, name: &str) -> Command {
        let mut command = program(name);
        // As root, apt would hand the work to a user who may not write here.
        command.args(["--option", "APT::Sandbox::User=root"]);
        for option in &self.options {
            command.args(["--option", option]);
        }
        command
    }
}

/// The lines that name a release to apt, or the releases of this machine.
fn sources_of(release: Option<&str>) -> Result<String> {
    let targets = read(program("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI) $(RELEASE)",
        "Created-By: Packages",
    ]))?;
    let own: BTreeSet<(&str, &str)> = debian_among(&targets).collect();
    let Some(release) = release else {
        ensure!(
            !own.is_empty(),
            "this machine's package sources name no release of Debian"
        );
        return Ok(own.into_iter().map(line).collect());
    };
    let site = site_among(&targets, release)
        .with_context(|| format!("this machine's package sources do not say where {release} is"))?;
    Ok(line((site, release)))
}

fn line((site, release): (&str, &str)) -> String {
    format!("deb [signed-by={KEYRING}] {site} {release} main\n")
}

/// The address of the releases for security, or of the others: where this machine's own of the same sort are.
fn site_among<'t>(targets: &'t str, release: &str) -> Option<&'t str> {
    let is_security = |name: &str| name.ends_with("-security");
    let mut releases = debian_among(targets);
    releases
        .find(|(_, own)| is_security(own) == is_security(release))
        .map(|(site, _)| site)
}

/// The addresses and names of Debian's releases.
fn debian_among(targets: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_debian = |name: &str| {
        let codename = name.split('-').next();
        codename.is_some_and(|codename| ["bookworm", "trixie", "forky"].contains(&codename))
    };
    let releases = targets.lines().filter_map(|line| line.split_once(' '));
    releases.filter(move |(_, own)| is_debian(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_where_those_of_its_sort_are() {
        let targets = "http://other/ nodistro\nhttp://a/main/ bookworm\nhttp://a/main/ \
                       bookworm-updates\nhttp://a/security/ bookworm-security\n";
        let site = |release| site_among(targets, release);
        assert_eq!(site("trixie-backports"), Some("http://a/main/"));
        assert_eq!(site("bullseye-security"), Some("http://a/security/"));
        assert_eq!(site_among("http://other/ nodistro\n", "bullseye"), None);
        let own: Vec<&str> = debian_among(targets).map(|(_, release)| release).collect();
        assert_eq!(own, ["bookworm", "bookworm-updates", "bookworm-security"]);
    }
}

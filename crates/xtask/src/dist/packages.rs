//! The packages of Linux distributions: `.deb` and `.rpm`, of the same files.
//!
//! `dpkg-deb` and `rpmbuild` write them, which are those formats' own: what they take, the distributions take,
//! and a scratch root installs it (`tests.rs`). The metadata is in `packaging/linux`.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::Contents;
use crate::command::{program, run};
use crate::workspace;

/// What is packed.
pub(super) struct Parts {
    /// The program.
    pub(super) program: PathBuf,
    /// A directory with the pages of the manual.
    pub(super) manual: PathBuf,
    /// A directory with the scripts for `bash`, `fish` and `zsh`, so named.
    pub(super) completions: PathBuf,
    /// Documents and licences, with their names below `/usr/share/doc/systrail`.
    pub(super) documents: Contents,
    pub(super) version: String,
    /// The time of everything in it, in seconds since the epoch.
    pub(super) time: String,
}

/// What the two formats have in different places.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Deb,
    Rpm,
}

const PROGRAM: u32 = 0o755;
const DATA: u32 = 0o644;

/// Writes both beside the other archives, and returns their names.
pub(super) fn write(out: &Path, parts: &Parts) -> Result<Vec<String>> {
    Ok(vec![deb(out, parts)?, rpm(out, parts)?])
}

/// Writes the package for Debian and those that come from it.
pub(super) fn deb(out: &Path, parts: &Parts) -> Result<String> {
    let name = format!("systrail_{}_amd64.deb", parts.version);
    let staged = stage(out, parts, Format::Deb)?;
    let control = staged.join("DEBIAN");
    fs::create_dir(&control)?;
    fs::write(control.join("control"), deb_control(&staged, parts)?)?;
    fs::write(control.join("conffiles"), "/etc/systrail/systrail.toml\n")?;
    for script in ["preinst", "postinst", "prerm", "postrm"] {
        let from = metadata(&format!("deb/{script}"));
        copy(&from, &control.join(script), PROGRAM)?;
    }
    run(program("dpkg-deb")
        // More threads would cut what they compress at other places.
        .args(["--root-owner-group", "-Zxz", "--threads-max=1", "--build"])
        .arg(&staged)
        .arg(out.join(&name))
        .env("SOURCE_DATE_EPOCH", &parts.time)
        .stdout(std::process::Stdio::null()))
    .context("packing; it needs dpkg (`cargo xtask setup`)")?;
    fs::remove_dir_all(&staged)?;
    Ok(name)
}

/// Writes the package for Fedora, openSUSE and those that come from them.
pub(super) fn rpm(out: &Path, parts: &Parts) -> Result<String> {
    let name = format!("systrail-{}-1.x86_64.rpm", parts.version);
    let staged = stage(out, parts, Format::Rpm)?;
    let work = out.join("rpm");
    let spec = fs::read_to_string(metadata("systrail.spec"))?;
    fs::create_dir_all(&work)?;
    let filled = work.join("systrail.spec");
    fs::write(&filled, spec.replace("@VERSION@", &parts.version))?;
    let mut command = program("rpmbuild");
    command.args(["-bb", "--quiet", "--target=x86_64-linux"]);
    let (out_text, work_text) = (out.display().to_string(), work.display().to_string());
    for (macro_name, value) in [
        ("_topdir", work_text.as_str()),
        ("_rpmdir", &out_text),
        ("_rpmfilename", &name),
        ("staged", &staged.display().to_string()),
        ("_binary_payload", "w6.xzdio"),
        ("_buildhost", "systrail"),
        ("use_source_date_epoch_as_buildtime", "1"),
        ("clamp_mtime_to_source_date_epoch", "1"),
        ("source_date_epoch_from_changelog", "0"),
    ] {
        command.args(["--define", &format!("{macro_name} {value}")]);
    }
    command.arg(&filled).env("SOURCE_DATE_EPOCH", &parts.time);
    run(&mut command).context("packing; it needs rpm (`cargo xtask setup`)")?;
    fs::remove_dir_all(&staged)?;
    fs::remove_dir_all(&work)?;
    Ok(name)
}

/// Puts everything where it is to be, below a directory that stands for the root.
fn stage(out: &Path, parts: &Parts, format: Format) -> Result<PathBuf> {
    let staged = out.join("root");
    let share = staged.join("usr/share");
    copy(&parts.program, &staged.join("usr/bin/systrail"), PROGRAM)?;
    let units = staged.join("usr/lib/systemd/system");
    let unit = workspace::root().join("crates/agent/assets/systrail.service");
    copy(&unit, &units.join("systrail.service"), DATA)?;
    for (from, to) in [
        ("group.conf", units.join("systrail.service.d/group.conf")),
        (
            "sysusers.conf",
            staged.join("usr/lib/sysusers.d/systrail.conf"),
        ),
        ("systrail.toml", staged.join("etc/systrail/systrail.toml")),
        ("copyright", share.join("doc/systrail/copyright")),
    ] {
        copy(&metadata(from), &to, DATA)?;
    }
    let zsh = match format {
        Format::Deb => "zsh/vendor-completions/_systrail",
        Format::Rpm => "zsh/site-functions/_systrail",
    };
    for (shell, to) in [
        ("bash", "bash-completion/completions/systrail"),
        ("fish", "fish/vendor_completions.d/systrail.fish"),
        ("zsh", zsh),
    ] {
        copy(&parts.completions.join(shell), &share.join(to), DATA)?;
    }
    for (from, to) in &parts.documents {
        copy(from, &share.join("doc/systrail").join(to), DATA)?;
    }
    manual(&parts.manual, &share.join("man/man1"))?;
    Ok(staged)
}

/// Packs each page, as both formats want it.
fn manual(from: &Path, to: &Path) -> Result<()> {
    let mut pages = Vec::new();
    for entry in fs::read_dir(from)? {
        let page = entry?.file_name();
        copy(&from.join(&page), &to.join(&page), DATA)?;
        pages.push(page);
    }
    pages.sort_unstable();
    // gzip would write name and time of its input.
    run(program("gzip")
        .current_dir(to)
        .args(["-n", "-9"])
        .args(&pages))
}

fn metadata(name: &str) -> PathBuf {
    workspace::root().join("packaging/linux").join(name)
}

fn copy(from: &Path, to: &Path, mode: u32) -> Result<()> {
    if let Some(directory) = to.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::copy(from, to).with_context(|| format!("copying {}", from.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
    Ok(())
}

fn deb_control(staged: &Path, parts: &Parts) -> Result<String> {
    let program = fs::read(&parts.program)?;
    let depends = match glibc_version(&program) {
        Some((major, minor)) => format!("Depends: libc6 (>= {major}.{minor}), libgcc-s1\n"),
        None => String::new(),
    };
    let size = size_of(staged)?.div_ceil(1024);
    let version = &parts.version;
    Ok(format!(
        "Package: systrail\nVersion: {version}\nArchitecture: amd64\nSection: admin\nPriority: optional\n\
         Maintainer: The SysTrail developers <https://github.com/systrail/systrail/issues>\n\
         Homepage: https://github.com/systrail/systrail\nInstalled-Size: {size}\n{depends}\
         Description: records what a machine runs, straight from the kernel\n \
         Every process start, exec and exit, every thread, every image load: enriched,\n \
         accounted for to the event, kept as JSON Lines and in a store that answers SQL.\n"
    ))
}

/// The newest version of the C library whose functions the program has.
fn glibc_version(program: &[u8]) -> Option<(u32, u32)> {
    const MARK: &[u8] = b"GLIBC_";
    let found = program.windows(MARK.len()).enumerate();
    let versions = found
        .filter(|(_, part)| *part == MARK)
        .filter_map(|(at, _)| {
            let rest = program.get(at + MARK.len()..)?;
            let size = rest
                .iter()
                .position(|byte| !byte.is_ascii_digit() && *byte != b'.')?;
            let (major, minor) = std::str::from_utf8(rest.get(..size)?)
                .ok()?
                .split_once('.')?;
            let minor = minor.split('.').next()?;
            Some((major.parse().ok()?, minor.parse().ok()?))
        });
    versions.max()
}

/// Bytes of all files below a directory.
fn size_of(directory: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            size += entry.metadata()?.len();
        } else if entry.file_name() != OsStr::new("DEBIAN") {
            size += size_of(&entry.path())?;
        }
    }
    Ok(size)
}

#[cfg(test)]
mod tests;

//! The machine whose first process is systemd: Debian's own, from this host, with the agent's service and
//! nothing else to do. What `systemctl reload` is can be asked of nobody else.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::architecture::AMD64;
use super::executables::Executables;
use super::initramfs::{self, Archive};

/// What its results go by.
pub(super) const TEST: &str = "systemd";

/// What it says to itself beside what every kernel is told.
pub(super) const ARGUMENTS: &str = "systemd.unit=story.target systemd.show_status=no";

const STORY: &str = include_str!("systemd.sh");

/// Where units are, from the root.
const DIRECTORY: &str = "usr/lib/systemd/system";

const PROGRAMS: &[&str] = &[
    "/usr/bin/busybox",
    "/usr/bin/kill",
    "/usr/bin/systemctl",
    "/usr/bin/true",
    "/usr/lib/systemd/systemd",
    "/usr/lib/systemd/systemd-journald",
    "/usr/lib/systemd/systemd-shutdown",
];

/// Of the units the host has, those that the agent's own and these need.
const UNITS: &[&str] = &[
    "basic.target",
    "multi-user.target",
    "reboot.target",
    "shutdown.target",
    "sysinit.target",
    "systemd-journald-dev-log.socket",
    "systemd-journald.service",
    "systemd-journald.socket",
    "umount.target",
];

const TARGET: &str = "[Unit]\nWants=story.service\nAllowIsolate=yes\n";

const SERVICE: &str = "\
[Unit]
DefaultDependencies=no
Wants=systemd-journald.socket
After=systemd-journald.socket
FailureAction=reboot-force
[Service]
Type=oneshot
ExecStart=/story
TimeoutStartSec=1200
StandardOutput=tty
StandardError=tty
TTYPath=/dev/console
";

/// The file system of the machine.
pub(super) fn archive(executables: &Executables) -> Result<Archive> {
    let mut archive = initramfs::empty();
    for program in PROGRAMS {
        archive
            .program(Path::new(program))
            .with_context(|| format!("{program}: run `cargo xtask setup`"))?;
    }
    for unit in UNITS {
        let path = Path::new(DIRECTORY).join(unit);
        let text = fs::read(Path::new("/").join(&path));
        archive.file(&path, text.with_context(|| unit.to_owned())?, false);
    }
    for executable in &executables.programs {
        let at = Path::new("/usr/bin").join(&executable.name);
        archive.stripped_program(&executable.path, &at, &AMD64)?;
    }
    for (path, text) in [
        ("etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
        ("etc/os-release", "ID=machine\n"),
    ] {
        archive.file(Path::new(path), text.into(), false);
    }
    for (name, text) in [("story.target", TARGET), ("story.service", SERVICE)] {
        archive.file(&Path::new(DIRECTORY).join(name), text.into(), false);
    }
    archive.file(Path::new("story"), STORY.into(), true);
    archive.link(Path::new("init"), "usr/lib/systemd/systemd");
    Ok(archive)
}

//! The file system of the machine: an archive in cpio's `newc` format, which the kernel unpacks
//! into memory. Its layout is the kernel's `Documentation/driver-api/early-userspace/buffer-format`.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::architecture::Architecture;
use super::executables::{Executable, Executables};
use super::foreign;
use crate::command::{program, read, run};
use crate::workspace;

/// Programs of the host that tests start. They are the host's own, dynamically linked ones, so that
/// an interpreter and libraries are loaded as on any system.
const PROGRAMS: &[&str] = &[
    "bash", "cat", "chmod", "cp", "dash", "date", "echo", "env", "false", "grep", "head", "id",
    "kill", "ln", "ls", "mkdir", "mv", "nice", "ps", "rm", "sed", "seq", "setsid", "sh", "sleep",
    "sort", "stat", "strace", "tail", "tee", "timeout", "touch", "true", "uname", "unshare", "wc",
    "xargs",
];

/// What bash and others are without: links of a merged `/usr`.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("usr/bin/awk", "busybox"),
];

/// Empty directories: where file systems are mounted, and what programs expect.
const DIRECTORIES: &[&str] = &[
    "dev",
    "etc",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr/bin",
    "usr/lib",
    "usr/lib64",
    "usr/sbin",
    "var/lib",
    "var/log",
];

/// The users of the machine; `nobody` is who unprivileged tests run as.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n";
const GROUP: &str = "root:x:0:\nnogroup:x:65534:\n";

/// Of twenty thousand processes, the host's tests start all; an emulated machine some hundreds.
const TEST_SCALE: &str = "0.02";

/// How long one test executable may run in the machine, in seconds.
const TEST_TIME_MAX: u32 = 2500;

/// Builds the archive that runs these tests and nothing else.
pub(super) fn of(
    architecture: &Architecture,
    executables: &Executables,
    filter: Option<&str>,
) -> Result<Archive> {
    let mut archive = empty();
    archive.file(
        Path::new("init"),
        init(&executables.tests, filter).into(),
        true,
    );
    if architecture.target.is_some() {
        archive.foreign_system(architecture)?;
    } else {
        archive.own_system()?;
    }
    for executable in executables.tests.iter().chain(&executables.programs) {
        archive.stripped_program(&executable.path, &executable.path, architecture)?;
    }
    archive.tree(&workspace::root().join("crates/agent/tests"))?;
    Ok(archive)
}

/// What every machine has.
pub(super) fn empty() -> Archive {
    let mut archive = Archive::default();
    for directory in DIRECTORIES {
        archive.directory(Path::new(directory));
    }
    for (from, to) in LINKS {
        archive.link(Path::new(from), to);
    }
    archive.file(Path::new("etc/passwd"), PASSWD.into(), false);
    archive.file(Path::new("etc/group"), GROUP.into(), false);
    archive
}

/// The first process: mounts what programs expect, runs the tests in turn, restarts.
fn init(tests: &[Executable], filter: Option<&str>) -> String {
    let package = workspace::root().join("crates/agent");
    let mut lines = vec![
        String::from("#!/usr/bin/busybox sh"),
        String::from("export PATH=/usr/bin:/usr/sbin HOME=/root RUST_BACKTRACE=1"),
        // Nothing may be skipped but what needs a whole system, and large counts are smaller.
        format!("export CI=true SYSTRAIL_VM=1 SYSTRAIL_TEST_SCALE={TEST_SCALE}"),
        format!("export CARGO_MANIFEST_DIR={}", package.display()),
    ];
    for (kind, place) in [
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("devtmpfs", "/dev"),
        ("tmpfs", "/run"),
        ("tracefs", "/sys/kernel/tracing"),
        ("securityfs", "/sys/kernel/security"),
        ("bpf", "/sys/fs/bpf"),
        ("cgroup2", "/sys/fs/cgroup"),
    ] {
        lines.push(format!("busybox mount -t {kind} {kind} {place}"));
    }
    lines.push(String::from("busybox mkdir /dev/pts"));
    lines.push(String::from("busybox mount -t devpts devpts /dev/pts"));
    lines.push(String::from("busybox ln -s /proc/self/fd /dev/fd"));
    lines.push(String::from("busybox ip link set lo up"));
    lines.push(String::from("busybox hostname machine"));
    // No file system of its own: a clone in /tmp on the host is at the same place here.
    lines.push(String::from("busybox chmod 1777 /tmp"));
    lines.push(String::from("ulimit -c 0"));
    lines.push(String::from(
        "echo \"vm: kernel $(busybox uname -r), security $(busybox cat /sys/kernel/security/lsm)\"",
    ));
    lines.push(format!("cd {}", package.display()));
    for test in tests {
        // The machine is told which of them it is for.
        lines.push(format!("case \",$tests,\" in *,{},*)", test.name));
        lines.push(format!("echo 'vm: begin {}'", test.name));
        // One test at a time: two emulated processors are slow enough for one.
        lines.push(format!(
            "busybox timeout {TEST_TIME_MAX} {} --test-threads=1 {} </dev/null 2>&1",
            test.path.display(),
            filter.unwrap_or("$(echo $filters | busybox tr , ' ')"),
        ));
        lines.push(format!("echo \"vm: end {} $?\"", test.name));
        lines.push(String::from(";; esac"));
    }
    lines.push(String::from("busybox reboot -f\n"));
    lines.join("\n")
}

/// The file of that program on the host.
fn find(name: &str) -> Result<PathBuf> {
    ["/usr/bin", "/usr/sbin", "/bin", "/sbin"]
        .iter()
        .map(|directory| Path::new(directory).join(name))
        .find(|path| path.exists())
        .with_context(|| format!("{name} is not installed; run `cargo xtask setup`"))
}

/// A file system in the making. Paths are those of the machine, from its root.
#[derive(Default)]
pub(super) struct Archive {
    entries: BTreeMap<PathBuf, Entry>,
}

enum Entry {
    Directory,
    Link(String),
    File { bytes: Vec<u8>, is_program: bool },
}

impl Archive {
    /// The whole archive as the kernel reads it.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            let (mode, content): (u32, &[u8]) = match entry {
                Entry::Directory => (0o040_755, &[]),
                Entry::Link(target) => (0o120_777, target.as_bytes()),
                Entry::File {
                    bytes,
                    is_program: true,
                } => (0o100_755, bytes),
                Entry::File {
                    bytes,
                    is_program: false,
                } => (0o100_644, bytes),
            };
            append(&mut bytes, number, mode, &path.to_string_lossy(), content);
        }
        append(&mut bytes, 0, 0, "TRAILER!!!", &[]);
        bytes
    }

    fn directory(&mut self, path: &Path) {
        self.parents(path);
        self.entries.insert(path.to_owned(), Entry::Directory);
    }

    pub(super) fn link(&mut self, path: &Path, target: &str) {
        self.parents(path);
        self.entries
            .insert(path.to_owned(), Entry::Link(target.to_owned()));
    }

    pub(super) fn file(&mut self, path: &Path, bytes: Vec<u8>, is_program: bool) {
        self.parents(path);
        self.entries
            .insert(path.to_owned(), Entry::File { bytes, is_program });
    }

    /// The host's programs.
    fn own_system(&mut self) -> Result<()> {
        self.program(&find("busybox")?)?;
        for name in PROGRAMS {
            // What the host lacks no test can have asked for.
            if let Ok(path) = find(name) {
                self.program(&path)?;
            }
        }
        Ok(())
    }

    /// Another processor's.
    fn foreign_system(&mut self, architecture: &Architecture) -> Result<()> {
        for (from, to) in foreign::files(architecture)? {
            let name = to.file_name().and_then(OsStr::to_str).unwrap_or_default();
            if name.contains(".so") || name == "busybox" || PROGRAMS.contains(&name) {
                self.host_file(&from, &to)?;
            }
        }
        Ok(())
    }

    /// A program of the host with the libraries it is linked to, at the same paths.
    pub(super) fn program(&mut self, path: &Path) -> Result<()> {
        self.host_file(path, path)?;
        self.libraries(path)
    }

    /// A program built here, without its debugging information, which is most of its size.
    pub(super) fn stripped_program(
        &mut self,
        path: &Path,
        to: &Path,
        architecture: &Architecture,
    ) -> Result<()> {
        let stripped = workspace::target().join("vm/stripped");
        if let Some(parent) = stripped.parent() {
            fs::create_dir_all(parent)?;
        }
        run(program(architecture.strip)
            .args(["--strip-debug", "-o"])
            .arg(&stripped)
            .arg(path))?;
        self.host_file(&stripped, to)?;
        self.libraries(path)
    }

    /// Every file of a directory of the host, at the same path.
    fn tree(&mut self, directory: &Path) -> Result<()> {
        let entries = fs::read_dir(directory)
            .with_context(|| format!("cannot list {}", directory.display()))?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                self.tree(&path)?;
            } else {
                self.host_file(&path, &path)?;
            }
        }
        Ok(())
    }

    pub(super) fn host_file(&mut self, from: &Path, to: &Path) -> Result<()> {
        let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
        self.file(&place(to)?, bytes, true);
        Ok(())
    }

    fn libraries(&mut self, path: &Path) -> Result<()> {
        let is_dynamic = program("ldd")
            .arg(path)
            .output()
            .is_ok_and(|output| output.status.success());
        if !is_dynamic {
            return Ok(());
        }
        for library in libraries(&read(program("ldd").arg(path))?) {
            self.host_file(Path::new(library), Path::new(library))?;
        }
        Ok(())
    }

    fn parents(&mut self, path: &Path) {
        for parent in path.ancestors().skip(1) {
            if parent != Path::new("") {
                self.entries
                    .entry(parent.to_owned())
                    .or_insert(Entry::Directory);
            }
        }
    }
}

/// The path in the machine of a path of the host: from its root, through the merged `/usr`.
fn place(path: &Path) -> Result<PathBuf> {
    ensure!(path.is_absolute(), "{} is not absolute", path.display());
    let relative: PathBuf = path.components().skip(1).collect();
    let is_merged = ["bin", "sbin", "lib", "lib64"]
        .iter()
        .any(|directory| relative.starts_with(directory));
    Ok(if is_merged {
        Path::new("usr").join(relative)
    } else {
        relative
    })
}

/// The paths in what `ldd` prints: `libc.so.6 => /lib/libc.so.6 (0x…)` and `/lib64/ld.so (0x…)`.
fn libraries(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')))
}

/// Appends one member: a header of hexadecimal fields, the name, the content, each padded to four.
fn append(archive: &mut Vec<u8>, number: usize, mode: u32, name: &str, content: &[u8]) {
    let links = 1;
    let header = format!(
        "070701{number:08x}{mode:08x}{0:08x}{0:08x}{links:08x}{0:08x}{size:08x}{0:08x}{0:08x}{0:08x}{0:08x}\
         {name_size:08x}{0:08x}",
        0,
        size = content.len(),
        name_size = name.len() + 1,
    );
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(name.as_bytes());
    archive.push(0);
    pad(archive);
    archive.extend_from_slice(content);
    pad(archive);
}

fn pad(archive: &mut Vec<u8>) {
    archive.resize(archive.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_the_sizes_and_the_padding_the_kernel_expects() {
        let mut archive = Vec::new();
        append(&mut archive, 7, 0o100_644, "ab", b"xyz");
        let text = String::from_utf8(archive).unwrap();
        assert_eq!(&text[..6], "070701");
        assert_eq!(&text[6..14], "00000007");
        assert_eq!(&text[14..22], "000081a4");
        assert_eq!(&text[54..62], "00000003", "size of the content");
        assert_eq!(&text[94..102], "00000003", "size of the name with its end");
        assert_eq!(&text[110..], "ab\0\0\0\0xyz\0");
    }

    #[test]
    fn a_directory_comes_before_what_is_in_it() {
        let mut archive = Archive::default();
        archive.file(Path::new("a/b/c"), Vec::new(), false);
        let paths: Vec<&Path> = archive.entries.keys().map(PathBuf::as_path).collect();
        assert_eq!(
            paths,
            [Path::new("a"), Path::new("a/b"), Path::new("a/b/c")]
        );
    }

    #[test]
    fn the_merged_usr_is_where_libraries_go() {
        assert_eq!(
            place(Path::new("/lib64/ld.so")).unwrap(),
            Path::new("usr/lib64/ld.so")
        );
        assert_eq!(place(Path::new("/opt/t")).unwrap(), Path::new("opt/t"));
        assert!(place(Path::new("t")).is_err());
    }

    #[test]
    fn reads_the_libraries_ldd_names() {
        let text =
            "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        let paths: Vec<&str> = libraries(text).collect();
        assert_eq!(paths, ["/lib/libc.so.6", "/lib64/ld.so"]);
    }
}

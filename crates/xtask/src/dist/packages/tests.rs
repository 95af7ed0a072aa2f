//! The packages on machines that are a directory: installed, upgraded, downgraded, removed, installed again.

use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use tempfile::TempDir;

use super::*;

/// Packages of a program that says which version it is.
struct Shop {
    place: TempDir,
}

impl Shop {
    /// `None` where this machine cannot try them, which CI's can.
    fn open() -> Option<Self> {
        let there = |name| Command::new(name).arg("--version").output().is_ok();
        let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
        let can = is_root && Path::new(BUSYBOX).exists() && there("dpkg") && there("rpmbuild");
        if !can {
            let is_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(
                !is_ci,
                "it needs root, busybox-static, dpkg and rpm (`cargo xtask setup`)"
            );
            writeln!(
                std::io::stderr(),
                "not run: root, busybox-static, dpkg and rpm"
            )
            .unwrap();
        }
        can.then(|| Self {
            place: tempfile::tempdir().unwrap(),
        })
    }

    fn parts(&self, version: &str) -> Parts {
        let place = self.place.path().join(format!("parts-{version}"));
        let write = |name: &str, text: &str| {
            let path = place.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        for shell in ["bash", "fish", "zsh"] {
            write(&format!("completions/{shell}"), "complete\n");
        }
        write("manual/systrail-run.1", ".TH run\n");
        Parts {
            program: write(
                "program",
                &format!("#!/bin/sh\necho {version} GLIBC_2.3.4 GLIBC_2.34\n"),
            ),
            manual: write("manual/systrail.1", ".TH systrail\n")
                .parent()
                .unwrap()
                .to_owned(),
            completions: place.join("completions"),
            documents: vec![
                (write("a", "read me\n"), "README.md"),
                (write("b", "\n"), "docs/LINUX.md"),
            ],
            version: version.to_owned(),
            time: "1700000000".to_owned(),
        }
    }

    fn pack(&self, pack_fn: fn(&Path, &Parts) -> Result<String>, version: &str) -> PathBuf {
        let out = self.place.path().join("out");
        fs::create_dir_all(&out).unwrap();
        let name = pack_fn(&out, &self.parts(version)).unwrap();
        out.join(name)
    }
}

const BUSYBOX: &str = "/bin/busybox";

/// What the scripts of packages need, and no more.
const TOOLS: [&str; 5] = ["sh", "mkdir", "rm", "echo", "getent"];

/// A directory that is a machine to the programs that install packages.
struct Machine {
    root: TempDir,
}

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for directory in [
            "bin",
            "var/lib/dpkg/info",
            "var/lib/dpkg/updates",
            "var/lib/rpm",
            "dev",
            "run",
            "tmp",
        ] {
            fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        for file in ["var/lib/dpkg/status", "dev/null"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        fs::copy(BUSYBOX, root.path().join("bin/busybox")).unwrap();
        for tool in TOOLS {
            std::os::unix::fs::symlink("busybox", root.path().join("bin").join(tool)).unwrap();
        }
        Self { root }
    }

    /// One whose systemd notes what it is asked for.
    fn with_systemd() -> Self {
        let machine = Self::new();
        for name in ["systemctl", "systemd-sysusers"] {
            let path = machine.path(&format!("/bin/{name}"));
            fs::write(&path, format!("#!/bin/sh\necho {name} \"$@\" >> /asked\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(PROGRAM)).unwrap();
        }
        fs::create_dir_all(machine.path("/run/systemd/system")).unwrap();
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.path().join(path.trim_start_matches('/'))
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// What systemd was asked for since the last time.
    fn asked(&self) -> String {
        let asked = fs::read_to_string(self.path("/asked")).unwrap_or_default();
        let _was_there = fs::remove_file(self.path("/asked"));
        asked
            .replace("--quiet ", "")
            .replace("--no-reload ", "")
            .replace(".service", "")
    }

    fn do_with(&self, name: &str, arguments: &[&OsStr]) {
        let mut command = Command::new(name);
        // Neither the machine's own log nor its locale.
        command
            .env("LC_ALL", "C")
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.arg(format!("--root={}", self.root.path().display()));
        let output = command.args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name} {arguments:?}: {said}");
    }

    fn dpkg(&self, action: &str, what: impl AsRef<OsStr>) {
        // There is no C library there.
        let options = ["--force-depends", "--log=/dev/null", action];
        let options = options.map(OsStr::new);
        self.do_with("dpkg", &[&options[..], &[what.as_ref()]].concat());
    }

    fn rpm(&self, action: &[&str], what: impl AsRef<OsStr>) {
        let options = ["--nodeps", "--nosignature"].map(OsStr::new);
        let action: Vec<&OsStr> = action.iter().map(OsStr::new).collect();
        self.do_with("rpm", &[&options[..], &action, &[what.as_ref()]].concat());
    }

    fn version(&self) -> String {
        fs::read_to_string(self.path("/usr/bin/systrail")).unwrap()
    }

    /// What an administrator changes and the recorder leaves.
    fn live(&self) {
        fs::write(
            self.path("/etc/systrail/systrail.toml"),
            "source = \"perf\"\n",
        )
        .unwrap();
        fs::create_dir_all(self.path("/var/lib/systrail/store")).unwrap();
        fs::write(self.path("/var/lib/systrail/store/segment"), "").unwrap();
    }

    fn is_as_left(&self) -> bool {
        let configuration = fs::read_to_string(self.path("/etc/systrail/systrail.toml"));
        self.has("/var/lib/systrail/store/segment")
            && configuration.is_ok_and(|text| text.starts_with("source"))
    }
}

const FILES: [&str; 10] = [
    "/etc/systrail/systrail.toml",
    "/usr/bin/systrail",
    "/usr/lib/systemd/system/systrail.service",
    "/usr/lib/systemd/system/systrail.service.d/group.conf",
    "/usr/lib/sysusers.d/systrail.conf",
    "/usr/share/bash-completion/completions/systrail",
    "/usr/share/doc/systrail/copyright",
    "/usr/share/doc/systrail/docs/LINUX.md",
    "/usr/share/man/man1/systrail.1.gz",
    "/usr/share/man/man1/systrail-run.1.gz",
];

/// An administrator who has never seen the project knows where everything is.
#[test]
fn the_document_names_what_the_packages_have() {
    let document = fs::read_to_string(workspace::root().join("docs/LINUX.md")).unwrap();
    for file in FILES {
        let parents = ["/usr/share/doc/systrail", "/usr/share/man/man1"];
        let parent = parents.into_iter().find(|parent| file.starts_with(parent));
        let named = format!("`{}`", parent.unwrap_or(file));
        assert!(document.contains(&named), "{named}");
    }
}

/// Elsewhere the scripts that stop a service run at upgrades too: it stays down, or the old program runs on.
#[test]
fn debians_package_is_installed_upgraded_removed_and_purged() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let (one, two) = (shop.pack(deb, "1.0.0"), shop.pack(deb, "2.0.0"));
    let machine = Machine::with_systemd();
    machine.dpkg("--install", &one);
    let begun = "systemctl enable systrail\nsystemctl daemon-reload\nsystemctl start systrail\n";
    let asked = machine.asked();
    assert_eq!(asked, format!("systemd-sysusers systrail.conf\n{begun}"));
    for file in FILES {
        let metadata = fs::metadata(machine.path(file)).unwrap();
        let mode = if file.starts_with("/usr/bin") {
            PROGRAM
        } else {
            DATA
        };
        assert_eq!(
            (metadata.mode() & 0o7777, metadata.uid(), metadata.gid()),
            (mode, 0, 0),
            "{file}"
        );
    }
    machine.live();
    for (package, version) in [(&two, "2.0.0"), (&one, "1.0.0")] {
        machine.dpkg("--install", package);
        let asked = machine.asked();
        assert!(
            asked.ends_with("daemon-reload\nsystemctl try-restart systrail\n"),
            "{asked}"
        );
        assert!(
            !asked.contains("stop") && !asked.contains("able"),
            "{asked}"
        );
        assert!(machine.version().contains(version) && machine.is_as_left());
    }
    machine.dpkg("--remove", "systrail");
    let ended = "systemctl stop systrail\nsystemctl disable systrail\nsystemctl daemon-reload\n";
    assert_eq!(machine.asked(), ended);
    assert!(!machine.has("/usr/bin/systrail") && machine.is_as_left());

    // It counts as an upgrade to dpkg, and was disabled.
    machine.dpkg("--install", &two);
    assert!(machine.asked().ends_with(begun));
    machine.dpkg("--purge", "systrail");
    assert!(!machine.has("/var/lib/systrail") && !machine.has("/etc/systrail"));
}

#[test]
fn a_machine_without_systemd_takes_the_packages() {
    let Some(shop) = Shop::open() else {
        return;
    };
    for is_deb in [true, false] {
        let machine = Machine::new();
        let install = |version| {
            if is_deb {
                machine.dpkg("--install", shop.pack(deb, version));
            } else {
                machine.rpm(&["--upgrade"], shop.pack(rpm, version));
            }
        };
        install("1.0.0");
        machine.live();
        install("2.0.0");
        assert!(machine.version().contains("2.0.0") && machine.is_as_left());
        if is_deb {
            machine.dpkg("--purge", "systrail");
        } else {
            machine.rpm(&["--erase"], "systrail");
        }
        assert!(!machine.has("/usr/bin/systrail") && !machine.has("/run/systrail.installing"));
        assert_eq!(machine.has("/var/lib/systrail"), !is_deb);
    }
}

#[test]
fn fedoras_package_is_installed_upgraded_and_removed() {
    let Some(shop) = Shop::open() else {
        return;
    };
    let (one, two) = (shop.pack(rpm, "1.0.0"), shop.pack(rpm, "2.0.0"));
    let machine = Machine::with_systemd();
    machine.rpm(&["--install"], &one);
    let asked = machine.asked();
    assert!(
        asked.ends_with("daemon-reload\nsystemctl preset systrail\n"),
        "{asked}"
    );
    for file in FILES {
        assert!(machine.has(file), "{file}");
    }
    machine.live();
    for (action, package, version) in [
        (&["--upgrade"][..], &two, "2.0.0"),
        (&["--upgrade", "--oldpackage"], &one, "1.0.0"),
    ] {
        machine.rpm(action, package);
        let asked = machine.asked();
        assert!(
            asked.contains("systemctl try-restart systrail\n"),
            "{asked}"
        );
        assert!(
            !asked.contains("stop") && !asked.contains("able"),
            "{asked}"
        );
        assert!(machine.version().contains(version) && machine.is_as_left());
    }
    machine.rpm(&["--erase"], "systrail");
    let ended = "systemctl stop systrail\nsystemctl disable systrail\nsystemctl daemon-reload\n";
    assert_eq!(machine.asked(), ended);
    assert!(!machine.has("/usr/bin/systrail") && machine.has("/var/lib/systrail/store/segment"));
    assert!(
        machine.has("/etc/systrail/systrail.toml.rpmsave"),
        "what was changed is kept"
    );
}

#[test]
fn the_same_parts_give_the_same_packages() {
    let (Some(here), Some(there)) = (Shop::open(), Shop::open()) else {
        return;
    };
    for pack_fn in [deb, rpm] {
        let packed = [&here, &there].map(|shop| fs::read(shop.pack(pack_fn, "1.0.0")).unwrap());
        assert!(
            packed[0] == packed[1],
            "{} and {} bytes",
            packed[0].len(),
            packed[1].len()
        );
    }
}

#[test]
fn the_package_asks_for_the_c_library_that_the_program_does() {
    assert_eq!(
        glibc_version(b"\0GLIBC_2.2.5\0GLIBC_2.34\0GLIBC_2.9\0GLIBC_PRIVATE\0"),
        Some((2, 34))
    );
    assert_eq!(glibc_version(b"GLIBC_"), None);
    assert_eq!(glibc_version(b"nothing"), None);
}

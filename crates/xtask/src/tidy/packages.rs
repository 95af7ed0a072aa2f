//! Rules for our packages: who may depend on whom, what every manifest says, and that no name of
//! ours is a name of somebody else's.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::{Finding, Tree};
use crate::command::{cargo, read};

/// The part of `cargo metadata` that rules look at.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Metadata {
    pub(super) packages: Vec<Package>,
}

/// A package, ours or not.
#[derive(Debug, Deserialize)]
pub(super) struct Package {
    name: String,
    version: String,
    /// Where it comes from; ours have none.
    source: Option<String>,
    #[serde(default)]
    rust_version: Option<String>,
    #[serde(default)]
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build`, or nothing for a normal one.
    kind: Option<String>,
}

impl Metadata {
    pub(super) fn read() -> Result<Self> {
        let text = read(cargo().args(["metadata", "--format-version", "1", "--locked"]))?;
        serde_json::from_str(&text).context("cannot read what cargo metadata says")
    }

    fn ours(&self) -> impl Iterator<Item = &Package> {
        self.packages
            .iter()
            .filter(|package| package.source.is_none())
    }
}

/// What one of our packages may depend on, tests apart.
struct Edges {
    package: &'static str,
    ours: &'static [&'static str],
    foreign: Foreign,
}

enum Foreign {
    /// Nothing but ours.
    Nothing,
    /// These only.
    Only(&'static [&'static str]),
    /// Anything that [`RESERVED`] does not give to others.
    Any,
}

/// The dependency table. A package or an edge that is not here is a decision to be argued.
const TABLE: &[Edges] = &[
    Edges {
        package: "event",
        ours: &[],
        foreign: Foreign::Nothing,
    },
    Edges {
        package: "ring-buffer",
        ours: &[],
        foreign: Foreign::Only(&["loom"]),
    },
    Edges {
        package: "nt",
        ours: &[],
        foreign: Foreign::Only(&["windows-sys", "windows-link"]),
    },
    Edges {
        package: "driver",
        ours: &["event", "nt", "ring-buffer"],
        foreign: Foreign::Nothing,
    },
    Edges {
        package: "ebpf",
        ours: &["event"],
        foreign: Foreign::Only(&["aya-ebpf"]),
    },
    Edges {
        package: "systrail-trail",
        ours: &["event"],
        // Others build it into their programs: each of these is their build time as well.
        foreign: Foreign::Only(&["itoa", "jiff", "serde", "serde_json"]),
    },
    Edges {
        package: "systrail-etw",
        ours: &[],
        foreign: Foreign::Nothing,
    },
    Edges {
        package: "systrail-sysmon",
        ours: &[],
        foreign: Foreign::Only(&["roxmltree", "thiserror"]),
    },
    Edges {
        package: "systrail",
        ours: &["event", "systrail-etw", "systrail-sysmon", "systrail-trail"],
        foreign: Foreign::Any,
    },
    Edges {
        package: "ntemu",
        ours: &["nt"],
        foreign: Foreign::Only(&["windows-sys", "windows-link"]),
    },
    Edges {
        package: "testkernel",
        ours: &["event", "nt"],
        foreign: Foreign::Only(&["serde_json", "windows-sys"]),
    },
    Edges {
        package: "xtask",
        ours: &[],
        foreign: Foreign::Any,
    },
    Edges {
        package: "bench-peers",
        ours: &["xtask"],
        foreign: Foreign::Any,
    },
];

/// What tests may use of ours beyond the table.
const TEST_EDGES: &[(&str, &str)] = &[("driver", "ntemu")];

/// Packages of others that only these of ours may name: each is the door to one kernel.
const RESERVED: &[(&str, &[&str])] = &[
    ("aya", &["systrail"]),
    ("aya-ebpf", &["ebpf"]),
    ("windows-sys", &["nt", "ntemu", "testkernel", "systrail"]),
];

/// All rules of this file.
pub(super) fn check(tree: &Tree, metadata: &Metadata) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in metadata.ours() {
        edges(package, metadata, &mut findings);
        manifest(package, tree, &mut findings);
        name_clash(package, metadata, &mut findings);
    }
    toolchain(tree, metadata, &mut findings);
    findings
}

fn edges(package: &Package, metadata: &Metadata, findings: &mut Vec<Finding>) {
    let place = manifest_path(package);
    let Some(row) = TABLE.iter().find(|row| row.package == package.name) else {
        findings.push(Finding::new(
            place,
            "is no package of the dependency table; argue its place there",
        ));
        return;
    };
    for dependency in &package.dependencies {
        let name = dependency.name.as_str();
        let is_ours = metadata.ours().any(|ours| ours.name == name);
        let is_for_tests = dependency.kind.as_deref() == Some("dev");
        let is_allowed = match (is_ours, is_for_tests) {
            (true, true) => row.ours.contains(&name) || TEST_EDGES.contains(&(row.package, name)),
            (true, false) => row.ours.contains(&name),
            (false, true) => true,
            (false, false) => row.foreign.allows(name),
        };
        if !is_allowed {
            findings.push(Finding::new(
                &place,
                format!("depends on {name}, which the dependency table does not allow"),
            ));
        }
        reserved(row.package, name, &place, findings);
    }
}

impl Foreign {
    fn allows(&self, name: &str) -> bool {
        match self {
            Self::Nothing => false,
            Self::Only(names) => names.contains(&name),
            Self::Any => true,
        }
    }
}

fn reserved(package: &str, dependency: &str, place: &str, findings: &mut Vec<Finding>) {
    for (name, users) in RESERVED {
        if *name == dependency && !users.contains(&package) {
            findings.push(Finding::new(
                place,
                format!("depends on {name}, the door of {}", users.join(", ")),
            ));
        }
    }
}

fn manifest(package: &Package, tree: &Tree, findings: &mut Vec<Finding>) {
    let place = manifest_path(package);
    let Some(file) = tree.file(&place) else {
        findings.push(Finding::new(
            place,
            "is not there: a package's directory has the package's name",
        ));
        return;
    };
    if !file.text.contains("[lints]\nworkspace = true\n") {
        findings.push(Finding::new(
            &place,
            "does not take the workspace's lints; add [lints] workspace = true",
        ));
    }
}

fn name_clash(package: &Package, metadata: &Metadata, findings: &mut Vec<Finding>) {
    let clash = metadata
        .packages
        .iter()
        .find(|other| other.name == package.name && other.source.is_some());
    if let Some(other) = clash {
        findings.push(Finding::new(
            manifest_path(package),
            format!(
                "has the name of {} {}, a dependency; rename ours",
                other.name, other.version
            ),
        ));
    }
}

/// The pinned toolchain is the oldest supported one, so every build and test is also a test of the
/// `rust-version` promise.
fn toolchain(tree: &Tree, metadata: &Metadata, findings: &mut Vec<Finding>) {
    let path = "rust-toolchain.toml";
    let channel = tree.file(path).and_then(|file| {
        file.text
            .lines()
            .find_map(|line| line.strip_prefix("channel = \""))
            .map(|rest| rest.trim_end_matches('"').to_owned())
    });
    for package in metadata.ours() {
        let matches = match (&channel, &package.rust_version) {
            (Some(channel), Some(promised)) => {
                channel == promised || channel.starts_with(&format!("{promised}."))
            }
            _ => false,
        };
        if !matches {
            findings.push(Finding::new(
                manifest_path(package),
                format!("promises another Rust than {path} pins"),
            ));
        }
    }
}

fn manifest_path(package: &Package) -> String {
    // What people install or build upon has a name that says whose it is; here it is one of several
    // parts.
    let directory = match package.name.as_str() {
        "systrail" => "agent",
        "systrail-etw" => "etw",
        "systrail-sysmon" => "sysmon",
        "systrail-trail" => "trail",
        name => name,
    };
    format!("crates/{directory}/Cargo.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        Package {
            name: name.to_owned(),
            version: String::from("0.1.0"),
            source: None,
            rust_version: Some(String::from("1.95")),
            dependencies: dependencies
                .iter()
                .map(|(name, kind)| Dependency {
                    name: (*name).to_owned(),
                    kind: kind.map(str::to_owned),
                })
                .collect(),
        }
    }

    fn foreign(name: &str) -> Package {
        Package {
            source: Some(String::from("registry")),
            ..package(name, &[])
        }
    }

    fn texts(packages: Vec<Package>) -> Vec<String> {
        let manifests: Vec<(String, &str)> = packages
            .iter()
            .map(|package| (manifest_path(package), "[lints]\nworkspace = true\n"))
            .collect();
        let mut files: Vec<(&str, &str)> = manifests
            .iter()
            .map(|(path, text)| (path.as_str(), *text))
            .collect();
        files.push(("rust-toolchain.toml", "[toolchain]\nchannel = \"1.95.0\"\n"));
        check(&Tree::of(&files), &Metadata { packages })
            .into_iter()
            .map(|finding| finding.text)
            .collect()
    }

    #[test]
    fn the_table_allows_what_it_lists() {
        let agent = package(
            "systrail",
            &[("event", None), ("aya", None), ("serde", None)],
        );
        assert_eq!(texts(vec![agent, package("event", &[])]), [""; 0]);
    }

    #[test]
    fn refuses_an_edge_between_ours_that_is_not_listed() {
        let agent = package("systrail", &[("nt", None)]);
        assert_eq!(texts(vec![agent, package("nt", &[])]).len(), 1);
    }

    #[test]
    fn an_edge_for_tests_is_no_edge_for_the_product() {
        let ours = || package("ntemu", &[]);
        let in_test = package("driver", &[("ntemu", Some("dev"))]);
        assert_eq!(texts(vec![in_test, ours()]), [""; 0]);
        let in_product = package("driver", &[("ntemu", None)]);
        assert_eq!(texts(vec![in_product, ours()]).len(), 1);
    }

    #[test]
    fn refuses_a_foreign_dependency_of_the_wire_format() {
        assert_eq!(texts(vec![package("event", &[("serde", None)])]).len(), 1);
        assert_eq!(
            texts(vec![package("event", &[("proptest", Some("dev"))])]),
            [""; 0]
        );
    }

    #[test]
    fn refuses_a_kernel_door_in_the_wrong_package() {
        assert_eq!(texts(vec![package("xtask", &[("aya", None)])]).len(), 1);
    }

    #[test]
    fn refuses_a_package_that_is_not_in_the_table() {
        assert_eq!(texts(vec![package("helpers", &[])]).len(), 1);
    }

    #[test]
    fn refuses_a_name_that_a_dependency_has() {
        assert_eq!(
            texts(vec![package("event", &[]), foreign("event")]).len(),
            1
        );
    }

    #[test]
    fn refuses_a_package_without_the_lints_and_with_another_rust() {
        let metadata = Metadata {
            packages: vec![package("event", &[])],
        };
        let tree = Tree::of(&[
            ("crates/event/Cargo.toml", "[package]\n"),
            ("rust-toolchain.toml", "channel = \"1.94.0\"\n"),
        ]);
        assert_eq!(check(&tree, &metadata).len(), 2);
    }
}

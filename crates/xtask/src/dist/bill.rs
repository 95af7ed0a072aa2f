//! What a release is made of: the packages of others that are linked in, as `CycloneDX` 1.5, and
//! their licences. `cargo metadata` and the lock file know all of it; tools that write such a bill from
//! them (cargo-cyclonedx, cargo-sbom) take longer to build than the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::command::{cargo, read};
use crate::workspace;

/// The part of `cargo metadata` that is of interest.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Debug, Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    /// Where it comes from; ours have none.
    source: Option<String>,
    license: Option<String>,
    manifest_path: PathBuf,
    targets: Vec<Target>,
}

#[derive(Debug, Deserialize)]
struct Target {
    kind: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Debug, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Debug, Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Debug, Deserialize)]
struct EdgeKind {
    /// `dev`, `build`, or nothing for what is linked in.
    kind: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Lock {
    package: Vec<Locked>,
}

#[derive(Debug, Deserialize)]
struct Locked {
    name: String,
    version: String,
    checksum: Option<String>,
}

/// The packages that are linked in, with what each needs itself.
#[derive(Debug)]
pub(super) struct Bill {
    components: Vec<Component>,
}

#[derive(Debug)]
struct Component {
    name: String,
    version: String,
    licence: String,
    checksum: Option<String>,
    /// Its licences' texts are beside its manifest.
    directory: PathBuf,
    is_ours: bool,
    needs: Vec<String>,
}

impl Bill {
    /// What `roots` need when built for `target`.
    pub(super) fn read(target: &str, roots: &[&str]) -> Result<Self> {
        let metadata = read(
            cargo()
                .args(["metadata", "--format-version", "1", "--locked"])
                .args(["--filter-platform", target]),
        )?;
        let lock = workspace::root().join("Cargo.lock");
        let lock = fs::read_to_string(&lock).context("reading Cargo.lock")?;
        Self::of(&metadata, &lock, roots)
    }

    fn of(metadata: &str, lock: &str, roots: &[&str]) -> Result<Self> {
        let metadata: Metadata =
            serde_json::from_str(metadata).context("cannot read what cargo metadata says")?;
        let lock: Lock = toml::from_str(lock).context("cannot read Cargo.lock")?;
        let packages: BTreeMap<&str, &Package> = metadata
            .packages
            .iter()
            .map(|package| (package.id.as_str(), package))
            .collect();
        let nodes: BTreeMap<&str, &Node> = metadata
            .resolve
            .nodes
            .iter()
            .map(|node| (node.id.as_str(), node))
            .collect();
        let mut open: Vec<&str> = packages
            .values()
            .filter(|package| package.source.is_none() && roots.contains(&package.name.as_str()))
            .map(|package| package.id.as_str())
            .collect();
        ensure!(open.len() == roots.len(), "{roots:?} are not all packages");
        let (mut seen, mut components) = (BTreeSet::new(), Vec::new());
        while let Some(id) = open.pop() {
            if !seen.insert(id) {
                continue;
            }
            let package = *packages.get(id).context("a package without a name")?;
            let needs: Vec<&Package> = nodes
                .get(id)
                .into_iter()
                .flat_map(|node| &node.deps)
                .filter(|edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none()))
                .filter_map(|edge| packages.get(edge.pkg.as_str()).copied())
                .filter(|package| package.is_linked())
                .collect();
            open.extend(needs.iter().map(|package| package.id.as_str()));
            components.push(Component::of(package, &needs, &lock));
        }
        components.sort_by_key(Component::reference);
        Ok(Self { components })
    }

    /// The bill as `CycloneDX` has it; without serial number and time, which would change.
    pub(super) fn cyclone_dx(&self) -> Result<String> {
        let components: Vec<Value> = self.components.iter().map(Component::entry).collect();
        let dependencies: Vec<Value> = self
            .components
            .iter()
            .map(|it| json!({ "ref": it.reference(), "dependsOn": it.needs }))
            .collect();
        let bill = json!({
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": { "component": {
                "type": "application",
                "name": "systrail",
                "version": env!("CARGO_PKG_VERSION"),
                "licenses": [{ "expression": env!("CARGO_PKG_LICENSE") }],
            } },
            "components": components,
            "dependencies": dependencies,
        });
        Ok(format!("{}\n", serde_json::to_string_pretty(&bill)?))
    }

    /// The licences of all packages of others, with their texts; each text once.
    pub(super) fn licences(&self) -> Result<String> {
        let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut list = String::from(
            "SysTrail contains the Rust standard library (MIT OR Apache-2.0, the Rust project's \
             contributors)\nand these packages of others:\n\n",
        );
        for component in self.components.iter().filter(|it| !it.is_ours) {
            let name = format!("{} {}", component.name, component.version);
            writeln!(list, "{name}: {}", component.licence)?;
            for text in licence_texts(&component.directory)? {
                texts.entry(text).or_default().push(name.clone());
            }
        }
        for (text, names) in texts {
            let rule = "-".repeat(80);
            write!(list, "\n{rule}\n{}\n{rule}\n\n{text}\n", names.join(", "))?;
        }
        Ok(list)
    }
}

/// The texts of the licences in a package's directory.
fn licence_texts(directory: &Path) -> Result<Vec<String>> {
    const NAMES: &[&str] = &[
        "LICENSE",
        "LICENCE",
        "COPYING",
        "COPYRIGHT",
        "NOTICE",
        "UNLICENSE",
    ];
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .with_context(|| format!("reading {}", directory.display()))?
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.to_ascii_uppercase();
            path.is_file() && NAMES.iter().any(|it| name.starts_with(it))
        })
        .collect();
    files.sort_unstable();
    let texts = files.iter().map(|path| {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(String::from_utf8_lossy(&bytes).trim().replace("\r\n", "\n"))
    });
    texts.collect()
}

impl Package {
    /// A macro runs in the compiler and leaves nothing of itself.
    fn is_linked(&self) -> bool {
        !self
            .targets
            .iter()
            .any(|target| target.kind.iter().any(|kind| kind == "proc-macro"))
    }

    fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }
}

impl Component {
    fn of(package: &Package, needs: &[&Package], lock: &Lock) -> Self {
        let locked = lock
            .package
            .iter()
            .find(|it| it.name == package.name && it.version == package.version);
        let mut needs: Vec<String> = needs.iter().map(|package| package.reference()).collect();
        needs.sort_unstable();
        needs.dedup();
        Self {
            name: package.name.clone(),
            version: package.version.clone(),
            // The old spelling of a choice.
            licence: package
                .license
                .as_deref()
                .unwrap_or("unknown")
                .replace('/', " OR "),
            checksum: locked.and_then(|it| it.checksum.clone()),
            directory: package
                .manifest_path
                .parent()
                .unwrap_or(&package.manifest_path)
                .to_owned(),
            is_ours: package.source.is_none(),
            needs,
        }
    }

    fn reference(&self) -> String {
        reference(&self.name, &self.version)
    }

    fn entry(&self) -> Value {
        let mut entry = json!({
            "type": "library",
            "bom-ref": self.reference(),
            "name": self.name,
            "version": self.version,
            "licenses": [{ "expression": self.licence }],
        });
        if !self.is_ours {
            entry["purl"] = json!(self.reference());
        }
        if let Some(checksum) = &self.checksum {
            entry["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
        }
        entry
    }
}

/// The package's URL, which also is how the bill refers to it.
fn reference(name: &str, version: &str) -> String {
    format!("pkg:cargo/{name}@{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCK: &str = r#"
[[package]]
name = "linked"
version = "1.0.0"
checksum = "ab"
"#;

    /// One of ours that needs a library, a macro, and a library for its build and its tests.
    fn metadata() -> String {
        let package = |name: &str, is_ours: bool, kind: &str| {
            json!({
                "id": name, "name": name, "version": "1.0.0", "license": "MIT/Apache-2.0",
                "source": (!is_ours).then_some("registry"),
                "manifest_path": format!("/none/{name}/Cargo.toml"),
                "targets": [{ "kind": [kind] }],
            })
        };
        let edge = |name: &str, kind: Option<&str>| json!({ "pkg": name, "dep_kinds": [{ "kind": kind }] });
        json!({
            "packages": [
                package("systrail", true, "bin"),
                package("linked", false, "lib"),
                package("deeper", false, "lib"),
                package("macros", false, "proc-macro"),
                package("for-build", false, "lib"),
            ],
            "resolve": { "nodes": [
                { "id": "systrail", "deps": [
                    edge("linked", None),
                    edge("macros", None),
                    edge("for-build", Some("build")),
                ] },
                { "id": "linked", "deps": [edge("deeper", None)] },
                { "id": "deeper", "deps": [] },
            ] },
        })
        .to_string()
    }

    #[test]
    fn what_is_linked_in_is_listed_and_nothing_else() {
        let bill = Bill::of(&metadata(), LOCK, &["systrail"]).unwrap();
        let names: Vec<&str> = bill.components.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["deeper", "linked", "systrail"]);
    }

    #[test]
    fn the_bill_tells_licence_checksum_and_what_needs_what() {
        let bill = Bill::of(&metadata(), LOCK, &["systrail"]).unwrap();
        let bill: Value = serde_json::from_str(&bill.cyclone_dx().unwrap()).unwrap();
        let linked = &bill["components"][1];
        assert_eq!(linked["purl"], "pkg:cargo/linked@1.0.0");
        assert_eq!(linked["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(linked["hashes"][0]["content"], "ab");
        assert_eq!(bill["components"][2]["purl"], Value::Null);
        assert_eq!(
            bill["dependencies"][1]["dependsOn"][0],
            "pkg:cargo/deeper@1.0.0"
        );
    }

    #[test]
    fn a_root_that_does_not_exist_is_refused() {
        assert!(Bill::of(&metadata(), LOCK, &["systrail", "none"]).is_err());
    }

    #[test]
    fn the_workspaces_own_bill_has_every_licence() {
        let bill = Bill::read("x86_64-unknown-linux-gnu", &["systrail"]).unwrap();
        let licences = bill.licences().unwrap();
        assert!(licences.contains("\nserde_core ") || licences.contains("\nserde "));
        assert!(licences.contains("Permission is hereby granted"));
        assert!(bill.components.iter().all(|it| it.licence != "unknown"));
    }
}

//! Compiles the driver to one object and links it.
//!
//! Cargo does not link: rustc gives the linker temporary files whose names are random, and they
//! would stand in the symbols. Here everything the linker is told is relative to one directory.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use super::TARGET;
use super::imports::Imports;
use crate::command::{cargo, program, read, run};

/// What the linker is told, names of files apart.
const LINK: &[&str] = &[
    "/NOLOGO",
    "/DRIVER",
    // Windows 10, for the system as for the subsystem.
    "/SUBSYSTEM:NATIVE,10.0",
    "/ENTRY:DriverEntry",
    "/NODEFAULTLIB",
    // Without FORCE_INTEGRITY Windows refuses the process notify routine.
    "/INTEGRITYCHECK",
    // Sets the checksum.
    "/RELEASE",
    // The time stamp is a hash of the image: the same for the same bytes, and debuggers and symbol
    // servers tell images apart by it.
    "/Brepro",
    "/OPT:REF,ICF",
    // No code here jumps long.
    "/guard:cf,nolongjmp",
    "/DEBUG",
    // The image names its symbols without a directory, and the symbols name sources by a root that
    // no machine has.
    "/PDB:systrail.pdb",
    "/PDBALTPATH:systrail.pdb",
    "/pdbsourcepath:/",
    "/MAP:systrail.map",
    "/OUT:systrail.sys",
    "systrail_driver.o",
    "ntoskrnl.lib",
    "systrail.res",
];

/// What a build leaves.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) image: PathBuf,
    pub(super) symbols: PathBuf,
    pub(super) map: PathBuf,
}

/// Builds the image from the repository at `root`; everything made goes below `place`.
pub(super) fn build(root: &Path, place: &Path, imports: &Imports) -> Result<Built> {
    let (objects, linked) = (place.join("objects"), place.join("linked"));
    fs::create_dir_all(&linked).with_context(|| format!("making {}", linked.display()))?;
    let object = compile(root, &objects)?;
    fs::copy(&object, linked.join("systrail_driver.o"))
        .with_context(|| format!("copying {}", object.display()))?;
    fs::write(linked.join("ntoskrnl.def"), imports.definition())?;
    resource(root, &linked)?;
    let library = ["/def:ntoskrnl.def", "/machine:x64", "/out:ntoskrnl.lib"];
    run(linker(&linked)?.arg("/lib").args(library))?;
    run(linker(&linked)?.args(LINK).arg(image_version()))?;
    let file = |name: &str| linked.join(name);
    Ok(Built {
        image: file("systrail.sys"),
        symbols: file("systrail.pdb"),
        map: file("systrail.map"),
    })
}

/// The driver as one object: one unit and all crates at once, so that what cannot panic is seen not
/// to.
fn compile(root: &Path, objects: &Path) -> Result<PathBuf> {
    let flags = [
        // The linker of this build is called below; here, a program that does nothing.
        "-Clinker=true".to_owned(),
        "-Clinker-flavor=lld-link".to_owned(),
        "-Ccontrol-flow-guard=yes".to_owned(),
        format!("--remap-path-prefix={}=systrail", root.display()),
        format!("--remap-path-prefix={}=objects", objects.display()),
    ];
    run(cargo()
        .current_dir(root)
        .args(["rustc", "--release", "--locked", "--package", "driver"])
        .args(["--features", "image", "--bin", "systrail-driver"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(objects)
        .args(["--", "--emit=obj"])
        .env("CARGO_PROFILE_RELEASE_LTO", "fat")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "line-tables-only")
        .env_remove("RUSTFLAGS")
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f")))
    .with_context(|| format!("building the image; it needs `rustup target add {TARGET}`"))?;
    let object = objects.join(TARGET).join("release/deps/systrail_driver.o");
    ensure!(object.exists(), "rustc left no {}", object.display());
    Ok(object)
}

/// The version resource. windres comes with the compiler that the layout is checked with; llvm-rc
/// would need a second one.
fn resource(root: &Path, linked: &Path) -> Result<()> {
    const COMPILER: &str = "x86_64-w64-mingw32-windres";
    let version = env!("CARGO_PKG_VERSION");
    let source = root.join("crates/driver/systrail.rc");
    let text = fs::read_to_string(&source)
        .with_context(|| format!("reading {}", source.display()))?
        .replace("@COMMAS@", &format!("{},0", version.replace('.', ",")))
        .replace("@VERSION@", version);
    fs::write(linked.join("systrail.rc"), text)?;
    run(program(COMPILER).current_dir(linked).args([
        "--output-format=res",
        "systrail.rc",
        "systrail.res",
    ]))
    .context("compiling the version resource; it needs mingw-w64 (`cargo xtask setup`)")
}

/// `major.minor`, as far as an image's header can say it.
fn image_version() -> String {
    format!(
        "/VERSION:{}.{}",
        env!("CARGO_PKG_VERSION_MAJOR"),
        env!("CARGO_PKG_VERSION_MINOR")
    )
}

/// The linker that came with rustc, to be started in `directory`.
fn linker(directory: &Path) -> Result<std::process::Command> {
    let rustc = || program("rustc");
    let sysroot = read(rustc().args(["--print", "sysroot"]))?;
    let host = read(rustc().args(["--print", "host-tuple"]))?;
    let path = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host.trim())
        .join("bin/rust-lld");
    let mut linker = program(path);
    // It takes its own name from here, and writes it into the symbols.
    linker.arg0("lld-link").current_dir(directory);
    Ok(linker)
}

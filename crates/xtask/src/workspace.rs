//! Where things are in the repository.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository this xtask was built from.
pub(crate) fn root() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    // `crates/xtask` is two levels below the root.
    package.ancestors().nth(2).unwrap_or(package)
}

/// Where cargo puts what it builds, and where tasks keep what they fetch.
pub(crate) fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

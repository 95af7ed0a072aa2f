//! The names a system has for its volumes.

/// The kernel's names of directories and the names people use for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volumes {
    /// `\Device\HarddiskVolume3` and `C:`.
    pub drives: Vec<(String, String)>,
    /// What `\SystemRoot` stands for.
    pub system_root: Option<String>,
}

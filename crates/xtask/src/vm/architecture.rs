//! The processors of the machines: how each is emulated and what is built for it.

/// A sort of processor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Architecture {
    /// Debian's name of it.
    pub(super) name: &'static str,
    /// What cargo builds for; the host itself for `None`.
    pub(super) target: Option<&'static str>,
    /// The integration tests of the agent that are built for it, as a glob.
    pub(super) tests: &'static str,
    pub(super) emulator: &'static str,
    /// The emulator's arguments for the processor and what is around it.
    pub(super) machine: &'static [&'static str],
    /// The serial port, as its kernel names it.
    pub(super) console: &'static str,
    pub(super) strip: &'static str,
    /// What its directories of libraries are called.
    pub(super) libraries: &'static str,
}

/// The host's.
pub(super) const AMD64: Architecture = Architecture {
    name: "amd64",
    target: None,
    tests: "linux_*",
    emulator: "qemu-system-x86_64",
    machine: &["-cpu", "max"],
    console: "ttyS0",
    strip: "strip",
    libraries: "x86_64-linux-gnu",
};

/// 64-bit ARM. Pointers are signed as the emulator likes it best: as the processors do it, booting takes
/// twice as long.
pub(super) const ARM64: Architecture = Architecture {
    name: "arm64",
    target: Some("aarch64-unknown-linux-gnu"),
    tests: "linux_ebpf",
    emulator: "qemu-system-aarch64",
    machine: &["-machine", "virt", "-cpu", "max,pauth-impdef=on"],
    console: "ttyAMA0",
    strip: "aarch64-linux-gnu-strip",
    libraries: "aarch64-linux-gnu",
};

/// All of them.
pub(super) const ALL: [&Architecture; 2] = [&AMD64, &ARM64];

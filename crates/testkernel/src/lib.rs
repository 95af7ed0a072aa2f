//! What the test-kernel driver and the runner say to each other; `docs/TESTING.md` tells how the two
//! prove the driver and the agent on Wine.
//!
//! The programs themselves are built for Windows only, by `cargo xtask wine`: `kernel/` is the
//! test-kernel driver, `runner/` the program that starts others, watches them and holds the tests,
//! `faulty_driver.rs` a driver that breaks the rules, so that the checks are seen to fire, and
//! `bcryptprimitives.rs` a library that Wine 8.0 lacks. None of them ever ships.

pub mod report;
pub mod request;
pub mod summary;

pub use report::Report;
pub use request::Request;

/// The test kernel's service, which is also the name of its device and its link.
pub const SERVICE: &str = "SysTrailTestKernel";

/// The load order group into which the agent installs the driver, and so the test kernel's: Wine loads
/// drivers of one group into one process, and only there can one complete the kernel for another.
pub const LOAD_ORDER_GROUP: &str = "SysTrail";

/// The one control code of the test kernel: a [`Request`] in, a [`Report`] or nothing out.
pub const CONTROL_CODE: u32 = (0x22 << 16) | (0x900 << 2);

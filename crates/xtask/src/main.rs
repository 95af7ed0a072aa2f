//! `cargo xtask TASK`: the tasks are in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    xtask::main()
}

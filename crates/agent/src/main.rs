//! `systrail`: parse, call, print, exit code; nothing else.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main().into()
}

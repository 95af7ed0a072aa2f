//! `systrail completions`: what a shell needs to know to complete commands, flags and their values.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::{Exit, Failure, console};

/// Prints a script that has a shell complete commands, flags and their values.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail completions bash > /etc/bash_completion.d/systrail
  systrail completions fish > ~/.config/fish/completions/systrail.fish
  systrail completions powershell >> $PROFILE")]
pub(super) struct Arguments {
    /// The shell
    shell: Shell,
}

/// Does `systrail completions`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let mut command = super::Arguments::command();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "systrail", &mut script);
    console::result(&String::from_utf8(script)?)?;
    Ok(Exit::Done)
}

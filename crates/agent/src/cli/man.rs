//! `systrail man`: the manual, from the same definition as the parser.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_mangen::Man;

use super::{Exit, Failure, console};

/// Print a page of the manual, or write all of them into a directory
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail man | man -l -                          read it
  systrail man query | man -l -                    the page of a command
  systrail man --all /usr/local/share/man/man1     a file a page, as packages have them")]
pub(super) struct Arguments {
    /// The command
    #[arg(value_name = "COMMAND", conflicts_with = "all")]
    command: Vec<String>,
    /// Write every page into this directory
    #[arg(long, value_name = "DIR")]
    all: Option<PathBuf>,
}

/// A command without the commands that print its help, each of which would have a page.
fn without_help(command: Command) -> Command {
    let command = command.disable_help_subcommand(true);
    command.mut_subcommands(without_help)
}

/// Does `systrail man`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    // What the parser would call the commands below it is known once it is built.
    let mut whole = without_help(super::Arguments::command());
    whole.build();
    if let Some(directory) = &arguments.all {
        clap_mangen::generate_to(whole, directory)
            .map_err(|error| anyhow::anyhow!("{}: {error}", directory.display()))?;
        return Ok(Exit::Done);
    }
    let mut command = &whole;
    for name in &arguments.command {
        command = command.find_subcommand(name).ok_or_else(|| {
            Failure::usage(anyhow::anyhow!(
                "there is no command {name}; `systrail --help` names them"
            ))
        })?;
    }
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    console::result(&String::from_utf8(page)?)?;
    Ok(Exit::Done)
}

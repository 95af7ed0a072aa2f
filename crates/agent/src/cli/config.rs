//! `systrail config`: is the configuration valid, and where is it not.

use std::path::PathBuf;

use clap::Subcommand;
use systrail::config::{Severity, default_path};
use systrail::quantity::show_count;

use super::{Exit, Failure, console, options};

/// What to do with the configuration.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say whether the configuration is valid, and where it is not
    ///
    /// Every finding is told with file, line and column. Errors make the exit code 2; warnings,
    /// such as rules that can never fire, do not.
    #[command(after_help = "\
Examples:
  systrail config check                    the file a service would read
  systrail config check new.toml && sudo cp new.toml /etc/systrail/systrail.toml")]
    Check {
        /// The file; /etc/systrail/systrail.toml when not given
        file: Option<PathBuf>,
    },
}

/// Does `systrail config`.
pub(super) fn main(command: &Command) -> Result<Exit, Failure> {
    let Command::Check { file } = command;
    let path = file.clone().unwrap_or_else(default_path);
    let shown = path.display();
    if file.is_none() && !path.exists() {
        console::result(&format!("{shown}: not there; the defaults apply\n"))?;
        return Ok(Exit::Done);
    }
    let (_, findings) = options::read(&path).map_err(Failure::usage)?;
    let errors = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Error)
        .count();
    let warnings = findings.len() - errors;
    let verdict = if errors == 0 { "valid" } else { "refused" };
    let mut lines: Vec<String> = findings
        .iter()
        .map(|finding| format!("{shown}:{finding}\n"))
        .collect();
    lines.push(format!(
        "{shown}: {verdict}, {}, {}\n",
        show_count(errors, "error"),
        show_count(warnings, "warning")
    ));
    console::result(&lines.concat())?;
    Ok(if errors == 0 { Exit::Done } else { Exit::Usage })
}

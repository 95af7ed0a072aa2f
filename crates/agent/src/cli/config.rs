//! `systrail config`: is the configuration valid, and where is it not; what is in force; rules from another
//! sensor.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::anyhow;
use clap::Subcommand;
use systrail::config::{Severity, default_path};
use systrail::import_sysmon::{self, Import};
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
    /// Print the configuration in force: every key, the defaults too, and where each value comes from
    ///
    /// What is printed is a configuration itself. What the command line of a recorder says goes over it.
    #[command(after_help = "\
Examples:
  systrail config show                     what a service that starts now would go by
  systrail config show new.toml | diff - <(systrail config show)")]
    Show {
        /// The file; /etc/systrail/systrail.toml when not given
        file: Option<PathBuf>,
    },
    /// Turn a Sysmon configuration into rules, and prove that they decide as Sysmon does
    ///
    /// The rules go to standard output; what was taken, what was not and why, and what the proof came
    /// to, to standard error. They are for Windows, whatever system this runs on.
    #[command(after_help = "\
Examples:
  systrail config import-sysmon sysmonconfig.xml > systrail.toml
  systrail config import-sysmon - < sysmonconfig.xml

Exit codes: 0 rules were written, even where some could not be taken; 1 the proof failed; 2 this is
no Sysmon configuration.")]
    ImportSysmon {
        /// The configuration; - is standard input
        file: PathBuf,
    },
}

/// Does `systrail config`.
pub(super) fn main(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Check { file } => check(file.as_deref()),
        Command::Show { file } => show(file.as_deref()),
        Command::ImportSysmon { file } => import(file),
    }
}

fn show(file: Option<&Path>) -> Result<Exit, Failure> {
    let default = default_path();
    let path = file.unwrap_or(&default);
    let config = options::load(file)?;
    let (text, whence) = if file.is_none() && !path.exists() {
        let whence = format!(
            "# {} is not there; the defaults are in force.\n",
            path.display()
        );
        (String::new(), whence)
    } else {
        let text = systrail::config::read_text(path).map_err(Failure::usage)?;
        (text, format!("# Lines are those of {}.\n", path.display()))
    };
    console::result(&format!("{whence}{}", config.show(&text)))?;
    Ok(Exit::Done)
}

fn check(file: Option<&Path>) -> Result<Exit, Failure> {
    let path = file.map_or_else(default_path, Path::to_owned);
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

fn import(file: &Path) -> Result<Exit, Failure> {
    let shown = file.display();
    let bytes = read(file).map_err(|error| Failure::usage(anyhow!("{shown}: {error}")))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let import = import_sysmon::import(&name, &bytes)
        .map_err(|error| Failure::usage(anyhow!("{shown}: {error}")))?;
    console::result(&import.text)?;
    tell(&import);
    Ok(if import.proof.disagreements.is_empty() {
        Exit::Done
    } else {
        Exit::Failed
    })
}

/// The bytes of a configuration, and one more than are taken where it is too large.
fn read(file: &Path) -> std::io::Result<Vec<u8>> {
    let limit = u64::try_from(import_sysmon::SIZE_MAX).unwrap_or(u64::MAX) + 1;
    let mut bytes = Vec::new();
    if file == Path::new("-") {
        std::io::stdin().take(limit).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(limit).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

/// Says what became of the configuration.
fn tell(import: &Import) {
    for left in &import.left {
        console::line(format_args!("line {}: not taken: {}", left.line, left.what));
    }
    for remark in &import.remarks {
        console::line(format_args!("line {}: {}", remark.line, remark.what));
    }
    for other in &import.others {
        let conditions = show_count(other.condition_count, "condition");
        console::line(format_args!(
            "line {}: {} ({conditions}): no such events are recorded here",
            other.line, other.element
        ));
    }
    for count in import.counts.iter().filter(|count| count.all > 0) {
        let (kind, all) = (count.kind.element(), show_count(count.all, "rule"));
        console::line(format_args!("{kind}: {} of {all} taken", count.taken));
    }
    let (all, taken) = import_sysmon::sums(&import.counts);
    let all = show_count(all, "rule");
    console::line(format_args!("{taken} of {all} taken"));
    for disagreement in &import.proof.disagreements {
        console::line(format_args!("not as Sysmon decides: {disagreement}"));
    }
    if import.proof.disagreements.is_empty() {
        let events = show_count(import.proof.event_count, "event");
        console::line(format_args!("proved with {events}: decided as Sysmon does"));
    }
}

//! The command line: arguments, exit codes, and who does what.
//!
//! Results go to standard output, everything else to standard error. The names of commands and
//! flags and the exit codes are a contract with scripts: add, never rename.

mod attendant;
mod completions;
mod config;
mod console;
mod detect;
mod doctor;
mod export;
#[cfg_attr(windows, path = "cli/windows/foreground.rs")]
mod foreground;
mod forward;
mod job;
#[cfg_attr(windows, path = "cli/windows/launch.rs")]
mod launch;
mod live;
mod local;
mod log;
mod man;
mod messages;
mod options;
mod pager;
mod passed_over;
mod query;
mod record;
mod reload;
mod replay;
mod report;
#[cfg_attr(windows, path = "cli/windows/service.rs")]
mod service;
#[cfg_attr(windows, path = "cli/windows/service_manager.rs")]
mod service_manager;
#[cfg(all(feature = "shell", target_os = "linux"))]
mod shell;
mod show;
#[cfg_attr(windows, path = "cli/windows/stop.rs")]
mod stop;
mod timeout;
mod top;
mod trail;
mod tree;
mod watch;
mod web;

#[cfg(windows)]
#[path = "cli/windows/driver.rs"]
mod driver;

use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};
use systrail::zone;

/// Records what this machine runs, straight from the kernel: process starts, execs and exits,
/// thread starts and exits, image loads.
#[derive(Debug, Parser)]
#[command(
    name = "systrail",
    version,
    max_term_width = 100,
    subcommand_required = true
)]
#[command(after_help = concat!(
    "Examples:\n",
    "  systrail watch                                  see what happens now\n",
    "  systrail run --log trail.jsonl --duration 10s   record ten seconds\n",
    "  systrail run -- make -j2                        how did a command go?\n",
    "  systrail doctor                                 why does it not record here?\n",
    "\n",
    "Exit codes: 0 done and balanced, 1 failed while running, 2 wrong arguments or configuration,\n",
    "3 events were lost and --on-loss fail, 4 no sensor can run here",
))]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Record to a log file and a store until told to stop; or one command, and say how it went
    Run(job::Arguments),
    /// Print events for a person until told to stop; writes no files of its own accord
    Watch(watch::Arguments),
    /// Send a recorded log through the pipeline again
    Replay(replay::Arguments),
    /// Ask the store in SQL
    Query(query::Arguments),
    /// Print the process tree: as it is now, or as a log or the store tells it
    Tree(tree::Arguments),
    /// Show what runs, starts, ends and fails on one screen: live, or as it was
    Top(top::Arguments),
    /// Show the store in a browser
    Web(web::Arguments),
    /// Tell one process's whole story
    Show(show::Arguments),
    /// Try Sigma rules on what was recorded, or say which of them can fire
    Detect(detect::Arguments),
    /// Print the trail for another system: JSON Lines, CSV, ECS, OCSF
    Export(export::Arguments),
    /// Send the store to the fleet's receiver, or say how far it was sent
    Forward(forward::Arguments),
    /// Say what this machine can and cannot do, and the one thing to do about it
    Doctor(doctor::Arguments),
    /// Run as a service of the system
    #[command(subcommand)]
    #[command(after_help = "\
Examples:
  sudo systrail service install && sudo systrail service start
  systrail service status
  sudo systrail service uninstall                  what it recorded stays")]
    Service(service::Command),
    /// Install, start, stop and remove the kernel driver
    #[cfg(windows)]
    #[command(subcommand)]
    Driver(driver::Command),
    /// Look at the configuration
    #[command(subcommand)]
    #[command(after_help = "\
Examples:
  systrail config check                            is the system's valid?
  systrail config show                             what is in force, defaults too
  systrail config import-sysmon sysmonconfig.xml > systrail.toml")]
    Config(config::Command),
    /// Print a script that has a shell complete commands and flags
    Completions(completions::Arguments),
    /// Print a page of the manual, or write all of them into a directory
    Man(man::Arguments),
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done, and the account balanced.
    Done,
    /// Failed while running.
    Failed,
    /// Wrong arguments or configuration.
    Usage,
    /// Events were lost and `--on-loss fail`.
    Lost,
    /// No sensor can run here.
    NoSensor,
    /// As the command that was recorded ended.
    Command(u8),
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Lost => 3,
            Self::NoSensor => 4,
            Self::Command(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

/// Why a command broke off: the exit code, and what is said about it.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    error: anyhow::Error,
}

impl Failure {
    /// Wrong arguments or configuration.
    fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// The program was built without it: how to get one that has it.
    #[cfg(not(all(
        feature = "detect",
        feature = "forward",
        feature = "parquet",
        feature = "shell",
        feature = "top",
        feature = "web",
        target_os = "linux"
    )))]
    fn not_built_in(what: &str, feature: &str) -> Self {
        Self::usage(anyhow::anyhow!(
            "this systrail was built without {what}; build one with `cargo build --release -p systrail \
             --features {feature}`"
        ))
    }

    /// No sensor can run here.
    fn no_sensor(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::NoSensor,
            error: error.into(),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
        }
    }
}

fn parse() -> Arguments {
    Arguments::try_parse().unwrap_or_else(|error| explained(error).exit())
}

impl Command {
    /// Whether it is to show and mean local time.
    const fn is_local(&self) -> bool {
        match self {
            Self::Watch(arguments) => arguments.local.local,
            Self::Query(arguments) => arguments.local.local,
            Self::Tree(arguments) => arguments.local.local,
            Self::Top(arguments) => arguments.local.local,
            Self::Show(arguments) => arguments.local.local,
            _ => false,
        }
    }
}

/// Does what the arguments say.
pub(crate) fn main() -> Exit {
    // Help and version end here with 0, wrong arguments with 2.
    let mut arguments = parse();
    console::log_to_standard_error();
    if arguments.command.is_local() {
        match zone::use_local() {
            // Once more: what was a time in UTC is one in local time.
            Ok(()) => arguments = parse(),
            Err(error) => {
                console::fail(&error.into());
                console::finish();
                return Exit::Usage;
            }
        }
    }
    let result = match arguments.command {
        Command::Run(arguments) => job::main(&arguments),
        Command::Watch(arguments) => watch::main(&arguments),
        Command::Replay(arguments) => replay::main(&arguments),
        Command::Query(arguments) => query::main(&arguments),
        Command::Tree(arguments) => tree::main(&arguments),
        Command::Top(arguments) => top::main(&arguments),
        Command::Web(arguments) => web::main(&arguments),
        Command::Show(arguments) => show::main(&arguments),
        Command::Detect(arguments) => detect::main(&arguments),
        Command::Export(arguments) => export::main(&arguments),
        Command::Service(command) => service::main(&command),
        #[cfg(windows)]
        Command::Driver(command) => driver::main(&command),
        Command::Forward(arguments) => forward::main(&arguments),
        Command::Doctor(arguments) => doctor::main(&arguments),
        Command::Config(command) => config::main(&command),
        Command::Completions(arguments) => completions::main(&arguments),
        Command::Man(arguments) => man::main(&arguments),
    };
    let exit = result.unwrap_or_else(|Failure { exit, error }| {
        console::fail(&error);
        exit
    });
    console::finish();
    exit
}

/// What clap refuses, with a tip where the command is one of another system. It is no hidden command
/// here, for those are still offered by the scripts of `systrail completions`.
fn explained(mut error: clap::Error) -> clap::Error {
    let refused = error.get(ContextKind::InvalidSubcommand);
    let is_driver = matches!(refused, Some(ContextValue::String(name)) if name == "driver");
    if is_driver && !cfg!(windows) {
        let tip = "it is for Windows; here nothing is to be installed for the kernel: `systrail \
                   doctor` says how it is observed, `systrail service` installs the recorder";
        let tip = ContextValue::StyledStrs(vec![tip.into()]);
        let _no_tip_before = error.insert(ContextKind::Suggested, tip);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::Exit;

    /// The table of the document for administrators, and what `--help` says.
    #[test]
    fn the_document_names_every_exit_code() {
        let document = include_str!("../../../docs/LINUX.md");
        let (_, table) = document.split_once("\n## Exit codes\n").expect("a table");
        let exits = [
            (Exit::Done, "stays down"),
            (Exit::Failed, "starts it again"),
            (Exit::Usage, "stays down"),
            (Exit::Lost, "starts it again"),
            (Exit::NoSensor, "stays down"),
        ];
        for (exit, then) in exits {
            let begin = format!("| {} | ", exit.code());
            let row = table.lines().find(|line| line.starts_with(&begin));
            assert!(
                row.is_some_and(|row| row.contains(then)),
                "{exit:?}: {row:?}"
            );
        }
        let unit = include_str!("../assets/systrail.service");
        assert!(unit.contains("\nRestart=on-failure\nRestartPreventExitStatus=2 4\n"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_document_names_every_place() {
        let document = include_str!("../../../docs/LINUX.md");
        let configuration = systrail::config::default_path();
        assert!(document.contains(&format!("`{}`", configuration.display())));
        assert!(document.contains(super::service::ACCOUNT));
        if systrail::sys::place::is_root() {
            let config = systrail::config::Config::default();
            for path in [config.log_file(), config.store_directory()] {
                assert!(
                    document.contains(&format!("`{}`", path.display())),
                    "{path:?}"
                );
            }
        }
    }
}

//! `systrail forward`: the store to the fleet's receiver, and how far it was sent.

#[cfg(feature = "forward")]
mod recorded;
#[cfg(feature = "forward")]
mod send;
#[cfg(feature = "forward")]
mod status;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use systrail::trail::Time;

use super::{Exit, Failure, trail};

#[cfg(feature = "forward")]
pub(super) use recorded::Recorded;

/// Sends what the store has and the receiver of `[forward]` in the configuration has not, and ends. The
/// recorder does the same by itself; this is for a store that nobody records to, or a recorder that does
/// not forward.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  systrail forward                 send what is owed
  systrail forward --follow        and go on, until Ctrl-C
  systrail forward --from 1d       send the last day again; the engine removes doubles by their key
  systrail forward status          how far it is, what is owed, what went wrong")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    source: SourceArguments,
    /// Go on when everything was sent, until told to stop
    #[arg(long)]
    follow: bool,
    /// Send again from this time on: 10m (that long ago), 02:00, 2026-11-22T02:00:00Z; a recorder that
    /// forwards the store does it
    #[arg(long, value_name = "TIME", value_parser = trail::time, allow_hyphen_values = true)]
    from: Option<Time>,
}

/// What to do instead.
#[derive(Debug, Subcommand)]
enum Command {
    /// Say how far the store was sent, what is owed, and what went wrong last
    Status(StatusArguments),
}

/// Which store, and by which configuration.
#[derive(Debug, Args)]
struct SourceArguments {
    /// The store in this directory
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Read this configuration instead of the system's
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// How the status is told.
#[derive(Debug, Args)]
struct StatusArguments {
    #[command(flatten)]
    source: SourceArguments,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    format: String,
}

/// Does `systrail forward`.
#[cfg(feature = "forward")]
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    match &arguments.command {
        Some(Command::Status(arguments)) => status::main(arguments),
        None => send::main(arguments),
    }
}

/// Says how to get a program that has it.
#[cfg(not(feature = "forward"))]
fn not_built_in() -> Failure {
    Failure::not_built_in("forwarding", "forward")
}

/// Says that there is no such thing here.
#[cfg(not(feature = "forward"))]
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments {
        command: _command,
        source: _source,
        follow: _follow,
        from: _from,
    } = arguments;
    Err(not_built_in())
}

/// Forwards nothing.
#[cfg(not(feature = "forward"))]
#[derive(Debug)]
pub(super) struct Recorded;

#[cfg(not(feature = "forward"))]
#[expect(
    clippy::unused_self,
    clippy::unnecessary_wraps,
    reason = "its twin of the feature has something to do"
)]
impl Recorded {
    /// Refuses a configuration that asks for what is not there.
    pub(super) fn prepare(
        config: &systrail::config::Config,
        _store: Option<&std::path::Path>,
    ) -> Result<Self, Failure> {
        match config.forward {
            Some(_) => Err(not_built_in()),
            None => Ok(Self),
        }
    }

    pub(super) const fn hold(&self) -> Option<std::sync::Arc<systrail::store::Hold>> {
        None
    }

    pub(super) const fn start(&mut self) -> Result<(), Failure> {
        Ok(())
    }

    pub(super) const fn tally(&self) -> Option<std::sync::Arc<systrail::forward::Tally>> {
        None
    }

    pub(super) const fn finish(self, _account: &mut systrail::account::Account) {}
}

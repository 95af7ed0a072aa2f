//! `systrail top`: what the machine runs, on one screen.

use std::path::PathBuf;

use clap::Args;
use systrail::trail::Time;

use super::local::Local;
use super::trail::time;
use super::{Exit, Failure};

/// Shows what runs, starts, ends and fails, and what was lost, on one screen: live, from the store that the
/// service or `systrail run` writes; or as it was at a time, of which the arrow keys lead on. `?` tells the
/// keys. It reads the store alone and costs the recorder nothing.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  systrail top                             the machine, live, from the service's store
  systrail top --at 02:10                  how it was at ten past two; left and right lead on
  systrail top --store /mnt/evidence       a store of another machine
  systrail top --log trail.jsonl.gz        the end of a log

Without a store there is nothing to show; the service records one (`systrail service install`),
or `sudo systrail run --store DIR`. Without a terminal, `systrail tree` and `systrail watch` print.")]
pub(super) struct Arguments {
    /// Look at the store in this directory
    #[arg(long, value_name = "DIR", conflicts_with = "log")]
    store: Option<PathBuf>,
    /// Look at this log or Windows trace instead of a store; a log may be compressed
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Begin with this time: 10m (that long ago), 02:10, 2026-11-22T02:10:00Z
    #[arg(long, value_name = "TIME", value_parser = time, allow_hyphen_values = true)]
    at: Option<Time>,
    #[command(flatten)]
    pub(super) local: Local,
}

#[cfg(all(feature = "top", target_os = "linux"))]
pub(super) use self::on_terminal::main;

#[cfg(all(feature = "top", target_os = "linux"))]
mod on_terminal {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use systrail::replay;
    use systrail::store;
    use systrail::top::{self, At, Charset, Ending, Source, Style};

    use super::super::console::{self, say};
    use super::super::trail::store_directory;
    use super::{Arguments, Exit, Failure};

    /// Remarks that wait to be shown; further ones are not.
    const SAID_MAX: usize = 16;

    /// Does `systrail top`.
    pub(crate) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
        let source = source(arguments)?;
        check_terminal()?;
        let at = arguments.at.map_or(At::Live, At::Time);
        let style = Style {
            colour: console::colour_on_standard_output(),
            charset: Charset::of_locale(|name| std::env::var(name).ok()),
        };
        // What would be said on standard error would stand in the picture.
        let (say_later, said) = crossbeam_channel::bounded(SAID_MAX);
        let is_open = Arc::new(AtomicBool::new(true));
        let is_shown = Arc::clone(&is_open);
        console::divert(move |text| {
            is_shown.load(Ordering::SeqCst) && {
                // Who says too much is not heard.
                let _full = say_later.try_send(text.to_owned());
                true
            }
        });
        let ending = top::run(source, at, style, &said);
        is_open.store(false, Ordering::SeqCst);
        for text in said.try_iter() {
            console::line(format_args!("{text}"));
        }
        match ending? {
            Ending::Asked => Ok(Exit::Done),
            Ending::Closed => {
                say!("the terminal was closed");
                Ok(Exit::Failed)
            }
        }
    }

    /// What is looked at, if it is there.
    fn source(arguments: &Arguments) -> Result<Source, Failure> {
        if let Some(path) = &arguments.log {
            if path == Path::new("-") {
                return Err(Failure::usage(anyhow::anyhow!(
                    "standard input is where the keys come from; name a file for --log"
                )));
            }
            // Opened for its error.
            drop(replay::open(path)?);
            return Ok(Source::Log(path.clone()));
        }
        let directory = store_directory(arguments.store.as_deref())?;
        match store::segments(&directory) {
            Ok(_) => Ok(Source::Store(directory)),
            Err(store::ReadError::NotThere { .. }) => Err(anyhow::anyhow!(
                "no store at {}, so there is nothing to show; record one: `systrail service install` \
                 for good, or `sudo systrail run --store DIR` and `systrail top --store DIR` beside it",
                directory.display()
            )
            .into()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses what cannot show a screen.
    fn check_terminal() -> Result<(), Failure> {
        let why = if !top::is_there() {
            "there is no terminal to show a screen on"
        } else if std::env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb") {
            "the terminal cannot show a screen (TERM is `dumb` or not set)"
        } else {
            return Ok(());
        };
        Err(Failure::usage(anyhow::anyhow!(
            "{why}; `systrail tree` prints what runs, `systrail watch` what happens"
        )))
    }
}

/// Says how to get a program that has it, or what there is instead.
#[cfg(not(all(feature = "top", target_os = "linux")))]
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let Arguments {
        store: _,
        log: _,
        at: _,
        local: _,
    } = arguments;
    if cfg!(target_os = "linux") {
        return Err(Failure::not_built_in("its screen", "top"));
    }
    Err(Failure::usage(anyhow::anyhow!(
        "the screen is for Linux so far; `systrail tree` prints what runs, `systrail watch` what happens"
    )))
}

//! Sending what is owed, from the command line.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use systrail::config::Config;
use systrail::forward::{self, CursorError, Forwarder, Prepared, Progress, Request};
use systrail::quantity::show_count;
use systrail::sys::wake::Waker;

use super::super::console::say;
use super::super::{Exit, Failure, options, stop};
use super::recorded::prepare;
use super::{Arguments, SourceArguments};

/// A receiver that took nothing for so long is given up, where nobody asked to go on.
const GIVE_UP: Duration = Duration::from_mins(1);

/// No wait without an end: what is waited for wakes.
const LONG: Duration = Duration::from_hours(24);

/// Does `systrail forward`.
pub(super) fn main(arguments: &Arguments) -> Result<Exit, Failure> {
    let (config, store) = arguments.source.read()?;
    let url = config.forward.as_ref().map(|target| target.url.to_string());
    systrail::store::segments(&store)?;
    let Some(mut prepared) = prepare(&config, &store)? else {
        return Err(Failure::usage(anyhow::anyhow!(
            "no receiver: write `[forward]` with `url = \"https://...\"` into the configuration"
        )));
    };
    if let Some(from) = arguments.from {
        forward::ask_again(&store, Request { from })
            .map_err(|error| anyhow::anyhow!("store {}: {error}", store.display()))?;
    }
    match prepared.lock() {
        Err(CursorError::Locked { .. }) if arguments.from.is_some() => {
            say!("another process forwards the store; it sends again from then on");
            return Ok(Exit::Done);
        }
        locked => locked?,
    }
    let waker = Waker::new()?;
    let signals = stop::on_signals_saying(&waker, "aborted; what was not sent stays in the store")?;
    let is_done = Arc::new(AtomicBool::new(false));
    let forwarder = start(prepared, arguments.follow, &is_done, &waker)?;
    while !waker.is_woken() {
        waker.wait(LONG);
    }
    let tally = forwarder.tally();
    let counts = forwarder.finish();
    let sent = show_count(counts.forwarded, "event");
    let url = url.unwrap_or_default();
    say!("{sent} forwarded to {url}, {} owed", counts.owed);
    if counts.refused > 0 {
        say!(
            "{} refused and kept aside",
            show_count(counts.refused, "event")
        );
    }
    if arguments.follow || is_done.load(Ordering::SeqCst) {
        return Ok(signals.exit_of(Exit::Done));
    }
    match tally.error() {
        Some(error) => Err(anyhow::anyhow!("{url}: {error}").into()),
        None => Ok(signals.exit_of(Exit::Done)),
    }
}

/// Starts to forward; wakes `waker` when everything was sent, or too long nothing could be.
fn start(
    prepared: Prepared,
    follows: bool,
    is_done: &Arc<AtomicBool>,
    waker: &Waker,
) -> Result<Forwarder, Failure> {
    let (done, woken) = (Arc::clone(is_done), waker.clone());
    let mut failing_since = None;
    let progress_fn = move |progress| match progress {
        _ if follows => {}
        Progress::More => failing_since = None,
        Progress::Done => {
            done.store(true, Ordering::SeqCst);
            woken.wake();
        }
        Progress::Failed => {
            let since = *failing_since.get_or_insert_with(Instant::now);
            if since.elapsed() > GIVE_UP {
                woken.wake();
            }
        }
    };
    Ok(prepared.start(Some(Box::new(progress_fn)))?)
}

impl SourceArguments {
    /// The configuration, and the store that is meant.
    pub(super) fn read(&self) -> Result<(Config, PathBuf), Failure> {
        let config = options::load(self.config.as_deref())?;
        let store = self.store.clone();
        let store = store.unwrap_or_else(|| config.store_directory());
        Ok((config, store))
    }
}

//! Forwarding what is recorded, as it is.

use std::path::Path;
use std::sync::Arc;

use systrail::account::Account;
use systrail::config::Config;
use systrail::forward::{Forwarder, Prepared, Settings, Tally};
use systrail::store::Hold;

use super::super::Failure;
use super::super::console::say;

/// What forwards a recording, where the configuration asks for it.
#[derive(Debug)]
pub(in super::super) enum Recorded {
    /// Nothing does.
    Nothing,
    /// It will be.
    Prepared(Box<Prepared>),
    /// It is.
    Started(Forwarder),
}

/// What forwards the store in a directory, where the configuration has a receiver.
pub(super) fn prepare(config: &Config, store: &Path) -> Result<Option<Prepared>, Failure> {
    let Some(target) = &config.forward else {
        return Ok(None);
    };
    Ok(Some(Prepared::new(Settings {
        store: std::path::absolute(store)?,
        host_id: systrail::sys::host::id(),
        target: target.clone(),
    })))
}

impl Recorded {
    /// Looks how far the store was forwarded, before anything of it is deleted.
    pub(in super::super) fn prepare(
        config: &Config,
        store: Option<&Path>,
    ) -> Result<Self, Failure> {
        let Some(store) = store else {
            if config.forward.is_some() {
                say!(
                    "nothing is forwarded: what is forwarded is what the store has, and there is none"
                );
            }
            return Ok(Self::Nothing);
        };
        let prepared = prepare(config, store)?;
        Ok(prepared.map_or(Self::Nothing, |prepared| Self::Prepared(Box::new(prepared))))
    }

    /// What retention is to ask.
    pub(in super::super) fn hold(&self) -> Option<Arc<Hold>> {
        match self {
            Self::Nothing => None,
            Self::Prepared(prepared) => Some(prepared.hold()),
            Self::Started(forwarder) => Some(forwarder.hold()),
        }
    }

    /// Begins to forward.
    pub(in super::super) fn start(&mut self) -> Result<(), Failure> {
        *self = match std::mem::replace(self, Self::Nothing) {
            Self::Prepared(prepared) => Self::Started(prepared.start(None)?),
            other => other,
        };
        Ok(())
    }

    /// What is counted.
    pub(in super::super) fn tally(&self) -> Option<Arc<Tally>> {
        match self {
            Self::Started(forwarder) => Some(forwarder.tally()),
            Self::Nothing | Self::Prepared(_) => None,
        }
    }

    /// Sends what is left, as far as there is time, and says in the account how far it came.
    pub(in super::super) fn finish(self, account: &mut Account) {
        if let Self::Started(forwarder) = self {
            let counts = forwarder.finish();
            account.forwarded = Some(counts.forwarded);
            account.owed = Some(counts.owed);
        }
    }
}

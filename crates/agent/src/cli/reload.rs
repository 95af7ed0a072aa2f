//! A configuration that is read again while a recording goes on: rules and detections are taken from it, and
//! nothing where it is wrong.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use systrail::config::Config;
use systrail::pipeline::{Change, Reload, Status};
use systrail::quantity::show_count;

use super::console::say;
use super::options::Options;
use super::{Failure, detect, service_manager};

/// Reads the configuration of a recording again.
#[derive(Debug)]
pub(super) struct Reloader {
    options: Options,
    /// What rules and detections were taken from, and everything else at the start.
    in_force: Mutex<Config>,
    status: Arc<Status>,
    /// How often it was asked to since a thread began with it.
    asked: AtomicUsize,
}

impl Reloader {
    /// For a recording that is begun with `config`, which `options` led to.
    pub(super) fn new(options: &Options, config: &Config, status: &Arc<Status>) -> Arc<Self> {
        Arc::new(Self {
            options: options.clone(),
            in_force: Mutex::new(config.clone()),
            status: Arc::clone(status),
            asked: AtomicUsize::new(0),
        })
    }

    /// Has it read, by a thread of its own: neither a request to stop nor the recording waits for it. What is
    /// asked for meanwhile is done when that is.
    pub(super) fn ask(self: &Arc<Self>) {
        if self.asked.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        let own = Arc::clone(self);
        let started = systrail::sys::thread::named("reload").spawn(move || own.reload_as_asked());
        if let Err(error) = started {
            self.asked.store(0, Ordering::SeqCst);
            say!("the configuration stays as it was: starting a thread: {error}");
        }
    }

    fn reload_as_asked(&self) {
        loop {
            let asked = self.asked.load(Ordering::SeqCst);
            self.reload();
            let ended = self
                .asked
                .compare_exchange(asked, 0, Ordering::SeqCst, Ordering::SeqCst);
            if ended.is_ok() {
                return;
            }
        }
    }

    fn reload(&self) {
        // Before that a service manager waits for the first word that all is seen.
        let is_recording = self.status.is_recording();
        if is_recording {
            service_manager::reloading();
        }
        let began = Instant::now();
        let told = match self.take() {
            Ok(told) => {
                self.status.reloaded(Reload::Taken);
                format!(
                    "configuration read again in {} ms: {told}",
                    began.elapsed().as_millis()
                )
            }
            Err(Failure { error, .. }) => {
                self.status.reloaded(Reload::Refused);
                format!("{error}; what was in force stays in force")
            }
        };
        say!("{told}");
        if is_recording {
            service_manager::reloaded(&told);
        }
    }

    /// Takes what can be changed of it, as a whole or not at all, and says what that is.
    fn take(&self) -> Result<String, Failure> {
        let config = self.options.configuration()?;
        let rules = config.rules().map_err(Failure::usage)?;
        let stage = config.detect.as_ref().map(detect::stage).transpose()?;
        let mut told = show_count(config.include.len() + config.exclude.len(), "rule");
        let stage = stage.map(|(stage, count)| {
            told = format!("{told}, {}", show_count(count, "detection rule"));
            stage
        });
        self.status.change(Change { rules, stage });
        let mut in_force = self.in_force.lock().unwrap_or_else(PoisonError::into_inner);
        let others = in_force.different(&config);
        if !others.is_empty() {
            told = format!(
                "{told}; what changed in {} needs a restart",
                others.join(", ")
            );
        }
        in_force.include = config.include;
        in_force.exclude = config.exclude;
        in_force.detect = config.detect;
        Ok(told)
    }
}

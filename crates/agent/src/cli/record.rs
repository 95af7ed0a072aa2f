//! A recording, whatever command asks for it: from the arguments to the account.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use systrail::account::Account;
use systrail::alert::{self, Alerts};
use systrail::config::Config;
use systrail::enrich;
use systrail::forward::Tally;
use systrail::image_hash;
use systrail::image_hash::ImageHashes;
use systrail::metrics::{Server, Told};
use systrail::pipeline::scope::Scope;
use systrail::pipeline::{self, Stage, Status};
use systrail::rules::Kinds;
use systrail::sensor::choice::{self, Choice};
use systrail::sensor::{self, Sensor};
use systrail::sink::Sink;
use systrail::sink::log_file::{self, LogFile, Others};
use systrail::sink::store::{self, Store};
use systrail::sink::stream::Stream;
use systrail::store::Hold;
use systrail::store::retention::Retention;
use systrail::sys::wake::Waker;

use super::attendant::{Attendant, Duties};
use super::console::{self, say};
use super::detect;
use super::forward::Recorded;
use super::launch::{self, LaunchArguments};
use super::options::{Log, Options, exit_of, keep_from_summary};
use super::reload::Reloader;
use super::watch::Watcher;
use super::{Exit, Failure, report, service_manager, stop};

/// What `run` is told of a recording.
#[derive(Clone, Debug, Args)]
pub(super) struct RunArguments {
    #[command(flatten)]
    pub(super) options: Options,
    #[command(flatten)]
    pub(super) launch: LaunchArguments,
}

/// Does `systrail run`.
pub(super) fn run(arguments: &RunArguments) -> Result<Exit, Failure> {
    console::wait_for_nobody();
    let waker = Waker::new()?;
    let options = &arguments.options;
    let config = options.configuration()?;
    let status = Arc::<Status>::default();
    let reloader = Reloader::new(options, &config, &status);
    let signals = stop::on_signals_or_reload(&waker, move || reloader.ask())?;
    let exit = run_as(arguments, config, &status, &waker)?;
    Ok(signals.exit_of(exit))
}

/// Does `systrail run`, to whose end `waker` is woken.
#[cfg(windows)]
pub(super) fn run_until_woken(arguments: &RunArguments, waker: &Waker) -> Result<Exit, Failure> {
    let config = arguments.options.configuration()?;
    run_as(arguments, config, &Arc::default(), waker)
}

fn run_as(
    arguments: &RunArguments,
    config: Config,
    status: &Arc<Status>,
    waker: &Waker,
) -> Result<Exit, Failure> {
    let options = &arguments.options;
    let log = options.log(&config);
    // Two writers on one terminal would draw over each other.
    let is_shared = log == Log::StandardOutput && io::stdout().is_terminal();
    let recording = Recording {
        store: options.store(&config),
        config,
        log,
        watcher: None,
        scope: None,
        is_live: io::stderr().is_terminal() && !is_shared,
        says_source: true,
        status: Arc::clone(status),
    };
    recording.record(options, arguments.launch, waker)
}

/// A recording that has been decided on.
pub(super) struct Recording {
    pub(super) config: Config,
    pub(super) log: Log,
    /// The store's directory.
    pub(super) store: Option<PathBuf>,
    /// What prints events for a person.
    pub(super) watcher: Option<Watcher>,
    /// Whose events are recorded; everybody's without.
    pub(super) scope: Option<Scope>,
    /// Whether the live line is shown.
    pub(super) is_live: bool,
    /// Whether it is said which sensor records.
    pub(super) says_source: bool,
    /// What others see of it.
    pub(super) status: Arc<Status>,
}

impl Recording {
    /// Records, prints the account, and writes it where the summary goes.
    pub(super) fn record(
        self,
        options: &Options,
        launch: LaunchArguments,
        waker: &Waker,
    ) -> Result<Exit, Failure> {
        let on_loss = self.config.on_loss;
        let recording_fn = || {
            say!("recording");
            service_manager::ready();
        };
        let account = self.account(options, launch, waker, Vec::new(), recording_fn)?;
        report::print(&account);
        if let Some(path) = &options.summary {
            report::write_summary(path, &account)?;
        }
        Ok(exit_of(&account, on_loss))
    }

    /// Records, also to `more` sinks, and gives the account. `recording_fn` is called when every event
    /// from then on is seen.
    pub(super) fn account(
        mut self,
        options: &Options,
        launch: LaunchArguments,
        waker: &Waker,
        more: Vec<Box<dyn Sink>>,
        recording_fn: impl FnOnce(),
    ) -> Result<Account, Failure> {
        if let Log::File(log) = &self.log {
            keep_from_summary(log, options.summary.as_deref())?;
        }
        if let Some(path) = &options.summary {
            report::check_summary(path)?;
        }
        // Two recordings may not both tell of it, and the one that is kept does.
        let is_the_recorder = self.watcher.is_none() && self.scope.is_none();
        let mut settings = self.pipeline_settings()?;
        if is_the_recorder {
            settings.alerts = self.open_alerts()?;
        }
        let launched = launch::begin(&self.config, launch)?;
        let sensor = self.open_sensor(waker)?;
        let source = sensor.source();
        let store = self.store.as_deref().filter(|_| is_the_recorder);
        let mut recorded = Recorded::prepare(&self.config, store)?;
        settings.hold = recorded.hold();
        let target = self
            .config
            .forward
            .as_ref()
            .filter(|_| settings.hold.is_some());
        settings.heartbeat = target.map(|target| target.heartbeat);
        let mut sinks = self.open_sinks(waker, launch, recorded.hold())?;
        sinks.extend(more);
        if is_the_recorder {
            self.say_where();
        }
        recorded.start()?;
        let status = Arc::clone(&self.status);
        let _metrics = self.serve_metrics(&status, recorded.tally())?;
        let mut attendant = None;
        let recording_fn = || {
            recording_fn();
            systrail::sys::memory::give_back();
            let duties = Duties::new(options.duration, self.is_live);
            attendant = Attendant::start(duties, &status, waker);
        };
        let result = pipeline::record(sensor, sinks, settings, waker, &status, recording_fn);
        drop(attendant);
        launched.end();
        if let Some(counts) = status.found_so_far().alerts {
            report::print_alerts(&counts);
        }
        let mut account = result.map_err(|error| failure_of(source, error))?;
        recorded.finish(&mut account);
        Ok(account)
    }

    /// Says where the trail goes, so that it is found.
    fn say_where(&self) {
        if let Log::File(path) = &self.log {
            say!("log {}", path.display());
        }
        if let Some(path) = &self.store {
            say!("store {}", path.display());
        }
    }

    /// The sensor the configuration asks for; why it is no better one is said.
    fn open_sensor(&self, waker: &Waker) -> Result<Box<dyn Sensor>, Failure> {
        let settings = self.config.sensor_settings(waker);
        let Choice { sensor, refused } =
            choice::open(self.config.source, &settings).map_err(|none| {
                if none.passes() {
                    // Another agent's turn is no reason for a service to stay away.
                    Failure::from(none)
                } else {
                    Failure::no_sensor(none)
                }
            })?;
        for refusal in &refused {
            say!("{refusal}");
        }
        if self.says_source {
            say!("source {}", sensor.source());
        }
        Ok(sensor)
    }

    fn stage(&self) -> Result<Option<Box<dyn Stage>>, Failure> {
        let staged = self.config.detect.as_ref().map(detect::stage).transpose()?;
        Ok(staged.map(|(stage, _rule_count)| stage))
    }

    /// What the pipeline is told; it takes the scope.
    fn pipeline_settings(&mut self) -> Result<pipeline::Settings, Failure> {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(pipeline::Settings {
            host: systrail::sys::host::name(),
            host_id: systrail::sys::host::id(),
            boot_id: systrail::sys::host::boot_id()?,
            rules: self.config.rules().map_err(Failure::usage)?,
            process_events: self.config.events.covers(Kinds::PROCESS),
            scope: self.scope.take(),
            stage: self.stage()?,
            alerts: None,
            hashes: self.open_hashes()?,
            hold: None,
            heartbeat: None,
            environment: self.config.environment.clone(),
            limits: enrich::Limits {
                processes: count(self.config.limits.processes),
                images: count(self.config.limits.images),
                argument_rate: self.config.limits.argument_rate,
            },
            patience: pipeline::PATIENCE,
        })
    }

    /// Whoever reads our standard output and goes away ends the recording, quietly.
    fn open_sinks(
        &self,
        waker: &Waker,
        launch: LaunchArguments,
        hold: Option<Arc<Hold>>,
    ) -> Result<Vec<Box<dyn Sink>>, Failure> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        match &self.log {
            Log::None => {}
            Log::StandardOutput => {
                let ended = waker.clone();
                sinks.push(Box::new(Stream::stdout()?.when_ended(move || ended.wake())));
            }
            Log::File(path) => {
                launch::prepare_log(path)?;
                let log = open_log(path.clone(), &self.config, launch.others())?;
                sinks.push(Box::new(log));
            }
        }
        if let Some(path) = &self.store {
            launch::prepare_store(path, launch)?;
            sinks.push(Box::new(open_store(path.clone(), &self.config, hold)?));
        }
        if let Some(watcher) = &self.watcher {
            sinks.push(watcher.open(waker)?);
        }
        Ok(sinks)
    }

    /// What runs the command that the configuration has for matches.
    fn open_alerts(&self) -> Result<Option<Alerts>, Failure> {
        let Some(alert) = &self.config.alert else {
            return Ok(None);
        };
        launch::check_alert(&alert.program)?;
        let alerts = Alerts::start(alert::Settings {
            program: alert.program.clone(),
            arguments: alert.arguments.clone(),
            time_limit: alert::TIME_LIMIT,
            close_time: alert::CLOSE_TIME,
        })?;
        Ok(Some(alerts))
    }

    /// What hashes images, where the configuration asks for that. On Windows it reads what their makers say
    /// of them, which costs a few reads of each.
    fn open_hashes(&self) -> Result<Option<ImageHashes>, Failure> {
        let hash = &self.config.hash;
        let subject = if cfg!(windows) {
            image_hash::Subject::Versions
        } else {
            image_hash::Subject::Hashes
        };
        if subject == image_hash::Subject::Hashes && !hash.on {
            return Ok(None);
        }
        let settings = image_hash::Settings {
            subject,
            rate: hash.rate,
            file_size_max: hash.file_size_max,
            review_interval: image_hash::REVIEW_INTERVAL,
            close_time: image_hash::CLOSE_TIME,
        };
        let files = Box::new(image_hash::ImageFiles);
        Ok(Some(ImageHashes::start(settings, files)?))
    }

    fn serve_metrics(
        &self,
        status: &Arc<Status>,
        forwarded: Option<Arc<Tally>>,
    ) -> Result<Option<Server>, Failure> {
        let Some(address) = self.config.metrics else {
            return Ok(None);
        };
        let server = Server::start(
            address,
            Told {
                status: Arc::clone(status),
                forwarded,
                store: self.store.clone(),
            },
        )?;
        let address = server.address();
        say!("metrics on http://{address}/metrics");
        if !address.ip().is_loopback() {
            say!("whoever reaches {address} reads them: there is no password and no encryption");
        }
        Ok(Some(server))
    }
}

/// Why a recording did not start or broke: a sensor that turns out not to run here is none.
fn failure_of(source: &'static str, error: pipeline::Error) -> Failure {
    match error {
        pipeline::Error::Sensor(error @ sensor::Error::Unavailable { .. }) => {
            Failure::no_sensor(choice::Refusal::new(source, error))
        }
        pipeline::Error::Sensor(error @ sensor::Error::Busy { .. }) => {
            choice::Refusal::new(source, error).into()
        }
        error => error.into(),
    }
}

/// The log file with the configuration's limits.
pub(super) fn open_log(path: PathBuf, config: &Config, others: Others) -> Result<LogFile, Failure> {
    let log = &config.log;
    let opened = LogFile::open(log_file::Settings {
        path,
        rotate_size: Some(log.rotate_size),
        rotate_age: Some(log.rotate_age),
        keep_files: Some(usize::try_from(log.keep_files).unwrap_or(usize::MAX)),
        keep_age: log.keep_age,
        keep_size: log.keep_size,
        compress: log.compress,
        others,
    });
    opened.map_err(|error| {
        if error.is_wrong_path() {
            Failure::usage(error)
        } else {
            error.into()
        }
    })
}

/// The store with the configuration's limits; what of it is needed by others is in `hold`.
pub(super) fn open_store(
    path: PathBuf,
    config: &Config,
    hold: Option<Arc<Hold>>,
) -> Result<Store, Failure> {
    let settings = &config.store;
    let settings = store::Settings {
        path,
        segment_size: settings.segment_size,
        segment_age: settings.segment_age,
        retention: Retention {
            keep_age: Some(settings.keep_age),
            keep_size: Some(settings.keep_size),
        },
    };
    let opened = Store::open_held(settings, hold);
    opened.map_err(|error| {
        if error.is_wrong_path() {
            Failure::usage(error)
        } else {
            error.into()
        }
    })
}

//! Sensor -> enrich -> sinks: the place to read first.
//!
//! Three kinds of threads, joined by bounded channels:
//!
//! ```text
//! sensor thread --batches of wire records--> caller of `record` --chunks of events--> sink threads
//!      ^-------------- emptied batches -----------+
//! ```
//!
//! The caller's thread enriches, applies the rules, numbers and counts. When a sink is slow its
//! channel fills, the enriching thread waits, the batches run out, the sensor thread waits, and in
//! the end the kernel's own buffer fills and counts what it cannot hold: there is one place where
//! events of a slow run are lost, and it counts by kind. A sink that takes nothing at all for
//! [`PATIENCE`] where there are others, or says [`WhenBehind::Lose`], is passed over instead, at its
//! own cost.
//!
//! [`WhenBehind::Lose`]: crate::sink::WhenBehind::Lose

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use event::wire::Reader;
use event::{ByKind, Flags, Header, Kind, Kinds, Record, loss};

use crate::account::{Account, Counts};
use crate::alert::Alerts;
use crate::enrich::{Enriched, Enricher};
use crate::image_hash::ImageHashes;
use crate::replay::pace::Pace;
use crate::sensor::{self, Batch, Sensor};
use crate::sink::Sink;
use crate::store::Hold;
use crate::sys::offset::Offset;
use crate::sys::processes;
use crate::sys::wake::Waker;
use crate::trail::{self, Body, Event, Further, LostRange, Origin, Time, Whence};

mod change;
mod feed;
mod fleet;
mod hashes;
pub mod scope;
mod settings;
mod sink_queue;
mod stage;
mod status;

pub use change::{Change, Reload};
pub use settings::Settings;
pub use sink_queue::PATIENCE;
pub use stage::Stage;
pub use status::{Found, Status};

use feed::{Feed, Message, Received};
use fleet::Heartbeat;
use scope::Scope;
use sink_queue::SinkQueues;

/// Why a recording did not start, or broke.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sensor.
    #[error(transparent)]
    Sensor(#[from] sensor::Error),
    /// A thread could not be started.
    #[error("starting the {name} thread: {source}")]
    Thread {
        /// Which.
        name: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Records until `waker` is woken, then drains everything and closes the sinks.
///
/// `recording_fn` is called once, when every event from then on is seen.
pub fn record(
    sensor: Box<dyn Sensor>,
    sinks: Vec<Box<dyn Sink>>,
    settings: Settings,
    waker: &Waker,
    status: &Arc<Status>,
    recording_fn: impl FnOnce(),
) -> Result<Account, Error> {
    let source = sensor.source();
    let queues = SinkQueues::open(sinks, Some(settings.patience))?;
    let feed = Feed::start(sensor, waker.clone(), Arc::clone(status))?;
    let mut recorder = Recorder::new(source, settings, queues, Arc::clone(status));
    let result = recorder.run(&feed, recording_fn);
    // Whatever went wrong, the sensor thread ends and the sinks keep what they were given.
    waker.wake();
    feed.join();
    let account = recorder.finish();
    result.map(|()| account)
}

/// Sends events that were recorded before to the sinks again, unchanged, at full speed or at a
/// `pace`, until they end or `waker` is woken. Their losses are counted from the `lost` events among
/// them.
pub fn replay(
    events: impl Iterator<Item = Event>,
    sinks: Vec<Box<dyn Sink>>,
    status: &Arc<Status>,
    waker: &Waker,
    mut pace: Option<Pace>,
) -> Result<Account, Error> {
    let began = Instant::now();
    let mut queues = SinkQueues::open(sinks, None)?;
    let mut counts = Counts::default();
    for event in events {
        let wait = pace
            .as_mut()
            .map_or(Duration::ZERO, |pace| pace.wait(event.time, Instant::now()));
        if !wait.is_zero() {
            // What was due before is seen before.
            queues.send();
            waker.wait(wait);
        }
        if waker.is_woken() {
            break;
        }
        count_replayed(&mut counts, &event);
        if queues.push(event) {
            status.set(&account("replay", began, counts.clone(), &queues));
            status.progress();
        }
    }
    queues.close();
    let account = account("replay", began, counts, &queues);
    status.set(&account);
    Ok(account)
}

fn count_replayed(counts: &mut Counts, event: &Event) {
    let (kind, delivered, lost) = match &event.body {
        Body::Lost(loss) => (loss.lost_kind, 0, loss.lost_count),
        body => (body.kind(), 1, 0),
    };
    if let Some(count) = counts.of(kind) {
        count.delivered += delivered;
        count.lost = count.lost.saturating_add(lost);
        count.produced = count
            .produced
            .saturating_add(delivered)
            .saturating_add(lost);
    }
}

fn account(source: &str, began: Instant, kinds: Counts, queues: &SinkQueues) -> Account {
    Account {
        source: source.to_owned(),
        duration_ns: u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX),
        balanced: kinds.is_balanced(),
        kinds,
        queues: queues.peaks(),
        sinks: queues.counts(),
        forwarded: None,
        owed: None,
        further: Further::default(),
    }
}

/// The state of the enriching thread.
struct Recorder {
    source: &'static str,
    origin: Arc<Origin>,
    process_events: bool,
    scope: Option<Scope>,
    stage: Option<Box<dyn Stage>>,
    /// Rules that stages before this one have switched off.
    off_count_before: u64,
    /// What the stage finds in the event at hand.
    found: Vec<trail::Detection>,
    alerts: Option<Alerts>,
    hashes: Option<ImageHashes>,
    /// What runs below this program while it has commands run: no alert is of them, or it would be the cause
    /// of the next.
    own: Option<Scope>,
    /// Its id and key, where they can be known.
    own_process: Option<(u32, event::ProcessKey)>,
    hold: Option<Arc<Hold>>,
    heartbeat: Option<Heartbeat>,
    enricher: Enricher,
    queues: SinkQueues,
    status: Arc<Status>,
    clock: Offset,
    sequence: u64,
    counts: Counts,
    /// Events of the snapshot: produced by asking, not by the kernel's hooks.
    snapshot: ByKind<u64>,
    /// Events of kinds that are not known in the batch at hand: when the first was, and how many.
    unknown: BTreeMap<Kind, (u64, u64)>,
    sensor_queues: Vec<crate::account::QueuePeak>,
    processes_peak: u64,
    began: Instant,
}

impl Recorder {
    fn new(
        source: &'static str,
        settings: Settings,
        queues: SinkQueues,
        status: Arc<Status>,
    ) -> Self {
        let enricher = Enricher::new(settings.boot_id, settings.rules, settings.limits)
            .with_environment(settings.environment)
            .with_files(settings.hashes.is_some());
        let own_process = processes::own_id().map(|own_id| {
            let start_tick = processes::start_tick(own_id).unwrap_or(0);
            let start_time = start_tick.saturating_mul(processes::START_TICK_NS);
            (own_id, enricher.key(own_id, start_time))
        });
        let mut own = None;
        if let Some(alerts) = &settings.alerts {
            status.alerts(alerts.tally());
            own = own_process.map(|(own_id, _)| Scope::of_running(own_id).without_root());
        }
        if let Some(hashes) = &settings.hashes {
            status.hashes(hashes.tally());
        }
        Self {
            source,
            origin: Arc::new(Origin::new(Whence {
                host: settings.host,
                host_id: settings.host_id,
                run: None,
            })),
            process_events: settings.process_events,
            scope: settings.scope,
            stage: settings.stage,
            off_count_before: 0,
            found: Vec::new(),
            alerts: settings.alerts,
            hashes: settings.hashes,
            own,
            own_process,
            hold: settings.hold,
            heartbeat: settings.heartbeat.map(Heartbeat::new),
            enricher,
            queues,
            status,
            clock: Offset::default(),
            sequence: 0,
            counts: Counts::default(),
            snapshot: ByKind::default(),
            unknown: BTreeMap::new(),
            sensor_queues: Vec::new(),
            processes_peak: 0,
            began: Instant::now(),
        }
    }

    /// Takes messages until the sensor has said its last.
    fn run(&mut self, feed: &Feed, recording_fn: impl FnOnce()) -> Result<(), Error> {
        let mut recording_fn = Some(recording_fn);
        loop {
            let answers = self.hashes.as_ref().map(ImageHashes::answers);
            let message = match feed.receive(answers) {
                None => return Ok(()),
                Some(Received::Answer(answer)) => {
                    self.complete(answer);
                    self.queues.send();
                    continue;
                }
                Some(Received::Message(message)) => message?,
            };
            if let Some(recording_fn) = recording_fn.take() {
                self.began = Instant::now();
                self.clock = message.clock;
                self.know_itself(&message.batch);
                self.begin_run(message.time);
                self.emit_mark(
                    message.time,
                    Body::SensorStart(Self::sensor_start(self.source)),
                );
                self.status.recording();
                recording_fn();
            }
            self.take(&message);
            feed.give_back(message.batch);
        }
    }

    /// Takes its own identity from the snapshot: the sensor may know more of it than `/proc` says.
    fn know_itself(&mut self, batch: &Batch) {
        let Some((own_id, key)) = &mut self.own_process else {
            return;
        };
        let headers = batch
            .records()
            .flat_map(|record| Header::read(&mut Reader::new(record)));
        let mut starts = headers.filter(|header| header.kind == Kind::PROCESS_START);
        if let Some(own) = starts.find(|header| header.process_id == *own_id) {
            *key = self.enricher.key(*own_id, own.start_time);
        }
    }

    /// From now on every event says which run it is of: the one that began at this time.
    fn begin_run(&mut self, time: u64) {
        let Time(began) = self.clock.time(time);
        self.origin = Arc::new(Origin::new(Whence {
            run: u64::try_from(began).ok(),
            ..(**self.origin).clone()
        }));
    }

    /// Enriches one batch and hands it to the sinks.
    fn take(&mut self, message: &Message) {
        self.clock = self.clock.updated(message.clock);
        self.take_change();
        self.enricher.judge_waiting();
        if let Some(stage) = &mut self.stage {
            stage.refresh();
        }
        for record in message.batch.records() {
            match event::read(record) {
                Ok(record) => match record.event {
                    event::Event::Lost(lost) => self.lose(record.header.time, lost),
                    event::Event::Unknown => self.count_unknown(&record.header),
                    _ => self.deliver(&record),
                },
                Err(error) => self.refuse(record, error),
            }
        }
        self.tell_unknown();
        for (kind, streamed) in message.counters.produced.iter() {
            if let Some(count) = self.counts.of(kind) {
                count.produced = streamed.saturating_add(self.snapshot.count(kind));
            }
        }
        self.sensor_queues.clone_from(&message.queues);
        let processes = u64::try_from(self.enricher.process_count().0).unwrap_or(u64::MAX);
        self.processes_peak = self.processes_peak.max(processes);
        self.tell_sink_losses(message.time, false);
        self.tell_gone(message.time);
        self.beat(message.time);
        self.queues.send();
        self.status.set(&self.account());
        if let Some(stage) = &self.stage {
            let count = stage.off_count().saturating_add(self.off_count_before);
            self.status.switched_off(count);
        }
    }

    fn deliver(&mut self, record: &Record<'_>) {
        let Some(mut enriched) = self.enricher.enrich(record) else {
            return;
        };
        let kind = enriched.body.kind();
        if record.header.flags.contains(Flags::EXISTING) {
            self.snapshot.add(kind, 1);
        }
        let is_covered = match &mut self.scope {
            Some(scope) => scope.covers(&enriched),
            None => true,
        };
        let is_own = match &mut self.own {
            Some(own) => own.covers(&enriched),
            None => false,
        };
        let is_wanted = self.process_events || !is_process_event(kind);
        let kept = is_covered && enriched.kept && is_wanted;
        if let Some(count) = self.counts.of(kind) {
            count.delivered += 1;
            count.excluded += u64::from(!kept);
        }
        if kept {
            self.tell_hash(&mut enriched);
            let time = self.clock.time(enriched.time);
            self.emit(time, enriched, is_own);
        }
    }

    /// Tells a loss where it happened.
    fn lose(&mut self, time: u64, lost: loss::Lost) {
        if let Some(count) = self.counts.of(lost.kind) {
            count.lost = count.lost.saturating_add(lost.count);
            // Sensors count by kind; what has none was produced all the same.
            if lost.kind == Kind::ANY {
                count.produced = count.produced.saturating_add(lost.count);
            }
        }
        match lost.kind {
            Kind::PROCESS_EXIT => self.enricher.exits_were_lost(),
            Kind::IMAGE_LOAD => self.enricher.images_were_lost(),
            // Where losses have no kind some tell them as starts.
            Kind::PROCESS_START | Kind::PROCESS_EXEC => self.enricher.programs_were_lost(),
            Kind::ANY => {
                self.enricher.exits_were_lost();
                self.enricher.programs_were_lost();
                self.enricher.images_were_lost();
            }
            _ => {}
        }
        self.emit_lost(time, lost.kind, lost.count, lost.reason.name().into());
    }

    /// An event of a kind that only the sensor knows. No account is kept for it: its loss is what can
    /// be told, once a batch and kind, as a busy kind must not fill the trail with losses.
    fn count_unknown(&mut self, header: &Header) {
        let (_first, count) = self.unknown.entry(header.kind).or_insert((header.time, 0));
        *count += 1;
    }

    fn tell_unknown(&mut self) {
        let reason = loss::Reason::UNKNOWN_KIND;
        for (kind, (time, count)) in std::mem::take(&mut self.unknown) {
            let lost = loss::Lost {
                kind,
                reason,
                count,
            };
            self.lose(time, lost);
        }
    }

    /// A record that is not one: its event is lost, and told so.
    fn refuse(&mut self, record: &[u8], error: event::wire::Invalid) {
        tracing::warn!(%error, size = record.len(), "the sensor wrote an invalid record");
        if let Ok(header) = Header::read(&mut Reader::new(record)) {
            let reason = loss::Reason::INVALID_RECORD;
            self.lose(
                header.time,
                loss::Lost {
                    kind: header.kind,
                    reason,
                    count: 1,
                },
            );
        }
    }

    /// Tells, in the stream, what sinks have lost since the last batch.
    fn tell_sink_losses(&mut self, time: u64, is_last: bool) {
        for loss in self.queues.new_losses(is_last) {
            self.emit_lost(time, loss.kind, loss.count, loss.reason.into());
        }
    }

    fn emit_lost(&mut self, time: u64, kind: Kind, count: u64, reason: trail::Name) {
        let lost = trail::Lost {
            lost_kind: kind,
            lost_count: count,
            lost_reason: reason,
            range: LostRange::default(),
        };
        self.emit_mark(time, Body::Lost(lost));
    }

    /// Emits an event about the recording itself; its process is the agent.
    fn emit_mark(&mut self, time: u64, body: Body) {
        let (process_id, process_key) = self.own_process.unwrap_or_default();
        let time = self.clock.time(time);
        let (truncated, mut missing) = (Vec::new(), Vec::new());
        if self.own_process.is_none() {
            for field in ["process_id", "process_key"] {
                missing.push((field.into(), trail::missing::UNAVAILABLE.into()));
            }
        }
        self.emit(
            time,
            Enriched {
                process_id,
                process_key,
                time: 0,
                body,
                kept_by: None,
                truncated,
                missing,
                kept: true,
                file: None,
            },
            true,
        );
    }

    /// Hands an event, and what is found in it, to the sinks. What is found in an event of its `own` process
    /// or a command of its is told to no command.
    fn emit(&mut self, time: Time, enriched: Enriched, is_own: bool) {
        self.sequence += 1;
        let event = Event {
            sequence: self.sequence,
            time,
            origin: Arc::clone(&self.origin),
            process_id: enriched.process_id,
            process_key: enriched.process_key,
            body: enriched.body,
            kept_by: enriched.kept_by,
            truncated: enriched.truncated,
            missing: enriched.missing,
            further: Further::default(),
        };
        if let Some(stage) = &mut self.stage {
            stage.look(&event, &mut self.found);
        }
        let matched = (!self.found.is_empty()).then(|| event.clone());
        self.queues.push(event);
        if let Some(matched) = matched {
            self.emit_found(&matched, is_own);
        }
    }

    /// Emits what was found in an event, behind it.
    fn emit_found(&mut self, matched: &Event, is_own: bool) {
        for detection in self.found.drain(..) {
            self.sequence += 1;
            self.status.found(&detection);
            let event = Event {
                sequence: self.sequence,
                time: matched.time,
                origin: Arc::clone(&self.origin),
                process_id: matched.process_id,
                process_key: matched.process_key,
                body: detection.into(),
                kept_by: None,
                truncated: Vec::new(),
                missing: Vec::new(),
                further: Further::default(),
            };
            match &self.alerts {
                Some(alerts) if is_own => alerts.count_own(),
                Some(alerts) => alerts.offer(&event, matched),
                None => {}
            }
            self.queues.push(event);
        }
    }

    fn sensor_start(source: &'static str) -> trail::SensorStart {
        trail::SensorStart {
            source: source.into(),
            version: crate::VERSION.into(),
            system: Some(std::env::consts::OS.into()),
        }
    }

    fn account(&self) -> Account {
        let mut account = account(self.source, self.began, self.counts.clone(), &self.queues);
        account.queues.extend(self.sensor_queues.iter().cloned());
        account.queues.push(crate::account::QueuePeak {
            name: "process_cache".to_owned(),
            peak: self.processes_peak,
            limit: u64::try_from(self.enricher.process_count().1).unwrap_or(u64::MAX),
            unit: "processes".to_owned(),
        });
        account
    }

    /// Says the account where a recording was begun, closes the sinks, and returns the account with
    /// what the closing lost.
    fn finish(mut self) -> Account {
        self.end_hashes();
        if self.status.is_recording() {
            self.queues.catch_up();
            let (now, offset) = crate::sys::clock::now();
            let time = self.clock.sensor_ns(offset.time(now));
            self.tell_sink_losses(time, true);
            self.tell_gone(time);
            let stop = trail::SensorStop {
                source: self.source.into(),
                version: crate::VERSION.into(),
                account: self.account(),
            };
            self.emit_mark(time, Body::SensorStop(Box::new(stop)));
        }
        self.queues.close();
        if let Some(alerts) = &mut self.alerts {
            alerts.close();
        }
        let account = self.account();
        self.status.set(&account);
        account
    }
}

const fn is_process_event(kind: Kind) -> bool {
    Kinds::PROCESS.contains(kind)
}

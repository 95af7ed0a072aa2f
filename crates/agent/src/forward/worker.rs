//! The thread's work: the next batch, noted, sent, and what its answer asks for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::Answer;
use super::aside;
use super::batch::{self, Batch, Found, Limits};
use super::cursor::{Cursor, CursorError, Noted, Place};
use super::forwarder::{self, Request, Settings};
use super::http::{Sender, Stop};
use super::retry::{Retry, some_of};
use super::tally::Tally;

use crate::moment;
use crate::quantity::show_count;
use crate::store::ReadError;
use crate::store::follow::{self, Follower, Position};
use crate::store::{Gone, Hold};

/// How long the store is left alone when everything was sent: the longest an event waits, beside what the
/// receiver takes.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// How often it is counted what is owed while there is much of it.
const COUNT_INTERVAL: Duration = Duration::from_mins(1);

/// So many events refused one by one, and none taken in between, are no longer the events' fault alone:
/// from then on one is set aside a pause.
const REFUSED_COUNT_MAX: u32 = 8;

/// The most bytes that are told of an error.
const ERROR_SIZE_MAX: usize = 400;

/// Bytes that a body may have whatever was refused before: where less is too much, nothing is enough.
const SIZE_MIN: usize = 1_024;

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// There is more, after a pause.
    More(Duration),
    /// Everything was sent.
    Idle,
    /// It failed; again after a pause.
    Failed(Duration),
}

/// Forwards one store.
#[derive(Debug)]
pub(super) struct Worker {
    settings: Settings,
    cursor: Cursor,
    follower: Follower,
    sender: Sender,
    retry: Retry,
    limits: Limits,
    /// Events refused since the last that was taken.
    refused_count: u32,
    hold: Arc<Hold>,
    tally: Arc<Tally>,
    counted: Option<Instant>,
}

/// Why a step came to nothing.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Cursor(#[from] CursorError),
    #[error(transparent)]
    Batch(#[from] batch::Error),
    #[error("keeping a refused event: {0}")]
    Aside(std::io::Error),
    #[error("{0}")]
    Request(String),
}

impl From<ReadError> for Error {
    fn from(error: ReadError) -> Self {
        Self::Batch(error.into())
    }
}

impl Worker {
    pub(super) fn new(
        settings: Settings,
        mut cursor: Cursor,
        stop: Stop,
        hold: Arc<Hold>,
        tally: Arc<Tally>,
    ) -> Self {
        if let Some(told) = cursor.take_told() {
            tracing::warn!("{told}");
        }
        Self {
            follower: Follower::new(&settings.store, cursor.state.position()),
            sender: Sender::new(settings.target.clone(), stop),
            cursor,
            retry: Retry::default(),
            limits: Limits {
                count: batch::COUNT_MAX,
                size: batch::SIZE_MAX,
                last_id: i64::MAX,
            },
            refused_count: 0,
            hold,
            tally,
            counted: None,
            settings,
        }
    }

    /// Does one thing, within `time` as far as it is the receiver's.
    pub(super) fn step(&mut self, time: Duration) -> Next {
        let done = self.try_step(time);
        let next = match done {
            Ok(next) => next,
            Err(error) => {
                self.fail(&error.to_string());
                Next::Failed(self.retry.failed(None))
            }
        };
        self.count_owed(next);
        next
    }

    /// The last it does: what is owed is counted.
    pub(super) fn finish(&mut self) {
        self.counted = None;
        self.count_owed(Next::More(Duration::ZERO));
    }

    fn try_step(&mut self, time: Duration) -> Result<Next, Error> {
        self.cursor.lock()?;
        self.take_request()?;
        let Some(batch) = self.next_batch()? else {
            return Ok(Next::Idle);
        };
        let answer = self.sender.send(&batch, time);
        tracing::debug!(
            key = batch.key,
            count = batch.count,
            size = batch.body.len(),
            ?answer,
            "sent"
        );
        match answer {
            Answer::Accepted => self.accept(&batch),
            Answer::Refused { why, is_too_large } => self.narrow(&batch, &why, is_too_large),
            Answer::Later { why, asked } => {
                self.fail(&why);
                Ok(Next::Failed(self.retry.failed(asked)))
            }
        }
    }

    /// The batch that was noted, or else the next one, which is noted.
    fn next_batch(&mut self) -> Result<Option<Batch>, Error> {
        if let Some(noted) = self.cursor.state.noted.take() {
            if let Some(batch) = batch::again(&self.settings.store, &noted)? {
                self.cursor.state.noted = Some(noted);
                return Ok(Some(batch));
            }
            // Another version writes or compresses it in another way, or it is gone: a key of other bytes
            // must be another key.
            let count = noted.last_id.saturating_sub(noted.first_id).unsigned_abs() + 1;
            self.limits.count = (count / 2).clamp(1, batch::COUNT_MAX);
            tracing::debug!(key = noted.key, "the noted batch is not as it was");
        }
        self.follower.seek(self.cursor.state.position());
        loop {
            let found = batch::next(&mut self.follower, self.limits);
            self.tell_skipped();
            match found? {
                Found::Nothing => {
                    self.note_progress()?;
                    return Ok(None);
                }
                Found::Nameless(position, count) => {
                    tracing::warn!(
                        segment = position.segment,
                        "{} without the id of a host and a run not forwarded: nobody could tell them from \
                         others",
                        show_count(count, "event")
                    );
                    self.cursor.state.at = position.into();
                }
                Found::Batch(batch) => {
                    self.note(&batch)?;
                    return Ok(Some(*batch));
                }
            }
        }
    }

    fn note(&mut self, batch: &Batch) -> Result<(), Error> {
        self.cursor.state.noted = Some(Noted {
            segment: batch.segment.clone(),
            first_id: batch.first_id,
            last_id: batch.last_id,
            key: batch.key.clone(),
            digest: super::cursor::hex(&batch.body),
        });
        Ok(self.cursor.write()?)
    }

    /// A segment that was read to its end is not needed any more.
    fn note_progress(&mut self) -> Result<(), Error> {
        let at = self.follower.at();
        if self.cursor.state.at.segment != at.segment {
            self.cursor.state.at = at.clone().into();
            self.hold.move_to(at);
            self.cursor.write()?;
        }
        self.go_well();
        Ok(())
    }

    fn accept(&mut self, batch: &Batch) -> Result<Next, Error> {
        let now = moment::now().0;
        let state = &mut self.cursor.state;
        state.forwarded = state.forwarded.saturating_add(batch.count);
        state.last_accepted = Some(now);
        state.last_error = None;
        self.pass(batch)?;
        self.tally.accept(batch.count, now);
        self.refused_count = 0;
        // Back to whole batches in steps: what was refused may have neighbours.
        self.limits.count = self.limits.count.saturating_mul(2).min(batch::COUNT_MAX);
        if self.retry.is_failing() {
            tracing::warn!(url = %self.settings.target.url, "forwarding again");
        }
        self.tally.fail(None);
        let pause = self.retry.accepted();
        Ok(if batch.is_full {
            Next::More(pause)
        } else {
            Next::Idle
        })
    }

    /// The batch needs no more sending.
    fn pass(&mut self, batch: &Batch) -> Result<(), Error> {
        let state = &mut self.cursor.state;
        state.noted = None;
        state.at = Place {
            segment: batch.segment.clone(),
            id: batch.last_id,
            run: Some(batch.run),
            sequence: Some(batch.to),
        };
        self.hold.move_to(&state.position());
        Ok(self.cursor.write()?)
    }

    /// Something in the batch is refused: half of it, and so on, down to the one event, which is kept
    /// aside.
    fn narrow(&mut self, batch: &Batch, why: &str, is_too_large: bool) -> Result<Next, Error> {
        self.cursor.state.noted = None;
        if batch.count > 1 {
            if is_too_large {
                self.limits.size = (batch.body.len() / 2).max(SIZE_MIN);
            }
            self.limits.count = batch.count / 2;
            tracing::debug!(key = batch.key, why, "halved");
            return Ok(Next::More(Duration::ZERO));
        }
        let lines = batch::lines(&batch.body).map_err(Error::Aside)?;
        aside::keep(&self.settings.store, &lines).map_err(Error::Aside)?;
        tracing::warn!(
            event = batch.key,
            file = %aside::path(&self.settings.store).display(),
            "an event is refused and kept aside: {why}"
        );
        self.cursor.state.refused = self.cursor.state.refused.saturating_add(1);
        self.pass(batch)?;
        self.tally.refuse();
        self.hold.give_up(batch.gone());
        self.refused_count = self.refused_count.saturating_add(1);
        if self.refused_count < REFUSED_COUNT_MAX {
            return Ok(Next::More(Duration::ZERO));
        }
        self.fail(&format!("it refuses one event after the other: {why}"));
        Ok(Next::Failed(self.retry.failed(None)))
    }

    /// What cannot be read will not be, and is told.
    fn tell_skipped(&mut self) {
        for skipped in self.follower.take_skipped() {
            let (segment, why) = (&skipped.segment, &skipped.why);
            match skipped.ids {
                Some((first, i64::MAX)) => tracing::warn!(
                    segment,
                    "what it had from event {first} on is not forwarded: {why}"
                ),
                Some((first, last)) => {
                    tracing::warn!(segment, "events {first} to {last} are not forwarded: {why}");
                }
                None => tracing::warn!(segment, "not forwarded: {why}"),
            }
            for gone in skipped.events {
                self.hold.give_up(gone);
            }
        }
    }

    /// Begins again from where it is asked to.
    fn take_request(&mut self) -> Result<(), Error> {
        let Some(Request { from }) =
            forwarder::take_request(&self.settings.store).map_err(Error::Request)?
        else {
            return Ok(());
        };
        let position = follow::position_of(&self.settings.store, from)?;
        let Some(position) = position else {
            tracing::warn!("nothing in the store is as new as what is to be sent again");
            return Ok(());
        };
        tracing::warn!(
            segment = position.segment,
            id = position.id,
            "sending again from there, as asked"
        );
        self.go_to(position)
    }

    fn go_to(&mut self, position: Position) -> Result<(), Error> {
        self.cursor.state.noted = None;
        self.hold.move_to(&position);
        self.cursor.state.at = position.into();
        Ok(self.cursor.write()?)
    }

    fn go_well(&mut self) {
        if !self.retry.is_failing() {
            self.tally.fail(None);
        }
    }

    /// Says once what is wrong, also to who asks later.
    fn fail(&mut self, why: &str) {
        // A certificate can have a thousand names.
        let end = why.floor_char_boundary(ERROR_SIZE_MAX);
        let why = why.get(..end).unwrap_or(why);
        if !self.tally.fail(Some(why)) {
            return;
        }
        tracing::warn!(url = %self.settings.target.url, "not forwarded for now: {why}");
        self.cursor.state.last_error = Some(why.to_owned());
        // The cursor as such has not moved; what cannot be written now is at the next step.
        let _written = self.cursor.write();
    }

    fn count_owed(&mut self, next: Next) {
        if next == Next::Idle {
            self.tally.owe(0);
            self.counted = None;
            return;
        }
        if self
            .counted
            .is_some_and(|counted| counted.elapsed() < COUNT_INTERVAL)
        {
            return;
        }
        self.counted = Some(Instant::now());
        if let Ok(behind) = follow::behind(&self.settings.store, &self.cursor.state.position()) {
            self.tally.owe(behind.count);
        }
    }
}

impl Batch {
    /// What is told where it goes nowhere.
    fn gone(&self) -> Gone {
        Gone {
            host_id: self.key.split('.').next().map(str::to_owned),
            run: Some(self.run),
            from: self.from,
            to: self.to,
            count: self.count,
            reason: "forward_refused",
        }
    }
}

/// When to look next.
pub(super) fn pause(next: Next) -> Duration {
    match next {
        Next::More(pause) | Next::Failed(pause) => pause,
        // Not all hosts in step.
        Next::Idle => LOOK_INTERVAL / 2 + some_of(LOOK_INTERVAL / 2),
    }
}

//! How far a store was forwarded.

use serde::Serialize;
use systrail::forward::{self, State};
use systrail::moment;
use systrail::quantity::{show_count, show_size};
use systrail::shown;
use systrail::store::follow::{self, Behind};
use systrail::trail::Time;

use super::super::console;
use super::super::{Exit, Failure};
use super::StatusArguments;

/// What there is to say.
#[derive(Debug, Serialize)]
struct Status {
    store: String,
    url: Option<String>,
    /// The segment and the id of the last event that needs no more sending.
    segment: Option<String>,
    id: Option<i64>,
    forwarded: u64,
    refused: u64,
    owed_events: u64,
    owed_bytes: u64,
    /// How old the oldest of them is.
    owed_seconds: u64,
    last_accepted: Option<String>,
    last_error: Option<String>,
}

/// Does `systrail forward status`.
pub(super) fn main(arguments: &StatusArguments) -> Result<Exit, Failure> {
    let (config, store) = arguments.source.read()?;
    let (state, damage) = match forward::read_cursor(&store) {
        Ok(state) => (state, None),
        Err(what) => (None, Some(format!("cursor forward.cursor: {what}"))),
    };
    let is_begun = state.is_some();
    let state = state.unwrap_or_default();
    let behind = follow::behind(&store, &state.position())?;
    let status = Status::of(&state, is_begun, behind);
    let status = Status {
        store: store.display().to_string(),
        url: config.forward.map(|target| target.url.to_string()),
        last_error: damage.or(state.last_error),
        ..status
    };
    console::result(&match &*arguments.format {
        "json" => format!("{}\n", serde_json::to_string_pretty(&status)?),
        _ => status.table(),
    })?;
    Ok(Exit::Done)
}

impl Status {
    fn of(state: &State, is_begun: bool, behind: Behind) -> Self {
        let age = behind.oldest.map_or(0, |oldest| {
            let age = moment::now().0.saturating_sub(oldest.0);
            u64::try_from(age / 1_000_000_000).unwrap_or(0)
        });
        let at = is_begun.then(|| state.position());
        let at = at.filter(|at| !at.segment.is_empty());
        Self {
            store: String::new(),
            url: None,
            segment: at.as_ref().map(|at| at.segment.clone()),
            id: at.map(|at| at.id),
            forwarded: state.forwarded,
            refused: state.refused,
            owed_events: behind.count,
            owed_bytes: behind.size,
            owed_seconds: age,
            last_accepted: state.last_accepted.map(|time| shown::rfc_3339(Time(time))),
            last_error: None,
        }
    }

    fn table(&self) -> String {
        let nothing = || "nothing yet".to_owned();
        let cursor = self.segment.as_ref().zip(self.id);
        let owed = match self.owed_events {
            0 => "nothing".to_owned(),
            count => format!(
                "{}, {} of the store, the oldest {} s old",
                show_count(count, "event"),
                show_size(self.owed_bytes),
                self.owed_seconds
            ),
        };
        let lines = [
            ("store", self.store.clone()),
            (
                "receiver",
                self.url
                    .clone()
                    .unwrap_or_else(|| "none; [forward] is not configured".to_owned()),
            ),
            ("forwarded", show_count(self.forwarded, "event")),
            ("owed", owed),
            ("refused", show_count(self.refused, "event")),
            (
                "cursor",
                cursor.map_or_else(nothing, |(segment, id)| format!("{segment} {id}")),
            ),
            (
                "last accepted",
                self.last_accepted.clone().unwrap_or_else(nothing),
            ),
            (
                "last error",
                self.last_error.clone().unwrap_or_else(|| "none".to_owned()),
            ),
        ];
        let lines = lines.map(|(name, value)| format!("{name:13}  {}\n", shown::safe(&value)));
        lines.concat()
    }
}

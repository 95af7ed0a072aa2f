//! Records to events of the trail.

use std::collections::VecDeque;

use event::ProcessKey;
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::data::Data;
use super::hosts::{Hosts, Made};
use super::processes::{Named, Processes};
use super::record::{Record, Source};
use super::{security, sysmon};
use crate::trail::{Body, Event, Name, Time, missing};

/// What was learned of the records so far.
#[derive(Default)]
pub(super) struct Converter {
    hosts: Hosts,
    processes: Processes,
}

/// A record with what was learned before it.
pub(super) struct Context<'c> {
    pub(super) data: &'c Data,
    pub(super) time: Time,
    pub(super) processes: &'c mut Processes,
    host: usize,
    host_id: [u8; 16],
    missing: Vec<(Name, Name)>,
}

impl Converter {
    /// Appends the events that a record is; says why where it is none.
    pub(super) fn convert(
        &mut self,
        record: &Record,
        events: &mut VecDeque<Event>,
    ) -> Result<(), String> {
        let time = utc_time(&record.data).unwrap_or(Time(record.time));
        let too_many = || "the log names more machines than are told apart".to_owned();
        let index = self
            .hosts
            .index(&record.computer, time)
            .ok_or_else(too_many)?;
        let host = self.hosts.get_mut(index).ok_or_else(too_many)?;
        let mut context = Context {
            data: &record.data,
            time,
            processes: &mut self.processes,
            host: index,
            host_id: host.id,
            missing: Vec::new(),
        };
        let made = match record.source {
            Source::Sysmon => sysmon::event(record.event_id, &mut context),
            Source::Security => security::event(record.event_id, &mut context),
        };
        let (process, body) = made.map_err(|lacking| format!("it has no {lacking}"))?;
        let made = Made {
            time,
            process_id: process.0,
            process_key: process.1,
            body,
            missing: context.missing,
        };
        host.tell(record.source, made, |event| events.push_back(event));
        Ok(())
    }

    /// Appends what is told at the end.
    pub(super) fn finish(&mut self, events: &mut VecDeque<Event>) {
        events.extend(self.hosts.finish());
    }
}

/// The process and the body of an event, or the name of the value without which it is none.
pub(super) type Converted = Result<((u32, ProcessKey), Body), &'static str>;

impl Context<'_> {
    /// The process whose id, and GUID, are in the values of these names.
    pub(super) fn named(&self, id: &'static str, guid: &str) -> Result<Named, &'static str> {
        let process_id = self.data.id(id).ok_or(id)?;
        Ok(Named {
            host: self.host,
            host_id: self.host_id,
            process_id,
            guid: self.data.guid(guid),
        })
    }

    /// The key of the kernel itself, into which drivers are loaded.
    pub(super) fn kernel_key(&self) -> ProcessKey {
        ProcessKey::new(self.host_id, 0, 0)
    }

    /// Says of a field that no record of this sort has it.
    pub(super) fn never(&mut self, fields: &[&'static str]) {
        self.lacks(fields, missing::UNAVAILABLE);
    }

    /// Says of a field that is not there why.
    pub(super) fn unknown<T>(&mut self, field: &'static str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.lacks(&[field], missing::UNKNOWN);
        }
        value
    }

    fn lacks(&mut self, fields: &[&'static str], reason: &'static str) {
        let lacking = fields.iter().map(|field| ((*field).into(), reason.into()));
        self.missing.extend(lacking);
    }
}

/// When it happened, as Sysmon says; a record is written a little later.
fn utc_time(data: &Data) -> Option<Time> {
    let time: DateTime = data.shown("UtcTime")?.parse().ok()?;
    let timestamp = Offset::UTC.to_timestamp(time).ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok().map(Time)
}

/// A level of integrity in our words, of one in Sysmon's or of the SID of its label.
pub(super) fn integrity_level(text: &str) -> Name {
    let level = match text {
        "S-1-16-0" | "Untrusted" => "untrusted",
        "S-1-16-4096" | "Low" => "low",
        "S-1-16-8192" | "Medium" => "medium",
        "S-1-16-8448" => "medium_plus",
        "S-1-16-12288" | "High" => "high",
        "S-1-16-16384" | "System" => "system",
        "S-1-16-20480" => "protected",
        other => return other.to_lowercase().into(),
    };
    level.into()
}

/// How long a process ran that started and ended then.
pub(super) fn run_time(start: Option<Time>, end: Time) -> Option<u64> {
    u64::try_from(end.0.checked_sub(start?.0)?).ok()
}

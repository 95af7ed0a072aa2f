//! The records of a chunk: its checksums looked at, its records decoded, those that stand there
//! once more left out.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::sync::Arc;

use evtx::{EvtxChunkData, EvtxRecord, ParserSettings};
use jiff::Timestamp;
use serde::Deserialize;

use crate::replay::Error;
use crate::replay::evtx::data::{Data, Member, Members};
use crate::replay::evtx::others::Others;
use crate::replay::evtx::record::{Record, Source};

/// The largest decoded record that is looked at. A record has less than 64 KiB in the log, and the
/// longest form of a letter of it is six bytes.
const DECODED_SIZE_MAX: usize = 256 * 1024;

/// Bytes of texts that are kept of a chunk. A template can say one text many times, but no chunk that
/// Windows writes comes near.
const TEXTS_SIZE_MAX: usize = 16 << 20;

/// Ranges of records that are remembered as told. A log whose records are in order needs one.
const RANGES_MAX: usize = 1_024;

/// A record's header, and the copy of its size behind it.
const RECORD_HEADER_SIZE: u64 = 24;
const SIZE_COPY_SIZE: u64 = 4;

/// Decodes one chunk after the other.
pub(super) struct Chunks {
    settings: Option<Arc<ParserSettings>>,
    told: Told,
    others: Others,
    damaged_count: u64,
}

/// A record as it is decoded: what is asked of it.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "Event", borrow)]
    event: Content<'a>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(rename = "System", borrow)]
    system: System<'a>,
    #[serde(rename = "EventData", borrow, default)]
    data: Option<Members<'a>>,
}

#[derive(Deserialize)]
struct System<'a> {
    #[serde(rename = "Provider", borrow, default)]
    provider: Option<Provider<'a>>,
    /// A number, or a number with qualifiers.
    #[serde(rename = "EventID", borrow)]
    event_id: Member<'a>,
    #[serde(rename = "TimeCreated", borrow, default)]
    time_created: Option<TimeCreated<'a>>,
    #[serde(rename = "Computer", borrow, default)]
    computer: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
struct TimeCreated<'a> {
    #[serde(rename = "#attributes", borrow)]
    attributes: SystemTime<'a>,
}

#[derive(Deserialize)]
struct SystemTime<'a> {
    #[serde(rename = "SystemTime", borrow, default)]
    system_time: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Provider<'a> {
    #[serde(rename = "#attributes", borrow)]
    attributes: Name<'a>,
}

#[derive(Deserialize)]
struct Name<'a> {
    #[serde(rename = "Name", borrow, default)]
    name: Cow<'a, str>,
}

impl Chunks {
    pub(super) const fn new() -> Self {
        Self {
            settings: None,
            told: Told::new(),
            others: Others::new(),
            damaged_count: 0,
        }
    }

    /// Records that became no event.
    pub(super) const fn others(&self) -> &Others {
        &self.others
    }

    /// Chunks with a wrong checksum.
    pub(super) const fn damaged_count(&self) -> u64 {
        self.damaged_count
    }

    /// Records that had been told before.
    pub(super) const fn old_count(&self) -> u64 {
        self.told.again_count
    }

    /// Appends what the chunk of that number has.
    pub(super) fn read(
        &mut self,
        number: u64,
        bytes: Vec<u8>,
        ready: &mut VecDeque<Result<Record, Error>>,
    ) {
        let passed_over = |reason: String| Error::Part {
            part: format!("chunk {number}"),
            reason,
        };
        let mut data = match EvtxChunkData::new(bytes, false) {
            Ok(data) => data,
            Err(error) => {
                ready.push_back(Err(passed_over(error.to_string())));
                return;
            }
        };
        if let Some(what) = wrong_checksum(&data) {
            self.damaged_count += 1;
            ready.push_back(Err(Error::Damaged {
                part: format!("chunk {number}"),
                what,
            }));
        }
        let settings = self
            .settings
            .get_or_insert_with(|| Arc::new(ParserSettings::new().indent(false)));
        match data.parse(Arc::clone(settings)) {
            Ok(mut chunk) => {
                let mut texts_size = 0_usize;
                for record in chunk.iter() {
                    let read = match record {
                        Ok(record) => self.decode(number, record, &mut texts_size),
                        Err(error) => Err(part(number, None, error.to_string())),
                    };
                    ready.extend(read.transpose());
                    if texts_size > TEXTS_SIZE_MAX {
                        let reason = "its texts are longer than any that Windows writes";
                        ready.push_back(Err(passed_over(format!("the rest of it: {reason}"))));
                        break;
                    }
                }
            }
            Err(error) => ready.push_back(Err(passed_over(error.to_string()))),
        }
    }

    /// The record, where it becomes an event.
    fn decode(
        &mut self,
        chunk: u64,
        record: EvtxRecord<'_>,
        texts_size: &mut usize,
    ) -> Result<Option<Record>, Error> {
        let number = record.event_record_id;
        let passed_over = |reason: String| part(chunk, Some(number), reason);
        let bytes = whole(&record).map_err(passed_over)?;
        if !self.told.add(number) {
            return Ok(None);
        }
        let written = record.timestamp;
        let json = record
            .into_json_bytes()
            .map_err(|error| passed_over(error.to_string()))?
            .data;
        if json.len() > DECODED_SIZE_MAX {
            return Err(passed_over("it is longer than a record can be".to_owned()));
        }
        let document: Document<'_> = serde_json::from_slice(&json)
            .map_err(|error| passed_over(format!("it is no event of Windows: {error}")))?;
        let system = document.event.system;
        let provider = system.provider.map(|provider| provider.attributes.name);
        let provider = provider.unwrap_or_default();
        let event_id = system.event_id.number().unwrap_or(0);
        let Some(source) = Source::of(&provider, event_id) else {
            self.others.add(&provider, event_id);
            return Ok(None);
        };
        // The record's own time is when it was written, which a copy of a log is later.
        let created = system.time_created.map(|time| time.attributes.system_time);
        let created = created.and_then(|time| time.parse::<Timestamp>().ok());
        let time = created.unwrap_or(written).as_nanosecond();
        let time = i64::try_from(time).unwrap_or(i64::MAX);
        let (data, size) = Data::new(document.event.data.unwrap_or_default(), bytes);
        *texts_size = texts_size.saturating_add(size);
        Ok(Some(Record {
            log_index: 0,
            number,
            time,
            source,
            event_id,
            computer: system.computer.unwrap_or_default().into(),
            data,
        }))
    }
}

fn part(chunk: u64, record: Option<u64>, reason: String) -> Error {
    let part = match record {
        Some(number) => format!("record {number} in chunk {chunk}"),
        None => format!("a record in chunk {chunk}"),
    };
    Error::Part { part, reason }
}

/// The bytes of a record as it stands in the chunk; an error where it was not written to its end,
/// which the copy of its size behind it shows.
fn whole<'c>(record: &EvtxRecord<'c>) -> Result<&'c [u8], String> {
    let size = u64::from(record.binxml_size) + RECORD_HEADER_SIZE + SIZE_COPY_SIZE;
    let end = record.binxml_offset + u64::from(record.binxml_size);
    let slice = |begin: u64, end: u64| {
        let begin = usize::try_from(begin).ok()?;
        record.chunk.data.get(begin..usize::try_from(end).ok()?)
    };
    let copy = slice(end, end + SIZE_COPY_SIZE);
    let copy = copy.and_then(|copy| copy.first_chunk()).copied();
    if copy.map(|copy| u64::from(u32::from_le_bytes(copy))) != Some(size) {
        return Err("it was not written to its end: its two sizes differ".to_owned());
    }
    slice(record.binxml_offset, end).ok_or_else(|| "it is beyond the chunk".to_owned())
}

/// What of the checksums of a chunk is wrong.
fn wrong_checksum(data: &EvtxChunkData) -> Option<String> {
    let what = match (
        data.validate_header_checksum(),
        data.validate_data_checksum(),
    ) {
        (true, true) => return None,
        (false, true) => "the checksum of its header is wrong",
        (true, false) => "the checksum of its records is wrong",
        (false, false) => "the checksums of its header and of its records are wrong",
    };
    Some(format!("{what}; of it what can be read is read"))
}

/// Which records were told, as ranges of their numbers, the last one at the end.
struct Told {
    ranges: Vec<RangeInclusive<u64>>,
    again_count: u64,
}

impl Told {
    const fn new() -> Self {
        Self {
            ranges: Vec::new(),
            again_count: 0,
        }
    }

    /// Notes a record; `false` where it was told before: an old one that was left in a chunk.
    fn add(&mut self, number: u64) -> bool {
        if self.ranges.iter().any(|range| range.contains(&number)) {
            self.again_count += 1;
            return false;
        }
        if let Some(last) = self.ranges.last_mut()
            && last.end().checked_add(1) == Some(number)
        {
            *last = *last.start()..=number;
            return true;
        }
        // The first are what is forgotten; a record of theirs would be told twice.
        if self.ranges.len() >= RANGES_MAX {
            self.ranges.drain(..RANGES_MAX / 2);
        }
        self.ranges.push(number..=number);
        true
    }
}

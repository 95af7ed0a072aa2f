//! Reads a line back. The line may have been written by anybody: each field is taken as what it is,
//! then checked to be what it should be, and the first that is not is named.

use std::borrow::Cow;
use std::sync::Arc;

use event::{Kind, ProcessKey};
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::fields::{Fields, Value, required, wrong};
use super::line_error::{LineError, cut};
use super::{Arguments, LINE_SIZE_MAX, Notes};
use crate::{
    Body, Event, Field, ImageLoad, Lost, ProcessExec, ProcessExit, ProcessStart, Program,
    SensorStart, SensorStop, Text, ThreadExit, ThreadStart, Time, UserId,
};

/// The event a line holds; a line feed at its end is allowed.
///
/// # Errors
/// Names the first field that is not what it should be. No line panics.
pub fn read_line(line: &[u8]) -> Result<Event, LineError> {
    let size = line.len() - usize::from(line.ends_with(b"\n"));
    if size > LINE_SIZE_MAX {
        return Err(LineError::TooLong { size });
    }
    fields(line)?.event()
}

/// What [`write_notes`](super::write_notes) wrote.
pub fn read_notes(object: &[u8]) -> Result<Notes, LineError> {
    let mut fields = fields(object)?;
    Ok(Notes {
        truncated: fields.truncated()?,
        missing: fields.missing()?,
    })
}

/// What [`write_arguments`](super::write_arguments) wrote.
pub fn read_arguments(object: &[u8]) -> Result<Option<Arguments>, LineError> {
    fields(object)?.arguments()
}

fn fields(object: &[u8]) -> Result<Fields<'_>, LineError> {
    serde_json::from_slice(object).map_err(|error| LineError::Json {
        // Every line is the reader's line 1, which would read like the number of the line.
        message: cut(error.to_string().replace(" at line 1 column ", " at byte ")),
    })
}

impl Fields<'_> {
    fn event(mut self) -> Result<Event, LineError> {
        let (kind, kind_text) = self.kind("kind")?;
        Ok(Event {
            sequence: self.number("sequence")?,
            time: self.time("time")?,
            host: self.text("host")?.into(),
            process_id: self.number("process_id")?,
            process_key: self.key("process_key")?,
            body: self.body(kind, &kind_text)?,
            truncated: self.truncated()?,
            missing: self.missing()?,
        })
    }

    fn body(&mut self, kind: Kind, kind_text: &str) -> Result<Body, LineError> {
        Ok(match kind {
            Kind::PROCESS_START => Body::ProcessStart(Box::new(self.process_start()?)),
            Kind::PROCESS_EXEC => Body::ProcessExec(Box::new(self.process_exec()?)),
            Kind::PROCESS_EXIT => Body::ProcessExit(self.process_exit()?),
            Kind::THREAD_START => Body::ThreadStart(self.thread_start()?),
            Kind::THREAD_EXIT => Body::ThreadExit(ThreadExit {
                thread_id: self.number("thread_id")?,
            }),
            Kind::IMAGE_LOAD => Body::ImageLoad(self.image_load()?),
            Kind::LOST => Body::Lost(Lost {
                lost_kind: self.kind("lost_kind")?.0,
                lost_count: self.number("lost_count")?,
                lost_reason: Cow::Owned(self.text("lost_reason")?.into_owned()),
            }),
            Kind::SENSOR_START => Body::SensorStart(SensorStart {
                source: Cow::Owned(self.text("source")?.into_owned()),
                version: Cow::Owned(self.text("version")?.into_owned()),
            }),
            Kind::SENSOR_STOP => Body::SensorStop(Box::new(SensorStop {
                source: Cow::Owned(self.text("source")?.into_owned()),
                version: Cow::Owned(self.text("version")?.into_owned()),
                account: self
                    .account
                    .take()
                    .ok_or(LineError::Missing { field: "account" })?,
            })),
            _ => return Err(wrong("kind", "a kind of event", kind_text)),
        })
    }

    fn process_start(&mut self) -> Result<ProcessStart, LineError> {
        Ok(ProcessStart {
            parent_process_id: self.maybe_number("parent_process_id")?,
            parent_process_key: self.maybe_key("parent_process_key")?,
            creator_process_id: self.maybe_number("creator_process_id")?,
            creator_thread_id: self.maybe_number("creator_thread_id")?,
            program: self.program()?,
            session_id: self.maybe_number("session_id")?,
            existing: self.truth("existing")?,
        })
    }

    fn process_exec(&mut self) -> Result<ProcessExec, LineError> {
        let mut program = self.program()?;
        program.script = self.maybe_system_text("script", "script_raw")?;
        Ok(ProcessExec { program })
    }

    fn program(&mut self) -> Result<Program, LineError> {
        Ok(Program {
            image: self.maybe_system_text("image", "image_raw")?,
            image_deleted: self.maybe_truth("image_deleted")?.unwrap_or(false),
            command_line: self.maybe_system_text("command_line", "command_line_raw")?,
            arguments: self.arguments()?,
            user: self.maybe_text("user")?.map(Into::into),
            user_id: self.user_id()?,
            script: None,
        })
    }

    fn process_exit(&mut self) -> Result<ProcessExit, LineError> {
        Ok(ProcessExit {
            exit_code: self.maybe_number("exit_code")?,
            signal: self.maybe_number("signal")?,
            core_dumped: self.maybe_truth("core_dumped")?.unwrap_or(false),
            image: self.maybe_system_text("image", "image_raw")?,
            run_time_ns: self.maybe_number("run_time_ns")?,
        })
    }

    fn thread_start(&mut self) -> Result<ThreadStart, LineError> {
        Ok(ThreadStart {
            thread_id: self.number("thread_id")?,
            creator_process_id: self.maybe_number("creator_process_id")?,
            creator_thread_id: self.maybe_number("creator_thread_id")?,
            remote: self.truth("remote")?,
            start_address: self.maybe_address("start_address")?,
        })
    }

    fn image_load(&mut self) -> Result<ImageLoad, LineError> {
        Ok(ImageLoad {
            image: self.maybe_system_text("image", "image_raw")?,
            image_deleted: self.maybe_truth("image_deleted")?.unwrap_or(false),
            image_base: required("image_base", self.maybe_address("image_base")?)?,
            image_size: self.number("image_size")?,
            kernel_image: self.truth("kernel_image")?,
            existing: self.truth("existing")?,
        })
    }
}

/// Fields of one meaning each.
impl<'a> Fields<'a> {
    fn kind(&mut self, field: &'static str) -> Result<(Kind, Cow<'a, str>), LineError> {
        let text = self.text(field)?;
        let kind = Kind::from_name(&text)
            .or_else(|| kind_of_number(&text))
            .ok_or_else(|| wrong(field, "a kind of event", &text))?;
        Ok((kind, text))
    }

    fn time(&mut self, field: &'static str) -> Result<Time, LineError> {
        let text = self.text(field)?;
        time_of(text.as_bytes()).ok_or_else(|| {
            let expected = "a time like 2026-11-22T15:59:59.000000000Z";
            wrong(field, expected, &text)
        })
    }

    fn key(&mut self, field: &'static str) -> Result<ProcessKey, LineError> {
        required(field, self.maybe_key(field)?)
    }

    fn maybe_key(&mut self, field: &'static str) -> Result<Option<ProcessKey>, LineError> {
        self.parsed(field, "16 lower-case hex digits", |text| {
            let lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
            ProcessKey::from_hex(text).filter(|_| lower_case)
        })
    }

    fn maybe_address(&mut self, field: &'static str) -> Result<Option<u64>, LineError> {
        self.parsed(field, "an address like 0x7f00", |text| {
            let digits = text.strip_prefix("0x")?;
            let only_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| only_digits)
        })
    }

    fn user_id(&mut self) -> Result<Option<UserId>, LineError> {
        const EXPECTED: &str = "a uid or a SID";
        Ok(match self.take("user_id") {
            Some(Value::Number(number)) => Some(UserId::Uid(
                u32::try_from(number)
                    .map_err(|_too_large| wrong("user_id", EXPECTED, &Value::Number(number)))?,
            )),
            Some(Value::Text(sid)) => Some(UserId::Sid(sid.into())),
            Some(other) => return Err(wrong("user_id", EXPECTED, &other)),
            None => None,
        })
    }

    fn maybe_system_text(
        &mut self,
        shown_field: &'static str,
        raw_field: &'static str,
    ) -> Result<Option<Text>, LineError> {
        let raw = self.maybe_text(raw_field)?;
        let Some(shown) = self.maybe_text(shown_field)? else {
            return match raw {
                Some(_) => Err(LineError::Missing { field: shown_field }),
                None => Ok(None),
            };
        };
        match raw {
            Some(raw) => raw_text(raw_field, &raw, &shown).map(Some),
            None => Ok(Some(Text::from(&*shown))),
        }
    }

    fn arguments(&mut self) -> Result<Option<Arc<[Text]>>, LineError> {
        const RAW: &str = "arguments_raw";
        let raw = self.list(RAW)?;
        let Some(shown) = self.list("arguments")? else {
            return match raw {
                Some(_) => Err(LineError::Missing { field: "arguments" }),
                None => Ok(None),
            };
        };
        let Some(raw) = raw else {
            return Ok(Some(shown.iter().map(|text| Text::from(&**text)).collect()));
        };
        if raw.len() != shown.len() {
            let expected = "as many texts as in `arguments`";
            return Err(wrong(RAW, expected, &Value::List(raw)));
        }
        let arguments = raw.iter().zip(&shown);
        arguments
            .map(|(raw, shown)| raw_text(RAW, raw, shown))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn truncated(&mut self) -> Result<Vec<Field>, LineError> {
        let fields = self.list("truncated")?.unwrap_or_default();
        Ok(fields.into_iter().map(owned).collect())
    }

    fn missing(&mut self) -> Result<Vec<(Field, Cow<'static, str>)>, LineError> {
        match self.take("missing") {
            Some(Value::Object(pairs)) => Ok(pairs
                .into_iter()
                .map(|(field, reason)| (owned(field), owned(reason)))
                .collect()),
            Some(other) => Err(wrong("missing", "an object of texts", &other)),
            None => Ok(Vec::new()),
        }
    }
}

fn owned(text: Cow<'_, str>) -> Cow<'static, str> {
    Cow::Owned(text.into_owned())
}

/// The text whose bytes are `raw` in hex; what is shown of it must agree.
fn raw_text(raw_field: &'static str, raw: &str, shown: &str) -> Result<Text, LineError> {
    let bytes = bytes_of_hex(raw).ok_or_else(|| wrong(raw_field, "hex digits", raw))?;
    let text = Text::from_bytes(&bytes);
    if text.shown() == shown {
        Ok(text)
    } else {
        Err(wrong(raw_field, "the bytes of the text beside it", raw))
    }
}

fn bytes_of_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    pairs
        .iter()
        .map(|pair| {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            u8::try_from(high * 16 + low).ok()
        })
        .collect()
}

/// `kind_N`, the name of a number this version does not know.
fn kind_of_number(text: &str) -> Option<Kind> {
    let digits = text.strip_prefix("kind_")?;
    let kind = Kind(digits.parse().ok()?);
    // Only the very text that is written for it: no sign, no leading zero, no known kind.
    (kind.to_string() == text).then_some(kind)
}

fn time_of(text: &[u8]) -> Option<Time> {
    let form = b"dddd-dd-ddTdd:dd:dd.dddddddddZ";
    let has_form = text.len() == form.len()
        && text.iter().zip(form).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            mark => byte == mark,
        });
    if !has_form {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        text[range]
            .iter()
            .fold(0_i32, |sum, digit| sum * 10 + i32::from(digit - b'0'))
    };
    let small = |range| i8::try_from(number(range)).ok();
    let time = DateTime::new(
        i16::try_from(number(0..4)).ok()?,
        small(5..7)?,
        small(8..10)?,
        small(11..13)?,
        small(14..16)?,
        small(17..19)?,
        number(20..29),
    )
    .ok()?;
    let timestamp = Offset::UTC.to_timestamp(time).ok()?;
    i64::try_from(timestamp.as_nanosecond()).ok().map(Time)
}

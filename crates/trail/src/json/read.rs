//! Reads a line back. The line may have been written by anybody: each field is taken as what it is,
//! then checked to be what it should be, and the first that is not is named.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::Arc;

use event::{Kind, ProcessKey};
use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::fields::{Fields, Value, wrong};
use super::line_error::{LineError, cut};
use super::{Arguments, LINE_SIZE_MAX, Notes};
use crate::account::Account;
use crate::schema::{Declared as _, Field};
use crate::visit::{Form as _, Key, Number, Source};
use crate::{Body, Event, KeptBy, Name, Origin, Program, Text, Time, UserId, Whence};

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

/// What [`write_notes`](super::write_notes) wrote; the fields of the body's that it has are put into
/// `body`.
///
/// # Errors
/// Names the first field that is not what it should be.
pub fn read_notes(object: &[u8], body: &mut Body) -> Result<Notes, LineError> {
    let mut fields = fields(object)?;
    body.read_noted(&mut fields)?;
    Ok(Notes {
        kept_by: fields.kept_by()?,
        truncated: fields.truncated()?,
        missing: fields.missing()?,
        further: fields.further(),
    })
}

/// What [`write_arguments`](super::write_arguments) wrote.
///
/// # Errors
/// Names the first field that is not what it should be.
pub fn read_arguments(object: &[u8]) -> Result<Option<Arguments>, LineError> {
    fields(object)?.texts(&Program::arguments)
}

fn fields(object: &[u8]) -> Result<Fields<'_>, LineError> {
    serde_json::from_slice(object).map_err(|error| LineError::Json {
        // Every line is the reader's line 1, which would read like the number of the line.
        message: cut(error.to_string().replace(" at line 1 column ", " at byte ")),
    })
}

impl Fields<'_> {
    fn event(mut self) -> Result<Event, LineError> {
        let kind = self.known_kind()?;
        let sequence = Number::read(&Event::sequence, &mut self)?;
        let time = self.time()?;
        let origin = shared(Whence::read(&mut self)?);
        let process_id = Number::read(&Event::process_id, &mut self)?;
        let process_key = Key::read(&Event::process_key, &mut self)?;
        let Some(body) = Body::read(kind, &mut self)? else {
            return Err(unknown_kind(&kind.to_string()));
        };
        Ok(Event {
            sequence,
            time,
            origin,
            process_id,
            process_key,
            body,
            kept_by: self.kept_by()?,
            truncated: self.truncated()?,
            missing: self.missing()?,
            further: self.further(),
        })
    }

    /// The kind, of those this version knows.
    fn known_kind(&mut self) -> Result<Kind, LineError> {
        let field = &Event::kind;
        let Some(text) = self.text(field.name)? else {
            return Err(self.lacks(field));
        };
        Kind::from_name(&text).ok_or_else(|| unknown_kind(&text))
    }

    fn time(&mut self) -> Result<Time, LineError> {
        let expected = "a time like 2026-11-22T15:59:59.000000000Z";
        let time = self.parsed(Event::time.name, expected, |text| time_of(text.as_bytes()))?;
        time.ok_or_else(|| self.lacks(&Event::time))
    }

    fn kept_by(&mut self) -> Result<Option<Arc<KeptBy>>, LineError> {
        let read = KeptBy::read(self)?;
        Ok((read != KeptBy::default()).then(|| Arc::new(read)))
    }

    fn truncated(&mut self) -> Result<Vec<Name>, LineError> {
        let fields = self.list(Event::truncated.name)?.unwrap_or_default();
        Ok(fields.into_iter().map(owned).collect())
    }

    fn missing(&mut self) -> Result<Vec<(Name, Name)>, LineError> {
        match self.take(Event::missing.name) {
            Some(Value::Object(pairs)) => Ok(pairs
                .into_iter()
                .map(|(field, reason)| (owned(field), owned(reason)))
                .collect()),
            Some(other) => Err(wrong(Event::missing.name, "an object of texts", &other)),
            None => Ok(Vec::new()),
        }
    }
}

fn unknown_kind(kind: &str) -> LineError {
    LineError::UnknownKind {
        kind: cut(format!("{kind:?}")),
    }
}

/// The origin of the line before, where it is the same: one allocation a run, not one an event.
fn shared(whence: Whence) -> Arc<Origin> {
    thread_local! {
        static LAST: RefCell<Option<Arc<Origin>>> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| match last {
        Some(last) if ***last == whence => Arc::clone(last),
        _ => Arc::clone(last.insert(Arc::new(Origin::new(whence)))),
    })
}

impl Source for Fields<'_> {
    type Error = LineError;

    fn number(&mut self, field: &'static Field) -> Result<Option<u64>, LineError> {
        match self.take(field.name) {
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(other) => Err(wrong(field.name, "a whole number", &other)),
            None => Ok(None),
        }
    }

    fn truth(&mut self, field: &'static Field) -> Result<Option<bool>, LineError> {
        match self.take(field.name) {
            Some(Value::Truth(truth)) => Ok(Some(truth)),
            Some(other) => Err(wrong(field.name, "true or false", &other)),
            None => Ok(None),
        }
    }

    fn text(&mut self, field: &'static Field) -> Result<Option<Cow<'_, str>>, LineError> {
        Fields::text(self, field.name)
    }

    fn system_text(&mut self, field: &'static Field) -> Result<Option<Text>, LineError> {
        let raw = self.text(field.raw_name)?;
        let Some(shown) = self.text(field.name)? else {
            return match raw {
                Some(_) => Err(self.lacks(field)),
                None => Ok(None),
            };
        };
        match raw {
            Some(raw) => raw_text(field.raw_name, &raw, &shown).map(Some),
            None => Ok(Some(Text::from(&*shown))),
        }
    }

    fn texts(&mut self, field: &'static Field) -> Result<Option<Arguments>, LineError> {
        let raw = self.list(field.raw_name)?;
        let Some(shown) = self.list(field.name)? else {
            return match raw {
                Some(_) => Err(self.lacks(field)),
                None => Ok(None),
            };
        };
        let Some(raw) = raw else {
            return Ok(Some(shown.iter().map(|text| Text::from(&**text)).collect()));
        };
        if raw.len() != shown.len() {
            let expected = "as many texts as in the list beside it";
            return Err(wrong(field.raw_name, expected, &Value::List(raw)));
        }
        let texts = raw.iter().zip(&shown);
        texts
            .map(|(raw, shown)| raw_text(field.raw_name, raw, shown))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    fn key(&mut self, field: &'static Field) -> Result<Option<ProcessKey>, LineError> {
        self.parsed(field.name, "16 lower-case hex digits", |text| {
            let lower_case = !text.bytes().any(|byte| byte.is_ascii_uppercase());
            ProcessKey::from_hex(text).filter(|_| lower_case)
        })
    }

    fn address(&mut self, field: &'static Field) -> Result<Option<u64>, LineError> {
        self.parsed(field.name, "an address like 0x7f00", |text| {
            let digits = text.strip_prefix("0x")?;
            let only_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| only_digits)
        })
    }

    fn user_id(&mut self, field: &'static Field) -> Result<Option<UserId>, LineError> {
        const EXPECTED: &str = "a uid or a SID";
        Ok(match self.take(field.name) {
            Some(Value::Number(number)) => Some(UserId::Uid(
                u32::try_from(number)
                    .map_err(|_too_large| wrong(field.name, EXPECTED, &Value::Number(number)))?,
            )),
            Some(Value::Text(sid)) => Some(UserId::Sid(sid.into())),
            Some(other) => return Err(wrong(field.name, EXPECTED, &other)),
            None => None,
        })
    }

    fn kind(&mut self, field: &'static Field) -> Result<Option<Kind>, LineError> {
        self.parsed(field.name, "a kind of event", |text| {
            Kind::from_name(text).or_else(|| kind_of_number(text))
        })
    }

    fn account(&mut self, _field: &'static Field) -> Result<Option<Account>, LineError> {
        Ok(self.account.take())
    }

    fn lacks(&self, field: &'static Field) -> LineError {
        LineError::Missing { field: field.name }
    }

    fn too_large(&self, field: &'static Field, expected: &'static str, value: u64) -> LineError {
        wrong(field.name, expected, &Value::Number(value))
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

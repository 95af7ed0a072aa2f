//! Writes an event as a line. This runs for every event recorded, so it allocates nothing but
//! `out`, formats numbers itself and copies plain text in whole runs.

use std::cell::Cell;

use event::{Kind, ProcessKey};
use jiff::Timestamp;
use jiff::tz::Offset;

use crate::account::Account;
use crate::control_characters::is_control;
use crate::schema::{Declared, Field};
use crate::visit::Visitor;
use crate::{Event, Name, Origin, Text, Time, UserId};

/// Appends the event as one line, line feed included.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    let begin = out.len();
    event.visit(&mut Line(out));
    if !event.further.is_empty() {
        out.push(b',');
        out.extend_from_slice(event.further.members().as_bytes());
    }
    open(out, begin);
    out.extend_from_slice(b"}\n");
}

/// Appends the event's `truncated` and `missing`, the fields that are
/// [noted](crate::schema::Place::Noted), which rule kept it, and what a newer version said, as an object of their own;
/// nothing when there is none of them.
pub fn write_notes(event: &Event, out: &mut Vec<u8>) {
    let begin = out.len();
    let mut line = Line(out);
    event.body.visit_noted(&mut line);
    if let Some(kept_by) = &event.kept_by {
        kept_by.visit(&mut line);
    }
    line.names(&Event::truncated, &event.truncated);
    line.reasons(&Event::missing, &event.missing);
    if !event.further.is_empty() {
        out.push(b',');
        out.extend_from_slice(event.further.members().as_bytes());
    }
    close(out, begin);
}

/// Appends `arguments` and, where there is one, `arguments_raw` as an object of their own.
pub fn write_arguments(arguments: &[Text], out: &mut Vec<u8>) {
    let begin = out.len();
    Line(out).texts(&crate::Program::arguments, arguments);
    close(out, begin);
}

/// Fields as a line has them, each after a comma.
pub(crate) fn fields(fields: &impl Declared) -> Vec<u8> {
    let mut out = Vec::new();
    fields.visit(&mut Line(&mut out));
    out
}

/// Fields begin with the comma after the field before; the first of an object has none before it.
fn open(out: &mut [u8], begin: usize) {
    if let Some(comma) = out.get_mut(begin) {
        *comma = b'{';
    }
}

/// Makes an object of the fields from `begin` on; nothing when there are none.
fn close(out: &mut Vec<u8>, begin: usize) {
    if out.len() > begin {
        open(out, begin);
        out.push(b'}');
    }
}

/// A line on its way, each field after a comma.
pub(crate) struct Line<'o>(pub(crate) &'o mut Vec<u8>);

impl Line<'_> {
    /// Inlined with its callers, so that a name is copied as what it is: a text known beforehand.
    #[expect(
        clippy::inline_always,
        reason = "a call would copy names of any length"
    )]
    #[inline(always)]
    fn name(&mut self, field: &'static Field) {
        self.0.extend_from_slice(field.json.as_bytes());
    }
}

#[expect(
    clippy::inline_always,
    reason = "the name of a field is copied as the constant it is only where the whole is inlined"
)]
impl Visitor<'_> for Line<'_> {
    #[inline(always)]
    fn number(&mut self, field: &'static Field, value: u64) {
        self.name(field);
        digits(self.0, value);
    }

    #[inline(always)]
    fn time(&mut self, field: &'static Field, value: Time) {
        self.name(field);
        time(self.0, value);
    }

    #[inline(always)]
    fn truth(&mut self, field: &'static Field, value: bool) {
        self.name(field);
        self.0
            .extend_from_slice(if value { b"true" } else { b"false" });
    }

    #[inline(always)]
    fn text(&mut self, field: &'static Field, value: &str) {
        self.name(field);
        string(self.0, value);
    }

    #[inline(always)]
    fn system_text(&mut self, field: &'static Field, value: &Text) {
        self.name(field);
        string(self.0, value.shown());
        if let Some(bytes) = value.raw() {
            self.0.extend_from_slice(field.raw_json.as_bytes());
            hex_string(self.0, bytes);
        }
    }

    fn texts(&mut self, field: &'static Field, value: &[Text]) {
        self.name(field);
        shown_list(self.0, value);
        if value.iter().any(|text| text.raw().is_some()) {
            self.0.extend_from_slice(field.raw_json.as_bytes());
            hex_list(self.0, value);
        }
    }

    #[inline(always)]
    fn key(&mut self, field: &'static Field, value: ProcessKey) {
        self.name(field);
        key(self.0, value);
    }

    #[inline(always)]
    fn address(&mut self, field: &'static Field, value: u64) {
        self.name(field);
        address(self.0, value);
    }

    fn user_id(&mut self, field: &'static Field, value: &UserId) {
        self.name(field);
        match value {
            UserId::Uid(uid) => digits(self.0, (*uid).into()),
            UserId::Sid(sid) => string(self.0, sid),
        }
    }

    #[inline(always)]
    fn kind(&mut self, field: &'static Field, value: Kind) {
        self.name(field);
        kind(self.0, value);
    }

    fn account(&mut self, field: &'static Field, value: &Account) {
        self.name(field);
        // Neither writing to memory nor an account, which has names for keys, can fail.
        let account = serde_json::to_string(value).unwrap_or_else(|_never| "null".to_owned());
        // Names in it may be a hostile log's.
        self.0
            .extend_from_slice(super::escape_controls(account).as_bytes());
    }

    fn names(&mut self, field: &'static Field, value: &[Name]) {
        if !value.is_empty() {
            self.name(field);
            list(self.0, value, |out, name| string(out, name));
        }
    }

    fn reasons(&mut self, field: &'static Field, value: &[(Name, Name)]) {
        if value.is_empty() {
            return;
        }
        self.name(field);
        for (index, (name, reason)) in value.iter().enumerate() {
            self.0.push(if index == 0 { b'{' } else { b',' });
            string(self.0, name);
            self.0.push(b':');
            string(self.0, reason);
        }
        self.0.push(b'}');
    }

    #[inline(always)]
    fn origin(&mut self, origin: &Origin) {
        self.0.extend_from_slice(origin.json());
    }
}

fn key(out: &mut Vec<u8>, key: ProcessKey) {
    out.push(b'"');
    out.extend_from_slice(&hex_digits(key.0));
    out.push(b'"');
}

/// `"0x"` and hex digits without leading zeros, because a JSON number loses bits in many readers.
fn address(out: &mut Vec<u8>, address: u64) {
    out.extend_from_slice(b"\"0x");
    let digits = hex_digits(address);
    let begin = digits.iter().position(|digit| *digit != b'0');
    out.extend_from_slice(digits.get(begin.unwrap_or(15)..).unwrap_or_default());
    out.push(b'"');
}

fn kind(out: &mut Vec<u8>, kind: Kind) {
    out.push(b'"');
    if let Some(name) = kind.name() {
        out.extend_from_slice(name.as_bytes());
    } else {
        out.extend_from_slice(b"kind_");
        digits(out, kind.0.into());
    }
    out.push(b'"');
}

/// The text of a second: the quote and all before the fraction.
type SecondText = [u8; 21];

thread_local! {
    /// The second that was written last, with its text. Events come many to a second, and the
    /// calendar is most of what a time costs.
    static SECOND: Cell<(i64, SecondText)> =
        const { Cell::new((i64::MIN, *b"\"YYYY-MM-DDThh:mm:ss.")) };
}

/// RFC 3339 in UTC with exactly nine fractional digits.
pub(super) fn time(out: &mut Vec<u8>, time: Time) {
    const NS: i64 = 1_000_000_000;
    let second = time.0.div_euclid(NS);
    let (known, mut text) = SECOND.get();
    if known != second {
        text = second_text(second);
        SECOND.set((second, text));
    }
    let mut whole = *b"\"YYYY-MM-DDThh:mm:ss.nnnnnnnnnZ\"";
    let (before, fraction) = whole.split_at_mut(text.len());
    before.copy_from_slice(&text);
    // The first second there is begins before the first time there is.
    let ns = time.0.wrapping_sub(second.wrapping_mul(NS));
    let ns = u32::try_from(ns).unwrap_or_default();
    nine_digits(fraction, ns);
    out.extend_from_slice(&whole);
}

fn second_text(second: i64) -> SecondText {
    // Every i64 of nanoseconds is inside jiff's range; its years are 1677 to 2262, four digits.
    let timestamp = Timestamp::from_second(second).unwrap_or_default();
    let time = Offset::UTC.to_datetime(timestamp);
    let mut text = *b"\"YYYY-MM-DDThh:mm:ss.";
    place(&mut text[1..5], time.year().unsigned_abs().into());
    place(&mut text[6..8], time.month().unsigned_abs().into());
    place(&mut text[9..11], time.day().unsigned_abs().into());
    place(&mut text[12..14], time.hour().unsigned_abs().into());
    place(&mut text[15..17], time.minute().unsigned_abs().into());
    place(&mut text[18..20], time.second().unsigned_abs().into());
    text
}

/// The two decimal digits of each number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let mut number = 0_u8;
    while number < 100 {
        pairs[number as usize] = [b'0' + number / 10, b'0' + number % 10];
        number += 1;
    }
    pairs
};

/// Fills the first nine bytes of `field` with the digits of `value`, zeros in front.
fn nine_digits(field: &mut [u8], value: u32) {
    let pair = |number: u32| {
        PAIRS
            .get(number as usize % 100)
            .copied()
            .unwrap_or_default()
    };
    let (high, low) = (value / 10_000, value % 10_000);
    let [_, first] = pair(high / 10_000);
    let pairs = [high / 100, high, low / 100, low].map(pair);
    if let Some((digit, rest)) = field.split_first_mut() {
        *digit = first;
        let (rest, _after) = rest.as_chunks_mut();
        for (two, pair) in rest.iter_mut().zip(pairs) {
            *two = pair;
        }
    }
}

/// Fills `field` with the last digits of `value`, zeros in front.
fn place(field: &mut [u8], mut value: u32) {
    for digit in field.iter_mut().rev() {
        let [last, ..] = (value % 10).to_le_bytes();
        *digit = b'0' + last;
        value /= 10;
    }
}

fn digits(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// The texts as Unicode.
pub(crate) fn shown_list(out: &mut Vec<u8>, texts: &[Text]) {
    list(out, texts, |out, text| string(out, text.shown()));
}

/// The bytes of each text.
pub(crate) fn hex_list(out: &mut Vec<u8>, texts: &[Text]) {
    list(out, texts, |out, text| hex_string(out, text.as_bytes()));
}

fn list<T>(out: &mut Vec<u8>, items: &[T], item_fn: impl Fn(&mut Vec<u8>, &T)) {
    out.push(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        item_fn(out, item);
    }
    out.push(b']');
}

/// The two hexadecimal digits of each byte.
const HEX: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut pairs = [[0; 2]; 256];
    let mut byte = 0;
    while byte < pairs.len() {
        pairs[byte] = [digits[byte >> 4], digits[byte & 0xf]];
        byte += 1;
    }
    pairs
};

fn hex_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend(hex_digits_of(bytes));
    out.push(b'"');
}

/// The hexadecimal digits of bytes.
pub(crate) fn hex_digits_of(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().copied().flat_map(hex)
}

const fn hex(byte: u8) -> [u8; 2] {
    HEX[byte as usize]
}

/// The 16 hexadecimal digits of a number.
pub fn hex_digits(number: u64) -> [u8; 16] {
    let mut digits = [0; 16];
    let (pairs, _rest) = digits.as_chunks_mut();
    for (pair, byte) in pairs.iter_mut().zip(number.to_be_bytes()) {
        *pair = hex(byte);
    }
    digits
}

/// Whether a byte stands for itself in a JSON string: printable ASCII without quote and backslash.
#[expect(
    clippy::needless_bitwise_bool,
    reason = "no short cuts, so that the compiler can ask for many bytes at once"
)]
const fn is_plain(byte: u8) -> bool {
    (byte >= 0x20) & (byte < 0x7f) & (byte != b'"') & (byte != b'\\')
}

/// How many bytes at the beginning stand for themselves.
fn plain_size(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_plain(**byte)).count()
}

/// Whether every byte stands for itself. Most texts are that, and few have many bytes: so the last of
/// a text are looked at together as well, some of them for the second time.
#[inline]
fn is_all_plain(bytes: &[u8]) -> bool {
    let (chunks, _rest) = bytes.as_chunks::<16>();
    let is_whole = |chunk: &[u8; 16]| chunk.iter().fold(true, |all, byte| all & is_plain(*byte));
    if let Some(last) = bytes.last_chunk::<16>() {
        return chunks.iter().all(is_whole) && is_whole(last);
    }
    if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        return are_plain(u64::from_le_bytes(*first)) && are_plain(u64::from_le_bytes(*last));
    }
    bytes.iter().all(|byte| is_plain(*byte))
}

/// The same of the eight bytes of a number. The highest bit of each byte is set in what is not plain:
/// it is there, or a byte becomes too large with 1 more, or too small with 0x20 less; a quote or a
/// backslash becomes 0, from which 1 is taken. What is taken from the byte above by that one makes at
/// most one byte more look so, beside one that is.
const fn are_plain(bytes: u64) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x80 * ONES;
    let quote = bytes ^ (ONES * b'"' as u64);
    let backslash = bytes ^ (ONES * b'\\' as u64);
    let is_other = bytes
        | bytes.wrapping_add(ONES)
        | bytes.wrapping_sub(ONES * 0x20)
        | quote.wrapping_sub(ONES)
        | backslash.wrapping_sub(ONES);
    is_other & HIGH == 0
}

/// Appends a text as a JSON string.
pub(super) fn string(out: &mut Vec<u8>, text: &str) {
    // For the quotes too, so that there is room for them.
    out.reserve(text.len().saturating_add(2));
    out.push(b'"');
    if is_all_plain(text.as_bytes()) {
        out.extend_from_slice(text.as_bytes());
    } else {
        escaped(out, text);
    }
    out.push(b'"');
}

/// Appends a text in which something is to be escaped.
#[cold]
fn escaped(out: &mut Vec<u8>, text: &str) {
    let mut rest = text;
    loop {
        // A plain byte is a character by itself, so there is one's boundary after it.
        let (plain, from_here) = rest.split_at(plain_size(rest.as_bytes()));
        out.extend_from_slice(plain.as_bytes());
        let mut characters = from_here.chars();
        let Some(first) = characters.next() else {
            break;
        };
        character(out, first);
        rest = characters.as_str();
    }
}

fn character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        control if is_control(control) => {
            let [.., high, low] = u32::from(control).to_be_bytes();
            out.extend_from_slice(b"\\u");
            out.extend_from_slice(&hex(high));
            out.extend_from_slice(&hex(low));
        }
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Short texts, long ones and those between are looked at in different ways.
    #[test]
    fn whatever_is_not_plain_is_seen_wherever_it_stands() {
        for size in 0..70 {
            assert!(is_all_plain(&vec![b'a'; size]), "{size}");
            for place in 0..size {
                for byte in 0..=u8::MAX {
                    let mut bytes = vec![b'~'; size];
                    bytes[place] = byte;
                    assert_eq!(is_all_plain(&bytes), is_plain(byte), "{byte} in {size}");
                }
            }
        }
    }

    #[test]
    fn a_fraction_has_nine_digits() {
        for ns in [
            0,
            1,
            10,
            99,
            100,
            12_345,
            123_456_789,
            100_000_000,
            999_999_999,
        ] {
            let mut out = Vec::new();
            time(&mut out, Time(ns));
            let expected = format!("\"1970-01-01T00:00:00.{ns:09}Z\"");
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        let mut out = Vec::new();
        time(&mut out, Time(-1));
        assert_eq!(out, *b"\"1969-12-31T23:59:59.999999999Z\"");
    }
}

//! Writes an event as a line. This runs for every event recorded, so it allocates nothing but
//! `out`, formats numbers itself and copies plain text in whole runs.

use std::cell::Cell;

use event::{Kind, ProcessKey};
use jiff::Timestamp;
use jiff::tz::Offset;

use crate::control_characters::is_control;
use crate::{
    Body, Event, ImageLoad, Lost, ProcessExit, ProcessStart, Program, SensorStop, Text,
    ThreadStart, Time, UserId,
};

/// A field's name as it is written: after a comma, quoted, with the colon. One text, so that it is
/// copied at once; no function makes one at compile time.
macro_rules! field {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Appends the event as one line, line feed included.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"sequence\":");
    digits(out, event.sequence);
    name(out, field!("time"));
    time(out, event.time);
    name(out, field!("kind"));
    kind(out, event.body.kind());
    text(out, field!("host"), &event.host);
    number(out, field!("process_id"), event.process_id);
    key(out, field!("process_key"), event.process_key);
    body(out, &event.body);
    notes(out, event);
    out.extend_from_slice(b"}\n");
}

/// Appends the event's `truncated` and `missing` as an object of their own; nothing when there is
/// neither.
pub fn write_notes(event: &Event, out: &mut Vec<u8>) {
    object(out, |out| notes(out, event));
}

/// Appends `arguments` and, where there is one, `arguments_raw` as an object of their own.
pub fn write_arguments(list: &[Text], out: &mut Vec<u8>) {
    object(out, |out| arguments(out, list));
}

/// Fields begin with the comma after the field before; the first of an object has none before it.
fn object(out: &mut Vec<u8>, fields_fn: impl FnOnce(&mut Vec<u8>)) {
    let begin = out.len();
    fields_fn(out);
    if let Some(comma) = out.get_mut(begin) {
        *comma = b'{';
        out.push(b'}');
    }
}

fn body(out: &mut Vec<u8>, body: &Body) {
    match body {
        Body::ProcessStart(start) => process_start(out, start),
        Body::ProcessExec(exec) => {
            program(out, &exec.program);
            maybe_system_text(out, SCRIPT, exec.program.script.as_ref());
        }
        Body::ProcessExit(exit) => process_exit(out, exit),
        Body::ThreadStart(start) => thread_start(out, start),
        Body::ThreadExit(exit) => number(out, field!("thread_id"), exit.thread_id),
        Body::ImageLoad(load) => image_load(out, load),
        Body::Lost(loss) => lost(out, loss),
        Body::SensorStart(start) => {
            text(out, field!("source"), &start.source);
            text(out, field!("version"), &start.version);
        }
        Body::SensorStop(stop) => sensor_stop(out, stop),
    }
}

fn process_start(out: &mut Vec<u8>, start: &ProcessStart) {
    maybe_number(out, field!("parent_process_id"), start.parent_process_id);
    if let Some(parent) = start.parent_process_key {
        key(out, field!("parent_process_key"), parent);
    }
    maybe_number(out, field!("creator_process_id"), start.creator_process_id);
    maybe_number(out, field!("creator_thread_id"), start.creator_thread_id);
    program(out, &start.program);
    maybe_number(out, field!("session_id"), start.session_id);
    truth(out, field!("existing"), start.existing);
}

/// What a process runs and for whom, all but the script.
fn program(out: &mut Vec<u8>, program: &Program) {
    maybe_system_text(out, IMAGE, program.image.as_ref());
    when(out, field!("image_deleted"), program.image_deleted);
    maybe_system_text(out, COMMAND_LINE, program.command_line.as_ref());
    if let Some(list) = &program.arguments {
        arguments(out, list);
    }
    if let Some(user) = &program.user {
        text(out, field!("user"), user);
    }
    match &program.user_id {
        Some(UserId::Uid(uid)) => number(out, field!("user_id"), *uid),
        Some(UserId::Sid(sid)) => text(out, field!("user_id"), sid),
        None => {}
    }
}

fn arguments(out: &mut Vec<u8>, arguments: &[Text]) {
    name(out, field!("arguments"));
    list(out, arguments, |out, argument| {
        string(out, argument.shown());
    });
    if arguments.iter().any(|argument| argument.raw().is_some()) {
        name(out, field!("arguments_raw"));
        list(out, arguments, |out, argument| {
            hex_string(out, argument.as_bytes());
        });
    }
}

fn process_exit(out: &mut Vec<u8>, exit: &ProcessExit) {
    maybe_number(out, field!("exit_code"), exit.exit_code);
    maybe_number(out, field!("signal"), exit.signal);
    when(out, field!("core_dumped"), exit.core_dumped);
    maybe_system_text(out, IMAGE, exit.image.as_ref());
    maybe_number(out, field!("run_time_ns"), exit.run_time_ns);
}

fn thread_start(out: &mut Vec<u8>, start: &ThreadStart) {
    number(out, field!("thread_id"), start.thread_id);
    maybe_number(out, field!("creator_process_id"), start.creator_process_id);
    maybe_number(out, field!("creator_thread_id"), start.creator_thread_id);
    truth(out, field!("remote"), start.remote);
    if let Some(start_address) = start.start_address {
        address(out, field!("start_address"), start_address);
    }
}

fn image_load(out: &mut Vec<u8>, load: &ImageLoad) {
    maybe_system_text(out, IMAGE, load.image.as_ref());
    when(out, field!("image_deleted"), load.image_deleted);
    address(out, field!("image_base"), load.image_base);
    number(out, field!("image_size"), load.image_size);
    truth(out, field!("kernel_image"), load.kernel_image);
    truth(out, field!("existing"), load.existing);
}

fn lost(out: &mut Vec<u8>, lost: &Lost) {
    name(out, field!("lost_kind"));
    kind(out, lost.lost_kind);
    number(out, field!("lost_count"), lost.lost_count);
    text(out, field!("lost_reason"), &lost.lost_reason);
}

fn sensor_stop(out: &mut Vec<u8>, stop: &SensorStop) {
    text(out, field!("source"), &stop.source);
    text(out, field!("version"), &stop.version);
    name(out, field!("account"));
    let begin = out.len();
    if serde_json::to_writer(&mut *out, &stop.account).is_err() {
        // Neither writing to memory nor an account, which has names for keys, can fail.
        debug_assert!(false, "an account can always be written");
        out.truncate(begin);
        out.extend_from_slice(b"null");
    }
}

/// What is to be said about the fields themselves.
fn notes(out: &mut Vec<u8>, event: &Event) {
    if !event.truncated.is_empty() {
        name(out, field!("truncated"));
        list(out, &event.truncated, |out, field| string(out, field));
    }
    for (index, (field, reason)) in event.missing.iter().enumerate() {
        if index == 0 {
            name(out, field!("missing"));
            out.push(b'{');
        } else {
            out.push(b',');
        }
        string(out, field);
        out.push(b':');
        string(out, reason);
    }
    if !event.missing.is_empty() {
        out.push(b'}');
    }
}

/// The fields of a text from the system: as shown, and as hex where it is not valid UTF-8.
type SystemTextNames = (&'static str, &'static str);

const IMAGE: SystemTextNames = (field!("image"), field!("image_raw"));
const COMMAND_LINE: SystemTextNames = (field!("command_line"), field!("command_line_raw"));
const SCRIPT: SystemTextNames = (field!("script"), field!("script_raw"));

fn maybe_system_text(out: &mut Vec<u8>, (shown, raw): SystemTextNames, value: Option<&Text>) {
    let Some(value) = value else { return };
    text(out, shown, value.shown());
    if let Some(bytes) = value.raw() {
        name(out, raw);
        hex_string(out, bytes);
    }
}

fn maybe_number(out: &mut Vec<u8>, field: &'static str, value: Option<impl Into<u64>>) {
    if let Some(value) = value {
        number(out, field, value);
    }
}

fn number(out: &mut Vec<u8>, field: &'static str, value: impl Into<u64>) {
    name(out, field);
    digits(out, value.into());
}

fn text(out: &mut Vec<u8>, field: &'static str, value: &str) {
    name(out, field);
    string(out, value);
}

/// A field that is there only when it is so.
fn when(out: &mut Vec<u8>, field: &'static str, value: bool) {
    if value {
        truth(out, field, value);
    }
}

fn truth(out: &mut Vec<u8>, field: &'static str, value: bool) {
    name(out, field);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn key(out: &mut Vec<u8>, field: &'static str, key: ProcessKey) {
    name(out, field);
    out.push(b'"');
    out.extend_from_slice(&hex_digits(key.0));
    out.push(b'"');
}

/// An address: `"0x"` and hex digits without leading zeros, because a JSON number loses bits in
/// many readers.
fn address(out: &mut Vec<u8>, field: &'static str, address: u64) {
    name(out, field);
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
fn time(out: &mut Vec<u8>, time: Time) {
    const NS: i64 = 1_000_000_000;
    let second = time.0.div_euclid(NS);
    let (known, mut text) = SECOND.get();
    if known != second {
        text = second_text(second);
        SECOND.set((second, text));
    }
    let mut fraction = *b"nnnnnnnnnZ\"";
    let ns = u32::try_from(time.0.rem_euclid(NS)).unwrap_or_default();
    place(&mut fraction[..9], ns);
    out.extend_from_slice(&text);
    out.extend_from_slice(&fraction);
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
    out.extend(bytes.iter().copied().flat_map(hex));
    out.push(b'"');
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

fn name(out: &mut Vec<u8>, field: &'static str) {
    out.extend_from_slice(field.as_bytes());
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
    let (chunks, _rest) = bytes.as_chunks::<16>();
    let is_whole = |chunk: &&[u8; 16]| chunk.iter().fold(true, |all, byte| all & is_plain(*byte));
    let whole = 16 * chunks.iter().take_while(is_whole).count();
    let rest = bytes.get(whole..).unwrap_or_default();
    whole + rest.iter().take_while(|byte| is_plain(**byte)).count()
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
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
    out.push(b'"');
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

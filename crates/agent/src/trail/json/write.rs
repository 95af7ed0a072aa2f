//! Writes an event as a line. This runs for every event recorded, so it allocates nothing but
//! `out`, formats numbers itself and copies plain text in whole runs.

use event::{Kind, ProcessKey};
use jiff::Timestamp;
use jiff::tz::Offset;

use crate::trail::hazard::is_hazard;
use crate::trail::{
    Body, Event, ImageLoad, Lost, ProcessExit, ProcessStart, Program, SensorStop, Text,
    ThreadStart, Time, UserId,
};

/// Appends the event as one line, line feed included.
pub fn write_line(event: &Event, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"sequence\":");
    digits(out, event.sequence);
    name(out, "time");
    time(out, event.time);
    name(out, "kind");
    kind(out, event.body.kind());
    text(out, "host", &event.host);
    number(out, "process_id", event.process_id);
    key(out, "process_key", event.process_key);
    body(out, &event.body);
    notes(out, event);
    out.extend_from_slice(b"}\n");
}

/// Appends the event's `truncated` and `missing` as an object of their own; nothing when there is
/// neither.
pub(crate) fn write_notes(event: &Event, out: &mut Vec<u8>) {
    object(out, |out| notes(out, event));
}

/// Appends `arguments` and, where there is one, `arguments_raw` as an object of their own.
pub(crate) fn write_arguments(list: &[Text], out: &mut Vec<u8>) {
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
        Body::ThreadExit(exit) => number(out, "thread_id", exit.thread_id),
        Body::ImageLoad(load) => image_load(out, load),
        Body::Lost(loss) => lost(out, loss),
        Body::SensorStart(start) => {
            text(out, "source", &start.source);
            text(out, "version", &start.version);
        }
        Body::SensorStop(stop) => sensor_stop(out, stop),
    }
}

fn process_start(out: &mut Vec<u8>, start: &ProcessStart) {
    maybe_number(out, "parent_process_id", start.parent_process_id);
    if let Some(parent) = start.parent_process_key {
        key(out, "parent_process_key", parent);
    }
    maybe_number(out, "creator_process_id", start.creator_process_id);
    maybe_number(out, "creator_thread_id", start.creator_thread_id);
    program(out, &start.program);
    maybe_number(out, "session_id", start.session_id);
    truth(out, "existing", start.existing);
}

/// What a process runs and for whom, all but the script.
fn program(out: &mut Vec<u8>, program: &Program) {
    maybe_system_text(out, IMAGE, program.image.as_ref());
    when(out, "image_deleted", program.image_deleted);
    maybe_system_text(out, COMMAND_LINE, program.command_line.as_ref());
    if let Some(list) = &program.arguments {
        arguments(out, list);
    }
    if let Some(user) = &program.user {
        text(out, "user", user);
    }
    match &program.user_id {
        Some(UserId::Uid(uid)) => number(out, "user_id", *uid),
        Some(UserId::Sid(sid)) => text(out, "user_id", sid),
        None => {}
    }
}

fn arguments(out: &mut Vec<u8>, arguments: &[Text]) {
    name(out, "arguments");
    list(out, arguments, |out, argument| {
        string(out, argument.shown());
    });
    if arguments.iter().any(|argument| argument.raw().is_some()) {
        name(out, "arguments_raw");
        list(out, arguments, |out, argument| {
            hex_string(out, argument.as_bytes());
        });
    }
}

fn process_exit(out: &mut Vec<u8>, exit: &ProcessExit) {
    maybe_number(out, "exit_code", exit.exit_code);
    maybe_number(out, "signal", exit.signal);
    when(out, "core_dumped", exit.core_dumped);
    maybe_system_text(out, IMAGE, exit.image.as_ref());
    maybe_number(out, "run_time_ns", exit.run_time_ns);
}

fn thread_start(out: &mut Vec<u8>, start: &ThreadStart) {
    number(out, "thread_id", start.thread_id);
    maybe_number(out, "creator_process_id", start.creator_process_id);
    maybe_number(out, "creator_thread_id", start.creator_thread_id);
    truth(out, "remote", start.remote);
    if let Some(start_address) = start.start_address {
        address(out, "start_address", start_address);
    }
}

fn image_load(out: &mut Vec<u8>, load: &ImageLoad) {
    maybe_system_text(out, IMAGE, load.image.as_ref());
    when(out, "image_deleted", load.image_deleted);
    address(out, "image_base", load.image_base);
    number(out, "image_size", load.image_size);
    truth(out, "kernel_image", load.kernel_image);
    truth(out, "existing", load.existing);
}

fn lost(out: &mut Vec<u8>, lost: &Lost) {
    name(out, "lost_kind");
    kind(out, lost.lost_kind);
    number(out, "lost_count", lost.lost_count);
    text(out, "lost_reason", &lost.lost_reason);
}

fn sensor_stop(out: &mut Vec<u8>, stop: &SensorStop) {
    text(out, "source", &stop.source);
    text(out, "version", &stop.version);
    name(out, "account");
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
        name(out, "truncated");
        list(out, &event.truncated, |out, field| string(out, field));
    }
    for (index, (field, reason)) in event.missing.iter().enumerate() {
        if index == 0 {
            name(out, "missing");
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

/// The names of a text from the system: as shown, and as hex where it is not valid UTF-8.
type SystemTextNames = (&'static str, &'static str);

const IMAGE: SystemTextNames = ("image", "image_raw");
const COMMAND_LINE: SystemTextNames = ("command_line", "command_line_raw");
const SCRIPT: SystemTextNames = ("script", "script_raw");

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
    hex_string(out, &key.0.to_be_bytes());
}

/// An address: `"0x"` and hex digits without leading zeros, because a JSON number loses bits in
/// many readers.
fn address(out: &mut Vec<u8>, field: &'static str, address: u64) {
    name(out, field);
    out.extend_from_slice(b"\"0x");
    let digit_count = (u64::BITS - address.leading_zeros()).div_ceil(4).max(1);
    for index in (0..digit_count).rev() {
        let [digit, ..] = (address >> (4 * index)).to_le_bytes();
        out.push(HEX_DIGITS[usize::from(digit & 0xf)]);
    }
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

/// RFC 3339 in UTC with exactly nine fractional digits.
fn time(out: &mut Vec<u8>, time: Time) {
    // Every i64 is inside jiff's range; its years are 1677 to 2262, four digits.
    let timestamp = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    let time = Offset::UTC.to_datetime(timestamp);
    let mut text = *b"\"YYYY-MM-DDThh:mm:ss.nnnnnnnnnZ\"";
    place(&mut text[1..5], time.year().unsigned_abs().into());
    place(&mut text[6..8], time.month().unsigned_abs().into());
    place(&mut text[9..11], time.day().unsigned_abs().into());
    place(&mut text[12..14], time.hour().unsigned_abs().into());
    place(&mut text[15..17], time.minute().unsigned_abs().into());
    place(&mut text[18..20], time.second().unsigned_abs().into());
    place(&mut text[21..30], time.subsec_nanosecond().unsigned_abs());
    out.extend_from_slice(&text);
}

/// Fills `field` with the last digits of `value`, zeros in front.
fn place(field: &mut [u8], mut value: u32) {
    for digit in field.iter_mut().rev() {
        *digit = digit_of(value % 10);
        value /= 10;
    }
}

fn digits(out: &mut Vec<u8>, mut value: u64) {
    let mut text = [0; 20];
    let mut begin = text.len();
    loop {
        begin -= 1;
        text[begin] = digit_of(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[begin..]);
}

fn digit_of(value: impl Into<u64>) -> u8 {
    let [value, ..] = value.into().to_le_bytes();
    b'0' + value
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

const HEX_DIGITS: &[u8; 16] = b"0123456789abcdef";

fn hex_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    out.extend(bytes.iter().copied().flat_map(hex));
    out.push(b'"');
}

fn hex(byte: u8) -> [u8; 2] {
    [byte >> 4, byte & 0xf].map(|digit| HEX_DIGITS[usize::from(digit)])
}

fn name(out: &mut Vec<u8>, name: &'static str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Bytes that stand for themselves in a JSON string: printable ASCII without quote and backslash.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0x20;
    while byte < 0x7f {
        plain[byte] = true;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let mut rest = text;
    while let Some(run) = rest.bytes().position(|byte| !PLAIN[usize::from(byte)]) {
        let (plain, from_here) = rest.split_at(run);
        out.extend_from_slice(plain.as_bytes());
        let mut characters = from_here.chars();
        if let Some(first) = characters.next() {
            character(out, first);
        }
        rest = characters.as_str();
    }
    out.extend_from_slice(rest.as_bytes());
    out.push(b'"');
}

fn character(out: &mut Vec<u8>, character: char) {
    match character {
        '"' => out.extend_from_slice(b"\\\""),
        '\\' => out.extend_from_slice(b"\\\\"),
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        hazard if is_hazard(hazard) => {
            let [.., high, low] = u32::from(hazard).to_be_bytes();
            out.extend_from_slice(b"\\u");
            out.extend_from_slice(&hex(high));
            out.extend_from_slice(&hex(low));
        }
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

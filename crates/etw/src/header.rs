//! The headers of events. There are several shapes, and the same event comes in more than one.

use crate::fields::{Fields, Invalid, PointerSize};
use crate::guid::Guid;

/// Every header has this flag (`TRACE_HEADER_FLAG`).
const MARKER: u8 = 0x80;

/// Who told an event, and what he calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The kernel: a group of its own numbering, and a type in it.
    Hook {
        /// The group.
        group: u8,
        /// The type.
        r#type: u8,
    },
    /// A class of events, by its GUID, and a type in it.
    Class {
        /// The class.
        guid: Guid,
        /// The type.
        r#type: u8,
    },
    /// A provider with a manifest, and the number the event has in that.
    Provider {
        /// The provider.
        guid: Guid,
        /// The number.
        id: u16,
    },
    /// Somebody whose events are of no use here: messages, instances.
    Other,
}

/// One event, as it stands in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// When, on the clock of the trace; none for a message, which may have none.
    pub stamp: Option<i64>,
    /// Who told it.
    pub source: Source,
    /// The version of its fields.
    pub version: u8,
    /// How large pointers are, where the header says so.
    pub pointer_size: Option<PointerSize>,
    /// The process in which it was told, where the header says so.
    pub process_id: Option<u32>,
    /// The thread in which it was told, where the header says so.
    pub thread_id: Option<u32>,
    /// Its fields.
    pub payload: &'a [u8],
}

/// Reads the event at the beginning of `bytes`, and returns it with how many of them it takes: the next
/// event begins at the next multiple of eight.
///
/// # Errors
/// When there is none.
pub fn read(bytes: &[u8]) -> Result<(Event<'_>, usize), Invalid> {
    let [_, _, shape, flags, ..] = bytes else {
        return Err(Invalid);
    };
    if flags & MARKER == 0 {
        return Err(Invalid);
    }
    match shape {
        1..=4 => system(bytes, *shape),
        16 | 17 => performance(bytes, *shape),
        10 | 20 => class(bytes, *shape),
        18 | 19 => provider(bytes, *shape),
        _ => other(bytes),
    }
}

/// The event's own bytes, of which the header says the size.
fn sized(bytes: &[u8], size: u16) -> Result<(&[u8], usize), Invalid> {
    let size = usize::from(size);
    // A size below that of any header would make no way through the buffer.
    if size < 8 {
        return Err(Invalid);
    }
    Ok((bytes.get(..size).ok_or(Invalid)?, size))
}

/// What the headers of the kernel's own events begin with.
struct Hook<'a> {
    source: Source,
    version: u8,
    /// What comes next.
    fields: Fields<'a>,
    /// Bytes of the whole event.
    size: usize,
}

fn hook(bytes: &[u8]) -> Result<Hook<'_>, Invalid> {
    let mut fields = Fields::new(bytes);
    let version = fields.u16()?;
    fields.u16()?;
    let (own, size) = sized(bytes, fields.u16()?)?;
    let mut fields = Fields::new(own);
    fields.bytes(6)?;
    let (r#type, group) = (fields.u8()?, fields.u8()?);
    Ok(Hook {
        source: Source::Hook { group, r#type },
        version: low_byte(version),
        fields,
        size,
    })
}

const fn pointer_size(is_four: bool) -> PointerSize {
    if is_four {
        PointerSize::Four
    } else {
        PointerSize::Eight
    }
}

/// `SYSTEM_TRACE_HEADER`, with or without times of the processor.
fn system(bytes: &[u8], shape: u8) -> Result<(Event<'_>, usize), Invalid> {
    let mut hook = hook(bytes)?;
    let (thread_id, process_id) = (hook.fields.u32()?, hook.fields.u32()?);
    let stamp = hook.fields.i64()?;
    if shape <= 2 {
        hook.fields.u64()?;
    }
    let event = Event {
        stamp: Some(stamp),
        source: hook.source,
        version: hook.version,
        pointer_size: Some(pointer_size(shape % 2 == 1)),
        process_id: known(process_id),
        thread_id: known(thread_id),
        payload: hook.fields.rest(),
    };
    Ok((event, hook.size))
}

/// `PERFINFO_TRACE_HEADER`: nobody is named in it.
fn performance(bytes: &[u8], shape: u8) -> Result<(Event<'_>, usize), Invalid> {
    let mut hook = hook(bytes)?;
    let stamp = hook.fields.i64()?;
    let event = Event {
        stamp: Some(stamp),
        source: hook.source,
        version: hook.version,
        pointer_size: Some(pointer_size(shape == 16)),
        process_id: None,
        thread_id: None,
        payload: hook.fields.rest(),
    };
    Ok((event, hook.size))
}

/// `EVENT_TRACE_HEADER`, as classic providers and users of the kernel's classes write it.
fn class(bytes: &[u8], shape: u8) -> Result<(Event<'_>, usize), Invalid> {
    let (own, size) = sized(bytes, Fields::new(bytes).u16()?)?;
    let mut fields = Fields::new(own);
    fields.bytes(4)?;
    let (r#type, _level) = (fields.u8()?, fields.u8()?);
    let version = fields.u16()?;
    let (thread_id, process_id) = (fields.u32()?, fields.u32()?);
    let stamp = fields.i64()?;
    let guid = fields.guid()?;
    fields.u64()?;
    let event = Event {
        stamp: Some(stamp),
        source: Source::Class { guid, r#type },
        version: low_byte(version),
        pointer_size: Some(pointer_size(shape == 10)),
        process_id: known(process_id),
        thread_id: known(thread_id),
        payload: fields.rest(),
    };
    Ok((event, size))
}

/// `EVENT_HEADER`, and what may stand between it and the fields.
fn provider(bytes: &[u8], shape: u8) -> Result<(Event<'_>, usize), Invalid> {
    /// `EVENT_HEADER_FLAG_EXTENDED_INFO`.
    const EXTENDED: u16 = 0x01;
    /// `EVENT_HEADER_FLAG_32_BIT_HEADER`.
    const FOUR: u16 = 0x20;
    /// `EVENT_HEADER_FLAG_64_BIT_HEADER`.
    const EIGHT: u16 = 0x40;
    let (own, size) = sized(bytes, Fields::new(bytes).u16()?)?;
    let mut fields = Fields::new(own);
    fields.bytes(4)?;
    let (flags, _property) = (fields.u16()?, fields.u16()?);
    let (thread_id, process_id) = (fields.u32()?, fields.u32()?);
    let stamp = fields.i64()?;
    let guid = fields.guid()?;
    let id = fields.u16()?;
    let version = fields.u8()?;
    // The rest of the descriptor, the processor's times, the activity.
    fields.bytes(13 + 8 + 16)?;
    if flags & EXTENDED != 0 {
        pass_over_extended(&mut fields)?;
    }
    let event = Event {
        stamp: Some(stamp),
        source: Source::Provider { guid, id },
        version,
        pointer_size: match (flags & FOUR != 0, flags & EIGHT != 0) {
            (true, false) => Some(PointerSize::Four),
            (false, true) => Some(PointerSize::Eight),
            _ if shape == 18 => Some(PointerSize::Four),
            _ => None,
        },
        process_id: known(process_id),
        thread_id: known(thread_id),
        payload: fields.rest(),
    };
    Ok((event, size))
}

/// Passes over the items before the fields, such as a stack: size, type, whether another follows, size
/// without this header and without padding.
fn pass_over_extended(fields: &mut Fields<'_>) -> Result<(), Invalid> {
    const ITEM_HEADER_SIZE: usize = 8;
    loop {
        let size = usize::from(fields.u16()?);
        let _type = fields.u16()?;
        let more = fields.u16()? & 1 != 0;
        let _data_size = fields.u16()?;
        let rest = size.checked_sub(ITEM_HEADER_SIZE).ok_or(Invalid)?;
        fields.bytes(rest)?;
        if !more {
            return Ok(());
        }
    }
}

/// What is of no use here, but has to be passed over by its size.
fn other(bytes: &[u8]) -> Result<(Event<'_>, usize), Invalid> {
    let (own, size) = sized(bytes, Fields::new(bytes).u16()?)?;
    let event = Event {
        stamp: None,
        source: Source::Other,
        version: 0,
        pointer_size: None,
        process_id: None,
        thread_id: None,
        payload: own,
    };
    Ok((event, size))
}

/// An id, which is all ones where nobody is meant.
fn known(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

/// No event has a version that needs more.
fn low_byte(version: u16) -> u8 {
    u8::try_from(version).unwrap_or(u8::MAX)
}

/// The stamp of the event at the beginning of `bytes`, of which there may be as few as 24: to know
/// which of several events comes first.
pub fn stamp(bytes: &[u8]) -> Option<i64> {
    let [_, _, shape, flags, ..] = bytes else {
        return None;
    };
    let place = match shape {
        1..=4 | 10 | 18..=20 => 16,
        16 | 17 => 8,
        _ => return None,
    };
    let stamp = bytes.get(place..)?.first_chunk().copied();
    stamp
        .filter(|_| flags & MARKER != 0)
        .map(i64::from_le_bytes)
}

//! What the kernel tells of processes, threads and images, decoded from its bytes: the classic events
//! of the NT Kernel Logger in all their versions, those of the provider Microsoft-Windows-Kernel-Process,
//! and what merged traces add about the machine.
//!
//! The fields are those that Microsoft documents for each class (`Process_V2_TypeGroup1` and so on), and
//! what was measured where that is silent. A version that is newer than those that are known is read as
//! far as they are the same: fields are added at the end.

mod image;
mod machine;
mod process;
mod thread;

use crate::fields::{Fields, Invalid, PointerSize};
use crate::guid::Guid;
use crate::header::{self, Source};

pub use image::Image;
pub use machine::Volume;
pub use process::{IDLE, Process};
pub use thread::Thread;

/// Which of the two tells an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Teller {
    /// The NT Kernel Logger: the kernel's classic events.
    Logger,
    /// The provider Microsoft-Windows-Kernel-Process.
    Provider,
}

/// What happened to the subject of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Act {
    /// It began: a process or thread was created, an image mapped.
    Began,
    /// It ended: a process or thread exited, an image was unmapped.
    Ended,
    /// It was there when the session began.
    ThereAtBegin,
    /// It was there when the session ended.
    ThereAtEnd,
    /// Of a process: it had ended before, and something still holds it.
    Defunct,
}

/// What is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told<'a> {
    /// Of a process.
    Process(Act, Process<'a>),
    /// Of a thread.
    Thread(Act, Thread),
    /// Of an image.
    Image(Act, Image<'a>),
    /// What the machine is called, in UTF-16.
    Machine(&'a [u8]),
    /// Where a volume, or another place of the kernel's, is for people.
    Volume(Volume<'a>),
    /// The directory of Windows, in UTF-16.
    SystemRoot(&'a [u8]),
}

/// One of the events above whose bytes are not what they have to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecoded {
    /// What it is about: `a process`, `a thread`, `an image`, `the machine`.
    pub subject: &'static str,
    /// Its version.
    pub version: u8,
}

/// The bytes of an event, and what has to be known to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// Who told it.
    pub source: Source,
    /// The version of the fields.
    pub version: u8,
    /// How large pointers probably are: headers lie.
    pub pointer_size: PointerSize,
    /// The process in which it was told.
    pub process_id: Option<u32>,
    /// The fields.
    pub payload: &'a [u8],
}

impl<'a> Input<'a> {
    /// An event of a file, in which pointers have this size where the event does not say so.
    pub fn of_file(event: &header::Event<'a>, pointer_size: PointerSize) -> Self {
        Self {
            source: event.source,
            version: event.version,
            pointer_size: event.pointer_size.unwrap_or(pointer_size),
            process_id: event.process_id,
            payload: event.payload,
        }
    }
}

/// What an event is, by who tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Process(Act),
    Thread(Act),
    Image(Act),
    ProviderProcess(Act),
    ProviderThread(Act),
    ProviderImage(Act),
    Machine,
    Volume,
    SystemRoot,
}

impl Class {
    /// None for what is none of ours.
    fn of(source: Source) -> Option<Self> {
        match source {
            Source::Hook { group, r#type } => Self::of_hook(group, r#type),
            Source::Class { guid, r#type } => match guid {
                Guid::PROCESS => Self::of_hook(PROCESS, r#type),
                Guid::THREAD => Self::of_hook(THREAD, r#type),
                Guid::IMAGE if r#type == LOAD => Some(Self::Image(Act::Began)),
                Guid::IMAGE => Self::of_hook(IMAGE, r#type),
                Guid::SYSTEM_CONFIG => Self::of_hook(CONFIG, r#type),
                Guid::MERGED if r#type == 33 => Some(Self::SystemRoot),
                Guid::MERGED if r#type == 35 => Some(Self::Volume),
                _ => None,
            },
            Source::Provider { guid, id } if guid == Guid::KERNEL_PROCESS => Some(match id {
                1 => Self::ProviderProcess(Act::Began),
                2 => Self::ProviderProcess(Act::Ended),
                3 => Self::ProviderThread(Act::Began),
                4 => Self::ProviderThread(Act::Ended),
                5 => Self::ProviderImage(Act::Began),
                6 => Self::ProviderImage(Act::Ended),
                15 => Self::ProviderProcess(Act::ThereAtBegin),
                _ => return None,
            }),
            Source::Provider { .. } | Source::Other => None,
        }
    }

    /// By the kernel's own groups. A load is a type of the group of processes.
    fn of_hook(group: u8, r#type: u8) -> Option<Self> {
        let act = match r#type {
            1 => Act::Began,
            2 => Act::Ended,
            3 => Act::ThereAtBegin,
            4 => Act::ThereAtEnd,
            39 if group == PROCESS => Act::Defunct,
            LOAD if group == PROCESS => return Some(Self::Image(Act::Began)),
            10 if group == CONFIG => return Some(Self::Machine),
            _ => return None,
        };
        match group {
            PROCESS => Some(Self::Process(act)),
            THREAD => Some(Self::Thread(act)),
            IMAGE if act != Act::Began => Some(Self::Image(act)),
            _ => None,
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Self::Process(_) | Self::ProviderProcess(_) => "a process",
            Self::Thread(_) | Self::ProviderThread(_) => "a thread",
            Self::Image(_) | Self::ProviderImage(_) => "an image",
            Self::Machine | Self::Volume | Self::SystemRoot => "the machine",
        }
    }
}

/// The kernel's groups (`EVENT_TRACE_GROUP_*`).
const PROCESS: u8 = 0x03;
const THREAD: u8 = 0x05;
const CONFIG: u8 = 0x0b;
const IMAGE: u8 = 0x14;
/// The type of a load (`EVENT_TRACE_TYPE_LOAD`).
const LOAD: u8 = 10;

/// Who tells of processes, threads and images by this source; none for what is none of these.
pub fn teller(source: Source) -> Option<Teller> {
    Some(match Class::of(source)? {
        Class::Process(_) | Class::Thread(_) | Class::Image(_) => Teller::Logger,
        Class::ProviderProcess(_) | Class::ProviderThread(_) | Class::ProviderImage(_) => {
            Teller::Provider
        }
        Class::Machine | Class::Volume | Class::SystemRoot => return None,
    })
}

/// Decodes one event; `Ok(None)` for all that is none of ours.
///
/// Headers lie about the size of pointers, so both are tried: the one by which the fields take the bytes
/// exactly is right.
///
/// # Errors
/// When it is one of ours and its bytes are not.
pub fn decode<'a>(input: &Input<'a>) -> Result<Option<Told<'a>>, Undecoded> {
    let Some(class) = Class::of(input.source) else {
        return Ok(None);
    };
    let read = |pointer_size| {
        let mut fields = Fields::new(input.payload);
        let told = read_class(class, input, pointer_size, &mut fields);
        told.map(|told| (told, fields.rest().len()))
    };
    let first = read(input.pointer_size);
    let told = match first {
        Ok((told, 0)) => Ok(told),
        _ => match (first, read(input.pointer_size.other())) {
            (_, Ok((told, 0))) | (Ok((told, _)), _) => Ok(told),
            // Without bytes that fit, a size that nobody told of is no more than a guess.
            (Err(invalid), _) => Err(invalid),
        },
    };
    let undecoded = |_invalid| Undecoded {
        subject: class.subject(),
        version: input.version,
    };
    told.map(Some).map_err(undecoded)
}

fn read_class<'a>(
    class: Class,
    input: &Input<'a>,
    pointer_size: PointerSize,
    fields: &mut Fields<'a>,
) -> Result<Told<'a>, Invalid> {
    let version = input.version;
    Ok(match class {
        Class::Process(act) => {
            Told::Process(act, Process::read(version, act, pointer_size, fields)?)
        }
        Class::ProviderProcess(act) => {
            Told::Process(act, Process::read_provider(version, act, fields)?)
        }
        Class::Thread(act) => Told::Thread(act, Thread::read(version, pointer_size, fields)?),
        Class::ProviderThread(act) => Told::Thread(
            act,
            Thread::read_provider(version, act, pointer_size, fields)?,
        ),
        Class::Image(act) => {
            let image = Image::read(version, input.process_id, pointer_size, fields)?;
            Told::Image(act, image)
        }
        Class::ProviderImage(act) => Told::Image(act, Image::read_provider(pointer_size, fields)?),
        Class::Machine => Told::Machine(machine::read_name(fields)?),
        Class::Volume => Told::Volume(Volume::read(fields)?),
        Class::SystemRoot => Told::SystemRoot(machine::read_system_root(fields)?),
    })
}

//! An event as a session hands it over while it is recorded (`EVENT_RECORD`): the header is Windows' own
//! form of what a file has in several shapes.

use crate::fields::PointerSize;
use crate::guid::Guid;
use crate::header::{Event, Source};

/// `EVENT_HEADER_FLAG_TRACE_MESSAGE`.
const MESSAGE: u16 = 0x08;
/// `EVENT_HEADER_FLAG_32_BIT_HEADER`.
const FOUR: u16 = 0x20;
/// `EVENT_HEADER_FLAG_64_BIT_HEADER`.
const EIGHT: u16 = 0x40;
/// `EVENT_HEADER_FLAG_CLASSIC_HEADER`: the kernel's own, and others of before there were manifests.
const CLASSIC: u16 = 0x100;

/// The parts of an `EVENT_RECORD` that say what it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivered<'a> {
    /// The class of a classic event, the provider of another (`ProviderId`).
    pub guid: Guid,
    /// `Flags` of the header.
    pub flags: u16,
    /// The number of a provider's event (`EventDescriptor.Id`).
    pub id: u16,
    /// The version of the fields.
    pub version: u8,
    /// The type of a classic event (`EventDescriptor.Opcode`).
    pub opcode: u8,
    /// The process in which it was told; all ones where none is meant.
    pub process_id: u32,
    /// The thread in which it was told; all ones where none is meant.
    pub thread_id: u32,
    /// When, on the clock of the session.
    pub stamp: i64,
    /// The fields (`UserData`).
    pub payload: &'a [u8],
}

impl<'a> Delivered<'a> {
    /// The event, as one of a file is.
    pub fn event(&self) -> Event<'a> {
        let known = |id: u32| (id != u32::MAX).then_some(id);
        let guid = self.guid;
        let source = if self.flags & MESSAGE != 0 {
            Source::Other
        } else if self.flags & CLASSIC != 0 {
            Source::Class {
                guid,
                r#type: self.opcode,
            }
        } else {
            Source::Provider { guid, id: self.id }
        };
        Event {
            stamp: Some(self.stamp),
            source,
            version: self.version,
            pointer_size: match (self.flags & FOUR != 0, self.flags & EIGHT != 0) {
                (true, false) => Some(PointerSize::Four),
                (false, true) => Some(PointerSize::Eight),
                _ => None,
            },
            process_id: known(self.process_id),
            thread_id: known(self.thread_id),
            payload: self.payload,
        }
    }
}

/// Whether an event says that others were lost before it: too many for the session's buffers, or a buffer
/// that its consumer did not take in time. How many only the session itself counts.
pub fn is_loss(source: Source) -> bool {
    /// `RT_LostEvent`, `RT_LostBuffer` and `RT_LostFile`, by their types.
    const LOSSES: std::ops::RangeInclusive<u8> = 32..=34;
    matches!(source, Source::Class { guid: Guid::LOST_EVENT, r#type } if LOSSES.contains(&r#type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{self, Act, Input, Teller, Told};

    #[test]
    fn the_kernels_event_is_a_class_with_a_type_and_a_providers_has_a_number() {
        let thread = Delivered {
            guid: Guid::THREAD,
            flags: CLASSIC | EIGHT,
            version: 1,
            opcode: 2,
            process_id: 4,
            thread_id: u32::MAX,
            stamp: 7,
            payload: &[8, 0, 0, 0, 9, 0, 0, 0],
            ..Delivered::default()
        };
        let event = thread.event();
        assert_eq!((event.process_id, event.thread_id), (Some(4), None));
        assert_eq!(event.pointer_size, Some(PointerSize::Eight));
        assert_eq!(kernel::teller(event.source), Some(Teller::Logger));
        let input = Input::of_file(&event, PointerSize::Eight);
        let Ok(Some(Told::Thread(Act::Ended, told))) = kernel::decode(&input) else {
            panic!("{event:?}");
        };
        assert_eq!((told.process_id, told.thread_id), (8, 9));
        let provider = Delivered {
            guid: Guid::KERNEL_PROCESS,
            id: 2,
            ..thread
        };
        let provider = Delivered {
            flags: EIGHT,
            ..provider
        };
        assert_eq!(
            kernel::teller(provider.event().source),
            Some(Teller::Provider)
        );
        let message = Delivered {
            flags: MESSAGE | CLASSIC,
            ..thread
        };
        assert_eq!(message.event().source, Source::Other);
    }

    #[test]
    fn a_loss_is_told_by_a_class_of_its_own() {
        let of = |guid, r#type| is_loss(Source::Class { guid, r#type });
        assert!(of(Guid::LOST_EVENT, 32) && of(Guid::LOST_EVENT, 33));
        assert!(!of(Guid::LOST_EVENT, 0), "another of its events");
        assert!(!of(Guid::EVENT_TRACE, 32), "of the trace itself");
        assert!(!is_loss(Source::Hook {
            group: 0,
            r#type: 32
        }));
    }
}

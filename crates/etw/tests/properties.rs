//! Any bytes are read to an end, and what is written is read the same.

use std::io::Cursor;

use etw::encode::{self, Buffer, Settings, Whence};
use etw::fields::PointerSize;
use etw::file::Trace;
use etw::guid::Guid;
use etw::header::{self, Source};
use etw::kernel::{self, Input};
use etw::lzxpress;
use proptest::prelude::*;

/// The stamps of all events, in the order in which they are told.
fn stamps(file: &[u8]) -> Vec<Option<i64>> {
    let mut stamps = Vec::new();
    let Ok(mut trace) = Trace::open(Cursor::new(file)) else {
        return stamps;
    };
    while let Some(event) = trace.next_event().unwrap() {
        stamps.push(event.stamp);
        let _any = kernel::decode(&Input::of_file(&event, PointerSize::Eight));
    }
    stamps
}

fn source() -> impl Strategy<Value = Source> {
    let guids = vec![
        Guid::PROCESS,
        Guid::THREAD,
        Guid::IMAGE,
        Guid::SYSTEM_CONFIG,
        Guid::MERGED,
        Guid::KERNEL_PROCESS,
    ];
    let guid = prop::sample::select(guids);
    prop_oneof![
        (prop::sample::select(vec![3_u8, 5, 11, 20]), 0..40_u8)
            .prop_map(|(group, r#type)| Source::Hook { group, r#type }),
        (guid.clone(), 0..40_u8).prop_map(|(guid, r#type)| Source::Class { guid, r#type }),
        (guid, 0..17_u16).prop_map(|(guid, id)| Source::Provider { guid, id }),
    ]
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked(bytes in prop::collection::vec(0..4_u8, 0..3000), repeat in 1..40_usize) {
        let bytes = bytes.repeat(repeat);
        let packed = encode::pack(&bytes);
        let mut unpacked = Vec::new();
        prop_assert_eq!(lzxpress::unpack(&packed, bytes.len(), &mut unpacked), Ok(()));
        prop_assert_eq!(unpacked, bytes);
    }

    #[test]
    fn any_bytes_are_unpacked_to_an_end(packed in prop::collection::vec(any::<u8>(), 0..400), size_max in 0..5000_usize) {
        let mut unpacked = vec![1, 2, 3];
        let _any = lzxpress::unpack(&packed, size_max, &mut unpacked);
        prop_assert!(unpacked.len() <= 3 + size_max);
        prop_assert_eq!(&unpacked[..3], &[1, 2, 3]);
    }

    #[test]
    fn any_bytes_are_an_event_or_none(bytes in prop::collection::vec(any::<u8>(), 0..200), shape in 0..24_u8) {
        let mut bytes = bytes;
        if let [_, _, has_shape, flags, ..] = bytes.as_mut_slice() {
            (*has_shape, *flags) = (shape, 0xc0);
        }
        if let Ok((event, size)) = header::read(&bytes) {
            prop_assert!(size >= 8 && size <= bytes.len());
            prop_assert!(event.payload.len() <= size);
            prop_assert_eq!(event.stamp, header::stamp(&bytes));
        }
    }

    #[test]
    fn any_fields_are_decoded_or_not(
        source in source(), version in 0..7_u8, is_four in any::<bool>(), process_id in any::<Option<u32>>(),
        payload in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..300),
    ) {
        let pointer_size = if is_four { PointerSize::Four } else { PointerSize::Eight };
        let _any = kernel::decode(&Input { source, version, pointer_size, process_id, payload: &payload });
    }

    /// Each processor has its events in order; together they are told by time, each once.
    #[test]
    fn events_of_all_processors_are_told_in_order(
        stamps_of in prop::collection::vec((0..5_u16, 2..2_000_i64), 0..400), size in 200..3000_usize,
        packed in any::<bool>(), reversed in any::<bool>(),
    ) {
        let mut stamps_of = stamps_of;
        stamps_of.sort_by_key(|(_, stamp)| *stamp);
        let mut buffers: Vec<Buffer> = Vec::new();
        for processor in 0..5 {
            let new = || if packed { Buffer::compressed(processor) } else { Buffer::new(processor) };
            let mut buffer = new();
            for (_, stamp) in stamps_of.iter().filter(|(of, _)| *of == processor) {
                let whence = Whence { process_id: 1, thread_id: 2, stamp: *stamp };
                buffer.add(&encode::system(PointerSize::Eight, (9, 9), 2, whence, &[7; 11]));
                if buffer.size() > size {
                    buffers.push(std::mem::replace(&mut buffer, new()));
                }
            }
            buffers.push(buffer);
        }
        if reversed {
            buffers.reverse();
        }
        let settings = Settings { base: 1, buffer_size: 4096, ..Settings::default() };
        let file = encode::trace(&settings, &buffers);
        let expected: Vec<_> = [1].into_iter().chain(stamps_of.into_iter().map(|(_, stamp)| stamp)).map(Some).collect();
        prop_assert_eq!(stamps(&file), expected);
    }

    #[test]
    fn a_changed_file_is_read_to_an_end(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20),
        cut in any::<prop::sample::Index>(), is_cut in any::<bool>(), packed in any::<bool>(),
    ) {
        let mut file = encode::trace(&Settings { buffer_size: 2048, ..Settings::default() }, &some_buffers(packed));
        for (place, byte) in changes {
            let place = place.index(file.len());
            file[place] = byte;
        }
        if is_cut {
            file.truncate(cut.index(file.len()));
        }
        prop_assert!(stamps(&file).len() <= file.len());
    }
}

fn some_buffers(packed: bool) -> Vec<Buffer> {
    let buffer = |processor: u16| {
        let mut buffer = if packed {
            Buffer::compressed(processor)
        } else {
            Buffer::new(processor)
        };
        for stamp in 0..20 {
            let whence = Whence {
                process_id: 7,
                thread_id: 8,
                stamp,
            };
            let size = PointerSize::Eight;
            buffer.add(&encode::system(size, (5, 1), 3, whence, &[0; 72]));
        }
        buffer
    };
    (0..6).map(|number| buffer(number % 3)).collect()
}

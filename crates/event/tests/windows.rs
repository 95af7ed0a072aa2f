//! What Windows adds to the wire: extensions, control requests, batches.

use event::control::{
    Batch, COUNTS_MAX, Code, Conditions, Count, Counters, Hello, PROTOCOL_VERSION, Welcome,
};
use event::extension::{size_extended, write_extended};
use event::wire::Invalid;
use event::wire::{Reader, Writer};
use event::{Event, Extension, Flags, Header, Kind, image, process};
use proptest::prelude::*;

#[test]
fn a_reader_that_knows_no_extension_reads_the_record() {
    let start = Event::ProcessStart(process::Start {
        image: b"a\0.\0",
        command_line: b"b\0",
        ..process::Start::default()
    });
    let token = Extension::Token(process::Token {
        integrity_level: 0x2000,
        elevated: 1,
        user_sid: &[1, 1, 0, 0, 0, 0, 0, 5, 18, 0, 0, 0],
        unavailable: process::Unavailable::SESSION,
        logon_id: 0x1_0000_03e7,
        subsystem: 1,
        protection: 0x31,
        creation_status: 0xc000_0022,
        image_opened: b"c\0",
    });
    let mut buffer = [0; 256];
    let header = Header {
        flags: Flags::UTF_16,
        ..Header::default()
    };
    let record = write_extended(header, &start, &token, &mut buffer).unwrap();

    let event::Record { header, event, .. } = event::read(record).unwrap();
    assert_eq!(event, start);
    assert!(header.flags.contains(Flags::EXTENDED));
    assert_eq!(Some(record.len()), size_extended(&start, &token));
    assert_eq!(event::read(record).unwrap().extension, token);
}

/// The fields behind the SID came later.
#[test]
fn a_token_of_an_older_driver_lacks_what_came_later_and_one_that_is_cut_is_none() {
    let start = Event::ProcessStart(process::Start::default());
    let told = process::Token {
        integrity_level: 0x3000,
        user_sid: b"sid",
        ..process::Token::default()
    };
    let header = Header {
        flags: Flags::UTF_16,
        ..Header::default()
    };
    let mut buffer = [0; 256];
    let record = write_extended(header, &start, &Extension::Token(told), &mut buffer).unwrap();
    let whole = record.len();
    let cut = |size: usize| {
        let mut record = record[..size].to_vec();
        record[..4].copy_from_slice(&u32::try_from(size).unwrap().to_le_bytes());
        event::read(&record).map(|record| match record.extension {
            Extension::Token(token) => (token.integrity_level, token.unavailable),
            other => panic!("{other:?}"),
        })
    };
    let all = process::Unavailable::default();
    assert_eq!(cut(whole), Ok((0x3000, all)));
    let later = process::Unavailable::LOGON
        .with(process::Unavailable::PROTECTION)
        .with(process::Unavailable::IMAGE_PATH);
    assert_eq!(cut(whole - 28), Ok((0x3000, later)));
    for size in (whole - 40..whole).filter(|size| *size != whole - 28) {
        assert!(cut(size).is_err(), "{size}");
    }
}

#[test]
fn a_signature_follows_an_image_load() {
    let load = Event::ImageLoad(image::Load::default());
    let signature = Extension::Signature(image::Signature { level: 12, kind: 3 });
    let mut buffer = [0; 128];
    let record = write_extended(Header::default(), &load, &signature, &mut buffer).unwrap();

    assert_eq!(event::read(record).unwrap().extension, signature);
}

#[test]
fn a_record_without_extension_is_the_plain_one() {
    let exit = Event::ProcessExit(process::Exit::default());
    let (mut plain, mut extended) = ([0; 64], [0; 64]);

    assert_eq!(
        write_extended(Header::default(), &exit, &Extension::None, &mut extended),
        event::write(Header::default(), &exit, &mut plain),
    );
}

#[test]
fn control_codes_are_those_of_the_windows_macro() {
    assert_eq!(Code::HANDSHAKE.0, 0x0022_2000);
    assert_eq!(Code::COUNTERS.0, 0x0022_2004);
    assert_eq!(Code::FLUSH.0, 0x0022_6008);
}

#[test]
fn control_answers_have_the_sizes_they_say() {
    let size = |write_fn: &dyn Fn(&mut Writer<'_>)| {
        let mut buffer = [0; 512];
        let mut writer = Writer::new(&mut buffer);
        write_fn(&mut writer);
        writer.finish().unwrap().len()
    };
    assert_eq!(size(&|writer| Hello::default().write(writer)), Hello::SIZE);
    assert_eq!(
        size(&|writer| Welcome::default().write(writer)),
        Welcome::SIZE
    );
    assert_eq!(
        size(&|writer| Counters::default().write(writer)),
        Counters::SIZE
    );
    assert_eq!(size(&|writer| Batch::default().write(writer)), Batch::SIZE);
}

/// Counters as a driver tells them whose head and counts are as large as it says.
fn answer(head_size: u32, count_size: u32, count: u32, kinds: &[Kind]) -> Vec<u8> {
    let mut bytes = [head_size, count_size, count, 3]
        .map(u32::to_le_bytes)
        .concat();
    bytes.resize(head_size as usize, 9);
    for kind in kinds {
        let begin = bytes.len();
        bytes.extend(kind.0.to_le_bytes());
        bytes.extend([5; 6]);
        bytes.extend([7_u64, 6, 1].map(u64::to_le_bytes).concat());
        bytes.resize(begin + count_size as usize, 9);
    }
    bytes
}

fn read_counters(bytes: &[u8]) -> (Result<Counters, Invalid>, Vec<(Kind, Count)>) {
    let mut unknown = Vec::new();
    let counters = Counters::read(&mut Reader::new(bytes), |kind, count| {
        unknown.push((kind, count));
    });
    (counters, unknown)
}

#[test]
fn counters_of_a_driver_that_knows_more_or_fewer_kinds_are_read_as_far_as_both_know() {
    let kinds = [Kind::THREAD_EXIT, Kind(300), Kind::PROCESS_START];
    let told = Count {
        produced: 7,
        delivered: 6,
        lost: 1,
    };
    for (head_size, count_size) in [(Counters::HEAD_SIZE, Counters::COUNT_SIZE), (80, 48)] {
        let (counters, unknown) = read_counters(&answer(head_size, count_size, 3, &kinds));
        let counters = counters.unwrap();
        assert_eq!(counters.reads_pended, 3);
        assert_eq!(counters.kinds.get(Kind::THREAD_EXIT), Some(&told));
        assert_eq!(counters.kinds.get(Kind::PROCESS_START), Some(&told));
        let nothing = Count::default();
        assert_eq!(counters.kinds.get(Kind::IMAGE_LOAD), Some(&nothing));
        assert_eq!(unknown, [(Kind(300), told)]);
    }
}

#[test]
fn counters_that_claim_what_cannot_be_are_refused() {
    let (head_size, count_size) = (Counters::HEAD_SIZE, Counters::COUNT_SIZE);
    let kinds = vec![Kind(300); COUNTS_MAX as usize + 1];
    let (read, unknown) = read_counters(&answer(head_size, count_size, COUNTS_MAX, &kinds));
    assert!(read.is_ok() && unknown.len() == COUNTS_MAX as usize);

    let claimed = COUNTS_MAX + 1;
    let (read, _) = read_counters(&answer(head_size, count_size, claimed, &kinds));
    assert_eq!(read, Err(Invalid::Count { claimed }));
    for (head, each, count) in [
        (0, count_size, 1),
        (55, count_size, 1),
        (56, 31, 1),
        (56, 32, 2),
    ] {
        let mut bytes = answer(head_size, count_size, count, &[Kind(300)]);
        bytes[..4].copy_from_slice(&u32::to_le_bytes(head));
        bytes[4..8].copy_from_slice(&u32::to_le_bytes(each));
        assert!(read_counters(&bytes).0.is_err(), "{head} {each} {count}");
    }
    let mut endless = answer(head_size, count_size, 1, &[Kind(300)]);
    endless[..4].fill(0xff);
    assert!(read_counters(&endless).0.is_err());
}

#[test]
fn of_a_welcome_of_another_version_only_the_version_is_read() {
    for version in [1, PROTOCOL_VERSION + 1] {
        for size in [4, Welcome::SIZE, Welcome::SIZE_MAX] {
            let mut bytes = version.to_le_bytes().to_vec();
            bytes.resize(size, 0xff);
            let welcome = Welcome::read(&mut Reader::new(&bytes)).unwrap();
            let expected = Welcome {
                protocol_version: version,
                ..Welcome::default()
            };
            assert_eq!(welcome, expected);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_are_read_back(produced in any::<u64>(), used in any::<u64>(), conditions in any::<u64>()) {
        let mut counters = Counters { queue_used: used, conditions: Conditions(conditions), ..Counters::default() };
        let count = Count { produced, delivered: 1, lost: 2 };
        *counters.kinds.get_mut(Kind::IMAGE_LOAD).unwrap() = count;
        let mut buffer = [0; Counters::SIZE];
        let mut writer = Writer::new(&mut buffer);
        counters.write(&mut writer);
        let bytes = writer.finish().unwrap();
        let read = Counters::read(&mut Reader::new(bytes), |kind, _count| panic!("{kind}"));
        prop_assert_eq!(read, Ok(counters));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _record = event::read(&bytes);
        let mut unknown = 0;
        let _counters = Counters::read(&mut Reader::new(&bytes), |_kind, _count| unknown += 1);
        prop_assert!(unknown <= COUNTS_MAX);
        let _welcome = Welcome::read(&mut Reader::new(&bytes));
        let _batch = Batch::read(&mut Reader::new(&bytes));
    }
}

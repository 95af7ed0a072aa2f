//! What Windows adds to the wire: extensions, control requests, batches.

use event::control::{Batch, Code, Conditions, Count, Counters, Hello, Welcome};
use event::extension::{read_extension, size_extended, write_extended};
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
    });
    let mut buffer = [0; 256];
    let record = write_extended(Header::default(), &start, &token, &mut buffer).unwrap();

    let (header, event) = event::read(record).unwrap();
    assert_eq!(event, start);
    assert!(header.flags.contains(Flags::EXTENDED));
    assert_eq!(Some(record.len()), size_extended(&start, &token));
    assert_eq!(read_extension(record).unwrap(), token);
}

#[test]
fn a_signature_follows_an_image_load() {
    let load = Event::ImageLoad(image::Load::default());
    let signature = Extension::Signature(image::Signature { level: 12, kind: 3 });
    let mut buffer = [0; 128];
    let record = write_extended(Header::default(), &load, &signature, &mut buffer).unwrap();

    assert_eq!(read_extension(record).unwrap(), signature);
}

#[test]
fn a_record_without_extension_is_the_plain_one() {
    let exit = Event::ProcessExit(process::Exit::default());
    let (mut plain, mut extended) = ([0; 64], [0; 64]);

    assert_eq!(
        write_extended(Header::default(), &exit, &Extension::None, &mut extended),
        event::write(Header::default(), &exit, &mut plain),
    );
    assert_eq!(read_extension(&plain).unwrap(), Extension::None);
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
        let mut buffer = [0; 256];
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

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn counters_are_read_back(produced in any::<u64>(), used in any::<u64>(), conditions in any::<u32>()) {
        let mut counters = Counters { queue_used: used, conditions: Conditions(conditions), ..Counters::default() };
        let count = Count { produced, delivered: 1, lost: 2 };
        *counters.kinds.get_mut(Kind::IMAGE_LOAD).unwrap() = count;
        let mut buffer = [0; Counters::SIZE];
        let mut writer = Writer::new(&mut buffer);
        counters.write(&mut writer);
        let bytes = writer.finish().unwrap();
        prop_assert_eq!(Counters::read(&mut Reader::new(bytes)), Ok(counters));
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _record = read_extension(&bytes);
        let _counters = Counters::read(&mut Reader::new(&bytes));
        let _welcome = Welcome::read(&mut Reader::new(&bytes));
        let _batch = Batch::read(&mut Reader::new(&bytes));
    }
}

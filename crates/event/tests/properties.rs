//! What is written is read back, and bytes that were not written by us do no harm.

use event::{
    ByKind, Event, Flags, HEADER_SIZE, Header, Kind, Kinds, Subject, exec, image, loss, process,
    thread,
};
use proptest::collection::vec;
use proptest::prelude::*;

/// The bytes an event's texts are borrowed from.
#[derive(Clone, Debug)]
struct Texts([Vec<u8>; 4]);

/// An event with its texts left out; they are put in when it is borrowed.
#[derive(Clone, Debug)]
struct Sample {
    header: Header,
    event: Event<'static>,
    texts: Texts,
}

impl Sample {
    fn event(&self) -> Event<'_> {
        let [one, two, three, four] = &self.texts.0;
        match self.event {
            Event::ProcessStart(start) => Event::ProcessStart(process::Start {
                image: one,
                command_line: two,
                ..start
            }),
            Event::ProcessExec(exec) => Event::ProcessExec(process::Exec {
                image: one,
                command_line: two,
                script: three,
                directory: four,
                ..exec
            }),
            Event::ImageLoad(load) => Event::ImageLoad(image::Load { image: one, ..load }),
            Event::ImageUnload(unload) => Event::ImageUnload(image::Unload {
                image: one,
                ..unload
            }),
            Event::ExecFailed(failed) => Event::ExecFailed(exec::Failed {
                path: one,
                ..failed
            }),
            other => other,
        }
    }

    fn record(&self) -> Vec<u8> {
        let (_, size) = event::kind_and_size(&self.event()).unwrap();
        let mut buffer = vec![0xaa; size];
        event::write(self.header, &self.event(), &mut buffer)
            .unwrap()
            .to_vec()
    }
}

fn sample() -> impl Strategy<Value = Sample> {
    let texts = [(); 4].map(|()| vec(any::<u8>(), 0..40));
    (header(), event(), texts).prop_map(|(header, event, texts)| Sample {
        header,
        event,
        texts: Texts(texts),
    })
}

fn header() -> impl Strategy<Value = Header> {
    let numbers = any::<[u64; 3]>();
    (any::<[u32; 4]>(), any::<u16>(), numbers).prop_map(|(ids, kind, numbers)| Header {
        size: ids[0],
        kind: Kind(kind),
        // Whether there is an extension is not the header's to say.
        flags: Flags(ids[3]).without(Flags::EXTENDED),
        time: numbers[0],
        process_id: ids[1],
        thread_id: ids[2],
        start_time: numbers[1],
        lost_before: numbers[2] >> 16,
    })
}

fn event() -> impl Strategy<Value = Event<'static>> {
    let ids = any::<[u32; 5]>();
    (0..9, ids, any::<[u64; 2]>(), any::<[u16; 2]>()).prop_map(|(kind, ids, numbers, marks)| {
        match kind {
            0 => Event::ProcessStart(process::Start {
                parent_process_id: ids[0],
                creator_process_id: ids[1],
                creator_thread_id: ids[2],
                session_id: ids[3],
                user_id: ids[4],
                parent_start_time: numbers[0],
                creator_start_time: numbers[1],
                ..process::Start::default()
            }),
            1 => Event::ProcessExec(process::Exec {
                user_id: ids[0],
                session_id: ids[1],
                ..process::Exec::default()
            }),
            2 => Event::ProcessExit(process::Exit {
                exit_status: ids[0],
                parent_process_id: ids[1],
            }),
            3 => Event::ThreadStart(thread::Start {
                creator_process_id: ids[0],
                creator_thread_id: ids[1],
                start_address: numbers[0],
            }),
            4 => Event::ThreadExit(thread::Exit),
            5 => Event::ImageLoad(image::Load {
                image_base: numbers[0],
                image_size: numbers[1],
                ..image::Load::default()
            }),
            8 => Event::ExecFailed(exec::Failed {
                error: ids[0],
                ..exec::Failed::default()
            }),
            6 => Event::ImageUnload(image::Unload {
                image_base: numbers[0],
                image_size: numbers[1],
                ..image::Unload::default()
            }),
            _ => Event::Lost(loss::Lost {
                kind: Kind(marks[0]),
                reason: loss::Reason(marks[1]),
                count: numbers[0],
            }),
        }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(sample in sample()) {
        let record = sample.record();
        let event::Record { header, event, .. } = event::read(&record).unwrap();
        prop_assert_eq!(event, sample.event());
        let expected = Header { size: header.size, kind: header.kind, ..sample.header };
        prop_assert_eq!(header, expected);
        prop_assert_eq!(usize::try_from(header.size), Ok(record.len()));
    }

    #[test]
    fn a_buffer_that_is_too_small_is_refused(sample in sample(), missing in 1_usize..64) {
        let size = sample.record().len();
        let mut buffer = vec![0; size.saturating_sub(missing)];
        prop_assert_eq!(event::write(sample.header, &sample.event(), &mut buffer), None);
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _any = event::read(&bytes);
    }

    #[test]
    fn no_bytes_behind_a_true_size_and_kind_panic(
        kind in proptest::sample::select(vec![1_u16, 2, 3, 16, 17, 32, 240, 241, 7]),
        mut bytes in vec(any::<u8>(), HEADER_SIZE..200),
    ) {
        let size = u32::try_from(bytes.len()).unwrap();
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes[4..6].copy_from_slice(&kind.to_le_bytes());
        if let Ok(event::Record { header, event, .. }) = event::read(&bytes)
            && event != Event::Unknown
        {
            // What was read can be written, and reads the same.
            let mut buffer = vec![0; bytes.len()];
            let written = event::write(header, &event, &mut buffer).unwrap();
            prop_assert_eq!(event::read(written).unwrap().event, event);
        }
    }

    #[test]
    fn a_record_cut_anywhere_is_refused_even_when_its_size_agrees(sample in sample()) {
        let record = sample.record();
        for size in 0..record.len() {
            let mut cut = record[..size].to_vec();
            prop_assert!(event::read(&cut).is_err());
            if let Some(claimed) = cut.first_chunk_mut::<4>() {
                *claimed = u32::try_from(size).unwrap().to_le_bytes();
            }
            prop_assert!(event::read(&cut).is_err());
        }
    }

    #[test]
    fn bytes_a_newer_sensor_appends_are_passed_over(
        sample in sample(),
        appended in vec(any::<u8>(), 1..20),
    ) {
        let mut record = sample.record();
        record.extend(appended);
        let size = u32::try_from(record.len()).unwrap();
        record[..4].copy_from_slice(&size.to_le_bytes());
        prop_assert_eq!(event::read(&record).unwrap().event, sample.event());
    }
}

#[test]
fn an_unknown_kind_is_no_error_and_cannot_be_written() {
    let mut record = [0; HEADER_SIZE];
    record[0] = u8::try_from(HEADER_SIZE).unwrap();
    record[4..6].copy_from_slice(&999_u16.to_le_bytes());
    let event::Record { header, event, .. } = event::read(&record).unwrap();
    assert_eq!((header.kind, event), (Kind(999), Event::Unknown));
    assert_eq!(event::write(header, &event, &mut [0; 64]), None);
}

#[test]
fn kinds_have_one_name_and_one_place_each() {
    for (index, kind) in Kind::OBSERVED.into_iter().enumerate() {
        assert_eq!(kind.index(), Some(index));
    }
    let kinds = (0..=u16::MAX)
        .map(Kind)
        .filter(|kind| kind.name().is_some() && *kind != Kind::ANY);
    assert_eq!(kinds.clone().count(), Kind::ALL.len());
    for kind in kinds {
        assert_eq!(Kind::from_name(kind.name().unwrap()), Some(kind));
        assert_eq!(kind.index().is_some(), Kind::OBSERVED.contains(&kind));
        assert!(Kind::ALL.contains(&kind) && kind.subject().is_some());
        let about = kind.about().unwrap();
        assert!(about.ends_with('.') && about.trim() == about, "{about:?}");
    }
    assert_eq!(Kind::from_name("any"), Some(Kind::ANY));
    assert_eq!(Kind::from_name("kind_7"), None);
    let unknown = Kind(7);
    assert_eq!((unknown.subject(), unknown.about()), (None, None));
}

#[test]
fn a_set_holds_observed_kinds_alone() {
    assert_eq!(Kinds::ALL.iter().collect::<Vec<_>>(), Kind::OBSERVED);
    assert_eq!(Kinds::NONE.with(Kind::LOST), Kinds::NONE);
    let subjects = [
        Subject::Process,
        Subject::Thread,
        Subject::Image,
        Subject::Exec,
    ];
    let of_all = subjects
        .into_iter()
        .map(Kinds::of)
        .fold(Kinds::NONE, Kinds::union);
    assert_eq!(of_all, Kinds::ALL);
    assert!(Kinds::of(Subject::Recording).is_empty());
    for kind in Kind::OBSERVED {
        let rest = Kinds::ALL.without(Kinds::NONE.with(kind));
        assert!(!rest.contains(kind) && rest.with(kind).covers(Kinds::ALL));
    }
}

#[test]
fn a_table_has_a_place_for_each_observed_kind() {
    let mut table = ByKind::default();
    for kind in Kind::ALL {
        table.add(*kind, u64::from(kind.0));
    }
    let places = table.iter().map(|(kind, count)| (kind, *count));
    let expected = Kind::OBSERVED.map(|kind| (kind, u64::from(kind.0)));
    assert_eq!(places.collect::<Vec<_>>(), expected);
    assert_eq!(table.count(Kind::LOST), 0);
    assert_eq!(table.get(Kind(7)), None);
}

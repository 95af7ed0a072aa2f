//! The bytes of every kind of record, as files: sensors and agents of different versions meet.
//!
//! A file that is there is never changed, because such records exist. A record that grows gets a
//! further file; the old one must stay readable. To add one, write the case and run with
//! `GOLDEN=write`.

use std::path::PathBuf;

use event::{Event, Flags, Header, Kind, Place, Scope, Stamp, exec, image, loss, process, thread};

struct Case {
    name: &'static str,
    header: Header,
    event: Event<'static>,
}

/// Numbers that differ in every byte, so that no two fields can be swapped unseen.
const HEADER: Header = Header {
    size: 0,
    kind: Kind(0),
    flags: Flags(0x5857_0201),
    time: 0x1817_1615_1413_1211,
    process_id: 0x2423_2221,
    thread_id: 0x3433_3231,
    start_time: 0x4847_4645_4443_4241,
    lost_before: 0x5655_5453_5251,
};

fn cases() -> Vec<Case> {
    let case = |name, event| Case {
        name,
        header: HEADER,
        event,
    };
    let start = process::Start {
        parent_process_id: 0x6463_6261,
        creator_process_id: 0x6867_6665,
        creator_thread_id: 0x6c6b_6a69,
        session_id: 0x7473_7271,
        user_id: 0x7877_7675,
        parent_start_time: 0x8887_8685_8483_8281,
        creator_start_time: 0x9897_9695_9493_9291,
        image: b"",
        command_line: b"",
    };
    let exec = process::Exec {
        user_id: 0x6463_6261,
        session_id: 0x6867_6665,
        image: b"bash\0bin\0usr\0",
        command_line: b"sh\0one.sh\0two words\0",
        script: b"one.sh",
        directory: b"user\0home\0",
    };
    let lost = loss::Lost {
        kind: Kind::THREAD_START,
        reason: loss::Reason::BUFFER_FULL,
        count: 0x6867_6665_6463_6261,
    };
    let mut cases = vec![
        case("process_start", Event::ProcessStart(start)),
        case(
            "process_start_existing",
            Event::ProcessStart(process::Start {
                image: b"/usr/bin/sleep",
                command_line: b"sleep\x001\0",
                ..start
            }),
        ),
        case("process_exec", Event::ProcessExec(exec)),
        case(
            "process_exit",
            Event::ProcessExit(process::Exit {
                exit_status: 0x6463_6261,
                parent_process_id: 0x6867_6665,
            }),
        ),
        case(
            "thread_start",
            Event::ThreadStart(thread::Start {
                creator_process_id: 0x6463_6261,
                creator_thread_id: 0x6867_6665,
                start_address: 0x7877_7675_7473_7271,
            }),
        ),
        case("thread_exit", Event::ThreadExit(thread::Exit)),
        case("lost", Event::Lost(lost)),
        case(
            "exec_failed",
            Event::ExecFailed(exec::Failed {
                error: 0x6463_6261,
                path: b"./caf\xe9",
            }),
        ),
    ];
    cases.extend(images().map(|(name, event)| case(name, event)));
    cases
}

fn images() -> [(&'static str, Event<'static>); 4] {
    let load = image::Load {
        image_base: 0x6867_6665_6463_6261,
        image_size: 0x7877_7675_7473_7271,
        image: b"/usr/lib/caf\xe9.so",
    };
    let placed = image::Load {
        image:
            b"x.so\0lib\0\x01\0\0\0\x03\x02\x10\0\x18\x17\x16\x15\x14\x13\x12\x11\x24\x23\x22\x21",
        ..load
    };
    let stamped = image::Load {
        image: b"x.so\0lib\0\x38\x37\x36\x35\x34\x33\x32\xb1\x48\x47\x46\x45\x44\x43\x42\x41\
            \x01\0\0\0\x03\x02\x10\0\x18\x17\x16\x15\x14\x13\x12\x11\x24\x23\x22\x21",
        ..load
    };
    let unload = image::Unload {
        image_base: load.image_base,
        image_size: load.image_size,
        image: load.image,
    };
    [
        ("image_load", Event::ImageLoad(load)),
        ("image_load_placed", Event::ImageLoad(placed)),
        ("image_load_stamped", Event::ImageLoad(stamped)),
        ("image_unload", Event::ImageUnload(unload)),
    ]
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.bin"))
}

fn record(case: &Case) -> Vec<u8> {
    let mut buffer = [0; 512];
    event::write(case.header, &case.event, &mut buffer)
        .unwrap()
        .to_vec()
}

#[test]
fn every_kind_is_written_as_ever() {
    for case in cases() {
        let written = record(&case);
        let path = path(case.name);
        if std::env::var_os("GOLDEN").is_some_and(|value| value == "write") && !path.exists() {
            std::fs::write(&path, &written).unwrap();
        }
        let golden = std::fs::read(&path).unwrap();
        assert_eq!(written, golden, "{}", case.name);
    }
}

#[test]
fn every_record_ever_written_is_still_read() {
    for case in cases() {
        let golden = std::fs::read(path(case.name)).unwrap();
        let event::Record { header, event, .. } = event::read(&golden).unwrap();
        let (kind, size) = event::kind_and_size(&case.event).unwrap();
        let expected = Header {
            size: u32::try_from(size).unwrap(),
            kind,
            ..case.header
        };
        assert_eq!((header, event), (expected, case.event), "{}", case.name);
    }
}

#[test]
fn a_place_is_read_as_it_was_written() {
    let golden = std::fs::read(path("image_load_placed")).unwrap();
    let Event::ImageLoad(load) = event::read(&golden).unwrap().event else {
        panic!("not a load");
    };
    let (path, place) = Place::split(load.image).unwrap();
    assert_eq!(path, b"x.so\0lib\0");
    let expected = Place {
        scope: Scope::MOUNT_NAMESPACE,
        device: Place::device_of(1, 0x203),
        inode: 0x1112_1314_1516_1718,
        mount_namespace: 0x2122_2324,
    };
    assert_eq!(place, expected);
    assert_eq!(place.device_numbers(), (1, 0x203));
    let mut bytes = [0; Place::SIZE];
    let mut writer = event::wire::Writer::new(&mut bytes);
    place.write(&mut writer);
    assert_eq!(writer.finish(), load.image.strip_prefix(path));
    assert!(Place::split(&bytes[1..]).is_err());
}

#[test]
fn a_stamp_is_read_as_it_was_written() {
    let golden = std::fs::read(path("image_load_stamped")).unwrap();
    let Event::ImageLoad(load) = event::read(&golden).unwrap().event else {
        panic!("not a load");
    };
    let (stamped, place) = Place::split(load.image).unwrap();
    assert_eq!(place.inode, 0x1112_1314_1516_1718);
    let (path, stamp) = Stamp::split(stamped).unwrap();
    assert_eq!(path, b"x.so\0lib\0");
    let expected = Stamp {
        change_time_ns: 0xb132_3334_3536_3738_u64.cast_signed(),
        size: 0x4142_4344_4546_4748,
    };
    assert_eq!(stamp, expected);
    let mut bytes = [0; Stamp::SIZE];
    let mut writer = event::wire::Writer::new(&mut bytes);
    stamp.write(&mut writer);
    assert_eq!(writer.finish(), stamped.strip_prefix(path));
    assert!(Stamp::split(&bytes[1..]).is_err());
}

#[test]
fn every_file_belongs_to_a_case() {
    let names: Vec<String> = cases()
        .iter()
        .map(|case| format!("{}.bin", case.name))
        .collect();
    for entry in std::fs::read_dir(path("x").parent().unwrap()).unwrap() {
        let file_name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&file_name), "{file_name}");
    }
}

#[test]
fn every_observed_kind_has_a_case() {
    let kinds: Vec<Kind> = cases()
        .iter()
        .filter_map(|case| event::kind_and_size(&case.event))
        .map(|(kind, _)| kind)
        .collect();
    for kind in Kind::OBSERVED.into_iter().chain([Kind::LOST]) {
        assert!(kinds.contains(&kind), "{kind}");
    }
}

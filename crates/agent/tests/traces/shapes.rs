//! The shapes a trace can have.

use etw::clock::Clock;
use etw::encode::{self, Buffer, Payload, Settings, Whence};
use etw::fields::PointerSize;
use etw::guid::Guid;
use systrail::replay;
use systrail::trail::Body;

use super::{
    BASE, EXIT, LOAD, Replayed, START, THERE, exited, image, payload, process, told, trace,
    trace_with,
};

const WHENCE: Whence = Whence {
    process_id: 700,
    thread_id: 9,
    stamp: BASE,
};

/// The fields of a process event of each version, for either size of pointers.
fn of_version(version: u8, size: PointerSize, has_token: bool) -> Payload {
    let mut fields = Payload::new(size);
    fields = if version == 0 {
        fields.pointer(800).pointer(700)
    } else {
        fields
            .pointer(0x8152_0080)
            .u32(800)
            .u32(700)
            .u32(1)
            .u32(259)
    };
    if version >= 3 {
        fields = fields.pointer(0x1000);
    }
    if version >= 4 {
        fields = fields.u32(0);
    }
    fields = if has_token {
        fields.token(5, &[18])
    } else {
        fields.u32(0)
    };
    fields = fields.narrow("a.exe");
    if version >= 2 {
        fields = fields.wide("a.exe b");
    }
    if version >= 4 {
        fields = fields.wide("Package").wide("");
    }
    fields
}

#[test]
fn every_version_of_a_process_is_decoded_with_either_size_of_pointers() {
    for version in 0..=4 {
        for size in [PointerSize::Four, PointerSize::Eight] {
            for has_token in [false, true] {
                let fields = of_version(version, size, has_token);
                let system = encode::system(size, START, version, WHENCE, &fields.bytes);
                let class = (Guid::PROCESS, 1);
                let class = encode::class(size, class, version, WHENCE, &fields.bytes);
                // Headers lie: the size is the one by which the fields take the bytes.
                let lying = encode::system(size.other(), START, version, WHENCE, &fields.bytes);
                for event in [system, class, lying] {
                    let replayed = Replayed::of(&trace(&[event]));
                    let (_, start) = replayed.start(800);
                    assert_eq!(start.parent_process_id, Some(700), "{version} {size:?}");
                    assert_eq!(start.program.user_id.is_some(), has_token);
                    assert_eq!(start.name.as_ref().unwrap().shown(), "a.exe");
                    assert_eq!(start.program.command_line.is_some(), version >= 2);
                }
            }
        }
    }
}

/// Files of the time of Windows 7 have a `TOKEN_USER` of zeroes with a SID behind it.
#[test]
fn a_user_behind_zeroes_is_a_user() {
    let fields = payload()
        .pointer(0)
        .u32(800)
        .u32(700)
        .u32(1)
        .u32(259)
        .pointer(0)
        .pointer(0)
        .pointer(0)
        .sid(5, &[18])
        .narrow("notepad.exe")
        .wide("notepad");
    let class = (Guid::PROCESS, 1);
    let event = encode::class(PointerSize::Four, class, 3, WHENCE, &fields.bytes);
    let replayed = Replayed::of(&trace(&[event]));
    let (_, start) = replayed.start(800);
    assert!(start.program.user_id.is_some());
    assert_eq!(
        start.program.command_line.as_ref().unwrap().shown(),
        "notepad"
    );
}

#[test]
fn an_image_of_version_0_is_mapped_where_it_was_told() {
    let fields = payload().pointer(0x1000).u32(0x2000).wide("a.dll");
    let event = encode::system(PointerSize::Eight, LOAD, 0, WHENCE, &fields.bytes);
    let nobody = encode::performance(PointerSize::Eight, LOAD, 0, BASE, &fields.bytes);
    let replayed = Replayed::of(&trace(&[event, nobody]));
    let loads = replayed.loads();
    assert_eq!(loads.len(), 1);
    assert_eq!(loads[0].0.process_id, 700);
    assert!(replayed.says("1 event about an image, version 0"));
    assert_eq!(replayed.passed_over_count(), 1);
}

/// A start that was not yet complete, counters, and processes that were over before are no events.
#[test]
fn what_is_neither_start_nor_exit_is_none() {
    let terminated = payload().u32(800);
    let defunct = exited(900, 4, 0, "gone.exe", "").u64(134_116_992_600_000_000);
    let replayed = Replayed::of(&trace(&[
        told(START, 4, (4, 1), 0, process(800, 4, "a.exe", "a")),
        told((3, 11), 2, (800, 1), 1, terminated),
        told(EXIT, 4, (800, 1), 2, exited(800, 4, 0, "a.exe", "a")),
        told((3, 32), 2, (0, 0), 3, payload().u64(1)),
        told((3, 33), 2, (0, 0), 3, payload().u64(1)),
        told((3, 39), 5, (0, 0), 4, defunct),
        told((20, 33), 2, (0, 0), 5, payload().u64(1)),
        told((0, 32), 2, (0, 0), 6, payload().u64(1)),
    ]));
    assert_eq!((replayed.starts().len(), replayed.exits().len()), (1, 1));
    assert_eq!(replayed.count("lost"), 0, "a type 32 of group 0 is no loss");
    assert_eq!(replayed.passed_over_count(), 0);
    assert!(replayed.says("1 processes that had ended before"));
}

#[test]
fn what_was_lost_is_told_by_the_header() {
    let settings = Settings {
        events_lost: 7,
        buffers_lost: 2,
        ..Settings::default()
    };
    let replayed = Replayed::of(&trace_with(&settings, &[]));
    let losses = replayed
        .events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Lost(lost) => Some(lost),
            _ => None,
        });
    let losses: Vec<_> = losses
        .map(|lost| (lost.lost_kind.name(), lost.lost_count, &*lost.lost_reason))
        .collect();
    assert_eq!(
        losses,
        [
            (Some("any"), 7, "buffer_full"),
            (Some("any"), 2, "buffers_lost")
        ]
    );
    assert!(replayed.says("lost 7 events and 2 buffers"));
    let Some(Body::SensorStop(stop)) = replayed.events.last().map(|event| &event.body) else {
        panic!("the last event is the end");
    };
    assert!(stop.account.balanced);
    assert_eq!(
        stop.account
            .kinds
            .by_kind()
            .map(|(_, count)| count.lost)
            .sum::<u64>(),
        9
    );
    assert!(replayed.says("no event of a process"));
}

#[test]
fn each_clock_gives_the_times_it_means() {
    let began = Settings::default().began;
    let second_later = |clock, frequency, ticks| {
        let settings = Settings {
            clock,
            frequency,
            base: BASE,
            ..Settings::default()
        };
        let event = told(THERE, 4, (0, 0), ticks, process(700, 4, "a.exe", "a"));
        let replayed = Replayed::of(&trace_with(&settings, &[event]));
        let passed = replayed.start(700).0.time.0 - replayed.events[0].time.0;
        (passed, replayed)
    };
    assert_eq!(
        second_later(Clock::Counter, 3_579_545, 3_579_545).0,
        1_000_000_000
    );
    let (passed, _) = second_later(Clock::SystemTime, 3_579_545, began + 10_000_000 - BASE);
    assert_eq!(passed, 1_000_000_000);
    let (passed, replayed) = second_later(Clock::Cycles, 0, 3_000_000_000);
    assert_eq!(passed, 1_000_000_000);
    assert!(replayed.says("cycles"));
    let (_, replayed) = second_later(Clock::Counter, 0, 1);
    assert!(replayed.says("no clock that is known"));
}

/// Merged traces repeat the header of each part.
#[test]
fn only_the_first_header_sets_the_time() {
    let other = Settings {
        base: BASE + 500,
        began: 1,
        frequency: 7,
        ..Settings::default()
    };
    let replayed = Replayed::of(&trace(&[
        told(THERE, 4, (0, 0), 0, process(700, 4, "a.exe", "a")),
        encode::header_event(&other, 1),
        told(THERE, 4, (0, 0), 1_000, process(701, 4, "b.exe", "b")),
    ]));
    let passed = replayed.start(701).0.time.0 - replayed.start(700).0.time.0;
    assert_eq!(passed, 100_000);
}

#[test]
fn volumes_and_the_machine_are_told_by_merged_traces() {
    let merged = |r#type, payload: Payload| {
        encode::class(
            PointerSize::Eight,
            (Guid::MERGED, r#type),
            0,
            WHENCE,
            &payload.bytes,
        )
    };
    let mut machine = payload()
        .u32(3000)
        .u32(8)
        .u32(4096)
        .u32(4096)
        .u32(65536)
        .wide("ATLAS");
    machine.bytes.resize(20 + 512 + 264, 0);
    let kernel = r"\Device\HarddiskVolume3\x\a.exe";
    let replayed = Replayed::of(&trace(&[
        told(START, 4, (4, 1), 0, process(800, 4, "a.exe", "a")),
        told(LOAD, 3, (800, 1), 1, image(800, 1 << 16, 8, kernel)),
        told(
            LOAD,
            3,
            (800, 1),
            2,
            image(800, 2 << 16, 8, r"\SystemRoot\System32\ntdll.dll"),
        ),
        told(
            LOAD,
            3,
            (800, 1),
            3,
            image(800, 3 << 16, 8, r"\Windows\System32\x.dll"),
        ),
        merged(
            33,
            payload().wide(r"C:\Windows\system32").wide(r"C:\Windows\"),
        ),
        merged(35, payload().wide(r"\Device\HarddiskVolume3\").wide(r"C:\")),
        told((11, 10), 3, (4, 1), 9, machine),
    ]));
    let paths = replayed
        .loads()
        .into_iter()
        .map(|(_, load)| load.image.as_ref().unwrap().shown());
    let paths: Vec<_> = paths.collect();
    let expected = [
        r"C:\x\a.exe",
        r"C:\Windows\System32\ntdll.dll",
        r"C:\Windows\System32\x.dll",
    ];
    assert_eq!(paths, expected);
    let image = replayed.start(800).1.program.image.as_ref().unwrap();
    assert_eq!(image.shown(), r"C:\x\a.exe");
    assert!(
        replayed
            .events
            .iter()
            .all(|event| &*event.origin.host == "ATLAS")
    );
}

#[test]
fn packed_buffers_and_late_processors_are_told_in_the_order_of_time() {
    for packed in [false, true] {
        let buffers: Vec<Buffer> = [(1, 100), (0, 50), (0, 70), (1, 120)]
            .into_iter()
            .map(|(processor, ticks)| {
                let mut buffer = if packed {
                    Buffer::compressed(processor)
                } else {
                    Buffer::new(processor)
                };
                for number in 0..3_u32 {
                    let id = 1000 + u32::try_from(ticks).unwrap() + number;
                    let ticks = ticks + i64::from(number);
                    let fields = process(id, 4, "a.exe", "a");
                    buffer.add(&told(THERE, 4, (0, 0), ticks, fields));
                }
                buffer
            })
            .collect();
        let replayed = Replayed::of(&encode::trace(&Settings::default(), &buffers));
        let times: Vec<_> = replayed
            .starts()
            .iter()
            .map(|(event, _)| event.time)
            .collect();
        assert_eq!(times.len(), 12);
        assert!(times.is_sorted());
    }
}

#[test]
fn what_cannot_be_sought_in_is_refused_with_a_sentence() {
    use std::io::Write as _;
    let bytes = trace(&[]);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.etl.gz");
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&bytes).unwrap();
    std::fs::write(&path, encoder.finish().unwrap()).unwrap();
    let Err(error) = replay::open(&path) else {
        panic!("it cannot be sought in");
    };
    assert!(error.to_string().contains("decompress it first"), "{error}");
}

/// A bar stood at 0 % until the end.
#[test]
fn how_far_a_trace_has_been_read_is_told_as_it_is_replayed() {
    const BUFFERS: i64 = 16;
    let buffers: Vec<Buffer> = (0..BUFFERS)
        .map(|number| {
            let mut buffer = Buffer::new(0);
            buffer.add(&told(
                START,
                4,
                (4, 8),
                number * 1000,
                process(100, 4, "a.exe", "a"),
            ));
            buffer
        })
        .collect();
    let bytes = encode::trace(&Settings::default(), &buffers);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace");
    std::fs::write(&path, &bytes).unwrap();
    let mut log = replay::open(&path).unwrap();
    let progress = log.progress().unwrap();
    let reached: Vec<u64> = log
        .by_ref()
        .map(|event| event.map(|_| progress.read()).unwrap())
        .collect();
    assert!(reached.is_sorted(), "{reached:?}");
    let half = reached[reached.len() * 3 / 4];
    assert!(
        half > progress.size() / 2 && half < progress.size(),
        "{reached:?}"
    );
    assert_eq!(progress.read(), progress.size());
}

//! Traces that are cut, zeroed, still being written, or lie.

use etw::encode::{self, Buffer, Settings};
use systrail::replay;

use super::{Replayed, THERE, process, told, trace};

const BUFFER_SIZE: u32 = 4096;
const SIZE: usize = BUFFER_SIZE as usize;

/// A trace of a header and three buffers, each with a process.
#[expect(clippy::needless_pass_by_value, reason = "callers make them in place")]
fn three(settings: Settings) -> Vec<u8> {
    let buffers = [1, 2, 3].map(|number: u32| {
        let mut buffer = Buffer::new(0);
        let fields = process(number * 100, 4, "a.exe", "a");
        buffer.add(&told(THERE, 4, (0, 0), i64::from(number), fields));
        buffer
    });
    let settings = Settings {
        buffer_size: BUFFER_SIZE,
        ..settings
    };
    encode::trace(&settings, &buffers)
}

fn ids(replayed: &Replayed) -> Vec<u32> {
    let starts = replayed.starts().into_iter();
    starts.map(|(event, _)| event.process_id).collect()
}

#[test]
fn a_whole_one_has_nothing_to_say() {
    let replayed = Replayed::of(&three(Settings::default()));
    assert_eq!(ids(&replayed), [100, 200, 300]);
    assert!(replayed.remarks.is_empty(), "{:?}", replayed.remarks);
}

#[test]
fn of_one_that_is_cut_all_is_read_that_is_there() {
    let whole = three(Settings::default());
    let replayed = Replayed::of(&whole[..3 * SIZE]);
    assert_eq!(ids(&replayed), [100, 200]);
    assert!(replayed.says("it says it has 4 buffers, and the file has 3"));
    let replayed = Replayed::of(&whole[..3 * SIZE + 300]);
    assert_eq!(
        ids(&replayed),
        [100, 200, 300],
        "the cut buffer's event is whole"
    );
    assert!(replayed.says("damaged"));
    for size in 0..whole.len() {
        if size % 37 == 0 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("trace");
            std::fs::write(&path, &whole[..size]).unwrap();
            if let Ok(log) = replay::open(&path) {
                assert!(log.flatten().count() <= 5);
            }
        }
    }
}

/// The header is written when a session begins, and again when it ends.
#[test]
fn one_that_is_still_being_written_is_read_to_its_end() {
    let open = Settings {
        ended: 0,
        buffer_count: Some(1),
        ..Settings::default()
    };
    let replayed = Replayed::of(&three(open));
    assert_eq!(ids(&replayed), [100, 200, 300]);
    assert!(replayed.says("still being written"));
    assert_eq!(replayed.passed_over_count(), 0);
}

#[test]
fn one_that_began_anew_is_told_in_the_order_of_time() {
    let whole = three(Settings {
        mode: 2,
        ..Settings::default()
    });
    let parts: Vec<_> = whole.chunks(SIZE).collect();
    let turned = [parts[0], parts[3], parts[1], parts[2]].concat();
    let replayed = Replayed::of(&turned);
    assert_eq!(ids(&replayed), [100, 200, 300]);
    assert!(replayed.says("began anew"));
}

#[test]
fn what_stands_behind_a_zeroed_or_lying_buffer_is_read() {
    let lies: [(&[u8], &str); 4] = [
        (&[0; 4], "damaged"),
        (&[0xff; 4], "damaged"),
        (&[71, 0, 0, 0], "damaged"),
        (&[0; SIZE], "1 buffer is empty"),
    ];
    for (lie, said) in lies {
        let mut bytes = three(Settings::default());
        bytes[2 * SIZE..2 * SIZE + lie.len()].copy_from_slice(lie);
        let replayed = Replayed::of(&bytes);
        assert_eq!(ids(&replayed), [100, 300], "{lie:?}");
        assert!(replayed.says(said), "{lie:?} {:?}", replayed.remarks);
    }
}

/// Buffers of 0 bytes and of 4 GiB are in the header of the file, too.
#[test]
fn a_first_buffer_that_lies_about_its_size_costs_only_itself() {
    for size in [0, u32::MAX, 1] {
        let mut bytes = three(Settings::default());
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        let replayed = Replayed::of(&bytes);
        assert_eq!(ids(&replayed), [100, 200, 300], "{size}");
        // Both sizes: nothing says where the next buffer is.
        bytes[72 + 32..72 + 36].copy_from_slice(&size.to_le_bytes());
        let replayed = Replayed::of(&bytes);
        assert_eq!(ids(&replayed), [0; 0], "{size}");
        assert!(replayed.says("no buffer"), "{:?}", replayed.remarks);
    }
}

#[test]
fn an_event_that_lies_about_its_size_costs_the_rest_of_its_buffer() {
    for size in [0_u16, 7, u16::MAX] {
        let mut bytes = three(Settings::default());
        let place = 2 * SIZE + 72 + 4;
        bytes[place..place + 2].copy_from_slice(&size.to_le_bytes());
        let replayed = Replayed::of(&bytes);
        assert_eq!(ids(&replayed), [100, 300], "{size}");
        assert!(
            replayed.says("1 buffer is damaged"),
            "{:?}",
            replayed.remarks
        );
    }
}

#[test]
fn what_cannot_be_decoded_is_counted_and_named() {
    let mut short = process(100, 4, "a.exe", "a");
    short.bytes.truncate(30);
    let replayed = Replayed::of(&trace(&[
        told(THERE, 4, (0, 0), 0, short.clone()),
        told(THERE, 9, (0, 0), 1, short),
        // A newer version is read as far as it is the same.
        told(THERE, 9, (0, 0), 2, process(200, 4, "a.exe", "a").u64(7)),
    ]));
    assert_eq!(ids(&replayed), [200]);
    assert!(replayed.says("1 event about a process, version 4"));
    assert!(replayed.says("1 event about a process, version 9"));
    assert_eq!(replayed.passed_over_count(), 2);
}

#[test]
fn a_header_that_ends_too_early_is_a_sentence() {
    let mut bytes = trace(&[]);
    bytes[72 + 4..72 + 6].copy_from_slice(&100_u16.to_le_bytes());
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("trace.etl");
    std::fs::write(&path, bytes).unwrap();
    let Err(error) = replay::open(&path) else {
        panic!("it tells nothing of itself");
    };
    assert!(error.to_string().contains("ends too early"), "{error}");
}

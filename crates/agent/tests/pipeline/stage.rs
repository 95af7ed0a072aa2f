//! What looks at events on their way.

use event::Kind;
use systrail::pipeline::{Settings, Stage};
use systrail::trail::{Body, Detection, Event};

use super::{TICK, exec, exit, fork, kinds, record_with, settings};

/// Finds every exec; like a rule, it says nothing of who made the trail.
#[derive(Debug)]
pub(super) struct FindsExecs;

impl Stage for FindsExecs {
    fn refresh(&mut self) {}

    fn look(&mut self, event: &Event, found: &mut Vec<Detection>) {
        if let Body::ProcessExec(_) = event.body {
            found.push(Detection {
                matched_sequence: event.sequence,
                rule_id: None,
                rule_title: "exec".into(),
                rule_level: "high".into(),
                rule_author: None,
                rule_tags: None,
            });
        }
    }

    fn off_count(&self) -> u64 {
        3
    }
}

#[test]
fn what_is_found_follows_what_it_was_found_in_and_is_no_event_of_the_sensor() {
    let script = vec![
        fork(TICK, 1, 10),
        exec(2 * TICK, 10, b"true\0bin\0", b"true\0"),
        exit(4 * TICK, 10, 0),
    ];
    let settings = Settings {
        stage: Some(Box::new(FindsExecs)),
        ..settings()
    };
    let (events, account) = record_with(settings, vec![script]);
    let expected = [
        Kind::SENSOR_START,
        Kind::PROCESS_START,
        Kind::PROCESS_EXEC,
        Kind::DETECTION,
        Kind::PROCESS_EXIT,
        Kind::SENSOR_STOP,
    ];
    assert_eq!(kinds(&events), expected);
    assert!(events.iter().map(|event| event.sequence).eq(1..=6));
    let (exec, found) = (&events[2], &events[3]);
    assert_eq!(
        (found.process_key, found.time),
        (exec.process_key, exec.time)
    );
    let Body::Detection(detection) = &found.body else {
        panic!("{found:?}");
    };
    assert_eq!(detection.matched_sequence, exec.sequence);
    assert!(account.balanced);
    let delivered: u64 = account
        .kinds
        .by_kind()
        .map(|(_, count)| count.delivered)
        .sum();
    assert_eq!((delivered, account.sinks[0].written), (3, 6));
}

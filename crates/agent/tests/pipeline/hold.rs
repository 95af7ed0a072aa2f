//! What the fleet will not get, in the trail.

use std::sync::Arc;

use event::Kind;
use systrail::pipeline::Settings;
use systrail::store::follow::Position;
use systrail::store::{Gone, Hold};
use systrail::trail::{Body, LostRange};

use crate::{TICK, fork, record_with, settings};

#[test]
fn what_went_before_it_was_forwarded_is_a_loss_with_its_range_and_costs_the_account_nothing() {
    let hold = Arc::new(Hold::new(0, Position::default()));
    hold.give_up(Gone {
        host_id: None,
        run: Some(42),
        from: 1_001,
        to: 4_096,
        count: 3_096,
        reason: "forward_expired",
    });
    let settings = Settings {
        hold: Some(Arc::clone(&hold)),
        ..settings()
    };
    let (events, account) = record_with(settings, vec![vec![fork(TICK, 1, 10)]]);
    let lost: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.body {
            Body::Lost(lost) => Some(lost),
            _ => None,
        })
        .collect();
    let [lost] = &lost[..] else {
        panic!("told once: {lost:?}");
    };
    let range = LostRange {
        lost_run: Some(42),
        lost_from: Some(1_001),
        lost_to: Some(4_096),
    };
    assert_eq!(lost.range, range);
    assert_eq!((lost.lost_kind, lost.lost_count), (Kind::ANY, 3_096));
    assert_eq!(lost.lost_reason, "forward_expired");
    assert!(account.balanced);
    assert_eq!(account.kinds.get(Kind::ANY).lost, 0, "the sensor lost none");
    assert!(hold.take_gone().is_empty());
}

//! An export that goes on with what is recorded.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use systrail::quantity::show_count;
use systrail::store::follow::{self, Follower, Position, Skipped};
use systrail::sys::wake::Waker;
use systrail::trail::Time;

use super::{End, Printer};
use crate::cli::Failure;
use crate::cli::console::say;

/// How often it is looked whether there is more: a fraction of what a store takes to flush.
const INTERVAL: Duration = Duration::from_millis(100);

/// Prints what the store has from `since` on, and what comes, until `waker` is woken. Returns how many events
/// were passed over, as far as that is known.
pub(super) fn follow<W: Write>(
    directory: &Path,
    since: Option<Time>,
    printer: &mut Printer<W>,
    waker: &Waker,
) -> Result<u64, End> {
    let at = begin(directory, since).map_err(Failure::from)?;
    let mut follower = Follower::new(directory, at);
    let mut passed_over_count = 0;
    while !waker.is_woken() {
        let events = follower.page().map_err(Failure::from)?;
        for skipped in follower.take_skipped() {
            passed_over_count += tell(&skipped);
        }
        let mut size = 0;
        for (_, event) in &events {
            if since.is_none_or(|since| event.time >= since) {
                printer.print(event)?;
                size += u64::try_from(printer.line.len()).unwrap_or(u64::MAX);
            }
        }
        follower.weigh(size);
        if events.is_empty() {
            follower.rest();
            let flushed = printer.flush();
            flushed.map_err(|error| printer.ended(&error))?;
            waker.wait(INTERVAL);
        }
    }
    Ok(passed_over_count)
}

/// The place before the first event from `since` on; before the newest segment where there is none yet.
fn begin(directory: &Path, since: Option<Time>) -> Result<Position, systrail::store::ReadError> {
    let Some(since) = since else {
        return Ok(Position::default());
    };
    if let Some(at) = follow::position_of(directory, since)? {
        return Ok(at);
    }
    let newest = follow::names(directory)?.pop();
    Ok(Position {
        segment: newest.unwrap_or_default(),
        id: 0,
    })
}

/// Says what is missing, and returns how many events that is: one where that is not known.
fn tell(skipped: &Skipped) -> u64 {
    let counts = skipped.events.iter().map(|gone| gone.count);
    let count: u64 = counts.fold(0, u64::saturating_add);
    if count == 0 {
        say!("passed over: {}", skipped.why);
        return 1;
    }
    say!(
        "passed over {}: {}",
        show_count(count, "event"),
        skipped.why
    );
    count
}

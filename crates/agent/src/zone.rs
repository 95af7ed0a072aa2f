//! Which time of the day people are shown, and mean: UTC, as the trail has it, so that two machines agree;
//! or that of the place, where `--local` asks for it.

use std::sync::OnceLock;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};

use crate::trail::Time;

/// Set once, before anything is shown or read.
static LOCAL: OnceLock<TimeZone> = OnceLock::new();

/// Why there is no local time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the time zone of this system is not known ({0}); set TZ, as in TZ=Europe/Berlin, or leave out --local"
)]
pub struct Unknown(String);

/// From now on people are shown and mean the time of the system's zone, or of that in `TZ`.
pub fn use_local() -> Result<(), Unknown> {
    let zone = TimeZone::try_system().map_err(|error| Unknown(error.to_string()))?;
    // The second time it is the same.
    let _first = LOCAL.set(zone);
    Ok(())
}

/// Whether it is the local time.
pub fn is_local() -> bool {
    LOCAL.get().is_some()
}

/// The zone that is shown and meant.
pub(crate) fn current() -> &'static TimeZone {
    static UTC: TimeZone = TimeZone::UTC;
    LOCAL.get().unwrap_or(&UTC)
}

fn zoned(time: Time, zone: &TimeZone) -> Zoned {
    let timestamp = Timestamp::from_nanosecond(time.0.into()).unwrap_or_default();
    timestamp.to_zoned(zone.clone())
}

/// The clock on the wall then.
pub fn civil(time: Time) -> DateTime {
    zoned(time, current()).datetime()
}

/// What the zone is called then: `UTC`, `CEST`, `+0545`.
pub fn name(time: Time) -> String {
    name_in(time, current())
}

fn name_in(time: Time, zone: &TimeZone) -> String {
    zoned(time, zone).strftime("%Z").to_string()
}

/// The head of a column of times: `START (UTC)`, no longer than that.
pub fn heading(column: &str, now: Time) -> String {
    heading_in(column, now, current())
}

fn heading_in(column: &str, now: Time, zone: &TimeZone) -> String {
    let name = name_in(now, zone);
    if name.len() <= "UTC".len() {
        format!("{column} ({name})")
    } else {
        format!("{column} {name}")
    }
}

/// A time as the trail's texts have it, `2026-11-22T15:59:59.123456789Z`, as it is here:
/// `2026-11-22T16:59:59.123456789+01:00`. Of another text, or where it is UTC that is meant, nothing.
pub fn local_rfc_3339(text: &str) -> Option<String> {
    local_in(text, LOCAL.get()?)
}

fn local_in(text: &str, zone: &TimeZone) -> Option<String> {
    if !text.ends_with('Z') {
        return None;
    }
    let timestamp: Timestamp = text.parse().ok()?;
    let zoned = timestamp.to_zoned(zone.clone());
    Some(zoned.strftime("%Y-%m-%dT%H:%M:%S%.9f%:z").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An hour ahead of UTC in winter, two in summer.
    fn berlin() -> TimeZone {
        TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap()
    }

    const WINTER: Time = Time(1_795_392_000_000_000_000);
    const SUMMER: Time = Time(1_782_000_000_000_000_000);

    #[test]
    fn a_zone_has_the_name_of_its_season() {
        assert_eq!(name_in(WINTER, &berlin()), "CET");
        assert_eq!(name_in(SUMMER, &berlin()), "CEST");
        let nepal = TimeZone::posix("<+0545>-5:45").unwrap();
        assert_eq!(name_in(WINTER, &nepal), "+0545");
        assert_eq!(name(WINTER), "UTC");
    }

    #[test]
    fn a_heading_is_no_longer_than_that_of_utc() {
        let at = |time, zone| heading_in("START", time, &zone);
        assert_eq!(at(WINTER, TimeZone::UTC), "START (UTC)");
        assert_eq!(at(WINTER, berlin()), "START (CET)");
        assert_eq!(at(SUMMER, berlin()), "START CEST");
    }

    #[test]
    fn a_text_of_the_trail_has_the_offset_of_its_season() {
        let local = |text| local_in(text, &berlin());
        assert_eq!(
            local("2026-11-22T23:59:59.123456789Z").as_deref(),
            Some("2026-11-23T00:59:59.123456789+01:00")
        );
        assert_eq!(
            local("2026-07-01T00:00:00.000000000Z").as_deref(),
            Some("2026-07-01T02:00:00.000000000+02:00")
        );
        assert_eq!(local("2026-11-22"), None);
        assert_eq!(local("Z"), None);
        assert_eq!(local_rfc_3339("2026-11-22T23:59:59Z"), None);
    }
}

//! Points in time as people write them: `10m` and `-10m` (that long ago), `now`, `today`,
//! `yesterday 02:00`, `2026-11-22T02:00:00Z`, `2026-11-22 02:00`, `02:00`, and seconds since 1970 with
//! their fractions (`1795348800`, `1795348800000`). Without an offset they are UTC, as everything the trail
//! shows, or local time where `zone` says so.

use jiff::civil;
use jiff::{Span, Timestamp};

use crate::quantity;
use crate::trail::Time;
use crate::zone;

/// Why a text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not one of the forms.
    #[error(
        "`{0}` is no time; write how long ago (10m, 2h 30m), now, or in UTC (local time with --local) yesterday, \
         02:00, 2026-11-22 02:00, 2026-11-22T02:00:00Z"
    )]
    Unknown(String),
    /// Before or after all the times there are.
    #[error("`{0}` is out of range")]
    OutOfRange(String),
}

/// The time `text` says at the moment `now`.
pub fn parse(text: &str, now: Time) -> Result<Time, Invalid> {
    let text = text.trim();
    let unknown = || Invalid::Unknown(text.to_owned());
    let out_of_range = || Invalid::OutOfRange(text.to_owned());
    let ago = text.strip_prefix('-').unwrap_or(text);
    if let Ok(ago) = quantity::duration(ago) {
        let ago = i64::try_from(ago.as_nanos()).ok();
        let time = ago.and_then(|ago| now.0.checked_sub(ago));
        return time.map(Time).ok_or_else(out_of_range);
    }
    if text.eq_ignore_ascii_case("now") {
        return Ok(now);
    }
    if let Some(unit_ns) = unit_of_number(text) {
        let number = text.parse::<i64>().ok();
        let time = number.and_then(|number| number.checked_mul(unit_ns));
        return time.map(Time).ok_or_else(out_of_range);
    }
    let timestamp = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| civil_time(text, now))
        .or_else(|| named_day(text, now));
    time_of(timestamp.ok_or_else(unknown)?).ok_or_else(out_of_range)
}

/// Nanoseconds of the unit that a number since 1970 is in: seconds, their thousandths, millionths or
/// billionths, as its digits tell. `None` where it is no such number.
fn unit_of_number(text: &str) -> Option<i64> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let unit_ns = match text.len() {
        9..=10 => 1_000_000_000,
        12..=13 => 1_000_000,
        15..=16 => 1_000,
        18..=19 => 1,
        _ => return None,
    };
    is_number.then_some(unit_ns)
}

/// `today` or `yesterday`, with a time of the day or without.
fn named_day(text: &str, now: Time) -> Option<Timestamp> {
    let (name, time) = text.split_once(' ').unwrap_or((text, "00:00"));
    let day = match &*name.to_ascii_lowercase() {
        "today" => day_of(now)?,
        "yesterday" => day_of(now)?.yesterday().ok()?,
        _ => return None,
    };
    let time: civil::Time = time.trim().parse().ok().filter(|_| !time.contains('-'))?;
    timestamp_of(day.to_datetime(time))
}

/// Now.
pub fn now() -> Time {
    // The clock is within the range of 64 bits until the year 2262.
    time_of(Timestamp::now()).unwrap_or_default()
}

fn time_of(timestamp: Timestamp) -> Option<Time> {
    i64::try_from(timestamp.as_nanosecond()).ok().map(Time)
}

/// A date, a date with a time, or a time of the day that ended or goes on at `now`.
fn civil_time(text: &str, now: Time) -> Option<Timestamp> {
    // First: a time of the day is read out of a date with a time as well.
    if let Ok(at) = text.parse::<civil::DateTime>() {
        return timestamp_of(at);
    }
    // `10` alone would be ten o'clock, and is more likely a duration that lacks its unit.
    let time: civil::Time = text.parse().ok().filter(|_| text.contains(':'))?;
    let at = timestamp_of(day_of(now)?.to_datetime(time))?;
    // The evening before, for whoever asks after midnight.
    if at.as_nanosecond() > now.0.into() {
        at.checked_sub(Span::new().hours(24)).ok()
    } else {
        Some(at)
    }
}

/// The day that it is then.
fn day_of(now: Time) -> Option<civil::Date> {
    let now = Timestamp::from_nanosecond(now.0.into()).ok()?;
    Some(now.to_zoned(zone::current().clone()).date())
}

/// When a clock here showed that; of an hour that came twice, the first time.
fn timestamp_of(at: civil::DateTime) -> Option<Timestamp> {
    zone::current().to_timestamp(at).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Invalid, Time, parse};

    /// 2026-11-22T12:00:00Z.
    const NOON: Time = Time(1_795_348_800_000_000_000);
    const HOUR_NS: i64 = 3_600_000_000_000;

    #[test]
    fn a_duration_is_that_long_ago() {
        assert_eq!(parse("1h", NOON), Ok(Time(NOON.0 - HOUR_NS)));
        assert_eq!(parse("30m 30m", NOON), Ok(Time(NOON.0 - HOUR_NS)));
        assert_eq!(parse("0s", NOON), Ok(NOON));
        assert_eq!(parse("-1h", NOON), Ok(Time(NOON.0 - HOUR_NS)));
        assert_eq!(parse("Now", NOON), Ok(NOON));
    }

    #[test]
    fn a_day_has_a_name_and_a_time_of_the_day() {
        let midnight = Time(NOON.0 - 12 * HOUR_NS);
        assert_eq!(parse("today", NOON), Ok(midnight));
        assert_eq!(parse("today 13:00", NOON), Ok(Time(NOON.0 + HOUR_NS)));
        assert_eq!(parse("yesterday", NOON), Ok(Time(NOON.0 - 36 * HOUR_NS)));
        assert_eq!(
            parse("Yesterday 02:00", NOON),
            Ok(Time(NOON.0 - 34 * HOUR_NS))
        );
    }

    #[test]
    fn a_number_is_seconds_since_1970_or_a_fraction_of_them() {
        for text in [
            "1795348800",
            "1795348800000",
            "1795348800000000",
            "1795348800000000000",
        ] {
            assert_eq!(parse(text, NOON), Ok(NOON), "{text}");
        }
        let far = parse("9999999999999999999", NOON);
        assert!(matches!(far, Err(Invalid::OutOfRange(_))), "{far:?}");
    }

    #[test]
    fn a_time_without_an_offset_is_utc() {
        for text in [
            "2026-11-22T12:00:00Z",
            "2026-11-22 12:00",
            "2026-11-22T12:00:00.000000000",
            "2026-11-22T13:00:00+01:00",
            "12:00",
            "12:00:00",
        ] {
            assert_eq!(parse(text, NOON), Ok(NOON), "{text}");
        }
        assert_eq!(parse("2026-11-22", NOON), Ok(Time(NOON.0 - 12 * HOUR_NS)));
        // Of another day.
        for text in [
            "2026-11-20 12:00",
            "2026-11-20T12:00",
            "2026-11-20 12:00:00",
        ] {
            assert_eq!(parse(text, NOON), Ok(Time(NOON.0 - 48 * HOUR_NS)), "{text}");
        }
    }

    #[test]
    fn a_time_of_day_that_is_still_to_come_was_yesterday() {
        assert_eq!(parse("23:00", NOON), Ok(Time(NOON.0 - 13 * HOUR_NS)));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        for text in [
            "",
            "tomorrow",
            "yesterday 25:00",
            "today 2026-11-22 02:00",
            "today noon",
            "1h ago",
            "10",
            "12345",
            "2026-13-01",
            "25:00",
            "-",
            "--1h",
        ] {
            assert!(
                matches!(parse(text, NOON), Err(Invalid::Unknown(_))),
                "{text}"
            );
        }
        let far = parse("9999-01-01", NOON);
        assert!(matches!(far, Err(Invalid::OutOfRange(_))), "{far:?}");
    }

    proptest! {
        #[test]
        fn any_text_is_answered(text in any::<String>(), now in any::<i64>()) {
            let _answer = parse(&text, Time(now));
        }
    }
}

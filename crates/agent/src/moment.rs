//! Points in time as people write them: `10m` (that long ago), `2026-11-22T02:00:00Z`,
//! `2026-11-22 02:00`, `02:00`. Without an offset they are UTC, as everything the trail shows.

use jiff::civil;
use jiff::tz::Offset;
use jiff::{Span, Timestamp};

use crate::quantity;
use crate::trail::Time;

/// Why a text is no point in time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Not one of the forms.
    #[error(
        "`{0}` is no time; write how long ago (10m, 2h 30m), or in UTC 02:00, \
         2026-11-22 02:00, 2026-11-22T02:00:00Z"
    )]
    Unknown(String),
    /// How long ago, with a sign.
    #[error("`-{0}` is no time; write {0}, which is that long ago")]
    Signed(String),
    /// Before or after all the times there are.
    #[error("`{0}` is out of range")]
    OutOfRange(String),
}

/// The time `text` says at the moment `now`.
pub fn parse(text: &str, now: Time) -> Result<Time, Invalid> {
    let text = text.trim();
    if let Ok(ago) = quantity::duration(text) {
        let ago = i64::try_from(ago.as_nanos()).ok();
        let time = ago.and_then(|ago| now.0.checked_sub(ago));
        return time
            .map(Time)
            .ok_or_else(|| Invalid::OutOfRange(text.to_owned()));
    }
    let timestamp = text
        .parse::<Timestamp>()
        .ok()
        .or_else(|| civil_time(text, now));
    if let Some(ago) = text.strip_prefix('-')
        && quantity::duration(ago).is_ok()
    {
        return Err(Invalid::Signed(ago.to_owned()));
    }
    let Some(timestamp) = timestamp else {
        return Err(Invalid::Unknown(text.to_owned()));
    };
    time_of(timestamp).ok_or_else(|| Invalid::OutOfRange(text.to_owned()))
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
    // `10` alone would be ten o'clock, and is more likely a duration that lacks its unit.
    if text.contains(':')
        && let Ok(time) = text.parse::<civil::Time>()
    {
        let now = Timestamp::from_nanosecond(now.0.into()).ok()?;
        let today = Offset::UTC.to_datetime(now).date();
        let at = Offset::UTC.to_timestamp(today.to_datetime(time)).ok()?;
        // The evening before, for whoever asks after midnight.
        return if at > now {
            at.checked_sub(Span::new().hours(24)).ok()
        } else {
            Some(at)
        };
    }
    let at = text.parse::<civil::DateTime>().ok()?;
    Offset::UTC.to_timestamp(at).ok()
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
    }

    #[test]
    fn a_time_of_day_that_is_still_to_come_was_yesterday() {
        assert_eq!(parse("23:00", NOON), Ok(Time(NOON.0 - 13 * HOUR_NS)));
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_is() {
        let signed = parse("-1h", NOON);
        assert_eq!(signed, Err(Invalid::Signed("1h".to_owned())));
        for text in ["", "yesterday", "10", "2026-13-01", "25:00", "-", "--1h"] {
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

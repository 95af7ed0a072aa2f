//! Sizes, durations and counts as people write them: `64 MiB`, `50ms`, `1h 30m`, `1 event`.
//!
//! One form for the command line and the configuration file. A number without a unit is refused
//! where the unit matters: nobody should have to guess whether `50` is seconds.

use std::fmt::Display;
use std::time::Duration;

/// Why a text is no size or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// No number where one must be.
    #[error("`{0}` does not begin with a number")]
    NoNumber(String),
    /// A number without a unit.
    #[error("`{0}` has no unit; write one of {1}")]
    NoUnit(String, &'static str),
    /// A fraction.
    #[error("`{0}` is not whole; write it in a smaller unit")]
    NotWhole(String),
    /// A unit nobody knows.
    #[error("`{0}` is not a unit; write one of {1}")]
    UnknownUnit(String, &'static str),
    /// More than 64 bits hold.
    #[error("`{0}` is too large")]
    TooLarge(String),
}

const DURATION_UNITS: &str = "ns, us, ms, s, m, h, d";
const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB";

/// The duration `text` says: whole numbers, each with its unit, added up.
pub fn duration(text: &str) -> Result<Duration, Invalid> {
    let mut rest = text.trim();
    let mut sum_ns: u64 = 0;
    loop {
        let (number, after) = number(rest, text)?;
        let unit_size = after
            .find(|character: char| !character.is_alphabetic())
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_size);
        let unit_ns: u64 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            "" => return Err(Invalid::NoUnit(text.to_owned(), DURATION_UNITS)),
            _ => return Err(Invalid::UnknownUnit(unit.to_owned(), DURATION_UNITS)),
        };
        sum_ns = number
            .checked_mul(unit_ns)
            .and_then(|part_ns| sum_ns.checked_add(part_ns))
            .ok_or_else(|| Invalid::TooLarge(text.to_owned()))?;
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(Duration::from_nanos(sum_ns));
        }
    }
}

/// The bytes `text` says: a whole number and its unit.
pub fn size(text: &str) -> Result<u64, Invalid> {
    let (number, unit) = number(text.trim(), text)?;
    let unit_size: u64 = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        "" => return Err(Invalid::NoUnit(text.to_owned(), SIZE_UNITS)),
        _ => return Err(Invalid::UnknownUnit(unit.to_owned(), SIZE_UNITS)),
    };
    number
        .checked_mul(unit_size)
        .ok_or_else(|| Invalid::TooLarge(text.to_owned()))
}

/// The number `rest` begins with, and what follows it and its space.
fn number<'t>(rest: &'t str, whole: &str) -> Result<(u64, &'t str), Invalid> {
    let digits = rest
        .find(|character: char| !character.is_ascii_digit())
        .unwrap_or(rest.len());
    let (number, after) = rest.split_at(digits);
    if number.is_empty() {
        return Err(Invalid::NoNumber(whole.to_owned()));
    }
    if after.starts_with('.') {
        return Err(Invalid::NotWhole(whole.to_owned()));
    }
    let number = number
        .parse()
        .map_err(|_overflow: std::num::ParseIntError| Invalid::TooLarge(whole.to_owned()))?;
    Ok((number, after.trim_start()))
}

/// A size in the largest unit that keeps it whole.
pub fn show_size(size: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    units
        .into_iter()
        .find(|&(shift, _)| size != 0 && size.trailing_zeros() >= shift)
        .map_or_else(
            || format!("{size} B"),
            |(shift, unit)| format!("{} {unit}", size >> shift),
        )
}

/// A duration in the largest unit that keeps it whole.
pub fn show_duration(duration: Duration) -> String {
    let ns = duration.as_nanos();
    let units: [(u128, &str); 6] = [
        (86_400_000_000_000, "d"),
        (3_600_000_000_000, "h"),
        (60_000_000_000, "m"),
        (1_000_000_000, "s"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ];
    units
        .into_iter()
        .find(|&(unit, _)| ns != 0 && ns.is_multiple_of(unit))
        .map_or_else(
            || format!("{ns}ns"),
            |(unit, name)| format!("{}{name}", ns / unit),
        )
}

/// How many there are of what `noun` names one of; its plural must be regular.
pub fn show_count<N: Copy + Display + From<u8> + PartialEq>(count: N, noun: &str) -> String {
    let plural = if count == N::from(1) {
        ""
    } else if noun.ends_with('s') {
        "es"
    } else {
        "s"
    };
    format!("{count} {noun}{plural}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};

    use super::{Invalid, duration, show_count, show_duration, show_size, size};

    #[test]
    fn durations_are_whole_numbers_with_units() {
        assert_eq!(duration("50ms"), Ok(Duration::from_millis(50)));
        assert_eq!(duration("1h 30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_mins(90)));
        assert_eq!(duration(" 2 d "), Ok(Duration::from_hours(48)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
    }

    #[test]
    fn what_is_no_duration_is_refused_with_what_is() {
        assert!(matches!(duration("50"), Err(Invalid::NoUnit(..))));
        assert!(matches!(
            duration("5 parsecs"),
            Err(Invalid::UnknownUnit(..))
        ));
        assert!(matches!(duration("-5s"), Err(Invalid::NoNumber(_))));
        assert!(matches!(duration(""), Err(Invalid::NoNumber(_))));
        assert!(matches!(duration("1.5s"), Err(Invalid::NotWhole(_))));
        assert!(matches!(
            duration("99999999999999999999s"),
            Err(Invalid::TooLarge(_))
        ));
        assert!(matches!(
            duration("999999999999d"),
            Err(Invalid::TooLarge(_))
        ));
    }

    #[test]
    fn sizes_are_whole_numbers_with_binary_units() {
        assert_eq!(size("64 KiB"), Ok(65_536));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1 B"), Ok(1));
        assert!(matches!(size("64 KB"), Err(Invalid::UnknownUnit(..))));
        assert!(matches!(size("1.5 MiB"), Err(Invalid::NotWhole(_))));
        assert!(matches!(size("64"), Err(Invalid::NoUnit(..))));
        assert!(matches!(size("99999999 TiB"), Err(Invalid::TooLarge(_))));
    }

    #[test]
    fn one_is_no_plural() {
        let shown = [0_u64, 1, 2].map(|count| show_count(count, "line"));
        assert_eq!(shown, ["0 lines", "1 line", "2 lines"]);
        assert_eq!(show_count(2_u64, "process"), "2 processes");
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(bytes in any::<u64>(), ns in any::<u64>()) {
            assert_eq!(size(&show_size(bytes)), Ok(bytes));
            let length = Duration::from_nanos(ns);
            assert_eq!(duration(&show_duration(length)), Ok(length));
        }

        #[test]
        fn any_text_is_answered(text in any::<String>()) {
            let _size = size(&text);
            let _duration = duration(&text);
        }
    }
}

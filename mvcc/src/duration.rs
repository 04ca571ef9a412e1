//! Durations as people write them: `4h`, `1h30m`, `90s`, `30d`.
//!
//! A duration is one or more whole numbers with a unit each, added up. Units: `ns`, `us`, `ms`, `s`, `m`
//! (minutes), `h`, `d` (24 hours), `w` (7 days).

use std::time::Duration;

use crate::error::{Error, Result};

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// Units with their length in nanoseconds, longest first: the order in which they are printed.
const UNITS: [(&str, u128); 8] = [
    ("w", 7 * 24 * 3600 * NANOS_PER_SECOND),
    ("d", 24 * 3600 * NANOS_PER_SECOND),
    ("h", 3600 * NANOS_PER_SECOND),
    ("m", 60 * NANOS_PER_SECOND),
    ("s", NANOS_PER_SECOND),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// Reads a duration such as `4h`, `1h30m`, `90s` or `30d`; zero is `0s`.
///
/// # Errors
/// [`Error::DurationSyntax`] where it is none (a bare number too: the unit is required),
/// [`Error::DurationRange`] where it is longer than [`Duration::MAX`].
pub fn parse_duration(text: &str) -> Result<Duration> {
    let syntax = || Error::DurationSyntax {
        text: text.to_owned(),
    };
    let range = || Error::DurationRange {
        text: text.to_owned(),
    };
    let mut total = 0_u128;
    let mut rest = text;
    loop {
        let (digits, after) = split_while(rest, |c| c.is_ascii_digit());
        let (unit, after) = split_while(after, |c| c.is_ascii_alphabetic());
        let (_, nanos) = UNITS
            .iter()
            .find(|(name, _)| *name == unit)
            .ok_or_else(syntax)?;
        if digits.is_empty() {
            return Err(syntax());
        }
        let count = digits.parse::<u128>().map_err(|_| range())?;
        total = count
            .checked_mul(*nanos)
            .and_then(|part| total.checked_add(part))
            .ok_or_else(range)?;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    let seconds = u64::try_from(total / NANOS_PER_SECOND).map_err(|_| range())?;
    let nanos = u32::try_from(total % NANOS_PER_SECOND).map_err(|_| range())?;
    Ok(Duration::new(seconds, nanos))
}

/// The longest beginning of `text` whose characters all satisfy `accept`, and the rest.
fn split_while(text: &str, accept: fn(&char) -> bool) -> (&str, &str) {
    let at = text.find(|c| !accept(&c)).unwrap_or(text.len());
    text.split_at(at)
}

/// Writes a duration exactly, in the form that [`parse_duration`] reads: `4h`, `1h30m`, `30d`, `0s`.
///
/// Days are the longest unit printed, since nobody sets a TTL of `4w2d`.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = duration.as_nanos();
    let mut text = String::new();
    for (unit, nanos) in UNITS.iter().filter(|(unit, _)| *unit != "w") {
        let count = rest / nanos;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
            rest %= nanos;
        }
    }
    if text.is_empty() {
        "0s".to_owned()
    } else {
        text
    }
}

/// Durations in JSON as the text of [`format_duration`]: `#[serde(with = "icecore_mvcc::duration_text")]`.
pub mod duration_text {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer, de::Error as _};

    /// Writes the duration as text.
    ///
    /// # Errors
    /// Only those of the serializer.
    pub fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&super::format_duration(*duration))
    }

    /// Reads the duration from text.
    ///
    /// # Errors
    /// Those of [`parse_duration`](super::parse_duration), and the deserializer's own.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::parse_duration(&text).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;

//! Times as people write them.
//!
//! | form | example | meaning |
//! |---|---|---|
//! | RFC 3339 | `2022-02-09T15:53:40.13Z`, `2022-02-09 16:53:40+01:00` | that instant; an offset is required |
//! | decimal | `1644422020.13` | seconds since the epoch, 1 to 9 digits after the point |
//! | integer | `1644422020130000000` | nanoseconds since the epoch |
//! | relative | `-10s`, `-1h30m` | that long before now; the units of [`parse_duration`] |

use crate::duration::parse_duration;
use crate::error::{Error, Result};
use crate::timestamp::Timestamp;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const FRACTION_DIGITS_MAX: usize = 9;

/// Reads a time in any of the four forms of this table; relative ones count back from `now`.
///
/// | form | example |
/// |---|---|
/// | RFC 3339, with its offset | `2022-02-09T15:53:40.13Z` |
/// | seconds with a fraction | `1644422020.13` |
/// | integer nanoseconds | `1644422020130000000` |
/// | relative | `-10s`, `-1h30m` |
///
/// # Errors
/// [`Error::TimestampSyntax`], [`Error::TimestampOffset`], [`Error::TimestampPrecision`],
/// [`Error::TimestampRange`]; for a relative time also [`Error::DurationSyntax`] and
/// [`Error::DurationRange`].
pub fn parse_timestamp(text: &str, now: Timestamp) -> Result<Timestamp> {
    let Some(duration) = text.strip_prefix('-') else {
        return parse_absolute(text);
    };
    let nanos = u64::try_from(parse_duration(duration)?.as_nanos()).ok();
    nanos
        .and_then(|back| now.nanos().checked_sub(back))
        .map(Timestamp::from_nanos)
        .ok_or_else(|| Error::TimestampRange {
            text: text.to_owned(),
        })
}

/// Reads a time in one of the forms that need no clock.
pub(crate) fn parse_absolute(text: &str) -> Result<Timestamp> {
    if is_digits(text) {
        return text
            .parse()
            .map(Timestamp::from_nanos)
            .map_err(|_| Error::TimestampRange {
                text: text.to_owned(),
            });
    }
    match text.split_once('.') {
        Some((seconds, fraction)) if is_digits(seconds) && is_digits(fraction) => {
            parse_decimal(text, seconds, fraction)
        }
        _ => parse_rfc3339(text),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn parse_decimal(text: &str, seconds: &str, fraction: &str) -> Result<Timestamp> {
    if fraction.len() > FRACTION_DIGITS_MAX {
        return Err(Error::TimestampPrecision {
            text: text.to_owned(),
        });
    }
    let nanos = seconds
        .parse::<u64>()
        .ok()
        .and_then(|seconds| seconds.checked_mul(NANOS_PER_SECOND))
        .zip(
            format!("{fraction:0<FRACTION_DIGITS_MAX$}")
                .parse::<u64>()
                .ok(),
        )
        .and_then(|(seconds, fraction)| seconds.checked_add(fraction));
    nanos
        .map(Timestamp::from_nanos)
        .ok_or_else(|| Error::TimestampRange {
            text: text.to_owned(),
        })
}

fn parse_rfc3339(text: &str) -> Result<Timestamp> {
    // jiff refuses a finer fraction too, but as mere bad syntax.
    let fraction_digits = text.split_once('.').map_or(0, |(_, after)| {
        after.bytes().take_while(u8::is_ascii_digit).count()
    });
    let instant = match text.parse::<jiff::Timestamp>() {
        Ok(instant) => instant,
        Err(_) if fraction_digits > FRACTION_DIGITS_MAX => {
            return Err(Error::TimestampPrecision {
                text: text.to_owned(),
            });
        }
        Err(_) if text.parse::<jiff::civil::DateTime>().is_ok() => {
            return Err(Error::TimestampOffset {
                text: text.to_owned(),
            });
        }
        Err(_) => {
            return Err(Error::TimestampSyntax {
                text: text.to_owned(),
            });
        }
    };
    u64::try_from(instant.as_nanosecond())
        .map(Timestamp::from_nanos)
        .map_err(|_| Error::TimestampRange {
            text: text.to_owned(),
        })
}

#[cfg(test)]
mod tests;

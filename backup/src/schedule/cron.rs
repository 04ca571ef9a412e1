//! When a schedule falls due: cron expressions of five fields, and their nicknames, in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use icecore_mvcc::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::error::{Error, Result};

/// Occurrences that are compared to tell how often a cadence comes.
const SAMPLED: usize = 100;

/// Where the sample begins: a fixed time, so that the same text always tells the same. 2024-01-01T00:00:00Z.
const SAMPLE_FROM: Timestamp = Timestamp::from_nanos(1_704_067_200_000_000_000);

/// When something comes again and again: a cron expression, read in UTC.
///
/// Five fields (minute, hour, day of month, month, day of week), or `@hourly`, `@daily` (`@midnight`), `@weekly`
/// (Sunday), `@monthly`, `@yearly` (`@annually`). Where both days are given, either of them will do. In JSON it is
/// its text.
#[derive(Clone)]
pub struct Cadence {
    text: String,
    cron: Box<Cron>,
}

impl Cadence {
    /// The first time after `time`; `None` where there is none before 2554.
    #[must_use]
    pub fn next_after(&self, time: Timestamp) -> Option<Timestamp> {
        let next = self.cron.find_next_occurrence(&civil(time)?, false).ok()?;
        instant(next)
    }

    /// The newest time that is not after `time`; `None` where there is none since 1970.
    #[must_use]
    pub fn last_at(&self, time: Timestamp) -> Option<Timestamp> {
        let last = self
            .cron
            .find_previous_occurrence(&civil(time)?, true)
            .ok()?;
        instant(last)
    }

    /// The shortest time between one and the next, of a hundred in a row.
    #[must_use]
    pub fn period(&self) -> Duration {
        let mut shortest = Duration::MAX;
        let mut before = self.next_after(SAMPLE_FROM);
        for _ in 0..SAMPLED {
            let Some(last) = before else { break };
            before = self.next_after(last);
            if let Some(next) = before {
                shortest = shortest.min(next.since(last));
            }
        }
        shortest
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

/// Whole seconds: that is how fine cron is.
fn civil(time: Timestamp) -> Option<DateTime> {
    let instant = jiff::Timestamp::from_nanosecond(i128::from(time.nanos())).ok()?;
    TimeZone::UTC
        .to_datetime(instant)
        .with()
        .subsec_nanosecond(0)
        .build()
        .ok()
}

fn instant(time: DateTime) -> Option<Timestamp> {
    let instant = TimeZone::UTC.to_timestamp(time).ok()?;
    u64::try_from(instant.as_nanosecond())
        .ok()
        .map(Timestamp::from_nanos)
}

impl FromStr for Cadence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        let refused = |reason: String| Error::CronSyntax {
            text: text.to_owned(),
            reason,
        };
        let parser = CronParser::builder()
            .seconds(Seconds::Disallowed)
            .year(Year::Disallowed)
            .build();
        let read = if text.eq_ignore_ascii_case("@midnight") {
            "@daily"
        } else {
            text
        };
        let cron = parser.parse(read).map_err(|e| refused(e.to_string()))?;
        let cadence = Self {
            text: text.to_owned(),
            cron: Box::new(cron),
        };
        if cadence.next_after(SAMPLE_FROM).is_none() {
            return Err(refused("it never comes".to_owned()));
        }
        Ok(cadence)
    }
}

impl fmt::Debug for Cadence {
    /// The text: what is made of it fills pages.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cadence({:?})", self.text)
    }
}

impl fmt::Display for Cadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq for Cadence {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Cadence {}

impl Serialize for Cadence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Cadence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

/// When a schedule takes a full. In JSON and on the command line `always`, or a cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FullCadence {
    /// Every time: there are no incrementals.
    Always,
    /// At these times; incrementals in between.
    At(Cadence),
}

/// What [`FullCadence::Always`] is written as.
const ALWAYS: &str = "always";

impl FullCadence {
    /// What a schedule takes that says nothing of fulls: every day if it comes at least every hour, every week
    /// if it comes at least every day, otherwise always.
    ///
    /// # Errors
    /// Never in practice: the expressions are good ones.
    pub fn default_for(recurring: &Cadence) -> Result<Self> {
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        match recurring.period() {
            period if period <= HOUR => Ok(Self::At("@daily".parse()?)),
            period if period <= DAY => Ok(Self::At("@weekly".parse()?)),
            _ => Ok(Self::Always),
        }
    }
}

impl FromStr for FullCadence {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text.trim().eq_ignore_ascii_case(ALWAYS) {
            true => Ok(Self::Always),
            false => Ok(Self::At(text.parse()?)),
        }
    }
}

impl fmt::Display for FullCadence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str(ALWAYS),
            Self::At(cadence) => cadence.fmt(f),
        }
    }
}

impl Serialize for FullCadence {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FullCadence {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn cadence(text: &str) -> Cadence {
        text.parse().unwrap()
    }

    #[test]
    fn times_are_utc_and_whole_seconds() {
        for (text, after, next, last) in [
            (
                "@hourly",
                "2022-02-09T15:53:40.13Z",
                "2022-02-09T16:00:00Z",
                "2022-02-09T15:00:00Z",
            ),
            (
                "@daily",
                "2022-02-09T00:00:00Z",
                "2022-02-10T00:00:00Z",
                "2022-02-09T00:00:00Z",
            ),
            (
                "@midnight",
                "2022-02-09T00:00:00.5Z",
                "2022-02-10T00:00:00Z",
                "2022-02-09T00:00:00Z",
            ),
            (
                "@WEEKLY",
                "2022-02-09T15:53:40Z",
                "2022-02-13T00:00:00Z",
                "2022-02-06T00:00:00Z",
            ),
            (
                "@monthly",
                "2022-12-09T15:53:40Z",
                "2023-01-01T00:00:00Z",
                "2022-12-01T00:00:00Z",
            ),
            (
                "@yearly",
                "2022-02-09T15:53:40Z",
                "2023-01-01T00:00:00Z",
                "2022-01-01T00:00:00Z",
            ),
            (
                "*/15 * * * *",
                "2022-02-09T15:59:59.999Z",
                "2022-02-09T16:00:00Z",
                "2022-02-09T15:45:00Z",
            ),
            (
                "30 4 * * MON-FRI",
                "2022-02-12T00:00:00Z",
                "2022-02-14T04:30:00Z",
                "2022-02-11T04:30:00Z",
            ),
            (
                "0 0 29 2 *",
                "2022-02-09T00:00:00Z",
                "2024-02-29T00:00:00Z",
                "2020-02-29T00:00:00Z",
            ),
            // Clocks go forward that night in many places, but not in UTC.
            (
                "30 2 * * *",
                "2022-03-27T02:29:00Z",
                "2022-03-27T02:30:00Z",
                "2022-03-26T02:30:00Z",
            ),
        ] {
            let cadence = cadence(text);
            assert_eq!(
                cadence.next_after(time(after)),
                Some(time(next)),
                "{text} after {after}"
            );
            assert_eq!(
                cadence.last_at(time(after)),
                Some(time(last)),
                "{text} at {after}"
            );
        }
    }

    #[test]
    fn what_is_no_cadence_is_refused() {
        for text in [
            "",
            "daily",
            "@often",
            "* * * *",
            "0 * * * * *",
            "61 * * * *",
            "0 0 30 2 *",
            "0 0 * * * 2024",
        ] {
            let error = text.parse::<Cadence>().unwrap_err();
            assert!(matches!(error, Error::CronSyntax { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn the_times_that_there_can_be_are_no_obstacle() {
        let yearly = cadence("@yearly");
        assert_eq!(yearly.last_at(Timestamp::MIN), Some(Timestamp::MIN));
        assert_eq!(cadence("5 * * * *").last_at(Timestamp::MIN), None);
        assert_eq!(yearly.next_after(Timestamp::MAX), None);
    }

    #[test]
    fn fulls_that_nobody_spoke_of_come_less_often() {
        for (recurring, full) in [
            ("* * * * *", "@daily"),
            ("@hourly", "@daily"),
            ("0 9-17 * * *", "@daily"),
            ("0 */2 * * *", "@weekly"),
            ("@daily", "@weekly"),
            ("0 0 * * MON,TUE", "@weekly"),
            ("0 0 * * MON,WED", "always"),
            ("@weekly", "always"),
            ("@monthly", "always"),
        ] {
            let default = FullCadence::default_for(&cadence(recurring)).unwrap();
            assert_eq!(default.to_string(), full, "{recurring}");
        }
        assert_eq!(
            "Always".parse::<FullCadence>().unwrap(),
            FullCadence::Always
        );
    }

    proptest! {
        #[test]
        fn next_and_last_agree(
            nanos in 0..u64::MAX / 2,
            text in prop::sample::select(vec!["@hourly", "@daily", "@weekly", "*/7 3-5 * * *", "0 0 31 * *"]),
        ) {
            let (cadence, at) = (cadence(text), Timestamp::from_nanos(nanos));
            let next = cadence.next_after(at).unwrap();
            prop_assert!(next > at);
            prop_assert_eq!(cadence.last_at(next), Some(next));
            prop_assert_eq!(cadence.last_at(next.prev()).unwrap_or(Timestamp::MIN), cadence.last_at(at).unwrap_or(Timestamp::MIN));
        }
    }
}

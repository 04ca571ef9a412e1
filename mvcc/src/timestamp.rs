//! A point in time, the second half of every version's identity.
//!
//! Nanoseconds since the Unix epoch in 64 unsigned bits: from 1970-01-01 to 2554-07-21. Two commits of
//! one engine never share a timestamp, so it is an identity as well as a time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Nanoseconds since 1970-01-01T00:00:00Z.
///
/// Displays as RFC 3339 in UTC with all nine digits of the fraction, whatever the value
/// (`2022-02-09T15:53:40.130000000Z`; [`Timestamp::MIN`] is `1970-01-01T00:00:00.000000000Z`), so texts
/// sort as the times do and [`parse_timestamp`](crate::parse_timestamp) reads each back exactly.
/// Serialises as the plain integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The epoch: before every commit. As a threshold: nothing was ever collected.
    pub const MIN: Self = Self(0);
    /// After every commit.
    pub const MAX: Self = Self(u64::MAX);

    /// The time this many nanoseconds after the epoch.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    #[must_use]
    pub const fn nanos(self) -> u64 {
        self.0
    }

    /// The next instant, one nanosecond later; [`Timestamp::MAX`] stays.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The instant before, one nanosecond earlier; [`Timestamp::MIN`] stays.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    /// This time plus a duration, at most [`Timestamp::MAX`].
    #[must_use]
    pub fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration_nanos(duration)))
    }

    /// This time minus a duration, at least [`Timestamp::MIN`].
    #[must_use]
    pub fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration_nanos(duration)))
    }

    /// How long ago `earlier` was at this time; zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

/// A duration in nanoseconds, at most `u64::MAX`.
pub(crate) fn duration_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never fails: jiff holds the years -9999 to 9999, and u64 nanoseconds end in 2554.
        let instant =
            jiff::Timestamp::from_nanosecond(i128::from(self.0)).map_err(|_| fmt::Error)?;
        write!(f, "{instant:.9}")
    }
}

impl fmt::Debug for Timestamp {
    /// The integer: tests and logs compare these more often than they date them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Timestamp({})", self.0)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    /// Reads every absolute form of [`parse_timestamp`](crate::parse_timestamp); a relative time is
    /// refused, for want of a clock.
    fn from_str(text: &str) -> Result<Self> {
        crate::timestamp_text::parse_absolute(text)
    }
}

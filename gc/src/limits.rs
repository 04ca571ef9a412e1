//! How long and how much a record may hold back, and what happens when that is too long or too much.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use icecore_mvcc::format_duration;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// What happens to a record that goes beyond a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnBreach {
    /// It is told: in the log, in metrics, by the status. The default.
    #[default]
    Warn,
    /// The record is released, with a note that says so.
    Release,
    /// Commits of user data fail until the record is released or moved, or the limit raised.
    RefuseWrites,
}

impl OnBreach {
    /// As it is written and printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warn => "warn",
            Self::Release => "release",
            Self::RefuseWrites => "refuse-writes",
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    pub(crate) fn is_warn(&self) -> bool {
        *self == Self::Warn
    }
}

impl fmt::Display for OnBreach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for OnBreach {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let all = [Self::Warn, Self::Release, Self::RefuseWrites];
        let found = all.into_iter().find(|policy| policy.as_str() == text);
        found.ok_or_else(|| Error::InvalidRequest {
            field: "on-breach",
            reason: format!("is {text:?}; it is one of warn, release, refuse-writes"),
        })
    }
}

/// How long and how much a record may hold back. By default there is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// The record's time may lie so far back.
    pub max_age: Option<Duration>,
    /// So many bytes may have been written that would be garbage but for records.
    pub max_bytes: Option<u64>,
    /// What happens beyond that.
    pub on_breach: OnBreach,
}

impl Limits {
    pub(crate) fn validate(&self) -> Result<()> {
        let (field, reason) = if self.max_age == Some(Duration::ZERO) {
            ("max-age", "is zero; give a duration, or none")
        } else if self.max_bytes == Some(0) {
            ("max-bytes", "is zero; give a number of bytes, or none")
        } else {
            return Ok(());
        };
        Err(Error::InvalidRequest {
            field,
            reason: reason.to_owned(),
        })
    }

    /// The first limit that a record of this age, which holds so many bytes, is beyond.
    pub(crate) fn breach(&self, age: Duration, bytes: Option<u64>) -> Option<Breach> {
        let too_old = self.max_age.filter(|limit| age > *limit);
        let too_old = too_old.map(|limit| Breach::Age { age, limit });
        let too_large = self.max_bytes.zip(bytes);
        let too_large = too_large.filter(|(limit, bytes)| bytes > limit);
        too_old.or(too_large.map(|(limit, bytes)| Breach::Bytes { bytes, limit }))
    }
}

/// A limit that a record is beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Breach {
    /// Its time lies too far back.
    Age {
        /// How far it lies back.
        age: Duration,
        /// How far it may.
        limit: Duration,
    },
    /// It holds too much.
    Bytes {
        /// How much it holds back.
        bytes: u64,
        /// How much it may.
        limit: u64,
    },
}

impl fmt::Display for Breach {
    /// `it is 31d old, and may be 30d`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Age { age, limit } => write!(
                f,
                "it reaches {} back, and may reach {} back",
                format_duration(Duration::from_secs(age.as_secs())),
                format_duration(*limit)
            ),
            Self::Bytes { bytes, limit } => {
                write!(f, "it holds back {bytes} bytes, and may hold {limit}")
            }
        }
    }
}

impl Serialize for Breach {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// An optional duration in JSON as text, `"30d"`.
pub(crate) mod duration {
    use std::time::Duration;

    use icecore_mvcc::{format_duration, parse_duration};
    use serde::{Deserialize, Deserializer, Serializer, de};

    #[expect(clippy::ref_option, reason = "serde passes a reference")]
    pub(crate) fn serialize<S: Serializer>(
        duration: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match duration {
            Some(duration) => serializer.serialize_some(&format_duration(*duration)),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        let parsed = text.map(|text| parse_duration(&text));
        parsed.transpose().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breach_is_beyond_the_limit_and_not_at_it() {
        let limits = Limits {
            max_age: Some(Duration::from_secs(60)),
            max_bytes: Some(100),
            on_breach: OnBreach::Warn,
        };
        let seconds = Duration::from_secs;
        assert_eq!(limits.breach(seconds(60), Some(100)), None);
        assert_eq!(limits.breach(seconds(60), None), None);
        let too_old = limits.breach(seconds(61), Some(101)).unwrap();
        assert_eq!(
            too_old.to_string(),
            "it reaches 1m1s back, and may reach 1m back"
        );
        let too_large = limits.breach(seconds(1), Some(101)).unwrap();
        assert_eq!(
            too_large.to_string(),
            "it holds back 101 bytes, and may hold 100"
        );
        assert_eq!(
            Limits::default().breach(seconds(1 << 40), Some(u64::MAX)),
            None
        );
    }

    #[test]
    fn policies_as_text() {
        for policy in [OnBreach::Warn, OnBreach::Release, OnBreach::RefuseWrites] {
            assert_eq!(policy.to_string().parse::<OnBreach>().unwrap(), policy);
            assert_eq!(serde_json::to_value(policy).unwrap(), policy.as_str());
        }
        assert_eq!(
            "stop".parse::<OnBreach>().unwrap_err().to_string(),
            "cannot protect: on-breach is \"stop\"; it is one of warn, release, refuse-writes"
        );
    }
}

//! Where a layer lies in its collection.
//!
//! A full backup lies at a path of its own, by default named for its end time in UTC, to the hundredth of
//! a second: `2022/02/09-155340.13`. An incremental lies inside its full: `20220210/155530.50`.
//! `docs/format/collection.md` describes every name.

use std::fmt;
use std::str::FromStr;

use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The longest path of a full backup, in bytes.
pub const MAX_FULL_PATH_BYTES: usize = 150;

/// How users name the newest backup, in either case.
const LATEST: &str = "LATEST";

/// Nanoseconds in a hundredth of a second.
pub(crate) const HUNDREDTH_NANOS: u64 = 10_000_000;

/// The path of a full backup within its collection: `2022/02/09-155340.13`, or one of the user's choosing.
///
/// One to eight segments of letters, digits, `.` and `-`, with `/` between; 150 bytes at most. No segment
/// is made of dots alone or is `data`; the first is not `metadata`, and is of four digits only in a path of
/// the default form. So the path of one backup by default never lies inside another's of choice. `LATEST`,
/// in either case, is no path: it means the newest. Parsing drops slashes at either end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct FullPath(String);

impl FullPath {
    /// The name of a full backup that ends then.
    #[must_use]
    pub fn at(end: Timestamp) -> Self {
        Self(utc_hundredths(end, "%Y/%m/%d-%H%M%S"))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as one segment, as it appears in the names of markers: `/` becomes `_`.
    #[must_use]
    pub fn flat(&self) -> String {
        self.0.replace('/', "_")
    }

    /// The path that [`FullPath::flat`] made this of.
    pub(crate) fn from_flat(flat: &str) -> Option<Self> {
        // No path holds '_', so the text is its own witness.
        flat.replace('_', "/")
            .parse()
            .ok()
            .filter(|path: &Self| path.flat() == flat)
    }

    /// Whether one of the two paths lies inside the other, or both are the same.
    pub(crate) fn nests_with(&self, other: &Self) -> bool {
        let inside = |outer: &str, inner: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        inside(&self.0, &other.0) || inside(&other.0, &self.0)
    }
}

impl FromStr for FullPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let path = text.trim_matches('/');
        let wrong = |reason: &str| {
            Err(Error::InvalidSubdirectory {
                text: text.to_owned(),
                reason: reason.to_owned(),
            })
        };
        let segments: Vec<&str> = path.split('/').collect();
        if path.is_empty() {
            return wrong("it is empty");
        }
        if path.len() > MAX_FULL_PATH_BYTES {
            return wrong("it is longer than 150 bytes");
        }
        if segments.len() > 8 {
            return wrong("it has more than 8 segments");
        }
        if segments
            .iter()
            .any(|segment| segment.bytes().all(|byte| byte == b'.'))
        {
            return wrong("a segment is empty or of dots alone");
        }
        if !path
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b".-/".contains(&byte))
        {
            return wrong("it holds other characters");
        }
        if segments.first() == Some(&"metadata") || segments.contains(&"data") {
            return wrong("'metadata' and 'data' have a meaning of their own");
        }
        if path.eq_ignore_ascii_case(LATEST) {
            return wrong("'LATEST' means the newest backup");
        }
        let year = |segment: &&str| {
            segment.len() == 4 && segment.bytes().all(|byte| byte.is_ascii_digit())
        };
        if segments.first().is_some_and(year) && shape(path) != "0000/00/00-000000.00" {
            return wrong("a path that begins with a year looks like 2022/02/09-155340.13");
        }
        Ok(Self(path.to_owned()))
    }
}

impl fmt::Display for FullPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<FullPath> for String {
    fn from(path: FullPath) -> Self {
        path.0
    }
}

impl TryFrom<String> for FullPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// A backup as users name it: the newest, or the one at a path.
///
/// Parses from `LATEST`, in either case, or a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackupSelector {
    /// The newest full backup and its incrementals.
    Latest,
    /// The full backup at that path and its incrementals.
    Full(FullPath),
}

impl FromStr for BackupSelector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.eq_ignore_ascii_case(LATEST) {
            Ok(Self::Latest)
        } else {
            text.parse().map(Self::Full)
        }
    }
}

impl fmt::Display for BackupSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latest => f.write_str(LATEST),
            Self::Full(path) => path.fmt(f),
        }
    }
}

/// The path of an incremental within its full backup: `20220210/155530.50`, its end time in UTC.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct IncrementalPath(String);

impl IncrementalPath {
    /// The name of an incremental that ends then.
    #[must_use]
    pub fn at(end: Timestamp) -> Self {
        Self(utc_hundredths(end, "%Y%m%d/%H%M%S"))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path as one segment, as it appears in the names of markers: `/` becomes `_`.
    #[must_use]
    pub fn flat(&self) -> String {
        self.0.replace('/', "_")
    }
}

impl FromStr for IncrementalPath {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if shape(text) != "00000000/000000.00" {
            let reason = "an incremental's path looks like 20220210/155530.50".to_owned();
            return Err(Error::InvalidSubdirectory {
                text: text.to_owned(),
                reason,
            });
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for IncrementalPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<IncrementalPath> for String {
    fn from(path: IncrementalPath) -> Self {
        path.0
    }
}

impl TryFrom<String> for IncrementalPath {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// The path of a layer: a full backup, or an incremental inside one.
///
/// Displays as the path from the collection's root, `2022/02/09-155340.13/20220210/155530.50`; serialises
/// as `{"full": …, "incremental": …}`, the latter null for a full.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct LayerPath {
    full: FullPath,
    incremental: Option<IncrementalPath>,
}

impl LayerPath {
    /// The full backup at that path.
    #[must_use]
    pub const fn full_at(full: FullPath) -> Self {
        Self {
            full,
            incremental: None,
        }
    }

    /// An incremental of that full backup.
    #[must_use]
    pub const fn incremental_at(full: FullPath, incremental: IncrementalPath) -> Self {
        Self {
            full,
            incremental: Some(incremental),
        }
    }

    /// The path of the full backup that the layer is, or lies in.
    #[must_use]
    pub const fn full(&self) -> &FullPath {
        &self.full
    }

    /// The incremental's path within its full; `None` for a full.
    #[must_use]
    pub const fn incremental(&self) -> Option<&IncrementalPath> {
        self.incremental.as_ref()
    }

    /// The path of an object of this layer.
    pub(crate) fn object(&self, name: impl fmt::Display) -> object_store::path::Path {
        object_store::path::Path::from(format!("{self}/{name}"))
    }
}

impl fmt::Display for LayerPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.full)?;
        self.incremental
            .iter()
            .try_for_each(|incremental| write!(f, "/{incremental}"))
    }
}

/// The text with every digit replaced by 0. A path's shape is checked; the time it spells is never read.
fn shape(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_ascii_digit() { '0' } else { c })
        .collect()
}

/// A time in UTC as the date and time of `format`, then a point and hundredths, rounded down.
fn utc_hundredths(time: Timestamp, format: &str) -> String {
    // Never the fallback: u64 nanoseconds end in 2554, well inside jiff's range.
    let instant = jiff::Timestamp::from_nanosecond(i128::from(time.nanos()))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let hundredths = time.nanos() / HUNDREDTH_NANOS % 100;
    format!("{}.{hundredths:02}", instant.strftime(format))
}

#[cfg(test)]
mod tests;

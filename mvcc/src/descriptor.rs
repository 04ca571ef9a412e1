//! What is known of a keyspace: its id, settings and life.
//!
//! Descriptors are versioned rows of the engine's system keyspace and part of every manifest, as JSON.
//! Unknown fields are ignored, so that an older reader takes a newer descriptor; missing settings take
//! their defaults, so that a newer reader takes an older one. The text is pinned by a golden test and
//! described in `docs/format/values.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::duration::duration_text;
use crate::error::{Error, Result};
use crate::timestamp::Timestamp;

/// How long old versions stay readable unless a keyspace says otherwise: 4 hours.
pub const DEFAULT_GC_TTL: Duration = Duration::from_secs(4 * 3600);

/// Names a keyspace for its life within one engine; never given again. The engine hands them out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyspaceId(u32);

impl KeyspaceId {
    /// The id of this number.
    #[must_use]
    pub const fn new(id: u32) -> Self {
        Self(id)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for KeyspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a keyspace's owner chooses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KeyspaceSettings {
    /// How long a version stays readable after a newer one shadows it. Default 4 hours; in JSON as text,
    /// `"4h"`.
    #[serde(with = "duration_text")]
    pub gc_ttl: Duration,
    /// Where its data belongs, as tags such as `region` = `us`. Default none.
    pub locality: BTreeMap<String, String>,
    /// Whether backups leave its rows out. Default no.
    pub exclude_from_backup: bool,
}

impl Default for KeyspaceSettings {
    fn default() -> Self {
        Self {
            gc_ttl: DEFAULT_GC_TTL,
            locality: BTreeMap::new(),
            exclude_from_backup: false,
        }
    }
}

impl KeyspaceSettings {
    /// Checks that every locality tag can be written as `key=value` and read back.
    ///
    /// # Errors
    /// [`Error::Locality`].
    pub fn validate(&self) -> Result<()> {
        let parts: Vec<String> = self
            .locality
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let text = parts.join(",");
        if parse_locality(&text)? == self.locality {
            return Ok(());
        }
        let reason = "a tag holds a comma or a '='".to_owned();
        Err(Error::Locality { text, reason })
    }
}

/// Reads locality tags written as `region=us,zone=a`; the empty text has none.
///
/// # Errors
/// [`Error::Locality`] if a pair lacks its key, its value or its `=`, has a second `=`, or repeats a key.
pub fn parse_locality(text: &str) -> Result<BTreeMap<String, String>> {
    let mut tags = BTreeMap::new();
    for pair in text.split(',').filter(|_| !text.is_empty()) {
        let wrong = |reason: String| Error::Locality {
            text: text.to_owned(),
            reason,
        };
        let fault = match pair.split_once('=') {
            None if pair.is_empty() => "it has an empty pair".to_owned(),
            None => format!("{pair:?} has no '='"),
            Some(("", _)) => format!("{pair:?} has no key"),
            Some((_, "")) => format!("{pair:?} has no value"),
            Some((_, value)) if value.contains('=') => format!("{pair:?} has a second '='"),
            Some((key, value)) => match tags.insert(key.to_owned(), value.to_owned()) {
                None => continue,
                Some(_) => format!("key {key:?} comes twice"),
            },
        };
        return Err(wrong(fault));
    }
    Ok(tags)
}

/// A keyspace as the catalog knows it at some time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Descriptor {
    /// Its id in the engine that wrote this.
    pub id: KeyspaceId,
    /// Its name, one that [`KeyspaceName`](crate::KeyspaceName) accepts.
    pub name: String,
    /// What its owner chose.
    #[serde(default)]
    pub settings: KeyspaceSettings,
    /// When it was created, restored or not.
    pub created: Timestamp,
    /// When it was dropped; not at all if `None`.
    #[serde(default)]
    pub dropped: Option<Timestamp>,
    /// When rows last came into it other than by commits: its creation, or the restore that filled it. A
    /// backup layer that ends earlier does not cover it.
    pub introduced: Timestamp,
    /// The commit index covers every version in it that is newer than this.
    pub index_since: Timestamp,
}

impl Descriptor {
    /// Whether it existed at that time: created by then, and not dropped by then.
    #[must_use]
    pub fn is_live_at(&self, at: Timestamp) -> bool {
        self.created <= at && self.dropped.is_none_or(|dropped| at < dropped)
    }

    /// When a restore published it, if it came by one: the commit index then begins with it.
    #[must_use]
    pub fn restored(&self) -> Option<Timestamp> {
        let by_restore = self.index_since > Timestamp::MIN && self.index_since == self.created;
        by_restore.then_some(self.created)
    }
}

#[cfg(test)]
mod tests;

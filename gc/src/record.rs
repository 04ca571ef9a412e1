//! Protected-timestamp records: what they say, to whom they apply, how they are spelled.
//!
//! A record is one system row of kind `protected`, keyed by its id, holding JSON; the bytes are
//! described in `docs/format/protected.md`. Fields that this version does not know are kept when a
//! record is rewritten. A target of an unknown kind is an error, never ignored: garbage would be
//! collected that a newer version promised to keep.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use icecore_mvcc::{Descriptor, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::error::{Error, Result};
use crate::holder::Holder;
use crate::limits::{self, Limits, OnBreach};
use crate::target::Target;

/// The longest owner text, in bytes.
pub const MAX_OWNER_BYTES: usize = 256;

/// Names a record. As text, a UUID: `7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RecordId(Uuid);

impl RecordId {
    /// A fresh random id.
    pub(crate) fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// Reads an id, with or without its hyphens.
    ///
    /// # Errors
    /// [`Error::RecordIdSyntax`].
    pub fn parse(text: &str) -> Result<Self> {
        Uuid::parse_str(text)
            .map(Self)
            .map_err(|_| Error::RecordIdSyntax {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

impl FromStr for RecordId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// What to protect, and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectRequest {
    /// Reads at and after this time stay whole.
    pub timestamp: Timestamp,
    /// In which keyspaces.
    pub target: Target,
    /// Who wants it, for the operator who finds it later: 1 to 256 bytes on one line.
    pub owner: String,
    /// Whose it is, for programs. Default: nobody's that could be dead; it stands until it is released.
    pub holder: Option<Holder>,
    /// How long and how much it may hold back. Default: no limit.
    pub limits: Limits,
}

impl ProtectRequest {
    /// A request with the defaults of everything else.
    pub fn new(timestamp: Timestamp, target: Target, owner: impl Into<String>) -> Self {
        Self {
            timestamp,
            target,
            owner: owner.into(),
            holder: None,
            limits: Limits::default(),
        }
    }

    /// The same for a holder.
    #[must_use]
    pub fn held_by(self, holder: Holder) -> Self {
        Self {
            holder: Some(holder),
            ..self
        }
    }

    /// The same with limits.
    #[must_use]
    pub fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Checks what can be checked without an engine.
    ///
    /// # Errors
    /// [`Error::InvalidRequest`].
    pub fn validate(&self) -> Result<()> {
        let reason = if self.owner.trim().is_empty() {
            "is empty; say who needs the record".to_owned()
        } else if self.owner.len() > MAX_OWNER_BYTES {
            format!(
                "has {} bytes; the maximum is {MAX_OWNER_BYTES}",
                self.owner.len()
            )
        } else if self.owner.contains(char::is_control) {
            "has control characters; write it on one line".to_owned()
        } else {
            self.limits.validate()?;
            return self.target.validate();
        };
        Err(Error::InvalidRequest {
            field: "owner",
            reason,
        })
    }
}

/// For whose reads a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// For any: what it names is held, without exception.
    #[default]
    Reads,
    /// For the next backup of a chain. It spares keyspaces that are excluded from backups: their rows are in
    /// no layer, so that no backup reads them; once included again, they are taken from zero.
    Backups,
}

impl Purpose {
    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "serde passes a reference"
    )]
    fn is_reads(&self) -> bool {
        *self == Self::Reads
    }
}

/// A protected timestamp: no threshold of a keyspace that it applies to passes it while it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its id, for ever.
    pub id: RecordId,
    /// Reads at and after this time stay whole.
    pub timestamp: Timestamp,
    /// In which keyspaces.
    pub target: Target,
    /// Who wants it.
    pub owner: String,
    /// When it was made.
    pub created: Timestamp,
    /// For whose reads.
    #[serde(default, skip_serializing_if = "Purpose::is_reads")]
    pub purpose: Purpose,
    /// Whose it is, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holder: Option<Holder>,
    /// Its time may lie so far back; in JSON as text, `"30d"`.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        with = "limits::duration"
    )]
    pub max_age: Option<Duration>,
    /// It may hold back so many bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<u64>,
    /// What happens beyond a limit.
    #[serde(default, skip_serializing_if = "OnBreach::is_warn")]
    pub on_breach: OnBreach,
    /// Since when its holder is known to be dead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead_since: Option<Timestamp>,
    /// What a newer version wrote beside that; kept when the record is moved.
    #[serde(flatten)]
    unknown: serde_json::Map<String, serde_json::Value>,
}

impl Record {
    pub(crate) fn new(
        id: RecordId,
        request: ProtectRequest,
        purpose: Purpose,
        created: Timestamp,
    ) -> Self {
        let ProtectRequest {
            timestamp,
            target,
            owner,
            holder,
            limits,
        } = request;
        Self {
            id,
            timestamp,
            target,
            owner,
            created,
            purpose,
            holder,
            max_age: limits.max_age,
            max_bytes: limits.max_bytes,
            on_breach: limits.on_breach,
            dead_since: None,
            unknown: serde_json::Map::new(),
        }
    }

    /// Whether it holds a keyspace back: its target matches, the keyspace could still be read at the
    /// record's time (it was not dropped by then), and its purpose does not spare it.
    pub fn applies_to(&self, keyspace: &Descriptor) -> bool {
        let spared = self.purpose == Purpose::Backups && keyspace.settings.exclude_from_backup;
        !spared
            && self.target.matches(&keyspace.name)
            && keyspace
                .dropped
                .is_none_or(|dropped| self.timestamp < dropped)
    }

    /// How long and how much it may hold back.
    pub fn limits(&self) -> Limits {
        Limits {
            max_age: self.max_age,
            max_bytes: self.max_bytes,
            on_breach: self.on_breach,
        }
    }

    /// The record at a later time; none where it is there already.
    pub(crate) fn moved(&self, to: Timestamp) -> Result<Option<Self>> {
        let (id, from) = (self.id, self.timestamp);
        if to < from {
            return Err(Error::Backwards { id, from, to });
        }
        Ok((to > from).then(|| Self {
            timestamp: to,
            ..self.clone()
        }))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::UnreadableRecord {
            id: self.id.to_string(),
            reason: e.to_string(),
        })
    }

    pub(crate) fn decode(key: &str, json: &[u8]) -> Result<Self> {
        let unreadable = |reason| Error::UnreadableRecord {
            id: key.to_owned(),
            reason,
        };
        let record: Self = serde_json::from_slice(json).map_err(|e| unreadable(e.to_string()))?;
        if record.id.to_string() != key {
            return Err(unreadable(format!("it says that its id is {}", record.id)));
        }
        Ok(record)
    }
}

#[cfg(test)]
mod tests;

//! What a round did.

use std::time::Duration;

use icecore_mvcc::{KeyspaceId, Timestamp, duration_text};
use serde::{Serialize, Serializer};

use crate::policy::HeldBy;
use crate::releases::Release;

/// What one round did.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct GcReport {
    /// The engine's time by which the round decided.
    pub now: Timestamp,
    /// The chosen keyspaces by id, dropped ones too, and last the system keyspace.
    pub keyspaces: Vec<KeyspaceGcReport>,
    /// Names of dropped keyspaces that are gone for good since this round.
    pub purged: Vec<String>,
    /// Records that the round released: beyond a limit, or of a dead holder.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub released: Vec<Release>,
    /// The commit index is gone up to here.
    pub index_low_water: Timestamp,
    /// How long it took; in JSON `seconds`.
    #[serde(rename = "seconds", serialize_with = "seconds")]
    pub elapsed: Duration,
}

impl GcReport {
    /// Versions that the sweep removed, in all keyspaces.
    pub fn removed_versions(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.removed_versions).sum()
    }

    /// Bytes of the keyspaces before the round.
    pub fn bytes_before(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.bytes_before).sum()
    }

    /// Bytes of the keyspaces after the round.
    pub fn bytes_after(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.bytes_after).sum()
    }
}

/// What one round did to one keyspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyspaceGcReport {
    /// Its id; 0 is the system keyspace.
    pub id: KeyspaceId,
    /// Its name.
    pub name: String,
    /// When it was dropped, if it was.
    pub dropped: Option<Timestamp>,
    /// The TTL by which the round decided; in JSON as text, `"4h"`.
    #[serde(with = "duration_text")]
    pub ttl: Duration,
    /// Its threshold before the round; 0 where it never rose.
    pub threshold_before: Timestamp,
    /// Its threshold after the round.
    pub threshold_after: Timestamp,
    /// What kept the threshold from rising further.
    pub held_by: HeldBy,
    /// Deleted keys that the sweep looked at.
    pub swept_keys: u64,
    /// Versions, tombstones included, that the sweep removed. What compactions drop is not in it.
    pub removed_versions: u64,
    /// Bytes of its files and memtables before the round.
    pub bytes_before: u64,
    /// The same afterwards; 0 if it was purged. A sweep writes before it frees: without a
    /// compaction this may be higher for a while.
    pub bytes_after: u64,
}

/// A duration in JSON as seconds.
pub(crate) fn seconds<S: Serializer>(
    duration: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64())
}

/// A duration in JSON as seconds, or `null`.
pub(crate) fn optional_seconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

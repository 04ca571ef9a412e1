//! What a backup did.

use icecore_archive::{ContentHash, LayerKind, LayerPath};
use icecore_mvcc::{Fingerprint, Timestamp};
use serde::{Serialize, Serializer};

/// What a backup did.
#[derive(Debug, Clone, Serialize)]
pub struct BackupReport {
    /// Where the layer lies in the collection.
    pub layer: LayerPath,
    /// Full or incremental.
    pub kind: LayerKind,
    /// Where it begins (excluded); zero for a full.
    pub start: Timestamp,
    /// Where it ends (included).
    pub end: Timestamp,
    /// Whether any time in the window can be restored.
    pub revision_history: bool,
    /// Hash of the manifest: the head to expect at a restore.
    pub manifest_hash: ContentHash,
    /// What it holds, by keyspace.
    pub keyspaces: Vec<KeyspaceReport>,
    /// How long it took.
    pub seconds: f64,
}

/// What a backup did with one keyspace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct KeyspaceReport {
    /// Its name.
    pub name: String,
    /// Whether it was exported whole.
    pub introduced: bool,
    /// How its versions were found.
    pub how: String,
    /// Where it was exported whole because its GC threshold, this, had passed the chain's end: that threshold.
    /// As text in JSON, and left out if there was no gap.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub gc_gap: Option<Timestamp>,
    /// Files stored.
    pub files: u64,
    /// Versions stored, tombstones included.
    pub entries: u64,
    /// Tombstones stored.
    pub tombstones: u64,
    /// Bytes of keys and values before encoding and compression.
    pub logical_bytes: u64,
    /// Bytes of the files.
    pub stored_bytes: u64,
    /// The fingerprint of its state at the layer's end, or just before its drop, if one was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

fn as_text<S: Serializer>(gap: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    gap.map(|threshold| threshold.to_string())
        .serialize(serializer)
}

impl BackupReport {
    /// Files stored.
    pub fn files(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.files).sum()
    }

    /// Versions stored, tombstones included.
    pub fn entries(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.entries).sum()
    }

    /// Bytes of keys and values before encoding and compression.
    pub fn logical_bytes(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.logical_bytes).sum()
    }

    /// Bytes of the files.
    pub fn stored_bytes(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.stored_bytes).sum()
    }
}

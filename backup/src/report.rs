//! What a backup did.

use icecore_archive::{ContentHash, FileEntry, LayerKind, LayerPath};
use icecore_mvcc::{Fingerprint, Timestamp};
use serde::{Serialize, Serializer};

use crate::mode::Method;

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
    /// How the files were made.
    pub method: Method,
    /// Why so.
    pub method_reason: String,
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
    /// Files among them that are copies of live ones. Versions and logical bytes are then what there is at
    /// most, since some files hide rows of others; tombstones are those of the other files.
    pub copied_files: u64,
    /// Files among the copied that the pool had already.
    pub reused_files: u64,
    /// Bytes of those.
    pub reused_bytes: u64,
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

impl KeyspaceReport {
    pub(crate) fn add(&mut self, file: &FileEntry, reused: bool) {
        self.files += 1;
        self.copied_files += u64::from(file.copied.is_some());
        if reused {
            self.reused_files += 1;
            self.reused_bytes = self.reused_bytes.saturating_add(file.stored_bytes);
        }
        self.entries = self.entries.saturating_add(file.entries);
        self.tombstones = self.tombstones.saturating_add(file.tombstones);
        self.logical_bytes = self.logical_bytes.saturating_add(file.logical_bytes);
        self.stored_bytes = self.stored_bytes.saturating_add(file.stored_bytes);
    }
}

impl BackupReport {
    /// Files stored.
    pub fn files(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.files).sum()
    }

    /// Files that the pool had already.
    pub fn reused_files(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.reused_files).sum()
    }

    /// Bytes of the files that the pool had already.
    pub fn reused_bytes(&self) -> u64 {
        self.keyspaces.iter().map(|k| k.reused_bytes).sum()
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

//! What a compaction did.

use icecore_archive::{ContentHash, FullPath, LayerPath};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use super::plan::Left;

/// What a compaction did.
#[derive(Debug, Clone, Serialize)]
pub struct CompactReport {
    /// The chain.
    pub full: FullPath,
    /// The layers that were made, in order.
    pub merged: Vec<MergedLayer>,
    /// The incrementals that were left as they are.
    pub left: Vec<Left>,
    /// How long it took.
    pub seconds: f64,
}

/// A layer that was made of others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MergedLayer {
    /// Where it lies.
    pub layer: LayerPath,
    /// Where it begins (excluded).
    pub start: Timestamp,
    /// Where it ends (included).
    pub end: Timestamp,
    /// Whether any time in it can be restored.
    pub revision_history: bool,
    /// The layers that it was made of, in order.
    pub parts: Vec<LayerPath>,
    /// Bytes of the files that were read.
    pub read_bytes: u64,
    /// Files stored.
    pub files: u64,
    /// Versions stored, tombstones included.
    pub entries: u64,
    /// Bytes of the files stored.
    pub stored_bytes: u64,
    /// Hash of its manifest.
    pub manifest_hash: ContentHash,
}

impl CompactReport {
    /// Bytes of the files stored.
    pub fn stored_bytes(&self) -> u64 {
        icecore_archive::total(self.merged.iter().map(|layer| layer.stored_bytes))
    }
}

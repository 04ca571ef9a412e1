//! Bugs planted in the adapter between the driver and its subject, to show that the checks fire.

use std::path::Path;

use icecore_archive::{Chain, Collection, FileEntry, LayerKind, Manifest, ManifestKeyspace};
use icecore_engine::{ChangeOptions, ChangeSet, Compression, Engine, Window};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::Result;

/// What the subject is made to do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A commit is acknowledged that was not made.
    LosesACommit,
    /// An incremental leaves out the first tombstone of its window.
    IncrementalDropsATombstone,
    /// A restore ends one nanosecond early.
    RestoresTooLittle,
    /// A backup is read in place as of one nanosecond early.
    ReadsInPlaceTooLittle,
    /// Collection takes no notice of protected timestamps.
    CollectsWhatIsProtected,
    /// The time-bounded iterator leaves out the first instant of its window.
    WindowBeginsLate,
    /// Reads are of the instant before.
    ReadsThePast,
    /// A layer's fingerprint misses a row.
    FingerprintMissesARow,
    /// Retention keeps a full fewer than it was told to.
    ExpiresTooMuch,
    /// A merged chain ends one nanosecond early.
    MergesTooLittle,
}

impl Bug {
    /// Whether it makes layers that no backup made.
    pub(crate) const fn spoils_layers(self) -> bool {
        matches!(self, Self::IncrementalDropsATombstone)
    }
}

/// An incremental as somebody would write it who forgot that deletes are changes: of every keyspace that
/// the chain has, all that changed but for the first tombstone.
///
/// It goes through the same writer and manifest as a right one, so only reading it back tells.
pub(crate) async fn incremental_without_a_tombstone(
    engine: &Engine,
    collection: &Collection,
    chain: &Chain,
    end: Timestamp,
    staging: &Path,
) -> Result<()> {
    let parent = collection.read_layer(&chain.head()?).await?;
    let writer = collection.begin_incremental(chain, end).await?;
    let window = Window {
        after: parent.end,
        until: end,
    };
    let mut keyspaces = Vec::new();
    for before in &parent.keyspaces {
        let keyspace = engine.keyspace_by_id(before.descriptor.id)?;
        let path = staging.join(format!("{}.sst", keyspace.id()));
        let mut sst = engine.sst_writer(&path, Compression::Lz4)?;
        let mut forgotten = false;
        let rows = keyspace.changes(
            &KeyRange::all(),
            window,
            ChangeSet::Latest,
            &ChangeOptions::default(),
        )?;
        for row in rows {
            let row = row?;
            if row.value.is_none() && !forgotten {
                forgotten = true;
            } else {
                sst.add(&row.key, row.ts, row.value.as_deref())?;
            }
        }
        let mut files = Vec::new();
        if sst.entries() > 0 {
            let summary = sst.finish()?;
            let stored = writer.put_file(&summary.path).await?;
            files.push(FileEntry {
                id: stored.id,
                span: FileEntry::span_of(&summary.first_key, &summary.last_key),
                min_ts: summary.min_ts,
                max_ts: summary.max_ts,
                entries: summary.entries,
                tombstones: summary.tombstones,
                logical_bytes: summary.logical_bytes,
                stored_bytes: stored.stored_bytes,
                crc32: stored.crc32,
                blake3: stored.blake3,
                copied: None,
                locality: None,
            });
        }
        keyspaces.push(ManifestKeyspace {
            descriptor: keyspace.descriptor(),
            introduced: false,
            gc_gap: None,
            revision_start: None,
            files,
            fingerprint: None,
        });
    }
    let manifest = Manifest {
        kind: LayerKind::Incremental,
        layer: writer.layer().clone(),
        parent_manifest: writer.parent_manifest(),
        merges: Vec::new(),
        start: writer.start(),
        end,
        created_at: end,
        revision_history: false,
        keyspaces,
        ..parent
    };
    writer.commit(manifest).await?;
    Ok(())
}

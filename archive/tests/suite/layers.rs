//! Layers of made-up files. Testkit's tests on real stores use this file too: archive's own tests do
//! without testkit, which brings RocksDB.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::path::{Path as LocalPath, PathBuf};

use icecore_archive::{
    Chain, ChainId, Collection, ContentHash, FileEntry, LayerEntry, LayerKind, LayerWriter,
    Manifest, ManifestKeyspace, Result, StoredFile,
};
use icecore_mvcc::{Descriptor, EngineId, KeyspaceId, KeyspaceSettings, Timestamp};

/// 2022-02-09T15:53:40.13Z.
pub(crate) const FULL_END: Timestamp = Timestamp::from_nanos(1_644_422_020_130_000_000);

/// 2022-02-10T15:55:30.50Z.
pub(crate) const INCREMENTAL_END: Timestamp = Timestamp::from_nanos(1_644_508_530_500_000_000);

/// Local files to upload.
pub(crate) struct Files(tempfile::TempDir);

impl Files {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A file of that many bytes that do not repeat soon.
    pub(crate) fn make(&self, name: &str, bytes: usize) -> PathBuf {
        let seed = name.bytes().fold(7_u64, |seed, byte| {
            seed.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let content: Vec<u8> = (0..bytes as u64)
            .map(|n| ((n ^ seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8)
            .collect();
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }
}

/// The manifest entry of a stored file, of made-up content.
pub(crate) fn entry(stored: StoredFile, start: Timestamp, end: Timestamp) -> FileEntry {
    FileEntry {
        id: stored.id,
        span: FileEntry::span_of(b"a", b"z"),
        min_ts: start.next(),
        max_ts: end,
        entries: 10,
        tombstones: 1,
        logical_bytes: 2 * stored.stored_bytes,
        stored_bytes: stored.stored_bytes,
        crc32: stored.crc32,
        blake3: stored.blake3,
        copied: None,
        locality: None,
    }
}

/// The manifest of a layer with these files in one keyspace.
pub(crate) fn manifest(
    collection: &Collection,
    writer: &LayerWriter,
    chain_id: ChainId,
    files: &[StoredFile],
) -> Manifest {
    let descriptor = Descriptor {
        id: KeyspaceId::new(1),
        name: "bank.customers".to_owned(),
        settings: KeyspaceSettings::default(),
        created: Timestamp::from_nanos(1),
        dropped: None,
        introduced: Timestamp::from_nanos(1),
        index_since: Timestamp::MIN,
    };
    let incremental = writer.parent_manifest().is_some();
    Manifest {
        collection_id: collection.id(),
        chain_id,
        engine_id: EngineId::from_bytes([9; 16]),
        engine_version: "0.1.0".to_owned(),
        tool_version: "0.1.0".to_owned(),
        kind: if incremental {
            LayerKind::Incremental
        } else {
            LayerKind::Full
        },
        layer: writer.layer().clone(),
        parent_manifest: writer.parent_manifest(),
        merges: writer.merges().to_vec(),
        start: writer.start(),
        end: writer.end(),
        created_at: writer.end(),
        revision_history: false,
        whole_engine: true,
        patterns: vec![],
        keyspaces: vec![ManifestKeyspace {
            descriptor,
            introduced: !incremental,
            gc_gap: None,
            revision_start: None,
            files: files
                .iter()
                .map(|file| entry(*file, writer.start(), writer.end()))
                .collect(),
            fingerprint: None,
        }],
        system: Default::default(),
    }
}

/// Puts the files and commits.
pub(crate) async fn finish(
    collection: &Collection,
    writer: LayerWriter,
    files: &[&LocalPath],
) -> Result<LayerEntry> {
    let mut stored = Vec::new();
    for file in files {
        stored.push(writer.put_file(file).await?);
    }
    let manifest = manifest(collection, &writer, ChainId::from_bytes([5; 16]), &stored);
    writer.commit(manifest).await
}

/// A full backup of these files that ends then.
pub(crate) async fn full(
    collection: &Collection,
    end: Timestamp,
    files: &[&LocalPath],
) -> Result<LayerEntry> {
    finish(collection, collection.begin_full(end, None).await?, files).await
}

/// An incremental of these files that ends then.
pub(crate) async fn incremental(
    collection: &Collection,
    chain: &Chain,
    end: Timestamp,
    files: &[&LocalPath],
) -> Result<LayerEntry> {
    finish(
        collection,
        collection.begin_incremental(chain, end).await?,
        files,
    )
    .await
}

/// The hash of a local file.
pub(crate) fn hash_of(path: &LocalPath) -> ContentHash {
    ContentHash::of(&std::fs::read(path).unwrap())
}

//! What the integration tests share: collections on every local store, and layers of made-up files.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::path::{Path as LocalPath, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use icecore_archive::object_store::ObjectStore;
use icecore_archive::plan::{self, Target};
use icecore_archive::{
    BackupSelector, Chain, ChainId, Collection, CollectionUri, ContentHash, Decorate, Error,
    FileEntry, LayerEntry, LayerKind, LayerWriter, Manifest, ManifestKeyspace, Result,
    RetryOptions, StoreOptions, StoredFile,
};
use icecore_mvcc::{Descriptor, EngineId, KeyspaceId, KeyspaceSettings, ManualClock, Timestamp};

/// 2022-02-09T15:53:40.13Z.
pub(crate) const FULL_END: Timestamp = Timestamp::from_nanos(1_644_422_020_130_000_000);

/// 2022-02-10T15:55:30.50Z.
pub(crate) const INCREMENTAL_END: Timestamp = Timestamp::from_nanos(1_644_508_530_500_000_000);

/// A memory store of its own.
pub(crate) fn memory_uri() -> CollectionUri {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("memory://test-{}", NEXT.fetch_add(1, Ordering::Relaxed))
        .parse()
        .unwrap()
}

/// Options whose retries wait next to nothing, and whose clock stands still.
pub(crate) fn options() -> StoreOptions {
    let nanos = std::time::Duration::from_nanos;
    StoreOptions {
        retry: RetryOptions {
            initial_backoff: nanos(1),
            max_backoff: nanos(10),
            ..RetryOptions::default()
        },
        clock: Arc::new(ManualClock::new(FULL_END)),
        ..StoreOptions::default()
    }
}

/// Options that put something between the collection and its store.
pub(crate) fn decorated(
    decorate: impl Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> + Send + Sync + 'static,
) -> StoreOptions {
    let decorate: Decorate = Arc::new(decorate);
    StoreOptions {
        decorate: Some(decorate),
        ..options()
    }
}

/// The bare store of a collection.
pub(crate) async fn bare(uri: &CollectionUri) -> Arc<dyn ObjectStore> {
    let seen: Arc<Mutex<Option<Arc<dyn ObjectStore>>>> = Arc::default();
    let slot = seen.clone();
    let options = decorated(move |store| {
        *slot.lock().unwrap() = Some(store.clone());
        store
    });
    Collection::create_or_open(uri, options).await.unwrap();
    let store = seen.lock().unwrap().clone();
    store.unwrap()
}

/// The paths of all objects, sorted.
pub(crate) async fn objects(store: &Arc<dyn ObjectStore>) -> Vec<String> {
    let mut paths: Vec<String> = store
        .list(None)
        .map(|object| object.unwrap().location.to_string())
        .collect::<Vec<_>>()
        .await;
    paths.sort();
    paths
}

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
        start: writer.start(),
        end: writer.end(),
        created_at: writer.end(),
        revision_history: false,
        whole_engine: true,
        patterns: vec![],
        keyspaces: vec![ManifestKeyspace {
            descriptor,
            introduced: !incremental,
            revision_start: None,
            files: files
                .iter()
                .map(|file| entry(*file, writer.start(), writer.end()))
                .collect(),
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

/// Compares with `tests/golden/<name>`; with `ICECORE_BLESS` set, writes it instead.
pub(crate) fn check_golden(name: &str, actual: &str) {
    let path = LocalPath::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    icecore_golden::file::check(&path, actual);
}

/// Reads everything that is listed; returns how many layers there are.
pub(crate) async fn read_all(uri: &CollectionUri) -> usize {
    let collection = match Collection::create_or_open(uri, options()).await {
        Ok(collection) => collection,
        // Torn when it was made: nothing can have been written into it.
        Err(Error::DamagedMarker { .. }) => return 0,
        Err(error) => panic!("{error}"),
    };
    let mut layers = 0;
    for chain in collection.chains().await.unwrap() {
        for entry in plan::chain(chain.layers(), Target::Latest).unwrap() {
            layers += 1;
            let manifest = collection.read_layer(&entry).await.unwrap();
            for (_, file) in manifest.files() {
                collection.verify_file(&entry.path, file).await.unwrap();
            }
        }
    }
    layers
}

pub(crate) async fn latest(collection: &Collection) -> Chain {
    collection
        .open_chain(&BackupSelector::Latest)
        .await
        .unwrap()
}

/// Options that upload everything above 1,000 bytes in parts of 400.
pub(crate) fn in_parts(options: StoreOptions) -> StoreOptions {
    StoreOptions {
        multipart_threshold_bytes: 1000,
        part_bytes: 400,
        upload_memory_bytes: 1000,
        ..options
    }
}

/// A marker's content.
pub(crate) fn with_crc(json: &str) -> String {
    format!("{json}\n{:08x}\n", crc32fast::hash(json.as_bytes()))
}

//! What the integration tests share: collections on every local store, in different conditions.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::path::Path as LocalPath;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use icecore_archive::object_store::ObjectStore;
use icecore_archive::plan::{self, Target};
use icecore_archive::{
    BackupSelector, Chain, Collection, CollectionUri, Decorate, Error, RetryOptions, StoreOptions,
};
use icecore_mvcc::ManualClock;

pub(crate) use crate::layers::*;

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

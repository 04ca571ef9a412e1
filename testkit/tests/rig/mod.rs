//! An engine with one keyspace, a collection, and short words for what is done with them.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::StreamExt;
use icecore_archive::object_store::path::Path as ObjectPath;
use icecore_archive::object_store::{ObjectStore, ObjectStoreExt};
use icecore_archive::{
    BackupSelector, Chain, Collection, CollectionUri, LayerEntry, LayerPath, StoreOptions,
};
use icecore_backup::{BackupOptions, BackupPlan, BackupReport, backup};
use icecore_engine::{Batch, Durability, Engine, Keyspace, Options, ScanDirection};
use icecore_gc::{ProtectedTimestamps, Record};
use icecore_mvcc::model::Row;
use icecore_mvcc::{KeyRange, KeyspaceSettings, ManualClock, Timestamp};
use icecore_restore::{RestoreOptions, RestoreReport, restore};
use icecore_testkit::faults::{Fuse, hasty};
use icecore_testkit::scratch;
use tempfile::TempDir;

/// 2024-03-01T00:00:00Z.
const BEGIN: Timestamp = Timestamp::from_nanos(1_709_251_200_000_000_000);

const KEYSPACE: &str = "bank.accounts";

pub fn clock() -> ManualClock {
    ManualClock::new(BEGIN)
}

pub fn options(clock: &ManualClock) -> Options {
    scratch::small_engine(Arc::new(clock.clone()))
}

pub fn store_options(clock: &ManualClock) -> StoreOptions {
    StoreOptions {
        clock: Arc::new(clock.clone()),
        retry: hasty(),
        ..StoreOptions::default()
    }
}

/// An incremental of the newest chain.
pub fn onto_latest() -> BackupOptions {
    BackupOptions {
        onto: Some(BackupSelector::Latest),
        ..BackupOptions::default()
    }
}

/// The rows of the keyspace, with their times.
pub fn read_all(engine: &Engine, at: Timestamp) -> Vec<Row> {
    read_keyspace(engine, KEYSPACE, at)
}

fn read_keyspace(engine: &Engine, name: &str, at: Timestamp) -> Vec<Row> {
    let snapshot = engine.snapshot_at(at).unwrap();
    let scan = engine
        .keyspace(name)
        .unwrap()
        .scan(&snapshot, &KeyRange::all(), ScanDirection::Forward)
        .unwrap();
    scan.map(|entry| {
        entry.map(|e| Row {
            key: e.key,
            ts: e.ts,
            value: Some(e.value),
        })
    })
    .collect::<Result<_, _>>()
    .unwrap()
}

pub struct Rig {
    pub clock: ManualClock,
    engine: Engine,
    collection: Mutex<(CollectionUri, Collection)>,
    folder: TempDir,
}

impl Rig {
    /// An empty keyspace and an empty collection.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// Likewise, with other settings of the engine.
    pub fn with(set: impl FnOnce(&mut Options)) -> Self {
        let folder = scratch::folder().unwrap();
        let clock = clock();
        let mut options = options(&clock);
        set(&mut options);
        let engine = Engine::open(folder.path().join("db"), &options).unwrap();
        engine
            .create_keyspace(KEYSPACE, KeyspaceSettings::default())
            .unwrap();
        let collection = Mutex::new(create_collection(&clock));
        Self {
            clock,
            engine,
            collection,
            folder,
        }
    }

    /// A full, an incremental without history and one with it.
    pub fn with_three_layers() -> Self {
        let rig = Self::new();
        rig.write(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
        rig.backup(&BackupOptions::default()).unwrap();
        for (round, history) in [false, true].into_iter().enumerate() {
            rig.clock.advance(Duration::from_secs(60));
            rig.write(&[("a", None), ("b", Some(&round.to_string()))]);
            rig.write(&[("d", Some(&round.to_string()))]);
            rig.backup(&BackupOptions {
                revision_history: history,
                ..onto_latest()
            })
            .unwrap();
        }
        rig
    }

    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn keyspace(&self) -> Keyspace {
        self.engine.keyspace(KEYSPACE).unwrap()
    }

    pub fn options(&self) -> Options {
        options(&self.clock)
    }

    /// Closes the database; its folder, and what that lies in.
    pub fn close(self) -> (TempDir, PathBuf) {
        self.engine.close().unwrap();
        let dir = self.folder.path().join("db");
        (self.folder, dir)
    }

    /// Commits puts and deletes together.
    pub fn write(&self, rows: &[(&str, Option<&str>)]) -> Timestamp {
        let (keyspace, mut batch) = (self.keyspace(), Batch::new());
        for (key, value) in rows {
            match value {
                Some(value) => batch.put(&keyspace, *key, *value),
                None => batch.delete(&keyspace, *key),
            };
        }
        self.engine.commit(batch, Durability::Sync).unwrap()
    }

    /// The rows as they are now.
    pub fn rows(&self) -> Vec<Row> {
        self.rows_at(self.engine.visible())
    }

    pub fn rows_at(&self, at: Timestamp) -> Vec<Row> {
        read_all(&self.engine, at)
    }

    pub fn collection(&self) -> Collection {
        self.collection.lock().unwrap().1.clone()
    }

    /// Goes on with the same collection, through something that stands before its store.
    pub fn decorate(&self, meddler: &icecore_testkit::faults::Meddler) {
        let mut held = self.collection.lock().unwrap();
        let options = meddler.within(store_options(&self.clock));
        held.1 = run(Collection::open(&held.0, options)).unwrap();
    }

    /// The same collection, opened anew: its requests are counted from here.
    pub fn reopened(&self) -> Collection {
        run(Collection::open(&self.uri(), store_options(&self.clock))).unwrap()
    }

    pub fn uri(&self) -> CollectionUri {
        self.collection.lock().unwrap().0.clone()
    }

    /// Goes on with an empty collection.
    pub fn new_collection(&self) {
        *self.collection.lock().unwrap() = create_collection(&self.clock);
    }

    /// The collection, opened with other settings.
    pub fn open(&self, options: StoreOptions) -> Result<Collection, icecore_archive::Error> {
        let uri = self.collection.lock().unwrap().0.clone();
        run(Collection::open(&uri, options))
    }

    pub fn store_options(&self) -> StoreOptions {
        store_options(&self.clock)
    }

    pub fn backup_into(
        &self,
        collection: &Collection,
        options: &BackupOptions,
    ) -> Result<BackupReport, icecore_backup::Error> {
        run(backup(&self.engine, collection, options))
    }

    pub fn restore_from(
        &self,
        collection: &Collection,
        engine: &Engine,
        options: &RestoreOptions,
    ) -> Result<RestoreReport, icecore_restore::Error> {
        run(restore(engine, collection, options))
    }

    /// An engine of its own in an empty folder.
    pub fn other_engine(&self) -> (TempDir, Engine) {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &self.options()).unwrap();
        (folder, engine)
    }

    pub fn fused(&self, fuse: &Fuse) -> Result<Collection, icecore_archive::Error> {
        let uri = self.collection.lock().unwrap().0.clone();
        run(Collection::open(
            &uri,
            fuse.within(store_options(&self.clock)),
        ))
    }

    pub fn backup(&self, options: &BackupOptions) -> Result<BackupReport, icecore_backup::Error> {
        self.backup_of(&self.engine, options)
    }

    pub fn backup_of(
        &self,
        engine: &Engine,
        options: &BackupOptions,
    ) -> Result<BackupReport, icecore_backup::Error> {
        run(backup(engine, &self.collection(), options))
    }

    /// What a backup would do.
    pub fn dry_run(&self, options: &BackupOptions) -> Result<BackupPlan, icecore_backup::Error> {
        let collection = self.collection();
        run(icecore_backup::dry_run(&self.engine, &collection, options))
    }

    /// From another thread.
    pub fn backup_elsewhere(&self, options: &BackupOptions) -> BackupReport {
        self.backup(options).unwrap()
    }

    /// The layer, unless another run was first.
    pub fn backup_elsewhere_or_not(&self, options: &BackupOptions) -> Option<LayerPath> {
        match self.backup(options) {
            Ok(report) => Some(report.layer),
            Err(icecore_backup::Error::Archive(icecore_archive::Error::ChainExtended {
                ..
            })) => None,
            Err(icecore_backup::Error::NotAfterChain { .. }) => None,
            Err(error) => panic!("{error}"),
        }
    }

    pub fn backup_with(
        &self,
        fuse: &Fuse,
        options: &BackupOptions,
    ) -> Result<BackupReport, icecore_backup::Error> {
        run(backup(&self.engine, &self.fused(fuse)?, options))
    }

    pub fn restore(
        &self,
        engine: &Engine,
        options: &RestoreOptions,
    ) -> Result<RestoreReport, icecore_restore::Error> {
        run(restore(engine, &self.collection(), options))
    }

    pub fn restore_with(
        &self,
        engine: &Engine,
        fuse: &Fuse,
        options: &RestoreOptions,
    ) -> Result<RestoreReport, icecore_restore::Error> {
        run(restore(engine, &self.fused(fuse)?, options))
    }

    /// The rows of a keyspace after a restore of the newest chain into an engine of its own.
    pub fn restored_rows(&self, name: &str, as_of: Option<Timestamp>) -> Vec<Row> {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &self.options()).unwrap();
        let report = self
            .restore(
                &engine,
                &RestoreOptions {
                    as_of,
                    ..RestoreOptions::default()
                },
            )
            .unwrap();
        read_keyspace(&engine, name, report.target)
    }

    /// Why the newest chain does not restore into an engine of its own as of a time.
    pub fn restore_error(&self, as_of: Option<Timestamp>) -> icecore_restore::Error {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &self.options()).unwrap();
        let options = RestoreOptions {
            as_of,
            ..RestoreOptions::default()
        };
        self.restore(&engine, &options).unwrap_err()
    }

    /// Every layer that is listed, oldest chain last.
    pub fn layers(&self) -> Vec<LayerPath> {
        let chains = run(self.collection().chains()).unwrap();
        chains
            .iter()
            .flat_map(|chain| chain.layers())
            .map(|layer| layer.path.clone())
            .collect()
    }

    /// The end of every layer that is listed restores to what the engine held then.
    pub fn all_layers_restore(&self) {
        for chain in run(self.collection().chains()).unwrap() {
            chain.head().unwrap();
            for layer in chain.layers() {
                self.layer_restores(&chain, layer);
            }
        }
    }

    /// The end of the newest layer of each chain restores to what the engine held then.
    pub fn newest_layer_restores(&self) {
        for chain in run(self.collection().chains()).unwrap() {
            self.layer_restores(&chain, &chain.head().unwrap());
        }
    }

    fn layer_restores(&self, chain: &Chain, layer: &LayerEntry) {
        let (_folder, engine) = self.other_engine();
        let from = BackupSelector::Full(chain.full().clone());
        let options = RestoreOptions {
            from,
            as_of: Some(layer.end),
            ..RestoreOptions::default()
        };
        self.restore(&engine, &options).unwrap();
        for descriptor in self.engine.descriptors_at(layer.end).unwrap() {
            let expected = read_keyspace(&self.engine, &descriptor.name, layer.end);
            let found = read_keyspace(&engine, &descriptor.name, layer.end);
            assert_eq!(found, expected, "{} as of {}", descriptor.name, layer.path);
        }
    }

    pub fn records(&self) -> Vec<Record> {
        ProtectedTimestamps::new(&self.engine).list().unwrap()
    }

    /// The store that the collection lies in, without what is around it.
    pub fn raw_store(&self) -> Arc<dyn ObjectStore> {
        let seen = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&seen);
        let uri = self.collection.lock().unwrap().0.clone();
        let options = StoreOptions {
            decorate: Some(Arc::new(move |store| {
                *slot.lock().unwrap() = Some(Arc::clone(&store));
                store
            })),
            ..store_options(&self.clock)
        };
        run(Collection::open(&uri, options)).unwrap();
        seen.lock().unwrap().take().unwrap()
    }

    /// The paths of all objects of the collection.
    pub fn objects(&self) -> Vec<String> {
        self.contents().into_keys().collect()
    }

    /// All objects of the collection, by path.
    pub fn contents(&self) -> Contents {
        let store = self.raw_store();
        let listed: Vec<_> = run(store.list(None).map(Result::unwrap).collect());
        let read = |path: &ObjectPath| run(async { store.get(path).await?.bytes().await });
        listed
            .iter()
            .map(|object| (object.location.to_string(), read(&object.location).unwrap()))
            .collect()
    }

    /// Goes on with a collection of its own that holds these objects and no other.
    pub fn go_on_with(&self, contents: &Contents) {
        self.new_collection();
        let store = self.raw_store();
        for path in self.objects() {
            run(store.delete(&ObjectPath::parse(path).unwrap())).unwrap();
        }
        for (path, content) in contents {
            let path = ObjectPath::parse(path).unwrap();
            run(store.put(&path, content.clone().into())).unwrap();
        }
        let reopened = self.reopened();
        self.collection.lock().unwrap().1 = reopened;
    }
}

/// Objects by path.
pub type Contents = BTreeMap<String, bytes::Bytes>;

fn create_collection(clock: &ManualClock) -> (CollectionUri, Collection) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let uri: CollectionUri = format!("memory://rig-{}", NEXT.fetch_add(1, Ordering::Relaxed))
        .parse()
        .unwrap();
    let collection = run(Collection::create_or_open(&uri, store_options(clock))).unwrap();
    (uri, collection)
}

/// Runs it to its end on this thread.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    thread_local! {
        static RUNTIME: RefCell<tokio::runtime::Runtime> = RefCell::new(scratch::runtime().unwrap());
    }
    RUNTIME.with_borrow(|runtime| runtime.block_on(future))
}

//! Someone changes what lies in a collection. A sealed one refuses every change of what a restore reads,
//! with an error of the archive: before RocksDB has opened a byte of it. One that is not sealed promises to
//! find accidents.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use icecore_archive::{
    BackupSelector, Collection, CollectionUri, ContentHash, Error as ArchiveError, Keys,
    LayerEntry, Manifest, StoreOptions,
};
use icecore_backup::{BackupOptions, Mode, backup};
use icecore_engine::{Durability, Engine};
use icecore_mvcc::model::Row;
use icecore_mvcc::{KeyspaceSettings, ManualClock};
use icecore_restore::{
    Error as RestoreError, RestoreOptions, VerifyOptions, dry_run, restore, verify,
};
use icecore_testkit::scratch;
use rig::{clock, onto_latest, options, read_all, store_options};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// Two collections, sealed with the same key or not, of one engine; the first with two chains.
struct Place {
    folder: TempDir,
    clock: ManualClock,
    runtime: Runtime,
    keys: Keys,
    /// What the newest chain of the first collection restores to.
    rows: Vec<Row>,
    /// Its newest manifest.
    head: ContentHash,
}

impl Place {
    fn new(sealed: bool) -> Self {
        Self::with_fulls(sealed, Mode::Logical)
    }

    /// Likewise; the fulls are taken in this way.
    fn with_fulls(sealed: bool, mode: Mode) -> Self {
        let folder = scratch::folder().unwrap();
        let keys = match sealed {
            true => {
                let path = folder.path().join("key");
                fs::write(&path, [42; 32]).unwrap();
                Keys::default().with_kms(format!("file:{}", path.display()).parse().unwrap())
            }
            false => Keys::default(),
        };
        let mut place = Self {
            folder,
            clock: clock(),
            runtime: scratch::runtime().unwrap(),
            keys,
            rows: Vec::new(),
            head: ContentHash::of(b""),
        };
        place.fill(mode);
        place
    }

    fn fill(&mut self, mode: Mode) {
        let engine = Engine::open(self.path("db"), &options(&self.clock)).unwrap();
        let keyspace = engine
            .create_keyspace("bank.accounts", KeyspaceSettings::default())
            .unwrap();
        let write = |value: &str| {
            keyspace.put("key", value, Durability::Buffered).unwrap();
            engine.flush().unwrap();
        };
        let full = BackupOptions {
            mode,
            revision_history: mode == Mode::Fast,
            ..BackupOptions::default()
        };
        let back_up = |place: &Self, to: &str, options: &BackupOptions| {
            place.clock.advance(std::time::Duration::from_secs(1));
            let collection = place.collection(to, true);
            let report = place
                .runtime
                .block_on(backup(&engine, &collection, options));
            report.unwrap().manifest_hash
        };
        write("1");
        back_up(self, "other", &full);
        back_up(self, "one", &full);
        write("2");
        back_up(self, "one", &full);
        copy(&self.path("one"), &self.path("older"));
        write("3");
        self.head = back_up(self, "one", &onto_latest());
        back_up(self, "other", &onto_latest());
        self.rows = read_all(&engine, engine.now());
        engine.close().unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn options(&self) -> StoreOptions {
        StoreOptions {
            keys: self.keys.clone(),
            ..store_options(&self.clock)
        }
    }

    fn try_collection(&self, name: &str, create: bool) -> Result<Collection, ArchiveError> {
        let uri = CollectionUri::from_local_path(self.path(name)).unwrap();
        let options = self.options();
        self.runtime.block_on(async {
            match create {
                true => Collection::create_or_open(&uri, options).await,
                false => Collection::open(&uri, options).await,
            }
        })
    }

    fn collection(&self, name: &str, create: bool) -> Collection {
        self.try_collection(name, create).unwrap()
    }

    /// The newest chain's layers with their manifests.
    fn layers(&self, collection: &Collection) -> Vec<(LayerEntry, Manifest)> {
        self.runtime.block_on(async {
            let chain = collection
                .open_chain(&BackupSelector::Latest)
                .await
                .unwrap();
            let mut layers = Vec::new();
            for entry in chain.layers() {
                let manifest = collection.read_layer(entry).await.unwrap();
                layers.push((entry.clone(), manifest));
            }
            layers
        })
    }

    /// Restores a collection into a new database; its rows.
    fn restore(
        &self,
        name: &str,
        expect_head: Option<ContentHash>,
    ) -> Result<Vec<Row>, RestoreError> {
        let collection = self.try_collection(name, false)?;
        let wanted = RestoreOptions {
            expect_head,
            ..RestoreOptions::default()
        };
        // What cannot be planned needs no database.
        self.runtime.block_on(dry_run(None, &collection, &wanted))?;
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &options(&self.clock)).unwrap();
        let restored = self
            .runtime
            .block_on(restore(&engine, &collection, &wanted));
        let rows = restored.map(|report| read_all(&engine, report.target));
        engine.close().unwrap();
        rows
    }

    /// That a restore is refused by the archive, which says nothing of what is wrong with the engine.
    fn is_refused(&self, what: &str) {
        match self.restore("one", None) {
            Err(RestoreError::Archive(_)) => {}
            Err(error) => panic!("{what}: refused by {error}"),
            Ok(_) => panic!("{what}: restored"),
        }
    }

    /// The objects that a restore of the newest chain reads, by path.
    fn read_by_a_restore(&self) -> BTreeMap<String, Vec<u8>> {
        let collection = self.collection("one", false);
        let mut wanted = vec!["metadata/COLLECTION".to_owned()];
        for (entry, manifest) in self.layers(&collection) {
            wanted.push(format!("{}/BACKUP_MANIFEST", entry.path));
            wanted.extend(manifest.files().map(|(_, file)| entry.path.file_path(file)));
        }
        let all = objects(&self.path("one"));
        let read = all
            .into_iter()
            .filter(|(path, _)| wanted.contains(path) || path.starts_with("metadata/keys/"));
        read.collect()
    }
}

/// Every object below a folder, by its path there.
fn objects(root: &Path) -> BTreeMap<String, Vec<u8>> {
    let (mut found, mut folders) = (BTreeMap::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                found.insert(name.to_owned(), fs::read(&path).unwrap());
            }
        }
    }
    found
}

fn copy(from: &Path, to: &Path) {
    for (name, content) in objects(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Every bit of these bytes, flipped, one after another.
fn flips(bytes: &[u8]) -> impl Iterator<Item = (usize, Vec<u8>)> {
    (0..bytes.len() * 8).map(|bit| {
        let mut flipped = bytes.to_vec();
        flipped[bit / 8] ^= 1 << (bit % 8);
        (bit, flipped)
    })
}

/// Flips every bit of what a restore reads. Each is found where it is read; the restore as a whole is
/// tried with one bit of every eighth byte.
fn every_bit(place: &Place) {
    place.restore("one", Some(place.head)).unwrap();
    let collection = place.collection("one", false);
    let layers = place.layers(&collection);
    for (name, right) in place.read_by_a_restore() {
        let path = place.path("one").join(&name);
        for (bit, flipped) in flips(&right) {
            fs::write(&path, flipped).unwrap();
            let what = format!("bit {bit} of {name}");
            let found: Result<(), ArchiveError> = place.runtime.block_on(async {
                if name.starts_with("metadata") {
                    return place_open(place).await;
                }
                for (entry, manifest) in &layers {
                    if name == format!("{}/BACKUP_MANIFEST", entry.path) {
                        return collection.read_layer(entry).await.map(|_| ());
                    }
                    for (_, file) in manifest.files() {
                        if name == entry.path.file_path(file) {
                            return collection.verify_file(&entry.path, file).await;
                        }
                    }
                }
                panic!("{name}");
            });
            assert!(found.is_err(), "{what}");
            if bit % 64 == 5 {
                place.is_refused(&what);
            }
        }
        fs::write(&path, right).unwrap();
    }
    assert_eq!(place.restore("one", None).unwrap(), place.rows);
}

async fn place_open(place: &Place) -> Result<(), ArchiveError> {
    let uri = CollectionUri::from_local_path(place.path("one")).unwrap();
    Collection::open(&uri, place.options()).await.map(|_| ())
}

#[test]
fn every_bit_of_a_sealed_chain() {
    every_bit(&Place::new(true));
}

#[test]
fn every_bit_of_a_sealed_fast_chain() {
    every_bit(&Place::with_fulls(true, Mode::Fast));
}

/// What two fulls name is sealed for its place in the pool, which both know it by.
#[test]
fn a_sealed_file_of_the_pool_opens_for_all_who_name_it() {
    let place = Place::with_fulls(true, Mode::Fast);
    let collection = place.collection("one", false);
    let mut named: BTreeMap<String, usize> = BTreeMap::new();
    place.runtime.block_on(async {
        for chain in collection.chains().await.unwrap() {
            for layer in chain.layers() {
                let manifest = collection.read_layer(layer).await.unwrap();
                for (_, file) in manifest.files().filter(|(_, file)| file.copied.is_some()) {
                    collection.verify_file(&layer.path, file).await.unwrap();
                    *named.entry(layer.path.file_path(file)).or_default() += 1;
                }
            }
        }
    });
    assert!(
        named.len() == 2 && named.values().any(|&times| times == 2),
        "{named:?}"
    );
    let in_pool: Vec<String> = objects(&place.path("one"))
        .into_keys()
        .filter(|name| name.starts_with("data/"))
        .collect();
    assert!(in_pool.iter().eq(named.keys()));
    for (name, content) in objects(&place.path("one")) {
        let is_sealed = content.starts_with(b"ICES");
        assert_eq!(
            is_sealed,
            name.ends_with(".sst") || name.ends_with("MANIFEST"),
            "{name}"
        );
    }
}

#[test]
fn every_bit_of_a_chain_that_is_not_sealed() {
    every_bit(&Place::new(false));
}

/// What verifies for people finds them too.
#[test]
fn verify_finds_flipped_bits_in_what_is_not_sealed() {
    let place = Place::new(false);
    let collection = place.collection("one", false);
    let sound = || {
        let report = place
            .runtime
            .block_on(verify(&collection, &VerifyOptions::default()));
        report.unwrap().is_ok()
    };
    assert!(sound());
    for (name, right) in place.read_by_a_restore() {
        if name.starts_with("metadata") {
            continue;
        }
        let path = place.path("one").join(&name);
        for (bit, flipped) in flips(&right).step_by(11) {
            fs::write(&path, flipped).unwrap();
            assert!(!sound(), "bit {bit} of {name}");
        }
        fs::write(&path, right).unwrap();
    }
    assert!(sound());
}

#[test]
fn objects_that_are_removed_or_cut() {
    removed_or_cut(&Place::new(true));
}

#[test]
fn objects_of_the_pool_that_are_removed_or_cut() {
    removed_or_cut(&Place::with_fulls(true, Mode::Fast));
}

fn removed_or_cut(place: &Place) {
    for (name, right) in place.read_by_a_restore() {
        let path = place.path("one").join(&name);
        fs::remove_file(&path).unwrap();
        place.is_refused(&format!("{name} removed"));
        for bytes in [0, 1, 31, right.len() / 2, right.len() - 1] {
            fs::write(&path, &right[..bytes]).unwrap();
            place.is_refused(&format!("{name} cut to {bytes}"));
        }
        fs::write(&path, [right.as_slice(), b"x"].concat()).unwrap();
        place.is_refused(&format!("{name} with a byte more"));
        fs::write(&path, right).unwrap();
    }
    assert_eq!(place.restore("one", None).unwrap(), place.rows);
}

/// Each object gives way to each other: of its layer, its chain, another chain, another collection with the
/// same key.
#[test]
fn objects_brought_from_another_place_chain_or_collection() {
    brought_from_elsewhere(&Place::new(true));
}

/// Files of the pool too are what they are only in their place.
#[test]
fn objects_of_the_pool_brought_from_another_place_chain_or_collection() {
    let place = Place::with_fulls(true, Mode::Fast);
    let read = place.read_by_a_restore();
    let pooled = read.keys().filter(|name| name.starts_with("data/"));
    assert_eq!(pooled.count(), 2, "{:?}", read.keys());
    brought_from_elsewhere(&place);
}

fn brought_from_elsewhere(place: &Place) {
    let here = objects(&place.path("one"));
    let there = objects(&place.path("other"));
    for (name, right) in place.read_by_a_restore() {
        let path = place.path("one").join(&name);
        for (source, (from, content)) in here
            .iter()
            .map(|o| ("one", o))
            .chain(there.iter().map(|o| ("other", o)))
        {
            if *content == right {
                continue;
            }
            fs::write(&path, content).unwrap();
            place.is_refused(&format!("{name} replaced by {from} of {source}"));
        }
        fs::write(&path, right).unwrap();
    }
    assert_eq!(place.restore("one", None).unwrap(), place.rows);
}

/// The marker and the wrappers of another collection open, with the same key; what they lead to does not.
#[test]
fn layers_under_another_collections_key() {
    let place = Place::new(true);
    let there = objects(&place.path("other"));
    fs::remove_dir_all(place.path("one/metadata/keys")).unwrap();
    for (name, content) in &there {
        if name == "metadata/COLLECTION" || name.starts_with("metadata/keys/") {
            let path = place.path("one").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }
    place.collection("one", false);
    place.is_refused("layers of another collection");
}

/// A marker may be renamed, so that it says the hash of what was brought there.
#[test]
fn a_manifest_brought_with_its_hash() {
    let place = Place::new(true);
    let layers = place.layers(&place.collection("one", false));
    let other = place.layers(&place.collection("other", false));
    for ((ours, _), (theirs, _)) in layers.iter().zip(&other) {
        let path = |entry: &LayerEntry| format!("{}/BACKUP_MANIFEST", entry.path);
        let target = place.path("one").join(path(ours));
        let right = fs::read(&target).unwrap();
        fs::copy(place.path("other").join(path(theirs)), &target).unwrap();
        let hash = |entry: &LayerEntry| entry.manifest_hash.to_string();
        rename_markers(&place.path("one"), &hash(ours), &hash(theirs));
        place.is_refused("a manifest with its hash in the marker");
        rename_markers(&place.path("one"), &hash(theirs), &hash(ours));
        fs::write(&target, right).unwrap();
    }
    assert_eq!(place.restore("one", None).unwrap(), place.rows);
}

fn rename_markers(collection: &Path, from: &str, to: &str) {
    for (name, content) in objects(collection) {
        if name.starts_with("metadata/chain/") && name.contains(from) {
            fs::remove_file(collection.join(&name)).unwrap();
            fs::write(collection.join(name.replace(from, to)), content).unwrap();
        }
    }
}

/// Markers lie about times: what they lead to does not.
#[test]
fn markers_that_say_other_times() {
    let place = Place::new(true);
    let layers = place.layers(&place.collection("one", false));
    let (incremental, _) = layers.last().unwrap();
    let end = |time: u64| format!("{time:020}");
    let right = incremental.end.nanos();
    rename_markers(&place.path("one"), &end(right), &end(right + 5));
    place.is_refused("another end");
    rename_markers(&place.path("one"), &end(right + 5), &end(right));
    assert_eq!(place.restore("one", None).unwrap(), place.rows);
}

/// An older state is genuine: only who knows the newest finds it out.
#[test]
fn an_older_state_of_the_whole_collection() {
    let place = Place::new(true);
    let older = place.restore("older", None).unwrap();
    assert_ne!(older, place.rows);
    let error = place.restore("older", Some(place.head)).unwrap_err();
    assert!(
        matches!(error, RestoreError::UnexpectedHead { .. }),
        "{error}"
    );
    // Likewise where the newest layer alone is hidden.
    for (name, _) in objects(&place.path("one")) {
        let layers = objects(&place.path("older"));
        if name.starts_with("metadata/chain/") && !layers.contains_key(&name) {
            fs::remove_file(place.path("one").join(name)).unwrap();
        }
    }
    assert_eq!(place.restore("one", None).unwrap(), older);
    let error = place.restore("one", Some(place.head)).unwrap_err();
    assert!(
        matches!(error, RestoreError::UnexpectedHead { .. }),
        "{error}"
    );
}

/// Locks and the contents of markers are not read: changing them changes nothing.
#[test]
fn what_no_restore_reads_does_not_matter() {
    let place = Place::new(true);
    let read = place.read_by_a_restore();
    for (name, content) in objects(&place.path("one")) {
        if !read.contains_key(&name) {
            let mut changed = content;
            changed[0] ^= 1;
            fs::write(place.path("one").join(name), changed).unwrap();
        }
    }
    assert_eq!(place.restore("one", Some(place.head)).unwrap(), place.rows);
}

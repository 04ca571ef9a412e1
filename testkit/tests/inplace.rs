//! Backups that are read in place show what their restores show, and fetch little for it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::TryStreamExt;
use icecore_archive::object_store::ObjectStoreExt;
use icecore_archive::object_store::path::Path as ObjectPath;
use icecore_archive::{Collection, ContentHash, RequestCounts, StoreOptions};
use icecore_backup::{BackupOptions, Mode};
use icecore_engine::{Engine, Entry, Keyspace, ScanDirection};
use icecore_mvcc::{KeyRange, Timestamp, Version};
use icecore_restore::inplace::{BackupKeyspace, BackupReader, CacheOptions, ReadOptions};
use icecore_restore::{Error, RestoreOptions};
use icecore_testkit::scratch;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use rig::{Rig, onto_latest, run};

const KEYSPACE: &str = "bank.accounts";

fn open_at(rig: &Rig, as_of: Option<Timestamp>, budget_bytes: u64) -> BackupReader {
    let options = ReadOptions {
        as_of,
        ..ReadOptions::new(CacheOptions {
            dir: rig.folder().join("cache"),
            budget_bytes,
        })
    };
    run(BackupReader::open(&rig.collection(), &options)).unwrap()
}

fn in_place(
    keyspace: &BackupKeyspace,
    range: &KeyRange,
    direction: ScanDirection,
    limit: usize,
) -> Vec<Entry> {
    let mut scan = keyspace.scan(range, direction);
    let mut rows = Vec::new();
    while rows.len() < limit
        && let Some(row) = run(scan.next()).unwrap()
    {
        rows.push(Entry {
            key: row.key.to_vec(),
            ts: row.ts,
            value: row.value.to_vec(),
        });
    }
    rows
}

/// A backup read in place, and restored, as of the same time.
struct Both {
    in_place: BackupKeyspace,
    restored: Keyspace,
    engine: Engine,
    target: Timestamp,
}

impl Both {
    fn new(rig: &Rig, as_of: Option<Timestamp>) -> Self {
        let reader = open_at(rig, as_of, 1 << 30);
        let name = as_of.map_or("end".to_owned(), |at| at.nanos().to_string());
        let folder = rig.folder().join(name);
        let engine = Engine::open(folder, &rig.options()).unwrap();
        let options = RestoreOptions {
            as_of,
            ..RestoreOptions::default()
        };
        let report = rig.restore(&engine, &options).unwrap();
        assert_eq!(report.target, reader.target());
        Self {
            in_place: reader.keyspace(KEYSPACE).unwrap(),
            restored: engine.keyspace(KEYSPACE).unwrap(),
            engine,
            target: reader.target(),
        }
    }

    fn restored(&self, range: &KeyRange, direction: ScanDirection, limit: usize) -> Vec<Entry> {
        let at = self.engine.snapshot_at(self.target).unwrap();
        let scan = self.restored.scan(&at, range, direction).unwrap();
        scan.take(limit).map(Result::unwrap).collect()
    }

    fn versions(&self, key: &[u8]) -> Vec<Version> {
        let at = self.engine.snapshot_at(self.target).unwrap();
        self.restored.versions(&at, key).unwrap()
    }

    fn agree_on_key(&self, key: &[u8]) {
        let one = self.restored(&KeyRange::single(key), ScanDirection::Forward, 1);
        let found = run(self.in_place.get(key)).unwrap();
        assert_eq!(found.as_ref(), one.first(), "{key:?} at {}", self.target);
        let versions = run(self.in_place.versions(key)).unwrap();
        assert_eq!(versions, self.versions(key), "{key:?} at {}", self.target);
    }

    fn agree_on(&self, range: &KeyRange, direction: ScanDirection, limit: usize) {
        assert_eq!(
            in_place(&self.in_place, range, direction, limit),
            self.restored(range, direction, limit),
            "{range}, {direction:?}, {limit} rows at {}",
            self.target
        );
    }
}

/// A key of the small chains: of all shapes that are stored differently, some in the other's way.
fn key(number: u8) -> Vec<u8> {
    match number % 12 {
        0 => Vec::new(),
        1 => vec![0],
        2 => b"a".to_vec(),
        3 => b"a\0".to_vec(),
        4 => b"a\0\0".to_vec(),
        5 => b"a\x01".to_vec(),
        6 => vec![0xFF],
        7 => vec![0xFF, 0],
        other => vec![b'k', b'0' + other],
    }
}

/// One commit: keys with how often each is written, or deleted.
type Commit = Vec<(u8, Option<u8>)>;
/// A layer: whether it keeps history, and the commits before it.
type Layer = (bool, Vec<Commit>);

fn layers() -> impl Strategy<Value = Vec<Layer>> {
    let write = (any::<u8>(), prop::option::weighted(0.7, any::<u8>()));
    let commit = prop::collection::vec(write, 1..5);
    let commits = prop::collection::vec(commit, 0..6);
    prop::collection::vec((prop::bool::weighted(0.7), commits), 1..6)
}

/// Builds the chain; the time of each commit.
fn build(rig: &Rig, layers: &[Layer]) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for (number, (history, commits)) in layers.iter().enumerate() {
        for commit in commits {
            rig.clock.advance(Duration::from_secs(1));
            let mut batch = icecore_engine::Batch::new();
            for (number, value) in commit {
                match value {
                    Some(value) => batch.put(&rig.keyspace(), key(*number), [*value]),
                    None => batch.delete(&rig.keyspace(), key(*number)),
                };
            }
            let durability = icecore_engine::Durability::Buffered;
            times.push(rig.engine().commit(batch, durability).unwrap());
        }
        rig.clock.advance(Duration::from_secs(1));
        let chain = match number {
            0 => BackupOptions::default(),
            _ => onto_latest(),
        };
        let report = rig.backup(&BackupOptions {
            revision_history: *history,
            ..chain
        });
        times.push(report.unwrap().end);
    }
    times
}

#[test]
fn small_chains_read_in_place_as_restored() {
    let cases = u32::try_from(scratch::count_from_env("ICECORE_IN_PLACE_CASES", 24)).unwrap();
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 100,
        ..Config::default()
    });
    let strategy = (
        layers(),
        prop::collection::vec((any::<u8>(), any::<u8>()), 4),
    );
    let outcome = runner.run(&strategy, |(layers, bounds)| {
        let rig = Rig::new();
        let times = build(&rig, &layers);
        let mut read = 0;
        for as_of in times.into_iter().map(Some).chain([None]).rev() {
            // A time that cannot be restored cannot be read either.
            let options = RestoreOptions {
                as_of,
                ..RestoreOptions::default()
            };
            let planned = run(icecore_restore::plan_restore(&rig.collection(), &options));
            if let Err(refused) = planned {
                let reader = run(BackupReader::open(
                    &rig.collection(),
                    &ReadOptions {
                        as_of,
                        ..ReadOptions::new(CacheOptions::new(rig.folder().join("cache")))
                    },
                ));
                let error = reader.and_then(|r| r.keyspaces().map(|_| ())).unwrap_err();
                assert_eq!(error.to_string(), refused.to_string());
                continue;
            }
            if read > 3 {
                continue;
            }
            read += 1;
            let both = Both::new(&rig, as_of);
            for number in 0..12 {
                both.agree_on_key(&key(number));
            }
            for (from, to) in &bounds {
                let range = KeyRange::new(key(*from), (to % 3 > 0).then(|| key(*to)));
                for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
                    both.agree_on(&range, direction, usize::MAX);
                    both.agree_on(&range, direction, usize::from(to % 5));
                }
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

fn incompressible(seed: u64, length: usize) -> String {
    let mut text = String::new();
    for block in 0_u64.. {
        let bytes = [seed.to_be_bytes(), block.to_be_bytes()].concat();
        text.push_str(&ContentHash::of(&bytes).to_string());
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

fn numbered(key: usize) -> String {
    format!("key{key:04}")
}

/// A full of so many rows of 10 kB in files of 1 MiB.
fn full(rig: &Rig, rows: usize) {
    for row in 0..rows {
        let value = incompressible(row as u64, 10_000);
        rig.write(&[(&numbered(row), Some(&value))]);
    }
    // A backup is cut between the files of the database: the same ones whenever they were flushed, so that the
    // last file of the backup is never a single row.
    rig.engine().flush().unwrap();
    rig.engine().compact(&rig.keyspace()).unwrap();
    rig.backup(&BackupOptions {
        target_file_bytes: 1 << 20,
        threads: 1,
        ..BackupOptions::default()
    })
    .unwrap();
}

#[test]
fn chains_of_many_files_read_in_place_as_restored() {
    let rig = Rig::new();
    let mut times = Vec::new();
    for layer in 0..3_usize {
        for round in 0..3 {
            rig.clock.advance(Duration::from_secs(10));
            for row in (round % 2..60).step_by(1 + layer) {
                let value = incompressible((row + times.len()) as u64, 30_000);
                times.push(match (row + round) % 7 {
                    0 => rig.write(&[(&numbered(row), None)]),
                    _ => rig.write(&[(&numbered(row), Some(&value))]),
                });
            }
        }
        let chain = match layer {
            0 => BackupOptions::default(),
            _ => onto_latest(),
        };
        rig.backup(&BackupOptions {
            revision_history: true,
            target_file_bytes: 1 << 20,
            ..chain
        })
        .unwrap();
    }
    let mut at: Vec<Option<Timestamp>> = [20, 100, 181, 200, 300]
        .map(|n| Some(times[n % times.len()]))
        .into();
    at.push(None);
    let both: Vec<Both> = at.into_iter().map(|at| Both::new(&rig, at)).collect();
    let all = KeyRange::all();
    for both in &both {
        for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
            both.agree_on(&all, direction, usize::MAX);
        }
    }
    let mut runner = TestRunner::new(Config {
        cases: 120,
        failure_persistence: None,
        ..Config::default()
    });
    let strategy = (
        0..both.len(),
        0..62_usize,
        0..62_usize,
        any::<bool>(),
        0..70_usize,
    );
    let outcome = runner.run(&strategy, |(at, from, to, reverse, limit)| {
        let range = KeyRange::new(numbered(from).into(), Some(numbered(to).into()));
        let direction = match reverse {
            true => ScanDirection::Reverse,
            false => ScanDirection::Forward,
        };
        both[at].agree_on(&range, direction, limit);
        both[at].agree_on_key(numbered(from).as_bytes());
        Ok(())
    });
    outcome.unwrap();
}

/// What `read` requested of the store, from a collection that was just opened.
fn requests(rig: &Rig, budget_bytes: u64, read: impl FnOnce(&BackupKeyspace)) -> RequestCounts {
    let collection = rig.reopened();
    let cache = CacheOptions {
        dir: rig.folder().join("cache"),
        budget_bytes,
    };
    let reader = run(BackupReader::open(&collection, &ReadOptions::new(cache))).unwrap();
    read(&reader.keyspace(KEYSPACE).unwrap());
    collection.requests()
}

fn stored_bytes(collection: &Collection) -> u64 {
    let chains = run(collection.chains()).unwrap();
    chains[0]
        .layers()
        .iter()
        .map(|layer| layer.stored_bytes)
        .sum()
}

/// The bytes of the files kept.
fn cached(rig: &Rig) -> u64 {
    let files = std::fs::read_dir(rig.folder().join("cache")).unwrap();
    let kept = files
        .map(|file| file.unwrap().path())
        .filter(|path| is_sst(path));
    kept.map(|path| std::fs::metadata(path).unwrap().len())
        .sum()
}

fn is_sst(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "sst")
}

/// How many files lie in the folders of readers, not counted what they have open.
fn staged(rig: &Rig) -> usize {
    let sessions = std::fs::read_dir(rig.folder().join("cache")).unwrap();
    let folders = sessions
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir());
    let files = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files
        .filter(|file| is_sst(&file.as_ref().unwrap().path()))
        .count()
}

/// Of files that count only together one is missing: the others, fetched already, do not stay while the reader
/// lives, and the read succeeds once the file is back.
#[test]
fn what_a_failed_read_brought_does_not_stay() {
    let rig = Rig::new();
    for round in 0..3 {
        rig.write(&[("a", Some(&round.to_string())), ("b", Some("x"))]);
        rig.engine().flush().unwrap();
    }
    rig.backup(&BackupOptions {
        mode: Mode::Fast,
        revision_history: true,
        ..BackupOptions::default()
    })
    .unwrap();
    let contents = rig.contents();
    let pool = contents
        .iter()
        .filter(|(path, _)| path.starts_with("data/"));
    let pool: Vec<_> = pool.collect();
    assert!(pool.len() >= 3, "{} files", pool.len());
    let store = rig.raw_store();
    let mut had_some = false;
    for (path, content) in pool {
        let path = ObjectPath::parse(path).unwrap();
        run(store.delete(&path)).unwrap();
        for budget_bytes in [0, 1 << 30] {
            let reader = open_at(&rig, None, budget_bytes);
            let keyspace = reader.keyspace(KEYSPACE).unwrap();
            let before = rig.collection().requests().get;
            if let Err(error) = run(keyspace.get(b"a")) {
                assert!(error.to_string().contains("is missing"), "{error}");
                had_some |= rig.collection().requests().get - before > 1;
                assert_eq!(staged(&rig), 0);
            }
        }
        run(store.put(&path, content.clone().into())).unwrap();
        let reader = open_at(&rig, None, 0);
        let found = run(reader.keyspace(KEYSPACE).unwrap().get(b"a")).unwrap();
        assert_eq!(found.unwrap().value, b"2");
    }
    assert!(had_some, "no read failed with files brought already");
}

/// The bar of a backup of 1 GB in files of 32 MiB, at a thirty-second of its size.
#[test]
fn one_key_costs_few_requests_and_few_bytes() {
    let rig = Rig::new();
    full(&rig, 3200);
    let bytes = stored_bytes(&rig.collection());
    assert!(bytes > 30 << 20, "{bytes}");
    let get = |keyspace: &BackupKeyspace| {
        let entry = run(keyspace.get(numbered(1234).as_bytes()))
            .unwrap()
            .unwrap();
        assert_eq!(entry.value, incompressible(1234, 10_000).as_bytes());
    };
    let first = requests(&rig, 1 << 30, get);
    println!(
        "one key of {bytes} bytes: {} requests, {} bytes ({:.1} %)",
        first.total(),
        first.received_bytes,
        100.0 * first.received_bytes as f64 / bytes as f64
    );
    // The collection's marker, a manifest, a file; the fulls and the chain.
    assert_eq!((first.get, first.list, first.total()), (3, 2, 5));
    assert!(first.total() <= 10);
    assert!(first.received_bytes * 20 <= bytes, "{first:?} of {bytes}");
    let again = requests(&rig, 1 << 30, get);
    assert_eq!((again.get, again.list, again.total()), (2, 2, 4));
    assert!(again.received_bytes < 64 << 10, "{again:?}");
    // A key that is in no file's span costs no file, one within a span its file.
    let outside = |keyspace: &BackupKeyspace| {
        assert_eq!(run(keyspace.get(b"zzz")).unwrap(), None);
        assert_eq!(run(keyspace.versions(b"a")).unwrap(), []);
    };
    assert_eq!(requests(&rig, 1 << 30, outside).get, 2);
}

#[test]
fn a_scan_fetches_files_as_it_comes_to_them() {
    let rig = Rig::new();
    full(&rig, 400);
    let layer = run(rig.collection().chains()).unwrap()[0].layers()[0]
        .path
        .clone();
    let (manifest, _) = run(rig.collection().read_manifest(&layer)).unwrap();
    let files = manifest
        .keyspaces
        .iter()
        .map(|k| k.files.len() as u64)
        .sum::<u64>();
    let limited = |keyspace: &BackupKeyspace, direction, limit| {
        in_place(keyspace, &KeyRange::all(), direction, limit).len()
    };
    let forward = requests(&rig, 0, |keyspace| {
        assert_eq!(limited(keyspace, ScanDirection::Forward, 1), 1);
    });
    assert_eq!(forward.get, 3, "the marker, the manifest, one file");
    let reverse = requests(&rig, 0, |keyspace| {
        assert_eq!(limited(keyspace, ScanDirection::Reverse, 1), 1);
    });
    assert_eq!(reverse.get, 3, "likewise");
    let nothing = requests(&rig, 0, |keyspace| {
        assert_eq!(limited(keyspace, ScanDirection::Forward, 0), 0);
    });
    assert_eq!(nothing.get, 2);
    assert_eq!(cached(&rig), 0, "a budget of nothing keeps nothing");
    // The whole of it, with room for two files: each is fetched once.
    let all = requests(&rig, 5 << 19, |keyspace| {
        assert_eq!(limited(keyspace, ScanDirection::Forward, usize::MAX), 400);
    });
    assert!(files >= 4, "{files}");
    assert_eq!(all.get - 2, files);
    assert!((1..=5 << 19).contains(&cached(&rig)), "{}", cached(&rig));
    // With room for all: the second time none.
    requests(&rig, 1 << 30, |keyspace| {
        limited(keyspace, ScanDirection::Forward, usize::MAX);
    });
    let again = requests(&rig, 1 << 30, |keyspace| {
        assert_eq!(limited(keyspace, ScanDirection::Reverse, usize::MAX), 400);
    });
    assert_eq!(again.get, 2);
}

/// Flips a bit in each data file of the collection.
fn damage_data_files(rig: &Rig) {
    let found = Arc::new(Mutex::new(None));
    let store = Arc::clone(&found);
    let options = StoreOptions {
        decorate: Some(Arc::new(move |inner| {
            *store.lock().unwrap() = Some(Arc::clone(&inner));
            inner
        })),
        ..rig::store_options(&rig.clock)
    };
    run(Collection::open(&rig.uri(), options)).unwrap();
    let store = found.lock().unwrap().take().unwrap();
    run(async {
        let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
        for object in objects {
            if object.location.extension() == Some("sst") {
                let read = store.get(&object.location).await.unwrap();
                let mut bytes = read.bytes().await.unwrap().to_vec();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                store.put(&object.location, bytes.into()).await.unwrap();
            }
        }
    });
}

#[test]
fn damage_is_found_before_it_is_read() {
    let rig = Rig::new();
    full(&rig, 100);
    let read = |keyspace: &BackupKeyspace| {
        assert_eq!(
            in_place(keyspace, &KeyRange::all(), ScanDirection::Forward, 200).len(),
            100
        );
    };
    let fresh = requests(&rig, 1 << 30, read).get;
    // In the cache: the file is fetched again.
    let cache = rig.folder().join("cache");
    let kept = std::fs::read_dir(&cache)
        .unwrap()
        .map(|file| file.unwrap().path());
    let kept = kept.into_iter().find(|path| is_sst(path)).unwrap();
    let mut bytes = std::fs::read(&kept).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&kept, &bytes).unwrap();
    assert_eq!(fresh, 3);
    assert_eq!(requests(&rig, 1 << 30, read).get, 3);
    assert_eq!(requests(&rig, 1 << 30, read).get, 2);
    // Where it is stored: it cannot be read, and the error names the file.
    std::fs::remove_dir_all(&cache).unwrap();
    damage_data_files(&rig);
    let options = ReadOptions::new(CacheOptions::new(&cache));
    let reader = run(BackupReader::open(&rig.collection(), &options)).unwrap();
    let error = run(reader.keyspace(KEYSPACE).unwrap().get(b"key0050")).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Archive(icecore_archive::Error::CorruptFile { .. })
        ),
        "{error}"
    );
    assert_eq!(cached(&rig), 0);
}

#[test]
fn readers_share_a_cache_that_is_too_small_for_them() {
    let rig = Rig::new();
    full(&rig, 300);
    let uri = rig.uri();
    let cache = rig.folder().join("cache");
    let store = rig::store_options(&rig.clock);
    std::thread::scope(|scope| {
        for reader in 0..4_usize {
            let (uri, cache, store) = (uri.clone(), cache.clone(), store.clone());
            scope.spawn(move || {
                for round in 0..3 {
                    let collection = run(Collection::open(&uri, store.clone())).unwrap();
                    let options = ReadOptions::new(CacheOptions {
                        dir: cache.clone(),
                        budget_bytes: 1 << 20,
                    });
                    let opened = run(BackupReader::open(&collection, &options)).unwrap();
                    let keyspace = opened.keyspace(KEYSPACE).unwrap();
                    for step in 0..12 {
                        let row = (reader * 97 + round * 31 + step * 53) % 300;
                        let entry = run(keyspace.get(numbered(row).as_bytes()))
                            .unwrap()
                            .unwrap();
                        assert_eq!(entry.value, incompressible(row as u64, 10_000).as_bytes());
                    }
                }
            });
        }
    });
    assert!(cached(&rig) <= 1 << 20);
    let left = std::fs::read_dir(&cache)
        .unwrap()
        .map(|file| file.unwrap().path());
    let sessions = left.into_iter().filter(|path| path.is_dir()).count();
    assert_eq!(sessions, 0, "a reader left its folder behind");
}

//! An engine's history to a store and back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, RequestCounts};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Batch, Durability, Engine, VersionRow};
use icecore_mvcc::{KeyRange, KeyspaceSettings, SystemClock, Timestamp};
use icecore_restore::{Depth, RestoreOptions, VerifyOptions, restore, verify};
use icecore_testkit::scratch;

use crate::{Place, options};

const KEYSPACES: [&str; 2] = ["bank.accounts", "bank.audit"];

fn open(folder: &Path) -> Engine {
    Engine::open(folder, &scratch::small_engine(Arc::new(SystemClock))).unwrap()
}

/// Bytes that no compression makes smaller.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let word = |n: u64| {
        let mixed = (n + (seed << 32)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ (mixed >> 27)
    };
    let words = (0..bytes.div_ceil(8) as u64).flat_map(|n| word(n).to_le_bytes());
    words.take(bytes).collect()
}

/// Puts, overwrites and deletes in both keyspaces; returns the time of the last commit.
fn write(engine: &Engine, round: u64, rows: u64, value_bytes: usize) -> Timestamp {
    let [accounts, audit] = KEYSPACES.map(|name| engine.keyspace(name).unwrap());
    let mut last = Timestamp::MIN;
    for row in 0..rows {
        let mut batch = Batch::new();
        let key = format!("row {:05}", (row * 7 + round) % 1000);
        if (row + round).is_multiple_of(5) {
            batch.delete(&accounts, key.clone());
        } else {
            batch.put(
                &accounts,
                key.clone(),
                noise(round * 10_000 + row, value_bytes),
            );
        }
        batch.put(&audit, format!("{round}/{row:05}"), key);
        last = engine.commit(batch, Durability::Buffered).unwrap();
    }
    last
}

/// Every version of every keyspace up to a time.
fn history(engine: &Engine, at: Timestamp) -> Vec<(&'static str, Vec<VersionRow>)> {
    let at = engine.snapshot_at(at).unwrap();
    let of = |name| {
        let keyspace = engine.keyspace(name).unwrap();
        let versions = keyspace.full(&KeyRange::all(), &at, true).unwrap();
        (name, versions.collect::<Result<_, _>>().unwrap())
    };
    KEYSPACES.map(of).into()
}

/// What a backup or restore may ask of a store, whatever it stores: puts and reads beyond those of its
/// files, listings, looks at sizes.
fn assert_asked(made: RequestCounts, files: u64, most: [u64; 4], what: &str) {
    let [puts, gets, lists, heads] = most;
    assert!(
        made.put + made.multipart_create <= files + puts,
        "{what}: {made:?}"
    );
    assert!(made.get <= files + gets, "{what}: {made:?}");
    assert!(made.list <= lists && made.head <= heads, "{what}: {made:?}");
    assert_eq!(
        (made.delete, made.copy, made.failed),
        (0, 0, 0),
        "{what}: {made:?}"
    );
}

pub(crate) async fn a_full_and_its_incrementals_come_back_equal(place: &Place) {
    let uri = place.uri("engine");
    let folder = scratch::folder().unwrap();
    let engine = open(&folder.path().join("db"));
    for name in KEYSPACES {
        engine
            .create_keyspace(name, KeyspaceSettings::default())
            .unwrap();
    }
    let collection = Collection::create_or_open(&uri, options()).await.unwrap();
    let with_history = BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    };
    let onto = BackupOptions {
        onto: Some(BackupSelector::Latest),
        ..with_history.clone()
    };
    let mut ends = Vec::new();
    // The full's one file of 12 MiB goes up in parts.
    write(&engine, 0, 1000, 15_000);
    let before = collection.requests();
    ends.push(backup(&engine, &collection, &with_history).await.unwrap());
    let requests = collection.requests() - before;
    assert_eq!(requests.multipart_complete, 1, "{requests:?}");
    let files = |n: usize, ends: &[icecore_backup::BackupReport]| ends[n].files();
    // A lock, the manifest and two markers; one listing that checks.
    assert_asked(requests, files(0, &ends), [4, 0, 1, 0], "full");
    assert_eq!(requests.get, 0, "{requests:?}");
    for round in 1..3 {
        // Layers are named for hundredths of a second: one that is taken costs a put and two reads more.
        tokio::time::sleep(Duration::from_millis(20)).await;
        write(&engine, round, 200, 300);
        let before = collection.requests();
        ends.push(backup(&engine, &collection, &onto).await.unwrap());
        // A lock, the manifest, the slot and a marker; the parent's manifest; two listings to find the
        // chain and one that checks; a look whether the full has its marker, and whether retention has
        // closed the chain meanwhile.
        let requests = collection.requests() - before;
        let written = files(ends.len() - 1, &ends);
        assert_asked(requests, written, [4, 1, 3, 2], "incremental");
        assert_eq!(requests.get, 1, "{requests:?}");
    }
    write(&engine, 3, 10, 10);

    // As another process finds it.
    let collection = Collection::open(&uri, options()).await.unwrap();
    let every_byte = VerifyOptions {
        depth: Depth::Checksum,
        ..VerifyOptions::default()
    };
    let verified = verify(&collection, &every_byte).await.unwrap();
    assert!(
        verified.is_ok() && verified.layers.len() == 3,
        "{verified:?}"
    );
    for (n, report) in ends.iter().enumerate() {
        let copy = open(&folder.path().join(format!("copy {n}")));
        let options = RestoreOptions {
            as_of: Some(report.end),
            ..RestoreOptions::default()
        };
        let before = collection.requests();
        let restored = restore(&copy, &collection, &options).await.unwrap();
        // Each layer's manifest and files, and two listings to find the chain.
        let read: u64 = (0..=n).map(|n| files(n, &ends) + 1).sum();
        let made = collection.requests() - before;
        assert_asked(made, read, [0, 0, 2, 0], "restore");
        assert_eq!((made.put, made.multipart_create), (0, 0), "{made:?}");
        assert_eq!((restored.layers, restored.target), (n + 1, report.end));
        assert_eq!(history(&copy, report.end), history(&engine, report.end));
        copy.close().unwrap();
    }
    engine.close().unwrap();
}

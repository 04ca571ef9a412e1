//! Many keyspaces with large windows are backed up within one budget of memory.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Batch, Durability, Engine, Options};
use icecore_mvcc::{KeyspaceSettings, SystemClock};
use icecore_testkit::scratch;

const KEYSPACES: u32 = 16;

/// Changes of each keyspace, and the bytes of their keys: 22 MiB in memory, as 350 MiB for all of them.
const CHANGES: u32 = 24_000;
const KEY_BYTES: usize = 900;

/// More than what changed, so that the windows are found by the index.
const ROWS: u32 = 60_000;

/// What the process may take: 64 MiB for the windows, 20 MiB for two threads' batches of rows, and what the
/// program, its store and a small engine take without any window.
const MOST_KIBIBYTES: u64 = 200 << 10;

fn key(number: u32) -> Vec<u8> {
    let mut key = number.to_be_bytes().to_vec();
    key.resize(KEY_BYTES, b'k');
    key
}

fn changed(db: &Path, collection: &Path) {
    let options = Options {
        write_buffer_bytes: 4 << 20,
        total_write_buffer_bytes: 32 << 20,
        block_cache_bytes: 8 << 20,
        target_file_bytes: 16 << 20,
        ..scratch::small_engine(Arc::new(SystemClock))
    };
    let engine = Engine::open(db, &options).unwrap();
    let keyspaces: Vec<_> = (0..KEYSPACES)
        .map(|n| {
            let name = format!("many.k{n}");
            let settings = KeyspaceSettings::default();
            let keyspace = engine.create_keyspace(&name, settings).unwrap();
            let rows = (0..ROWS).map(|row| Ok((row.to_be_bytes(), b"v")));
            engine.bulk_load(&keyspace, rows).unwrap();
            keyspace
        })
        .collect();
    let uri = CollectionUri::from_local_path(collection).unwrap();
    scratch::runtime().unwrap().block_on(async {
        let store = StoreOptions::default();
        let collection = Collection::create_or_open(&uri, store).await.unwrap();
        let full = BackupOptions::default();
        backup(&engine, &collection, &full).await.unwrap();
    });
    for keyspace in &keyspaces {
        for from in (0..CHANGES).step_by(1000) {
            let mut batch = Batch::new();
            for number in from..from + 1000 {
                batch.put(keyspace, key(number), b"w");
            }
            engine.commit(batch, Durability::Buffered).unwrap();
        }
    }
    drop(keyspaces);
    engine.close().unwrap();
}

#[test]
fn the_windows_of_many_keyspaces_share_one_budget() {
    let folder = scratch::folder().unwrap();
    let (db, collection) = (folder.path().join("db"), folder.path().join("files"));
    changed(&db, &collection);
    let child = Command::new(env!("CARGO_BIN_EXE_crash_child"))
        .arg("incremental")
        .args([&db, &collection])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    let numbers: Vec<u64> = said.split_whitespace().flat_map(str::parse).collect();
    let errors = String::from_utf8_lossy(&child.stderr);
    assert!(
        child.status.success() && numbers.len() == 3,
        "{said}{errors}"
    );
    let expected = [u64::from(KEYSPACES * CHANGES), u64::from(KEYSPACES)];
    assert_eq!(numbers[1..], expected);
    println!("peak: {} KiB", numbers[0]);
    assert!(
        numbers[0] < MOST_KIBIBYTES,
        "it took {} KiB, {MOST_KIBIBYTES} at most are right",
        numbers[0]
    );
}

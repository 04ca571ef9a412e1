//! What is interrupted goes on, and does not do again what is done: counted by the requests it makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod many_files;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore_engine::Engine;
use icecore_restore::{Error, RestoreOptions, restore};
use many_files::{ManyFiles, clock_options, rows_of};

/// Options of one thread that stop after so many calls of the progress, and the flag.
fn stopping_after(readings: u64) -> RestoreOptions {
    let interrupt = Arc::new(AtomicBool::new(false));
    let (flag, seen) = (Arc::clone(&interrupt), AtomicU64::new(0));
    RestoreOptions {
        threads: 1,
        interrupt: Some(interrupt),
        progress: Some(Arc::new(move |_| {
            if seen.fetch_add(1, Ordering::Relaxed) + 1 == readings {
                flag.store(true, Ordering::Release);
            }
        })),
        ..RestoreOptions::default()
    }
}

/// In the middle of a layer: the files that were fetched are not fetched again, though the process that
/// fetched them is gone.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_was_interrupted_within_a_layer_fetches_no_file_twice() {
    let stage = ManyFiles::new("restore-resume").await;
    let files = stage.back_up().await.files();
    assert!(files >= 6, "{files} files");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("db");
    let mut stopped = 0;
    for readings in [3, 5] {
        let engine = Engine::open(&dir, &clock_options()).unwrap();
        let options = stopping_after(readings);
        let error = restore(&engine, &stage.collection, &options)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error}");
        assert!(engine.keyspaces().is_empty(), "nothing is visible");
        stopped += 1;
        engine.close().unwrap();
    }
    assert_eq!(stopped, 2);
    let engine = Engine::open(&dir, &clock_options()).unwrap();
    restore(&engine, &stage.collection, &RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(rows_of(&engine), rows_of(&stage.engine));
    let fetched = stage.requests_of("data/", "get");
    assert_eq!(fetched.len() as u64, files, "{fetched:?}");
    assert!(fetched.values().all(|&times| times == 1), "{fetched:?}");
}

/// A staged file is compared again before it is used: one that was cut by a crash, or changed, is fetched anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_staged_file_that_is_damaged_is_fetched_again() {
    let stage = ManyFiles::new("restore-damaged").await;
    stage.back_up().await;
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("db");
    let engine = Engine::open(&dir, &clock_options()).unwrap();
    restore(&engine, &stage.collection, &stopping_after(3))
        .await
        .unwrap_err();
    let id = engine.restoring()[0].restore_id();
    let staged = engine.restore_staging_dir(&id).unwrap();
    let mut paths: Vec<_> = std::fs::read_dir(staged)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert_eq!(paths.len(), 3);
    let bytes = std::fs::read(&paths[0]).unwrap();
    std::fs::write(&paths[0], &bytes[..bytes.len() / 2]).unwrap();
    let mut bytes = std::fs::read(&paths[1]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&paths[1], bytes).unwrap();
    restore(&engine, &stage.collection, &RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(rows_of(&engine), rows_of(&stage.engine));
    let fetched = stage.requests_of("data/", "get");
    let twice = fetched.values().filter(|&&times| times == 2).count();
    assert_eq!(twice, 2, "{fetched:?}");
}

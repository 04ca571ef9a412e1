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

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore_backup::BackupOptions;
use icecore_engine::{Engine, RestoreScope};
use icecore_mvcc::Timestamp;
use icecore_restore::{Error, RestoreOptions, dry_run, plan_restore, restore};
use many_files::{ManyFiles, clock_options, fill, rows_at, rows_of, small_files};

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

/// The fetched files in a folder.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|ending| ending == "sst"));
    paths.sort();
    paths
}

/// Begins a restore twice and stops it within a layer, each time as another process.
async fn interrupted_twice(stage: &ManyFiles, dir: &Path, as_of: Option<Timestamp>) {
    for readings in [3, 5] {
        let engine = Engine::open(dir, &clock_options()).unwrap();
        let options = RestoreOptions {
            as_of,
            ..stopping_after(readings)
        };
        let error = restore(&engine, &stage.collection, &options)
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Interrupted), "{error}");
        assert!(engine.keyspaces().is_empty(), "nothing is visible");
        engine.close().unwrap();
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
    interrupted_twice(&stage, &dir, None).await;
    let engine = Engine::open(&dir, &clock_options()).unwrap();
    restore(&engine, &stage.collection, &RestoreOptions::default())
        .await
        .unwrap();
    assert_eq!(rows_of(&engine), rows_of(&stage.engine));
    let fetched = stage.requests_of("data/", "get");
    assert_eq!(fetched.len() as u64, files, "{fetched:?}");
    assert!(fetched.values().all(|&times| times == 1), "{fetched:?}");
}

/// Likewise of copied files, which go in together, and of those that are read as one where the target lies
/// before their end.
#[tokio::test(flavor = "multi_thread")]
async fn copied_files_are_not_fetched_twice() {
    let stage = ManyFiles::new("restore-copied").await;
    let middle = stage.engine.visible();
    fill(&stage.engine, 0, 500);
    stage.engine.flush().unwrap();
    let files = stage.back_up_fast().await.files();
    assert!(files >= 6, "{files} files");
    for as_of in [None, Some(middle)] {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("db");
        interrupted_twice(&stage, &dir, as_of).await;
        let engine = Engine::open(&dir, &clock_options()).unwrap();
        // What a run left behind that died while it wrote what the files show as of the target.
        let id = engine.restoring()[0].restore_id();
        let staged = engine.restore_staging_dir(&id).unwrap();
        for file in files_in(&staged) {
            let flat = file.with_extension("flat");
            std::fs::create_dir(&flat).unwrap();
            std::fs::write(flat.join("flat-1.sst"), "torn").unwrap();
        }
        let options = RestoreOptions {
            as_of,
            ..RestoreOptions::default()
        };
        let report = restore(&engine, &stage.collection, &options).await.unwrap();
        assert_eq!(rows_of(&engine), rows_at(&stage.engine, report.target));
        let fetched = stage.requests_of("data/", "get");
        assert_eq!(fetched.len() as u64, files, "{fetched:?}");
        assert!(fetched.values().all(|&times| times == 1), "{fetched:?}");
        drop(stage.log.take());
        let left = std::fs::read_dir(engine.staging_dir()).unwrap().count();
        assert_eq!(left, 0, "nothing is left in the staging folder");
    }
}

/// Files that straddle the target stay as they were fetched until what is written of them is in.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_straddle_the_target_are_not_fetched_twice() {
    let stage = ManyFiles::new("restore-straddling").await;
    let middle = stage.engine.visible();
    fill(&stage.engine, 0, 4000);
    let options = BackupOptions {
        revision_history: true,
        ..small_files()
    };
    let files = stage.back_up_with(&options).await.files();
    assert!(files >= 6, "{files} files");
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("db");
    let as_of = Some(middle);
    interrupted_twice(&stage, &dir, as_of).await;
    let engine = Engine::open(&dir, &clock_options()).unwrap();
    let options = RestoreOptions {
        as_of,
        ..RestoreOptions::default()
    };
    let report = restore(&engine, &stage.collection, &options).await.unwrap();
    let rewritten: u64 = report.keyspaces.iter().map(|k| k.rewritten_files).sum();
    assert!(rewritten >= 6, "{rewritten} files straddle");
    assert_eq!(rows_of(&engine), rows_at(&stage.engine, middle));
    let fetched = stage.requests_of("data/", "get");
    assert!(fetched.values().all(|&times| times == 1), "{fetched:?}");
    let left = std::fs::read_dir(engine.staging_dir()).unwrap().count();
    assert_eq!(left, 0, "nothing is left in the staging folder");
}

/// Two that would share what they bring: the second is told, and takes nothing from the first.
#[tokio::test(flavor = "multi_thread")]
async fn the_same_restore_is_not_at_work_twice() {
    let stage = ManyFiles::new("restore-twice").await;
    stage.back_up().await;
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
    let options = RestoreOptions::default();
    let (first, second) = tokio::join!(
        restore(&engine, &stage.collection, &options),
        restore(&engine, &stage.collection, &options),
    );
    let (done, refused) = match (first, second) {
        (Ok(done), Err(refused)) | (Err(refused), Ok(done)) => (done, refused),
        both => panic!("{both:?}"),
    };
    assert_eq!(done.keyspaces.len(), 2);
    assert!(
        matches!(
            refused,
            Error::Held { .. } | Error::NotEmpty { .. } | Error::Engine(_)
        ),
        "{refused}"
    );
    assert_eq!(rows_of(&engine), rows_of(&stage.engine));
}

/// A run that died between the copied files of a layer and its others: the first are in, and neither fetched nor
/// brought in again, which RocksDB would refuse.
#[tokio::test(flavor = "multi_thread")]
async fn copied_files_that_are_in_are_left_alone() {
    let stage = ManyFiles::new("restore-copied-in").await;
    stage.engine.flush().unwrap();
    fill(&stage.engine, 0, 200);
    let report = stage.back_up_fast().await;
    let copied: u64 = report.keyspaces.iter().map(|k| k.copied_files).sum();
    assert_eq!(
        report.files() - copied,
        2,
        "what was in memory, of each keyspace"
    );
    let folder = tempfile::tempdir().unwrap();
    let engine = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
    let options = RestoreOptions::default();
    let plan = plan_restore(&stage.collection, &options).await.unwrap();
    let wanted: Vec<_> = plan
        .keyspaces
        .iter()
        .map(|k| (k.name.clone(), k.source.settings.clone()))
        .collect();
    let begun = engine
        .begin_restores(&plan.restore_id, &wanted, RestoreScope::WholeEngine)
        .unwrap();
    for (hidden, planned) in begun.iter().zip(&plan.keyspaces) {
        let layer = &planned.layers[0];
        let mut live = Vec::new();
        for file in layer.files.iter().map(|planned| &planned.file) {
            if file.copied.is_some() {
                let path = folder.path().join(format!("{}.sst", file.id));
                let fetched = stage.collection.fetch(&layer.path, file, &path).await;
                fetched.unwrap();
                live.push(path);
            }
        }
        let tag = format!("{} copied files", layer.path);
        assert!(hidden.ingest_live(&tag, &live).unwrap());
    }
    drop(begun);
    drop(stage.log.take());
    let told = dry_run(Some(&engine), &stage.collection, &options)
        .await
        .unwrap();
    assert_eq!(told.files, 2);
    drop(stage.log.take());
    restore(&engine, &stage.collection, &options).await.unwrap();
    assert_eq!(rows_of(&engine), rows_of(&stage.engine));
    assert_eq!(stage.requests_of("data/", "get").len(), 2);
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
    let paths = files_in(&staged);
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

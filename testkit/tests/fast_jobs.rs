//! Fast fulls as jobs: stopped, killed and robbed; every run captures anew, and copies no file twice that is
//! still live.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod flaky;
mod job_stage;
mod many_files;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use icecore_archive::{Collection, FileEntry, LayerPath, StoreOptions};
use icecore_backup::Mode;
use icecore_backup::jobs::{BackupSpec, JobState};
use icecore_backup::retain::{ExpireOptions, expire};
use icecore_engine::Engine;
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::scratch;
use job_stage::{ROWS, Stage, change};
use many_files::{clock_options, fill, rows_at};

/// A stage whose files stay as they are, all rows in files.
fn stage(rows: u32) -> Stage {
    let stage = Stage::new(rows);
    stage.engine().flush().unwrap();
    stage
}

fn fast(stage: &Stage) -> BackupSpec {
    BackupSpec {
        mode: Mode::Fast,
        revision_history: true,
        ..stage.spec()
    }
}

/// A few requests a second, so that it can be met in its middle.
fn slow(stage: &Stage) -> BackupSpec {
    BackupSpec {
        max_requests_per_second: Some(12.try_into().unwrap()),
        threads: Some(1),
        ..fast(stage)
    }
}

fn pool(stage: &Stage) -> BTreeSet<PathBuf> {
    let pool = stage.collection_dir().join("data");
    let in_pool = |path: &PathBuf| path.parent() == Some(&pool);
    stage.data_files().into_iter().filter(in_pool).collect()
}

/// The copied files that the newest full names, with its layer.
fn copied(stage: &Stage) -> (LayerPath, Vec<FileEntry>) {
    let manifest = stage.manifests().remove(0);
    let files = manifest.files().map(|(_, file)| file.clone());
    let copied = files.filter(|file| file.copied.is_some()).collect();
    (manifest.layer, copied)
}

/// The newest full restores to what the engine held at its end, with the past.
fn restores(stage: &Stage) {
    let folder = scratch::folder().unwrap();
    let copy = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
    let report = scratch::runtime().unwrap().block_on(async {
        let collection = Collection::open(&stage.uri(), StoreOptions::default())
            .await
            .unwrap();
        restore(&copy, &collection, &RestoreOptions::default())
            .await
            .unwrap()
    });
    let at = report.target;
    assert!(
        rows_at(&copy, at) == rows_at(stage.engine(), at),
        "as of {at}"
    );
}

#[test]
fn a_fast_full_that_is_paused_goes_on_with_the_files_that_it_has() {
    let mut stage = stage(ROWS);
    let id = stage.submit(&slow(&stage));
    stage.noted(id, 2 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    let before = pool(&stage);
    assert!(before.len() > 1);
    // Committed between the two captures: in the layer, since that is as of the second.
    fill(stage.engine(), ROWS, ROWS + 50);
    stage.restart();
    stage.runner().resume(id).unwrap();
    let row = stage.state(id, JobState::Succeeded);
    assert_eq!(row.result.unwrap()["method"], "fast");
    let (_, files) = copied(&stage);
    assert!(before.is_subset(&pool(&stage)));
    let named: BTreeSet<String> = files
        .iter()
        .map(|file| format!("{}.sst", file.id))
        .collect();
    let is_named = |path: &PathBuf| named.contains(path.file_name().unwrap().to_str().unwrap());
    let unnamed = pool(&stage).iter().filter(|path| !is_named(path)).count();
    assert_eq!(unnamed, 0, "none was put twice");
    stage.compare().unwrap();
    let owners = stage.owners();
    assert_eq!(owners.len(), 1, "{owners:?}");
    assert!(owners[0].starts_with("backup of the whole engine"));
}

/// All files of a layer are of one capture, however often the job was stopped and however much was
/// rewritten in between.
#[test]
fn no_layer_mixes_two_captures() {
    let mut stage = stage(ROWS);
    // Compacting makes many small files.
    let spec = BackupSpec {
        max_requests_per_second: Some(60.try_into().unwrap()),
        ..slow(&stage)
    };
    let id = stage.submit(&spec);
    for bytes in [1 << 20, 2 << 20, 3 << 20] {
        stage.noted(id, bytes);
        change(stage.engine());
        for keyspace in stage.engine().keyspaces() {
            stage.engine().compact(&keyspace).unwrap();
        }
        stage.restart();
    }
    let row = stage.state(id, JobState::Succeeded);
    assert_eq!(row.runs, 4);
    let (layer, files) = copied(&stage);
    let end = stage.manifests()[0].end;
    assert!(!files.is_empty() && files.iter().all(|file| file.max_ts == end));
    assert_eq!(row.result.unwrap()["backup"], layer.to_string());
    // What the captures before left behind is named by nothing.
    assert!(stage.data_files().len() > stage.named_files());
    restores(&stage);
}

/// The store is gone from the k-th request on, and comes back: for every k. In between the database goes on.
#[test]
fn a_fast_full_goes_on_from_every_request_at_which_its_store_went_away() {
    let mut stage = stage(300);
    let mut suspended = 0;
    for request in 0.. {
        fill(stage.engine(), 0, 20);
        stage.engine().flush().unwrap();
        stage.flaky.fail_from(request);
        let id = stage.submit(&fast(&stage));
        let row = stage.wait_for(id, "stopped", |row| {
            matches!(row.state, JobState::Paused | JobState::Succeeded)
        });
        if row.state == JobState::Succeeded {
            assert!(request > 8, "{request}");
            break;
        }
        let error = row.error.unwrap();
        assert!(error.contains("injected"), "{error}");
        suspended += 1;
        fill(stage.engine(), 0, 10);
        if request % 3 == 0 {
            stage.restart();
        }
        stage.flaky.heal();
        stage.runner().resume(id).unwrap();
        stage.state(id, JobState::Succeeded);
        assert_eq!(stage.owners().len(), 1, "request {request}");
        restores(&stage);
    }
    assert!(suspended > 10, "{suspended}");
}

/// A checkpoint that is gone or damaged, and a file that the pool lost: that is copied again.
#[test]
fn what_is_not_there_any_more_is_copied_again() {
    for damage in ["removed", "flipped", "a file is gone"] {
        let mut stage = stage(ROWS);
        let id = stage.submit(&slow(&stage));
        stage.noted(id, 3 << 20);
        stage.runner().pause(id).unwrap();
        stage.state(id, JobState::Paused);
        stage.stop();
        let checkpoints = stage.checkpoint_objects();
        assert!(checkpoints.len() > 1, "{checkpoints:?}");
        match damage {
            "removed" => std::fs::remove_file(&checkpoints[0]).unwrap(),
            "flipped" => {
                let mut bytes = std::fs::read(&checkpoints[0]).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(&checkpoints[0], bytes).unwrap();
            }
            _ => std::fs::remove_file(pool(&stage).first().unwrap()).unwrap(),
        }
        stage.start();
        stage.runner().resume(id).unwrap();
        stage.state(id, JobState::Succeeded);
        assert_eq!(stage.compare(), Ok(()), "{damage}");
        if damage != "a file is gone" {
            let (_, files) = copied(&stage);
            assert!(pool(&stage).len() > files.len(), "{damage}: some are junk");
        }
    }
}

/// Retention takes the directory of a job that is paused for longer than the grace. The job has no need of it.
#[test]
fn a_fast_full_whose_directory_retention_took_takes_another() {
    let stage = stage(ROWS);
    let id = stage.submit(&slow(&stage));
    stage.noted(id, 1 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    scratch::runtime().unwrap().block_on(async {
        let collection = Collection::open(&stage.uri(), StoreOptions::default())
            .await
            .unwrap();
        let options = ExpireOptions {
            grace: Duration::ZERO,
            ..ExpireOptions::default()
        };
        expire(&collection, &options).await.unwrap();
    });
    assert!(stage.checkpoint_objects().is_empty());
    stage.runner().resume(id).unwrap();
    stage.state(id, JobState::Succeeded);
    stage.compare().unwrap();
}

#[test]
fn an_incremental_job_goes_on_from_a_fast_full_job() {
    let stage = stage(ROWS);
    let full = stage.submit(&fast(&stage));
    stage.state(full, JobState::Succeeded);
    change(stage.engine());
    let id = stage.submit(&stage.onto(stage.spec()));
    stage.state(id, JobState::Succeeded);
    stage.compare().unwrap();
    let refused = stage.submit(&stage.onto(fast(&stage)));
    let over = |row: &icecore_backup::jobs::JobRow| row.state.is_over();
    let row = stage.wait_for(refused, "over", over);
    assert!(row.error.unwrap().contains("cannot take a fast full"));
}

//! Backup jobs: interrupted everywhere, raced, robbed of their checkpoints; and what is done again is counted.
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

use std::sync::Arc;
use std::time::Duration;

use icecore_archive::{BegunLayer, Checkpoint, Collection, StoreOptions};
use icecore_backup::jobs::{BackupJobs, BackupSpec, JobRow, JobRunner, JobState};
use icecore_backup::retain::{ExpireOptions, expire};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Durability, Engine};
use icecore_gc::{ProtectRequest, ProtectedTimestamps, Target};
use icecore_mvcc::{KeyspaceSettings, Timestamp};
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::scratch;
use job_stage::{ROWS, Stage, change};
use many_files::{clock_options, fill, rows_of};

#[test]
fn a_job_takes_a_full_and_then_an_incremental_and_leaves_only_the_chains_protection() {
    let mut stage = Stage::new(ROWS);
    for spec in [stage.spec(), stage.onto(stage.spec())] {
        let id = stage.submit(&spec);
        let row = stage.state(id, JobState::Succeeded);
        assert_eq!(row.progress.fraction(), Some(1.0));
        assert!(row.finished > Some(row.created) && row.runs == 1, "{row:?}");
        assert!(row.result.unwrap()["files"].as_u64().unwrap() > 3);
        let owners = stage.owners();
        assert_eq!(owners.len(), 1, "{owners:?}");
        assert!(
            owners[0].starts_with("backup of the whole engine"),
            "{owners:?}"
        );
        stage.compare().unwrap();
        change(stage.engine());
    }
    assert_eq!(stage.data_files().len(), stage.named_files());
    assert_eq!(stage.fingerprints(), [(2, 2), (2, 2)]);
    stage.stop();
    // Nothing that only a job that goes on needs is kept.
    for kind in ["job-state", "job-checkpoint"] {
        let rows = stage.engine().system().list(kind).unwrap();
        assert!(rows.is_empty(), "{rows:?}");
    }
}

#[test]
fn a_full_that_is_paused_and_resumed_in_another_process_puts_no_file_twice() {
    let mut stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    let row = stage.noted(id, 2 << 20);
    assert!(row.progress.bytes_per_second.is_some() && row.progress.fraction() < Some(1.0));
    stage.runner().pause(id).unwrap();
    let row = stage.state(id, JobState::Paused);
    assert_eq!(stage.owners(), [format!("backup job {id}")]);
    assert!(row.protection.is_some(), "{row:?}");
    let refused = stage.runner().pause(id).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("is paused and cannot be paused"),
        "{refused}"
    );
    let before = stage.data_files().len();
    stage.restart();
    assert_eq!(stage.job(id).state, JobState::Paused);
    assert_eq!(stage.owners(), [format!("backup job {id}")]);
    stage.runner().resume(id).unwrap();
    let row = stage.state(id, JobState::Succeeded);
    assert_eq!(row.runs, 2);
    assert!(before > 1 && stage.data_files().len() > before + 1);
    assert_eq!(
        stage.data_files().len(),
        stage.named_files(),
        "none was put twice"
    );
    let [(2, told)] = stage.fingerprints()[..] else {
        panic!("{:?}", stage.fingerprints());
    };
    assert!(
        told < 2,
        "what an earlier run read is in no fingerprint of this one"
    );
    stage.compare().unwrap();
}

/// As after a start of the machine with the disk of the backups not mounted: the place is there, and empty, or
/// somebody has made another collection in it.
#[test]
fn a_job_waits_where_its_collection_is_not_and_goes_on_once_it_is_back() {
    let mut stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    stage.noted(id, 2 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    let files = stage.data_files();
    let place = stage.uri().local_path().unwrap().to_owned();
    let away = place.with_extension("away");
    std::fs::rename(&place, &away).unwrap();
    for (makes_another, text) in [
        (false, "no collection at"),
        (true, "was begun in collection"),
    ] {
        std::fs::create_dir_all(&place).unwrap();
        if makes_another {
            let uri = stage.uri();
            let made = Collection::create_or_open(&uri, StoreOptions::default());
            scratch::runtime().unwrap().block_on(made).unwrap();
        }
        stage.restart();
        stage.runner().resume(id).unwrap();
        let row = stage.state(id, JobState::Paused);
        assert!(
            row.error.as_ref().is_some_and(|e| e.contains(text)),
            "{row:?}"
        );
    }
    std::fs::remove_dir_all(&place).unwrap();
    std::fs::rename(&away, &place).unwrap();
    stage.runner().resume(id).unwrap();
    stage.state(id, JobState::Succeeded);
    let now = stage.data_files();
    assert!(files.iter().all(|file| now.contains(file)));
    stage.compare().unwrap();
}

/// Retention takes a job for dead that is paused for longer than the grace.
#[test]
fn a_job_whose_files_retention_took_fails_and_says_why() {
    let mut stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    stage.noted(id, 1 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    let expire_after = |grace| {
        scratch::runtime().unwrap().block_on(async {
            let collection = Collection::open(&stage.uri(), StoreOptions::default())
                .await
                .unwrap();
            let options = ExpireOptions {
                grace,
                ..ExpireOptions::default()
            };
            expire(&collection, &options).await.unwrap();
        });
    };
    let before = stage.data_files().len();
    expire_after(Duration::from_secs(3600));
    assert_eq!(
        stage.data_files().len(),
        before,
        "within the grace all stay"
    );
    expire_after(Duration::ZERO);
    assert_eq!(stage.data_files().len(), 0);
    stage.runner().resume(id).unwrap();
    let row = stage.state(id, JobState::Failed);
    let error = row.error.unwrap();
    assert!(
        error.contains("for dead and removed what it wrote"),
        "{error}"
    );
    assert_eq!(stage.data_files().len(), 0, "it does nothing in vain");
    assert!(stage.owners().is_empty(), "it holds nothing");
    // The next one has a place of its own.
    let id = stage.submit(&stage.spec());
    stage.state(id, JobState::Succeeded);
    stage.compare().unwrap();
    stage.restart();
}

#[test]
fn an_incremental_and_a_history_that_are_stopped_again_and_again_are_whole() {
    let mut stage = Stage::new(ROWS);
    let history = |spec: BackupSpec| BackupSpec {
        revision_history: true,
        ..spec
    };
    change(stage.engine());
    let mut times = vec![stage.engine().now()];
    let id = stage.submit(&history(stage.slow()));
    for bytes in [1 << 20, 3 << 20, 5 << 20] {
        stage.noted(id, bytes);
        // What is committed meanwhile is not in it.
        fill(stage.engine(), 0, 50);
        stage.restart();
    }
    stage.state(id, JobState::Succeeded);
    change(stage.engine());
    times.push(stage.engine().now());
    change(stage.engine());
    let id = stage.submit(&history(stage.onto(stage.slow())));
    for bytes in [1 << 20, 3 << 20] {
        stage.noted(id, bytes);
        stage.restart();
    }
    stage.state(id, JobState::Succeeded);
    assert_eq!(
        stage.data_files().len(),
        stage.named_files(),
        "none was put twice"
    );
    stage.compare().unwrap();
    // Every version is there, those of keys at which a run stopped too.
    let folder = scratch::folder().unwrap();
    let copy = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
    scratch::runtime().unwrap().block_on(async {
        let collection = Collection::open(&stage.uri(), StoreOptions::default())
            .await
            .unwrap();
        restore(&copy, &collection, &RestoreOptions::default())
            .await
            .unwrap();
    });
    for name in ["bank.accounts", "bank.audit"] {
        for row in (0..ROWS).step_by(7) {
            let of = |engine: &Engine| {
                let keyspace = engine.keyspace(name).unwrap();
                let key = format!("{row:08}");
                keyspace
                    .versions(&engine.snapshot(), key.as_bytes())
                    .unwrap()
            };
            assert_eq!(of(&copy), of(stage.engine()), "{name} {row}");
        }
    }
    for time in times {
        let of = |engine: &Engine| many_files::rows_at(engine, time);
        assert!(of(&copy) == of(stage.engine()), "as of {time}");
    }
}

#[test]
fn a_cancelled_job_holds_nothing_and_lists_nothing() {
    let stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    stage.noted(id, 1 << 20);
    stage.runner().cancel(id).unwrap();
    let row = stage.state(id, JobState::Cancelled);
    assert!(
        row.protection.is_none() && row.finished.is_some(),
        "{row:?}"
    );
    assert!(stage.owners().is_empty());
    assert!(
        !stage.data_files().is_empty(),
        "what was stored stays, as junk"
    );
    // One that waits, and one that is paused.
    for _ in 0..2 {
        let id = stage.submit(&stage.slow());
        stage.noted(id, 1 << 20);
        stage.runner().pause(id).unwrap();
        stage.state(id, JobState::Paused);
        stage.runner().cancel(id).unwrap();
        stage.state(id, JobState::Cancelled);
    }
    assert!(stage.owners().is_empty());
    scratch::runtime().unwrap().block_on(async {
        let collection = Collection::open(&stage.uri(), StoreOptions::default())
            .await
            .unwrap();
        assert!(collection.fulls().await.unwrap().is_empty());
    });
}

/// The store is gone from the k-th request on, and comes back: for every k.
#[test]
fn a_job_goes_on_from_every_request_at_which_its_store_went_away() {
    let stage = Stage::new(400);
    let small = stage.spec();
    let mut suspended = 0;
    for (full, spec) in [(true, small.clone()), (false, stage.onto(small))] {
        for request in 0.. {
            stage.flaky.fail_from(request);
            let id = stage.submit(&spec);
            let row = stage.wait_for(id, "stopped", |row| {
                matches!(row.state, JobState::Paused | JobState::Succeeded)
            });
            stage.flaky.heal();
            if row.state == JobState::Succeeded {
                assert!(request > 8, "{request}");
                break;
            }
            let error = row.error.unwrap();
            assert!(error.contains("injected"), "{error}");
            suspended += 1;
            stage.runner().resume(id).unwrap();
            stage.state(id, JobState::Succeeded);
            assert_eq!(stage.owners().len(), 1, "full {full}, request {request}");
            let compared = stage.compare();
            assert_eq!(compared, Ok(()), "full {full}, request {request}");
            fill(stage.engine(), 0, 20);
        }
    }
    assert!(suspended > 20, "{suspended}");
}

/// A checkpoint that is gone, damaged, or replaced: the work since is done again, and nothing is missing.
#[test]
fn a_checkpoint_that_is_not_what_was_written_is_not_believed() {
    for damage in ["removed", "flipped", "replaced", "a file is gone"] {
        let mut stage = Stage::new(ROWS);
        let id = stage.submit(&stage.slow());
        stage.noted(id, 3 << 20);
        stage.runner().pause(id).unwrap();
        stage.state(id, JobState::Paused);
        stage.stop();
        let checkpoints = stage.checkpoint_objects();
        assert!(checkpoints.len() > 1, "{checkpoints:?}");
        let victim = &checkpoints[1];
        match damage {
            "removed" => std::fs::remove_file(victim).unwrap(),
            "flipped" => {
                let mut bytes = std::fs::read(victim).unwrap();
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                std::fs::write(victim, bytes).unwrap();
            }
            "replaced" => {
                std::fs::copy(&checkpoints[0], victim).unwrap();
            }
            _ => std::fs::remove_file(&stage.data_files()[0]).unwrap(),
        }
        stage.start();
        stage.runner().resume(id).unwrap();
        stage.state(id, JobState::Succeeded);
        assert_eq!(stage.compare(), Ok(()), "{damage}");
        // The file that is gone was perhaps the only one that its checkpoint named.
        if damage != "a file is gone" {
            assert!(
                stage.data_files().len() > stage.named_files(),
                "{damage}: some are junk"
            );
        }
    }
}

/// A checkpoint that says too much would make a resume skip work. The comparison must see that.
#[test]
fn planted_bug_a_resume_that_skips_a_piece_is_caught() {
    let mut stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    stage.noted(id, 1 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    stage.stop();
    let system = stage.engine().system();
    let (_, begun) = system.list("job-state").unwrap().remove(0);
    let begun: serde_json::Value = serde_json::from_slice(&begun).unwrap();
    let layer = BegunLayer {
        layer: serde_json::from_value(begun["layer"].clone()).unwrap(),
        run: serde_json::from_value(begun["run"].clone()).unwrap(),
        end: serde_json::from_value(begun["plan"]["end"].clone()).unwrap(),
        parent: None,
        full_end: serde_json::from_value(begun["full_end"].clone()).unwrap(),
    };
    let pieces = begun["pieces"].as_array().unwrap().len() as u32;
    let number = 900;
    let lie = Checkpoint {
        job: id.to_string(),
        run: layer.run,
        number,
        layer: layer.layer.clone(),
        end: layer.end,
        files: Vec::new(),
        finished: (0..pieces).collect(),
    };
    let blake3 = scratch::runtime().unwrap().block_on(async {
        let collection = Collection::open(&stage.uri(), StoreOptions::default())
            .await
            .unwrap();
        let writer = collection.resume_layer(layer);
        writer.put_checkpoint(&lie).await.unwrap().unwrap()
    });
    let row = serde_json::json!({ "number": number, "blake3": blake3 });
    system
        .put(
            "job-checkpoint",
            &format!("{id}/{number:010}"),
            row.to_string().into_bytes(),
        )
        .unwrap();
    drop(system);
    stage.start();
    stage.runner().resume(id).unwrap();
    stage.state(id, JobState::Succeeded);
    stage.compare().expect_err("a piece was skipped");
}

#[test]
fn of_two_jobs_for_one_slot_one_wins_and_the_other_names_it() {
    let stage = Stage::new(ROWS);
    let full = stage.submit(&stage.spec());
    stage.state(full, JobState::Succeeded);
    change(stage.engine());
    // Both are planned before either is done.
    let ids = [
        stage.submit(&stage.onto(stage.slow())),
        stage.submit(&stage.onto(stage.slow())),
    ];
    let over = |row: &JobRow| row.state.is_over();
    let rows = ids.map(|id| stage.wait_for(id, "over", over));
    let (mut won, mut lost) = (&rows[0], &rows[1]);
    if lost.state == JobState::Succeeded {
        std::mem::swap(&mut won, &mut lost);
    }
    assert_eq!(
        (won.state, lost.state),
        (JobState::Succeeded, JobState::Failed),
        "{rows:?}"
    );
    let error = lost.error.as_ref().unwrap();
    assert!(
        error.contains(&format!("(job {}, process ", won.id)),
        "{error}"
    );
    assert_eq!(stage.owners().len(), 1, "the loser holds nothing");
    stage.compare().unwrap();
}

#[test]
fn protection_of_jobs_that_died_is_released_and_no_other() {
    let mut stage = Stage::new(10);
    let records = ProtectedTimestamps::new(stage.engine());
    let dead = "backup job 7f3b0a52-9c1d-4e6f-8a21-0b5c6d7e8f90";
    for owner in [dead, "backup job of the month", "audit"] {
        let request = ProtectRequest::new(stage.engine().now(), Target::All, owner);
        records.protect(request).unwrap();
    }
    drop(records);
    stage.restart();
    let mut owners = stage.owners();
    owners.sort();
    assert_eq!(owners, ["audit", "backup job of the month"]);
}

#[test]
fn a_copy_of_the_database_does_not_run_its_jobs() {
    let mut stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    stage.noted(id, 1 << 20);
    let copy = stage.folder.path().join("copy");
    stage.engine().checkpoint(&copy).unwrap();
    stage.stop();
    let copy = Engine::open(copy, &clock_options()).unwrap();
    let handler = Arc::new(BackupJobs::new(stage.store.clone()));
    let runner = JobRunner::start(&copy, vec![handler], stage.options).unwrap();
    let row = runner.get(id).unwrap();
    assert_eq!(row.state, JobState::Failed);
    assert!(
        row.error
            .unwrap()
            .contains("of which this database is a copy")
    );
    assert!(ProtectedTimestamps::new(&copy).list().unwrap().is_empty());
    runner.stop().unwrap();
    stage.start();
    stage.state(id, JobState::Succeeded);
    stage.compare().unwrap();
}

#[test]
fn a_job_with_a_secret_or_that_nobody_knows_is_refused_before_it_is_one() {
    let stage = Stage::new(10);
    let refused = |kind: &str, json: &str| {
        let spec = serde_json::from_str(json).unwrap();
        let error = stage.runner().submit(kind, spec).unwrap_err().to_string();
        assert!(!error.contains("canary"), "{error}");
        error
    };
    let uri = "s3://b/p?AWS_ACCESS_KEY_ID=canary-id&AWS_SECRET_ACCESS_KEY=canary-secret";
    let error = refused("backup", &format!(r#"{{"into":"{uri}"}}"#));
    assert!(error.contains("holds credentials"), "{error}");
    let key =
        "aws-kms:///k?region=r&AWS_ACCESS_KEY_ID=canary-id&AWS_SECRET_ACCESS_KEY=canary-secret";
    let error = refused(
        "backup",
        &format!(r#"{{"into":"file:///c","kms":["{key}"]}}"#),
    );
    assert!(error.contains("holds credentials"), "{error}");
    let error = refused("backup", r#"{"into":"file:///c","colour":"red"}"#);
    assert!(error.contains("unknown field `colour`"), "{error}");
    assert!(refused("dance", "{}").contains("known are backup"));
    let soon = format!(
        r#"{{"into":"file:///c","as_of":"{}"}}"#,
        Timestamp::MAX.nanos()
    );
    assert!(refused("backup", &soon).contains("cannot read as of"));
    assert!(stage.runner().list().unwrap().is_empty());
}

/// An ordinary backup beside a paused job does not release what the job holds.
#[test]
fn an_ordinary_backup_leaves_a_paused_jobs_protection_alone() {
    let stage = Stage::new(ROWS);
    let id = stage.submit(&stage.slow());
    stage.noted(id, 1 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    scratch::runtime().unwrap().block_on(async {
        let collection = Collection::open(&stage.uri(), StoreOptions::default())
            .await
            .unwrap();
        backup(stage.engine(), &collection, &BackupOptions::default())
            .await
            .unwrap();
    });
    assert!(stage.owners().contains(&format!("backup job {id}")));
    stage.runner().resume(id).unwrap();
    stage.state(id, JobState::Succeeded);
    assert_eq!(stage.owners().len(), 1);
}

/// What the window's record cannot hold: it begins before the keyspace can be read.
#[test]
fn what_an_incremental_job_takes_from_zero_is_held_from_the_layers_end_while_it_is_paused() {
    let mut stage = Stage::new(10);
    let full = stage.submit(&stage.spec());
    stage.state(full, JobState::Succeeded);
    for name in ["bank.new", "bank.gone"] {
        let settings = KeyspaceSettings::default();
        stage.engine().create_keyspace(name, settings).unwrap();
    }
    fill(stage.engine(), 0, ROWS);
    let rows = rows_of(stage.engine());
    let spec = BackupSpec {
        revision_history: true,
        ..stage.onto(stage.slow())
    };
    stage.engine().drop_keyspace("bank.gone").unwrap();
    let id = stage.submit(&spec);
    stage.noted(id, 1 << 20);
    stage.runner().pause(id).unwrap();
    stage.state(id, JobState::Paused);
    stage.restart();
    // Every row is replaced, and whatever nothing holds is collected.
    let keyspace = stage.engine().keyspace("bank.new").unwrap();
    for row in 0..ROWS {
        let key = format!("{row:08}");
        keyspace.put(&key, b"later", Durability::Buffered).unwrap();
    }
    let at_once = icecore_gc::GcOptions {
        ttl_override: Some(Duration::ZERO),
        compact: true,
        ..icecore_gc::GcOptions::default()
    };
    icecore_gc::collect(stage.engine(), &at_once).unwrap();
    stage.runner().resume(id).unwrap();
    stage.state(id, JobState::Succeeded);
    assert_eq!(stage.owners().len(), 1, "{:?}", stage.owners());
    let folder = scratch::folder().unwrap();
    let restored = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
    scratch::runtime().unwrap().block_on(async {
        let opened = Collection::open(&stage.uri(), StoreOptions::default()).await;
        let options = RestoreOptions::default();
        restore(&restored, &opened.unwrap(), &options)
            .await
            .unwrap();
    });
    let restored = rows_of(&restored);
    assert!(restored["bank.new"] == rows["bank.new"]);
    assert!(!restored.contains_key("bank.gone"));
    // Its last moments are in the layer, too.
    let manifests = stage.manifests();
    let gone = manifests[1].keyspaces.iter();
    let gone = gone.filter(|k| k.descriptor.name == "bank.gone");
    let entries: u64 = gone.flat_map(|k| &k.files).map(|file| file.entries).sum();
    assert_eq!(entries, u64::from(ROWS));
}

/// Which jobs are over, garbage collection reads from their rows.
#[test]
fn what_a_job_that_is_over_still_holds_is_released_by_a_round_and_what_a_paused_one_holds_is_not() {
    let stage = Stage::new(ROWS);
    let over = stage.submit(&stage.spec());
    stage.state(over, JobState::Succeeded);
    let paused = stage.submit(&stage.slow());
    stage.noted(paused, 1 << 20);
    stage.runner().pause(paused).unwrap();
    stage.state(paused, JobState::Paused);
    let request = ProtectRequest::new(stage.engine().now(), Target::All, "what it left");
    let id = over.to_string().parse().unwrap();
    let request = request.held_by(icecore_gc::Holder::Job { id });
    let left = ProtectedTimestamps::new(stage.engine()).protect(request);
    let at_once = icecore_gc::GcOptions {
        dead_holder_grace: Duration::ZERO,
        ..icecore_gc::GcOptions::default()
    };
    // Found dead, then released.
    icecore_gc::collect(stage.engine(), &at_once).unwrap();
    let report = icecore_gc::collect(stage.engine(), &at_once).unwrap();
    let released: Vec<_> = report.released.iter().map(|r| r.id).collect();
    assert_eq!(released, [left.unwrap().id]);
    assert!(stage.owners().contains(&format!("backup job {paused}")));
}

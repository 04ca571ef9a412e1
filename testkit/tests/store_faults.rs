//! Backups and restores on stores that fail in every way we know, at every request, and at random.
//!
//! What must hold: an operation succeeds exactly, or fails with an error that says why. No layer is listed
//! that does not restore, and no restore shows anything but the state of its target.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::collections::BTreeSet;
use std::time::Duration;

use icecore_archive::{Error as ArchiveError, LayerPath};
use icecore_backup::{BackupOptions, BackupReport, Error as BackupError};
use icecore_restore::RestoreOptions;
use icecore_testkit::faults::{Chaos, Fault, Fuse, Mode, Strike, swallowing};
use rig::{Rig, onto_latest, read_all};

/// Faults of the random runs, all together.
const RANDOM_FAULTS: u64 = 10_000;

/// Random runs; each is a test of its own, so that they run side by side.
const RANDOM_RUNS: u64 = 4;

/// Does something to each request of a backup in turn, in each way that applies.
fn backup_holds(what: &str, prepare: impl Fn(&Rig), options: &BackupOptions) {
    let rig = Rig::new();
    rig.write(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))]);
    let mut struck = 0;
    for mode in Mode::ALL {
        for request in 0.. {
            rig.new_collection();
            prepare(&rig);
            let records = rig.records();
            let chaos = Chaos::new(Strike::Only(request, mode));
            let place = format!("{what}, {mode:?} at request {request}");
            let outcome = attempt_backup(&rig, &chaos, options);
            match &outcome {
                Ok(layer) => assert!(rig.layers().contains(layer), "{place}: not listed"),
                Err(error) => {
                    assert!(!error.contains('\n'), "{place}: {error}");
                    assert_eq!(rig.records(), records, "{place}: protection was left");
                }
            }
            let staged = std::fs::read_dir(rig.engine().staging_dir())
                .unwrap()
                .count();
            assert_eq!(staged, 0, "{place}: files were left in staging");
            rig.all_layers_restore();
            if chaos.struck() == 0 {
                outcome.unwrap();
                break;
            }
            struck += 1;
            rig.clock.advance(Duration::from_millis(20));
            let again = run_again(&rig, options, mode);
            let again = again.unwrap_or_else(|error| panic!("{place}, run again: {error}"));
            assert!(rig.layers().contains(&again.layer), "{place}");
        }
    }
    assert!(struck > 40, "only {struck} requests were struck");
}

/// Whatever the failed run left, the next one works. Half of a slot says that the chain goes on, but not
/// where: then the error names that object, and a full works.
fn run_again(rig: &Rig, options: &BackupOptions, mode: Mode) -> Result<BackupReport, BackupError> {
    match rig.backup(options) {
        Err(BackupError::Archive(ArchiveError::DamagedMarker { path, .. }))
            if mode == Mode::TearsUpload && path.contains("slot-") =>
        {
            rig.backup(&BackupOptions::default())
        }
        outcome => outcome,
    }
}

fn attempt_backup(rig: &Rig, chaos: &Chaos, options: &BackupOptions) -> Result<LayerPath, String> {
    let collection = rig
        .open(chaos.within(rig.store_options()))
        .map_err(|error| error.to_string())?;
    let report = rig.backup_into(&collection, options);
    Ok(report.map_err(|error| error.to_string())?.layer)
}

#[test]
fn a_full_backup_holds_under_every_fault_at_every_request() {
    backup_holds("full", |_| (), &BackupOptions::default());
}

#[test]
fn an_incremental_holds_under_every_fault_at_every_request() {
    let prepare = |rig: &Rig| {
        rig.backup(&BackupOptions::default()).unwrap();
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("a", None), ("d", Some("4"))]);
    };
    let history = BackupOptions {
        revision_history: true,
        ..onto_latest()
    };
    backup_holds("incremental", prepare, &history);
}

/// Does something to each request of a restore in turn; `begun` is done to the engine first.
fn restore_holds(what: &str, begin: impl Fn(&Rig, &icecore_engine::Engine)) {
    let rig = Rig::with_three_layers();
    let expected = rig.rows();
    let mut struck = 0;
    for mode in Mode::ALL {
        for request in 0.. {
            let (_folder, engine) = rig.other_engine();
            begin(&rig, &engine);
            let chaos = Chaos::new(Strike::Only(request, mode));
            let place = format!("{what}, {mode:?} at request {request}");
            let outcome = rig
                .open(chaos.within(rig.store_options()))
                .map_err(|error| error.to_string())
                .and_then(|collection| {
                    rig.restore_from(&collection, &engine, &RestoreOptions::default())
                        .map_err(|error| error.to_string())
                });
            if let Err(error) = &outcome {
                assert!(!error.contains('\n'), "{place}: {error}");
                assert!(
                    engine.keyspaces().is_empty(),
                    "{place}: something is visible"
                );
                rig.restore(&engine, &RestoreOptions::default()).unwrap();
            }
            assert_eq!(read_all(&engine, engine.visible()), expected, "{place}");
            assert!(engine.restoring().is_empty(), "{place}");
            if chaos.struck() == 0 {
                outcome.unwrap();
                break;
            }
            struck += 1;
        }
    }
    assert!(struck > 30, "only {struck} requests were struck");
}

#[test]
fn a_restore_holds_under_every_fault_at_every_request() {
    restore_holds("restore", |_, _| ());
}

#[test]
fn a_resumed_restore_holds_under_every_fault_at_every_request() {
    // Past the listing and the manifests, within the files.
    const INTERRUPTED_AT: u64 = 8;
    restore_holds("resume", |rig, engine| {
        let fuse = Fuse::new(Fault::From(INTERRUPTED_AT));
        rig.restore_with(engine, &fuse, &RestoreOptions::default())
            .unwrap_err();
    });
}

/// Backups and restores in turn, a quarter of all requests failing, until enough have; every layer that
/// comes to be listed is restored without faults.
fn random_run(seed: u64) {
    let per_mille = 250;
    let mut struck = 0;
    let mut known = BTreeSet::new();
    let rig = Rig::new();
    rig.write(&[("a", Some("1")), ("b", Some("2"))]);
    let (mut done, mut failed) = (0_u64, 0_u64);
    for round in 0_u64.. {
        let chaos = Chaos::new(Strike::Random {
            seed: seed << 32 | round,
            per_mille,
        });
        let place = format!("seed {seed}, round {round}");
        rig.clock.advance(Duration::from_secs(1));
        let value = round.to_string();
        rig.write(&[
            ("a", (round % 3 > 0).then_some(&value)),
            ("d", Some(&value)),
        ]);
        let outcome = match round % 8 {
            0 => {
                rig.new_collection();
                known.clear();
                attempt_backup(&rig, &chaos, &BackupOptions::default()).map(drop)
            }
            3 | 6 => attempt_restore(&rig, &chaos, &place),
            odd => attempt_backup(
                &rig,
                &chaos,
                &BackupOptions {
                    revision_history: odd % 2 == 1,
                    ..onto_latest()
                },
            )
            .map(drop),
        };
        match outcome {
            Ok(()) => done += 1,
            Err(error) => {
                failed += 1;
                assert!(!error.contains('\n'), "{place}: {error}");
            }
        }
        let listed: BTreeSet<String> = rig.layers().iter().map(ToString::to_string).collect();
        assert!(listed.is_superset(&known), "{place}: a layer is gone");
        if listed != known {
            rig.newest_layer_restores();
            known = listed;
        }
        struck += chaos.struck();
        if struck >= RANDOM_FAULTS / RANDOM_RUNS {
            break;
        }
    }
    assert!(done > 20 && failed > 20, "{done} done and {failed} failed");
}

/// A restore of what is listed, if anything is; the error is the backup's or the restore's.
fn attempt_restore(rig: &Rig, chaos: &Chaos, place: &str) -> Result<(), String> {
    let (_folder, engine) = rig.other_engine();
    let collection = rig
        .open(chaos.within(rig.store_options()))
        .map_err(|error| error.to_string())?;
    match rig.restore_from(&collection, &engine, &RestoreOptions::default()) {
        Ok(report) => {
            let found = read_all(&engine, report.target);
            assert_eq!(
                found,
                rig.rows_at(report.target),
                "{place}: a wrong restore"
            );
            Ok(())
        }
        Err(error) => {
            assert!(
                engine.keyspaces().is_empty(),
                "{place}: something is visible"
            );
            Err(error.to_string())
        }
    }
}

#[test]
fn random_faults_first_quarter() {
    random_run(1);
}

#[test]
fn random_faults_second_quarter() {
    random_run(2);
}

#[test]
fn random_faults_third_quarter() {
    random_run(3);
}

#[test]
fn random_faults_last_quarter() {
    random_run(4);
}

/// The checker itself: an upload error that is swallowed makes a listed backup that does not restore.
#[test]
#[should_panic(expected = "MissingObject")]
fn a_swallowed_upload_error_is_caught() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    for request in 0..40 {
        rig.new_collection();
        let chaos = Chaos::new(Strike::Only(request, Mode::Refused));
        let options = swallowing(chaos.within(rig.store_options()));
        // The first requests open it.
        if let Ok(collection) = rig.open(options) {
            let _told = rig.backup_into(&collection, &BackupOptions::default());
        }
        rig.all_layers_restore();
    }
}

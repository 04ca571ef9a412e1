//! Retention: what it keeps, and whom it may meet on the way.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod history;
mod rig;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt;
use history::{History, Step};
use icecore_archive::{BackupSelector, Collection, Error as ArchiveError, FullPath};
use icecore_backup::retain::{ExpireOptions, ExpireReport, Policy, expire};
use icecore_backup::{
    BackupOptions, BackupReport, CompactOptions, Error as BackupError, backup, compact,
};
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::faults::{Dates, Meddler};
use proptest::prelude::*;
use rig::{Rig, onto_latest, run};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Keep the newest, and wait for nobody.
fn at_once() -> ExpireOptions {
    ExpireOptions {
        policy: Policy {
            keep_fulls: Some(1),
            keep_for: None,
        },
        grace: Duration::ZERO,
        dry_run: false,
    }
}

/// Chains a day apart, each of a full and two incrementals with history. Returns their fulls, oldest first.
fn chains(rig: &Rig, count: usize) -> Vec<FullPath> {
    let mut fulls = Vec::new();
    for chain in 0..count {
        rig.write(&[("a", Some(&chain.to_string())), ("b", None)]);
        let full = rig.backup(&BackupOptions::default()).unwrap();
        fulls.push(full.layer.full().clone());
        for round in 0..2 {
            rig.clock.advance(Duration::from_secs(3600));
            rig.write(&[("b", Some(&format!("{chain}.{round}"))), ("c", None)]);
            rig.write(&[("c", Some("x"))]);
            let onto = BackupOptions {
                revision_history: true,
                ..onto_latest()
            };
            rig.backup(&onto).unwrap();
        }
        rig.clock.advance(DAY);
    }
    fulls
}

fn rig_of(count: usize) -> (Rig, Vec<FullPath>) {
    let rig = Rig::new();
    let fulls = chains(&rig, count);
    (rig, fulls)
}

fn listed(rig: &Rig) -> Vec<FullPath> {
    let fulls = run(rig.collection().fulls()).unwrap();
    fulls.into_iter().map(|full| full.path).collect()
}

fn expired(rig: &Rig, options: &ExpireOptions) -> ExpireReport {
    run(expire(&rig.collection(), options)).unwrap()
}

#[test]
fn a_chain_that_goes_leaves_its_mark_and_its_lock() {
    let (rig, fulls) = rig_of(3);
    let report = expired(&rig, &at_once());
    assert_eq!(report.refused, []);
    assert_eq!(
        report.chains.iter().filter(|chain| chain.expires).count(),
        2
    );
    assert_eq!(listed(&rig), [fulls[2].clone()]);
    rig.all_layers_restore();
    for gone in &fulls[..2] {
        let left: Vec<String> = rig
            .objects()
            .into_iter()
            .filter(|path| path.contains(gone.as_str()) || path.contains(&gone.flat()))
            .collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert_eq!(left[0], format!("{gone}/BACKUP-LOCK"));
        assert!(left[1].starts_with("metadata/latest/expired-"), "{left:?}");
    }
    // Nothing is left to do.
    let again = expired(&rig, &at_once());
    assert_eq!(
        (again.deleted_objects, again.junk.len()),
        (0, 0),
        "{again:?}"
    );
}

#[test]
fn a_dry_run_tells_the_same_and_writes_nothing() {
    let (rig, _) = rig_of(3);
    run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    let before = rig.objects();
    let dry = expired(
        &rig,
        &ExpireOptions {
            dry_run: true,
            ..at_once()
        },
    );
    assert_eq!(rig.objects(), before);
    let done = expired(&rig, &at_once());
    assert_eq!(dry.chains, done.chains);
    assert_eq!(dry.retired, done.retired);
    assert_eq!(dry.restorable_after, done.restorable_after);
    assert_ne!(dry.restorable_before, dry.restorable_after);
    assert_eq!(dry.deleted_objects, done.deleted_objects);
    let after = expired(&rig, &at_once());
    assert_eq!(after.restorable_before, done.restorable_after);
}

#[test]
fn what_is_marked_is_restored_by_its_path_until_the_grace_is_over() {
    let rig = Rig::new();
    let dates = Dates::new(&rig.clock);
    rig.decorate(&Meddler::new().dating(&dates));
    let fulls = chains(&rig, 2);
    let options = ExpireOptions {
        grace: DAY,
        ..at_once()
    };
    let report = expired(&rig, &options);
    assert_eq!(report.deleted_objects, 0);
    assert!(report.pending_bytes > 0 && report.chains[1].expires);
    assert_eq!(listed(&rig), [fulls[1].clone()]);
    assert_eq!(rig.layers().len(), 3);
    let (_folder, engine) = rig.other_engine();
    let by_path = RestoreOptions {
        from: BackupSelector::Full(fulls[0].clone()),
        ..RestoreOptions::default()
    };
    rig.restore(&engine, &by_path).unwrap();
    // Nothing extends it, and nothing takes its name.
    let onto = BackupOptions {
        onto: Some(BackupSelector::Full(fulls[0].clone())),
        ..BackupOptions::default()
    };
    let error = rig.backup(&onto).unwrap_err();
    assert!(is_expired(&error), "{error}");
    rig.clock.advance(DAY / 2);
    let report = expired(&rig, &options);
    assert_eq!(report.deleted_objects, 0, "{report:?}");
    assert!(report.pending_bytes > 0);
    rig.clock.advance(DAY / 2);
    let report = expired(&rig, &options);
    assert!(report.deleted_objects > 0);
    assert_eq!(report.pending_bytes, 0);
    let error = rig.backup(&onto).unwrap_err();
    assert!(is_expired(&error), "{error}");
    rig.all_layers_restore();
}

fn is_expired(error: &BackupError) -> bool {
    matches!(
        error,
        BackupError::Archive(ArchiveError::ChainExpired { .. })
    )
}

fn is_removed(error: &BackupError) -> bool {
    matches!(error, BackupError::Archive(ArchiveError::RunRemoved { .. }))
}

/// What retention did, if it ran.
type Ran = Arc<Mutex<Option<ExpireReport>>>;

/// A hook that runs retention on the rig's collection.
fn meanwhile(rig: &Rig, request: u64, options: ExpireOptions) -> (Meddler, Ran) {
    let (collection, ran) = (rig.collection(), Ran::default());
    let told = Arc::clone(&ran);
    let meddler = Meddler::new().meanwhile(request, move || {
        async move {
            let report = expire(&collection, &options).await.unwrap();
            *told.lock().unwrap() = Some(report);
        }
        .boxed()
    });
    (meddler, ran)
}

fn meddled(rig: &Rig, meddler: &Meddler) -> Collection {
    rig.open(meddler.within(rig.store_options())).unwrap()
}

/// What a writer says must be so: done, and its layer is listed; or it was already part of the chain when
/// that was judged, and went with it.
fn is_as_told(rig: &Rig, outcome: &Result<BackupReport, BackupError>, ran: &Ran) -> bool {
    let Ok(report) = outcome else { return true };
    let went = ran.lock().unwrap().as_ref().is_some_and(|ran| {
        let mut chains = ran.chains.iter();
        chains.any(|chain| chain.expires && chain.reaches == report.end)
    });
    went || rig.layers().contains(&report.layer)
}

#[test]
fn an_incremental_that_is_overtaken_by_retention_at_any_request_fails_or_saves_its_chain() {
    let (mut saved, mut failed) = (0, 0);
    for request in 0.. {
        let (rig, fulls) = rig_of(2);
        let (meddler, ran) = meanwhile(&rig, request, at_once());
        let onto = BackupOptions {
            onto: Some(BackupSelector::Full(fulls[0].clone())),
            ..BackupOptions::default()
        };
        let outcome = run(backup(rig.engine(), &meddled(&rig, &meddler), &onto));
        assert!(
            is_as_told(&rig, &outcome, &ran),
            "request {request}: {outcome:?}"
        );
        rig.all_layers_restore();
        if ran.lock().unwrap().is_none() {
            outcome.unwrap();
            break;
        }
        match &outcome {
            Ok(_) => saved += 1,
            Err(error) => {
                let text = error.to_string();
                let gone =
                    is_expired(error) || is_removed(error) || text.contains("has no manifest");
                // What it had stored was taken away before it looked.
                assert!(gone || text.contains("the store holds none"), "{text}");
                failed += 1;
            }
        }
    }
    assert!(failed > 5 && saved > 0, "{failed} failed, {saved} saved");
}

/// The path of choice was taken by another, whose chain came and went while this one slept.
#[test]
fn a_full_whose_chosen_path_was_expired_meanwhile_is_not_done() {
    let mut failed = 0;
    for request in 0.. {
        let (rig, _) = rig_of(1);
        let chosen = BackupOptions {
            onto: Some(BackupSelector::Full("prod".parse().unwrap())),
            ..BackupOptions::default()
        };
        let (collection, engine, options) =
            (rig.collection(), rig.engine().clone(), chosen.clone());
        let clock = rig.clock.clone();
        let meddler = Meddler::new().meanwhile(request, move || {
            async move {
                // Refused where the first has the path already, and onto it where it is listed.
                let other = backup(&engine, &collection, &options).await;
                if !other.is_ok_and(|other| other.layer.incremental().is_none()) {
                    return;
                }
                clock.advance(DAY);
                let next = BackupOptions::default();
                backup(&engine, &collection, &next).await.unwrap();
                expire(&collection, &at_once()).await.unwrap();
            }
            .boxed()
        });
        let outcome = run(backup(rig.engine(), &meddled(&rig, &meddler), &chosen));
        if meddler.requests() <= request {
            outcome.unwrap();
            break;
        }
        rig.all_layers_restore();
        if let Ok(report) = &outcome {
            let is_listed = rig.layers().contains(&report.layer);
            assert!(is_listed, "request {request}: {outcome:?}");
        }
        failed += usize::from(outcome.is_err());
        run(expire(&rig.collection(), &at_once())).unwrap();
        rig.all_layers_restore();
    }
    assert!(failed > 3, "{failed}");
}

#[test]
fn retention_that_is_overtaken_by_an_incremental_at_any_request_spares_its_chain_or_stops_it() {
    let (mut spared, mut stopped) = (0, 0);
    for request in 0.. {
        let (rig, fulls) = rig_of(2);
        let (collection, engine) = (rig.collection(), rig.engine().clone());
        let onto = BackupOptions {
            onto: Some(BackupSelector::Full(fulls[0].clone())),
            ..BackupOptions::default()
        };
        let taken: Arc<Mutex<Option<Result<BackupReport, BackupError>>>> = Arc::default();
        let told = Arc::clone(&taken);
        let meddler = Meddler::new().meanwhile(request, move || {
            async move {
                let outcome = backup(&engine, &collection, &onto).await;
                *told.lock().unwrap() = Some(outcome);
            }
            .boxed()
        });
        let report = run(expire(&meddled(&rig, &meddler), &at_once())).unwrap();
        rig.all_layers_restore();
        let Some(outcome) = taken.lock().unwrap().take() else {
            break;
        };
        let ran = Ran::new(Mutex::new(Some(report)));
        assert!(
            is_as_told(&rig, &outcome, &ran),
            "request {request}: {outcome:?}"
        );
        match outcome {
            Ok(_) => spared += 1,
            Err(error) => {
                assert!(is_expired(&error), "{error}");
                stopped += 1;
            }
        }
    }
    assert!(
        spared > 1 && stopped > 1,
        "{spared} spared, {stopped} stopped"
    );
}

#[test]
fn a_full_that_retention_takes_for_dead_at_any_request_fails_or_is_listed() {
    let (mut saved, mut failed) = (0, 0);
    for request in 0.. {
        let (rig, _) = rig_of(1);
        rig.write(&[("late", Some("1"))]);
        let (meddler, ran) = meanwhile(&rig, request, at_once());
        let outcome = run(backup(
            rig.engine(),
            &meddled(&rig, &meddler),
            &BackupOptions::default(),
        ));
        assert!(
            is_as_told(&rig, &outcome, &ran),
            "request {request}: {outcome:?}"
        );
        rig.all_layers_restore();
        if ran.lock().unwrap().is_none() {
            outcome.unwrap();
            break;
        }
        match &outcome {
            Ok(_) => saved += 1,
            Err(error) => {
                let lost = error.to_string().contains("the store holds none");
                assert!(is_removed(error) || lost, "{error}");
                failed += 1;
            }
        }
    }
    assert!(failed > 1 && saved > 1, "{failed} failed, {saved} saved");
}

#[test]
fn a_compaction_that_meets_retention_at_any_request_lists_nothing_that_does_not_restore() {
    for of_expiring in [true, false] {
        for request in 0.. {
            let (rig, fulls) = rig_of(2);
            let (meddler, ran) = meanwhile(&rig, request, at_once());
            let options = CompactOptions {
                backup: BackupSelector::Full(fulls[usize::from(!of_expiring)].clone()),
                ..CompactOptions::default()
            };
            let done = run(compact(&meddled(&rig, &meddler), &options));
            rig.all_layers_restore();
            if ran.lock().unwrap().is_none() {
                done.unwrap();
                break;
            }
            if let Ok(report) = done {
                let layers = rig.layers();
                let listed = report
                    .merged
                    .iter()
                    .all(|made| layers.contains(&made.layer));
                assert!(listed, "request {request}: {report:?}");
            }
        }
    }
}

#[test]
fn a_restore_that_meets_retention_within_the_grace_ends() {
    for request in 0.. {
        let (rig, fulls) = rig_of(2);
        let rows = rig.rows();
        let grace = ExpireOptions {
            grace: DAY,
            ..at_once()
        };
        let (meddler, ran) = meanwhile(&rig, request, grace);
        let (_folder, engine) = rig.other_engine();
        let options = RestoreOptions {
            from: BackupSelector::Full(fulls[0].clone()),
            ..RestoreOptions::default()
        };
        run(restore(&engine, &meddled(&rig, &meddler), &options)).unwrap();
        assert_eq!(rows, rig.rows());
        if ran.lock().unwrap().is_none() {
            break;
        }
    }
}

/// A collection with all that retention has to do with: chains that go, layers that others stand for, a run
/// that died.
fn much_to_do() -> Rig {
    let (rig, _) = rig_of(2);
    run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    let meddler = Meddler::new().dying_at(3);
    run(backup(
        rig.engine(),
        &meddled(&rig, &meddler),
        &BackupOptions::default(),
    ))
    .unwrap_err();
    rig
}

#[test]
fn retention_that_dies_at_any_request_leaves_all_that_is_listed_whole_and_goes_on_later() {
    let undisturbed = much_to_do();
    expired(&undisturbed, &at_once());
    let expected = undisturbed.objects().len();
    for request in 0.. {
        let rig = much_to_do();
        let before = listed(&rig);
        let meddler = Meddler::new().dying_at(request);
        let collection = rig.open(meddler.within(rig.store_options()));
        let done = collection.map(|c| run(expire(&c, &at_once())));
        rig.all_layers_restore();
        assert!(listed(&rig).first() == before.first(), "the newest went");
        let report = expired(&rig, &at_once());
        assert_eq!(report.refused, []);
        rig.all_layers_restore();
        assert_eq!(
            rig.objects().len(),
            expected,
            "request {request}: {:?}",
            rig.objects()
        );
        if meddler.requests() <= request {
            done.unwrap().unwrap();
            break;
        }
    }
}

#[test]
fn junk_on_a_locked_bucket_is_told_by_name_and_blocks_nothing() {
    let rig = much_to_do();
    let lock = Meddler::new().locking("/data/");
    let report = run(expire(&meddled(&rig, &lock), &at_once())).unwrap();
    assert!(!report.refused.is_empty());
    assert!(
        report
            .refused
            .iter()
            .all(|refused| refused.path.contains("/data/"))
    );
    assert!(
        report
            .refused
            .iter()
            .all(|refused| refused.reason.contains("locked"))
    );
    assert_eq!(listed(&rig).len(), 1);
    rig.all_layers_restore();
    // Backups go on, and so does retention: the same is refused again, and nothing else.
    rig.write(&[("later", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    let again = run(expire(&meddled(&rig, &lock), &at_once())).unwrap();
    assert!(again.refused.len() >= report.refused.len());
    rig.all_layers_restore();
    // Once the lock is off, it goes.
    let freed = expired(&rig, &at_once());
    assert_eq!(freed.refused, []);
    assert!(expired(&rig, &at_once()).deleted_objects == 0);
}

#[test]
fn a_chain_whose_first_marker_is_locked_stays_whole() {
    let (rig, fulls) = rig_of(2);
    let lock = Meddler::new().locking("/layer-00000000000000000000-");
    let report = run(expire(&meddled(&rig, &lock), &at_once())).unwrap();
    assert_eq!(report.refused.len(), 1);
    let (_folder, engine) = rig.other_engine();
    let by_path = RestoreOptions {
        from: BackupSelector::Full(fulls[0].clone()),
        ..RestoreOptions::default()
    };
    rig.restore(&engine, &by_path).unwrap();
    assert_eq!(listed(&rig), [fulls[1].clone()]);
}

#[test]
fn a_layer_whose_writer_died_before_its_markers_is_listed() {
    // The manifest of a full is its last request but two; an incremental's slot is a request later.
    for onto in [false, true] {
        let mut adopted = 0;
        for request in 0.. {
            let (rig, _) = rig_of(1);
            rig.write(&[("late", Some("1"))]);
            let meddler = Meddler::new().dying_at(request);
            let options = match onto {
                true => onto_latest(),
                false => BackupOptions::default(),
            };
            let collection = rig.open(meddler.within(rig.store_options()));
            let outcome = collection.map(|c| run(backup(rig.engine(), &c, &options)));
            let keep = ExpireOptions {
                policy: Policy::default(),
                ..at_once()
            };
            adopted += expired(&rig, &keep).adopted.len();
            rig.all_layers_restore();
            if matches!(outcome, Ok(Ok(_))) {
                break;
            }
        }
        assert!(adopted > 0, "none was, onto {onto}");
    }
}

#[test]
fn sources_are_judged_apart() {
    let (rig, fulls) = rig_of(1);
    let of_one = BackupOptions {
        keyspaces: vec!["bank.accounts".parse().unwrap()],
        ..BackupOptions::default()
    };
    let narrow = rig.backup(&of_one).unwrap().layer.full().clone();
    expired(&rig, &at_once());
    assert_eq!(listed(&rig), [narrow, fulls[0].clone()]);
}

#[test]
fn a_damaged_newest_full_does_not_count() {
    let (rig, fulls) = rig_of(3);
    let newest = format!("{}/data/", fulls[2]);
    let data = rig
        .objects()
        .into_iter()
        .filter(|path| path.starts_with(&newest));
    run(rig.collection().remove(None, data.collect()));
    let report = expired(&rig, &at_once());
    assert!(!report.chains[0].problems.is_empty());
    let kept: Vec<FullPath> = listed(&rig);
    assert_eq!(kept, [fulls[2].clone(), fulls[1].clone()]);
}

#[test]
fn planted_bug_a_retention_without_marks_is_caught() {
    let mut caught = 0;
    for request in 0.. {
        let (rig, fulls) = rig_of(2);
        let (collection, ran) = (rig.collection(), Arc::new(AtomicBool::new(false)));
        let (told, old) = (Arc::clone(&ran), fulls[0].clone());
        let meddler = Meddler::new().meanwhile(request, move || {
            async move {
                // Deletes what it finds of the chain, and leaves nothing for others to see.
                let survey = collection.survey().await.unwrap();
                let objects = survey.directories_of(&old).flat_map(|(_, d)| &d.objects);
                let objects = objects.map(|object| object.path.clone());
                let paths = objects.chain(survey.markers_of(&old)).collect();
                assert!(collection.remove(None, paths).await.is_empty());
                told.store(true, Ordering::SeqCst);
            }
            .boxed()
        });
        let onto = BackupOptions {
            onto: Some(BackupSelector::Full(fulls[0].clone())),
            ..BackupOptions::default()
        };
        let outcome = run(backup(rig.engine(), &meddled(&rig, &meddler), &onto));
        caught += u32::from(!is_as_told(&rig, &outcome, &Ran::default()));
        if !ran.load(Ordering::SeqCst) {
            break;
        }
    }
    assert!(caught > 0, "no writer was deceived");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(icecore_testkit::scratch::count_from_env("ICECORE_COMPACT_CASES", 16)).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    })]

    /// Compaction and retention together change nothing that can be restored: only what merged layers stand
    /// for goes.
    #[test]
    fn retiring_loses_no_time(steps in prop::collection::vec(Step::any(), 4..28)) {
        let history = History::run(&steps);
        let before = history.restorable();
        let rows = history.restored(&before);
        let made = run(compact(history.collection(), &CompactOptions::default())).unwrap();
        let report = run(expire(history.collection(), &at_once())).unwrap();
        let kept_all = made.merged.iter().filter(|m| m.revision_history);
        let replaced: usize = kept_all.map(|m| m.parts.len()).sum();
        prop_assert!(report.retired.len() >= replaced, "{:?} {:?}", &made, &report);
        prop_assert_eq!(&report.restorable_before, &report.restorable_after);
        prop_assert_eq!(&history.restorable(), &before, "{:?}", &report);
        prop_assert_eq!(&history.restored(&before), &rows, "{:?}", &report);
        let again = run(expire(history.collection(), &at_once())).unwrap();
        prop_assert_eq!(again.deleted_objects, 0, "{:?}", &again);
    }
}

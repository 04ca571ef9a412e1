//! Each chain is held by a record of its own: who moves it, who takes it over, and who must not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::time::Duration;

use futures::FutureExt;
use icecore_archive::{BackupSelector, Collection};
use icecore_backup::{BackupOptions, BackupReport, Error, backup};
use icecore_engine::Engine;
use icecore_gc::{GcOptions, Holder, ProtectedTimestamps, Record, collect};
use icecore_mvcc::Timestamp;
use icecore_restore::RestoreOptions;
use icecore_testkit::faults::Meddler;
use rig::{Rig, onto_latest, read_all};

const MINUTE: Duration = Duration::from_secs(60);

/// Collects whatever nothing holds.
fn collect_all(engine: &Engine) {
    let options = GcOptions {
        ttl_override: Some(Duration::ZERO),
        ..GcOptions::default()
    };
    collect(engine, &options).unwrap();
}

fn onto(full: &BackupReport) -> BackupOptions {
    BackupOptions {
        onto: Some(BackupSelector::Full(full.layer.full().clone())),
        ..BackupOptions::default()
    }
}

/// Another minute, and a change of every key.
fn change(rig: &Rig) {
    rig.clock.advance(MINUTE);
    let value = rig.engine().visible().to_string();
    rig.write(&[("a", Some(&value)), ("b", Some(&value))]);
}

fn full(rig: &Rig) -> BackupReport {
    change(rig);
    rig.backup(&BackupOptions::default()).unwrap()
}

/// By chain: the end of its full, and what is held.
fn chains(rig: &Rig) -> Vec<(Timestamp, Timestamp)> {
    let of = |record: &Record| match &record.holder {
        Some(Holder::Chain { full, .. }) => (*full, record.timestamp),
        other => panic!("{other:?} is left"),
    };
    rig.records().iter().map(of).collect()
}

/// The rows of a chain as of its end are those of the engine then.
fn restores(rig: &Rig, report: &BackupReport, rows: &[icecore_mvcc::model::Row]) {
    let (_folder, engine) = rig.other_engine();
    let options = RestoreOptions {
        from: BackupSelector::Full(report.layer.full().clone()),
        ..RestoreOptions::default()
    };
    rig.restore(&engine, &options).unwrap();
    assert_eq!(read_all(&engine, engine.visible()), rows);
}

#[test]
fn two_chains_that_are_gone_on_with_live_side_by_side_while_garbage_is_collected() {
    let rig = Rig::new();
    let first = full(&rig);
    change(&rig);
    let second = full(&rig);
    assert_eq!(chains(&rig), [(second.end, second.end)], "taken over");
    let mut ends = [first.end, second.end];
    for _ in 0..3 {
        for (chain, end) in [&first, &second].into_iter().zip(&mut ends) {
            change(&rig);
            let rows = rig.rows();
            let report = rig.backup(&onto(chain)).unwrap();
            assert_eq!(report.start, *end);
            assert!(report.keyspaces.iter().all(|k| !k.introduced));
            *end = report.end;
            change(&rig);
            collect_all(rig.engine());
            restores(&rig, chain, &rows);
        }
        let mut held = chains(&rig);
        held.sort();
        assert_eq!(held, [(first.end, ends[0]), (second.end, ends[1])]);
        // What the chain that is further back needs is there, and nothing older.
        assert_eq!(rig.keyspace().threshold(), ends[0]);
    }
    let third = full(&rig);
    assert_eq!(chains(&rig), [(third.end, third.end)]);
}

#[test]
fn a_chain_that_was_taken_over_is_held_again_or_has_a_gap() {
    let rig = Rig::new();
    let old = full(&rig);
    let new = full(&rig);
    // Nothing was collected yet.
    change(&rig);
    let report = rig.backup(&onto(&old)).unwrap();
    assert_eq!(chains(&rig), [(new.end, new.end), (old.end, report.end)]);
    let newest = full(&rig);
    change(&rig);
    collect_all(rig.engine());
    assert_eq!(rig.keyspace().threshold(), newest.end);
    let error = rig.backup(&onto(&old)).unwrap_err();
    assert!(
        matches!(&error, Error::GcGap { start, threshold, .. }
            if *start == report.end && *threshold == newest.end),
        "{error}"
    );
    assert_eq!(chains(&rig), [(newest.end, newest.end)]);
}

#[test]
fn another_selection_and_another_collection_have_records_of_their_own() {
    let rig = Rig::new();
    let whole = full(&rig);
    let options = BackupOptions {
        keyspaces: vec!["bank.*".parse().unwrap()],
        ..BackupOptions::default()
    };
    change(&rig);
    let bank = rig.backup(&options).unwrap();
    assert_eq!(chains(&rig), [(whole.end, whole.end), (bank.end, bank.end)]);
    rig.new_collection();
    let elsewhere = full(&rig);
    assert_eq!(
        chains(&rig),
        [whole.end, bank.end, elsewhere.end].map(|end| (end, end))
    );
}

#[test]
fn a_full_as_of_an_earlier_time_leaves_the_newer_chain_held() {
    let rig = Rig::new();
    change(&rig);
    let then = rig.engine().visible();
    let newer = full(&rig);
    let older = BackupOptions {
        as_of: Some(then),
        ..BackupOptions::default()
    };
    rig.backup(&older).unwrap();
    assert_eq!(chains(&rig), [(newer.end, newer.end)]);
}

/// A full and a collection at once, by somebody else.
async fn take_over(engine: Engine, collection: Collection) {
    let options = BackupOptions::default();
    backup(&engine, &collection, &options).await.unwrap();
    collect_all(&engine);
}

/// Before each request of an incremental in turn, somebody takes a full and collects.
#[test]
fn what_a_running_incremental_reads_is_held_though_a_full_takes_its_chain_over() {
    let mut outcomes = [0; 2];
    for request in 0.. {
        let rig = Rig::new();
        let old = full(&rig);
        change(&rig);
        let rows = rig.rows();
        let before = rig.reopened();
        let engine = rig.engine().clone();
        let meddler = Meddler::new().meanwhile(request, move || take_over(engine, before).boxed());
        rig.decorate(&meddler);
        let outcome = rig.backup(&onto(&old));
        if meddler.requests() <= request {
            break;
        }
        match outcome {
            // Before it had a record of its own, and the chain none any more.
            Err(Error::GcGap { .. }) => outcomes[0] += 1,
            Err(error) => panic!("request {request}: {error}"),
            Ok(report) => {
                outcomes[1] += 1;
                assert_eq!(report.start, old.end, "request {request}");
                restores(&rig, &old, &rows);
            }
        }
        let held = chains(&rig);
        assert_eq!(held.len(), 1, "request {request}: {held:?}");
        assert!(held[0].0 > old.end, "request {request}: {held:?}");
    }
    assert!(outcomes[1] > 3, "{outcomes:?}");
}

/// Before each request of a full in turn, somebody takes a newer one, or ends one that is older.
#[test]
fn of_fulls_that_race_the_newest_chain_stays_held() {
    for request in 0.. {
        let rig = Rig::new();
        change(&rig);
        let slow = BackupOptions {
            as_of: Some(rig.engine().visible()),
            ..BackupOptions::default()
        };
        change(&rig);
        let newest = rig.engine().visible();
        let fast = BackupOptions {
            as_of: Some(newest),
            ..BackupOptions::default()
        };
        let (inner, outer) = match request % 2 {
            0 => (fast, slow),
            _ => (slow, fast),
        };
        let (engine, collection) = (rig.engine().clone(), rig.reopened());
        let meddler = Meddler::new().meanwhile(request / 2, move || {
            async move {
                backup(&engine, &collection, &inner)
                    .await
                    .map(drop)
                    .unwrap()
            }
            .boxed()
        });
        rig.decorate(&meddler);
        rig.backup(&outer).unwrap();
        if meddler.requests() <= request / 2 {
            assert!(request > 6, "{request}");
            break;
        }
        assert_eq!(chains(&rig), [(newest, newest)], "request {request}");
    }
}

#[test]
fn an_incremental_of_either_chain_leaves_the_other_ones_record_alone() {
    let rig = Rig::new();
    let old = full(&rig);
    let new = full(&rig);
    change(&rig);
    let of_old = rig.backup(&onto(&old)).unwrap();
    change(&rig);
    let of_new = rig.backup(&onto_latest()).unwrap();
    assert_eq!(of_new.start, new.end);
    assert_eq!(chains(&rig), [(old.end, of_old.end), (new.end, of_new.end)]);
}

#[test]
fn what_a_killed_run_left_goes_with_the_next_of_its_selection_and_no_other_does() {
    let rig = Rig::new();
    let chain = full(&rig);
    let records = ProtectedTimestamps::new(rig.engine());
    let hold = |session, owner: &str| {
        let request =
            icecore_gc::ProtectRequest::new(chain.end, icecore_gc::Target::All, owner.to_owned());
        let request = request.held_by(Holder::Run { session });
        records.protect(request).unwrap().id
    };
    let owner = icecore_backup::chain_owner(rig.collection().id(), &[]);
    // Any session but this one.
    let (_folder, elsewhere) = rig.other_engine();
    let dead = hold(elsewhere.session(), &owner);
    let other = hold(elsewhere.session(), "backup of another selection");
    let alive = hold(rig.engine().session(), &owner);
    change(&rig);
    rig.backup(&onto_latest()).unwrap();
    let left: Vec<_> = rig.records().iter().map(|r| r.id).collect();
    assert_eq!(left.len(), 3);
    assert!(!left.contains(&dead));
    assert!(left.contains(&other) && left.contains(&alive));
}

#[test]
fn a_gap_says_that_the_chains_protection_was_released_for_its_limit() {
    let rig = Rig::new();
    let report = full(&rig);
    let records = ProtectedTimestamps::new(rig.engine());
    let limits = icecore_gc::Limits {
        max_age: Some(10 * MINUTE),
        on_breach: icecore_gc::OnBreach::Release,
        ..icecore_gc::Limits::default()
    };
    let record = rig.records().remove(0);
    records.limit(&record.id, limits).unwrap();
    // Moved with the chain, it keeps its limits.
    change(&rig);
    let next = rig.backup(&onto_latest()).unwrap();
    assert_eq!(rig.records()[0].limits(), limits);
    rig.clock.advance(11 * MINUTE);
    change(&rig);
    collect_all(rig.engine());
    assert_eq!(rig.records(), []);
    let error = rig.backup(&onto(&report)).unwrap_err().to_string();
    let named = error.contains(&next.end.to_string())
        && error.contains("; the chain's protection was released at ")
        && error
            .contains(", since it reaches 12m back, and may reach 10m back; take that keyspace");
    assert!(named, "{error}");
}

//! Compaction of chains: every time that could be restored before restores to the same after.
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

use std::time::Duration;

use futures::FutureExt;
use history::{History, Step};
use icecore_backup::{
    BackupOptions, CompactOptions, ExpireOptions, backup, compact, expire, plan_compaction,
};
use icecore_restore::RestoreOptions;
use icecore_testkit::faults::{Fault, Fuse, Meddler};
use proptest::prelude::*;
use rig::{Rig, onto_latest, run};

/// Options whose files are small enough that a keyspace takes several.
fn options() -> CompactOptions {
    CompactOptions::default()
}

/// A chain of a full and incrementals with or without history.
fn rig(histories: &[bool]) -> Rig {
    let rig = Rig::new();
    rig.write(&[("a", Some("0")), ("b", Some("0"))]);
    rig.backup(&BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    })
    .unwrap();
    for (round, &revision_history) in histories.iter().enumerate() {
        rig.clock.advance(Duration::from_secs(60));
        let value = round.to_string();
        rig.write(&[("a", Some(&value)), ("b", None)]);
        rig.write(&[("c", Some(&value)), ("b", Some(&value))]);
        rig.backup(&BackupOptions {
            revision_history,
            ..onto_latest()
        })
        .unwrap();
    }
    rig
}

#[test]
fn a_chain_that_has_nothing_to_merge_is_left() {
    for histories in [&[][..], &[true], &[true, false, true]] {
        let rig = rig(histories);
        let before = rig.objects();
        let report = rig::run(compact(&rig.collection(), &options())).unwrap();
        assert!(report.merged.is_empty(), "{report:?}");
        assert_eq!(report.left.len(), histories.len());
        assert_eq!(rig.objects(), before);
    }
}

#[test]
fn a_merged_layer_is_taken_by_restores_and_its_parts_stay() {
    let rig = rig(&[true, true, true]);
    let before = rig.layers();
    let report = rig::run(compact(&rig.collection(), &options())).unwrap();
    assert_eq!(report.merged.len(), 1);
    assert!(before.iter().all(|layer| rig.layers().contains(layer)));
    assert_eq!(rig.layers().len(), before.len() + 1);
    let rows = rig.rows();
    assert_eq!(rig.restored_rows("bank.accounts", None), rows);
    rig.all_layers_restore();
    // The next incremental names it as its parent, and the chain goes on.
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("d", Some("new"))]);
    rig.backup(&onto_latest()).unwrap();
    assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
}

#[test]
fn a_second_compaction_takes_the_merged_layer_and_what_came_since() {
    let rig = rig(&[true, true]);
    let first = rig::run(compact(&rig.collection(), &options())).unwrap();
    for round in 0..2 {
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("a", Some(&format!("later {round}")))]);
        rig.backup(&BackupOptions {
            revision_history: true,
            ..onto_latest()
        })
        .unwrap();
    }
    let second = rig::run(compact(&rig.collection(), &options())).unwrap();
    assert_eq!(second.merged[0].parts.len(), 3);
    assert_eq!(second.merged[0].parts[0], first.merged[0].layer);
    let collection = rig.collection();
    let manifest = rig::run(collection.read_manifest(&second.merged[0].layer)).unwrap();
    // What it stands for: the two, what they made, and the two after it.
    assert_eq!(manifest.0.merges.len(), 5);
    assert_eq!(manifest.0.merges[2], first.merged[0].manifest_hash);
    rig.all_layers_restore();
    let again = rig::run(compact(&rig.collection(), &options())).unwrap();
    assert!(again.merged.is_empty());
}

#[test]
fn the_head_that_was_noted_is_accepted_in_a_merged_layer_and_an_older_one_is_not() {
    let rig = rig(&[true, true]);
    let chains = rig::run(rig.collection().chains()).unwrap();
    let hashes: Vec<_> = chains[0]
        .layers()
        .iter()
        .map(|layer| layer.manifest_hash)
        .collect();
    rig::run(compact(&rig.collection(), &options())).unwrap();
    let restores = |expected| {
        let (_folder, engine) = rig.other_engine();
        let options = RestoreOptions {
            expect_head: Some(expected),
            ..RestoreOptions::default()
        };
        rig.restore(&engine, &options).is_ok()
    };
    assert_eq!(
        hashes.iter().copied().map(restores).collect::<Vec<_>>(),
        [false, false, true]
    );
    let retire = ExpireOptions {
        grace: Duration::ZERO,
        ..ExpireOptions::default()
    };
    let report = rig::run(expire(&rig.collection(), &retire)).unwrap();
    assert_eq!(report.retired.len(), 2);
    assert_eq!(
        hashes.iter().copied().map(restores).collect::<Vec<_>>(),
        [false, false, true]
    );
}

#[test]
fn the_newest_incrementals_are_kept_as_asked_for() {
    let rig = rig(&[true, true, true]);
    let options = CompactOptions {
        keep_newest: 1,
        ..options()
    };
    let plan = rig::run(plan_compaction(&rig.collection(), &options)).unwrap();
    let report = rig::run(compact(&rig.collection(), &options)).unwrap();
    assert_eq!(plan.merges[0].parts, report.merged[0].parts);
    assert_eq!(report.merged[0].parts.len(), 2);
    assert_eq!(report.left.len(), 1);
    rig.all_layers_restore();
}

#[test]
fn a_compaction_that_fails_at_any_request_lists_nothing_or_a_whole_layer() {
    for lost in [false, true] {
        for request in 0.. {
            // Each attempt claims a name, so each has a chain of its own.
            let rig = rig(&[true, true]);
            let (before, rows) = (rig.layers(), rig.rows());
            let fuse = Fuse::new(match lost {
                false => Fault::From(request),
                true => Fault::AfterOnly(request),
            });
            let collection = rig.fused(&fuse);
            let done = collection.is_ok_and(|c| rig::run(compact(&c, &options())).is_ok());
            let listed = rig.layers();
            assert!(
                !done || listed.len() == before.len() + 1,
                "request {request}"
            );
            rig.all_layers_restore();
            assert_eq!(rig.restored_rows("bank.accounts", None), rows);
            if !fuse.is_blown() {
                assert!(done);
                break;
            }
        }
    }
}

#[test]
fn two_compactions_at_once_and_an_incremental_are_all_kept() {
    let rig = rig(&[true, true]);
    let collection = rig.collection();
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("late", Some("1"))]);
    let (one, two) = rig::run(async {
        let options = options();
        tokio::join!(
            compact(&collection, &options),
            compact(&collection, &options)
        )
    });
    let (one, two) = (one.unwrap(), two.unwrap());
    rig.backup(&onto_latest()).unwrap();
    assert_ne!(one.merged[0].layer, two.merged[0].layer);
    assert_eq!(rig.layers().len(), 6);
    rig.all_layers_restore();
}

/// Two merged layers of one window: the incremental that was taken between them names the one, the planner may
/// choose the other.
#[test]
fn what_was_taken_between_two_compactions_restores_through_either() {
    for request in 0.. {
        let rig = rig(&[true, true]);
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("late", Some("1"))]);
        let (collection, engine) = (rig.collection(), rig.engine().clone());
        let meddler = Meddler::new().meanwhile(request, move || {
            async move {
                compact(&collection, &options()).await.unwrap();
                let onto = onto_latest();
                backup(&engine, &collection, &onto).await.unwrap();
            }
            .boxed()
        });
        let meddled = rig.open(meddler.within(rig.store_options())).unwrap();
        run(compact(&meddled, &options())).unwrap();
        rig.all_layers_restore();
        if meddler.requests() <= request {
            break;
        }
        assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
        // Nothing that is whole is given up for it.
        let kept = run(expire(&rig.collection(), &ExpireOptions::default())).unwrap();
        assert!(
            kept.chains.iter().all(|chain| chain.problems.is_empty()),
            "{kept:?}"
        );
        rig.all_layers_restore();
    }
}

/// One that died before its marker is listed a grace later, beside the one that was made instead.
#[test]
fn a_compaction_that_is_listed_late_breaks_no_chain() {
    for request in 0.. {
        let rig = rig(&[true, true]);
        let fuse = Fuse::new(Fault::From(request));
        let collection = rig.fused(&fuse);
        let done = collection.is_ok_and(|c| run(compact(&c, &options())).is_ok());
        if done {
            break;
        }
        run(compact(&rig.collection(), &options())).unwrap();
        rig.clock.advance(Duration::from_secs(60));
        rig.write(&[("late", Some("1"))]);
        rig.backup(&onto_latest()).unwrap();
        let at_once = ExpireOptions {
            grace: Duration::ZERO,
            ..ExpireOptions::default()
        };
        run(expire(&rig.collection(), &at_once)).unwrap();
        rig.all_layers_restore();
        assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: u32::try_from(icecore_testkit::scratch::count_from_env("ICECORE_COMPACT_CASES", 24)).unwrap(),
        failure_persistence: None,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    /// Random chains: keyspaces come, go, change and are left out; layers with and without history, some as
    /// of an earlier time.
    #[test]
    fn every_time_restores_to_the_same_before_and_after(
        steps in prop::collection::vec(Step::any(), 4..28),
        keep_newest in 0..2_usize,
    ) {
        let history = History::run(&steps);
        let before = history.restorable();
        let rows = history.restored(&before);
        let options = CompactOptions { keep_newest, ..options() };
        let report = rig::run(compact(history.collection(), &options)).unwrap();
        prop_assert_eq!(&history.restorable(), &before, "{:?}", &report);
        prop_assert_eq!(&history.restored(&before), &rows, "{:?}", &report);
    }
}

//! What holds a chain's history, what does not hold it, and what comes of a gap in it.
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

use icecore_backup::{BackupOptions, BackupReport, OnGcGap};
use icecore_engine::{Durability, Keyspace};
use icecore_gc::{GcOptions, ProtectedTimestamps, Purpose, Target, collect};
use icecore_mvcc::{KeyspaceSettings, Timestamp};
use icecore_restore::Error as RestoreError;
use rig::{Rig, onto_latest};

const MINUTE: Duration = Duration::from_secs(60);

fn settings(exclude_from_backup: bool) -> KeyspaceSettings {
    KeyspaceSettings {
        exclude_from_backup,
        ..KeyspaceSettings::default()
    }
}

/// A keyspace with rows that backups leave out.
fn excluded(rig: &Rig) -> Keyspace {
    let cache = rig.engine().create_keyspace("bank.cache", settings(true));
    let cache = cache.unwrap();
    cache.put(b"k", b"1", Durability::Sync).unwrap();
    cache
}

/// Collects whatever nothing holds.
fn collect_all(rig: &Rig) {
    let options = GcOptions {
        ttl_override: Some(Duration::ZERO),
        ..GcOptions::default()
    };
    collect(rig.engine(), &options).unwrap();
}

fn release_all(rig: &Rig) {
    let records = ProtectedTimestamps::new(rig.engine());
    for record in records.list().unwrap() {
        records.release(&record.id).unwrap();
    }
}

fn of(patterns: &[&str]) -> BackupOptions {
    BackupOptions {
        keyspaces: patterns.iter().map(|p| p.parse().unwrap()).collect(),
        ..BackupOptions::default()
    }
}

/// The times and purposes of all records.
fn held(rig: &Rig) -> Vec<(Timestamp, Purpose)> {
    let records = rig.records();
    records.iter().map(|r| (r.timestamp, r.purpose)).collect()
}

fn whole(report: &BackupReport) -> Vec<&str> {
    let whole = report.keyspaces.iter().filter(|k| k.introduced);
    whole.map(|k| k.name.as_str()).collect()
}

#[test]
fn what_is_excluded_from_backups_is_collected_while_the_chain_is_held() {
    let rig = Rig::new();
    let cache = excluded(&rig);
    for options in [BackupOptions::default(), of(&["bank.*"])] {
        rig.write(&[("a", Some("1"))]);
        let full = rig.backup(&options).unwrap();
        assert!(held(&rig).contains(&(full.end, Purpose::Backups)));
        rig.clock.advance(MINUTE);
        rig.write(&[("a", Some("2"))]);
        cache.put(b"k", b"2", Durability::Sync).unwrap();
        collect_all(&rig);
        assert!(rig.keyspace().threshold() <= full.end);
        assert!(cache.threshold() > full.end, "{}", cache.threshold());
        release_all(&rig);
    }
}

#[test]
fn the_record_follows_the_chain_whatever_was_collected_of_excluded_keyspaces() {
    let rig = Rig::new();
    let cache = excluded(&rig);
    rig.write(&[("a", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    for (released, history) in [(false, true), (true, false)] {
        rig.clock.advance(MINUTE);
        let end = rig.write(&[("a", Some("2"))]);
        rig.clock.advance(MINUTE);
        cache.put(b"k", b"2", Durability::Sync).unwrap();
        collect_all(&rig);
        assert!(cache.threshold() > end);
        if released {
            release_all(&rig);
        }
        let incremental = BackupOptions {
            as_of: Some(end),
            revision_history: history,
            ..onto_latest()
        };
        let report = rig.backup(&incremental).unwrap();
        assert_eq!(held(&rig), [(report.end, Purpose::Backups)]);
    }
    // A full as of then, too.
    let full = BackupOptions {
        as_of: Some(rig.engine().visible().prev()),
        ..BackupOptions::default()
    };
    collect_all(&rig);
    let report = rig.backup(&full).unwrap();
    assert_eq!(held(&rig), [(report.end, Purpose::Backups)]);
}

#[test]
fn what_is_included_again_is_taken_from_zero_whatever_was_collected_of_it() {
    let rig = Rig::new();
    let cache = excluded(&rig);
    let full = rig.backup(&BackupOptions::default()).unwrap();
    rig.clock.advance(MINUTE);
    cache.put(b"k", b"2", Durability::Sync).unwrap();
    collect_all(&rig);
    assert!(cache.threshold() > full.end);
    rig.engine()
        .alter_keyspace("bank.cache", settings(false))
        .unwrap();
    rig.clock.advance(MINUTE);
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(whole(&report), ["bank.cache"]);
    assert_eq!(held(&rig), [(report.end, Purpose::Backups)]);
    // From now on it is held.
    rig.clock.advance(MINUTE);
    cache.put(b"k", b"3", Durability::Sync).unwrap();
    collect_all(&rig);
    assert!(cache.threshold() <= report.end);
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(whole(&report), Vec::<&str>::new());
    let restored = rig.restored_rows("bank.cache", None);
    let values: Vec<_> = restored.iter().map(|row| row.value.as_deref()).collect();
    assert_eq!(values, [Some(&b"3"[..])]);
}

#[test]
fn a_name_of_the_selection_that_comes_back_is_held_from_its_first_layer_on() {
    let rig = Rig::new();
    rig.engine()
        .create_keyspace("bank.other", settings(false))
        .unwrap();
    rig.backup(&of(&["bank.accounts", "bank.other"])).unwrap();
    rig.clock.advance(MINUTE);
    rig.engine().drop_keyspace("bank.other").unwrap();
    // Without its record, the chain makes another; by then nothing has the name.
    release_all(&rig);
    rig.backup(&onto_latest()).unwrap();
    rig.clock.advance(MINUTE);
    let other = rig.engine().create_keyspace("bank.other", settings(false));
    let other = other.unwrap();
    other.put(b"k", b"1", Durability::Sync).unwrap();
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(whole(&report), ["bank.other"]);
    rig.clock.advance(MINUTE);
    other.put(b"k", b"2", Durability::Sync).unwrap();
    collect_all(&rig);
    assert!(other.threshold() <= report.end, "{}", other.threshold());
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(whole(&report), Vec::<&str>::new());
}

#[test]
fn a_record_that_holds_less_than_the_chain_does_not_count_as_the_chains() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    let records = ProtectedTimestamps::new(rig.engine());
    let standing = rig.records().remove(0);
    // Somebody replaced it by one for other keyspaces.
    records
        .protect(icecore_gc::ProtectRequest::new(
            standing.timestamp,
            Target::Keyspaces(vec!["nyc.*".parse().unwrap()]),
            standing.owner,
        ))
        .unwrap();
    records.release(&standing.id).unwrap();
    rig.clock.advance(MINUTE);
    let report = rig.backup(&onto_latest()).unwrap();
    let left = rig.records();
    assert_eq!(left.len(), 1);
    assert_eq!(
        (left[0].timestamp, &left[0].target),
        (report.end, &Target::All)
    );
}

fn reexport() -> BackupOptions {
    BackupOptions {
        on_gc_gap: OnGcGap::Reexport,
        ..onto_latest()
    }
}

/// A full of two keyspaces, and then a gap in the history of `bank.accounts` only. Returns where it begins
/// and where it ends.
fn with_a_gap(rig: &Rig, history: bool) -> (Timestamp, Timestamp) {
    let other = rig.engine().create_keyspace("bank.other", settings(false));
    let other = other.unwrap();
    rig.write(&[("a", Some("1")), ("b", Some("1"))]);
    other.put(b"k", b"1", Durability::Sync).unwrap();
    let full = rig
        .backup(&BackupOptions {
            revision_history: history,
            ..BackupOptions::default()
        })
        .unwrap();
    // Only the other one is still held.
    let records = ProtectedTimestamps::new(rig.engine());
    let other_only = Target::Keyspaces(vec!["bank.other".parse().unwrap()]);
    let request = icecore_gc::ProtectRequest::new(full.end, other_only, "test");
    release_all(rig);
    records.protect(request).unwrap();
    rig.clock.advance(MINUTE);
    rig.write(&[("a", None), ("c", Some("2"))]);
    other.put(b"k", b"2", Durability::Sync).unwrap();
    collect_all(rig);
    let threshold = rig.keyspace().threshold();
    assert!(threshold > full.end);
    assert!(other.threshold() <= full.end);
    (full.end, threshold)
}

#[test]
fn of_a_gap_the_error_names_both_times_and_the_way_out_and_reexport_takes_the_keyspace_from_zero() {
    let rig = Rig::new();
    let (start, threshold) = with_a_gap(&rig, false);
    let before = (rig.objects(), rig.records());
    let error = rig.backup(&onto_latest()).unwrap_err().to_string();
    let named = error.starts_with("protected ts verification error: ")
        && error.contains("bank.accounts")
        && error.contains(&start.to_string())
        && error.contains(&threshold.to_string())
        && error.contains("--on-gc-gap reexport");
    assert!(named, "{error}");
    let planned = rig.dry_run(&onto_latest()).unwrap_err().to_string();
    assert_eq!(planned, error, "a dry run says so, too");
    assert_eq!(
        (rig.objects(), rig.records()),
        before,
        "something was written"
    );

    let plan = rig.dry_run(&reexport()).unwrap();
    let planned: Vec<_> = plan
        .keyspaces
        .iter()
        .map(|k| (k.introduced, k.gc_gap))
        .collect();
    assert_eq!(planned, [(true, Some(threshold)), (false, None)]);
    assert_eq!(
        (rig.objects(), rig.records()),
        before,
        "a dry run wrote something"
    );

    let report = rig.backup(&reexport()).unwrap();
    assert_eq!(whole(&report), ["bank.accounts"]);
    assert_eq!(report.keyspaces[0].gc_gap, Some(threshold));
    assert_eq!(
        report.keyspaces[0].how,
        "full scan: GC had passed the chain's end"
    );
    let other = &report.keyspaces[1];
    assert_eq!((other.gc_gap, other.entries), (None, 1));
    // What was deleted in the gap stays deleted.
    assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
    assert_eq!(rig.restored_rows("bank.other", None).len(), 1);
    // The chain goes on as if nothing had been, and holds again what it needs.
    release_owned_by_test(&rig);
    rig.clock.advance(MINUTE);
    rig.write(&[("d", Some("3"))]);
    collect_all(&rig);
    assert!(rig.keyspace().threshold() <= report.end);
    let next = rig.backup(&onto_latest()).unwrap();
    assert_eq!(whole(&next), Vec::<&str>::new());
    assert_eq!(next.keyspaces[0].entries, 1);
    assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
}

fn release_owned_by_test(rig: &Rig) {
    let records = ProtectedTimestamps::new(rig.engine());
    for record in rig.records().iter().filter(|r| r.owner == "test") {
        records.release(&record.id).unwrap();
    }
}

#[test]
fn with_history_a_time_within_the_gap_is_refused_and_one_after_it_restores() {
    let rig = Rig::new();
    let (start, threshold) = with_a_gap(&rig, true);
    rig.clock.advance(MINUTE);
    let inside = rig.write(&[("c", Some("3"))]);
    rig.write(&[("c", Some("4"))]);
    rig.backup(&BackupOptions {
        revision_history: true,
        ..reexport()
    })
    .unwrap();
    for at in [threshold, inside] {
        assert_eq!(
            rig.restored_rows("bank.accounts", Some(at)),
            rig.rows_at(at)
        );
    }
    let error = rig.restore_error(Some(start.next()));
    assert!(
        matches!(&error, RestoreError::NoHistory { keyspace, from, .. }
            if keyspace == "bank.accounts" && *from == threshold),
        "{error}"
    );
    // As of the full's end, the full has all of it.
    assert_eq!(rig.restored_rows("bank.accounts", Some(start)).len(), 2);
}

#[test]
fn a_keyspace_excluded_and_included_between_two_layers_is_a_gap_if_it_was_collected() {
    for collected in [false, true] {
        let rig = Rig::new();
        rig.write(&[("a", Some("1"))]);
        let full = rig.backup(&BackupOptions::default()).unwrap();
        rig.clock.advance(MINUTE);
        let alter = |excluded| {
            let settings = settings(excluded);
            rig.engine()
                .alter_keyspace("bank.accounts", settings)
                .unwrap();
        };
        alter(true);
        rig.write(&[("a", None)]);
        if collected {
            collect_all(&rig);
            assert!(rig.keyspace().threshold() > full.end);
        }
        alter(false);
        let outcome = rig.backup(&onto_latest());
        assert_eq!(outcome.is_err(), collected);
        if collected {
            let report = rig.backup(&reexport()).unwrap();
            assert_eq!(whole(&report), ["bank.accounts"]);
        }
        assert_eq!(rig.restored_rows("bank.accounts", None), rig.rows());
    }
}

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

use icecore_backup::{BackupOptions, BackupReport};
use icecore_engine::{Durability, Keyspace};
use icecore_gc::{GcOptions, ProtectedTimestamps, Purpose, Target, collect};
use icecore_mvcc::{KeyspaceSettings, Timestamp};
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
        .protect(icecore_gc::ProtectRequest {
            timestamp: standing.timestamp,
            target: Target::Keyspaces(vec!["nyc.*".parse().unwrap()]),
            owner: standing.owner,
        })
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

//! Fast fulls: live files copied, shared in the pool, and restored by ingesting them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "test code"
)]

mod rig;

use std::time::Duration;

use icecore_archive::{BackupSelector, OperationLog, StoreOptions, Verb};
use icecore_backup::retain::{ExpireOptions, expire};
use icecore_backup::{
    BackupOptions, BackupReport, CompactOptions, Fingerprints, Method, Mode, compact,
};
use icecore_engine::{Durability, Engine, ScanDirection, SweepBudget};
use icecore_mvcc::model::Row;
use icecore_mvcc::{KeyRange, KeyspaceSettings, NamePattern, Timestamp};
use icecore_restore::inplace::{BackupReader, CacheOptions, ReadOptions};
use icecore_restore::{Depth, History, RestoreOptions, VerifyOptions, verify};
use icecore_testkit::faults::{Fault, Fuse};
use rig::{Rig, onto_latest, read_all, run};

fn fast() -> BackupOptions {
    BackupOptions {
        mode: Mode::Fast,
        revision_history: true,
        ..BackupOptions::default()
    }
}

/// Whose files stay as they are.
fn uncompacted() -> Rig {
    Rig::with(|options| options.auto_compactions = false)
}

/// Commits over several flushes; the time of each.
fn fill(rig: &Rig, rounds: u32) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for round in 0..rounds {
        rig.clock.advance(Duration::from_secs(1));
        let value = format!("{round} {}", "v".repeat(100));
        for key in 0..20 {
            let key = format!("{:02}", (key + round) % 30);
            rig.write(&[(&key, (round % 4 != 3).then_some(value.as_str()))]);
        }
        times.push(rig.engine().visible());
        if round % 2 == 0 {
            rig.engine().flush().unwrap();
        }
    }
    times
}

/// Everything in the past is collected, and the deleted keys are swept.
fn collect(rig: &Rig) {
    let engine = rig.engine();
    let keyspace = rig.keyspace();
    engine
        .gc_guard()
        .raise(keyspace.id(), engine.visible())
        .unwrap();
    engine.sweep(&keyspace, SweepBudget::default()).unwrap();
}

/// The puts among the requests of a backup, of the pool's files and of the others.
fn puts(log: &OperationLog) -> (usize, usize) {
    let puts = |operation: &icecore_archive::Operation| {
        operation.verb == Verb::PutIfAbsent && operation.path.ends_with(".sst")
    };
    let all: Vec<_> = log.take().into_iter().filter(puts).collect();
    let pooled = all.iter().filter(|o| o.path.starts_with("data/")).count();
    (pooled, all.len() - pooled)
}

fn logged(rig: &Rig) -> (icecore_archive::Collection, OperationLog) {
    let log = OperationLog::new();
    let options = StoreOptions {
        log: Some(log.clone()),
        ..rig.store_options()
    };
    (rig.open(options).unwrap(), log)
}

fn restored(rig: &Rig, options: &RestoreOptions) -> (tempfile::TempDir, Engine, u64) {
    let (folder, engine) = rig.other_engine();
    let report = rig.restore(&engine, options).unwrap();
    let rewritten = report.keyspaces.iter().map(|k| k.rewritten_files).sum();
    (folder, engine, rewritten)
}

#[test]
fn every_time_of_a_fast_chain_comes_back() {
    let rig = uncompacted();
    let mut times = fill(&rig, 9);
    let full = rig.backup(&fast()).unwrap();
    assert_eq!(full.method, Method::Fast);
    assert!(full.keyspaces[0].copied_files > 1);
    let in_full = times.len();
    for _ in 0..2 {
        times.extend(fill(&rig, 3));
        rig.backup(&BackupOptions {
            revision_history: true,
            ..onto_latest()
        })
        .unwrap();
    }
    for (number, &time) in times.iter().enumerate() {
        let options = RestoreOptions {
            as_of: Some(time),
            ..RestoreOptions::default()
        };
        let (_folder, engine, _) = restored(&rig, &options);
        assert_eq!(read_all(&engine, time), rig.rows_at(time), "{number}");
        assert_eq!(read_all(&engine, engine.visible()), rig.rows_at(time));
        // History came along, as far back as there is.
        for &earlier in times.iter().take(number) {
            assert_eq!(read_all(&engine, earlier), rig.rows_at(earlier));
        }
    }
    // As of the chain's end, and of the full's, nothing is written anew.
    for end in [None, Some(full.end)] {
        let (_folder, engine, rewritten) = restored(
            &rig,
            &RestoreOptions {
                as_of: end,
                ..RestoreOptions::default()
            },
        );
        assert_eq!(rewritten, 0);
        let at = end.unwrap_or_else(|| *times.last().unwrap());
        assert_eq!(read_all(&engine, at), rig.rows_at(at));
    }
    // Within the full its copied files are.
    let (_folder, engine, rewritten) = restored(
        &rig,
        &RestoreOptions {
            as_of: Some(times[in_full - 3]),
            history: History::None,
            ..RestoreOptions::default()
        },
    );
    assert!(rewritten > 1);
    assert!(engine.keyspaces()[0].threshold() == times[in_full - 3]);
    rig.all_layers_restore();
    let verified = run(verify(&rig.collection(), &VerifyOptions::default())).unwrap();
    assert!(verified.is_ok() && verified.layers[0].files > 1);
}

/// A fast full tells fingerprints where it is asked to, of the state as of its end whatever is committed
/// meanwhile; incrementals go on from them, and restores are proven by them.
#[test]
fn fingerprints_of_a_fast_full_are_those_of_its_end_and_lead_on() {
    let rig = uncompacted();
    fill(&rig, 6);
    let dropped = rig
        .engine()
        .create_keyspace("bank.old", KeyspaceSettings::default())
        .unwrap();
    dropped.put("k", "v", Durability::Sync).unwrap();
    rig.clock.advance(Duration::from_secs(1));
    rig.engine().drop_keyspace("bank.old").unwrap();
    rig.clock.advance(Duration::from_secs(1));
    let expected = |at: Timestamp| {
        let at = rig.engine().snapshot_at(at).unwrap();
        rig.keyspace().fingerprint_at(&at, 1).unwrap()
    };
    let silent = rig.backup(&fast()).unwrap();
    assert!(silent.keyspaces.iter().all(|k| k.fingerprint.is_none()));
    rig.clock.advance(Duration::from_secs(1));
    // Committed as files are stored: after the end.
    let (engine, keyspace) = (rig.engine().clone(), rig.keyspace());
    let told = BackupOptions {
        fingerprints: Fingerprints::Always,
        progress: Some(std::sync::Arc::new(move |_| {
            keyspace.put("late", "x", Durability::Buffered).unwrap();
            keyspace.delete("05", Durability::Buffered).unwrap();
            engine.flush().unwrap();
        })),
        ..fast()
    };
    let full = rig.backup(&told).unwrap();
    assert_eq!(full.method, Method::Fast);
    let found = |report: &BackupReport| {
        let keyspaces = report.keyspaces.iter();
        let mut accounts = keyspaces.filter(|k| k.name == "bank.accounts");
        accounts.next().unwrap().fingerprint
    };
    assert_eq!(found(&full), Some(expected(full.end)));
    assert_ne!(expected(full.end), expected(rig.engine().visible()));
    assert!(
        full.keyspaces
            .iter()
            .all(|k| k.fingerprint.is_some_and(|p| p.rows() > 0))
    );
    rig.clock.advance(Duration::from_secs(1));
    rig.write(&[("07", None), ("new", Some("1"))]);
    let incremental = rig.backup(&onto_latest()).unwrap();
    assert_eq!(found(&incremental), Some(expected(incremental.end)));
    for end in [full.end, incremental.end] {
        let options = RestoreOptions {
            as_of: Some(end),
            check_fingerprints: true,
            ..RestoreOptions::default()
        };
        let (_folder, engine, _) = restored(&rig, &options);
        assert_eq!(read_all(&engine, end), rig.rows_at(end));
    }
    let options = VerifyOptions {
        depth: Depth::Restore,
        scratch: Some(rig.folder().to_owned()),
        ..VerifyOptions::default()
    };
    let verified = run(verify(&rig.collection(), &options)).unwrap();
    assert!(verified.is_ok(), "{verified:?}");
}

#[test]
fn what_was_collected_stays_collected() {
    let rig = Rig::new();
    fill(&rig, 8);
    rig.write(&[("gone", Some("1"))]);
    rig.engine().flush().unwrap();
    rig.write(&[("gone", None)]);
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("later", Some("1"))]);
    collect(&rig);
    rig.backup(&fast()).unwrap();
    let (_folder, engine, rewritten) = restored(&rig, &RestoreOptions::default());
    assert_eq!(rewritten, 0);
    // Each row with its time; what the source wrote for itself since the backup is not in it.
    let now = engine.visible();
    assert_eq!(read_all(&engine, now), rig.rows());
    let keyspace = engine.keyspaces().remove(0);
    assert_eq!(keyspace.threshold(), rig.keyspace().threshold());
    engine.compact(&keyspace).unwrap();
    assert_eq!(read_all(&engine, now), rig.rows());
}

#[test]
fn the_pool_is_not_filled_twice() {
    let rig = uncompacted();
    fill(&rig, 6);
    rig.engine().flush().unwrap();
    let (collection, log) = logged(&rig);
    let first = rig.backup_into(&collection, &fast()).unwrap();
    let files = usize::try_from(first.files()).unwrap();
    assert!(files > 1);
    assert_eq!(puts(&log), (files, 0));
    rig.clock.advance(Duration::from_secs(1));
    let second = rig.backup_into(&collection, &fast()).unwrap();
    assert_eq!(puts(&log), (0, 0));
    assert_eq!(second.reused_files(), second.files());
    assert_eq!(second.reused_bytes(), first.stored_bytes());
    // New rows in memory go to a file of the layer, a new live file to the pool; the rest is there.
    rig.clock.advance(Duration::from_secs(1));
    rig.write(&[("new", Some("1"))]);
    let third = rig.backup_into(&collection, &fast()).unwrap();
    assert_eq!(puts(&log), (0, 1));
    assert_eq!(third.reused_files(), first.files());
    rig.engine().flush().unwrap();
    rig.clock.advance(Duration::from_secs(1));
    rig.backup_into(&collection, &fast()).unwrap();
    assert_eq!(puts(&log), (1, 0));
    rig.all_layers_restore();
}

/// The files of a restored database are those of the one it came from, to the byte; those of any other
/// database are others, however alike.
#[test]
fn the_pool_is_shared_by_those_who_hold_the_same_files() {
    let rig = uncompacted();
    fill(&rig, 6);
    rig.engine().flush().unwrap();
    let (collection, log) = logged(&rig);
    let first = rig.backup_into(&collection, &fast()).unwrap();
    let (folder, copy) = rig.other_engine();
    for name in ["one", "two"] {
        let renames = [("bank.accounts".to_owned(), name.to_owned())].into();
        let options = RestoreOptions {
            renames,
            ..RestoreOptions::default()
        };
        rig.restore_from(&collection, &copy, &options).unwrap();
    }
    let _ = log.take();
    rig.clock.advance(Duration::from_secs(1));
    let again = run(icecore_backup::backup(&copy, &collection, &fast())).unwrap();
    // Both keyspaces hold the same files, and a manifest names each once.
    assert_eq!(again.reused_files(), first.files());
    assert_eq!(puts(&log).0, usize::try_from(first.files()).unwrap());
    assert_eq!(again.files(), 2 * first.files());
    drop((copy, folder));
    // Another engine that did the same.
    let other = uncompacted();
    fill(&other, 6);
    other.engine().flush().unwrap();
    other.clock.advance(Duration::from_secs(60));
    let others = other.backup_into(&collection, &fast()).unwrap();
    assert_eq!(others.reused_files(), 0);
    let (_folder, engine, _) = restored(&rig, &RestoreOptions::default());
    assert_eq!(read_all(&engine, engine.visible()), other.rows());
}

#[test]
fn a_file_that_the_pool_lost_is_found_out_and_brought_again() {
    let rig = uncompacted();
    fill(&rig, 4);
    rig.engine().flush().unwrap();
    let full = rig.backup(&fast()).unwrap();
    let pool = run(rig.collection().pool_files()).unwrap();
    assert_eq!(pool.len() as u64, full.files());
    let lost = pool.keys().next().unwrap();
    let store = rig.raw_store();
    let path = icecore_archive::object_store::path::Path::from(format!("data/{lost}.sst"));
    run(icecore_archive::object_store::ObjectStoreExt::delete(
        &store, &path,
    ))
    .unwrap();
    for depth in [Depth::Presence, Depth::Checksum] {
        let options = VerifyOptions {
            depth,
            ..VerifyOptions::default()
        };
        let found = run(verify(&rig.collection(), &options)).unwrap();
        let problems = &found.layers[0].problems;
        assert!(problems.len() == 1 && problems[0].contains(&lost.to_string()));
    }
    rig.clock.advance(Duration::from_secs(1));
    let again = rig.backup(&fast()).unwrap();
    assert_eq!(again.reused_files(), full.files() - 1);
    let (_folder, engine, _) = restored(&rig, &RestoreOptions::default());
    assert_eq!(read_all(&engine, full.end), rig.rows());
}

#[test]
fn what_cannot_be_fast_is_refused_or_logical() {
    let rig = Rig::new();
    fill(&rig, 2);
    let refused = |options: &BackupOptions| rig.backup(options).unwrap_err().to_string();
    let as_of = BackupOptions {
        as_of: Some(rig.engine().visible()),
        ..fast()
    };
    assert!(refused(&as_of).contains("live files are as of now"));
    let newest = BackupOptions {
        revision_history: false,
        ..fast()
    };
    assert!(refused(&newest).contains("revision history was not asked for"));
    assert!(rig.layers().is_empty());
    let chosen = BackupOptions {
        onto: Some("chosen/one".parse().unwrap()),
        ..fast()
    };
    let full = rig.backup(&chosen).unwrap();
    assert_eq!(full.layer.to_string(), "chosen/one");
    rig.write(&[("a", Some("1"))]);
    assert!(refused(&chosen).contains("an incremental takes what changed"));
    let auto = BackupOptions {
        mode: Mode::Auto,
        ..chosen
    };
    let incremental: BackupReport = rig.backup(&auto).unwrap();
    assert_eq!(incremental.method, Method::Logical);
    assert!(incremental.method_reason.contains("an incremental"));
}

#[test]
fn only_what_is_meant_is_copied() {
    let rig = Rig::new();
    fill(&rig, 3);
    let settings = KeyspaceSettings {
        exclude_from_backup: true,
        ..KeyspaceSettings::default()
    };
    let cache = rig
        .engine()
        .create_keyspace("bank.cache", settings)
        .unwrap();
    cache.put("k", "v", Durability::Sync).unwrap();
    for name in ["bank.old", "zoo"] {
        let keyspace = rig
            .engine()
            .create_keyspace(name, KeyspaceSettings::default());
        keyspace.unwrap().put("k", name, Durability::Sync).unwrap();
    }
    rig.clock.advance(Duration::from_secs(1));
    let before_drop = rig.engine().visible();
    rig.engine().drop_keyspace("bank.old").unwrap();
    rig.clock.advance(Duration::from_secs(1));
    let report = rig
        .backup(&BackupOptions {
            keyspaces: vec![NamePattern::parse("bank.*").unwrap()],
            ..fast()
        })
        .unwrap();
    let files = |name: &str| {
        let found = report.keyspaces.iter().find(|k| k.name == name);
        found.map(|k| k.files)
    };
    assert!(files("bank.accounts").unwrap() > 0);
    assert_eq!(files("bank.cache"), Some(0));
    assert_eq!(files("bank.old"), Some(1));
    assert_eq!(files("zoo"), None);
    let (_folder, engine, _) = restored(&rig, &RestoreOptions::default());
    assert_eq!(read_all(&engine, report.end), rig.rows());
    assert!(engine.keyspace("bank.old").is_err());
    let (_folder, engine, _) = restored(
        &rig,
        &RestoreOptions {
            as_of: Some(before_drop),
            ..RestoreOptions::default()
        },
    );
    let old = engine.keyspace("bank.old").unwrap();
    assert_eq!(old.get(b"k").unwrap().as_deref(), Some(&b"bank.old"[..]));
}

/// A full that is cut off at each of its requests leaves nothing that is listed, and the next one works.
#[test]
fn a_fast_full_cut_off_anywhere_is_none() {
    for fault in [Fault::From, Fault::Only, Fault::AfterOnly] {
        for request in 0.. {
            let rig = Rig::new();
            fill(&rig, 3);
            rig.backup(&fast()).unwrap();
            rig.clock.advance(Duration::from_secs(1));
            rig.write(&[("new", Some("1"))]);
            rig.engine().flush().unwrap();
            let fuse = Fuse::new(fault(request));
            let outcome = rig.backup_with(&fuse, &fast());
            let blown = fuse.is_blown();
            if let Ok(report) = outcome {
                assert!(rig.layers().contains(&report.layer));
            }
            rig.all_layers_restore();
            rig.clock.advance(Duration::from_secs(1));
            rig.backup(&fast()).unwrap();
            rig.newest_layer_restores();
            let staged = rig.engine().staging_dir().read_dir().unwrap().count();
            assert_eq!(staged, 0, "nothing is left in the staging folder");
            if !blown {
                break;
            }
        }
    }
}

#[test]
fn a_restore_of_copied_files_cut_off_anywhere_goes_on() {
    let rig = Rig::new();
    let times = fill(&rig, 6);
    let full = rig.backup(&fast()).unwrap();
    rig.write(&[("new", Some("1"))]);
    rig.backup(&onto_latest()).unwrap();
    for as_of in [None, Some(full.end), Some(times[3])] {
        let options = RestoreOptions {
            from: BackupSelector::Latest,
            as_of,
            ..RestoreOptions::default()
        };
        for request in 0.. {
            let (_folder, engine) = rig.other_engine();
            let fuse = Fuse::new(Fault::From(request));
            let outcome = rig.restore_with(&engine, &fuse, &options);
            if !fuse.is_blown() {
                outcome.unwrap();
                break;
            }
            assert!(engine.keyspaces().is_empty());
            let report = rig.restore(&engine, &options).unwrap();
            let target = report.target;
            assert_eq!(read_all(&engine, target), rig.rows_at(target), "{request}");
        }
    }
}

/// A chain that begins with a fast full: three incrementals with history, whose times come too.
fn fast_chain(rig: &Rig) -> Vec<Timestamp> {
    let mut times = fill(rig, 5);
    rig.backup(&fast()).unwrap();
    for _ in 0..3 {
        times.extend(fill(rig, 2));
        let onto = BackupOptions {
            revision_history: true,
            ..onto_latest()
        };
        rig.backup(&onto).unwrap();
    }
    times
}

#[test]
fn a_chain_is_compacted_behind_its_fast_full() {
    let rig = uncompacted();
    let times = fast_chain(&rig);
    let report = run(compact(&rig.collection(), &CompactOptions::default())).unwrap();
    assert_eq!(report.merged.len(), 1);
    for &time in &times {
        let options = RestoreOptions {
            as_of: Some(time),
            ..RestoreOptions::default()
        };
        let (_folder, engine, _) = restored(&rig, &options);
        assert_eq!(read_all(&engine, time), rig.rows_at(time));
    }
    let options = VerifyOptions {
        depth: Depth::Restore,
        scratch: Some(rig.folder().to_owned()),
        ..VerifyOptions::default()
    };
    let verified = run(verify(&rig.collection(), &options)).unwrap();
    assert!(verified.is_ok(), "{verified:?}");
}

/// Retention knows chains with files in the pool for whole ones.
#[test]
fn a_chain_that_misses_a_file_of_the_pool_is_damaged() {
    let rig = uncompacted();
    fast_chain(&rig);
    let report = run(expire(&rig.collection(), &ExpireOptions::default())).unwrap();
    let problems: Vec<_> = report.chains.iter().flat_map(|c| &c.problems).collect();
    assert!(problems.is_empty(), "{problems:?}");
    let store = rig.raw_store();
    for id in run(rig.collection().pool_files()).unwrap().keys() {
        let path = icecore_archive::object_store::path::Path::from(format!("data/{id}.sst"));
        run(icecore_archive::object_store::ObjectStoreExt::delete(
            &store, &path,
        ))
        .unwrap();
    }
    let report = run(expire(&rig.collection(), &ExpireOptions::default())).unwrap();
    assert_eq!(report.chains.len(), 1);
    let problems = report.chains[0].problems.join(" ");
    assert!(problems.contains("is missing"), "{problems}");
}

/// Copied files are read together: what a delete in one of them removed in another is not there.
#[test]
fn a_fast_full_is_read_in_place() {
    let rig = uncompacted();
    fill(&rig, 6);
    rig.write(&[("gone", Some("1"))]);
    rig.engine().flush().unwrap();
    rig.write(&[("gone", None)]);
    rig.clock.advance(Duration::from_secs(60));
    rig.write(&[("later", Some("1"))]);
    collect(&rig);
    rig.engine().flush().unwrap();
    let times = fast_chain(&rig);
    for &time in &times {
        let options = ReadOptions {
            as_of: Some(time),
            ..ReadOptions::new(CacheOptions::new(rig.folder().join("cache")))
        };
        let reader = run(BackupReader::open(&rig.collection(), &options)).unwrap();
        let keyspace = reader.keyspace("bank.accounts").unwrap();
        let live = rig.rows_at(time);
        for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
            let mut scan = keyspace.scan(&KeyRange::all(), direction);
            let mut found = Vec::new();
            while let Some(row) = run(scan.next()).unwrap() {
                found.push(Row {
                    key: row.key.to_vec(),
                    ts: row.ts,
                    value: Some(row.value.to_vec()),
                });
            }
            if direction == ScanDirection::Reverse {
                found.reverse();
            }
            assert_eq!(found, live);
        }
        for row in &live {
            let entry = run(keyspace.get(&row.key)).unwrap().unwrap();
            assert_eq!((entry.ts, Some(&entry.value)), (row.ts, row.value.as_ref()));
        }
        assert!(run(keyspace.get(b"gone")).unwrap().is_none());
        assert!(run(keyspace.versions(b"gone")).unwrap().is_empty());
    }
}

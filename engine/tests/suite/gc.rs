//! The mechanism of garbage collection: thresholds, filter, sweep, trim, purge.

use std::time::Duration;

use icecore_engine::{
    ChangePlan, ChangeSet, Durability, Engine, Error, Options, PlanTaken, SYSTEM_KEYSPACE,
    ScanDirection, SweepBudget,
};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::clock::copy;
use crate::common::{Fixture, delete, put, scan, scan_at, small, ts, window};

fn raise(db: &Fixture, keyspace: &icecore_engine::Keyspace, to: Timestamp) -> Timestamp {
    db.engine().gc_guard().raise(keyspace.id(), to).unwrap()
}

/// Every version that is physically there.
fn stored(keyspace: &icecore_engine::Keyspace) -> usize {
    let now = keyspace.engine().visible();
    let after = keyspace.threshold();
    // From the threshold on the window is whole; what lies below shows in the estimate only, so
    // compact first and count that.
    let _ = window(keyspace, after, now, ChangeSet::All, ChangePlan::Scan);
    keyspace.stats().estimated_versions as usize
}

#[test]
fn a_threshold_only_rises_and_survives() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    let first = put(&a, "k", "1");
    let second = put(&a, "k", "2");
    assert_eq!(a.threshold(), Timestamp::MIN);
    assert_eq!(raise(&db, &a, first), first);
    assert_eq!(
        raise(&db, &a, Timestamp::MIN),
        first,
        "asking for less changes nothing"
    );
    assert_eq!(
        raise(&db, &a, Timestamp::MAX),
        second,
        "never above the visible timestamp"
    );
    assert_eq!(db.engine().gc_guard().threshold(a.id()).unwrap(), second);
    let past = db.engine().snapshot_at(first).unwrap();
    match a.get_at(&past, b"k").unwrap_err() {
        Error::BelowThreshold {
            keyspace,
            requested,
            threshold,
        } => {
            assert_eq!(
                (keyspace.as_str(), requested, threshold),
                ("a", first, second)
            );
        }
        other => panic!("{other}"),
    }
    assert!(matches!(
        a.scan(&past, &KeyRange::all(), ScanDirection::Forward)
            .map(|_| ()),
        Err(Error::BelowThreshold { .. })
    ));
    assert!(matches!(
        a.versions(&past, b"k"),
        Err(Error::BelowThreshold { .. })
    ));
    assert!(matches!(
        a.multi_get_at(&past, &["k"]),
        Err(Error::BelowThreshold { .. })
    ));
    drop((past, a));
    db.reopen();
    assert_eq!(db.keyspace("a").threshold(), second);
}

/// The threshold is on disk before anything is dropped by it: a copy of the folder taken at any
/// time afterwards refuses the reads that may be incomplete.
#[test]
fn a_threshold_is_durable_before_it_takes_effect() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let first = put(&a, "k", "1");
    let second = put(&a, "k", "2");
    raise(&db, &a, second);
    db.engine().compact(&a).unwrap();
    let crashed = db.path("crashed");
    copy(&db.dir(), &crashed);
    let engine = Engine::open(&crashed, &db.options).unwrap();
    let a = engine.keyspace("a").unwrap();
    assert_eq!(a.threshold(), second);
    let past = engine.snapshot_at(first).unwrap();
    assert!(matches!(
        a.get_at(&past, b"k"),
        Err(Error::BelowThreshold { .. })
    ));
}

#[test]
fn readers_hold_the_threshold_back() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let first = put(&a, "k", "1");
    let second = put(&a, "k", "2");
    let third = put(&a, "k", "3");
    let reader = db.engine().snapshot_at(first).unwrap();
    let scan = a
        .scan(
            &db.engine().snapshot_at(second).unwrap(),
            &KeyRange::all(),
            ScanDirection::Forward,
        )
        .unwrap();
    assert_eq!(db.engine().oldest_reader(), Some(first));
    assert_eq!(raise(&db, &a, third), first);
    drop(reader);
    assert_eq!(db.engine().oldest_reader(), Some(second));
    assert_eq!(raise(&db, &a, third), second);
    db.engine().compact(&a).unwrap();
    assert_eq!(scan.map(|e| e.unwrap().value).collect::<Vec<_>>(), [b"2"]);
    let transaction = db
        .engine()
        .begin(icecore_engine::Isolation::Snapshot)
        .unwrap();
    let start = transaction.snapshot().timestamp();
    put(&a, "k", "4");
    assert_eq!(raise(&db, &a, Timestamp::MAX), start);
    drop(transaction);
    assert_eq!(db.engine().oldest_reader(), None);
    let changes = {
        let window = icecore_engine::Window {
            after: start,
            until: db.engine().visible(),
        };
        a.changes(
            &KeyRange::all(),
            window,
            ChangeSet::All,
            &Default::default(),
        )
        .unwrap()
    };
    put(&a, "k", "5");
    assert_eq!(
        raise(&db, &a, Timestamp::MAX),
        start,
        "a running window holds its beginning"
    );
    assert_eq!(changes.count(), 1);
}

#[test]
fn compaction_drops_what_no_read_can_see_and_nothing_else() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for round in 0..5_u32 {
        for key in 0..50_u32 {
            put(&a, format!("{key:02}"), round.to_be_bytes());
        }
    }
    let threshold = db.engine().visible();
    for key in 0..10_u32 {
        put(&a, format!("{key:02}"), "newest");
    }
    db.engine().compact(&a).unwrap();
    assert_eq!(stored(&a), 260, "nothing goes before the threshold rises");
    let at_threshold = scan_at(&a, threshold, &KeyRange::all(), ScanDirection::Forward);
    raise(&db, &a, threshold);
    db.engine().compact(&a).unwrap();
    assert_eq!(stored(&a), 60);
    assert_eq!(
        scan_at(&a, threshold, &KeyRange::all(), ScanDirection::Forward),
        at_threshold
    );
    assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Reverse).len(), 50);
}

#[test]
fn the_sweep_removes_deleted_keys_for_good() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    for key in 0..100_u32 {
        put(&a, format!("{key:02}"), "v");
    }
    for key in 0..40_u32 {
        delete(&a, format!("{key:02}"));
    }
    delete(&a, "never there");
    let threshold = db.engine().visible();
    put(&a, "05", "back again");
    let above = delete(&a, "50");
    let idle = db.engine().sweep(&a, SweepBudget::default()).unwrap();
    assert_eq!(
        (idle.visited_keys, idle.done),
        (0, true),
        "nothing to do below a threshold of zero"
    );
    raise(&db, &a, threshold);
    let mut removed = 0;
    let mut calls = 0;
    loop {
        let report = db.engine().sweep(&a, SweepBudget { max_keys: 7 }).unwrap();
        removed += report.removed_versions;
        calls += 1;
        if report.done {
            assert_eq!(report.swept_to, threshold);
            break;
        }
        assert!(report.visited_keys <= 7 && calls < 50);
    }
    assert_eq!((removed, calls), (81, 6));
    db.engine().compact(&a).unwrap();
    assert_eq!(
        stored(&a),
        60 + 2,
        "60 keys, one written and one deleted above the threshold"
    );
    assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Forward).len(), 60);
    assert_eq!(
        scan_at(&a, threshold, &KeyRange::all(), ScanDirection::Forward).len(),
        60
    );
    assert_eq!(
        window(&a, threshold, above, ChangeSet::All, ChangePlan::Index).len(),
        2
    );
    drop(a);
    db.reopen();
    let again = db
        .engine()
        .sweep(&db.keyspace("a"), SweepBudget::default())
        .unwrap();
    assert_eq!(
        (again.visited_keys, again.done),
        (0, true),
        "what was swept is not swept again"
    );
}

#[test]
fn the_commit_index_is_trimmed_as_far_as_nobody_needs_it() {
    let db = Fixture::with(Options {
        write_buffer_bytes: 64 << 10,
        ..small()
    });
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    for i in 0..2000_u32 {
        put(&a, format!("{:04}", i % 100), vec![b'x'; 50]);
    }
    let middle = db.engine().visible();
    for i in 0..2000_u32 {
        put(&b, format!("{:04}", i % 100), vec![b'x'; 50]);
    }
    let end = db.engine().visible();
    assert_eq!(
        db.engine().trim_commit_index().unwrap(),
        Timestamp::MIN,
        "all keyspaces still need it"
    );
    for keyspace in [&a, &b, &db.engine().system().keyspace().clone()] {
        raise(
            &db,
            keyspace,
            if keyspace.id() == a.id() { end } else { middle },
        );
    }
    assert_eq!(
        db.engine().trim_commit_index().unwrap(),
        Timestamp::MIN,
        "the sweep still needs it"
    );
    for keyspace in [&a, &b, &db.engine().system().keyspace().clone()] {
        assert!(
            db.engine()
                .sweep(keyspace, SweepBudget::default())
                .unwrap()
                .done
        );
    }
    let low = db.engine().trim_commit_index().unwrap();
    assert_eq!(low, middle);
    assert_eq!(db.engine().commit_index_low_water().unwrap(), middle);
    assert_eq!(
        window(&b, middle, end, ChangeSet::All, ChangePlan::Index).len(),
        2000
    );
    assert_eq!(db.engine().trim_commit_index().unwrap(), middle);
}

#[test]
fn a_window_below_the_low_water_is_scanned_or_refused() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let first = put(&a, "k", "1");
    let second = put(&a, "k", "2");
    let system = db.engine().system().keyspace().clone();
    for keyspace in [&a, &system] {
        raise(&db, keyspace, second);
        db.engine().sweep(keyspace, SweepBudget::default()).unwrap();
    }
    assert_eq!(db.engine().trim_commit_index().unwrap(), second);
    put(&a, "k", "3");
    let now = db.engine().visible();
    assert_eq!(
        window(&a, second, now, ChangeSet::All, ChangePlan::Index).len(),
        1
    );
    let below = icecore_engine::Window {
        after: first,
        until: now,
    };
    assert!(matches!(
        a.changes(&KeyRange::all(), below, ChangeSet::All, &Default::default())
            .map(|_| ()),
        Err(Error::BelowThreshold { .. })
    ));
    // A keyspace made since the trim has all its history in the index, though its window begins
    // at zero.
    let b = db.keyspace("b");
    put(&b, "k", "1");
    let options = icecore_engine::ChangeOptions::default();
    let window = icecore_engine::Window {
        after: Timestamp::MIN,
        until: db.engine().visible(),
    };
    let changes = b
        .changes(&KeyRange::all(), window, ChangeSet::All, &options)
        .unwrap();
    assert!(
        matches!(changes.plan(), PlanTaken::Index { changes: 1, .. }),
        "{:?}",
        changes.plan()
    );
}

#[test]
fn a_dropped_keyspace_goes_once_its_past_is_over() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    db.keyspace("other");
    for i in 0..100_u32 {
        put(&a, format!("{i}"), "v");
    }
    let written = db.engine().visible();
    let dropped = db.engine().drop_keyspace("a").unwrap();
    let end = put(&db.keyspace("other"), "k", "v");
    assert!(db.engine().purge_dropped().unwrap().is_empty());
    raise(&db, &a, dropped.prev());
    assert!(db.engine().purge_dropped().unwrap().is_empty());
    raise(&db, &a, end);
    assert!(
        db.engine().purge_dropped().unwrap().is_empty(),
        "its descriptor can still be read"
    );
    let system = db.engine().system().keyspace().clone();
    assert_eq!(
        raise(&db, &system, end),
        Timestamp::MIN,
        "the system keyspace waits for all others"
    );
    raise(&db, &db.keyspace("other"), end);
    assert_eq!(raise(&db, &system, end), end);
    let purged = db.engine().purge_dropped().unwrap();
    assert_eq!(
        purged.iter().map(|d| d.name.as_str()).collect::<Vec<_>>(),
        ["a"]
    );
    assert!(matches!(
        db.engine().keyspace_by_id(a.id()),
        Err(Error::NoSuchKeyspace { .. })
    ));
    let past = db.engine().snapshot_at(written).unwrap();
    assert!(matches!(
        a.get_at(&past, b"1"),
        Err(Error::BelowThreshold { .. })
    ));
    assert!(matches!(a.get(b"1"), Err(Error::KeyspaceDropped { .. })));
    drop((a, past, system));
    db.reopen();
    assert_eq!(db.engine().all_keyspaces().len(), 1);
    assert!(db.engine().purge_dropped().unwrap().is_empty());
}

/// Bug: sweeping through a handle of a purged keyspace wrote into a column family that was gone,
/// which RocksDB refuses, and the engine stopped.
#[test]
fn sweeping_a_purged_keyspace_is_an_error_and_no_more() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    put(&a, "k", "v");
    delete(&a, "k");
    let dropped = db.engine().drop_keyspace("a").unwrap();
    raise(&db, &a, dropped);
    raise(&db, db.engine().system().keyspace(), dropped);
    assert_eq!(db.engine().purge_dropped().unwrap().len(), 1);
    let refused = db.engine().sweep(&a, SweepBudget::default()).unwrap_err();
    assert!(
        matches!(
            refused,
            Error::NoSuchKeyspace { .. } | Error::KeyspaceDropped { .. }
        ),
        "{refused}"
    );
    assert!(db.engine().compact(&a).is_err());
    put(&db.keyspace("b"), "k", "the engine goes on");
}

#[test]
fn a_restored_keyspace_is_swept_as_a_whole_once() {
    let db = Fixture::new();
    let restoring = db
        .engine()
        .begin_restore("r", "a", Default::default())
        .unwrap();
    let rows: Vec<(&[u8], u64, Option<&[u8]>)> = vec![
        (b"both", 30, Some(b"3")),
        (b"both", 20, None),
        (b"both", 10, Some(b"1")),
        (b"gone", 20, None),
        (b"gone", 10, Some(b"1")),
        (b"kept", 10, Some(b"1")),
        (b"tomb", 5, None),
    ];
    let file = crate::common::sst(db.engine(), &db.engine().staging_dir().join("f"), &rows);
    restoring.ingest("1", &[file]).unwrap();
    let publish = icecore_engine::Publish {
        keyspace: restoring,
        threshold: ts(5),
    };
    let a = db
        .engine()
        .publish_restore(vec![publish], ts(30))
        .unwrap()
        .remove(0);
    assert_eq!(raise(&db, &a, ts(25)), ts(25));
    let early = db.engine().sweep(&a, SweepBudget::default()).unwrap();
    assert_eq!(
        (early.removed_versions, early.done),
        (0, true),
        "not before the threshold passes the restore"
    );
    put(&a, "new", "x");
    let new_gone = delete(&a, "new");
    raise(&db, &a, new_gone);
    let report = db.engine().sweep(&a, SweepBudget::default()).unwrap();
    assert_eq!(
        (report.removed_versions, report.swept_to, report.done),
        (2 + 2 + 1 + 2, new_gone, true)
    );
    let left = scan(&a, &KeyRange::all(), ScanDirection::Forward);
    assert_eq!(
        left,
        [
            (b"both".to_vec(), b"3".to_vec()),
            (b"kept".to_vec(), b"1".to_vec())
        ]
    );
    db.engine().compact(&a).unwrap();
    assert_eq!(stored(&a), 2);
}

/// Writers, readers at pinned times, and a collector that raises, sweeps, trims and compacts, all
/// at once. A pinned reader must see the same rows for as long as it lives.
#[test]
fn collecting_beside_readers_and_writers_changes_no_answer() {
    let db = Fixture::with(Options {
        write_buffer_bytes: 64 << 10,
        ..small()
    });
    let a = db.keyspace("a");
    let stop = std::sync::atomic::AtomicBool::new(false);
    let running = || !stop.load(std::sync::atomic::Ordering::Acquire);
    std::thread::scope(|scope| {
        for writer in 0..2_u32 {
            let (a, running) = (&a, &running);
            scope.spawn(move || {
                let mut i = 0_u32;
                while running() {
                    let key = format!("{writer}/{:02}", i % 23);
                    match i % 5 {
                        0 => drop(delete(a, key)),
                        _ => drop(put(a, key, i.to_be_bytes().repeat(20))),
                    }
                    i += 1;
                }
            });
        }
        scope.spawn(|| {
            let system = db.engine().system().keyspace().clone();
            while running() {
                let to = db.engine().visible();
                for keyspace in [&a, &system] {
                    db.engine().gc_guard().raise(keyspace.id(), to).unwrap();
                    db.engine()
                        .sweep(keyspace, SweepBudget { max_keys: 50 })
                        .unwrap();
                }
                db.engine().trim_commit_index().unwrap();
                db.engine().compact(&a).unwrap();
            }
        });
        let (a, db, running) = (&a, &db, &running);
        let reader = scope.spawn(move || {
            let mut rounds = 0;
            while running() {
                let snapshot = db.engine().snapshot();
                let begin = db.engine().visible();
                let read = || -> Vec<_> {
                    let scan = a.scan(&snapshot, &KeyRange::all(), ScanDirection::Forward);
                    scan.unwrap().map(|e| e.unwrap()).collect()
                };
                let first = read();
                std::thread::sleep(Duration::from_millis(5));
                let until = db.engine().visible();
                if begin == snapshot.timestamp() {
                    let index = window(a, begin, until, ChangeSet::All, ChangePlan::Auto);
                    assert_eq!(
                        index,
                        window(a, begin, until, ChangeSet::All, ChangePlan::Scan)
                    );
                }
                assert_eq!(first, read(), "a pinned time changed");
                for entry in first.iter().take(5) {
                    assert_eq!(
                        a.get_at(&snapshot, &entry.key).unwrap().as_ref(),
                        Some(&entry.value)
                    );
                }
                a.get(b"0/01").unwrap();
                rounds += 1;
            }
            rounds
        });
        std::thread::sleep(Duration::from_millis(1500));
        stop.store(true, std::sync::atomic::Ordering::Release);
        assert!(reader.join().unwrap() > 3);
    });
    assert!(a.threshold() > Timestamp::MIN);
    a.put("k", "v", Durability::Sync).unwrap();
}

#[test]
fn the_system_keyspace_has_a_threshold_too() {
    let db = Fixture::new();
    let system = db.engine().system();
    let first = system.put("kind", "key", b"1".to_vec()).unwrap();
    let second = system.put("kind", "key", b"2".to_vec()).unwrap();
    assert_eq!(
        db.engine()
            .gc_guard()
            .raise(SYSTEM_KEYSPACE, second)
            .unwrap(),
        second
    );
    let past = db.engine().snapshot_at(first).unwrap();
    assert!(matches!(
        system.list_at(&past, "kind"),
        Err(Error::BelowThreshold { .. })
    ));
    assert!(matches!(
        db.engine().descriptors_at(first),
        Err(Error::BelowThreshold { .. })
    ));
    assert_eq!(system.get("kind", "key").unwrap(), Some(b"2".to_vec()));
}

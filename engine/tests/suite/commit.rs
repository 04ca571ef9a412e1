//! Commits: atomicity, limits, order of visibility, many threads at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use icecore_engine::{Batch, ChangePlan, ChangeSet, Durability, Error, ScanDirection};
use icecore_mvcc::{KeyRange, Timestamp, key::MAX_KEY_BYTES, value::MAX_VALUE_BYTES};

use crate::common::{Fixture, put, scan, scan_at, window};

#[test]
fn a_batch_takes_effect_as_a_whole_at_one_time() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    put(&a, "gone", "x");
    let before = db.engine().visible();
    let mut batch = Batch::new();
    assert!(batch.is_empty());
    batch.put(&b, "k", "2").put(&a, "k", "1").delete(&a, "gone");
    assert_eq!(batch.len(), 3);
    let at = db.engine().commit(batch, Durability::Sync).unwrap();
    for keyspace in [&a, &b] {
        let rows = window(keyspace, before, at, ChangeSet::All, ChangePlan::Scan);
        assert!(
            !rows.is_empty() && rows.iter().all(|(_, ts, _)| *ts == at.nanos()),
            "{rows:?}"
        );
    }
    assert_eq!(
        scan_at(&a, before, &KeyRange::all(), ScanDirection::Forward),
        [(b"gone".to_vec(), b"x".to_vec())]
    );
    assert_eq!(
        scan(&a, &KeyRange::all(), ScanDirection::Forward),
        [(b"k".to_vec(), b"1".to_vec())]
    );
}

#[test]
fn the_last_write_of_a_key_counts() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    let before = db.engine().visible();
    let mut batch = Batch::new();
    batch
        .put(&a, "k", "1")
        .put(&b, "k", "other")
        .put(&a, "k", "2")
        .delete(&a, "k")
        .put(&a, "k", "3");
    batch
        .put(&a, "d", "1")
        .delete(&a, "d")
        .put(&a, "c", "1")
        .put(&b, "k", "last");
    let at = db.engine().commit(batch, Durability::Buffered).unwrap();
    for plan in [ChangePlan::Index, ChangePlan::Scan] {
        let rows = window(&a, before, at, ChangeSet::All, plan);
        let rows: Vec<_> = rows
            .into_iter()
            .map(|(key, _, value)| (key, value))
            .collect();
        let expected = [("c", Some("1")), ("d", None), ("k", Some("3"))];
        let expected =
            expected.map(|(k, v)| (k.as_bytes().to_vec(), v.map(|v| v.as_bytes().to_vec())));
        assert_eq!(rows, expected, "{plan:?}");
    }
    assert_eq!(b.get(b"k").unwrap(), Some(b"last".to_vec()));
}

#[test]
fn an_empty_batch_commits_nothing() {
    let db = Fixture::new();
    db.keyspace("a");
    let visible = db.engine().visible();
    assert_eq!(
        db.engine().commit(Batch::new(), Durability::Sync).unwrap(),
        visible
    );
    assert_eq!(db.engine().visible(), visible);
}

#[test]
fn what_is_over_a_limit_is_refused_and_changes_nothing() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let visible = db.engine().visible();
    let mut batch = Batch::new();
    batch
        .put(&a, "fine", "x")
        .put(&a, vec![b'k'; MAX_KEY_BYTES + 1], "x");
    let refused = db.engine().commit(batch, Durability::Sync).unwrap_err();
    assert!(
        matches!(refused, Error::Invalid(_)) && refused.to_string().contains("65537"),
        "{refused}"
    );
    // Zeroed pages that nothing touches: no gigabyte of memory is used.
    let refused = a
        .put("k", vec![0; MAX_VALUE_BYTES + 1], Durability::Sync)
        .unwrap_err();
    assert!(
        matches!(refused, Error::Invalid(_)) && refused.to_string().contains("1073741825"),
        "{refused}"
    );
    assert!(matches!(
        a.delete(vec![0; MAX_KEY_BYTES + 1], Durability::Sync),
        Err(Error::Invalid(_))
    ));
    assert_eq!(db.engine().visible(), visible);
    assert_eq!(a.get(b"fine").unwrap(), None);
    put(&a, "k", "the engine goes on");
}

#[test]
fn a_large_commit_spans_many_index_records() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let before = db.engine().visible();
    let mut batch = Batch::new();
    for i in 0..20_000_u32 {
        batch.put(&a, format!("key/{i:08}"), i.to_be_bytes());
    }
    batch.put(&a, vec![b'z'; MAX_KEY_BYTES], "long");
    let at = db.engine().commit(batch, Durability::Buffered).unwrap();
    let index = window(&a, before, at, ChangeSet::All, ChangePlan::Index);
    assert_eq!(index.len(), 20_001);
    assert_eq!(
        index,
        window(&a, before, at, ChangeSet::All, ChangePlan::Scan)
    );
}

/// Eight writers, each moving a unit between two counters in one batch, and readers that check at
/// every time they see: the sum never changes, what was acknowledged is there, time never goes back.
#[test]
fn readers_at_visible_miss_nothing() {
    const WRITERS: usize = 8;
    const ROUNDS: u32 = 150;
    let db = Fixture::new();
    let a = db.keyspace("a");
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicBool::new(false);
    let stamps = std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let (mut last_seen, mut looks) = (Timestamp::MIN, 0);
            while !done.load(Ordering::Acquire) {
                let floor: Vec<u64> = acknowledged
                    .iter()
                    .map(|a| a.load(Ordering::Acquire))
                    .collect();
                let snapshot = db.engine().snapshot();
                assert!(snapshot.timestamp() >= last_seen, "visible went back");
                last_seen = snapshot.timestamp();
                for (writer, floor) in floor.iter().enumerate() {
                    let count = |side: &str| {
                        let found = a
                            .get_at(&snapshot, format!("{writer}/{side}").as_bytes())
                            .unwrap();
                        found.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().unwrap()))
                    };
                    let (left, right) = (count("left"), count("right"));
                    assert_eq!(left, right, "half a commit was seen at {last_seen}");
                    assert!(
                        left >= *floor,
                        "an acknowledged commit was missed: {left} < {floor}"
                    );
                }
                looks += 1;
            }
            looks
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (a, db, acknowledged) = (&a, &db, &acknowledged);
                scope.spawn(move || {
                    let mut stamps = Vec::new();
                    for round in 1..=u64::from(ROUNDS) {
                        let mut batch = Batch::new();
                        for side in ["left", "right"] {
                            batch.put(a, format!("{writer}/{side}"), round.to_be_bytes());
                        }
                        let durability = if round % 50 == 0 {
                            Durability::Sync
                        } else {
                            Durability::Buffered
                        };
                        let at = db.engine().commit(batch, durability).unwrap();
                        assert!(
                            db.engine().visible() >= at,
                            "acknowledged before it was visible"
                        );
                        let own = a.get(format!("{writer}/left").as_bytes()).unwrap().unwrap();
                        assert_eq!(
                            own,
                            round.to_be_bytes(),
                            "a thread did not read its own write"
                        );
                        acknowledged[writer].store(round, Ordering::Release);
                        stamps.push(at);
                    }
                    stamps
                })
            })
            .collect();
        let stamps: Vec<Vec<Timestamp>> = writers.into_iter().map(|w| w.join().unwrap()).collect();
        done.store(true, Ordering::Release);
        assert!(reader.join().unwrap() > 0);
        stamps
    });
    for own in &stamps {
        assert!(
            own.is_sorted_by(|a, b| a < b),
            "a thread's timestamps must rise"
        );
    }
    let mut all: Vec<Timestamp> = stamps.into_iter().flatten().collect();
    all.sort();
    all.dedup();
    assert_eq!(
        all.len(),
        WRITERS * ROUNDS as usize,
        "a timestamp was given twice"
    );
    let rows = window(
        &a,
        Timestamp::MIN,
        db.engine().visible(),
        ChangeSet::All,
        ChangePlan::Index,
    );
    assert_eq!(rows.len(), 2 * WRITERS * ROUNDS as usize);
}

#[test]
fn a_time_that_was_read_never_changes() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let writer_keyspace = a.clone();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..2000_u32 {
                put(&writer_keyspace, format!("k{}", i % 7), i.to_be_bytes());
                db.clock.advance(std::time::Duration::from_nanos(3));
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            // The wall clock's now, ahead of what was committed: it must be settled first.
            let at = db.engine().now();
            let first = scan_at(&a, at, &KeyRange::all(), ScanDirection::Forward);
            std::thread::yield_now();
            assert_eq!(
                first,
                scan_at(&a, at, &KeyRange::all(), ScanDirection::Forward),
                "history changed at {at}"
            );
        }
        writer.join().unwrap();
    });
}

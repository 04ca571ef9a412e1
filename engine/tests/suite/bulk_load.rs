//! Bulk loads: all rows at one time, or none.

use std::panic::AssertUnwindSafe;

use icecore_engine::{ChangePlan, ChangeSet, Error, ScanDirection};
use icecore_mvcc::{KeyRange, key::MAX_KEY_BYTES};

use crate::common::{Fixture, put, scan, scan_at, window};

fn rows(count: u32) -> impl Iterator<Item = icecore_engine::Result<(String, String)>> {
    (0..count).map(|i| {
        Ok((
            format!("{i:06}"),
            format!("value {}", i.wrapping_mul(2_654_435_761)),
        ))
    })
}

fn staged_files(db: &Fixture) -> usize {
    std::fs::read_dir(db.engine().staging_dir())
        .unwrap()
        .count()
}

#[test]
fn rows_become_visible_together_and_stay() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    put(&a, "000010", "older");
    let before = db.engine().visible();
    let loaded = db.engine().bulk_load(&a, rows(20_000)).unwrap();
    assert_eq!(loaded.rows, 20_000);
    assert!(
        loaded.file_bytes > 2 * db.options.target_file_bytes,
        "{loaded:?}"
    );
    assert_eq!(
        scan_at(&a, before, &KeyRange::all(), ScanDirection::Forward).len(),
        1
    );
    assert_eq!(
        scan_at(
            &a,
            loaded.ts.prev(),
            &KeyRange::all(),
            ScanDirection::Forward
        )
        .len(),
        1
    );
    put(&a, "000020", "newer");
    for plan in [ChangePlan::Index, ChangePlan::Scan] {
        let found = window(&a, before, loaded.ts, ChangeSet::All, plan);
        assert_eq!(found.len(), 20_000, "{plan:?}");
        assert!(found.iter().all(|(_, at, _)| *at == loaded.ts.nanos()));
        assert_eq!(
            window(&a, loaded.ts, db.engine().visible(), ChangeSet::All, plan).len(),
            1
        );
    }
    assert_eq!(staged_files(&db), 0);
    drop(a);
    db.reopen();
    let a = db.keyspace("a");
    assert_eq!(
        scan(&a, &KeyRange::all(), ScanDirection::Forward).len(),
        20_000
    );
    assert_eq!(
        window(
            &a,
            before,
            db.engine().visible(),
            ChangeSet::Latest,
            ChangePlan::Index
        )
        .len(),
        20_000
    );
}

#[test]
fn what_is_wrong_with_the_rows_leaves_nothing_behind() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let before = db.engine().visible();
    let out_of_order = [Ok(("a", "1")), Ok(("c", "1")), Ok(("b", "1"))];
    let refused = db.engine().bulk_load(&a, out_of_order).unwrap_err();
    assert!(
        matches!(&refused, Error::OutOfOrder { key, .. } if key == "b"),
        "{refused}"
    );
    let twice = [Ok(("a", "1")), Ok(("a", "2"))];
    assert!(matches!(
        db.engine().bulk_load(&a, twice),
        Err(Error::OutOfOrder { .. })
    ));
    let long = [Ok((vec![b'a'; MAX_KEY_BYTES + 1], "1"))];
    assert!(matches!(
        db.engine().bulk_load(&a, long),
        Err(Error::Invalid(_))
    ));
    let own = [
        Ok(("a", "1")),
        Err(Error::NoSuchKeyspace {
            name: "mine".to_owned(),
        }),
    ];
    assert!(
        matches!(db.engine().bulk_load(&a, own), Err(Error::NoSuchKeyspace { name }) if name == "mine")
    );
    assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Forward).len(), 0);
    for plan in [ChangePlan::Index, ChangePlan::Scan] {
        assert!(window(&a, before, db.engine().visible(), ChangeSet::All, plan).is_empty());
    }
    assert_eq!(staged_files(&db), 0);
    put(&a, "k", "the engine goes on");
}

#[test]
fn no_rows_change_nothing() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let loaded = db.engine().bulk_load(&a, rows(0)).unwrap();
    assert_eq!((loaded.rows, loaded.file_bytes), (0, 0));
    assert_eq!(db.engine().visible(), loaded.ts);
}

#[test]
fn odd_keys_and_values_load() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let keys = [
        vec![],
        vec![0],
        vec![0; MAX_KEY_BYTES],
        vec![0xFF; MAX_KEY_BYTES],
    ];
    let before = db.engine().visible();
    db.engine()
        .bulk_load(&a, keys.iter().map(|key| Ok((key, vec![]))))
        .unwrap();
    let found = window(
        &a,
        before,
        db.engine().visible(),
        ChangeSet::All,
        ChangePlan::Index,
    );
    assert_eq!(found.into_iter().map(|row| row.0).collect::<Vec<_>>(), keys);
    assert_eq!(a.get(b"").unwrap(), Some(vec![]));
}

#[test]
fn a_dropped_keyspace_takes_no_rows() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    db.engine().drop_keyspace("a").unwrap();
    assert!(matches!(
        db.engine().bulk_load(&a, rows(1)),
        Err(Error::KeyspaceDropped { .. })
    ));
}

/// Bug: a panic in the caller's rows stopped the engine for everybody. Mechanism: the timestamp
/// was never published, so nothing after it could be. Fix: an unused timestamp is published empty.
#[test]
fn a_panic_in_the_rows_stops_nothing() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let rows = (0..10_u32).map(|i| {
        if i < 5 {
            Ok((i.to_be_bytes(), "x"))
        } else {
            panic!("the caller's own fault")
        }
    });
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| db.engine().bulk_load(&a, rows)));
    assert!(outcome.is_err());
    put(&a, "k", "the engine goes on");
    assert_eq!(scan(&a, &KeyRange::all(), ScanDirection::Forward).len(), 1);
    assert_eq!(staged_files(&db), 0);
}

/// Bug: an ingest that RocksDB refused stopped the engine, though RocksDB takes all files of a
/// call or none. Fix: the record of the span is taken back and the empty timestamp is published.
#[test]
fn a_refused_ingest_stops_nothing_and_shows_nothing() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    let before = db.engine().visible();
    let staging = db.engine().staging_dir().to_owned();
    let mut rows = rows(20_000);
    let sabotaged = std::iter::from_fn(|| {
        let next = rows.next();
        if next.is_none() {
            // The first file is complete by now.
            let first = std::fs::read_dir(&staging)
                .unwrap()
                .map(|f| f.unwrap().path())
                .min()
                .unwrap();
            std::fs::remove_file(first).unwrap();
        }
        next
    });
    assert!(matches!(
        db.engine().bulk_load(&a, sabotaged),
        Err(Error::Rocks { .. })
    ));
    assert!(scan(&a, &KeyRange::all(), ScanDirection::Forward).is_empty());
    put(&a, "k", "the engine goes on");
    let check = |db: &Fixture| {
        let a = db.keyspace("a");
        for plan in [ChangePlan::Index, ChangePlan::Scan] {
            assert_eq!(
                window(&a, before, db.engine().visible(), ChangeSet::All, plan).len(),
                1,
                "{plan:?}"
            );
        }
    };
    check(&db);
    drop(a);
    db.reopen();
    check(&db);
}

/// Loads and commits from several threads: every load is seen whole or not at all.
#[test]
fn loads_beside_commits_are_whole() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    std::thread::scope(|scope| {
        for loader in 0..3_u32 {
            let (a, db) = (&a, &db);
            scope.spawn(move || {
                for round in 0..4_u32 {
                    let rows = (0..50_u32)
                        .map(|i| Ok((format!("load/{loader}/{i:02}"), round.to_be_bytes())));
                    db.engine().bulk_load(a, rows).unwrap();
                }
            });
        }
        for writer in 0..3_u32 {
            let (a, db) = (&a, &db);
            scope.spawn(move || {
                for i in 0..40_u32 {
                    put(a, format!("put/{writer}"), i.to_be_bytes());
                    let at = db.engine().visible();
                    for loader in 0..3_u32 {
                        let range = KeyRange::prefix(format!("load/{loader}/").as_bytes());
                        let seen = scan_at(a, at, &range, ScanDirection::Forward);
                        assert!(seen.is_empty() || seen.len() == 50);
                        assert!(
                            seen.windows(2).all(|pair| pair[0].1 == pair[1].1),
                            "half a load was seen"
                        );
                    }
                }
            });
        }
    });
    let all = window(
        &a,
        icecore_mvcc::Timestamp::MIN,
        db.engine().visible(),
        ChangeSet::All,
        ChangePlan::Index,
    );
    assert_eq!(all.len(), 3 * 4 * 50 + 3 * 40);
}

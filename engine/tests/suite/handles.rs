//! Handles: what keeps an engine open, and what happens when they are mixed or outlive others.

use std::time::Duration;

use icecore_engine::{
    Batch, ChangePlan, ChangeSet, Durability, Engine, Error, Isolation, Options, Publish,
    ScanDirection, SweepBudget,
};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::common::{Fixture, put, small, sst};

#[test]
fn handles_outlive_the_engine_value() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..50_u32 {
        put(&a, format!("{i:02}"), "v");
    }
    let snapshot = db.engine().snapshot();
    let mut scan = a
        .scan(&snapshot, &KeyRange::all(), ScanDirection::Forward)
        .unwrap();
    let window = icecore_engine::Window {
        after: Timestamp::MIN,
        until: db.engine().visible(),
    };
    let changes = a
        .changes(
            &KeyRange::all(),
            window,
            ChangeSet::All,
            &Default::default(),
        )
        .unwrap();
    scan.next().unwrap().unwrap();
    drop(a);
    db.close();
    assert_eq!(scan.count(), 49);
    assert!(
        matches!(
            Engine::open(db.dir(), &db.options),
            Err(Error::Locked { .. })
        ),
        "a scan keeps it open"
    );
    assert_eq!(changes.count(), 50);
    db.open();
    drop(snapshot);
}

/// Bug: the housekeeper held the engine for the time of a round. When the last handle went
/// meanwhile, the engine closed in that thread, later, and opening it again found it locked.
#[test]
fn the_folder_is_free_once_the_last_handle_is_dropped() {
    let mut db = Fixture::with(Options {
        pooled_iterator_age: Duration::from_millis(100),
        clock_reservation: Duration::from_millis(1),
        ..small()
    });
    let a = db.keyspace("a");
    // Enough idle work that a round takes a while.
    for i in 0..2000_u32 {
        put(&a, format!("{i}"), "v");
    }
    drop(a);
    for round in 0..40_u64 {
        let a = db.keyspace("a");
        db.tick();
        put(&a, "k", "v");
        std::thread::sleep(Duration::from_micros(49_000 + 50 * round));
        db.tick();
        put(&a, "k", "v");
        drop(a);
        db.drop_and_open();
    }
}

/// Bug: a row put through another engine's handle went into whichever column family had the same
/// number here.
#[test]
fn a_keyspace_of_another_engine_is_refused() {
    let (db, other) = (Fixture::new(), Fixture::new());
    let (own, foreign) = (db.keyspace("own"), other.keyspace("foreign"));
    put(&foreign, "k", "v");
    put(&own, "k", "v");
    let mut batch = Batch::new();
    batch.put(&foreign, "k", "v");
    let engine = db.engine();
    let mut transaction = engine.begin(Isolation::Snapshot).unwrap();
    transaction.put(&foreign, "k", "v");
    let restoring = other
        .engine()
        .begin_restore("r", "restored", Default::default())
        .unwrap();
    let file = sst(
        other.engine(),
        &other.engine().staging_dir().join("f"),
        &[(b"k", 1, Some(b"v"))],
    );
    restoring.ingest("1", &[file]).unwrap();
    let publish = vec![Publish {
        keyspace: restoring,
        threshold: Timestamp::MIN,
    }];
    let refusals: Vec<Result<(), Error>> = vec![
        engine.commit(batch, Durability::Buffered).map(|_| ()),
        transaction.commit(Durability::Buffered).map(|_| ()),
        engine.bulk_load(&foreign, [Ok(("k", "v"))]).map(|_| ()),
        engine.sweep(&foreign, SweepBudget::default()).map(|_| ()),
        engine.compact(&foreign),
        engine.publish_restore(publish, Timestamp::MIN).map(|_| ()),
    ];
    for (number, refused) in refusals.into_iter().enumerate() {
        let refused = refused.unwrap_err();
        assert!(
            refused.to_string().contains("another database"),
            "number {number}: {refused}"
        );
    }
    assert_eq!(engine.keyspaces().len(), 1);
    assert_eq!(own.versions(&engine.snapshot(), b"k").unwrap().len(), 1);
}

/// A snapshot holds garbage collection back in its own engine only, so another must not read by it.
#[test]
fn a_snapshot_of_another_engine_is_refused() {
    let (db, other) = (Fixture::new(), Fixture::new());
    let a = db.keyspace("a");
    put(&a, "k", "v");
    let foreign = other.engine().snapshot();
    let refusals: Vec<Result<(), Error>> = vec![
        a.get_at(&foreign, b"k").map(|_| ()),
        a.multi_get_at(&foreign, &["k"]).map(|_| ()),
        a.versions(&foreign, b"k").map(|_| ()),
        a.scan(&foreign, &KeyRange::all(), ScanDirection::Forward)
            .map(|_| ()),
        a.full(&KeyRange::all(), &foreign, false).map(|_| ()),
    ];
    for (number, refused) in refusals.into_iter().enumerate() {
        let refused = refused.unwrap_err();
        assert!(
            refused.to_string().contains("another database"),
            "number {number}: {refused}"
        );
    }
}

#[test]
fn clones_work_after_close_and_close_again() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    let engine = db.engine().clone();
    db.close();
    let at = put(&a, "k", "after close");
    assert_eq!(a.get(b"k").unwrap(), Some(b"after close".to_vec()));
    drop(a);
    engine.close().unwrap();
    db.open();
    assert_eq!(
        db.keyspace("a").get(b"k").unwrap(),
        Some(b"after close".to_vec())
    );
    assert!(put(&db.keyspace("a"), "k", "next") > at);
}

/// Bug: after a row that the commit index names was found missing, the iterator went on with the
/// rows before it, as if nothing had happened.
#[test]
fn a_missing_row_ends_the_window_with_an_error() {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    let before = db.engine().visible();
    put(&a, "a", "1");
    let missing = put(&a, "b", "1");
    put(&a, "c", "1");
    let until = db.engine().visible();
    let family = format!("ks-{:08x}", a.id().get());
    drop(a);
    db.close();
    {
        let mut options = rocksdb::Options::default();
        options.set_prefix_extractor(rocksdb::SliceTransform::create(
            "icecore.user-key.v1",
            |k| k,
            Some(|_| false),
        ));
        let families = rocksdb::DB::list_cf(&options, db.dir().join("data")).unwrap();
        let raw = rocksdb::DB::open_cf(&options, db.dir().join("data"), families).unwrap();
        let stored = icecore_mvcc::key::encode_key(b"b", missing);
        raw.delete_cf(&raw.cf_handle(&family).unwrap(), stored)
            .unwrap();
    }
    db.open();
    let a = db.keyspace("a");
    let options = icecore_engine::ChangeOptions {
        plan: ChangePlan::Index,
        ..Default::default()
    };
    let window = icecore_engine::Window {
        after: before,
        until,
    };
    let mut changes = a
        .changes(&KeyRange::all(), window, ChangeSet::All, &options)
        .unwrap();
    let error = changes
        .find_map(Result::err)
        .expect("the loss must be found out");
    assert!(
        matches!(&error, Error::Corruption { what } if what.contains("key b of keyspace a")),
        "{error}"
    );
    assert!(changes.next().is_none(), "after an error it ends");
}

/// Bug: RocksDB's call for a manual compaction returns nothing, so a failed one counted as done.
#[test]
fn a_compaction_that_fails_is_reported() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..100_u32 {
        put(&a, format!("{i}"), "v");
    }
    db.engine().flush().unwrap();
    for file in std::fs::read_dir(db.dir().join("data")).unwrap() {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|e| e == "sst") {
            let length = std::fs::metadata(&path).unwrap().len();
            std::fs::write(&path, vec![0; length as usize]).unwrap();
        }
    }
    assert!(db.engine().compact(&a).is_err());
}

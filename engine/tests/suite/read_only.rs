//! Read-only engines: every read, no write, several at once.

use icecore_engine::{
    Batch, ChangePlan, ChangeSet, Durability, Engine, Error, Isolation, ScanDirection, SweepBudget,
};
use icecore_mvcc::{KeyRange, KeyspaceSettings, Timestamp};

use crate::common::{Fixture, put, scan, scan_at, window};

fn filled() -> (Fixture, Timestamp) {
    let mut db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..100_u32 {
        put(&a, format!("{i:03}"), "old");
    }
    let middle = db.engine().visible();
    db.engine().flush().unwrap();
    for i in 0..50_u32 {
        put(&a, format!("{i:03}"), "new");
    }
    drop(a);
    db.close();
    (db, middle)
}

/// Bug: RocksDB cannot refresh an iterator of a read-only database, so the second point read on
/// one failed. Nothing changes in such a database: its iterators are used as they are.
#[test]
fn every_read_works_more_than_once() {
    let (db, middle) = filled();
    let engine = Engine::open_read_only(db.dir(), &db.options).unwrap();
    assert!(engine.is_read_only());
    let a = engine.keyspace("a").unwrap();
    for _ in 0..3 {
        assert_eq!(a.get(b"001").unwrap(), Some(b"new".to_vec()));
        assert_eq!(a.get(b"099").unwrap(), Some(b"old".to_vec()));
        let snapshot = engine.snapshot_at(middle).unwrap();
        assert_eq!(a.get_at(&snapshot, b"001").unwrap(), Some(b"old".to_vec()));
        let many = a
            .multi_get_at(&snapshot, &["050", "nothing", "000"])
            .unwrap();
        assert_eq!(many, [Some(b"old".to_vec()), None, Some(b"old".to_vec())]);
        assert_eq!(a.versions(&engine.snapshot(), b"001").unwrap().len(), 2);
        for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
            assert_eq!(scan(&a, &KeyRange::all(), direction).len(), 100);
            assert!(
                scan_at(&a, middle, &KeyRange::all(), direction)
                    .iter()
                    .all(|(_, v)| v == b"old")
            );
        }
        for plan in [ChangePlan::Index, ChangePlan::Scan] {
            assert_eq!(
                window(&a, middle, engine.visible(), ChangeSet::All, plan).len(),
                50
            );
        }
    }
}

#[test]
fn a_later_time_can_be_read_and_stays_empty_of_news() {
    let (db, _) = filled();
    let engine = Engine::open_read_only(db.dir(), &db.options).unwrap();
    let later = db.tick();
    let snapshot = engine.snapshot_at(later).unwrap();
    assert_eq!(
        engine
            .keyspace("a")
            .unwrap()
            .get_at(&snapshot, b"001")
            .unwrap(),
        Some(b"new".to_vec())
    );
    assert!(matches!(
        engine.snapshot_at(later.next()),
        Err(Error::InFuture { .. })
    ));
}

#[test]
fn every_write_is_refused_by_name() {
    let (db, _) = filled();
    let engine = Engine::open_read_only(db.dir(), &db.options).unwrap();
    let a = engine.keyspace("a").unwrap();
    let mut batch = Batch::new();
    batch.put(&a, "k", "v");
    let settings = KeyspaceSettings::default;
    let refusals: Vec<Result<(), Error>> = vec![
        engine.commit(batch, Durability::Sync).map(|_| ()),
        a.put("k", "v", Durability::Buffered).map(|_| ()),
        a.delete("k", Durability::Buffered).map(|_| ()),
        engine.create_keyspace("b", settings()).map(|_| ()),
        engine.alter_keyspace("a", settings()).map(|_| ()),
        engine.drop_keyspace("a").map(|_| ()),
        engine.bulk_load(&a, [Ok(("k", "v"))]).map(|_| ()),
        engine.begin(Isolation::Snapshot).map(|_| ()),
        engine.begin_restore("r", "b", settings()).map(|_| ()),
        engine
            .publish_restore(Vec::new(), Timestamp::MIN)
            .map(|_| ()),
        engine.abandon_restore("r").map(|_| ()),
        engine.flush(),
        engine.compact(&a),
        engine.checkpoint(db.path("copy")),
        engine
            .gc_guard()
            .raise(a.id(), engine.visible())
            .map(|_| ()),
        engine.sweep(&a, SweepBudget::default()).map(|_| ()),
        engine.trim_commit_index().map(|_| ()),
        engine.purge_dropped().map(|_| ()),
        engine.system().put("kind", "key", Vec::new()).map(|_| ()),
        engine.system().delete("kind", "key").map(|_| ()),
    ];
    for (number, refused) in refusals.into_iter().enumerate() {
        assert!(
            matches!(refused, Err(Error::ReadOnly { .. })),
            "number {number}: {refused:?}"
        );
    }
    engine.close().unwrap();
}

#[test]
fn several_at_once_and_none_beside_a_writer() {
    let (mut db, _) = filled();
    let first = Engine::open_read_only(db.dir(), &db.options).unwrap();
    let second = Engine::open_read_only(db.dir(), &db.options).unwrap();
    for engine in [&first, &second] {
        assert_eq!(
            engine.keyspace("a").unwrap().get(b"001").unwrap(),
            Some(b"new".to_vec())
        );
    }
    assert!(matches!(
        Engine::open(db.dir(), &db.options),
        Err(Error::Locked { .. })
    ));
    drop((first, second));
    db.open();
    assert_eq!(db.keyspace("a").get(b"001").unwrap(), Some(b"new".to_vec()));
}

#[test]
fn nothing_in_the_folder_changes() {
    let (db, middle) = filled();
    let listing = |dir: &std::path::Path| -> Vec<(std::path::PathBuf, u64)> {
        let mut found = Vec::new();
        let mut folders = vec![dir.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let entry = entry.unwrap();
                match entry.file_type().unwrap().is_dir() {
                    true => folders.push(entry.path()),
                    false => found.push((entry.path(), entry.metadata().unwrap().len())),
                }
            }
        }
        // RocksDB's own log of what it does is no data.
        found.retain(|(path, _)| {
            !path
                .file_name()
                .unwrap()
                .to_string_lossy()
                .starts_with("LOG")
        });
        found.sort();
        found
    };
    let before = listing(&db.dir());
    let engine = Engine::open_read_only(db.dir(), &db.options).unwrap();
    let a = engine.keyspace("a").unwrap();
    engine.snapshot_at(db.tick()).unwrap();
    let options = icecore_engine::ChangeOptions {
        plan: ChangePlan::Index,
        memory_bytes: 100,
        ..icecore_engine::ChangeOptions::default()
    };
    let spilled = icecore_engine::Window {
        after: middle,
        until: engine.visible(),
    };
    assert_eq!(
        a.changes(&KeyRange::all(), spilled, ChangeSet::All, &options)
            .unwrap()
            .count(),
        50
    );
    drop(a);
    engine.close().unwrap();
    assert_eq!(listing(&db.dir()), before);
}

/// What a crash left in the log is read, though it is not written to files.
#[test]
fn the_log_of_a_crash_is_read() {
    let db = Fixture::new();
    put(&db.keyspace("a"), "k", "in the log only");
    let crashed = db.path("crashed");
    crate::clock::copy(&db.dir(), &crashed);
    let engine = Engine::open_read_only(&crashed, &db.options).unwrap();
    assert_eq!(
        engine.keyspace("a").unwrap().get(b"k").unwrap(),
        Some(b"in the log only".to_vec())
    );
    assert!(engine.visible() >= db.engine().visible());
}

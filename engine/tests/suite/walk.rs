//! One walk through everything the engine does, on one small database.

use icecore_engine::{
    ChangeOptions, ChangePlan, ChangeSet, Compression, Durability, Engine, Error, Isolation,
    Options, Publish, ScanDirection, SweepBudget, Window,
};
use icecore_mvcc::{KeyRange, KeyspaceSettings, Timestamp};

type Rows = Vec<(Vec<u8>, Option<Vec<u8>>)>;

fn changes(
    ks: &icecore_engine::Keyspace,
    after: Timestamp,
    until: Timestamp,
    plan: ChangePlan,
) -> Rows {
    let options = ChangeOptions {
        plan,
        ..ChangeOptions::default()
    };
    ks.changes(
        &KeyRange::all(),
        Window { after, until },
        ChangeSet::All,
        &options,
    )
    .unwrap()
    .map(|row| row.map(|row| (row.key, row.value)).unwrap())
    .collect()
}

fn keys(ks: &icecore_engine::Keyspace, direction: ScanDirection) -> Vec<Vec<u8>> {
    let snapshot = ks.engine().snapshot();
    ks.scan(&snapshot, &KeyRange::all(), direction)
        .unwrap()
        .map(|e| e.unwrap().key)
        .collect()
}

#[test]
fn a_walk_through_everything() {
    let temp = crate::common::scratch();
    let dir = temp.path().join("db");
    let engine = Engine::open(&dir, &Options::default()).unwrap();
    let ks = engine
        .create_keyspace("bank.accounts", KeyspaceSettings::default())
        .unwrap();

    ks.put(b"alice", b"100", Durability::Sync).unwrap();
    let early = ks.put(b"bob", b"5", Durability::Buffered).unwrap();
    let before = engine.snapshot();
    ks.put(b"alice", b"60", Durability::Sync).unwrap();
    ks.delete(b"bob", Durability::Sync).unwrap();
    ks.put(b"carol", b"", Durability::Buffered).unwrap();
    assert_eq!(ks.get(b"alice").unwrap(), Some(b"60".to_vec()));
    assert_eq!(ks.get(b"bob").unwrap(), None);
    assert_eq!(ks.get_at(&before, b"bob").unwrap(), Some(b"5".to_vec()));
    assert_eq!(ks.get(b"carol").unwrap(), Some(Vec::new()));
    assert_eq!(
        keys(&ks, ScanDirection::Forward),
        [b"alice".to_vec(), b"carol".to_vec()]
    );
    assert_eq!(
        keys(&ks, ScanDirection::Reverse),
        [b"carol".to_vec(), b"alice".to_vec()]
    );
    assert_eq!(ks.versions(&engine.snapshot(), b"alice").unwrap().len(), 2);

    let expected: Rows = vec![
        (b"alice".to_vec(), Some(b"60".to_vec())),
        (b"bob".to_vec(), None),
        (b"carol".to_vec(), Some(Vec::new())),
    ];
    for plan in [ChangePlan::Index, ChangePlan::Scan] {
        assert_eq!(
            changes(&ks, early, engine.visible(), plan),
            expected,
            "{plan:?}"
        );
    }
    engine.flush().unwrap();
    engine.compact(&ks).unwrap();
    for plan in [ChangePlan::Index, ChangePlan::Scan] {
        assert_eq!(
            changes(&ks, early, engine.visible(), plan),
            expected,
            "{plan:?}"
        );
    }

    let base = engine.visible();
    let rows = (0..1000_u32).map(|i| Ok((format!("load/{i:05}"), format!("v{i}"))));
    let load = engine.bulk_load(&ks, rows).unwrap();
    assert_eq!(load.rows, 1000);
    for plan in [ChangePlan::Index, ChangePlan::Scan] {
        assert_eq!(
            changes(&ks, base, engine.visible(), plan).len(),
            1000,
            "{plan:?}"
        );
    }

    // A transaction that loses, and one that wins.
    let mut first = engine.begin(Isolation::Snapshot).unwrap();
    let mut second = engine.begin(Isolation::Snapshot).unwrap();
    first.put(&ks, b"alice", b"1");
    second.put(&ks, b"alice", b"2");
    first.commit(Durability::Sync).unwrap();
    let lost = second.commit(Durability::Sync).unwrap_err();
    assert!(lost.is_retryable(), "{lost}");

    // Checkpoint and reopen.
    engine.checkpoint(temp.path().join("copy")).unwrap();
    let id = engine.id();
    drop((before, ks));
    engine.close().unwrap();
    let copy = Engine::open(temp.path().join("copy"), &Options::default()).unwrap();
    assert_ne!(copy.id(), id);
    assert_eq!(copy.forked_from(), Some(id));
    assert_eq!(
        copy.keyspace("bank.accounts")
            .unwrap()
            .get(b"alice")
            .unwrap(),
        Some(b"1".to_vec())
    );
    let engine = Engine::open(&dir, &Options::default()).unwrap();
    let ks = engine.keyspace("bank.accounts").unwrap();
    assert_eq!(ks.get(b"alice").unwrap(), Some(b"1".to_vec()));
    assert_eq!(keys(&ks, ScanDirection::Forward).len(), 1002);

    // Garbage collection.
    let to = engine.visible();
    assert_eq!(engine.gc_guard().raise(ks.id(), to).unwrap(), to);
    let report = engine.sweep(&ks, SweepBudget::default()).unwrap();
    assert_eq!(
        (report.visited_keys, report.removed_versions, report.done),
        (1, 2, true)
    );
    engine.compact(&ks).unwrap();
    engine.trim_commit_index().unwrap();
    assert!(matches!(
        ks.get_at(&engine.snapshot_at(early).unwrap(), b"alice"),
        Err(Error::BelowThreshold { .. })
    ));
    assert_eq!(ks.versions(&engine.snapshot(), b"alice").unwrap().len(), 1);

    // Restore.
    let file = engine.staging_dir().join("layer-1.sst");
    let mut writer = engine.sst_writer(&file, Compression::Lz4).unwrap();
    writer
        .add(b"a", Timestamp::from_nanos(20), Some(b"new"))
        .unwrap();
    writer
        .add(b"a", Timestamp::from_nanos(10), Some(b"old"))
        .unwrap();
    writer.finish().unwrap();
    let restoring = engine
        .begin_restore("r1", "bank.restored", KeyspaceSettings::default())
        .unwrap();
    assert!(restoring.ingest("layer-1", &[file]).unwrap());
    assert!(engine.keyspace("bank.restored").is_err());
    let publish = Publish {
        keyspace: restoring,
        threshold: Timestamp::from_nanos(10),
    };
    let restored = engine
        .publish_restore(vec![publish], Timestamp::from_nanos(20))
        .unwrap();
    assert_eq!(restored[0].get(b"a").unwrap(), Some(b"new".to_vec()));
    let past = engine.snapshot_at(Timestamp::from_nanos(15)).unwrap();
    assert_eq!(
        restored[0].get_at(&past, b"a").unwrap(),
        Some(b"old".to_vec())
    );
    drop((past, restored, ks));
    engine.close().unwrap();
    let engine = Engine::open(&dir, &Options::default()).unwrap();
    assert_eq!(
        engine.keyspace("bank.restored").unwrap().get(b"a").unwrap(),
        Some(b"new".to_vec())
    );
}

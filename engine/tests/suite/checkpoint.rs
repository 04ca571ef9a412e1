//! Checkpoints: a copy that opens as a database of its own.

use icecore_engine::{Durability, Engine, Error, ScanDirection};
use icecore_mvcc::KeyRange;

use crate::common::{Fixture, put, scan};

#[test]
fn a_checkpoint_is_a_database_of_its_own() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..500_u32 {
        put(&a, format!("{i:04}"), "v");
        if i == 250 {
            db.engine().flush().unwrap();
        }
    }
    let dir = db.path("deep/er/copy");
    db.engine().checkpoint(&dir).unwrap();
    put(&a, "later", "v");
    let copy = Engine::open(&dir, &db.options).unwrap();
    assert_ne!(copy.id(), db.engine().id());
    assert_eq!(copy.forked_from(), Some(db.engine().id()));
    assert_eq!(db.engine().forked_from(), None);
    let in_copy = copy.keyspace("a").unwrap();
    assert_eq!(
        scan(&in_copy, &KeyRange::all(), ScanDirection::Forward).len(),
        500
    );
    put(&in_copy, "only here", "v");
    assert_eq!(a.get(b"only here").unwrap(), None);
    assert!(
        matches!(db.engine().checkpoint(&dir), Err(Error::Io { .. })),
        "an existing folder is refused"
    );
}

#[test]
fn it_holds_every_acknowledged_commit_even_under_load() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for i in 0..3000_u32 {
                put(&a, format!("{i:05}"), "v");
            }
        });
        for round in 0..3 {
            let before = db.engine().visible();
            let acknowledged = {
                let snapshot = db.engine().snapshot_at(before).unwrap();
                a.scan(&snapshot, &KeyRange::all(), ScanDirection::Forward)
                    .unwrap()
                    .count()
            };
            let dir = db.path(&format!("copy-{round}"));
            db.engine().checkpoint(&dir).unwrap();
            let copy = Engine::open(&dir, &db.options).unwrap();
            let rows = scan(
                &copy.keyspace("a").unwrap(),
                &KeyRange::all(),
                ScanDirection::Forward,
            );
            assert!(
                rows.len() >= acknowledged,
                "{} of {acknowledged}",
                rows.len()
            );
            assert!(copy.visible() >= before);
            copy.close().unwrap();
        }
        writer.join().unwrap();
    });
}

#[test]
fn a_checkpoint_that_was_cut_short_is_no_database() {
    let db = Fixture::new();
    db.keyspace("a").put("k", "v", Durability::Sync).unwrap();
    let dir = db.path("copy");
    db.engine().checkpoint(&dir).unwrap();
    std::fs::remove_file(dir.join("ICECORE")).unwrap();
    assert!(matches!(
        Engine::open(&dir, &db.options),
        Err(Error::NotADatabase { .. })
    ));
}

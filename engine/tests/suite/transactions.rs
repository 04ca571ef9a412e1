//! Transactions: what each isolation level lets through and what it refuses.

use icecore_engine::{
    Batch, Durability, Engine, Error, Isolation, Keyspace, ScanDirection, Transaction,
};
use icecore_mvcc::KeyRange;

use crate::common::{Fixture, delete, put};

const BOTH: [Isolation; 2] = [Isolation::Snapshot, Isolation::Serializable];

fn begin(engine: &Engine, isolation: Isolation) -> Transaction {
    engine.begin(isolation).unwrap()
}

fn commit(transaction: Transaction) -> Result<(), Error> {
    transaction.commit(Durability::Buffered).map(|_| ())
}

fn conflicts(result: Result<(), Error>) -> bool {
    match result {
        Ok(()) => false,
        Err(e) => {
            assert!(e.is_retryable(), "{e}");
            true
        }
    }
}

fn rows(
    transaction: &mut Transaction,
    keyspace: &Keyspace,
    range: &KeyRange,
    direction: ScanDirection,
) -> Vec<String> {
    let scan = transaction.scan(keyspace, range, direction).unwrap();
    scan.map(|row| row.unwrap())
        .map(|(k, v)| {
            format!(
                "{}={}",
                String::from_utf8(k).unwrap(),
                String::from_utf8(v).unwrap()
            )
        })
        .collect()
}

#[test]
fn a_lost_update_is_refused() {
    for isolation in BOTH {
        let db = Fixture::new();
        let a = db.keyspace("a");
        put(&a, "counter", "0");
        let mut one = begin(db.engine(), isolation);
        let mut two = begin(db.engine(), isolation);
        for transaction in [&mut one, &mut two] {
            assert_eq!(
                transaction.get(&a, b"counter").unwrap(),
                Some(b"0".to_vec())
            );
            transaction.put(&a, "counter", "1");
        }
        assert!(!conflicts(commit(two)));
        assert!(conflicts(commit(one)), "{isolation:?}");
        let mut again = begin(db.engine(), isolation);
        assert_eq!(again.get(&a, b"counter").unwrap(), Some(b"1".to_vec()));
        again.put(&a, "counter", "2");
        assert!(!conflicts(commit(again)));
    }
}

#[test]
fn write_skew_passes_snapshot_isolation_only() {
    for isolation in BOTH {
        let db = Fixture::new();
        let a = db.keyspace("on-call");
        put(&a, "alice", "yes");
        put(&a, "bob", "yes");
        let mut one = begin(db.engine(), isolation);
        let mut two = begin(db.engine(), isolation);
        for transaction in [&mut one, &mut two] {
            for doctor in ["alice", "bob"] {
                assert_eq!(
                    transaction.get(&a, doctor.as_bytes()).unwrap(),
                    Some(b"yes".to_vec())
                );
            }
        }
        one.put(&a, "alice", "no");
        two.put(&a, "bob", "no");
        assert!(!conflicts(commit(one)));
        assert_eq!(
            conflicts(commit(two)),
            isolation == Isolation::Serializable,
            "{isolation:?}"
        );
    }
}

#[test]
fn a_phantom_in_a_scanned_range_is_refused_when_serializable() {
    for isolation in BOTH {
        let db = Fixture::new();
        let a = db.keyspace("a");
        put(&a, "room/1", "free");
        let mut one = begin(db.engine(), isolation);
        let range = KeyRange::prefix(b"room/");
        assert_eq!(
            rows(&mut one, &a, &range, ScanDirection::Forward),
            ["room/1=free"]
        );
        one.put(&a, "summary", "one room");
        put(&a, "room/2", "free");
        assert_eq!(
            conflicts(commit(one)),
            isolation == Isolation::Serializable,
            "{isolation:?}"
        );
    }
}

#[test]
fn a_phantom_outside_the_range_is_none() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    let mut one = begin(db.engine(), Isolation::Serializable);
    let range = KeyRange::new(b"b".to_vec(), Some(b"d".to_vec()));
    assert!(rows(&mut one, &a, &range, ScanDirection::Reverse).is_empty());
    one.put(&a, "x", "1");
    put(&a, "a\u{ff}", "before");
    put(&a, "d", "the end is not in it");
    put(&b, "c", "another keyspace");
    assert!(!conflicts(commit(one)));

    let mut open_ended = begin(db.engine(), Isolation::Serializable);
    assert!(
        rows(
            &mut open_ended,
            &a,
            &KeyRange::new(b"y".to_vec(), None),
            ScanDirection::Forward
        )
        .is_empty()
    );
    open_ended.put(&a, "x", "2");
    put(&b, "z", "the next keyspace's keys sort after it");
    assert!(!conflicts(commit(open_ended)));

    let mut empty = begin(db.engine(), Isolation::Serializable);
    let nothing = KeyRange::new(b"m".to_vec(), Some(b"b".to_vec()));
    assert!(rows(&mut empty, &a, &nothing, ScanDirection::Forward).is_empty());
    empty.put(&a, "x", "3");
    put(&a, "c", "1");
    assert!(!conflicts(commit(empty)));
}

#[test]
fn deletes_and_absent_reads_conflict_too() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    put(&a, "k", "1");
    let mut one = begin(db.engine(), Isolation::Snapshot);
    one.put(&a, "k", "2");
    delete(&a, "k");
    assert!(conflicts(commit(one)));
    let mut two = begin(db.engine(), Isolation::Serializable);
    assert_eq!(two.get(&a, b"absent").unwrap(), None);
    two.put(&a, "other", "1");
    put(&a, "absent", "now here");
    assert!(conflicts(commit(two)));
}

#[test]
fn own_writes_are_seen_over_the_snapshot() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for key in ["b", "d", "f"] {
        put(&a, key, "old");
    }
    let mut one = begin(db.engine(), Isolation::Snapshot);
    one.put(&a, "a", "own");
    one.put(&a, "d", "own");
    one.delete(&a, "f");
    one.put(&a, "g", "own");
    one.delete(&a, "h");
    put(&a, "c", "too late to be seen");
    assert_eq!(one.get(&a, b"d").unwrap(), Some(b"own".to_vec()));
    assert_eq!(one.get(&a, b"f").unwrap(), None);
    assert_eq!(one.get(&a, b"c").unwrap(), None);
    let forward = ["a=own", "b=old", "d=own", "g=own"];
    assert_eq!(
        rows(&mut one, &a, &KeyRange::all(), ScanDirection::Forward),
        forward
    );
    let mut reverse = rows(&mut one, &a, &KeyRange::all(), ScanDirection::Reverse);
    reverse.reverse();
    assert_eq!(reverse, forward);
    let middle = KeyRange::new(b"b".to_vec(), Some(b"g".to_vec()));
    assert_eq!(
        rows(&mut one, &a, &middle, ScanDirection::Forward),
        ["b=old", "d=own"]
    );
    assert_eq!(a.get(b"a").unwrap(), None, "nobody else sees them");
    assert!(!conflicts(commit(one)));
    assert_eq!(a.get(b"a").unwrap(), Some(b"own".to_vec()));
    assert_eq!(a.get(b"f").unwrap(), None);
}

#[test]
fn a_transaction_that_is_given_up_leaves_nothing() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let mut one = begin(db.engine(), Isolation::Snapshot);
    one.put(&a, "k", "1");
    one.rollback();
    let mut two = begin(db.engine(), Isolation::Snapshot);
    two.put(&a, "k", "1");
    drop(two);
    assert_eq!(a.get(b"k").unwrap(), None);
    assert_eq!(db.engine().oldest_reader(), None);
}

#[test]
fn reading_alone_never_conflicts() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let mut one = begin(db.engine(), Isolation::Serializable);
    assert_eq!(one.get(&a, b"k").unwrap(), None);
    put(&a, "k", "1");
    assert!(!conflicts(commit(one)));
}

#[test]
fn a_bulk_load_conflicts_with_transactions_on_its_keyspace() {
    let db = Fixture::new();
    let (a, b) = (db.keyspace("a"), db.keyspace("b"));
    let mut on_a = begin(db.engine(), Isolation::Snapshot);
    let mut on_b = begin(db.engine(), Isolation::Snapshot);
    let mut read_a = begin(db.engine(), Isolation::Serializable);
    on_a.put(&a, "k", "1");
    on_b.put(&b, "k", "1");
    read_a.get(&a, b"k").unwrap();
    read_a.put(&b, "other", "1");
    db.engine().bulk_load(&a, [Ok(("k", "loaded"))]).unwrap();
    assert!(conflicts(commit(on_a)));
    assert!(conflicts(commit(read_a)));
    assert!(!conflicts(commit(on_b)));
}

#[test]
fn a_drop_refuses_the_commit_without_a_retry() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let mut one = begin(db.engine(), Isolation::Snapshot);
    one.put(&a, "k", "1");
    db.engine().drop_keyspace("a").unwrap();
    let refused = commit(one).unwrap_err();
    assert!(matches!(refused, Error::KeyspaceDropped { .. }) && !refused.is_retryable());
}

/// Eight threads add to shared counters in transactions that they run again on conflict; no
/// update may be lost, and a batch of plain puts beside them is seen by the check.
#[test]
fn counters_under_contention_lose_nothing() {
    for isolation in BOTH {
        let db = Fixture::new();
        let a = db.keyspace("a");
        let count =
            |bytes: Option<Vec<u8>>| bytes.map_or(0, |b| u32::from_be_bytes(b.try_into().unwrap()));
        std::thread::scope(|scope| {
            for thread in 0..8_u32 {
                let (a, db) = (&a, &db);
                scope.spawn(move || {
                    for round in 0..20_u32 {
                        let key = format!("counter/{}", (thread + round) % 3);
                        loop {
                            let mut transaction = db.engine().begin(isolation).unwrap();
                            let now = count(transaction.get(a, key.as_bytes()).unwrap());
                            transaction.put(a, key.as_bytes(), (now + 1).to_be_bytes());
                            match transaction.commit(Durability::Buffered) {
                                Ok(_) => break,
                                Err(e) => assert!(e.is_retryable(), "{e}"),
                            }
                        }
                    }
                });
            }
        });
        let total: u32 = (0..3)
            .map(|i| count(a.get(format!("counter/{i}").as_bytes()).unwrap()))
            .sum();
        assert_eq!(total, 160, "{isolation:?}");
    }
}

#[test]
fn a_batch_commit_conflicts_with_an_open_transaction() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let mut one = begin(db.engine(), Isolation::Snapshot);
    one.put(&a, "m", "1");
    let mut batch = Batch::new();
    batch.put(&a, "a", "1").put(&a, "m", "1").put(&a, "z", "1");
    let at = db.engine().commit(batch, Durability::Buffered).unwrap();
    match commit(one).unwrap_err() {
        Error::Conflict {
            keyspace,
            key,
            at: when,
        } => {
            assert_eq!((keyspace.as_str(), key.as_str(), when), ("a", "m", at));
        }
        other => panic!("{other}"),
    }
}

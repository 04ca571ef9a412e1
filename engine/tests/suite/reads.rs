//! Reads: odd keys, many versions, both directions, bounds, and times.

use icecore_engine::{Error, Keyspace, ScanDirection};
use icecore_mvcc::{KeyRange, Timestamp, key::MAX_KEY_BYTES};

use crate::common::{Fixture, delete, put, scan, scan_at, small, ts};

/// Keys that codecs get wrong, in order.
fn odd_keys() -> Vec<Vec<u8>> {
    let mut keys: Vec<Vec<u8>> = vec![
        vec![],
        vec![0],
        vec![0, 0],
        vec![0, 0, 1],
        vec![0, 1],
        vec![0, 0xFF],
        vec![0; 300],
        vec![0; MAX_KEY_BYTES],
        vec![1],
        vec![1, 0],
        vec![1, 0, 1],
        vec![1, 0, 2],
        b"a".to_vec(),
        b"a\x00".to_vec(),
        b"a\x00\x01".to_vec(),
        b"a\x00\xff".to_vec(),
        b"a\x01".to_vec(),
        b"a\x02".to_vec(),
        b"ab".to_vec(),
        vec![b'k'; MAX_KEY_BYTES],
        vec![0xFF],
        vec![0xFF, 0],
        vec![0xFF; 300],
        vec![0xFF; MAX_KEY_BYTES],
    ];
    keys.sort();
    keys
}

/// Runs the check on rows in the memtable, in files, and after a reopen.
fn everywhere(fill: impl Fn(&Keyspace), check: impl Fn(&Keyspace)) {
    let mut db = Fixture::new();
    fill(&db.keyspace("a"));
    check(&db.keyspace("a"));
    db.engine().flush().unwrap();
    check(&db.keyspace("a"));
    db.engine().compact(&db.keyspace("a")).unwrap();
    check(&db.keyspace("a"));
    db.reopen();
    check(&db.keyspace("a"));
}

#[test]
fn odd_keys_work_everywhere() {
    let keys = odd_keys();
    everywhere(
        |a| {
            for key in &keys {
                put(a, key.clone(), "old");
                put(a, key.clone(), key.clone());
            }
        },
        |a| {
            let snapshot = a.engine().snapshot();
            for key in &keys {
                assert_eq!(a.get(key).unwrap().as_ref(), Some(key));
                assert_eq!(a.versions(&snapshot, key).unwrap().len(), 2);
                let alone = scan(a, &KeyRange::single(key), ScanDirection::Reverse);
                assert_eq!(alone, [(key.clone(), key.clone())]);
            }
            let forward: Vec<Vec<u8>> = scan(a, &KeyRange::all(), ScanDirection::Forward)
                .into_iter()
                .map(|r| r.0)
                .collect();
            assert_eq!(forward, keys);
            let mut reverse: Vec<Vec<u8>> = scan(a, &KeyRange::all(), ScanDirection::Reverse)
                .into_iter()
                .map(|r| r.0)
                .collect();
            reverse.reverse();
            assert_eq!(reverse, keys);
            let mut shuffled: Vec<&Vec<u8>> = keys
                .iter()
                .rev()
                .step_by(2)
                .chain(keys.iter().step_by(2))
                .collect();
            let absent = b"a\x00\x00".to_vec();
            shuffled.push(&absent);
            let found = a.multi_get_at(&snapshot, &shuffled).unwrap();
            for (key, value) in shuffled.iter().zip(found) {
                assert_eq!(value.as_ref(), (*key != &absent).then_some(*key));
            }
        },
    );
}

#[test]
fn every_pair_of_bounds_gives_what_lies_between() {
    let keys: Vec<Vec<u8>> = odd_keys().into_iter().filter(|k| k.len() < 1000).collect();
    everywhere(
        |a| {
            for key in &keys {
                for _ in 0..3 {
                    put(a, key.clone(), key.clone());
                }
            }
        },
        |a| {
            for from in &keys {
                for to in keys.iter().map(|k| Some(k.clone())).chain([None]) {
                    let range = KeyRange::new(from.clone(), to);
                    let expected: Vec<Vec<u8>> =
                        keys.iter().filter(|k| range.contains(k)).cloned().collect();
                    for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
                        let mut found: Vec<Vec<u8>> = scan(a, &range, direction)
                            .into_iter()
                            .map(|r| r.0)
                            .collect();
                        if direction == ScanDirection::Reverse {
                            found.reverse();
                        }
                        assert_eq!(found, expected, "{range} {direction:?}");
                    }
                }
            }
        },
    );
}

#[test]
fn many_versions_are_stepped_over_both_ways() {
    // Around the number of steps after which a walk seeks, below and far above it.
    const COUNTS: [u32; 7] = [1, 5, 6, 7, 8, 15, 200];
    everywhere(
        |a| {
            for (index, count) in COUNTS.iter().enumerate() {
                for version in 1..=*count {
                    put(a, format!("{index}"), version.to_be_bytes());
                }
            }
            for (index, _) in COUNTS.iter().enumerate().step_by(2) {
                delete(a, format!("{index}"));
            }
        },
        |a| {
            let base = a.descriptor().created.nanos();
            let mut at_version = base;
            for (index, count) in COUNTS.iter().enumerate() {
                for version in [1, *count / 2, *count] {
                    if version == 0 {
                        continue;
                    }
                    let at = ts(at_version + u64::from(version));
                    for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
                        let found = scan_at(
                            a,
                            at,
                            &KeyRange::single(format!("{index}").as_bytes()),
                            direction,
                        );
                        assert_eq!(
                            found.len(),
                            1,
                            "key {index} of {count} versions at {version} {direction:?}"
                        );
                        assert_eq!(found[0].1, version.to_be_bytes());
                        let all = scan_at(a, at, &KeyRange::all(), direction);
                        assert_eq!(
                            all.len(),
                            index + 1,
                            "keys up to {index} at {version} {direction:?}"
                        );
                    }
                }
                at_version += u64::from(*count);
            }
            let now: Vec<Vec<u8>> = scan(a, &KeyRange::all(), ScanDirection::Reverse)
                .into_iter()
                .map(|r| r.0)
                .collect();
            assert_eq!(now, [b"5", b"3", b"1"]);
            assert_eq!(scan(a, &KeyRange::all(), ScanDirection::Forward).len(), 3);
        },
    );
}

#[test]
fn versions_are_newest_first_up_to_the_snapshot() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let stamps = [put(&a, "k", "1"), delete(&a, "k"), put(&a, "k", "")];
    put(&a, "k2", "another");
    let versions = a.versions(&db.engine().snapshot(), b"k").unwrap();
    let found: Vec<(Timestamp, Option<Vec<u8>>)> =
        versions.into_iter().map(|v| (v.ts, v.value)).collect();
    assert_eq!(
        found,
        [
            (stamps[2], Some(vec![])),
            (stamps[1], None),
            (stamps[0], Some(b"1".to_vec()))
        ]
    );
    let past = db.engine().snapshot_at(stamps[0]).unwrap();
    assert_eq!(a.versions(&past, b"k").unwrap().len(), 1);
    assert!(a.versions(&past, b"nothing").unwrap().is_empty());
}

#[test]
fn a_full_read_takes_what_a_backup_needs() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let first = put(&a, "a", "1");
    put(&a, "b", "1");
    let at = put(&a, "a", "2");
    let gone = delete(&a, "b");
    put(&a, "a", "too late");
    let snapshot = db.engine().snapshot_at(at).unwrap();
    let rows = |at: &icecore_engine::Snapshot, history: bool| -> Vec<(Vec<u8>, bool)> {
        let walk = a.full(&KeyRange::all(), at, history).unwrap();
        walk.map(|row| row.map(|r| (r.key, r.value.is_some())).unwrap())
            .collect()
    };
    let (key_a, key_b) = (b"a".to_vec(), b"b".to_vec());
    assert_eq!(
        rows(&snapshot, false),
        [(key_a.clone(), true), (key_b.clone(), true)]
    );
    assert_eq!(
        rows(&snapshot, true),
        [
            (key_a.clone(), true),
            (key_a.clone(), true),
            (key_b.clone(), true)
        ]
    );
    drop(snapshot);
    assert_eq!(db.engine().gc_guard().raise(a.id(), gone).unwrap(), gone);
    let now = db.engine().snapshot();
    assert_eq!(
        rows(&now, true),
        [(key_a.clone(), true), (key_a, true)],
        "the tombstone is at the threshold"
    );
    assert!(matches!(
        a.full(
            &KeyRange::all(),
            &db.engine().snapshot_at(first).unwrap(),
            false
        )
        .map(|_| ()),
        Err(Error::BelowThreshold { .. })
    ));
}

#[test]
fn a_scan_sees_one_time_whatever_comes_meanwhile() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..100_u32 {
        put(&a, format!("{i:03}"), "old");
    }
    let snapshot = db.engine().snapshot();
    let mut scan = a
        .scan(&snapshot, &KeyRange::all(), ScanDirection::Forward)
        .unwrap();
    assert_eq!(scan.next().unwrap().unwrap().value, b"old");
    for i in 0..100_u32 {
        put(&a, format!("{i:03}"), "new");
        delete(&a, format!("{i:03}"));
    }
    db.engine().flush().unwrap();
    db.engine().compact(&a).unwrap();
    assert!(scan.all(|entry| entry.unwrap().value == b"old"));
    // A scan begun only now, as of then.
    assert_eq!(
        a.scan(&snapshot, &KeyRange::all(), ScanDirection::Reverse)
            .unwrap()
            .count(),
        100
    );
}

/// Pooled iterators are refreshed for each read; each way in which rows come in must be seen.
#[test]
fn pooled_iterators_see_what_just_came_in() {
    let db = Fixture::with(icecore_engine::Options {
        pooled_iterators: 1,
        ..small()
    });
    let a = db.keyspace("a");
    for round in 0..30_u32 {
        let key = format!("k{round}");
        assert_eq!(a.get(key.as_bytes()).unwrap(), None);
        let value = round.to_be_bytes().to_vec();
        match round % 3 {
            0 => drop(put(&a, key.clone(), value.clone())),
            1 => drop(
                db.engine()
                    .bulk_load(&a, [Ok((key.clone(), value.clone()))])
                    .unwrap(),
            ),
            _ => {
                put(&a, key.clone(), value.clone());
                db.engine().flush().unwrap();
                db.engine().compact(&a).unwrap();
            }
        }
        assert_eq!(a.get(key.as_bytes()).unwrap(), Some(value));
        for earlier in 0..=round {
            assert!(
                a.get(format!("k{earlier}").as_bytes()).unwrap().is_some(),
                "k{earlier} after round {round}"
            );
        }
    }
}

#[test]
fn split_points_cut_within_the_range() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    assert!(a.split_points(&KeyRange::all(), 8).unwrap().is_empty());
    for i in 0..4000_u32 {
        // Hardly compressible, so that there are several files.
        let noise: Vec<u8> = (0..100_u32)
            .map(|j| (i.wrapping_mul(2_654_435_761).wrapping_add(j * 40_503) >> 7) as u8)
            .collect();
        put(&a, format!("{i:06}"), noise);
    }
    db.engine().compact(&a).unwrap();
    assert!(a.stats().sst_files > 3, "{:?}", a.stats());
    let all = a.split_points(&KeyRange::all(), 4).unwrap();
    assert_eq!(all.len(), 3, "{all:?}");
    let range = KeyRange::new(b"001500".to_vec(), Some(b"002500".to_vec()));
    for parts in [0, 1, 2, 3, 100] {
        let cuts = a.split_points(&range, parts).unwrap();
        assert!(cuts.len() < parts.max(1), "{parts}");
        assert!(cuts.is_sorted_by(|a, b| a < b), "{cuts:?}");
        assert!(
            cuts.iter()
                .all(|cut| range.contains(cut) && cut != range.start()),
            "{cuts:?}"
        );
        let whole: usize = range
            .split_at(&cuts)
            .iter()
            .map(|r| scan(&a, r, ScanDirection::Forward).len())
            .sum();
        assert_eq!(whole, 1000);
    }
}

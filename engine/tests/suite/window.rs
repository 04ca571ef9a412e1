//! The time-bounded iterator: windows, plans, parts and memory.

use icecore_engine::{ChangeOptions, ChangePlan, ChangeSet, Error, PlanTaken, Window};
use icecore_mvcc::{KeyRange, Timestamp};

use crate::common::{Fixture, collect, delete, put, window};

const PLANS: [ChangePlan; 3] = [ChangePlan::Auto, ChangePlan::Index, ChangePlan::Scan];
const SETS: [ChangeSet; 2] = [ChangeSet::All, ChangeSet::Latest];

#[test]
fn the_beginning_is_excluded_and_the_end_included() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let stamps: Vec<Timestamp> = (0..5_u32).map(|i| put(&a, "k", i.to_be_bytes())).collect();
    for plan in PLANS {
        let found = window(&a, stamps[1], stamps[3], ChangeSet::All, plan);
        assert_eq!(
            found.iter().map(|r| r.1).collect::<Vec<_>>(),
            [stamps[3].nanos(), stamps[2].nanos()],
            "{plan:?}"
        );
        let latest = window(&a, stamps[1], stamps[3], ChangeSet::Latest, plan);
        assert_eq!(
            latest.iter().map(|r| r.1).collect::<Vec<_>>(),
            [stamps[3].nanos()],
            "{plan:?}"
        );
        assert!(window(&a, stamps[2], stamps[2], ChangeSet::All, plan).is_empty());
        assert!(
            window(&a, stamps[3], stamps[1], ChangeSet::All, plan).is_empty(),
            "upside down"
        );
        assert_eq!(
            window(&a, Timestamp::MIN, stamps[4], ChangeSet::All, plan).len(),
            5
        );
    }
    let future = Window {
        after: stamps[0],
        until: db.engine().now().next(),
    };
    let refused = a
        .changes(
            &KeyRange::all(),
            future,
            ChangeSet::All,
            &ChangeOptions::default(),
        )
        .map(|_| ());
    assert!(matches!(refused, Err(Error::InFuture { .. })));
}

/// Bug: an empty range came out of the scan plan in no parts, which was reported as corruption.
#[test]
fn an_empty_range_has_no_changes() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    put(&a, "m", "v");
    let nothing = KeyRange::new(b"z".to_vec(), Some(b"b".to_vec()));
    let window = Window {
        after: Timestamp::MIN,
        until: db.engine().visible(),
    };
    for plan in PLANS {
        for parts in [0, 1, 4] {
            let options = ChangeOptions {
                plan,
                ..ChangeOptions::default()
            };
            let pieces = a
                .changes_parts(&nothing, window, ChangeSet::All, &options, parts)
                .unwrap();
            assert_eq!(pieces.len(), 1, "{plan:?} in {parts}");
            assert!(pieces.into_iter().flat_map(collect).next().is_none());
        }
    }
}

#[test]
fn ranges_parts_and_sets_agree_between_plans() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..600_u32 {
        let key = format!("{:03}", i.wrapping_mul(7919) % 101);
        match i % 9 {
            0 => drop(delete(&a, key)),
            _ => drop(put(&a, key, i.to_be_bytes().repeat((i % 50) as usize))),
        }
        if i % 200 == 0 {
            db.engine().flush().unwrap();
        }
    }
    let until = db.engine().visible();
    let after = Timestamp::from_nanos(until.nanos() - 400);
    let ranges = [
        KeyRange::all(),
        KeyRange::new(b"020".to_vec(), Some(b"080".to_vec())),
        KeyRange::prefix(b"05"),
        KeyRange::single(b"050"),
    ];
    for range in &ranges {
        for set in SETS {
            let expected: Vec<_> = {
                let options = ChangeOptions {
                    plan: ChangePlan::Scan,
                    ..ChangeOptions::default()
                };
                collect(
                    a.changes(range, Window { after, until }, set, &options)
                        .unwrap(),
                )
            };
            assert!(!expected.is_empty());
            for plan in PLANS {
                for parts in [1, 2, 3, 7, 5000] {
                    for (memory_bytes, min_part_changes) in [
                        (0, 1),
                        (1, 50),
                        (2000, 1),
                        (64 << 20, 1),
                        (64 << 20, 50),
                        (64 << 20, 20_000),
                    ] {
                        let options = ChangeOptions {
                            plan,
                            memory_bytes,
                            min_part_changes,
                        };
                        let pieces = a
                            .changes_parts(range, Window { after, until }, set, &options, parts)
                            .unwrap();
                        assert!(!pieces.is_empty() && pieces.len() <= parts);
                        if (plan, min_part_changes) == (ChangePlan::Index, 1)
                            && range.end().is_none()
                        {
                            // 101 keys, so that the last are fewer than were asked for.
                            assert!(pieces.len() > parts.min(101) / 2, "{parts} parts");
                        }
                        let rows: Vec<_> = pieces.into_iter().flat_map(collect).collect();
                        assert_eq!(
                            rows, expected,
                            "{range} {set:?} {plan:?} {parts} parts {memory_bytes} bytes"
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn the_plan_follows_the_cost_and_is_told() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    for i in 0..3000_u32 {
        put(&a, format!("{i:05}"), "v");
    }
    let middle = db.engine().visible();
    for i in 0..100_u32 {
        put(&a, format!("{i:05}"), "w");
    }
    let plan = |after: Timestamp, memory_bytes: usize| {
        let options = ChangeOptions {
            plan: ChangePlan::Auto,
            memory_bytes,
            ..icecore_engine::ChangeOptions::default()
        };
        let window = Window {
            after,
            until: db.engine().visible(),
        };
        a.changes(&KeyRange::all(), window, ChangeSet::All, &options)
            .unwrap()
            .plan()
    };
    assert_eq!(
        plan(middle, 1 << 20),
        PlanTaken::Index {
            changes: 100,
            spilled: false
        }
    );
    assert_eq!(
        plan(middle, 100),
        PlanTaken::Index {
            changes: 100,
            spilled: true
        }
    );
    assert_eq!(
        plan(Timestamp::MIN, 1 << 20),
        PlanTaken::Scan {
            reason: "most of the stored versions are in the window"
        }
    );
}

/// Bug: every time the keys passed the memory budget, one more sort file was opened; with a small
/// budget a large window ran out of file descriptors.
#[test]
fn a_tiny_budget_opens_few_files() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let before = db.engine().visible();
    let mut batch = icecore_engine::Batch::new();
    for i in 0..3000_u32 {
        batch.put(&a, i.wrapping_mul(2_654_435_761).to_be_bytes(), "v");
    }
    db.engine()
        .commit(batch, icecore_engine::Durability::Buffered)
        .unwrap();
    let options = ChangeOptions {
        plan: ChangePlan::Index,
        memory_bytes: 1,
        ..icecore_engine::ChangeOptions::default()
    };
    let window = Window {
        after: before,
        until: db.engine().visible(),
    };
    let open_files = || std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let at_first = open_files();
    let (rows, most) = std::thread::scope(|scope| {
        let read = scope.spawn(|| {
            collect(
                a.changes(&KeyRange::all(), window, ChangeSet::All, &options)
                    .unwrap(),
            )
        });
        let mut most = 0;
        while !read.is_finished() {
            most = most.max(open_files());
        }
        (read.join().unwrap(), most)
    });
    assert!(
        most < at_first + 100,
        "{most} files were open, {at_first} before"
    );
    assert_eq!(rows.len(), 3000);
    assert!(rows.is_sorted());
}

/// Loads over one another are found together: one scan of what they span, however many there are.
#[test]
fn overlapping_bulk_loads_are_told_apart() {
    let db = Fixture::new();
    let a = db.keyspace("a");
    let mut stamps = vec![db.engine().visible()];
    for round in 0..6_u32 {
        let rows = (0..40_u32)
            .filter(|i| i % (round + 1) == 0)
            .map(|i| Ok((format!("{i:02}"), round.to_be_bytes())));
        stamps.push(db.engine().bulk_load(&a, rows).unwrap().ts);
        put(&a, "07", "between");
    }
    let apart = (0..10_u32).map(|i| Ok((format!("z{i}"), "far away")));
    stamps.push(db.engine().bulk_load(&a, apart).unwrap().ts);
    for (i, after) in stamps.iter().enumerate() {
        for until in &stamps[i..] {
            for set in SETS {
                let index = window(&a, *after, *until, set, ChangePlan::Index);
                assert_eq!(index, window(&a, *after, *until, set, ChangePlan::Scan));
            }
        }
    }
}

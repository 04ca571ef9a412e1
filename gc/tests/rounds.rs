//! Rounds: what goes, what stays, and what the report says of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "test code"
)]

mod common;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{HOUR, Lab, delete, patterns, put, read};
use icecore_engine::{
    ChangeOptions, ChangeSet, Durability, Engine, Keyspace, Options, ScanDirection, Window,
};
use icecore_gc::{Error, GcOptions, HeldBy, KeyspaceGcReport, Target, collect, status};
use icecore_mvcc::model::{ModelKeyspace, Row};
use icecore_mvcc::{KeyRange, Timestamp};
use proptest::prelude::*;

fn of<'a>(report: &'a icecore_gc::GcReport, name: &str) -> &'a KeyspaceGcReport {
    report.keyspaces.iter().find(|k| k.name == name).unwrap()
}

#[test]
fn the_threshold_follows_the_ttl_and_deleted_keys_vanish_from_disk() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    for n in 0..1000 {
        put(&ks, &format!("{n:04}"), "v");
    }
    lab.engine.flush().unwrap();
    for n in 0..900 {
        delete(&ks, &format!("{n:04}"));
    }
    lab.engine.flush().unwrap();
    lab.clock.advance(3 * HOUR);
    let late = put(&ks, "late", "v");

    let report = collect(
        &lab.engine,
        &GcOptions {
            compact: true,
            sweep_batch_keys: 100,
            ..GcOptions::default()
        },
    )
    .unwrap();
    let row = of(&report, "bank.a");
    assert_eq!(row.threshold_before, Timestamp::MIN);
    assert_eq!(row.threshold_after, lab.engine.now().saturating_sub(HOUR));
    assert_eq!(row.held_by, HeldBy::Ttl);
    assert_eq!((row.swept_keys, row.removed_versions), (900, 1800));
    assert!(row.bytes_after < row.bytes_before, "{row:?}");
    assert!(report.index_low_water < late && report.index_low_water > Timestamp::MIN);
    let stats = ks.stats();
    assert_eq!(
        (stats.estimated_versions, stats.sst_files),
        (101, 1),
        "{stats:?}"
    );

    let again = lab.collect();
    assert_eq!(again.removed_versions(), 0, "the sweep is done");
    assert_eq!(of(&again, "bank.a").swept_keys, 0);
}

#[test]
fn a_reader_holds_back_and_its_end_frees() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let first = put(&ks, "k", "1");
    let reader = lab.engine.snapshot();
    lab.clock.advance(5 * HOUR);
    put(&ks, "k", "2");
    let report = lab.collect();
    assert_eq!(
        of(&report, "bank.a").held_by,
        HeldBy::Reader { timestamp: first }
    );
    assert_eq!(of(&report, "bank.a").threshold_after, first);
    assert_eq!(status(&lab.engine).unwrap().oldest_reader, Some(first));
    drop(reader);
    assert_eq!(of(&lab.collect(), "bank.a").held_by, HeldBy::Ttl);
    assert!(ks.threshold() > first);
}

#[test]
fn without_commits_nothing_rises_past_the_last_one() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let last = put(&ks, "k", "1");
    lab.clock.advance(100 * HOUR);
    let report = lab.collect();
    assert_eq!(of(&report, "bank.a").held_by, HeldBy::NewestCommit);
    assert_eq!(ks.threshold(), last);
    assert_eq!(read(&ks, "k", last), Ok(Some("1".to_owned())));
}

#[test]
fn the_system_keyspace_has_the_longest_ttl_and_passes_no_other() {
    let lab = Lab::new();
    let system = |report: &icecore_gc::GcReport| report.keyspaces.last().unwrap().clone();
    assert_eq!(
        system(&lab.collect()).ttl,
        4 * HOUR,
        "the default if there is no keyspace"
    );
    lab.keyspace("bank.a", HOUR);
    lab.keyspace("bank.b", 7 * HOUR);
    let ks = lab.keyspace("bank.c", 2 * HOUR);
    lab.clock.advance(20 * HOUR);
    put(&ks, "k", "1");
    let row = system(&lab.collect());
    assert_eq!(
        (row.name.as_str(), row.id.get(), row.ttl),
        ("system", 0, 7 * HOUR)
    );
    assert_eq!(
        row.threshold_after,
        lab.engine.now().saturating_sub(7 * HOUR)
    );

    // A round that leaves one keyspace out cannot raise the system keyspace past it.
    lab.clock.advance(20 * HOUR);
    put(&ks, "k", "2");
    let only = GcOptions {
        keyspaces: patterns(&["bank.a", "bank.c"]),
        ..GcOptions::default()
    };
    let report = collect(&lab.engine, &only).unwrap();
    let names: Vec<&str> = report.keyspaces.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["bank.a", "bank.c", "system"]);
    let left_out = lab.engine.keyspace("bank.b").unwrap().threshold();
    assert_eq!(system(&report).threshold_after, left_out);
    assert_eq!(
        system(&report).held_by,
        HeldBy::Keyspace {
            name: "bank.b".to_owned()
        }
    );
}

#[test]
fn a_dropped_keyspace_is_readable_until_its_ttl_is_over_then_gone() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    let other = lab.keyspace("bank.b", 2 * HOUR);
    let first = put(&ks, "k", "1");
    delete(&ks, "gone");
    let dropped = lab.engine.drop_keyspace("bank.a").unwrap();
    let record = lab
        .protect(first, Target::Keyspaces(patterns(&["bank.a"])))
        .unwrap();

    lab.clock.advance(30 * 60 * Duration::from_secs(1));
    put(&other, "k", "1");
    assert!(lab.collect().purged.is_empty());
    assert_eq!(read(&ks, "k", first), Ok(Some("1".to_owned())));

    lab.clock.advance(10 * HOUR);
    put(&other, "k", "2");
    let report = lab.collect();
    assert!(report.purged.is_empty(), "the record holds it");
    assert_eq!(of(&report, "bank.a").dropped, Some(dropped));
    assert_eq!(read(&ks, "k", first), Ok(Some("1".to_owned())));

    // Moved to the time of the drop, the record has nothing to hold there any more.
    lab.protected().advance(&record.id, dropped).unwrap();
    let report = lab.collect();
    assert_eq!(report.purged, ["bank.a"]);
    assert_eq!(of(&report, "bank.a").bytes_after, 0);
    assert!(matches!(
        lab.engine.keyspace_by_id(ks.id()),
        Err(icecore_engine::Error::NoSuchKeyspace { .. })
    ));
    assert_eq!(status(&lab.engine).unwrap().keyspaces.len(), 2);
    lab.collect();
}

/// A handle from before the purge must not bring the engine down when it is swept.
#[test]
fn sweeping_a_purged_keyspace_is_refused_and_harms_nothing() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", HOUR);
    put(&ks, "k", "1");
    delete(&ks, "k");
    lab.engine.drop_keyspace("bank.a").unwrap();
    let other = lab.keyspace("bank.b", HOUR);
    lab.clock.advance(10 * HOUR);
    put(&other, "k", "1");
    assert_eq!(lab.collect().purged, ["bank.a"]);
    let error = lab.engine.sweep(&ks, Default::default()).unwrap_err();
    assert!(
        matches!(error, icecore_engine::Error::KeyspaceDropped { .. }),
        "{error}"
    );
    put(&other, "k", "2");
}

/// Rounds in several threads share the work, also while keyspaces come, go and are purged.
#[test]
fn rounds_at_the_same_time_share_the_work() {
    let lab = Lab::new();
    let now = GcOptions {
        ttl_override: Some(Duration::ZERO),
        sweep_batch_keys: 7,
        ..GcOptions::default()
    };
    let writers_done = AtomicUsize::new(0);
    let until = Instant::now() + Duration::from_secs(5);
    std::thread::scope(|scope| {
        for writer in 0..2 {
            let (lab, writers_done) = (&lab, &writers_done);
            scope.spawn(move || {
                for n in 0..15 {
                    let name = format!("bank.w{writer}-{n}");
                    let ks = lab.keyspace(&name, HOUR);
                    for k in 0..20 {
                        put(&ks, &k.to_string(), "v");
                        delete(&ks, &k.to_string());
                    }
                    lab.engine.drop_keyspace(&name).unwrap();
                }
                writers_done.fetch_add(1, Ordering::Relaxed);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                while writers_done.load(Ordering::Relaxed) < 2 && Instant::now() < until {
                    collect(&lab.engine, &now).unwrap();
                }
            });
        }
    });
    collect(&lab.engine, &now).unwrap();
    collect(&lab.engine, &now).unwrap();
    assert!(lab.engine.all_keyspaces().is_empty());
}

#[test]
fn an_override_counts_for_the_chosen_keyspaces_alone() {
    let lab = Lab::new();
    let a = lab.keyspace("bank.a", HOUR);
    let b = lab.keyspace("nyc.b", HOUR);
    lab.collect();
    lab.clock.advance(HOUR);
    let last = put(&b, "k", "1");
    let options = GcOptions {
        ttl_override: Some(Duration::ZERO),
        keyspaces: patterns(&["bank.*"]),
        ..GcOptions::default()
    };
    let report = collect(&lab.engine, &options).unwrap();
    assert_eq!(
        (a.threshold(), of(&report, "bank.a").ttl),
        (last, Duration::ZERO)
    );
    assert!(b.threshold() < last);
    assert_eq!(report.keyspaces.last().unwrap().ttl, HOUR);

    let options = GcOptions {
        keyspaces: patterns(&["bank.a", "bnak.b"]),
        ..GcOptions::default()
    };
    assert!(
        matches!(collect(&lab.engine, &options), Err(Error::NoSuchKeyspace { name }) if name == "bnak.b")
    );
}

#[test]
fn a_small_rise_is_left_for_a_later_round() {
    let lab = Lab::new();
    let ks = lab.keyspace("bank.a", 4 * HOUR);
    let options = GcOptions {
        step_max: Duration::from_secs(600),
        ..GcOptions::default()
    };
    let round = || {
        put(&ks, "k", "v");
        collect(&lab.engine, &options).unwrap();
        ks.threshold()
    };
    let first = round();
    assert_eq!(
        first,
        lab.engine.now().saturating_sub(4 * HOUR),
        "the first rise is large"
    );
    lab.clock.advance(Duration::from_secs(143));
    assert_eq!(round(), first);
    lab.clock.advance(Duration::from_secs(2));
    assert_eq!(round(), lab.engine.now().saturating_sub(4 * HOUR));
}

#[test]
fn a_read_only_engine_is_refused() {
    let lab = Lab::new();
    let path = lab.path();
    lab.engine.flush().unwrap();
    drop(lab.engine);
    let engine = Engine::open_read_only(path, &Options::default()).unwrap();
    assert_eq!(
        collect(&engine, &GcOptions::default())
            .unwrap_err()
            .to_string(),
        "database is open read-only; open it for writing to collect garbage"
    );
    assert_eq!(
        status(&engine).unwrap().keyspaces.len(),
        1,
        "but its status can be seen"
    );
}

#[test]
fn status_tells_what_stands_where_and_why() {
    let lab = Lab::new();
    let a = lab.keyspace("bank.a", HOUR);
    lab.keyspace("bank.b", HOUR);
    let first = put(&a, "k", "1");
    let target = Target::Keyspaces(patterns(&["bank.a"]));
    let old = lab.protect(first, target.clone()).unwrap();
    let young = lab.protect(lab.engine.now(), target).unwrap();
    let before = status(&lab.engine).unwrap();
    assert_eq!(before.keyspaces[0].age, None, "its threshold never rose");
    lab.clock.advance(3 * HOUR);
    put(&a, "k", "2");
    lab.collect();

    let status = status(&lab.engine).unwrap();
    let names: Vec<&str> = status.keyspaces.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["bank.a", "bank.b", "system"]);
    assert_eq!(status.keyspaces[0].threshold, first);
    assert_eq!(status.keyspaces[0].age, Some(status.now.since(first)));
    assert_eq!(status.keyspaces[1].held_by, HeldBy::Ttl);
    assert_eq!(status.keyspaces[1].age, Some(HOUR));
    assert!(status.keyspaces[0].estimated_versions >= 2 && status.keyspaces[0].bytes > 0);
    assert_eq!(status.records[0].record, old);
    assert_eq!(status.records[0].holds, ["bank.a", "system"]);
    assert_eq!(status.records[0].age, status.now.since(first));
    assert_eq!(
        (&status.records[1].record, status.records[1].holds.len()),
        (&young, 0)
    );

    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["keyspaces"][0]["held_by"]["by"], "record");
    assert_eq!(json["keyspaces"][0]["held_by"]["owner"], "test");
    assert_eq!(
        json["keyspaces"][1]["held_by"],
        serde_json::json!({"by": "ttl"})
    );
    assert_eq!(json["keyspaces"][1]["ttl"], "1h");
    assert_eq!(json["keyspaces"][1]["age_seconds"], 3600.0);
    assert_eq!(json["records"][0]["id"], old.id.to_string());
    assert_eq!(
        json["records"][0]["holds"],
        serde_json::json!(["bank.a", "system"])
    );
}

#[derive(Debug, Clone)]
enum Op {
    Put(u8, u8),
    Delete(u8),
    Pass(u8),
    Protect,
    Release,
    Flush,
    Collect { compact: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (0_u8..6, any::<u8>()).prop_map(|(k, v)| Op::Put(k, v)),
        4 => (0_u8..6).prop_map(Op::Delete),
        3 => (1_u8..120).prop_map(Op::Pass),
        1 => Just(Op::Protect),
        1 => Just(Op::Release),
        1 => Just(Op::Flush),
        2 => any::<bool>().prop_map(|compact| Op::Collect { compact }),
    ]
}

/// Few by default, since each case opens a database and syncs often; `PROPTEST_CASES` sets more.
fn cases() -> u32 {
    let set = std::env::var("PROPTEST_CASES").ok();
    set.and_then(|text| text.parse().ok()).unwrap_or(10)
}

fn rows(ks: &Keyspace, at: Timestamp) -> Vec<(Vec<u8>, Vec<u8>, Timestamp)> {
    let snapshot = ks.engine().snapshot_at(at).unwrap();
    let scan = ks
        .scan(&snapshot, &KeyRange::all(), ScanDirection::Forward)
        .unwrap();
    scan.map(|entry| entry.map(|e| (e.key, e.value, e.ts)).unwrap())
        .collect()
}

/// Everything that can be read at or above the threshold is as if nothing had been collected.
fn compare(ks: &Keyspace, model: &ModelKeyspace, times: &[Timestamp]) {
    let threshold = ks.threshold();
    let readable = times
        .iter()
        .copied()
        .filter(|t| *t >= threshold)
        .chain([threshold]);
    for at in readable.filter(|t| *t <= ks.engine().visible()) {
        let expected: Vec<_> = model
            .scan(&KeyRange::all(), at, false, usize::MAX)
            .into_iter()
            .map(|Row { key, ts, value }| (key, value.unwrap(), ts))
            .collect();
        assert_eq!(
            rows(ks, at),
            expected,
            "as of {at:?}, threshold {threshold:?}"
        );
    }
    let window = Window {
        after: threshold,
        until: ks.engine().visible(),
    };
    let changes = ks
        .changes(
            &KeyRange::all(),
            window,
            ChangeSet::All,
            &ChangeOptions::default(),
        )
        .unwrap();
    let changes: Vec<Row> = changes
        .map(|row| {
            row.map(|r| Row {
                key: r.key,
                ts: r.ts,
                value: r.value,
            })
            .unwrap()
        })
        .collect();
    assert_eq!(
        changes,
        model.changes(&KeyRange::all(), threshold, window.until, false)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn collecting_changes_nothing_at_or_above_the_threshold(ops in prop::collection::vec(op(), 1..60)) {
        let lab = Lab::new();
        let ks = lab.keyspace("bank.a", 100 * Duration::from_secs(1));
        let mut model = ModelKeyspace::new();
        let mut times = Vec::new();
        let mut records = Vec::new();
        for op in ops {
            match op {
                Op::Put(key, value) => {
                    let ts = ks.put([key], [value], Durability::Buffered).unwrap();
                    model.put(&[key], ts, &[value]);
                    times.push(ts);
                }
                Op::Delete(key) => {
                    let ts = ks.delete([key], Durability::Buffered).unwrap();
                    model.delete(&[key], ts);
                    times.push(ts);
                }
                Op::Pass(seconds) => {
                    lab.clock.advance(Duration::from_secs(seconds.into()));
                }
                Op::Protect => records.push(lab.protect(lab.engine.now(), Target::All).unwrap()),
                Op::Release => {
                    if let Some(record) = records.pop() {
                        lab.protected().release(&record.id).unwrap();
                    }
                }
                Op::Flush => lab.engine.flush().unwrap(),
                Op::Collect { compact } => {
                    let options = GcOptions { compact, ..GcOptions::default() };
                    collect(&lab.engine, &options).unwrap();
                    compare(&ks, &model, &times);
                    for record in &records {
                        prop_assert!(ks.threshold() <= record.timestamp);
                    }
                }
            }
        }
        // And in the end, with nothing held, all garbage is gone from disk.
        records.iter().for_each(|r| lab.protected().release(&r.id).unwrap());
        let last = ks.put([9], [9], Durability::Buffered).unwrap();
        model.put(&[9], last, &[9]);
        let all = GcOptions { ttl_override: Some(Duration::ZERO), compact: true, ..GcOptions::default() };
        collect(&lab.engine, &all).unwrap();
        collect(&lab.engine, &all).unwrap();
        compare(&ks, &model, &[last]);
        model.gc(ks.threshold());
        prop_assert_eq!(ks.stats().estimated_versions, model.rows().len() as u64);
    }
}

//! Random interleavings of everything, against the reference model (I1 to I12 of `docs/correctness.md`).
//!
//! `ICECORE_MODEL_CASES` sets how many sequences run, `ICECORE_MODEL_SEED` makes a run repeat another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use icecore_testkit::model::{Bug, Op, Point, Restore, Sequence, Setup, To, Write, run, sequences};
use icecore_testkit::scratch;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

/// As many tests, so that as many threads can work.
const SHARDS: u64 = 4;

const OPS: usize = 32;

fn seed() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    scratch::count_from_env("ICECORE_MODEL_SEED", now.as_nanos() as u64)
}

fn runner(cases: u32, seed: u64, shrink: bool) -> TestRunner {
    let config = Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: if shrink { 2000 } else { 0 },
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

/// Runs sequences until one fails.
fn search(cases: u64, seed: u64, bug: Option<Bug>) -> Option<(String, Sequence)> {
    let runtime = Rc::new(scratch::runtime().unwrap());
    let mut runner = runner(u32::try_from(cases).unwrap(), seed, bug.is_none());
    let outcome = runner.run(&sequences(OPS), |sequence| {
        run(&sequence, &runtime, bug).map_err(|failure| TestCaseError::fail(failure.to_string()))
    });
    match outcome {
        Ok(()) => None,
        Err(TestError::Fail(reason, sequence)) => Some((reason.to_string(), sequence)),
        Err(TestError::Abort(reason)) => panic!("{reason}"),
    }
}

fn shard(number: u64) {
    let cases = scratch::count_from_env("ICECORE_MODEL_CASES", 2000).div_ceil(SHARDS);
    let seed = seed();
    if let Some((reason, sequence)) = search(cases, seed + number, None) {
        panic!(
            "ICECORE_MODEL_SEED={seed}, shard {number}: {reason}\nshortest sequence: {sequence:?}"
        );
    }
}

#[test]
fn engine_and_backups_agree_with_the_model_1_of_4() {
    shard(0);
}

#[test]
fn engine_and_backups_agree_with_the_model_2_of_4() {
    shard(1);
}

#[test]
fn engine_and_backups_agree_with_the_model_3_of_4() {
    shard(2);
}

#[test]
fn engine_and_backups_agree_with_the_model_4_of_4() {
    shard(3);
}

const SETUP: Setup = Setup {
    auto_compactions: false,
    bloom: true,
    files: false,
};

fn put(key: u8, value: u8) -> Op {
    Op::Write {
        writes: vec![Write {
            keyspace: 0,
            key,
            value: Some(value),
        }],
        sync: true,
    }
}

fn delete(key: u8) -> Op {
    Op::Write {
        writes: vec![Write {
            keyspace: 0,
            key,
            value: None,
        }],
        sync: true,
    }
}

fn full(history: bool) -> Op {
    Op::Full {
        collection: false,
        scope: 0,
        history,
        age: 0,
    }
}

fn incremental(history: bool) -> Op {
    Op::Incremental {
        chain: 0,
        history,
        age: 0,
        reexport: false,
    }
}

fn restore(point: Point) -> Op {
    Op::Restore(Restore {
        chain: 0,
        point,
        scope: 0,
        without_history: false,
        to: To::Elsewhere,
        interrupted: None,
        compact: false,
    })
}

/// Runs operations that are right without the bug, and must be found wrong with it.
fn is_caught(bug: Bug, ops: Vec<Op>, text: &str) {
    let runtime = Rc::new(scratch::runtime().unwrap());
    let sequence = Sequence { setup: SETUP, ops };
    run(&sequence, &runtime, None).unwrap();
    let caught = run(&sequence, &runtime, Some(bug))
        .expect_err("the bug was not caught")
        .to_string();
    assert!(caught.contains(text), "{caught}");
}

#[test]
fn planted_bug_an_incremental_without_a_tombstone_is_caught() {
    let ops = vec![
        put(5, 1),
        put(6, 2),
        full(false),
        delete(5),
        incremental(false),
        restore(Point::Latest),
    ];
    is_caught(
        Bug::IncrementalDropsATombstone,
        ops,
        "restored: keyspace bank.customers",
    );
}

#[test]
fn planted_bug_a_lost_commit_is_caught() {
    let writes = (0..4)
        .map(|key| Write {
            keyspace: 0,
            key,
            value: Some(1),
        })
        .collect();
    is_caught(
        Bug::LosesACommit,
        vec![Op::Write { writes, sync: true }, Op::Check],
        "as of",
    );
}

#[test]
fn planted_bug_a_restore_that_ends_early_is_caught() {
    // Without history the checker would only see a refusal.
    let ops = vec![
        full(true),
        put(5, 1),
        incremental(true),
        restore(Point::Latest),
    ];
    is_caught(Bug::RestoresTooLittle, ops, "restored");
}

#[test]
fn planted_bug_a_read_in_place_that_ends_early_is_caught() {
    let ops = vec![
        full(true),
        put(5, 1),
        incremental(true),
        restore(Point::Latest),
    ];
    is_caught(Bug::ReadsInPlaceTooLittle, ops, "read in place");
}

#[test]
fn planted_bug_collection_past_a_protected_timestamp_is_caught() {
    let collect = Op::Collect {
        at_once: true,
        compact: false,
    };
    let ops = vec![
        put(5, 1),
        Op::Protect { age: 0, scope: 0 },
        put(5, 2),
        collect,
    ];
    is_caught(Bug::CollectsWhatIsProtected, ops, "threshold");
}

#[test]
fn planted_bug_a_window_that_begins_late_is_caught() {
    let ops = (0..12)
        .map(|value| put(value % 3 + 5, value))
        .chain([Op::Check])
        .collect();
    is_caught(Bug::WindowBeginsLate, ops, "changes in");
}

#[test]
fn planted_bug_reads_of_the_instant_before_are_caught() {
    let ops = (0..12)
        .map(|value| put(value % 3 + 5, value))
        .chain([Op::Check])
        .collect();
    is_caught(Bug::ReadsThePast, ops, "as of");
}

#[test]
fn planted_bug_a_fingerprint_that_misses_a_row_is_caught() {
    for incremental in [full(false), incremental(true)] {
        // A full with history may be a fast one, which tells no fingerprint.
        let ops = vec![put(5, 1), full(false), put(6, 2), incremental];
        is_caught(Bug::FingerprintMissesARow, ops, "has fingerprint");
    }
}

/// A full and incrementals, merged, and those that they stand for given up.
fn merged() -> Vec<Op> {
    vec![
        full(true),
        put(5, 1),
        incremental(true),
        put(5, 2),
        delete(6),
        incremental(true),
        Op::Merge {
            chain: 0,
            keep_newest: 0,
        },
        Op::Expire {
            collection: false,
            keep_fulls: 0,
        },
    ]
}

#[test]
fn planted_bug_a_merged_chain_that_ends_early_is_caught() {
    let points = [Point::Latest, Point::LayerEnd(1), Point::Time(6)];
    let ops = merged().into_iter().chain(points.map(restore)).collect();
    is_caught(Bug::MergesTooLittle, ops, "restored");
}

#[test]
fn planted_bug_retention_that_keeps_too_little_is_caught() {
    let expire = Op::Expire {
        collection: false,
        keep_fulls: 1,
    };
    let later = Op::Advance { step: 5 };
    let ops = vec![put(5, 1), full(true), later, put(5, 2), full(true), expire];
    is_caught(Bug::ExpiresTooMuch, ops, "stay, not");
}

#[test]
fn planted_bugs_are_found_by_random_sequences_too() {
    for bug in [
        Bug::IncrementalDropsATombstone,
        Bug::CollectsWhatIsProtected,
        Bug::MergesTooLittle,
        Bug::ExpiresTooMuch,
    ] {
        let found = search(400, 7, Some(bug));
        assert!(found.is_some(), "{bug:?} was not found in 400 sequences");
    }
}

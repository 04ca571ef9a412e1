//! A child process is killed at random times while it commits, backs up, restores and collects.
//!
//! `ICECORE_CRASH_CYCLES` sets how often, `ICECORE_CRASH_SEED` from where the choices start. The times of
//! a kill are real, so a seed does not repeat a run exactly.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use icecore_testkit::crash::Harness;
use icecore_testkit::scratch;

fn child() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_crash_child"))
}

#[test]
fn nothing_acknowledged_is_lost_when_the_process_is_killed() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = scratch::count_from_env("ICECORE_CRASH_SEED", now.as_nanos() as u64);
    let cycles = scratch::count_from_env("ICECORE_CRASH_CYCLES", 50);
    let mut harness = Harness::new(child(), seed, false).unwrap();
    for cycle in 0..cycles {
        if let Err(failure) = harness.cycle() {
            panic!("ICECORE_CRASH_SEED={seed}, cycle {cycle}: {failure}");
        }
    }
    let summary = harness
        .finish()
        .unwrap_or_else(|failure| panic!("ICECORE_CRASH_SEED={seed}: {failure}"));
    println!("{summary:?}");
    // A harness whose children do nothing would find nothing.
    assert!(
        summary.commits >= cycles && summary.layers > 0 && summary.restores > 0,
        "{summary:?}"
    );
}

#[test]
fn planted_bug_an_acknowledgement_before_the_commit_is_caught() {
    let mut harness = Harness::new(child(), 1, true).unwrap();
    let caught = (0..40)
        .find_map(|_| harness.cycle().err())
        .expect("the bug was not caught in 40 cycles");
    assert!(caught.to_string().contains("were acknowledged"), "{caught}");
}

//! The fuzz targets without a fuzzer: on their seeds, and on some thousand inputs made of them.
//!
//! `ICECORE_FUZZ_INPUTS` sets how many inputs a target gets (`engine_ops` a hundredth of it), and
//! `ICECORE_FUZZ_SEED` makes a run repeat another.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use icecore_testkit::fuzz::{Bug, Inputs, TARGETS, Target};
use icecore_testkit::scratch::count_from_env;

fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).unwrap()
}

fn seeds(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds")
        .join(target);
    let mut paths: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect()
}

/// The seeds, then inputs made of them.
fn inputs(target: &str, number: u64) -> impl Iterator<Item = Vec<u8>> {
    let count = count_from_env("ICECORE_FUZZ_INPUTS", 5000) as usize;
    let count = if target == "engine_ops" {
        count / 100
    } else {
        count
    };
    let seeds = seeds(target);
    seeds
        .clone()
        .into_iter()
        .chain(Inputs::new(seeds, number).take(count))
}

fn holds(name: &str) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let number = count_from_env("ICECORE_FUZZ_SEED", now.as_nanos() as u64);
    for input in inputs(name, number) {
        if let Err(failure) = (target(name).check)(&input, None) {
            panic!(
                "ICECORE_FUZZ_SEED={number}: b\"{}\": {failure}",
                input.escape_ascii()
            );
        }
    }
}

#[test]
fn key_codec() {
    holds("key_codec");
}

#[test]
fn manifest() {
    holds("manifest");
}

#[test]
fn chain_plan() {
    holds("chain_plan");
}

#[test]
fn uri() {
    holds("uri");
}

#[test]
fn names() {
    holds("names");
}

#[test]
fn texts() {
    holds("texts");
}

#[test]
fn sealed() {
    holds("sealed");
}

#[test]
fn restore_plan() {
    holds("restore_plan");
}

#[test]
fn engine_ops() {
    holds("engine_ops");
}

/// By the seeds alone, so that no luck is in it.
#[test]
fn every_planted_bug_is_caught() {
    let caught = |name: &str, bug| {
        let mut seeds = seeds(name).into_iter();
        seeds.any(|seed| (target(name).check)(&seed, Some(bug)).is_err())
    };
    let missed: Vec<_> = Bug::ALL
        .iter()
        .filter(|(name, bug)| !caught(name, *bug))
        .collect();
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

/// Each target has its program, its seeds and a planted bug, and nothing else has.
#[test]
fn the_programs_are_those_of_the_targets() {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
    let mut programs: Vec<String> = std::fs::read_dir(programs)
        .unwrap()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .file_stem()
                .unwrap()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    programs.sort();
    let mut names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    names.sort_unstable();
    assert_eq!(programs, names);
    let without_bug = names
        .iter()
        .find(|name| !Bug::ALL.iter().any(|(of, _)| of == *name));
    assert_eq!(without_bug, None);
}

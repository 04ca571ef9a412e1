//! Random operations on random settings: the engine against the reference model.
//!
//! `ICECORE_MODEL_CASES` sets the number of runs of each property.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};

use crate::world::{Op, Oracle, Outcome, World, general, option_sets, windows};

/// Runs of each property unless the environment says otherwise.
const CASES: u32 = 160;

/// Operations in one run.
const MAX_OPS: usize = 50;

fn config() -> Config {
    let cases = std::env::var("ICECORE_MODEL_CASES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(CASES);
    Config {
        cases,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    }
}

fn run(options: icecore_engine::Options, ops: &[Op], oracle: Oracle) -> Outcome {
    let mut world = World::new(options, oracle);
    for op in ops {
        world.run(op)?;
    }
    world.check_all()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_engine_agrees_with_the_model(options in option_sets(), ops in vec(general(), 1..MAX_OPS)) {
        run(options, &ops, Oracle::True)?;
    }

    #[test]
    fn both_plans_agree_with_a_naive_scan(options in option_sets(), ops in vec(windows(), 1..MAX_OPS)) {
        run(options, &ops, Oracle::True)?;
    }
}

/// The checker must fire: with one bound off by one, the property fails within a few runs.
#[test]
fn a_planted_off_by_one_is_caught() {
    for oracle in [Oracle::BeginningIncluded, Oracle::EndExcluded] {
        let config = Config {
            cases: 20,
            max_shrink_iters: 0,
            failure_persistence: None,
            ..Config::default()
        };
        let mut runner =
            TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
        let outcome = runner.run(
            &(option_sets(), vec(windows(), 1..MAX_OPS)),
            |(options, ops)| run(options, &ops, oracle),
        );
        assert!(
            matches!(&outcome, Err(TestError::Fail(reason, _)) if reason.message().contains("found")),
            "{oracle:?}"
        );
    }
}

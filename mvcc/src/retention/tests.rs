//! The rule against the model: whatever the rules drop, in whatever order, from whatever a run happens
//! to see, no read at or above the threshold changes.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestError, TestRng, TestRunner};

use super::*;
use crate::model::{ModelKeyspace, Row};
use crate::range::KeyRange;

const LAST: u64 = 24;

/// One step in the life of a keyspace. Times are small so that everything collides.
#[derive(Debug, Clone)]
enum Step {
    /// A commit later than everything before it.
    Write { key: u8, tombstone: bool },
    /// The threshold rises by so much, at most to the newest commit.
    Raise(u64),
    /// A run filters the versions chosen by the bits, with a threshold that much behind.
    Filter { seen: u64, behind: u64 },
    /// One key is swept.
    Sweep { key: u8 },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_u8, prop::bool::weighted(0.4)).prop_map(|(key, tombstone)| Step::Write { key, tombstone }),
        2 => (1..8_u64).prop_map(Step::Raise),
        3 => (prop_oneof![any::<u64>(), Just(u64::MAX)], 0..3_u64)
            .prop_map(|(seen, behind)| Step::Filter { seen, behind }),
        2 => (0..3_u8).prop_map(|key| Step::Sweep { key }),
    ];
    prop::collection::vec(step, 1..40)
}

/// A version as the sweep sees it: timestamp, is a tombstone.
type Meta = (Timestamp, bool);
/// A version as a run sees it: key, timestamp, is a tombstone.
type Seen = (u8, Timestamp, bool);

/// The rules under test; planted bugs replace one of them.
#[derive(Clone, Copy)]
struct Rules {
    /// Judges a run: keys ascending, newest first.
    filter: fn(&[Seen], Timestamp) -> Vec<Verdict>,
    /// Judges all versions of a key, newest first.
    sweep: fn(&[Meta], Timestamp) -> Vec<Verdict>,
}

const RULES: Rules = Rules {
    filter: |run, threshold| {
        let mut filter = Filter::new(threshold);
        run.iter()
            .map(|(key, ts, tombstone)| filter.visit(&[*key], *ts, || *tombstone))
            .collect()
    },
    sweep: |versions, threshold| {
        let dropped = sweepable(versions, threshold);
        let verdict = |at| {
            if dropped.contains(&at) {
                Verdict::Drop
            } else {
                Verdict::Keep
            }
        };
        (0..versions.len()).map(verdict).collect()
    },
};

/// What was written, and which of it is still there.
#[derive(Default)]
struct Store {
    written: ModelKeyspace,
    dropped: BTreeSet<(Vec<u8>, Timestamp)>,
    clock: u64,
    threshold: u64,
}

impl Store {
    fn apply(&mut self, step: &Step, rules: Rules) {
        match *step {
            Step::Write { .. } if self.clock == LAST => {}
            Step::Write { key, tombstone } => {
                self.clock += 1;
                let value = (!tombstone).then(|| self.clock.to_be_bytes().to_vec());
                self.written
                    .insert(&[key], Timestamp::from_nanos(self.clock), value);
            }
            Step::Raise(by) => self.threshold = self.clock.min(self.threshold + by),
            Step::Filter { seen, behind } => {
                // A run may meet versions that others have dropped since: it reads old files.
                let rows = self.written.rows();
                let run: Vec<_> = rows
                    .iter()
                    .filter(|row| seen >> row.ts.nanos() & 1 == 1)
                    .map(judged)
                    .collect();
                let threshold = Timestamp::from_nanos(self.threshold.saturating_sub(behind));
                let verdicts = (rules.filter)(&run, threshold);
                for ((key, ts, _), _) in run
                    .iter()
                    .zip(verdicts)
                    .filter(|(_, v)| *v == Verdict::Drop)
                {
                    self.dropped.insert((vec![*key], *ts));
                }
            }
            Step::Sweep { key } => {
                let rows = self.kept().rows();
                let versions: Vec<_> = rows
                    .iter()
                    .map(judged)
                    .filter(|v| v.0 == key)
                    .map(|(_, ts, t)| (ts, t))
                    .collect();
                let verdicts = (rules.sweep)(&versions, Timestamp::from_nanos(self.threshold));
                for ((ts, _), _) in versions
                    .iter()
                    .zip(verdicts)
                    .filter(|(_, v)| *v == Verdict::Drop)
                {
                    self.dropped.insert((vec![key], *ts));
                }
            }
        }
    }

    fn kept(&self) -> ModelKeyspace {
        let mut kept = ModelKeyspace::new();
        for row in self.written.rows() {
            if !self.dropped.contains(&(row.key.clone(), row.ts)) {
                kept.insert(&row.key, row.ts, row.value);
            }
        }
        kept
    }
}

fn judged(row: &Row) -> Seen {
    (row.key[0], row.ts, row.value.is_none())
}

/// Whether both answer every read at or above the threshold alike.
fn same_reads(
    a: &ModelKeyspace,
    b: &ModelKeyspace,
    threshold: u64,
) -> std::result::Result<(), TestCaseError> {
    let all = KeyRange::all();
    let from = Timestamp::from_nanos(threshold);
    for at in (threshold..=LAST + 1).map(Timestamp::from_nanos) {
        prop_assert_eq!(
            a.full(&all, at, None),
            b.full(&all, at, None),
            "state at {:?}",
            at
        );
        prop_assert_eq!(
            a.full(&all, at, Some(from)),
            b.full(&all, at, Some(from)),
            "history to {:?}",
            at
        );
        for latest in [false, true] {
            let (of_a, of_b) = (
                a.changes(&all, from, at, latest),
                b.changes(&all, from, at, latest),
            );
            prop_assert_eq!(of_a, of_b, "changes from the threshold to {:?}", at);
            let (of_a, of_b) = (
                a.changes(&all, at, Timestamp::MAX, latest),
                b.changes(&all, at, Timestamp::MAX, latest),
            );
            prop_assert_eq!(of_a, of_b, "changes after {:?}", at);
        }
    }
    Ok(())
}

fn reads_survive(steps: &[Step], rules: Rules) -> std::result::Result<(), TestCaseError> {
    let mut store = Store::default();
    for step in steps {
        store.apply(step, rules);
        same_reads(&store.kept(), &store.written, store.threshold)?;
    }
    // The model's own collection answers the same reads, and keeps nothing that a sweep would drop.
    let mut collected = store.written.clone();
    collected.gc(Timestamp::from_nanos(store.threshold));
    same_reads(&collected, &store.written, store.threshold)?;
    for key in 0..3_u8 {
        store.apply(&Step::Sweep { key }, rules);
    }
    prop_assert_eq!(collected.rows(), store.kept().rows());
    Ok(())
}

fn bug_is_caught(rules: Rules) -> bool {
    let config = ProptestConfig {
        failure_persistence: None,
        max_shrink_iters: 0,
        ..ProptestConfig::default()
    };
    let mut runner =
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let caught = runner.run(&steps(), |steps| reads_survive(&steps, rules));
    matches!(caught, Err(TestError::Fail(..)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_read_changes_whatever_the_rules_drop(steps in steps()) {
        reads_survive(&steps, RULES)?;
    }
}

#[test]
fn a_filter_that_drops_the_covering_tombstone_is_caught() {
    let filter = |run: &[Seen], threshold| {
        let mut verdicts = (RULES.filter)(run, threshold);
        for ((_, ts, tombstone), verdict) in run.iter().zip(&mut verdicts) {
            if *tombstone && *ts <= threshold {
                *verdict = Verdict::Drop;
            }
        }
        verdicts
    };
    assert!(bug_is_caught(Rules { filter, ..RULES }));
}

#[test]
fn a_filter_with_a_bound_off_by_one_is_caught() {
    let filter = |run: &[Seen], threshold: Timestamp| (RULES.filter)(run, threshold.next());
    assert!(bug_is_caught(Rules { filter, ..RULES }));
}

#[test]
fn a_filter_that_mixes_up_keys_is_caught() {
    let filter = |run: &[Seen], threshold| {
        let versions: Vec<_> = run
            .iter()
            .map(|(_, ts, tombstone)| (*ts, *tombstone))
            .collect();
        filtered(&versions, threshold)
    };
    assert!(bug_is_caught(Rules { filter, ..RULES }));
}

#[test]
fn a_sweep_that_drops_a_tombstone_and_keeps_what_it_covers_is_caught() {
    let sweep = |versions: &[Meta], threshold| {
        let mut verdicts = (RULES.sweep)(versions, threshold);
        if let Some(first) = verdicts
            .iter()
            .position(|verdict| *verdict == Verdict::Drop)
        {
            verdicts[first + 1..].fill(Verdict::Keep);
        }
        verdicts
    };
    assert!(bug_is_caught(Rules { sweep, ..RULES }));
}

#[test]
fn a_sweep_that_drops_a_visible_put_is_caught() {
    let sweep = |versions: &[Meta], threshold: Timestamp| {
        versions
            .iter()
            .map(|(ts, _)| {
                if *ts <= threshold {
                    Verdict::Drop
                } else {
                    Verdict::Keep
                }
            })
            .collect()
    };
    assert!(bug_is_caught(Rules { sweep, ..RULES }));
}

fn times(versions: &[(u64, bool)]) -> Vec<(Timestamp, bool)> {
    versions
        .iter()
        .map(|(ts, tombstone)| (Timestamp::from_nanos(*ts), *tombstone))
        .collect()
}

#[test]
fn worked_examples() {
    const PUT: bool = false;
    const DEL: bool = true;
    let cases = [
        // (newest first, threshold, what a filter that sees all drops, what the sweep drops)
        (vec![(9, PUT), (5, PUT), (3, PUT)], 5, "KKD", 2..3),
        (vec![(9, PUT), (5, PUT), (3, PUT)], 4, "KKK", 3..3),
        (vec![(9, PUT), (5, PUT), (3, PUT)], 9, "KDD", 1..3),
        (vec![(9, PUT), (5, DEL), (3, PUT)], 5, "KKD", 1..3),
        (vec![(9, PUT), (5, DEL), (3, PUT)], 9, "KKD", 1..3),
        (vec![(5, DEL), (3, DEL), (1, PUT)], 5, "KKD", 0..3),
        (vec![(5, PUT)], 5, "K", 1..1),
        (vec![(5, DEL)], 4, "K", 1..1),
        (vec![(5, DEL)], 5, "K", 0..1),
        (vec![], 5, "", 0..0),
    ];
    for (versions, threshold, filter, sweep) in cases {
        let (versions, threshold) = (times(&versions), Timestamp::from_nanos(threshold));
        let verdicts = filtered(&versions, threshold);
        let letters: String = verdicts
            .iter()
            .map(|verdict| if *verdict == Verdict::Keep { 'K' } else { 'D' })
            .collect();
        assert_eq!(letters, filter, "{versions:?} at {threshold:?}");
        assert_eq!(
            sweepable(&versions, threshold),
            sweep,
            "{versions:?} at {threshold:?}"
        );
    }
}

#[test]
fn a_filter_asks_for_the_value_only_where_it_matters() {
    let mut filter = Filter::new(Timestamp::from_nanos(5));
    let unasked = || -> bool { panic!("decoded in vain") };
    assert_eq!(
        filter.visit(b"a", Timestamp::from_nanos(6), unasked),
        Verdict::Keep
    );
    assert_eq!(
        filter.visit(b"a", Timestamp::from_nanos(5), unasked),
        Verdict::Keep
    );
    assert_eq!(
        filter.visit(b"a", Timestamp::from_nanos(4), || false),
        Verdict::Drop
    );
    assert_eq!(
        filter.visit(b"b", Timestamp::from_nanos(4), unasked),
        Verdict::Keep
    );
}

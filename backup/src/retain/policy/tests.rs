use proptest::prelude::*;

use super::*;

const NOW: u64 = 1000;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn chain(name: usize, source: u8, begins: u64, reaches: u64, is_whole: bool) -> ChainFacts {
    ChainFacts {
        full: format!("chain/{name}").parse().unwrap(),
        source: format!("source {source}"),
        begins: at(begins),
        reaches: at(reaches),
        is_whole,
    }
}

/// Of one source, whole, in the order given.
fn whole(times: &[(u64, u64)]) -> Vec<ChainFacts> {
    let chains = times.iter().enumerate();
    chains
        .map(|(name, (begins, reaches))| chain(name, 0, *begins, *reaches, true))
        .collect()
}

fn kept(chains: &[ChainFacts], keep_fulls: Option<usize>, keep_for: Option<u64>) -> Vec<bool> {
    let policy = Policy {
        keep_fulls,
        keep_for: keep_for.map(Duration::from_nanos),
    };
    let verdicts = judge(chains, policy, at(NOW));
    assert_eq!(broken_promise(chains, &verdicts, policy, at(NOW)), None);
    verdicts.iter().map(Verdict::keeps).collect()
}

#[test]
fn without_a_limit_all_stay() {
    assert_eq!(
        kept(&whole(&[(900, 950), (100, 150)]), None, None),
        [true, true]
    );
    assert!(kept(&[], Some(1), Some(1)).is_empty());
}

#[test]
fn by_count_the_newest_stay() {
    let chains = whole(&[(900, 950), (700, 750), (500, 550)]);
    assert_eq!(kept(&chains, Some(1), None), [true, false, false]);
    assert_eq!(kept(&chains, Some(2), None), [true, true, false]);
    assert_eq!(kept(&chains, Some(9), None), [true, true, true]);
}

#[test]
fn by_age_what_the_horizon_needs_stays() {
    let chains = whole(&[(900, 950), (700, 750), (500, 550), (300, 350)]);
    // At 600 only the one up to 550 tells what was there.
    assert_eq!(kept(&chains, None, Some(400)), [true, true, true, false]);
    assert_eq!(kept(&chains, None, Some(300)), [true, true, false, false]);
    assert_eq!(kept(&chains, None, Some(1)), [true, false, false, false]);
    assert_eq!(kept(&chains, None, Some(5000)), [true, true, true, true]);
    // An old full whose incrementals reach into the time to keep.
    let long = whole(&[(900, 950), (300, 990)]);
    assert_eq!(kept(&long, None, Some(50)), [true, true]);
}

#[test]
fn with_both_a_chain_stays_if_either_wants_it() {
    let chains = whole(&[(900, 950), (700, 750), (500, 550), (300, 350)]);
    assert_eq!(kept(&chains, Some(3), Some(1)), [true, true, true, false]);
    assert_eq!(kept(&chains, Some(1), Some(400)), [true, true, true, false]);
}

#[test]
fn a_damaged_chain_counts_for_nothing_and_stays_as_long_as_its_time() {
    let mut chains = whole(&[(900, 950), (700, 750), (500, 550), (300, 350)]);
    chains[0].is_whole = false;
    chains[2].is_whole = false;
    assert_eq!(kept(&chains, Some(1), None), [true, true, false, false]);
    assert_eq!(kept(&chains, Some(2), None), [true, true, true, true]);
    for chain in &mut chains {
        chain.is_whole = false;
    }
    assert_eq!(kept(&chains, Some(1), Some(1)), [true; 4]);
}

#[test]
fn sources_do_not_make_up_for_each_other() {
    let chains = [
        chain(0, 0, 900, 950, true),
        chain(1, 1, 500, 550, true),
        chain(2, 0, 400, 450, true),
    ];
    assert_eq!(kept(&chains, Some(1), None), [true, true, false]);
}

#[test]
fn a_broken_promise_is_told() {
    let chains = whole(&[(900, 950), (700, 750)]);
    let keep = || Verdict::Keep(Vec::new());
    let policy = |keep_fulls, keep_for: Option<u64>| Policy {
        keep_fulls,
        keep_for: keep_for.map(Duration::from_nanos),
    };
    for (verdicts, policy, told) in [
        (
            [Verdict::Expire, keep()],
            policy(Some(1), None),
            "newest backup",
        ),
        ([keep(), Verdict::Expire], policy(Some(2), None), "1 of 2"),
        (
            [keep(), Verdict::Expire],
            policy(Some(1), Some(300)),
            "times up to",
        ),
        (
            [Verdict::Expire, Verdict::Expire],
            policy(None, None),
            "0 of 2",
        ),
    ] {
        let broken = broken_promise(&chains, &verdicts, policy, at(NOW)).unwrap();
        assert!(broken.contains(told), "{broken}");
    }
}

fn any_chains() -> impl Strategy<Value = Vec<ChainFacts>> {
    let times = (0..2_u8, 0..NOW, 0..300_u64, prop::bool::weighted(0.8));
    prop::collection::vec(times, 0..9).prop_map(|chains| {
        let chains = chains.into_iter().enumerate();
        chains
            .map(|(name, (source, begins, long, is_whole))| {
                chain(name, source, begins, (begins + long).min(NOW), is_whole)
            })
            .collect()
    })
}

proptest! {
    /// What was promised holds, worked out time by time.
    #[test]
    fn never_less_is_left_than_promised(
        chains in any_chains(),
        keep_fulls in prop::option::of(1..5_usize),
        keep_for in prop::option::of(0..1200_u64),
    ) {
        let policy = Policy { keep_fulls, keep_for: keep_for.map(Duration::from_nanos) };
        let verdicts = judge(&chains, policy, at(NOW));
        prop_assert_eq!(broken_promise(&chains, &verdicts, policy, at(NOW)), None);
        for source in ["source 0", "source 1"] {
            let of = |kept: bool| -> Vec<&ChainFacts> {
                let judged = chains.iter().zip(&verdicts);
                judged
                    .filter(|(c, v)| c.source == source && c.is_whole && (!kept || v.keeps()))
                    .map(|(c, _)| c)
                    .collect()
            };
            let (had, left) = (of(false), of(true));
            // Counted from the newest, none of the promised is missing.
            let mut newest: Vec<Timestamp> = had.iter().map(|c| c.begins).collect();
            newest.sort();
            let wanted = keep_fulls.unwrap_or(1);
            for begins in newest.iter().rev().take(wanted) {
                prop_assert!(left.iter().any(|c| c.begins == *begins));
            }
            // Every time since the horizon is restored by as many chains as before, and the state at the
            // horizon is in one that stays.
            if let Some(keep_for) = keep_for {
                let horizon = NOW.saturating_sub(keep_for);
                for time in (horizon..=NOW).map(at) {
                    let restores = |c: &&&ChainFacts| c.begins <= time && time <= c.reaches;
                    prop_assert_eq!(
                        had.iter().filter(restores).count(),
                        left.iter().filter(restores).count()
                    );
                }
                let at_horizon = |chains: &[&ChainFacts]| {
                    chains.iter().map(|c| c.begins).filter(|t| *t <= at(horizon)).max()
                };
                prop_assert_eq!(at_horizon(&had), at_horizon(&left));
            }
        }
        // With no condition at all nothing goes; with one, what neither wants does.
        if policy == Policy::default() {
            prop_assert!(verdicts.iter().all(Verdict::keeps));
        }
    }
}

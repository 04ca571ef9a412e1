use proptest::prelude::*;

use super::*;
use crate::hash::ContentHash;
use crate::path::{IncrementalPath, LayerPath};

/// A layer; a full if it starts at zero. History from that time on.
fn layer(start: u64, end: u64, history: Option<u64>) -> LayerEntry {
    let full = "full".parse().unwrap();
    LayerEntry {
        path: if start == 0 {
            LayerPath::full_at(full)
        } else {
            LayerPath::incremental_at(
                full,
                IncrementalPath::at(Timestamp::from_nanos(end * 1_000_000_000)),
            )
        },
        start: Timestamp::from_nanos(start),
        end: Timestamp::from_nanos(end),
        history_from: history.map(Timestamp::from_nanos),
        stored_bytes: 0,
        entries: 0,
        manifest_hash: ContentHash::of(format!("{start} {end} {history:?}").as_bytes()),
    }
}

fn at(nanos: u64) -> Target {
    Target::At(Timestamp::from_nanos(nanos))
}

/// The windows of a plan.
fn windows(layers: &[LayerEntry], target: Target) -> Result<Vec<(u64, u64)>> {
    Ok(chain(layers, target)?
        .iter()
        .map(|layer| (layer.start.nanos(), layer.end.nanos()))
        .collect())
}

#[test]
fn a_chain_without_history_restores_to_its_ends() {
    let layers = [layer(20, 30, None), layer(0, 10, None), layer(10, 20, None)];
    assert_eq!(
        windows(&layers, Target::Latest).unwrap(),
        [(0, 10), (10, 20), (20, 30)]
    );
    assert_eq!(windows(&layers, at(20)).unwrap(), [(0, 10), (10, 20)]);
    assert_eq!(windows(&layers, at(10)).unwrap(), [(0, 10)]);
    let (before, after) = (Timestamp::from_nanos(10), Timestamp::from_nanos(20));
    let target = Timestamp::from_nanos(15);
    assert_eq!(
        chain(&layers, at(15)),
        Err(Error::NotInHistory {
            target,
            before,
            after
        })
    );
}

#[test]
fn history_opens_the_times_inside() {
    let layers = [
        layer(0, 10, Some(4)),
        layer(10, 20, Some(10)),
        layer(20, 30, None),
    ];
    assert_eq!(windows(&layers, at(4)).unwrap(), [(0, 10)]);
    assert_eq!(windows(&layers, at(11)).unwrap(), [(0, 10), (10, 20)]);
    assert_eq!(
        windows(&layers, at(30)).unwrap(),
        [(0, 10), (10, 20), (20, 30)]
    );
    assert!(
        matches!(chain(&layers, at(3)), Err(Error::OutsideCoverage { from, .. }) if from.nanos() == 4)
    );
    assert!(matches!(
        chain(&layers, at(21)),
        Err(Error::NotInHistory { .. })
    ));
    assert!(
        matches!(chain(&layers, at(31)), Err(Error::OutsideCoverage { until, .. }) if until.nanos() == 30)
    );
}

#[test]
fn a_gap_is_never_bridged_nor_passed_over_in_silence() {
    let layers = [layer(0, 10, None), layer(20, 30, None), layer(30, 40, None)];
    let gap = |target: u64| {
        let [target, after, before] = [target, 10, 20].map(Timestamp::from_nanos);
        Err(Error::ChainGap {
            target,
            after,
            before,
        })
    };
    assert_eq!(chain(&layers, Target::Latest), gap(40));
    assert_eq!(chain(&layers, at(30)), gap(30));
    assert_eq!(chain(&layers, at(15)), gap(15));
    assert_eq!(windows(&layers, at(10)).unwrap(), [(0, 10)]);
    assert!(
        matches!(chain(&layers, at(41)), Err(Error::OutsideCoverage { until, .. }) if until.nanos() == 10)
    );
}

#[test]
fn merged_layers_are_preferred_where_they_serve() {
    let layers = [
        layer(0, 10, None),
        layer(10, 20, None),
        layer(20, 30, None),
        layer(10, 30, None),
        layer(30, 40, None),
    ];
    assert_eq!(
        windows(&layers, Target::Latest).unwrap(),
        [(0, 10), (10, 30), (30, 40)]
    );
    assert_eq!(windows(&layers, at(20)).unwrap(), [(0, 10), (10, 20)]);
}

#[test]
fn without_a_full_there_is_nothing() {
    assert_eq!(chain(&[], Target::Latest), Err(Error::EmptyChain));
    assert_eq!(
        chain(&[layer(10, 20, None)], at(20)),
        Err(Error::EmptyChain)
    );
}

/// Every sequence of layers that joins from zero and whose last holds the time, by trying all of them.
fn all_plans(layers: &[LayerEntry], time: Timestamp) -> Vec<Vec<LayerEntry>> {
    let mut plans = Vec::new();
    let mut open: Vec<Vec<LayerEntry>> = vec![Vec::new()];
    while let Some(path) = open.pop() {
        let joins = |layer: &&LayerEntry| match path.last() {
            None => layer.path.incremental().is_none() && layer.start.nanos() == 0,
            Some(last) => {
                layer.path.incremental().is_some()
                    && layer.start == last.end
                    && layer.start < layer.end
            }
        };
        for layer in layers.iter().filter(joins) {
            let longer: Vec<LayerEntry> = path.iter().chain([layer]).cloned().collect();
            let after_start = layer.path.incremental().is_none() || layer.start < time;
            let inside = after_start
                && time < layer.end
                && layer.history_from.is_some_and(|from| from <= time);
            if time == layer.end || inside {
                plans.push(longer.clone());
            }
            open.push(longer);
        }
    }
    plans
}

fn any_layer() -> impl Strategy<Value = LayerEntry> {
    (0..6_u64, 1..5_u64, proptest::option::of(0..8_u64)).prop_map(|(start, length, history)| {
        layer(
            start,
            start + length,
            history.map(|from| if start == 0 { from } else { from.max(start) }),
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_planner_agrees_with_trying_everything(layers in proptest::collection::vec(any_layer(), 0..9), time in 0..12_u64) {
        let time = Timestamp::from_nanos(time);
        let all = all_plans(&layers, time);
        match chain(&layers, Target::At(time)) {
            Ok(plan) => {
                prop_assert!(all.contains(&plan), "{plan:?} is no way to {time:?}");
                prop_assert_eq!(Some(plan.len()), all.iter().map(Vec::len).min());
            }
            Err(error) => {
                prop_assert!(all.is_empty(), "{error} although {:?} is a way", all.first());
                check_the_times_named(&layers, &error);
            }
        }
        let mut shuffled = layers.clone();
        shuffled.reverse();
        prop_assert_eq!(chain(&layers, Target::At(time)), chain(&shuffled, Target::At(time)));
        if let Some(newest) = layers.iter().map(|layer| layer.end).max() {
            prop_assert_eq!(chain(&layers, Target::Latest), chain(&layers, Target::At(newest)));
        }
    }
}

/// What an error advises must work.
fn check_the_times_named(layers: &[LayerEntry], error: &Error) {
    let works = |time: &Timestamp| !all_plans(layers, *time).is_empty();
    match error {
        Error::EmptyChain => {}
        Error::OutsideCoverage {
            from,
            until,
            target,
        } => {
            assert!(
                works(from) && works(until) && (target < from || target > until),
                "{error}"
            );
        }
        Error::ChainGap { after, target, .. } => assert!(works(after) && after < target, "{error}"),
        Error::NotInHistory {
            before,
            after,
            target,
        } => {
            assert!(
                works(before) && works(after) && before < target && target < after,
                "{error}"
            );
        }
        other => panic!("{other}"),
    }
}

fn hash(name: &str) -> ContentHash {
    ContentHash::of(name.as_bytes())
}

/// A layer of a chain: its name, the end of its window, its parent, and what it merges.
type Layer<'a> = (&'a str, u64, Option<&'a str>, &'a [&'a str]);

/// Whether these layers, each beginning at the end of the one before it, are one chain.
fn is_one_chain(layers: &[Layer<'_>]) -> bool {
    let path = LayerPath::full_at("a".parse().unwrap());
    let merges: Vec<Vec<ContentHash>> = layers
        .iter()
        .map(|(_, _, _, merges)| merges.iter().map(|name| hash(name)).collect())
        .collect();
    let mut start = 0;
    let mut links = Vec::new();
    for ((name, end, parent, _), merges) in layers.iter().zip(&merges) {
        links.push(Link {
            layer: &path,
            chain_id: ChainId::from_bytes([1; 16]),
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(*end),
            hash: hash(name),
            parent: parent.map(hash),
            merges,
        });
        start = *end;
    }
    check_links(&links, &[]).is_ok()
}

#[test]
fn each_layer_continues_the_one_before_it() {
    let full: Layer<'_> = ("f", 10, None, &[]);
    let (one, two): (Layer<'_>, Layer<'_>) = (("1", 20, Some("f"), &[]), ("2", 30, Some("1"), &[]));
    for chain in [&[full][..], &[full, one], &[full, one, two]] {
        assert!(is_one_chain(chain), "{chain:?}");
    }
    for broken in [
        &[one][..],
        &[full, two],
        &[full, full],
        &[one, full],
        &[full, one, one],
    ] {
        assert!(!is_one_chain(broken), "{broken:?}");
    }
}

#[test]
fn what_continues_a_merged_layer_names_it_or_one_that_it_stands_for() {
    let full: Layer<'_> = ("f", 10, None, &[]);
    let merged: Layer<'_> = ("12", 30, Some("f"), &["1", "2"]);
    for next in [
        ("3", 40, Some("2"), &[][..]),
        ("4", 40, Some("12"), &[]),
        ("34", 50, Some("2"), &["3", "4"]),
    ] {
        assert!(is_one_chain(&[full, merged, next]), "{next:?}");
    }
    // Merged again, the last that the layer stands for is a merged one.
    let again: Layer<'_> = ("1212", 30, Some("f"), &["1", "2", "12"]);
    assert!(is_one_chain(&[full, again, ("3", 40, Some("2"), &[])]));
    assert!(!is_one_chain(&[full, merged, ("x", 40, Some("y"), &[])]));
    assert!(!is_one_chain(&[full, ("12", 30, Some("1"), &["1", "2"])]));
}

#[test]
fn another_chain_or_another_time_does_not_continue_this_one() {
    let path = LayerPath::full_at("a".parse().unwrap());
    let link = |chain: u8, start, end, name, parent: Option<&str>| Link {
        layer: &path,
        chain_id: ChainId::from_bytes([chain; 16]),
        start: Timestamp::from_nanos(start),
        end: Timestamp::from_nanos(end),
        hash: hash(name),
        parent: parent.map(hash),
        merges: &[],
    };
    let full = link(1, 0, 10, "f", None);
    assert!(check_links(&[full, link(1, 10, 20, "1", Some("f"))], &[]).is_ok());
    for other in [
        link(2, 10, 20, "1", Some("f")),
        link(1, 11, 20, "1", Some("f")),
    ] {
        let error = check_links(&[full, other], &[]);
        assert!(matches!(error, Err(Error::BrokenChain { .. })));
    }
}

#[test]
fn what_continues_one_merged_layer_continues_another_of_the_same_parts() {
    let path = LayerPath::full_at("a".parse().unwrap());
    let parts = [hash("1"), hash("2")];
    let more = [hash("1"), hash("2"), hash("x")];
    let less = [hash("1")];
    let link = |name, start, end, parent: &str, merges| Link {
        layer: &path,
        chain_id: ChainId::from_bytes([1; 16]),
        start: Timestamp::from_nanos(start),
        end: Timestamp::from_nanos(end),
        hash: hash(name),
        parent: Some(hash(parent)),
        merges,
    };
    let full = Link {
        parent: None,
        ..link("f", 0, 10, "", &[])
    };
    let (one, next) = (link("m", 10, 30, "f", &parts), link("3", 30, 40, "n", &[]));
    let chain = [full, one, next];
    let joins = |other| check_links(&chain, &[other]).is_ok();
    assert!(joins(link("n", 10, 30, "f", &parts)));
    assert!(joins(link("n", 20, 30, "1", &parts[1..])));
    for wrong in [
        link("o", 10, 30, "f", &parts),
        link("n", 10, 30, "f", &more),
        link("n", 10, 20, "f", &less),
        link("n", 10, 30, "f", &[]),
        Link {
            chain_id: ChainId::from_bytes([2; 16]),
            ..link("n", 10, 30, "f", &parts)
        },
    ] {
        assert!(!joins(wrong), "{wrong:?}");
    }
    assert!(check_links(&chain, &[]).is_err());
}

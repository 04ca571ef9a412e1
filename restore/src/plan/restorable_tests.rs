//! What a listing says can be restored is what a restore accepts, whatever the chain.

use std::collections::BTreeMap;

use icecore_archive::plan::{Restorable, Target, restorable};
use icecore_archive::{
    ChainId, CollectionId, IncrementalPath, LayerEntry, LayerKind, LayerPath, Manifest,
    ManifestKeyspace,
};
use icecore_mvcc::{Descriptor, EngineId, KeyspaceId, KeyspaceSettings, NamePattern, Timestamp};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

use super::*;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

/// The life of a keyspace. The third has the name of the first, after it.
const NAMES: [&str; 3] = ["bank.a", "bank.b", "bank.a"];

/// What a layer says of one keyspace.
#[derive(Debug, Clone)]
struct Held {
    introduced: bool,
    excluded: bool,
    revision_start: Option<u64>,
    /// Whether the manifest lists it although it was dropped in the layer's window.
    tells_drop: bool,
}

#[derive(Debug, Clone)]
struct Step {
    window: u64,
    revision_history: bool,
    held: Vec<Option<Held>>,
    /// The layer is lost, or is a merged one beside those that it covers.
    lost: bool,
    merged: bool,
}

#[derive(Debug, Clone)]
struct Case {
    /// Created, and for how long it lives.
    lives: Vec<(u64, Option<u64>)>,
    steps: Vec<Step>,
}

fn held() -> impl Strategy<Value = Option<Held>> {
    let fields = (
        prop::bool::weighted(0.2),
        prop::bool::weighted(0.1),
        of(0_u64..60),
        prop::bool::weighted(0.7),
    );
    let held = fields.prop_map(|(introduced, excluded, revision_start, tells_drop)| Held {
        introduced,
        excluded,
        revision_start,
        tells_drop,
    });
    prop::option::weighted(0.9, held)
}

fn step() -> impl Strategy<Value = Step> {
    (
        1_u64..10,
        any::<bool>(),
        vec(held(), 3),
        prop::bool::weighted(0.1),
        prop::bool::weighted(0.3),
    )
        .prop_map(|(window, revision_history, held, lost, merged)| Step {
            window,
            revision_history,
            held,
            lost,
            merged,
        })
}

fn case() -> impl Strategy<Value = Case> {
    let lives = vec((0_u64..20, of(1_u64..20)), 3);
    (lives, vec(step(), 1..6)).prop_map(|(lives, steps)| Case { lives, steps })
}

impl Case {
    fn descriptor(&self, number: usize, end: u64, held: &Held) -> Option<Descriptor> {
        let life = |number: usize| {
            let (created, lived) = self.lives[number];
            (created, lived.map(|lived| created + lived))
        };
        let (mut created, mut dropped) = life(number);
        if number == 2 {
            // A name is taken again only once it is free.
            let free = life(0).1?;
            (created, dropped) = (created + free, dropped.map(|dropped| dropped + free));
        }
        let dropped = dropped.filter(|dropped| *dropped <= end);
        let told = created <= end && (dropped.is_none() || held.tells_drop);
        told.then(|| Descriptor {
            id: KeyspaceId::new(u32::try_from(number).unwrap() + 1),
            name: NAMES[number].to_owned(),
            settings: KeyspaceSettings {
                exclude_from_backup: held.excluded,
                ..KeyspaceSettings::default()
            },
            created: at(created),
            dropped: dropped.map(at),
            introduced: at(created),
            index_since: Timestamp::MIN,
        })
    }

    fn manifest(&self, number: usize, step: &Step, start: u64, end: u64) -> Manifest {
        let full: FullPath = "full".parse().unwrap();
        let keyspaces = step.held.iter().enumerate().filter_map(|(id, held)| {
            let held = held.as_ref()?;
            Some(ManifestKeyspace {
                descriptor: self.descriptor(id, end, held)?,
                introduced: held.introduced || start == 0,
                gc_gap: None,
                revision_start: held
                    .revision_start
                    .filter(|_| step.revision_history)
                    .map(|from| at(from % (end + 1))),
                files: Vec::new(),
                fingerprint: None,
            })
        });
        let named = IncrementalPath::at(at((number as u64 + 1) * 1_000_000_000));
        Manifest {
            collection_id: CollectionId::from_bytes([1; 16]),
            chain_id: ChainId::from_bytes([2; 16]),
            engine_id: EngineId::from_bytes([3; 16]),
            engine_version: String::new(),
            tool_version: String::new(),
            kind: if start == 0 {
                LayerKind::Full
            } else {
                LayerKind::Incremental
            },
            layer: if start == 0 {
                LayerPath::full_at(full)
            } else {
                LayerPath::incremental_at(full, named)
            },
            parent_manifest: (start > 0).then(|| ContentHash::of(b"parent")),
            merges: Vec::new(),
            start: at(start),
            end: at(end),
            created_at: at(end),
            revision_history: step.revision_history,
            whole_engine: true,
            patterns: Vec::new(),
            keyspaces: keyspaces.collect(),
            system: BTreeMap::new(),
        }
    }

    fn manifests(&self) -> Vec<Manifest> {
        let mut manifests = Vec::new();
        let (mut end, mut before) = (0, 0);
        for (number, step) in self.steps.iter().enumerate() {
            let start = end;
            end += step.window;
            let mut add = |number: usize, start: u64| {
                let manifest = self.manifest(number, step, start, end);
                manifest.validate().unwrap();
                manifests.push(manifest);
            };
            if !step.lost {
                add(number, start);
            }
            if step.merged && before > 0 {
                add(number + 100, before);
            }
            before = start;
        }
        manifests
    }
}

fn entry(manifest: &Manifest) -> LayerEntry {
    LayerEntry {
        path: manifest.layer.clone(),
        start: manifest.start,
        end: manifest.end,
        history_from: manifest.history_from(),
        stored_bytes: 0,
        entries: 0,
        manifest_hash: ContentHash::of(manifest.layer.to_string().as_bytes()),
    }
}

/// Whether a restore of that keyspace as of that time is accepted.
fn accepts(layers: &[LayerEntry], manifests: &[Manifest], name: &str, time: u64) -> bool {
    let Ok(taken) = icecore_archive::plan::chain(layers, Target::At(at(time))) else {
        return false;
    };
    let taken: Vec<Manifest> = taken
        .iter()
        .filter_map(|layer| manifests.iter().find(|m| m.layer == layer.path).cloned())
        .collect();
    let options = RestoreOptions {
        keyspaces: vec![NamePattern::parse(name).unwrap()],
        ..RestoreOptions::default()
    };
    plan(&"full".parse().unwrap(), &taken, at(time), &options).is_ok()
}

fn is_listed(ranges: &[Restorable], name: &str, time: u64) -> bool {
    let holds = |range: &&Restorable| range.from <= at(time) && at(time) <= range.until;
    ranges
        .iter()
        .filter(|range| range.keyspace == name)
        .any(|range| holds(&range))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    #[test]
    fn a_time_is_listed_exactly_if_a_restore_accepts_it(case in case()) {
        let manifests = case.manifests();
        let layers: Vec<LayerEntry> = manifests.iter().map(entry).collect();
        let ranges = restorable(&layers, &manifests);
        for name in ["bank.a", "bank.b"] {
            for time in 0..60 {
                let accepted = accepts(&layers, &manifests, name, time);
                prop_assert_eq!(
                    is_listed(&ranges, name, time), accepted, "{} as of {}: {:?}", name, time, ranges
                );
            }
        }
        for (range, next) in ranges.iter().zip(ranges.iter().skip(1)) {
            prop_assert!(range.keyspace < next.keyspace || range.until.next() < next.from);
        }
    }
}

/// The random chains are no vacuous ones: among them are points, ranges, gaps and second lives.
#[test]
fn the_random_chains_have_what_there_is_to_find() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut points, mut spans, mut several, mut refused) = (0, 0, 0, 0);
    for _ in 0..500 {
        let manifests = case().new_tree(&mut runner).unwrap().current().manifests();
        let layers: Vec<LayerEntry> = manifests.iter().map(entry).collect();
        let ranges = restorable(&layers, &manifests);
        points += ranges.iter().filter(|r| r.from == r.until).count();
        spans += ranges.iter().filter(|r| r.from < r.until).count();
        several += usize::from(ranges.iter().filter(|r| r.keyspace == "bank.a").count() > 1);
        refused += usize::from(!manifests.is_empty() && ranges.is_empty());
    }
    let seen = [points, spans, several, refused];
    assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
}

#[test]
fn a_manifest_that_is_missing_takes_its_times_along() {
    let held = Some(Held {
        introduced: false,
        excluded: false,
        revision_start: None,
        tells_drop: true,
    });
    let step = Step {
        window: 10,
        revision_history: false,
        held: vec![held, None, None],
        lost: false,
        merged: false,
    };
    let case = Case {
        lives: vec![(1, None); 3],
        steps: vec![step; 3],
    };
    let manifests = case.manifests();
    let layers: Vec<LayerEntry> = manifests.iter().map(entry).collect();
    let times = |manifests: &[Manifest]| -> Vec<u64> {
        let ranges = restorable(&layers, manifests);
        ranges.iter().map(|range| range.until.nanos()).collect()
    };
    assert_eq!(times(&manifests), [10, 20, 30]);
    assert_eq!(times(&[manifests[0].clone(), manifests[2].clone()]), [10]);
    assert_eq!(times(&manifests[1..]), [0_u64; 0]);
}

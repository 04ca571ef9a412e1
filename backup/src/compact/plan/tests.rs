use icecore_archive::{ChainId, CollectionId, ContentHash, FileId, IncrementalPath, LayerKind};
use icecore_mvcc::{EngineId, KeyspaceSettings};

use super::*;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn full_path() -> FullPath {
    "2022/02/09-155340.13".parse().unwrap()
}

/// A file of a layer that covers `(start, end]`, or everything up to its end.
fn file(start: u64, end: u64) -> FileEntry {
    FileEntry {
        id: FileId::random(),
        span: FileEntry::span_of(b"a", b"z"),
        min_ts: at(start).next(),
        max_ts: at(end),
        entries: 10,
        tombstones: 1,
        logical_bytes: 100,
        stored_bytes: 50,
        crc32: 0,
        blake3: ContentHash::of(b""),
        copied: None,
        locality: None,
    }
}

/// A keyspace as a layer with history over `(start, end]` holds it.
fn keyspace(id: u32, start: u64, end: u64) -> ManifestKeyspace {
    ManifestKeyspace {
        descriptor: Descriptor {
            id: KeyspaceId::new(id),
            name: format!("bank.k{id}"),
            settings: KeyspaceSettings::default(),
            created: at(1),
            dropped: None,
            introduced: at(1),
            index_since: Timestamp::MIN,
        },
        introduced: start == 0,
        gc_gap: None,
        revision_start: Some(at(start)),
        files: vec![file(start, end)],
        fingerprint: None,
    }
}

fn part(start: u64, end: u64, keyspaces: Vec<ManifestKeyspace>) -> Part {
    let layer = match start {
        0 => LayerPath::full_at(full_path()),
        _ => LayerPath::incremental_at(full_path(), IncrementalPath::at(at(end * 10_000_000))),
    };
    let hash = |end: u64| ContentHash::of(&end.to_be_bytes());
    let manifest = Manifest {
        collection_id: CollectionId::from_bytes([1; 16]),
        chain_id: ChainId::from_bytes([2; 16]),
        engine_id: EngineId::from_bytes([3; 16]),
        engine_version: "0".to_owned(),
        tool_version: "0".to_owned(),
        kind: if start == 0 {
            LayerKind::Full
        } else {
            LayerKind::Incremental
        },
        layer: layer.clone(),
        parent_manifest: (start > 0).then(|| hash(start)),
        merges: Vec::new(),
        start: at(start),
        end: at(end),
        created_at: at(end),
        revision_history: true,
        whole_engine: true,
        patterns: Vec::new(),
        keyspaces,
        system: BTreeMap::new(),
    };
    Part {
        entry: LayerEntry {
            path: layer,
            start: at(start),
            end: at(end),
            history_from: manifest.history_from(),
            stored_bytes: manifest.stored_bytes(),
            entries: manifest.entries(),
            manifest_hash: hash(end),
        },
        manifest,
    }
}

/// A full up to 10 and incrementals up to 20, 30, …, with one keyspace.
fn way(incrementals: u64) -> Vec<Part> {
    (0..=incrementals)
        .map(|n| {
            let (start, end) = (n * 10, n * 10 + 10);
            part(start, end, vec![keyspace(7, start, end)])
        })
        .collect()
}

/// How many parts each merged layer has, and why the others are left.
fn planned(way: &[Part]) -> (Vec<usize>, Vec<String>) {
    let plan = plan(&full_path(), way, 0);
    let all = plan.merges.iter().map(|m| m.parts.len()).sum::<usize>() + plan.left.len();
    assert_eq!(
        all,
        way.len().saturating_sub(1),
        "every layer is told of once"
    );
    (
        plan.merges.iter().map(|m| m.parts.len()).collect(),
        plan.left.into_iter().map(|left| left.reason).collect(),
    )
}

#[test]
fn all_incrementals_become_one_layer() {
    assert_eq!(planned(&way(0)), (vec![], vec![]));
    let (merges, left) = planned(&way(1));
    assert!(merges.is_empty());
    assert_eq!(left, ["there is no other to merge it with"]);
    let way = way(3);
    assert_eq!(planned(&way), (vec![3], vec![]));
    let plan = plan(&full_path(), &way, 0);
    let merge = &plan.merges[0];
    assert_eq!((merge.start, merge.end), (at(10), at(40)));
    assert_eq!(Some(merge.merged.parent), way[1].manifest.parent_manifest);
    let hashes = way[1..].iter().map(|part| part.entry.manifest_hash);
    assert_eq!(merge.merged.merges, hashes.collect::<Vec<_>>());
    let [keyspace] = merge.keyspaces.as_slice() else {
        panic!("{merge:?}")
    };
    assert_eq!(keyspace.inputs.len(), 3);
    assert_eq!(keyspace.entries(), 30);
    assert!(!keyspace.keyspace.introduced);
    assert_eq!(keyspace.keyspace.revision_start, Some(at(10)));
}

#[test]
fn what_a_part_was_merged_of_is_named_too() {
    let mut way = way(2);
    let earlier = ContentHash::of(b"earlier");
    way[1].manifest.merges = vec![earlier];
    let plan = plan(&full_path(), &way, 0);
    let own = |n: usize| way[n].entry.manifest_hash;
    assert_eq!(plan.merges[0].merged.merges, [earlier, own(1), own(2)]);
}

#[test]
fn the_newest_are_kept_as_asked_for() {
    let way = way(4);
    let plan = plan(&full_path(), &way, 2);
    assert_eq!(plan.merges[0].parts.len(), 2);
    assert_eq!(plan.left.len(), 2);
    assert_eq!(plan.left[0].reason, "kept as asked for");
    assert!(super::plan(&full_path(), &way, 9).merges.is_empty());
}

#[test]
fn a_run_ends_where_merging_would_change_what_a_time_restores_to() {
    type Change = fn(&mut Vec<Part>);
    let cuts: [(&str, Change); 8] = [
        ("one keeps history", |way| {
            let part = &mut way[3].manifest;
            part.revision_history = false;
            part.keyspaces[0].revision_start = None;
            let part = &mut way[4].manifest;
            part.revision_history = false;
            part.keyspaces[0].revision_start = None;
        }),
        ("other keyspaces", |way| {
            for part in &mut way[3..] {
                part.manifest.patterns = vec!["bank.*".to_owned()];
            }
        }),
        ("taken up anew", |way| {
            way[3].manifest.keyspaces[0].introduced = true
        }),
        ("settings of keyspace bank.k7 changed", |way| {
            for part in &mut way[3..] {
                part.manifest.keyspaces[0].descriptor.settings.gc_ttl +=
                    std::time::Duration::from_secs(1);
            }
        }),
        ("settings of keyspace bank.k7 changed", |way| {
            for part in &mut way[3..] {
                let keyspace = &mut part.manifest.keyspaces[0];
                keyspace.descriptor.settings.exclude_from_backup = true;
                keyspace.files.clear();
                keyspace.revision_start = None;
            }
        }),
        ("has a gap", |way| {
            way[3].manifest.keyspaces[0].revision_start = Some(at(35));
        }),
        ("no layer says when", |way| {
            for (n, part) in way.iter_mut().enumerate() {
                let (start, end) = (n as u64 * 10, n as u64 * 10 + 10);
                if n < 3 {
                    part.manifest.keyspaces.push(keyspace(8, start, end));
                }
            }
        }),
        ("without any keyspace", |way| {
            way[2].manifest.keyspaces[0].descriptor.dropped = Some(at(25));
            for part in &mut way[3..] {
                let mut later = keyspace(9, 0, 40);
                later.descriptor.created = at(35);
                part.manifest.keyspaces = vec![later];
            }
            way[4].manifest.keyspaces[0].introduced = false;
            way[4].manifest.keyspaces[0].revision_start = Some(at(40));
        }),
    ];
    for (reason, change) in cuts {
        let mut way = way(4);
        change(&mut way);
        let plan = plan(&full_path(), &way, 0);
        let cut = runs(&way)
            .into_iter()
            .filter_map(|run| run.cut)
            .map(|cut| cut.to_string());
        let cuts: Vec<String> = cut.collect();
        assert!(
            cuts.iter().any(|cut| cut.contains(reason)),
            "{reason}: {cuts:?}"
        );
        for merge in &plan.merges {
            let covers_both = merge.start < at(30) && at(30) < merge.end;
            assert!(!covers_both, "{reason}: {plan:?}");
        }
    }
}

#[test]
fn a_layer_that_loses_a_keyspace_is_merged_with_none_after_it() {
    let mut way = way(3);
    way[0].manifest.keyspaces.push(keyspace(8, 0, 10));
    assert_eq!(planned(&way).0, [2]);
    assert_eq!(plan(&full_path(), &way, 0).merges[0].start, at(20));
}

#[test]
fn what_is_dropped_within_stays_listed_with_its_history() {
    let mut way = way(3);
    let mut short = keyspace(8, 0, 20);
    short.descriptor.created = at(15);
    way[1].manifest.keyspaces.push(short.clone());
    short.introduced = false;
    short.revision_start = Some(at(20));
    short.descriptor.dropped = Some(at(25));
    short.files = vec![file(20, 24)];
    way[2].manifest.keyspaces.push(short);
    let plan = plan(&full_path(), &way, 0);
    let merged = &plan.merges[0].keyspaces[1];
    assert_eq!(merged.keyspace.descriptor.dropped, Some(at(25)));
    assert!(merged.keyspace.introduced);
    assert_eq!(merged.keyspace.revision_start, Some(at(0)));
    assert_eq!(merged.inputs.len(), 2);
}

#[test]
fn without_history_only_the_end_counts() {
    let mut way = way(4);
    for part in &mut way {
        part.manifest.revision_history = false;
        for keyspace in &mut part.manifest.keyspaces {
            keyspace.revision_start = None;
        }
    }
    // One that is gone at the end, one that comes in anew, one that is left out at the end.
    let mut gone = keyspace(8, 10, 20);
    gone.revision_start = None;
    way[1].manifest.keyspaces.push(gone);
    way[3].manifest.keyspaces[0].introduced = true;
    let mut out = keyspace(9, 10, 20);
    out.revision_start = None;
    way[2].manifest.keyspaces.push(out.clone());
    out.descriptor.settings.exclude_from_backup = true;
    out.files.clear();
    way[3].manifest.keyspaces.push(out.clone());
    way[4].manifest.keyspaces.push(out);
    let plan = plan(&full_path(), &way, 0);
    let [merge] = plan.merges.as_slice() else {
        panic!("{plan:?}")
    };
    assert!(!merge.revision_history);
    let ids: Vec<u32> = merge
        .keyspaces
        .iter()
        .map(|k| k.keyspace.descriptor.id.get())
        .collect();
    assert_eq!(ids, [7, 9]);
    let anew = &merge.keyspaces[0];
    assert!(anew.keyspace.introduced);
    assert_eq!(
        anew.inputs.len(),
        2,
        "what was held before it came in anew is left out"
    );
    assert!(merge.keyspaces[1].inputs.is_empty());
}

use icecore_archive::{ChainId, CollectionId, FullPath, LayerPath, ManifestKeyspace};
use icecore_mvcc::KeyspaceSettings;

use super::*;

const OURS: EngineId = EngineId::from_bytes([1; 16]);

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn descriptor(id: u32, name: &str, introduced: u64) -> Descriptor {
    Descriptor {
        id: KeyspaceId::new(id),
        name: name.to_owned(),
        settings: KeyspaceSettings::default(),
        created: at(introduced),
        dropped: None,
        introduced: at(introduced),
        index_since: Timestamp::MIN,
    }
}

fn parent(end: u64, patterns: &[&str], covered: &[Descriptor]) -> Manifest {
    let full: FullPath = "2022/02/09-155340.13".parse().unwrap();
    Manifest {
        collection_id: CollectionId::random(),
        chain_id: ChainId::random(),
        engine_id: OURS,
        engine_version: "0".to_owned(),
        tool_version: "0".to_owned(),
        kind: LayerKind::Full,
        layer: LayerPath::full_at(full),
        parent_manifest: None,
        merges: Vec::new(),
        start: Timestamp::MIN,
        end: at(end),
        created_at: at(end),
        revision_history: false,
        whole_engine: patterns.is_empty(),
        patterns: patterns.iter().map(ToString::to_string).collect(),
        keyspaces: covered
            .iter()
            .map(|d| ManifestKeyspace {
                descriptor: d.clone(),
                introduced: true,
                gc_gap: None,
                revision_start: None,
                files: Vec::new(),
                fingerprint: None,
            })
            .collect(),
        system: BTreeMap::new(),
    }
}

fn run(
    parent: Option<&Manifest>,
    end: u64,
    live: &[Descriptor],
    patterns: &[&str],
) -> Result<BackupPlan> {
    run_with(parent, end, live, live, patterns)
}

/// With what the engine has by now.
fn run_with(
    parent: Option<&Manifest>,
    end: u64,
    live: &[Descriptor],
    present: &[Descriptor],
    patterns: &[&str],
) -> Result<BackupPlan> {
    let patterns: Vec<NamePattern> = patterns
        .iter()
        .map(|p| NamePattern::parse(p).unwrap())
        .collect();
    plan(&Inputs {
        lost: &BTreeSet::new(),
        engine_id: OURS,
        parent: parent.map(|manifest| Parent {
            chain: "2022/02/09-155340.13",
            manifest,
        }),
        end: at(end),
        live,
        present,
        patterns: &patterns,
        revision_history: false,
        thresholds: &BTreeMap::new(),
        on_gc_gap: OnGcGap::Error,
    })
}

/// An incremental from 100 to 200 of these, with their thresholds by now.
fn run_with_gaps(
    live: &[Descriptor],
    thresholds: &[(u32, u64)],
    on_gc_gap: OnGcGap,
) -> Result<BackupPlan> {
    let manifest = parent(100, &[], live);
    let thresholds = thresholds.iter();
    plan(&Inputs {
        lost: &BTreeSet::from([KeyspaceId::new(9)]),
        engine_id: OURS,
        parent: Some(Parent {
            chain: "2022/02/09-155340.13",
            manifest: &manifest,
        }),
        end: at(200),
        live,
        present: live,
        patterns: &[],
        revision_history: true,
        thresholds: &thresholds
            .map(|(id, t)| (KeyspaceId::new(*id), at(*t)))
            .collect(),
        on_gc_gap,
    })
}

#[test]
fn a_threshold_past_the_chains_end_is_an_error_or_takes_that_keyspace_from_zero() {
    let live = [
        descriptor(1, "a", 10),
        descriptor(2, "b", 10),
        descriptor(3, "c", 10),
    ];
    let thresholds = [(1, 100), (2, 101)];
    let error = run_with_gaps(&live, &thresholds, OnGcGap::Error).unwrap_err();
    assert!(
        matches!(&error, Error::GcGap { keyspace, start, threshold, .. }
            if keyspace == "b" && *start == at(100) && *threshold == at(101)),
        "{error}"
    );
    let mut plan = run_with_gaps(&live, &thresholds, OnGcGap::Reexport).unwrap();
    let shape = |plan: &BackupPlan| -> Vec<_> {
        let keyspaces = plan.keyspaces.iter();
        keyspaces
            .map(|k| (k.introduced, k.after, k.gc_gap))
            .collect()
    };
    let window = (false, at(100), None);
    assert_eq!(shape(&plan), [window, (true, at(0), Some(at(101))), window]);
    // Thresholds that rise later close more of them, and those that are whole already stay so.
    let risen = BTreeMap::from([(KeyspaceId::new(1), at(150)), (KeyspaceId::new(2), at(150))]);
    assert!(plan.clone().close_gaps(&risen, OnGcGap::Error).is_err());
    assert_eq!(plan.close_gaps(&risen, OnGcGap::Reexport).unwrap(), 1);
    assert_eq!(plan.close_gaps(&risen, OnGcGap::Error).unwrap(), 0);
    assert_eq!(
        shape(&plan),
        [
            (true, at(0), Some(at(150))),
            (true, at(0), Some(at(101))),
            window
        ]
    );
}

#[test]
fn of_what_is_not_read_a_threshold_does_not_count() {
    let mut excluded = descriptor(1, "a", 10);
    excluded.settings.exclude_from_backup = true;
    let lost = descriptor(9, "b", 10);
    let thresholds = [(1, 150), (9, 150)];
    run_with_gaps(&[excluded, lost], &thresholds, OnGcGap::Error).unwrap();
}

fn starts(plan: &BackupPlan) -> Vec<(&str, u64)> {
    plan.keyspaces
        .iter()
        .map(|k| (k.descriptor.name.as_str(), k.after.nanos()))
        .collect()
}

#[test]
fn a_full_takes_everything_from_zero() {
    let live = [descriptor(1, "bank.a", 5), descriptor(2, "shop.b", 6)];
    let plan = run(None, 100, &live, &[]).unwrap();
    assert!(plan.whole_engine && plan.kind == LayerKind::Full);
    assert_eq!(starts(&plan), [("bank.a", 0), ("shop.b", 0)]);
    let plan = run(None, 100, &live, &["bank.*"]).unwrap();
    assert!(!plan.whole_engine);
    assert_eq!(starts(&plan), [("bank.a", 0)]);
}

#[test]
fn an_incremental_introduces_what_its_chain_does_not_cover_from_zero() {
    let known = descriptor(1, "a", 5);
    let restored_since = Descriptor {
        introduced: at(70),
        ..descriptor(2, "b", 6)
    };
    let mut was_excluded = descriptor(3, "c", 7);
    was_excluded.settings.exclude_from_backup = true;
    let parent = parent(
        50,
        &[],
        &[known.clone(), descriptor(2, "b", 6), was_excluded],
    );
    let live = [
        known,
        restored_since,
        descriptor(3, "c", 7),
        descriptor(4, "new", 60),
    ];
    let plan = run(Some(&parent), 100, &live, &[]).unwrap();
    assert_eq!(starts(&plan), [("a", 50), ("b", 0), ("c", 0), ("new", 0)]);
    assert_eq!(plan.start, at(50));
}

#[test]
fn a_name_taken_again_is_another_keyspace() {
    let parent = parent(50, &[], &[descriptor(1, "a", 5)]);
    let plan = run(Some(&parent), 100, &[descriptor(9, "a", 60)], &[]).unwrap();
    assert_eq!(starts(&plan), [("a", 0)]);
}

#[test]
fn refusals_name_both_sides() {
    let live = [descriptor(1, "a", 5)];
    let text = |r: Result<BackupPlan>| r.unwrap_err().to_string();
    let mut foreign = parent(50, &[], &live);
    foreign.engine_id = EngineId::from_bytes([2; 16]);
    let refused = text(run(Some(&foreign), 100, &live, &[]));
    assert!(
        refused.contains(&OURS.to_string()) && refused.contains(&foreign.engine_id.to_string()),
        "{refused}"
    );
    let chain = parent(50, &["a"], &live);
    let refused = text(run(Some(&chain), 50, &live, &[]));
    assert!(
        refused.contains("reaches 1970-01-01T00:00:00.000000050Z already"),
        "{refused}"
    );
    let refused = text(run(Some(&chain), 100, &live, &["b"]));
    assert!(
        refused.contains("covers a, the incremental asks for b"),
        "{refused}"
    );
    let refused = text(run(None, 100, &live, &["bank.*"]));
    assert!(
        refused.starts_with("no keyspace matches bank.* as of"),
        "{refused}"
    );
}

#[test]
fn a_chain_goes_on_when_its_keyspaces_are_gone() {
    let parent = parent(50, &["a"], &[descriptor(1, "a", 5)]);
    assert_eq!(run(Some(&parent), 100, &[], &[]).unwrap().keyspaces, []);
}

fn restored(id: u32, name: &str, at_time: u64) -> Descriptor {
    Descriptor {
        index_since: at(at_time),
        ..descriptor(id, name, at_time)
    }
}

/// Bug: a backup as of a time before the restore of all that it selects held nothing, and said so in a
/// warning at most.
#[test]
fn a_time_before_the_restore_of_all_that_is_selected_is_refused() {
    let audit = descriptor(1, "audit", 5);
    let gone = Descriptor {
        dropped: Some(at(60)),
        ..descriptor(2, "old", 5)
    };
    let present = [
        audit.clone(),
        gone.clone(),
        restored(4, "bank.b", 80),
        restored(3, "bank.a", 70),
        restored(5, "old", 80),
    ];
    let refused = |parent: Option<&Manifest>, live: &[Descriptor], patterns: &[&str]| {
        let planned = run_with(parent, 65, live, &present, patterns);
        match planned.unwrap_err() {
            Error::RestoredLater {
                keyspace,
                end,
                restored,
            } => (keyspace, end.nanos(), restored.nanos()),
            other => panic!("{other}"),
        }
    };
    let bank = ("bank.a".to_owned(), 65, 70);
    assert_eq!(refused(None, &[], &[]), bank);
    // History of what was dropped before is no keyspace as of the end.
    assert_eq!(refused(None, std::slice::from_ref(&gone), &[]), bank);
    assert_eq!(refused(None, &[], &["bank.*"]), bank);
    let live = std::slice::from_ref(&audit);
    assert_eq!(refused(None, live, &["audit", "bank.*"]), bank);
    let old = ("old".to_owned(), 65, 80);
    assert_eq!(refused(None, std::slice::from_ref(&gone), &["old"]), old);
    // An incremental too.
    let chain = parent(50, &["old"], std::slice::from_ref(&gone));
    assert_eq!(refused(Some(&chain), &[], &[]), old);
    let chain = parent(50, &[], std::slice::from_ref(&gone));
    assert_eq!(refused(Some(&chain), &[], &[]), bank);
}

#[test]
fn what_was_restored_later_is_no_hindrance_to_what_was_there() {
    let audit = descriptor(1, "audit", 5);
    let live = std::slice::from_ref(&audit);
    let present = [audit.clone(), restored(3, "bank.a", 70)];
    for patterns in [&[][..], &["audit"], &["*"]] {
        let plan = run_with(None, 65, live, &present, patterns).unwrap();
        assert_eq!(starts(&plan), [("audit", 0)]);
    }
    let plan = run_with(None, 70, &present, &present, &["bank.*"]).unwrap();
    assert_eq!(starts(&plan), [("bank.a", 0)]);
    // What was created later had no past that could be missed.
    let later = descriptor(3, "bank.a", 70);
    let text = |patterns: &[&str]| {
        run_with(None, 65, &[], std::slice::from_ref(&later), patterns)
            .map(|plan| plan.keyspaces.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(text(&[]), Ok(0));
    assert!(
        text(&["bank.*"])
            .unwrap_err()
            .starts_with("no keyspace matches bank.*")
    );
}

use icecore_archive::{ContentHash, FileEntry, FullPath};
use icecore_mvcc::{Descriptor, KeyRange, KeyspaceId, KeyspaceSettings};

use super::*;

fn at(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn full() -> FullPath {
    "2022/02/09-155340.13".parse().unwrap()
}

fn file(stored_bytes: u64, max_ts: u64) -> PlannedFile {
    PlannedFile {
        file: FileEntry {
            id: FileId::random(),
            span: KeyRange::all(),
            min_ts: at(1),
            max_ts: at(max_ts),
            entries: 1,
            tombstones: 0,
            logical_bytes: 10,
            stored_bytes,
            crc32: 0,
            blake3: ContentHash::of(b""),
            copied: None,
            locality: None,
        },
        rewrite: max_ts > 100,
    }
}

/// One keyspace with one layer, as of 100.
fn plan_of(files: Vec<PlannedFile>) -> RestorePlan {
    let path = LayerPath::full_at(full());
    RestorePlan {
        full: full(),
        layers: vec![path.clone()],
        target: at(100),
        whole_engine: true,
        schedules: std::collections::BTreeMap::new(),
        keyspaces: vec![PlannedRestore {
            name: "new".to_owned(),
            source: Descriptor {
                id: KeyspaceId::new(1),
                name: "old".to_owned(),
                settings: KeyspaceSettings::default(),
                created: at(1),
                dropped: None,
                introduced: at(1),
                index_since: Timestamp::MIN,
            },
            threshold: at(50),
            layers: vec![PlannedLayer { path, files }],
            fingerprint: None,
        }],
        schema_only: false,
        restore_id: "id".to_owned(),
        planning: Requests {
            get: 3,
            head: 0,
            list: 2,
        },
    }
}

/// Those layers, and nothing staged.
fn brought(layers: BTreeMap<String, Vec<String>>) -> Ingested {
    Ingested {
        layers,
        ..Ingested::default()
    }
}

#[test]
fn each_file_is_one_read_and_those_that_straddle_are_named() {
    let plan = plan_of(vec![file(10, 90), file(20, 110), file(30, 120)]);
    let straddling: Vec<FileId> = plan.keyspaces[0].files().map(|f| f.file.id).collect();
    let told = DryRun::new(plan, &Ingested::default());
    let requests = Requests {
        get: 6,
        head: 0,
        list: 2,
    };
    assert_eq!(told.requests, requests);
    assert_eq!((told.files, told.fetched_bytes), (3, 60));
    let rewrites: Vec<_> = told.rewrites.iter().map(|r| (r.file, r.newest)).collect();
    assert_eq!(
        rewrites,
        [(straddling[1], at(110)), (straddling[2], at(120))]
    );
    assert_eq!(told.rewrites[0].keyspace, "new");
}

#[test]
fn room_is_needed_for_all_files_and_for_those_being_rewritten_once_more() {
    let plan = plan_of(vec![
        file(10, 90),
        file(20, 110),
        file(40, 120),
        file(30, 130),
    ]);
    assert_eq!(Ingested::default().space_bytes(&plan), 100 + 40 + 30 + 20);
}

#[test]
fn copied_files_are_rewritten_together_and_brought_before_the_others() {
    let mut files = vec![file(40, 120), file(30, 120), file(5, 90)];
    for file in files.iter_mut().take(2) {
        file.file.copied = Some(icecore_archive::CopiedFile {
            source: ContentHash::of(b"source"),
            level: 0,
        });
    }
    let plan = plan_of(files);
    assert_eq!(Ingested::default().space_bytes(&plan), 75 + 70);
    let tags = vec![copied_tag(&plan.layers[0])];
    let some = brought(BTreeMap::from([("new".to_owned(), tags)]));
    let told = DryRun::new(plan, &some);
    assert_eq!(
        (told.files, told.fetched_bytes, told.space_bytes),
        (1, 5, 5)
    );
}

#[test]
fn what_an_interrupted_run_brought_is_not_fetched_again() {
    let plan = plan_of(vec![file(10, 90), file(20, 110)]);
    let tag = plan.layers[0].to_string();
    let other = BTreeMap::from([("old".to_owned(), vec![tag.clone()])]);
    let ours = BTreeMap::from([("new".to_owned(), vec![tag])]);
    assert_eq!(brought(other).space_bytes(&plan), 50);
    let told = DryRun::new(plan.clone(), &brought(ours));
    assert_eq!(
        (told.files, told.fetched_bytes, told.space_bytes),
        (0, 0, 0)
    );
    assert_eq!((told.requests, told.rewrites.len()), (plan.planning, 0));
}

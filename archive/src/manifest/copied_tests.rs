//! Manifests of fast fulls.

use super::tests::{file, golden_manifest};
use super::*;

/// A full whose first keyspace has a copied file and one of its own.
fn fast_manifest() -> Manifest {
    let mut manifest = golden_manifest();
    manifest.kind = LayerKind::Full;
    manifest.start = Timestamp::MIN;
    manifest.parent_manifest = None;
    manifest.layer = LayerPath::full_at(manifest.layer.full().clone());
    let end = manifest.end;
    for keyspace in &mut manifest.keyspaces {
        keyspace.introduced = true;
        keyspace.files.clear();
    }
    manifest.keyspaces[0].files = vec![
        FileEntry {
            min_ts: Timestamp::MIN,
            max_ts: end,
            tombstones: 0,
            copied: Some(CopiedFile {
                source: ContentHash::of(b"source"),
                level: 6,
            }),
            ..file(4)
        },
        file(5),
    ];
    manifest
}

#[test]
fn golden_json() {
    let json = serde_json::to_string_pretty(&fast_manifest()).unwrap() + "\n";
    crate::golden::check("manifest-fast-v1.json", json.as_bytes());
    assert_eq!(
        serde_json::from_str::<Manifest>(&json).unwrap(),
        fast_manifest()
    );
    let manifest = fast_manifest();
    assert_eq!(manifest.validate(), Ok(()));
    assert!(manifest.is_fast() && !golden_manifest().is_fast());
    assert_eq!(manifest.keyspaces[0].copied_files().len(), 1);
}

#[test]
fn a_copied_file_may_hold_physical_deletes_only() {
    let mut manifest = fast_manifest();
    manifest.keyspaces[0].files[0].entries = 0;
    assert_eq!(manifest.validate(), Ok(()));
    manifest.keyspaces[0].files[1].entries = 0;
    manifest.keyspaces[0].files[1].tombstones = 0;
    assert!(manifest.validate().is_err());
}

#[test]
fn where_copied_files_cannot_be() {
    type Change = fn(&mut Manifest);
    let cases: [(Change, &str); 3] = [
        (|m| m.keyspaces[0].files.reverse(), "come after others"),
        (
            |m| m.revision_history = false,
            "not a full backup with history",
        ),
        (
            |m| {
                let copied = m.keyspaces[0].files[0].clone();
                *m = golden_manifest();
                m.keyspaces[1].files = vec![copied];
            },
            "not a full backup with history",
        ),
    ];
    for (change, expected) in cases {
        let mut manifest = fast_manifest();
        change(&mut manifest);
        let found = manifest.validate().unwrap_err();
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn each_file_has_one_place() {
    let manifest = fast_manifest();
    let paths: Vec<String> = manifest
        .files()
        .map(|(_, file)| manifest.layer.file_path(file))
        .collect();
    assert_eq!(
        paths,
        [
            "data/04040404040404040404040404040404.sst",
            "2022/02/08-000000.00/data/05050505050505050505050505050505.sst"
        ]
    );
}

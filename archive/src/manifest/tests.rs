use std::time::Duration;

use icecore_mvcc::{KeyspaceId, KeyspaceSettings};
use proptest::prelude::*;

use super::codec::{self, Decoded, EncodedManifest, FileList, ListLimits, SideFile};
use super::*;
use crate::error::Error;
use crate::path::FullPath;

const PATH: &str = "a/BACKUP_MANIFEST";

// Not sealed: what is, `seal` tests.

fn encode(manifest: &Manifest, path: &str, limits: ListLimits) -> crate::Result<EncodedManifest> {
    codec::encode(manifest, path, limits, &Seal::default())
}

fn decode(path: &str, object: &[u8]) -> crate::Result<Decoded> {
    codec::decode(path, object, &Seal::default())
}

fn decode_side_file(side_file: &SideFile, path: &str, object: &[u8]) -> crate::Result<FileList> {
    codec::decode_side_file(side_file, path, object, &Seal::default())
}

fn time(nanos: u64) -> Timestamp {
    Timestamp::from_nanos(nanos)
}

fn descriptor(id: u32, name: &str) -> Descriptor {
    Descriptor {
        id: KeyspaceId::new(id),
        name: name.to_owned(),
        settings: KeyspaceSettings {
            gc_ttl: Duration::from_secs(4 * 3600),
            ..KeyspaceSettings::default()
        },
        created: time(1_644_000_000_000_000_000),
        dropped: None,
        introduced: time(1_644_000_000_000_000_000),
        index_since: time(1_644_000_000_000_000_000),
    }
}

pub(crate) fn file(number: u8) -> FileEntry {
    FileEntry {
        id: FileId::from_bytes([number; 16]),
        span: FileEntry::span_of(b"flight/1\x00", b"flight/9\xff"),
        min_ts: time(1_644_400_000_000_000_001),
        max_ts: time(1_644_422_000_000_000_000),
        entries: 12,
        tombstones: 3,
        logical_bytes: 1000,
        stored_bytes: 700,
        crc32: 0xcbf4_3926,
        blake3: ContentHash::of(&[number]),
        copied: None,
        locality: None,
    }
}

/// An incremental of fixed content: what the golden files pin.
pub(crate) fn golden_manifest() -> Manifest {
    let incremental = "20220209/155340.13".parse().unwrap();
    Manifest {
        collection_id: CollectionId::from_bytes([1; 16]),
        chain_id: ChainId::from_bytes([2; 16]),
        engine_id: EngineId::from_bytes([3; 16]),
        engine_version: "0.1.0".to_owned(),
        tool_version: "0.1.0".to_owned(),
        kind: LayerKind::Incremental,
        layer: LayerPath::incremental_at("2022/02/08-000000.00".parse().unwrap(), incremental),
        parent_manifest: Some(ContentHash::of(b"parent")),
        merges: Vec::new(),
        start: time(1_644_400_000_000_000_000),
        end: time(1_644_422_020_130_000_000),
        created_at: time(1_644_422_021_000_000_000),
        revision_history: true,
        whole_engine: false,
        patterns: vec!["nyc.*".to_owned()],
        keyspaces: vec![
            ManifestKeyspace {
                descriptor: descriptor(7, "nyc.flights"),
                introduced: false,
                gc_gap: None,
                revision_start: Some(time(1_644_400_000_000_000_000)),
                files: vec![file(4), file(5)],
                fingerprint: None,
            },
            ManifestKeyspace {
                descriptor: descriptor(8, "nyc.weather"),
                introduced: true,
                gc_gap: None,
                revision_start: None,
                files: vec![],
                fingerprint: None,
            },
        ],
        system: BTreeMap::new(),
    }
}

/// Reads what was encoded.
fn read(encoded: &EncodedManifest) -> crate::Result<Manifest> {
    let mut decoded = decode(PATH, &encoded.object)?;
    for side_file in decoded.side_files().to_vec() {
        let (_, object) = encoded
            .side_files
            .iter()
            .find(|(name, _)| *name == side_file.name)
            .unwrap();
        decoded.add(
            decode_side_file(&side_file, &side_file.name, object)?,
            &side_file.name,
        )?;
    }
    decoded.finish(PATH)
}

#[test]
fn golden_json() {
    let json = serde_json::to_string_pretty(&golden_manifest()).unwrap() + "\n";
    crate::golden::check("manifest-v1.json", json.as_bytes());
}

#[test]
fn golden_json_with_a_gap() {
    let mut manifest = golden_manifest();
    manifest.keyspaces[1].gc_gap = Some(manifest.start.next());
    let json = serde_json::to_string_pretty(&manifest.keyspaces[1]).unwrap() + "\n";
    crate::golden::check("manifest-v1-gap.json", json.as_bytes());
    assert_eq!(
        serde_json::from_str::<ManifestKeyspace>(&json).unwrap(),
        manifest.keyspaces[1]
    );
}

#[test]
fn golden_object_of_version_1_reads() {
    // Compressed bytes may differ between versions of zstd, so the file is read, not compared.
    crate::golden::bless(
        "manifest-v1.icem",
        &encode(&golden_manifest(), PATH, ListLimits::default())
            .unwrap()
            .object,
    );
    let object = crate::golden::read("manifest-v1.icem");
    assert_eq!(
        Manifest::from_object(PATH, &object).unwrap(),
        golden_manifest()
    );
    let decoded = decode(PATH, &object).unwrap();
    assert_eq!(decoded.side_files(), []);
    assert_eq!(decoded.finish(PATH).unwrap(), golden_manifest());
}

#[test]
fn unknown_fields_are_ignored() {
    let mut json: serde_json::Value = serde_json::to_value(golden_manifest()).unwrap();
    json["sealed_by_a_later_version"] = serde_json::json!({"x": 1});
    json["keyspaces"][0]["files"][0]["colour"] = serde_json::json!("blue");
    assert_eq!(
        serde_json::from_value::<Manifest>(json).unwrap(),
        golden_manifest()
    );
}

#[test]
fn long_lists_go_to_side_files() {
    let mut manifest = golden_manifest();
    manifest.keyspaces[1].files = (10..15).map(file).collect();
    let limits = ListLimits {
        files: 3,
        json_bytes: usize::MAX,
    };
    let encoded = encode(&manifest, PATH, limits).unwrap();
    let names: Vec<&str> = encoded
        .side_files
        .iter()
        .map(|(name, _)| &name[..14])
        .collect();
    assert_eq!(
        names,
        ["BACKUP_FILES-0", "BACKUP_FILES-1", "BACKUP_FILES-2"]
    );
    assert_eq!(read(&encoded).unwrap(), manifest);
    let by_bytes = encode(
        &manifest,
        PATH,
        ListLimits {
            files: 100,
            json_bytes: 1000,
        },
    )
    .unwrap();
    assert!(by_bytes.side_files.len() > 1);
    assert_eq!(read(&by_bytes).unwrap(), manifest);
    assert!(
        encode(
            &manifest,
            PATH,
            ListLimits {
                files: 7,
                json_bytes: usize::MAX
            }
        )
        .unwrap()
        .side_files
        .is_empty()
    );
}

#[test]
fn a_side_file_that_was_swapped_or_damaged_is_refused() {
    let limits = ListLimits {
        files: 1,
        json_bytes: usize::MAX,
    };
    let encoded = encode(&golden_manifest(), PATH, limits).unwrap();
    let decoded = decode(PATH, &encoded.object).unwrap();
    let side_files = decoded.side_files().to_vec();
    let swapped = decode_side_file(&side_files[0], "BACKUP_FILES-0", &encoded.side_files[1].1);
    assert!(
        matches!(swapped, Err(Error::HashMismatch { .. })),
        "{swapped:?}"
    );
    let mut damaged = encoded.side_files[0].1.to_vec();
    damaged[20] ^= 1;
    assert!(decode_side_file(&side_files[0], "BACKUP_FILES-0", &damaged).is_err());
}

#[test]
fn what_cannot_be_is_refused_when_written_and_when_read() {
    type Change = fn(&mut Manifest);
    let breaks: [(&str, Change); 15] = [
        ("twice", |m| {
            m.keyspaces[1].descriptor.id = m.keyspaces[0].descriptor.id
        }),
        ("twice", |m| {
            m.keyspaces[0].files[1].id = m.keyspaces[0].files[0].id
        }),
        ("exclude each other", |m| {
            m.keyspaces[0].files[0].tombstones = 13
        }),
        ("exclude each other", |m| {
            m.keyspaces[0].files[0].min_ts = Timestamp::MAX
        }),
        ("exclude each other", |m| {
            m.keyspaces[0].files[0].span = KeyRange::new(vec![2], Some(vec![1]))
        }),
        ("exclude each other", |m| {
            m.keyspaces[0].files[0].entries = 0;
            m.keyspaces[0].files[0].tombstones = 0;
        }),
        ("the layer covers", |m| {
            m.keyspaces[0].files[0].max_ts = m.end.next()
        }),
        ("the layer covers", |m| {
            m.keyspaces[0].files[0].min_ts = m.start
        }),
        ("begins after", |m| {
            m.keyspaces[0].revision_start = Some(m.end.next())
        }),
        ("not after its start", |m| m.start = m.end),
        ("has a parent", |m| m.parent_manifest = None),
        ("has a parent", |m| {
            m.layer = LayerPath::full_at(FullPath::at(m.end))
        }),
        ("has no start", |m| m.kind = LayerKind::Full),
        ("is not taken from zero", |m| {
            m.keyspaces[0].gc_gap = Some(m.start.next())
        }),
        ("not after the layer's start", |m| {
            m.keyspaces[1].gc_gap = Some(m.start)
        }),
    ];
    for (reason, change) in breaks {
        let mut manifest = golden_manifest();
        change(&mut manifest);
        let error = encode(&manifest, PATH, ListLimits::default())
            .unwrap_err()
            .to_string();
        assert!(error.contains(reason), "{error}");
        // A reader must not rely on the writer.
        let json = serde_json::to_vec(&manifest).unwrap();
        let object = crate::frame::seal(crate::frame::FrameKind::Manifest, &json).unwrap();
        assert!(
            decode(PATH, &object).unwrap().finish(PATH).is_err(),
            "{reason}"
        );
    }
}

#[test]
fn a_side_file_list_that_claims_too_much_or_points_elsewhere_is_refused() {
    for side_file in [
        serde_json::json!({"name": "BACKUP_FILES-0", "files": u64::MAX, "blake3": ContentHash::of(b"")}),
        serde_json::json!({"name": "../other/BACKUP_FILES-0", "files": 1, "blake3": ContentHash::of(b"")}),
        serde_json::json!({"name": "data", "files": 1, "blake3": ContentHash::of(b"")}),
    ] {
        let mut json = serde_json::to_value(golden_manifest()).unwrap();
        json["side_files"] = serde_json::json!([side_file]);
        let json = serde_json::to_vec(&json).unwrap();
        let object = crate::frame::seal(crate::frame::FrameKind::Manifest, &json).unwrap();
        assert!(matches!(
            decode(PATH, &object),
            Err(Error::InvalidManifest { .. })
        ));
    }
}

#[test]
fn the_whole_object_survives_no_single_byte_change() {
    let object = encode(&golden_manifest(), PATH, ListLimits::default())
        .unwrap()
        .object;
    for index in 0..object.len() {
        let mut damaged = object.to_vec();
        damaged[index] ^= 0x10;
        assert!(decode(PATH, &damaged).is_err(), "byte {index}");
    }
}

#[test]
fn history_from() {
    let mut manifest = golden_manifest();
    assert_eq!(manifest.history_from(), Some(manifest.start));
    manifest.kind = LayerKind::Full;
    manifest.keyspaces[1].revision_start = Some(time(5));
    assert_eq!(manifest.history_from(), Some(time(5)));
    manifest.revision_history = false;
    assert_eq!(manifest.history_from(), None);
}

prop_compose! {
    fn any_file()(
        id: [u8; 16], start in prop::collection::vec(any::<u8>(), 0..6), length in prop::collection::vec(any::<u8>(), 0..3),
        no_end: bool, times in (0..=100_u64, 0..=100_u64), counts in (1..=u64::MAX, any::<u64>()), sizes: (u64, u64), crc32: u32,
        hash: [u8; 32],
    ) -> FileEntry {
        let end = [start.as_slice(), length.as_slice(), &[0]].concat();
        FileEntry {
            id: FileId::from_bytes(id),
            span: KeyRange::new(start, (!no_end).then_some(end)),
            min_ts: time(times.0.min(times.1)),
            max_ts: time(times.0.max(times.1)),
            entries: counts.0,
            tombstones: counts.1.min(counts.0),
            logical_bytes: sizes.0,
            stored_bytes: sizes.1,
            crc32,
            blake3: ContentHash::from_bytes(hash),
            copied: None,
            locality: None,
        }
    }
}

prop_compose! {
    fn any_manifest()(
        full: bool, times in (1..=u64::MAX - 100, 100..=u64::MAX, any::<u64>()), flags: (bool, bool),
        patterns in prop::collection::vec(".{0,8}", 0..3),
        keyspaces in prop::collection::vec((".{1,8}", any::<bool>(), prop::option::of(0..=100_u64), prop::collection::vec(any_file(), 0..6)), 0..4),
        system in prop::collection::btree_map("[a-z]{1,4}", ".{0,8}".prop_map(serde_json::Value::from), 0..3),
    ) -> Manifest {
        let (start, end) = (time(times.0.min(times.1 - 1)), time(times.1));
        let path: FullPath = "a".parse().unwrap();
        let keyspaces = (1..).zip(keyspaces).map(|(id, (name, introduced, revision_start, files))| ManifestKeyspace {
            descriptor: descriptor(id, &name), introduced: introduced || !full, gc_gap: None, revision_start: revision_start.map(time), files,
            fingerprint: introduced.then(|| format!("{}:{id}", "0f".repeat(16)).parse().unwrap()),
        });
        Manifest {
            kind: if full { LayerKind::Full } else { LayerKind::Incremental },
            layer: if full { LayerPath::full_at(path) } else { LayerPath::incremental_at(path, crate::IncrementalPath::at(end)) },
            parent_manifest: (!full).then(|| ContentHash::of(b"p")),
            merges: if full { Vec::new() } else { patterns.iter().map(|p| ContentHash::of(p.as_bytes())).collect() },
            start: if full { Timestamp::MIN } else { start },
            end,
            created_at: time(times.2),
            revision_history: flags.0,
            whole_engine: flags.1,
            patterns,
            keyspaces: keyspaces.collect(),
            system,
            ..golden_manifest()
        }
    }
}

proptest! {
    #[test]
    fn round_trip(manifest in any_manifest(), files in 1..5_usize, json_bytes in 1..3000_usize) {
        // File ids are random, so they practically never collide.
        let encoded = encode(&manifest, PATH, ListLimits { files, json_bytes }).unwrap();
        prop_assert_eq!(encoded.hash, ContentHash::of(&encoded.object));
        prop_assert_eq!(read(&encoded).unwrap(), manifest);
    }

    #[test]
    fn no_bytes_panic(object in prop::collection::vec(any::<u8>(), 0..200), framed: bool) {
        let object = if framed { crate::frame::seal(crate::frame::FrameKind::Manifest, &object).unwrap() } else { object };
        prop_assert!(decode(PATH, &object).is_err());
    }
}

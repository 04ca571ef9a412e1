//! Backups are proven: by the fingerprints in their manifests, and by restoring them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use icecore_archive::object_store::ObjectStoreExt;
use icecore_archive::{
    BackupSelector, ChainId, Collection, CollectionUri, FileEntry, LayerKind, Manifest,
    StoreOptions,
};
use icecore_backup::retain::{ExpireOptions, expire};
use icecore_backup::{BackupOptions, Fingerprints};
use icecore_engine::{Compression, Engine};
use icecore_mvcc::{Fingerprint, Fingerprinter, KeyRange, KeyspaceSettings, Timestamp};
use icecore_restore::{
    Depth, Error, RestoreOptions, Sample, VerifyOptions, VerifyReport, restore, verify,
};
use icecore_testkit::scratch;
use rig::{Rig, onto_latest, run};

fn with_history(onto: BackupOptions) -> BackupOptions {
    BackupOptions {
        revision_history: true,
        ..onto
    }
}

/// Verifies by restoring, below a folder that must be empty again at the end.
fn restore_depth(collection: &Collection) -> VerifyReport {
    let folder = scratch::folder().unwrap();
    let options = VerifyOptions {
        depth: Depth::Restore,
        scratch: Some(folder.path().to_owned()),
        ..VerifyOptions::default()
    };
    let report = run(verify(collection, &options)).unwrap();
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        0,
        "scratch databases are left"
    );
    report
}

fn at_depth(collection: &Collection, depth: Depth) -> VerifyReport {
    let options = VerifyOptions {
        depth,
        ..VerifyOptions::default()
    };
    run(verify(collection, &options)).unwrap()
}

/// The numbers of the layers with a problem.
fn bad(report: &VerifyReport) -> Vec<usize> {
    let layers = report.layers.iter().enumerate();
    layers
        .filter(|(_, layer)| !layer.problems.is_empty())
        .map(|(number, _)| number)
        .collect()
}

fn states(report: &VerifyReport) -> (usize, usize) {
    let states = || report.layers.iter().flat_map(|layer| &layer.states);
    let proven = states().filter(|state| state.expected == Some(state.found));
    (proven.count(), states().count())
}

/// Three layers: a keyspace that comes, one that goes, rows that change, go and come back.
fn a_chain(rig: &Rig, history: bool) {
    let kind = |onto| match history {
        true => with_history(onto),
        false => onto,
    };
    let engine = rig.engine();
    let goes = engine
        .create_keyspace("goes", KeyspaceSettings::default())
        .unwrap();
    goes.put("k", "v", icecore_engine::Durability::Buffered)
        .unwrap();
    rig.write(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    rig.clock.advance(Duration::from_secs(10));
    rig.backup(&kind(BackupOptions::default())).unwrap();
    rig.clock.advance(Duration::from_secs(10));
    rig.write(&[("a", Some("2")), ("b", None)]);
    rig.write(&[("a", Some("3")), ("d", Some("1"))]);
    let comes = engine
        .create_keyspace("comes", KeyspaceSettings::default())
        .unwrap();
    comes
        .put("k", "v", icecore_engine::Durability::Buffered)
        .unwrap();
    rig.clock.advance(Duration::from_secs(10));
    rig.backup(&kind(onto_latest())).unwrap();
    rig.clock.advance(Duration::from_secs(10));
    rig.write(&[("b", Some("2")), ("c", None)]);
    engine.drop_keyspace("goes").unwrap();
    rig.clock.advance(Duration::from_secs(10));
    rig.backup(&kind(onto_latest())).unwrap();
}

#[test]
fn every_layer_of_a_chain_is_proven_by_restoring_it() {
    let rig = Rig::new();
    a_chain(&rig, false);
    let report = restore_depth(&rig.collection());
    assert!(report.is_ok(), "{report:?}");
    // Without history each end takes a restore of its own.
    assert_eq!((report.restores, states(&report)), (3, (7, 7)));
    assert!(
        report
            .layers
            .iter()
            .all(|layer| layer.read_files == layer.files)
    );
}

#[test]
fn with_history_one_restore_proves_many_layers_and_times_between_are_compared() {
    let rig = Rig::new();
    a_chain(&rig, true);
    let report = restore_depth(&rig.collection());
    assert!(report.is_ok(), "{report:?}");
    let (proven, states) = states(&report);
    assert_eq!(proven, states);
    // The end; the end of what was dropped; two times between.
    assert!(
        states > 8 && report.restores <= 4,
        "{states} by {}",
        report.restores
    );
    let dropped: Vec<_> = report.layers[2]
        .states
        .iter()
        .filter(|state| state.keyspace == "goes")
        .collect();
    assert_eq!(dropped.len(), 1, "{report:?}");
}

/// A layer that claims another state than it brings: its files are what its manifest says, so only a
/// restore tells. `broken` is which of three layers it is.
fn a_chain_with_a_wrong_claim(rig: &Rig, broken: usize) {
    for layer in 0..3_usize {
        rig.clock.advance(Duration::from_secs(10));
        rig.write(&[(&format!("key{layer}"), Some("1")), ("all", Some("1"))]);
        let onto = match layer {
            0 => BackupOptions::default(),
            _ => onto_latest(),
        };
        if layer != broken {
            rig.backup(&BackupOptions {
                // What is wrong must not spread: each says what the database has.
                fingerprints: Fingerprints::Always,
                ..onto
            })
            .unwrap();
            continue;
        }
        // Taken into another place, to have its files and its manifest.
        let collection = rig.collection();
        let engine = rig.engine();
        let end = engine.now();
        run(async {
            let (writer, parent) = match layer {
                0 => (collection.begin_full(end, None).await.unwrap(), None),
                _ => {
                    let chain = collection
                        .open_chain(&BackupSelector::Latest)
                        .await
                        .unwrap();
                    let head = collection.read_layer(&chain.head().unwrap()).await.unwrap();
                    (
                        collection.begin_incremental(&chain, end).await.unwrap(),
                        Some(head),
                    )
                }
            };
            let manifest = without_rows(&collection, engine, &writer, parent, end);
            writer.commit(manifest).await.unwrap();
        });
    }
}

/// A manifest of no files that claims the state which the database has.
fn without_rows(
    collection: &Collection,
    engine: &Engine,
    writer: &icecore_archive::LayerWriter,
    parent: Option<Manifest>,
    end: Timestamp,
) -> Manifest {
    let at = engine.snapshot_at(end).unwrap();
    let keyspaces =
        engine
            .keyspaces()
            .into_iter()
            .map(|keyspace| icecore_archive::ManifestKeyspace {
                descriptor: keyspace.descriptor(),
                introduced: parent.is_none(),
                gc_gap: None,
                revision_start: None,
                files: Vec::new(),
                fingerprint: Some(keyspace.fingerprint_at(&at, 1).unwrap()),
            });
    Manifest {
        collection_id: collection.id(),
        chain_id: parent
            .as_ref()
            .map_or_else(ChainId::random, |parent| parent.chain_id),
        engine_id: engine.id(),
        engine_version: String::new(),
        tool_version: String::new(),
        kind: match parent {
            None => LayerKind::Full,
            Some(_) => LayerKind::Incremental,
        },
        layer: writer.layer().clone(),
        parent_manifest: writer.parent_manifest(),
        merges: Vec::new(),
        start: writer.start(),
        end,
        created_at: end,
        revision_history: false,
        whole_engine: true,
        patterns: Vec::new(),
        keyspaces: keyspaces.collect(),
        system: std::collections::BTreeMap::new(),
    }
}

/// Planted: a layer whose rows are missing. Were any layer skipped, one of the three would not be found.
#[test]
fn planted_bug_a_layer_without_its_rows_is_found_wherever_it_stands() {
    for broken in 0..3 {
        let rig = Rig::new();
        a_chain_with_a_wrong_claim(&rig, broken);
        let collection = rig.collection();
        for depth in [Depth::Presence, Depth::Checksum] {
            assert!(
                at_depth(&collection, depth).is_ok(),
                "only a restore can tell"
            );
        }
        let report = restore_depth(&collection);
        // The rows are missing from then on.
        assert_eq!(bad(&report), (broken..3).collect::<Vec<_>>(), "{report:?}");
        let problem = &report.layers[broken].problems[0];
        assert!(problem.contains("comes back with fingerprint"), "{problem}");
    }
}

/// Planted: a fingerprint that misses a row, of a layer that is all right.
#[test]
fn planted_bug_a_fingerprint_that_misses_a_row_is_found_by_a_restore() {
    let mut missed = Fingerprinter::default();
    missed.add(b"b", b"1");
    let check = RestoreOptions {
        check_fingerprints: true,
        ..RestoreOptions::default()
    };
    for (wrong_by, sound) in [(Fingerprint::EMPTY, true), (missed.finish(), false)] {
        let rig = Rig::new();
        rig.write(&[("a", Some("1")), ("b", Some("1"))]);
        let collection = rig.collection();
        a_full_by_hand(&rig, wrong_by);
        let (_folder, other) = rig.other_engine();
        match run(restore(&other, &collection, &check)) {
            Ok(report) => assert!(sound && report.keyspaces[0].proven),
            Err(refused) => {
                assert!(
                    !sound && matches!(refused, Error::OtherState { .. }),
                    "{refused}"
                );
                assert!(other.keyspaces().is_empty(), "nothing of it is visible");
                assert_eq!(other.restoring().len(), 1, "it can be given up");
            }
        }
        assert_eq!(restore_depth(&collection).is_ok(), sound);
        assert!(at_depth(&collection, Depth::Checksum).is_ok());
    }
}

/// A full of the keyspace's rows, whose manifest's fingerprint lacks something.
fn a_full_by_hand(rig: &Rig, lacks: Fingerprint) {
    let (collection, engine) = (rig.collection(), rig.engine());
    let at = engine.snapshot();
    let path = rig.folder().join("by-hand.sst");
    let mut sst = engine.sst_writer(&path, Compression::Lz4).unwrap();
    for row in rig.keyspace().full(&KeyRange::all(), &at, false).unwrap() {
        let row = row.unwrap();
        sst.add(&row.key, row.ts, row.value.as_deref()).unwrap();
    }
    let summary = sst.finish().unwrap();
    run(async {
        let writer = collection.begin_full(at.timestamp(), None).await.unwrap();
        let stored = writer.put_file(&summary.path).await.unwrap();
        let mut manifest = without_rows(&collection, engine, &writer, None, at.timestamp());
        let keyspace = &mut manifest.keyspaces[0];
        keyspace.fingerprint = keyspace.fingerprint.map(|print| print.minus(lacks));
        keyspace.files.push(FileEntry {
            id: stored.id,
            span: FileEntry::span_of(&summary.first_key, &summary.last_key),
            min_ts: summary.min_ts,
            max_ts: summary.max_ts,
            entries: summary.entries,
            tombstones: summary.tombstones,
            logical_bytes: summary.logical_bytes,
            stored_bytes: stored.stored_bytes,
            crc32: stored.crc32,
            blake3: stored.blake3,
            copied: None,
            locality: None,
        });
        writer.commit(manifest).await.unwrap();
    });
}

/// Every SST file of a collection.
fn data_files(folder: &std::path::Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(data_files(&path)),
            false if path.extension().is_some_and(|e| e == "sst") => files.push(path),
            false => {}
        }
    }
    // Those of a full lie above those of its incrementals.
    files.sort_by_key(|file| (file.components().count(), file.clone()));
    files
}

/// A collection in a folder, with two layers.
fn on_disk(rig: &Rig) -> (tempfile::TempDir, Collection) {
    let folder = tempfile::tempdir().unwrap();
    let uri: CollectionUri = format!("file://{}", folder.path().display())
        .parse()
        .unwrap();
    let collection = run(Collection::create_or_open(&uri, StoreOptions::default())).unwrap();
    rig.write(&[("a", Some("1")), ("b", Some("1"))]);
    rig.backup_into(&collection, &BackupOptions::default())
        .unwrap();
    rig.clock.advance(Duration::from_secs(10));
    rig.write(&[("a", Some("2"))]);
    rig.backup_into(&collection, &onto_latest()).unwrap();
    (folder, collection)
}

#[test]
fn every_flipped_bit_of_a_data_file_is_found_by_the_checksums() {
    let rig = Rig::new();
    let (folder, collection) = on_disk(&rig);
    let files = data_files(folder.path());
    assert_eq!(files.len(), 2);
    for (number, file) in files.iter().enumerate() {
        let sound = fs::read(file).unwrap();
        for bit in (0..sound.len() * 8).step_by(61) {
            let mut damaged = sound.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(file, &damaged).unwrap();
            assert_eq!(
                bad(&at_depth(&collection, Depth::Checksum)),
                [number],
                "bit {bit}"
            );
        }
        fs::write(file, &sound).unwrap();
    }
    assert!(at_depth(&collection, Depth::Checksum).is_ok());
}

#[test]
fn damage_is_told_by_a_verification_that_restores_too() {
    let rig = Rig::new();
    let (folder, collection) = on_disk(&rig);
    let file = &data_files(folder.path())[1];
    let mut damaged = fs::read(file).unwrap();
    damaged[10] ^= 1;
    fs::write(file, &damaged).unwrap();
    let report = restore_depth(&collection);
    assert_eq!(bad(&report), [1], "{report:?}");
    assert_eq!(states(&report), (1, 1), "the full restores");
}

#[test]
fn the_parts_of_a_sample_find_the_damage_once() {
    let rig = Rig::new();
    let (folder, collection) = on_disk(&rig);
    let file = &data_files(folder.path())[0];
    let mut damaged = fs::read(file).unwrap();
    damaged[10] ^= 1;
    fs::write(file, &damaged).unwrap();
    let sampled = |sample| {
        let options = VerifyOptions {
            sample: Some(sample),
            ..VerifyOptions::default()
        };
        run(verify(&collection, &options)).unwrap()
    };
    let parts: Vec<VerifyReport> = (1..=3)
        .map(|part| sampled(Sample::Part { part, of: 3 }))
        .collect();
    let read: u64 = parts
        .iter()
        .flat_map(|p| &p.layers)
        .map(|layer| layer.read_files)
        .sum();
    assert_eq!(read, 2, "together everything once");
    assert_eq!(parts.iter().filter(|part| !part.is_ok()).count(), 1);
    let all = sampled(Sample::Percent(100.0));
    assert_eq!(bad(&all), [0]);
    // What is not read must still be there.
    fs::remove_file(file).unwrap();
    assert!(parts.len() == 3 && (1..=3).all(|part| !sampled(Sample::Part { part, of: 3 }).is_ok()));
}

#[test]
fn a_chain_goes_on_without_fingerprints_where_none_were_made() {
    let rig = Rig::new();
    let with = |fingerprints, onto| BackupOptions {
        fingerprints,
        ..onto
    };
    let found = |options: &BackupOptions| {
        rig.clock.advance(Duration::from_secs(10));
        rig.write(&[("a", Some("2")), ("b", None)]);
        let report = rig.backup(options).unwrap();
        report.keyspaces[0].fingerprint
    };
    rig.write(&[("a", Some("1")), ("b", Some("1"))]);
    assert_eq!(
        found(&with(Fingerprints::Never, BackupOptions::default())),
        None
    );
    assert_eq!(found(&onto_latest()), None, "there is none to go on from");
    let always = found(&with(Fingerprints::Always, onto_latest()));
    let state = || {
        let at = rig.engine().snapshot();
        rig.keyspace().fingerprint_at(&at, 2).unwrap()
    };
    assert_eq!(always, Some(state()));
    assert_eq!(found(&onto_latest()), Some(state()), "there is one again");
    let report = restore_depth(&rig.collection());
    assert!(report.is_ok(), "{report:?}");
    assert_eq!(states(&report), (2, 4), "the others come back, unproven");
}

/// What changed mostly is found by a scan, and the old rows by a walk alongside.
#[test]
fn fingerprints_follow_from_each_other_however_the_changes_are_found() {
    let rig = Rig::new();
    let keys: Vec<String> = (0..3000).map(|number| format!("key{number:05}")).collect();
    let write = |step: usize, value: &str, delete: bool| {
        for (number, key) in keys.iter().enumerate() {
            if number % step == 0 {
                let value = (!delete || number % (2 * step) == 0).then_some(value);
                rig.write(&[(key, value)]);
            }
        }
    };
    write(2, "first", false);
    rig.engine().flush().unwrap();
    let state = || {
        let at = rig.engine().snapshot();
        rig.keyspace().fingerprint_at(&at, 1).unwrap()
    };
    let mut ways = Vec::new();
    for (step, delete) in [(1, false), (100, true), (1, true), (3, false)] {
        let options = match ways.is_empty() {
            true => BackupOptions::default(),
            false => with_history(onto_latest()),
        };
        let report = rig.backup(&options).unwrap();
        assert_eq!(report.keyspaces[0].fingerprint, Some(state()), "{ways:?}");
        ways.push(report.keyspaces[0].how.clone());
        rig.clock.advance(Duration::from_secs(10));
        write(step, &format!("value {step}"), delete);
        rig.engine().flush().unwrap();
    }
    let report = rig.backup(&onto_latest()).unwrap();
    assert_eq!(report.keyspaces[0].fingerprint, Some(state()));
    ways.push(report.keyspaces[0].how.clone());
    for way in ["full scan", "scan: most", "commit index"] {
        assert!(
            ways.iter().any(|how| how.starts_with(way)),
            "{way} is not among {ways:?}"
        );
    }
}

#[test]
fn a_backup_reads_its_files_back_where_it_is_asked_to() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    let options = BackupOptions {
        recheck: true,
        ..BackupOptions::default()
    };
    let before = rig.collection().requests();
    rig.backup(&options).unwrap();
    let plain = rig.collection().requests();
    rig.clock.advance(Duration::from_secs(10));
    rig.write(&[("a", Some("2"))]);
    rig.backup(&BackupOptions::default()).unwrap();
    let after = rig.collection().requests();
    let gets = |from: &icecore_archive::RequestCounts, to: &icecore_archive::RequestCounts| {
        to.get - from.get
    };
    assert_eq!(
        gets(&before, &plain),
        gets(&plain, &after) + 1,
        "one file is read back"
    );
}

/// The index says that there is a full; restores would find none.
#[test]
fn a_listed_full_whose_own_marker_is_lost_is_a_problem() {
    let rig = Rig::with_three_layers();
    let check = || rig::run(verify(&rig.reopened(), &VerifyOptions::default())).unwrap();
    assert!(check().is_ok());
    let objects = rig.objects();
    let is_marker = |path: &&String| path.starts_with("metadata/chain/") && path.ends_with("-full");
    let marker = objects.iter().find(is_marker).unwrap();
    rig::run(rig.raw_store().delete(&marker.as_str().into())).unwrap();
    let report = check();
    assert!(!report.is_ok(), "{report:?}");
    assert!(
        report.layers[0].problems[0].contains("has no marker"),
        "{report:?}"
    );
    // As it says, retention mends it.
    let at_once = ExpireOptions {
        grace: Duration::ZERO,
        ..ExpireOptions::default()
    };
    rig::run(expire(&rig.reopened(), &at_once)).unwrap();
    assert!(check().is_ok());
    rig.all_layers_restore();
}

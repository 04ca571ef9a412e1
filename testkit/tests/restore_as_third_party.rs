//! The SST files of a backup, read by another binding of RocksDB that knows nothing of Icecore.
//!
//! `tests/third_party/read_backup.py` opens each file with the Python package `rocksdict`. The test needs
//! python3 with venv, and the network the first time; without them it says so and is skipped, but in CI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use icecore_archive::{BackupSelector, Collection, CollectionUri, Manifest, StoreOptions};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Batch, Compression, Durability, Engine};
use icecore_mvcc::{KeyspaceSettings, SystemClock, key, value};
use icecore_testkit::python::Package;
use icecore_testkit::{machine, scratch};

const PACKAGE: Package = Package {
    name: "rocksdict",
    version: "0.3.29",
    check: &["python", "-c", "import rocksdict"],
};

/// What the script says of a file.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    entries: u64,
    tombstones: u64,
    first_key: Vec<u8>,
    last_key: Vec<u8>,
}

fn read(python: &Path, file: &Path) -> Seen {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/third_party/read_backup.py");
    let output = Command::new(python).arg(script).arg(file).output().unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        file.display(),
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    let [entries, tombstones, first, last] = words[..] else {
        panic!("{text}")
    };
    let bytes = |hex: &str| {
        let pairs = (0..hex.len()).step_by(2);
        pairs
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect::<Vec<u8>>()
    };
    Seen {
        entries: entries.parse().unwrap(),
        tombstones: tombstones.parse().unwrap(),
        first_key: key::decode_key(&bytes(first)).unwrap().0,
        last_key: key::decode_key(&bytes(last)).unwrap().0,
    }
}

/// A chain of a full with history and an incremental, in each compression.
fn chain(folder: &Path) -> Vec<(PathBuf, Manifest)> {
    let engine = Engine::open(
        folder.join("db"),
        &scratch::small_engine(Arc::new(SystemClock)),
    )
    .unwrap();
    let keyspace = engine
        .create_keyspace("bank.accounts", KeyspaceSettings::default())
        .unwrap();
    let write = |round: u32| {
        for chunk in 0..20_u32 {
            let mut batch = Batch::new();
            for row in chunk * 100..(chunk + 1) * 100 {
                let user = [b"\x00\xff".as_slice(), &row.to_be_bytes()].concat();
                if (row + round).is_multiple_of(7) {
                    batch.delete(&keyspace, user);
                } else {
                    batch.put(&keyspace, user, vec![row as u8; (row % 300) as usize]);
                }
            }
            engine.commit(batch, Durability::Buffered).unwrap();
        }
    };
    let runtime = scratch::runtime().unwrap();
    let root = folder.join("collection");
    runtime.block_on(async {
        let uri = CollectionUri::from_local_path(&root).unwrap();
        let collection = Collection::create_or_open(&uri, StoreOptions::default())
            .await
            .unwrap();
        let options = BackupOptions {
            revision_history: true,
            ..BackupOptions::default()
        };
        let mut layers = Vec::new();
        for (round, compression) in [Compression::None, Compression::Lz4, Compression::Zstd]
            .into_iter()
            .enumerate()
        {
            write(round as u32);
            let onto = (round > 0).then_some(BackupSelector::Latest);
            let options = BackupOptions {
                compression,
                onto,
                ..options.clone()
            };
            let report = backup(&engine, &collection, &options).await.unwrap();
            let (manifest, _) = collection.read_manifest(&report.layer).await.unwrap();
            layers.push((root.join(report.layer.to_string()), manifest));
        }
        layers
    })
}

#[test]
fn restore_as_third_party_reads_every_file_of_a_backup() {
    let programs = PACKAGE.programs(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let programs = machine::or_skip("other binding of RocksDB", programs);
    let programs = programs.unwrap_or_else(|error| panic!("{error}"));
    let Some(python) = programs.map(|programs| programs.join("python")) else {
        return;
    };
    let folder = scratch::folder().unwrap();
    let mut files = 0;
    for (layer, manifest) in chain(folder.path()) {
        for (_, file) in manifest.files() {
            let seen = read(
                &python,
                &layer.join("data").join(format!("{}.sst", file.id)),
            );
            assert_eq!(
                (seen.entries, seen.tombstones),
                (file.entries, file.tombstones),
                "{layer:?}"
            );
            assert!(
                file.span.contains(&seen.first_key) && file.span.contains(&seen.last_key),
                "{seen:?}"
            );
            assert_eq!(seen.first_key, file.span.start());
            files += 1;
        }
    }
    assert!(files >= 3, "{files} files");
    assert_eq!(
        value::TAG_TOMBSTONE,
        0,
        "the script takes tombstones by this tag"
    );
}

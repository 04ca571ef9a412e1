//! A sealed collection, opened by a program that was written after `docs/format/sealing.md` alone.
//!
//! `tests/third_party/open_sealed.py` takes its cryptography from the Python package `cryptography`. The test
//! needs python3 with venv, and the network the first time; without them it says so and is skipped, but in CI.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use icecore_archive::{
    BackupSelector, Collection, CollectionUri, Keys, Passphrase, PassphraseCost, StoreOptions,
};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Batch, Compression, Durability, Engine};
use icecore_mvcc::KeyspaceSettings;
use icecore_testkit::python::Package;
use icecore_testkit::{machine, scratch};
use rig::{clock, onto_latest, options, store_options};

const PACKAGE: Package = Package {
    name: "cryptography",
    version: "50.0.2",
    check: &[
        "python",
        "-c",
        "from cryptography.hazmat.primitives.kdf.argon2 import Argon2id",
    ],
};

fn python() -> Option<PathBuf> {
    let programs = PACKAGE.programs(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let programs = machine::or_skip("Python package cryptography", programs);
    let programs = programs.unwrap_or_else(|error| panic!("{error}"));
    programs.map(|programs| programs.join("python"))
}

fn run(python: &Path, arguments: &[&Path]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/third_party/open_sealed.py");
    let output = Command::new(python)
        .arg(script)
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_known_answers_are_those_of_another_implementation() {
    let Some(python) = python() else {
        return;
    };
    let vectors =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../archive/tests/golden/sealing-v1.json");
    let told = run(&python, &[Path::new("vectors"), &vectors]);
    assert_eq!(told, "wrappers 2 objects 3\n");
}

/// What the script says of an object: its role, and what the first bytes of it are.
fn opened(told: &str) -> BTreeMap<String, (u8, String, String)> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let [role, path, hash, begin] = words[..] else {
            panic!("{line}")
        };
        (
            path.to_owned(),
            (role.parse().unwrap(), hash.to_owned(), begin.to_owned()),
        )
    };
    told.lines().map(line).collect()
}

#[test]
fn a_sealed_collection_is_opened_by_another_implementation() {
    let Some(python) = python() else {
        return;
    };
    let folder = scratch::folder().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("key"), [9; 32]).unwrap();
    fs::write(path("passphrase"), "a passphrase\n").unwrap();
    let clock = clock();
    let keys = Keys::default()
        .with_passphrase(Passphrase::from_file(&path("passphrase")).unwrap())
        .with_kms(format!("file:{}", path("key").display()).parse().unwrap());
    let store = StoreOptions {
        keys,
        passphrase_cost: PassphraseCost {
            memory_kib: 20 << 10,
            passes: 2,
            lanes: 3,
        },
        ..store_options(&clock)
    };
    let engine = Engine::open(path("db"), &options(&clock)).unwrap();
    let keyspace = engine
        .create_keyspace("bank.accounts", KeyspaceSettings::default())
        .unwrap();
    let runtime = scratch::runtime().unwrap();
    let uri = CollectionUri::from_local_path(path("sealed")).unwrap();
    let collection = runtime
        .block_on(Collection::create_or_open(&uri, store))
        .unwrap();
    // Several chunks in one file, then a small layer.
    for (rows, onto) in [(2_000_u32, None), (3, Some(onto_latest()))] {
        let mut batch = Batch::new();
        for row in 0..rows {
            batch.put(&keyspace, row.to_be_bytes(), vec![row as u8; 100]);
        }
        engine.commit(batch, Durability::Buffered).unwrap();
        clock.advance(std::time::Duration::from_secs(1));
        let options = BackupOptions {
            compression: Compression::None,
            ..onto.unwrap_or_default()
        };
        runtime
            .block_on(backup(&engine, &collection, &options))
            .unwrap();
    }
    let (sealed, key, passphrase) = (path("sealed"), path("key"), path("passphrase"));
    let told = run(&python, &[Path::new("open"), &sealed, &key, &passphrase]);
    let opened = opened(&told);

    let chain = runtime
        .block_on(collection.open_chain(&BackupSelector::Latest))
        .unwrap();
    let mut seen = 0;
    for entry in chain.layers() {
        let manifest = runtime.block_on(collection.read_layer(entry)).unwrap();
        let (role, _, begin) = &opened[&format!("{}/BACKUP_MANIFEST", entry.path)];
        assert_eq!((*role, begin.as_str()), (2, "4943454d"));
        for (_, file) in manifest.files() {
            let to = path("fetched.sst");
            runtime
                .block_on(collection.fetch(&entry.path, file, &to))
                .unwrap();
            let (role, hash, _) = &opened[&format!("{}/data/{}.sst", entry.path, file.id)];
            assert_eq!(*role, 1);
            assert_eq!(*hash, sha256(&python, &to));
            seen += 1;
        }
    }
    assert!(seen >= 2 && opened.len() == seen + 2, "{told}");
    engine.close().unwrap();
}

fn sha256(python: &Path, file: &Path) -> String {
    let code =
        "import hashlib,sys; print(hashlib.sha256(open(sys.argv[1],'rb').read()).hexdigest())";
    let output = Command::new(python)
        .args(["-c", code])
        .arg(file)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

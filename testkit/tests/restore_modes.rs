//! The modes of a restore: what a dry run promises, the schema alone, a time between two backups, a
//! disk that is too small.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod rig;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use icecore_archive::{ContentHash, Manifest};
use icecore_backup::BackupOptions;
use icecore_engine::{Durability, Engine, Options};
use icecore_mvcc::{KeyspaceSettings, Timestamp};
use icecore_restore::{DryRun, Error, Requests, RestoreOptions, dry_run, restore};
use icecore_testkit::{machine, scratch};
use rig::{Rig, onto_latest, read_all, run};

fn open(rig: &Rig, folder: &str) -> Engine {
    let options = Options {
        // The files are looked at as they came.
        auto_compactions: false,
        ..rig.options()
    };
    Engine::open(rig.folder().join(folder), &options).unwrap()
}

/// A full and two incrementals with history, each of several files; the times of all commits.
fn history_in_many_files(rig: &Rig) -> Vec<Timestamp> {
    let mut times = Vec::new();
    for layer in 0..3 {
        let chain = match layer {
            0 => BackupOptions::default(),
            _ => onto_latest(),
        };
        for _ in 0..3 {
            rig.clock.advance(Duration::from_secs(10));
            for key in 0..40 {
                let value = incompressible(key + times.len() as u64, 40_000);
                times.push(rig.write(&[(&format!("key{key:02}"), Some(&value))]));
            }
        }
        rig.backup(&BackupOptions {
            revision_history: true,
            target_file_bytes: 1 << 20,
            ..chain
        })
        .unwrap();
    }
    times
}

fn incompressible(seed: u64, length: usize) -> String {
    let mut text = String::new();
    for block in 0_u64.. {
        text.push_str(
            &ContentHash::of(&[seed.to_be_bytes(), block.to_be_bytes()].concat()).to_string(),
        );
        if text.len() >= length {
            break;
        }
    }
    text.truncate(length);
    text
}

/// The restore makes the requests, and fetches and rewrites the files, that its dry run told.
fn restores_as_told(rig: &Rig, folder: &str, options: &RestoreOptions) -> (DryRun, Engine) {
    let engine = open(rig, folder);
    let collection = rig.collection();
    let before = collection.requests();
    let told = run(dry_run(Some(&engine), &collection, options)).unwrap();
    let planned = collection.requests();
    let report = run(restore(&engine, &collection, options)).unwrap();
    let restored = collection.requests() - planned;
    assert_eq!(Requests::from(planned - before), told.plan.planning);
    assert_eq!(Requests::from(restored), told.requests, "{told:?}");
    assert_eq!(
        restored.total(),
        told.requests.get + told.requests.head + told.requests.list
    );
    let rewritten: u64 = report.keyspaces.iter().map(|k| k.rewritten_files).sum();
    assert_eq!(rewritten, told.rewrites.len() as u64);
    assert_eq!(report.stored_bytes(), told.fetched_bytes);
    (told, engine)
}

#[test]
fn a_dry_run_tells_every_request() {
    let rig = Rig::new();
    let times = history_in_many_files(&rig);
    let (told, engine) = restores_as_told(&rig, "end", &RestoreOptions::default());
    assert!(told.files > 10, "{}", told.files);
    assert_eq!(told.rewrites, []);
    // A listing of the fulls, one of the chain; three manifests; the files.
    let expected = Requests {
        get: 3 + told.files,
        head: 0,
        list: 2,
    };
    assert_eq!(told.requests, expected);
    assert_eq!(read_all(&engine, engine.visible()), rig.rows());
    for at in [times[5], times[150], times[200], times[359]] {
        let options = RestoreOptions {
            as_of: Some(at),
            ..RestoreOptions::default()
        };
        let (_, engine) = restores_as_told(&rig, &at.nanos().to_string(), &options);
        assert_eq!(read_all(&engine, engine.visible()), rig.rows_at(at));
    }
}

#[test]
fn a_dry_run_counts_only_what_an_interrupted_restore_still_needs() {
    let rig = Rig::new();
    history_in_many_files(&rig);
    let engine = open(&rig, "half");
    let options = RestoreOptions::default();
    let whole = run(dry_run(Some(&engine), &rig.collection(), &options)).unwrap();
    let planned = &whole.plan.keyspaces[0];
    let hidden = engine
        .begin_restore(
            &whole.plan.restore_id,
            &planned.name,
            planned.source.settings.clone(),
        )
        .unwrap();
    let first = &planned.layers[0];
    let files: Vec<PathBuf> = first
        .files
        .iter()
        .map(|f| {
            let path = rig.folder().join(f.file.id.to_string());
            run(rig.collection().fetch(&first.path, &f.file, &path)).unwrap();
            path
        })
        .collect();
    assert!(hidden.ingest(&first.path.to_string(), &files).unwrap());
    drop(hidden);
    engine.close().unwrap();
    let (told, engine) = {
        let engine = open(&rig, "half");
        let told = run(dry_run(Some(&engine), &rig.collection(), &options)).unwrap();
        let planned = rig.collection().requests();
        run(restore(&engine, &rig.collection(), &options)).unwrap();
        let restored = Requests::from(rig.collection().requests() - planned);
        assert_eq!(restored, told.requests);
        (told, engine)
    };
    assert_eq!(told.files, whole.files - first.files.len() as u64);
    assert!(told.space_bytes < whole.space_bytes);
    assert_eq!(read_all(&engine, engine.visible()), rig.rows());
}

/// The hashes of the SST files in a database.
fn files_of(engine: &Engine) -> BTreeSet<ContentHash> {
    let folder = std::fs::read_dir(engine.dir().join("data")).unwrap();
    let ssts = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "sst"));
    ssts.map(|path| ContentHash::of(&std::fs::read(path).unwrap()))
        .collect()
}

#[test]
fn a_time_in_the_history_rewrites_the_files_that_straddle_it_and_no_other() {
    let rig = Rig::new();
    let times = history_in_many_files(&rig);
    let collection = rig.collection();
    let read = |layer| run(collection.read_manifest(&layer)).unwrap().0;
    let manifests: Vec<Manifest> = rig.layers().into_iter().map(read).collect();
    let mut untouched = 0;
    for at in [times[150], times[200], times[300]] {
        let options = RestoreOptions {
            as_of: Some(at),
            ..RestoreOptions::default()
        };
        let folder = format!("at-{}", at.nanos());
        let (told, engine) = restores_as_told(&rig, &folder, &options);
        let applied = manifests.iter().filter(|m| m.start < at);
        let files: Vec<_> = applied
            .flat_map(|m| m.files().map(|(_, file)| file.clone()))
            .filter(|file| file.min_ts <= at)
            .collect();
        let straddling: BTreeSet<_> = files
            .iter()
            .filter(|f| f.max_ts > at)
            .map(|f| f.id)
            .collect();
        assert!(!straddling.is_empty());
        let told: BTreeSet<_> = told.rewrites.iter().map(|r| r.file).collect();
        assert_eq!(told, straddling);
        let there = files_of(&engine);
        for file in &files {
            let is_there = there.contains(&file.blake3);
            assert_eq!(is_there, !straddling.contains(&file.id), "{file:?}");
            untouched += u64::from(is_there);
        }
    }
    assert!(untouched > 10, "{untouched}");
}

#[test]
fn only_the_schema_comes_back_when_asked() {
    let rig = Rig::new();
    rig.write(&[("a", Some("1"))]);
    let settings = KeyspaceSettings {
        gc_ttl: Duration::from_secs(77),
        locality: [("region".to_owned(), "us".to_owned())].into(),
        ..KeyspaceSettings::default()
    };
    let other = rig
        .engine()
        .create_keyspace("bank.audit", settings)
        .unwrap();
    other.put(b"k", b"v", Durability::Sync).unwrap();
    rig.backup(&BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    })
    .unwrap();
    let options = RestoreOptions {
        schema_only: true,
        ..RestoreOptions::default()
    };
    let (told, engine) = restores_as_told(&rig, "schema", &options);
    assert_eq!((told.files, told.space_bytes), (0, 0));
    for source in rig.engine().keyspaces() {
        let back = engine.keyspace(source.name()).unwrap();
        assert_eq!(back.descriptor().settings, source.descriptor().settings);
        assert_eq!(back.get(b"a").unwrap(), None);
        assert_eq!(back.get(b"k").unwrap(), None);
        // Nothing is said of the past.
        assert_eq!(back.threshold(), told.plan.target);
        let before = engine.snapshot_at(told.plan.target.prev()).unwrap();
        assert!(matches!(
            back.get_at(&before, b"a"),
            Err(icecore_engine::Error::BelowThreshold { .. })
        ));
        back.put(b"new", b"row", Durability::Sync).unwrap();
    }
}

/// A file system in memory of so many bytes; unmounted when dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount(bytes: u64) -> Result<Self, String> {
        let folder = scratch::folder().map_err(|e| e.to_string())?;
        let mount = Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={bytes}"),
                "icecore-test",
            ])
            .arg(folder.path())
            .output()
            .map_err(|e| e.to_string())?;
        match mount.status.success() {
            true => Ok(Self(folder)),
            false => Err(String::from_utf8_lossy(&mount.stderr).trim().to_owned()),
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.path()).status();
        assert!(unmounted.unwrap().success(), "{}", self.path().display());
    }
}

#[test]
fn a_disk_that_is_too_small_is_told_before_anything_is_fetched() {
    let Some(disk) = machine::or_skip("small disk", SmallDisk::mount(2 << 20)).unwrap() else {
        return;
    };
    let rig = Rig::new();
    for key in 0..60 {
        rig.write(&[(&format!("key{key}"), Some(&incompressible(key, 100_000)))]);
    }
    rig.backup(&BackupOptions::default()).unwrap();
    let bytes = run(dry_run(None, &rig.collection(), &RestoreOptions::default())).unwrap();
    assert!(bytes.space_bytes > 2 << 20);
    let engine = Engine::open(disk.path().join("db"), &rig.options()).unwrap();
    let (collection, options) = (rig.collection(), RestoreOptions::default());
    for attempt in ["dry run", "restore"] {
        let before = collection.requests();
        let error = match attempt {
            "restore" => run(restore(&engine, &collection, &options)).unwrap_err(),
            _ => run(dry_run(Some(&engine), &collection, &options)).unwrap_err(),
        };
        let Error::NoSpace {
            folder,
            needed,
            available,
        } = error
        else {
            panic!("{attempt}: {error}");
        };
        assert_eq!(folder, engine.staging_dir());
        assert_eq!(needed, bytes.space_bytes);
        assert!(available < 2 << 20);
        let made = Requests::from(collection.requests() - before);
        assert_eq!(made, bytes.plan.planning, "{attempt}");
        assert!(engine.restoring().is_empty());
    }
    // What fits is restored.
    let schema = RestoreOptions {
        schema_only: true,
        ..options
    };
    run(restore(&engine, &collection, &schema)).unwrap();
    engine.close().unwrap();
}

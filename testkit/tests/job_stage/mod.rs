//! A database with a runner of jobs, a collection in a folder beside it, and a store that can go away.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore_archive::{BackupSelector, Collection, CollectionUri, Manifest, StoreOptions};
use icecore_backup::jobs::{
    BackupJobs, BackupSpec, JobId, JobRow, JobRunner, JobState, RunnerOptions,
};
use icecore_engine::{Durability, Engine};
use icecore_gc::ProtectedTimestamps;
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::scratch;
use tempfile::TempDir;

use crate::flaky::Flaky;
use crate::many_files::{clock_options, fill, rows_of};

/// Rows of each keyspace; with their values some 4 MiB, in files of one.
pub const ROWS: u32 = 4000;

pub struct Stage {
    pub folder: TempDir,
    pub engine: Option<Engine>,
    pub runner: Option<JobRunner>,
    pub store: StoreOptions,
    pub flaky: Flaky,
    pub options: RunnerOptions,
}

impl Stage {
    pub fn new(rows: u32) -> Self {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
        for keyspace in ["bank.accounts", "bank.audit"] {
            engine
                .create_keyspace(keyspace, icecore_mvcc::KeyspaceSettings::default())
                .unwrap();
        }
        fill(&engine, 0, rows);
        let flaky = Flaky::default();
        let mut stage = Self {
            folder,
            engine: Some(engine),
            runner: None,
            store: flaky.within(StoreOptions::default()),
            flaky,
            options: RunnerOptions {
                checkpoint_interval: Duration::from_millis(20),
                ..RunnerOptions::default()
            },
        };
        stage.start();
        stage
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub fn runner(&self) -> &JobRunner {
        self.runner.as_ref().unwrap()
    }

    pub fn start(&mut self) {
        let handler = Arc::new(BackupJobs::new(self.store.clone()));
        self.runner = Some(JobRunner::start(self.engine(), vec![handler], self.options).unwrap());
    }

    /// Stops the runner, closes the database and opens it again, as the next process would.
    pub fn restart(&mut self) {
        self.stop();
        self.start();
    }

    /// As [`Stage::restart`], without a runner.
    pub fn stop(&mut self) {
        self.runner.take().unwrap().stop().unwrap();
        let engine = self.engine.take().unwrap();
        let dir = engine.dir().to_owned();
        engine.close().unwrap();
        self.engine = Some(Engine::open(dir, &clock_options()).unwrap());
    }

    pub fn collection_dir(&self) -> PathBuf {
        self.folder.path().join("collection")
    }

    pub fn uri(&self) -> CollectionUri {
        CollectionUri::from_local_path(self.collection_dir()).unwrap()
    }

    pub fn spec(&self) -> BackupSpec {
        BackupSpec {
            target_file_bytes: Some(1 << 20),
            ..BackupSpec::into(self.uri().to_string())
        }
    }

    pub fn slow(&self) -> BackupSpec {
        BackupSpec {
            max_requests_per_second: Some(12.try_into().unwrap()),
            ..self.spec()
        }
    }

    pub fn onto(&self, spec: BackupSpec) -> BackupSpec {
        BackupSpec {
            onto: Some("LATEST".to_owned()),
            ..spec
        }
    }

    pub fn submit(&self, spec: &BackupSpec) -> JobId {
        let job = self.runner().submit("backup", spec.to_json().unwrap());
        job.unwrap().id
    }

    pub fn job(&self, id: JobId) -> JobRow {
        self.runner().get(id).unwrap()
    }

    pub fn wait_for(&self, id: JobId, what: &str, wanted: impl Fn(&JobRow) -> bool) -> JobRow {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let row = self.job(id);
            if wanted(&row) {
                return row;
            }
            assert!(Instant::now() < until, "it is never {what}: {row:?}");
            assert!(
                !row.state.is_over(),
                "it is over before it is {what}: {row:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    pub fn state(&self, id: JobId, state: JobState) -> JobRow {
        self.wait_for(id, state.as_str(), |row| row.state == state)
    }

    /// At least so many bytes are noted in checkpoints.
    pub fn noted(&self, id: JobId, bytes: u64) -> JobRow {
        self.wait_for(id, "so far", |row| {
            row.checkpoint
                .is_some_and(|checkpoint| checkpoint.bytes >= bytes)
        })
    }

    /// The data files in the collection, by path.
    pub fn data_files(&self) -> Vec<PathBuf> {
        walk(&self.collection_dir())
            .into_iter()
            .filter(|path| path.extension().is_some_and(|ending| ending == "sst"))
            .collect()
    }

    pub fn checkpoint_objects(&self) -> Vec<PathBuf> {
        let of_checkpoint = |path: &PathBuf| path.to_str().unwrap().contains("BACKUP-CHECKPOINT");
        let mut found: Vec<_> = walk(&self.collection_dir())
            .into_iter()
            .filter(of_checkpoint)
            .collect();
        found.sort();
        found
    }

    /// The owners of the protected timestamps that there are.
    pub fn owners(&self) -> Vec<String> {
        let records = ProtectedTimestamps::new(self.engine()).list().unwrap();
        records.into_iter().map(|record| record.owner).collect()
    }

    /// An error unless the newest chain restores to what the engine holds.
    pub fn compare(&self) -> Result<(), String> {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
        scratch::runtime().unwrap().block_on(async {
            let collection = Collection::open(&self.uri(), StoreOptions::default())
                .await
                .unwrap();
            // Fingerprints that the manifests tell must be those of what came back.
            let options = RestoreOptions {
                check_fingerprints: true,
                ..RestoreOptions::default()
            };
            restore(&engine, &collection, &options).await.unwrap();
        });
        if rows_of(&engine) == rows_of(self.engine()) {
            return Ok(());
        }
        Err("the restored rows are not those that were backed up".to_owned())
    }

    /// The manifests of the newest chain.
    pub fn manifests(&self) -> Vec<Manifest> {
        scratch::runtime().unwrap().block_on(async {
            let collection = Collection::open(&self.uri(), StoreOptions::default())
                .await
                .unwrap();
            let chain = collection
                .open_chain(&BackupSelector::Latest)
                .await
                .unwrap();
            let mut manifests = Vec::new();
            for layer in chain.layers() {
                manifests.push(collection.read_layer(layer).await.unwrap());
            }
            manifests
        })
    }

    /// Files that the newest chain's layers name.
    pub fn named_files(&self) -> usize {
        self.manifests().iter().map(|m| m.files().count()).sum()
    }

    /// How many keyspaces each layer has, and of how many it tells the fingerprint.
    pub fn fingerprints(&self) -> Vec<(usize, usize)> {
        let told = |manifest: &Manifest| {
            let prints = manifest.keyspaces.iter().filter_map(|k| k.fingerprint);
            (manifest.keyspaces.len(), prints.count())
        };
        self.manifests().iter().map(told).collect()
    }
}

pub fn walk(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(dir) else {
        return found;
    };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(walk(&path));
        } else {
            found.push(path);
        }
    }
    found
}

pub fn change(engine: &Engine) {
    let keyspace = engine.keyspace("bank.accounts").unwrap();
    for row in (0..ROWS).step_by(3) {
        keyspace
            .delete(format!("{row:08}"), Durability::Buffered)
            .unwrap();
    }
    fill(engine, ROWS / 2, ROWS + 500);
}

//! Backup jobs and their resumes on stores that fail in every way we know, at every request.
//!
//! What must hold: a job succeeds exactly, or waits or fails with an error that says why. All that is listed
//! restores, whatever happened; one that waits goes on, and one that failed holds nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod many_files;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt;
use icecore_archive::{BackupSelector, Collection, CollectionUri, Decorate, StoreOptions};
use icecore_backup::jobs::{
    BackupJobs, BackupSpec, JobId, JobRow, JobRunner, JobState, RunnerOptions,
};
use icecore_engine::Engine;
use icecore_gc::ProtectedTimestamps;
use icecore_mvcc::KeyspaceSettings;
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::faults::{Chaos, Meddler, Mode, Strike, swallowing};
use icecore_testkit::scratch;
use many_files::{clock_options, fill, rows_at, rows_of};
use tempfile::TempDir;

/// Rows of each keyspace: a file of two parts.
const ROWS: u32 = 300;

const PART: u32 = 256 << 10;

/// No file has parts.
const WHOLE: u32 = 1 << 20;

/// What stands before the store now.
#[derive(Clone, Default)]
struct Weather(Arc<Mutex<Option<Decorate>>>);

impl Weather {
    /// Settings of a store that has this weather and takes parts of so many bytes, with the haste of
    /// [`Chaos::within`].
    fn within(&self, part: u32) -> StoreOptions {
        let weather = self.clone();
        let decorate: Decorate = Arc::new(move |inner| {
            let now = weather.0.lock().unwrap().clone();
            now.map_or_else(
                || Arc::clone(&inner),
                |decorate| decorate(Arc::clone(&inner)),
            )
        });
        StoreOptions {
            decorate: Some(decorate),
            multipart_threshold_bytes: part.into(),
            part_bytes: part as usize,
            ..Chaos::new(Strike::Only(u64::MAX, Mode::Refused)).within(StoreOptions::default())
        }
    }

    fn is(&self, options: &StoreOptions) {
        self.0.lock().unwrap().clone_from(&options.decorate);
    }

    fn clears(&self) {
        *self.0.lock().unwrap() = None;
    }
}

/// A database, its runner of jobs, and a collection in memory, each time another.
struct Stage {
    engine: Engine,
    runner: JobRunner,
    weather: Weather,
    uri: String,
    /// How many jobs that were left halfway had one.
    checkpoints: u32,
    _folder: TempDir,
}

impl Stage {
    fn new(part: u32) -> Self {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
        for keyspace in ["bank.accounts", "bank.audit"] {
            engine
                .create_keyspace(keyspace, KeyspaceSettings::default())
                .unwrap();
        }
        fill(&engine, 0, ROWS);
        let weather = Weather::default();
        let options = RunnerOptions {
            checkpoint_interval: CHECKPOINT_INTERVAL,
            ..RunnerOptions::default()
        };
        let handler = Arc::new(BackupJobs::new(weather.within(part)));
        let runner = JobRunner::start(&engine, vec![handler], options).unwrap();
        Self {
            engine,
            runner,
            weather,
            uri: String::new(),
            checkpoints: 0,
            _folder: folder,
        }
    }

    /// Goes on with an empty collection.
    fn new_collection(&mut self) {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.uri = format!("memory://job-faults-{number}");
        let uri: CollectionUri = self.uri.parse().unwrap();
        let made = Collection::create_or_open(&uri, StoreOptions::default());
        scratch::runtime().unwrap().block_on(made).unwrap();
    }

    fn submit(&self, onto: bool) -> JobId {
        let spec = BackupSpec {
            target_file_bytes: Some(1 << 20),
            threads: Some(1),
            onto: onto.then(|| "LATEST".to_owned()),
            ..BackupSpec::into(self.uri.clone())
        };
        let job = self.runner.submit("backup", spec.to_json().unwrap());
        job.unwrap().id
    }

    /// Waits until it works no more.
    fn rest(&self, id: JobId) -> JobRow {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let row = self.runner.get(id).unwrap();
            if row.state.is_over() || row.state == JobState::Paused {
                return row;
            }
            assert!(Instant::now() < until, "it never rests: {row:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn succeeds(&self, id: JobId, place: &str) {
        let row = self.rest(id);
        assert_eq!(row.state, JobState::Succeeded, "{place}: {row:?}");
    }

    fn owners(&self) -> Vec<String> {
        let records = ProtectedTimestamps::new(&self.engine).list().unwrap();
        records.into_iter().map(|record| record.owner).collect()
    }

    /// The end of each layer that is listed restores to what the engine held then. Returns how many those are.
    fn all_that_is_listed_restores(&self, place: &str) -> usize {
        let uri: CollectionUri = self.uri.parse().unwrap();
        scratch::runtime().unwrap().block_on(async {
            let Ok(collection) = Collection::open(&uri, StoreOptions::default()).await else {
                return 0;
            };
            let mut layers = 0;
            for chain in collection.chains().await.unwrap() {
                for layer in chain.layers() {
                    layers += 1;
                    let folder = scratch::folder().unwrap();
                    let copy = Engine::open(folder.path().join("db"), &clock_options()).unwrap();
                    let options = RestoreOptions {
                        from: BackupSelector::Full(chain.full().clone()),
                        as_of: Some(layer.end),
                        check_fingerprints: true,
                        ..RestoreOptions::default()
                    };
                    restore(&copy, &collection, &options)
                        .await
                        .unwrap_or_else(|error| panic!("{place}: {error}"));
                    let then = rows_at(&self.engine, layer.end);
                    assert!(rows_of(&copy) == then, "{place}: {}", layer.path);
                }
            }
            layers
        })
    }

    /// A full whose store went away in its second file, a checkpoint after the first.
    fn halfway(&mut self) -> JobId {
        let slow = Meddler::new().meanwhile(BEGINS_SECOND, || {
            tokio::time::sleep(2 * CHECKPOINT_INTERVAL).boxed()
        });
        let away = Chaos::new(Strike::From(WENT_AWAY, Mode::FailsBefore));
        self.weather
            .is(&away.within(slow.within(StoreOptions::default())));
        let id = self.submit(false);
        let row = self.rest(id);
        assert_eq!(row.state, JobState::Paused, "{row:?}");
        self.checkpoints += u32::from(row.checkpoint.is_some());
        id
    }

    /// A job to whose k-th request something happens, in its first run or, after its store went away, in its
    /// second. Returns whether it did.
    fn holds(&mut self, case: Case, mode: Mode, request: u64) -> bool {
        let place = format!("{case:?}, {mode:?} at request {request}");
        self.new_collection();
        let onto = case == Case::Incremental;
        if onto {
            let id = self.submit(false);
            self.succeeds(id, &place);
            fill(&self.engine, ROWS / 2, ROWS / 2 + 100);
        }
        let listed = usize::from(onto);
        let chaos = Chaos::new(Strike::Only(request, mode));
        let chaotic = chaos.within(StoreOptions::default());
        let id = if case == Case::Resume {
            let id = self.halfway();
            self.weather.is(&chaotic);
            self.runner.resume(id).unwrap();
            id
        } else {
            self.weather.is(&chaotic);
            self.submit(onto)
        };
        let row = self.rest(id);
        self.weather.clears();
        let told = row.error.clone().unwrap_or_default();
        let found = self.all_that_is_listed_restores(&place);
        match row.state {
            JobState::Succeeded => assert_eq!(found, listed + 1, "{place}"),
            _ => assert!(!told.is_empty() && !told.contains('\n'), "{place}: {row:?}"),
        }
        match row.state {
            JobState::Paused => {
                self.runner.resume(id).unwrap();
                self.succeeds(id, &place);
            }
            JobState::Failed => {
                let owners = self.owners();
                let held = owners.iter().any(|owner| owner.contains(&id.to_string()));
                assert!(!held, "{place}: {owners:?}");
                let id = self.submit(false);
                self.succeeds(id, &place);
            }
            _ => {}
        }
        if row.state != JobState::Succeeded {
            let found = self.all_that_is_listed_restores(&place);
            assert!(found > listed, "{place}: {row:?}");
        }
        if chaos.struck() == 0 {
            assert_eq!(row.state, JobState::Succeeded, "{place}: {row:?}");
        }
        chaos.struck() > 0
    }
}

/// What the fault meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Case {
    /// The first run of a full.
    Full,
    /// The first run of an incremental.
    Incremental,
    /// The second run of a full, which finds files of the first.
    Resume,
}

/// The request of a full that begins its second file, parts of the first and their end not counted.
const BEGINS_SECOND: u64 = 3;

/// A request after that and one for a checkpoint, all counted.
const WENT_AWAY: u64 = 8;

const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(10);

fn jobs_hold(case: Case) {
    let mut stage = Stage::new(PART);
    let mut struck = 0;
    for mode in Mode::ALL {
        struck += (0..)
            .take_while(|&request| stage.holds(case, mode, request))
            .count();
    }
    assert!(struck > 40, "only {struck} requests were struck");
    // Where the machine is busy some have none.
    let enough = case != Case::Resume || stage.checkpoints as usize > struck / 2;
    assert!(enough, "only {} had a checkpoint", stage.checkpoints);
}

#[test]
fn a_full_as_a_job_holds_under_every_fault_at_every_request() {
    jobs_hold(Case::Full);
}

#[test]
fn an_incremental_as_a_job_holds_under_every_fault_at_every_request() {
    jobs_hold(Case::Incremental);
}

#[test]
fn a_job_that_is_resumed_holds_under_every_fault_at_every_request() {
    jobs_hold(Case::Resume);
}

/// The checker itself: a layer one of whose uploads was not made does not restore.
#[test]
#[should_panic(expected = "swallowed: ")]
fn a_swallowed_upload_error_of_a_job_is_caught() {
    let mut stage = Stage::new(WHOLE);
    for request in 0..40 {
        stage.new_collection();
        let chaos = Chaos::new(Strike::Only(request, Mode::Refused));
        stage
            .weather
            .is(&swallowing(chaos.within(StoreOptions::default())));
        let id = stage.submit(false);
        stage.rest(id);
        stage.weather.clears();
        stage.all_that_is_listed_restores("swallowed");
    }
}

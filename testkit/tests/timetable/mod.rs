//! A database with runners of jobs and schedules, a collection beside it, and a clock that stands still until it is
//! moved. What is written is remembered, so that every restore can be compared.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore_archive::{BackupSelector, Collection, CollectionUri, LayerEntry, StoreOptions};
use icecore_backup::jobs::{BackupJobs, BackupSpec, JobRow, JobRunner, JobTable, RunnerOptions};
use icecore_backup::schedule::{
    NewSchedule, Outcome, ScheduleRow, ScheduleStatus, ScheduleTable, Scheduler,
};
use icecore_engine::{Durability, Engine, ScanDirection};
use icecore_gc::{GcOptions, ProtectedTimestamps, Record, collect};
use icecore_mvcc::{KeyRange, KeyspaceSettings, ManualClock, Timestamp};
use icecore_restore::{RestoreOptions, restore};
use icecore_testkit::scratch;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::flaky::Flaky;

pub const MINUTE: u64 = 60;
pub const HOUR: u64 = 3600;
pub const DAY: u64 = 24 * HOUR;

/// 2022-02-09T00:00:30Z, in seconds.
pub const BEGIN: u64 = 1_644_364_830;

/// Rows by key.
pub type State = BTreeMap<String, String>;

pub struct Timetable {
    pub folder: TempDir,
    pub clock: ManualClock,
    pub engine: Option<Engine>,
    pub runner: Option<JobRunner>,
    pub scheduler: Option<Scheduler>,
    pub flaky: Flaky,
    pub store: StoreOptions,
    pub runtime: Runtime,
    /// What was written, and when.
    log: BTreeMap<Timestamp, (String, Option<String>)>,
}

impl Timetable {
    pub fn new() -> Self {
        let folder = scratch::folder().unwrap();
        let clock = ManualClock::new(at(BEGIN));
        let flaky = Flaky::default();
        let store = flaky.within(StoreOptions {
            clock: Arc::new(clock.clone()),
            ..StoreOptions::default()
        });
        let mut table = Self {
            folder,
            clock,
            engine: None,
            runner: None,
            scheduler: None,
            flaky,
            store,
            runtime: scratch::runtime().unwrap(),
            log: BTreeMap::new(),
        };
        table.open(2);
        table
            .engine()
            .create_keyspace("bank.accounts", KeyspaceSettings::default())
            .unwrap();
        table
    }

    /// Opens the database and starts the runners; with no jobs at a time, jobs wait.
    pub fn open(&mut self, max_running: usize) {
        let options = scratch::small_engine(Arc::new(self.clock.clone()));
        let engine = Engine::open(self.folder.path().join("db"), &options).unwrap();
        let options = RunnerOptions {
            max_running,
            checkpoint_interval: Duration::from_millis(50),
            ..RunnerOptions::default()
        };
        let handler = Arc::new(BackupJobs::new(self.store.clone()));
        let runner = JobRunner::start(&engine, vec![handler], options).unwrap();
        self.scheduler = Some(Scheduler::new(runner.handle(), self.store.clone()));
        self.runner = Some(runner);
        self.engine = Some(engine);
    }

    /// Stops the runners and closes the database.
    pub fn close(&mut self) {
        self.scheduler = None;
        self.runner.take().unwrap().stop().unwrap();
        self.engine.take().unwrap().close().unwrap();
    }

    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().unwrap()
    }

    pub fn table(&self) -> ScheduleTable {
        ScheduleTable::new(self.engine())
    }

    pub fn uri(&self) -> String {
        let dir = self.folder.path().join("collection");
        CollectionUri::from_local_path(dir).unwrap().to_string()
    }

    pub fn spec(&self) -> BackupSpec {
        BackupSpec {
            revision_history: true,
            ..BackupSpec::into(self.uri())
        }
    }

    /// Incrementals every hour, a full at once and then every day.
    pub fn hourly(&self) -> NewSchedule {
        NewSchedule {
            first_run: Some("now".to_owned()),
            ..NewSchedule::new("hourly", self.spec(), "@hourly".parse().unwrap())
        }
    }

    pub fn create(&self, new: NewSchedule) -> ScheduleRow {
        let schedules = self.table();
        let created = schedules.create(new, &self.store);
        self.runtime.block_on(created).unwrap()
    }

    pub fn row(&self) -> ScheduleRow {
        self.table().get("hourly").unwrap()
    }

    pub fn status(&self) -> ScheduleStatus {
        ScheduleStatus::of(self.engine(), self.row()).unwrap()
    }

    pub fn pass(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    pub fn put(&mut self, key: &str, value: &str) -> Timestamp {
        let keyspace = self.engine().keyspace("bank.accounts").unwrap();
        let written = keyspace.put(key, value, Durability::Buffered).unwrap();
        let row = (key.to_owned(), Some(value.to_owned()));
        self.log.insert(written, row);
        written
    }

    pub fn delete(&mut self, key: &str) -> Timestamp {
        let keyspace = self.engine().keyspace("bank.accounts").unwrap();
        let written = keyspace.delete(key, Durability::Buffered).unwrap();
        self.log.insert(written, (key.to_owned(), None));
        written
    }

    /// A put, a change and a delete, each of its own key.
    pub fn write(&mut self, number: u64) {
        self.put(&format!("new {number:06}"), &format!("value {number}"));
        self.put("counter", &number.to_string());
        self.put(&format!("passing {}", number % 7), "here");
        self.delete(&format!("passing {}", (number + 3) % 7));
    }

    pub fn state_at(&self, time: Timestamp) -> State {
        let mut state = State::new();
        for (key, value) in self.log.range(..=time).map(|(_, row)| row) {
            match value {
                Some(value) => state.insert(key.clone(), value.clone()),
                None => state.remove(key),
            };
        }
        state
    }

    /// Looks once.
    pub fn look(&self) -> Vec<Outcome> {
        let looked = self.scheduler.as_ref().unwrap().look().unwrap();
        looked
            .ended
            .into_iter()
            .map(|(_, outcome)| outcome)
            .collect()
    }

    /// Runs what is due, until nothing is any more.
    pub fn run(&self) -> Vec<Outcome> {
        let scheduler = self.scheduler.as_ref().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let mut ended = Vec::new();
        loop {
            let looked = scheduler.look().unwrap();
            ended.extend(looked.ended.into_iter().map(|(_, outcome)| outcome));
            if looked.busy.is_empty() && looked.upkeep.is_empty() {
                return ended;
            }
            for row in looked.upkeep {
                self.runtime.block_on(scheduler.tend(row));
            }
            assert!(Instant::now() < until, "it never ends: {:?}", self.row());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// As [`Timetable::run`]; all must succeed. How many there were.
    pub fn run_well(&self) -> usize {
        let ended = self.run();
        let well = ended.iter().all(|outcome| *outcome == Outcome::Succeeded);
        assert!(well, "{ended:?}: {:#?}", self.row());
        ended.len()
    }

    /// Collects all that nothing holds.
    pub fn collect(&self) {
        let options = GcOptions {
            ttl_override: Some(Duration::ZERO),
            ..GcOptions::default()
        };
        collect(self.engine(), &options).unwrap();
    }

    pub fn records(&self) -> Vec<Record> {
        ProtectedTimestamps::new(self.engine()).list().unwrap()
    }

    pub fn jobs(&self) -> Vec<JobRow> {
        JobTable::new(self.engine()).list().unwrap()
    }

    pub async fn collection(&self) -> Collection {
        let uri = self.uri().parse().unwrap();
        Collection::open(&uri, self.store.clone()).await.unwrap()
    }

    /// The chains, oldest first, each with its layers.
    pub fn chains(&self) -> Vec<Vec<LayerEntry>> {
        self.runtime.block_on(async {
            let collection = self.collection().await;
            let mut chains = Vec::new();
            for full in collection.fulls().await.unwrap().into_iter().rev() {
                let chain = collection.chain(&full.path).await.unwrap();
                chains.push(chain.layers().to_vec());
            }
            chains
        })
    }

    /// The ends of all layers, in order.
    pub fn ends(&self) -> Vec<Timestamp> {
        let mut ends: Vec<_> = self
            .chains()
            .iter()
            .flatten()
            .map(|layer| layer.end)
            .collect();
        ends.sort();
        ends
    }

    /// What a restore as of a time brings back, into a database of its own.
    pub fn restored(&self, from: BackupSelector, time: Timestamp) -> State {
        let folder = scratch::folder().unwrap();
        let options = scratch::small_engine(Arc::new(self.clock.clone()));
        let engine = Engine::open(folder.path().join("db"), &options).unwrap();
        self.runtime.block_on(async {
            let options = RestoreOptions {
                from,
                as_of: Some(time),
                ..RestoreOptions::default()
            };
            let collection = self.collection().await;
            restore(&engine, &collection, &options).await.unwrap();
        });
        state_of(&engine)
    }

    /// Compares every layer's end, and a time in the middle of each, with what was written.
    pub fn compare_all(&self) {
        for chain in self.chains() {
            let full = chain[0].path.full().clone();
            let mut before = None;
            for layer in &chain {
                let middle = before.map(|start: Timestamp| {
                    Timestamp::from_nanos(start.nanos().midpoint(layer.end.nanos()))
                });
                for time in [Some(layer.end), middle].into_iter().flatten() {
                    let restored = self.restored(BackupSelector::Full(full.clone()), time);
                    assert!(restored == self.state_at(time), "{full} as of {time}");
                }
                before = Some(layer.end);
            }
        }
    }
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::from_nanos(seconds * 1_000_000_000)
}

pub fn state_of(engine: &Engine) -> State {
    let keyspace = engine.keyspace("bank.accounts").unwrap();
    let snapshot = engine.snapshot();
    let scan = keyspace
        .scan(&snapshot, &KeyRange::all(), ScanDirection::Forward)
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    scan.map(|entry| entry.map(|e| (text(e.key), text(e.value))).unwrap())
        .collect()
}

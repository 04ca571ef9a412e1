//! What runs schedules: a thread that looks every so often what falls due, and has jobs made for it.
//!
//! An embedding server starts one beside its job runner, and stops it before that one.

use std::any::Any;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use icecore_archive::StoreOptions;
use icecore_engine::{Engine, SYSTEM_KEYSPACE, Snapshot};
use icecore_mvcc::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::plan::{Action, JobFact, Moment, plan, refused};
use super::row::{Outcome, Run, ScheduleRow};
use super::status::protected_age;
use super::table::ScheduleTable;
use super::upkeep;
use crate::error::{Error, Result};
use crate::jobs::{BackupSpec, JobHandle, JobId, JobRow, JobState};
use crate::mode::Mode;

/// Settings of a runner of schedules.
#[derive(Debug, Clone)]
pub struct ScheduleOptions {
    /// How often it looks whether something fell due, a job ended or the clock jumped. 1 ms to an hour. Default a
    /// second. Looking costs a read of the rows.
    pub poll: Duration,
    /// How collections are opened for retention and compaction. Keys are those that a schedule names, if it names
    /// any.
    pub store: StoreOptions,
}

impl Default for ScheduleOptions {
    fn default() -> Self {
        Self {
            poll: Duration::from_secs(1),
            store: StoreOptions::default(),
        }
    }
}

impl ScheduleOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let range = Duration::from_millis(1)..=Duration::from_secs(3600);
        if range.contains(&self.poll) {
            return Ok(());
        }
        Err(Error::InvalidOption {
            name: "poll",
            reason: format!("{:?} is not within 1 ms to an hour", self.poll),
        })
    }
}

/// One look at the schedules at a time, for those who have a thread of their own.
#[derive(Debug)]
pub struct Scheduler {
    table: ScheduleTable,
    jobs: JobHandle,
    store: StoreOptions,
    /// Hold the states that jobs are to take, until a job holds its own.
    pins: Mutex<BTreeMap<JobId, Snapshot>>,
}

/// What one look came to.
#[derive(Debug, Default)]
pub struct Looked {
    /// Labels of the schedules of which a backup is under way, or of which another look has news; those whose jobs
    /// are paused do not count.
    pub busy: BTreeSet<String>,
    /// Schedules whose retention and compaction are due; run each with [`Scheduler::tend`].
    pub upkeep: Vec<ScheduleRow>,
    /// Backups that ended, and how.
    pub ended: Vec<(String, Outcome)>,
}

impl Scheduler {
    /// One for the schedules of an engine, whose backups run as jobs there.
    #[must_use]
    pub fn new(jobs: JobHandle, store: StoreOptions) -> Self {
        Self {
            table: ScheduleTable::new(jobs.engine()),
            jobs,
            store,
            pins: Mutex::default(),
        }
    }

    /// Looks at every schedule, and has done what is to be done now. One that cannot be read is told in the log and
    /// does not stop the others.
    ///
    /// # Errors
    /// [`Error::Engine`] when the disk fails.
    pub fn look(&self) -> Result<Looked> {
        let mut looked = Looked::default();
        for row in self.table.read_all()? {
            let label = match row {
                Ok(row) if row.engine == self.table.engine().id() => row.label,
                // Nothing of it is to be done here.
                Ok(_) => continue,
                Err(error) => {
                    tracing::error!(%error, "a schedule is not run");
                    continue;
                }
            };
            match self.look_at(&label, &mut looked) {
                // Somebody removed it just now.
                Err(Error::NoSuchSchedule { .. }) => {}
                looked => looked?,
            }
        }
        Ok(looked)
    }

    fn look_at(&self, label: &str, looked: &mut Looked) -> Result<()> {
        let moment = self.moment();
        let (mut row, actions) = self.table.update(label, |row| {
            let before = row.clone();
            let rests = row.rests_in(self.table.engine().id()).is_some();
            let failed = Mutex::new(None);
            let fact = |job| {
                self.fact(job).unwrap_or_else(|error| {
                    *failed.lock() = Some(error);
                    JobFact::Active
                })
            };
            let actions = plan(row, rests, moment, &fact, &mut JobId::random);
            if let Some(error) = failed.into_inner() {
                return Err(error);
            }
            Ok((*row != before, actions))
        })?;
        for action in actions {
            match action {
                Action::Start(run) => self.start(&mut row, &run, looked)?,
                Action::Resume(job) => self.resume(job)?,
                Action::Upkeep => looked.upkeep.push(row.clone()),
                Action::Count(kind, outcome) => {
                    count(kind.as_str(), outcome);
                    looked.ended.push((row.label.clone(), outcome));
                }
            }
        }
        for run in row.running() {
            let job = self.jobs.get(run.job)?;
            if matches!(job.state, JobState::Pending | JobState::Running) {
                self.pin(run, &job)?;
            }
            let rests =
                job.state == JobState::Paused && (job.error.is_none() || run.stuck.is_some());
            if !rests {
                looked.busy.insert(row.label.clone());
            }
        }
        self.show(&row, moment)
    }

    fn moment(&self) -> Moment {
        let engine = self.table.engine();
        // The wall first: the engine's clock is never before it.
        let wall = self.table.wall();
        Moment {
            wall,
            engine: engine.now(),
            floor: floor(engine),
        }
    }

    fn fact(&self, job: JobId) -> Result<JobFact> {
        let row = match self.jobs.get(job) {
            Ok(row) => row,
            Err(Error::NoSuchJob { .. }) => return Ok(JobFact::Missing),
            Err(error) => return Err(error),
        };
        let fact = fact_of_row(row.clone());
        if fact != JobFact::Active || row.protection.is_some() {
            self.pins.lock().remove(&job);
        }
        Ok(fact)
    }

    /// Holds the state that a job is to take, until the job does: after a restart too, as far as it is still there.
    fn pin(&self, run: &Run, job: &JobRow) -> Result<()> {
        if let (Some(as_of), None) = (run.as_of, &job.protection) {
            let mut pins = self.pins.lock();
            if let Entry::Vacant(vacant) = pins.entry(run.job) {
                vacant.insert(self.table.engine().snapshot_at(as_of)?);
            }
        }
        Ok(())
    }

    /// Has a job made. One that cannot be made is a backup that failed.
    fn start(&self, row: &mut ScheduleRow, run: &Run, looked: &mut Looked) -> Result<()> {
        let engine = self.table.engine();
        let made = (|| {
            if let Some(as_of) = run.as_of {
                let pin = engine.snapshot_at(as_of)?;
                self.pins.lock().insert(run.job, pin);
            }
            let spec = backup_of(row, run);
            self.jobs.submit_as(run.job, "backup", spec.to_json()?)
        })();
        let error = match made {
            Ok(_) => {
                tracing::info!(label = row.label, job = %run.job, at = %run.at, "a backup of a schedule begins");
                return Ok(());
            }
            Err(error) => error.to_string(),
        };
        tracing::warn!(
            label = row.label,
            error,
            "a backup of a schedule cannot begin"
        );
        self.pins.lock().remove(&run.job);
        let moment = self.moment();
        let (now, actions) = self.table.update(&row.label, |row| {
            Ok((true, refused(row, moment, run.job, &error)))
        })?;
        *row = now;
        for action in actions {
            if let Action::Count(kind, outcome) = action {
                count(kind.as_str(), outcome);
                looked.ended.push((row.label.clone(), outcome));
            }
        }
        Ok(())
    }

    fn resume(&self, job: JobId) -> Result<()> {
        match self.jobs.resume(job) {
            // Somebody was faster.
            Ok(_) | Err(Error::JobState { .. } | Error::NoSuchJob { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Runs retention and compaction of a schedule, and notes in its row what came of it.
    pub fn tend(&self, row: ScheduleRow) -> impl Future<Output = ()> + Send + 'static {
        upkeep::run(self.table.clone(), row, self.store.clone())
    }

    fn show(&self, row: &ScheduleRow, moment: Moment) -> Result<()> {
        let seconds = |time: Timestamp| time.nanos() as f64 / 1e9;
        let label = || row.label.clone();
        let next = [row.fulls.next, row.incrementals.next];
        if let Some(next) = next.into_iter().flatten().min() {
            metrics::gauge!("icecore_schedule_next_run_seconds", "schedule" => label())
                .set(seconds(next));
        }
        let succeeded = row.fulls.succeeded.max(row.incrementals.succeeded);
        if let Some(last) = succeeded {
            metrics::gauge!("icecore_schedule_last_success_seconds", "schedule" => label())
                .set(seconds(last));
        }
        if let Some(age) = protected_age(self.table.engine(), row, moment.engine)? {
            metrics::gauge!("icecore_schedule_protected_age_seconds", "schedule" => label())
                .set(age.as_secs_f64());
        }
        Ok(())
    }
}

fn count(kind: &'static str, outcome: Outcome) {
    metrics::counter!("icecore_schedule_runs_total", "kind" => kind, "outcome" => outcome.as_str())
        .increment(1);
}

/// The backup of a run, as its job takes it.
fn backup_of(row: &ScheduleRow, run: &Run) -> BackupSpec {
    let backup = row.spec.backup.clone();
    BackupSpec {
        as_of: run.as_of.map(|as_of| as_of.nanos().to_string()),
        onto: run.onto.as_ref().map(ToString::to_string),
        mode: match (backup.mode, &run.onto) {
            // Of incrementals there are no fast ones.
            (Mode::Fast, Some(_)) => Mode::Auto,
            (mode, _) => mode,
        },
        ..backup
    }
}

fn fact_of_row(row: JobRow) -> JobFact {
    let error = || row.error.clone().unwrap_or_default();
    match row.state {
        JobState::Pending | JobState::Running | JobState::Pausing | JobState::Cancelling => {
            JobFact::Active
        }
        JobState::Paused => match row.error {
            Some(error) => JobFact::Stuck(error),
            None => JobFact::Active,
        },
        JobState::Succeeded => JobFact::Succeeded(row.result.unwrap_or_default()),
        JobState::Failed => JobFact::Failed(error()),
        JobState::Cancelled => JobFact::Cancelled,
    }
}

/// The oldest time that can be read of everything that backups take.
fn floor(engine: &Engine) -> Timestamp {
    let taken = engine.keyspaces().into_iter();
    let taken = taken.filter(|keyspace| !keyspace.descriptor().settings.exclude_from_backup);
    let system = engine.keyspace_by_id(SYSTEM_KEYSPACE).ok();
    let thresholds = taken.chain(system).map(|keyspace| keyspace.threshold());
    thresholds.max().unwrap_or(Timestamp::MIN)
}

/// A thread that runs schedules. It keeps the engine open until it is stopped or dropped. Backups under way are
/// the job runner's, which is stopped after it.
pub struct ScheduleRunner {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    scheduler: Scheduler,
    poll: Duration,
    stopping: AtomicBool,
    wake: Notify,
    panicked: Mutex<Option<String>>,
}

impl std::fmt::Debug for ScheduleRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ScheduleRunner")
            .field("poll", &self.shared.poll)
            .finish_non_exhaustive()
    }
}

impl ScheduleRunner {
    /// Starts it. What fell due while nobody ran schedules is taken up at once, one backup for all of it.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Thread`].
    pub fn start(jobs: JobHandle, options: ScheduleOptions) -> Result<Self> {
        options.validate()?;
        let shared = Arc::new(Shared {
            scheduler: Scheduler::new(jobs, options.store),
            poll: options.poll,
            stopping: AtomicBool::new(false),
            wake: Notify::new(),
            panicked: Mutex::new(None),
        });
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Thread { source })?;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("icecore-schedules".to_owned())
            .spawn(move || of_thread.thread(&runtime))
            .map_err(|source| Error::Thread { source })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// The schedules.
    #[must_use]
    pub fn table(&self) -> &ScheduleTable {
        &self.shared.scheduler.table
    }

    /// Has it look at once, after a change say, rather than at its next turn.
    pub fn wake(&self) {
        self.shared.wake.notify_one();
    }

    /// Whether its thread runs: it does until it is stopped, or panics.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it. A compaction or retention under way is given up, and run again by the next runner.
    ///
    /// # Errors
    /// [`Error::RunnerPanicked`] if it had ended with a panic.
    pub fn stop(mut self) -> Result<()> {
        self.join();
        match self.shared.panicked.lock().clone() {
            Some(message) => Err(Error::RunnerPanicked { message }),
            None => Ok(()),
        }
    }

    fn join(&mut self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake.notify_one();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the schedule runner's thread ended with a panic");
        }
    }
}

impl Drop for ScheduleRunner {
    fn drop(&mut self) {
        self.join();
    }
}

type Tending<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

impl Shared {
    fn thread(&self, runtime: &tokio::runtime::Runtime) {
        let work = AssertUnwindSafe(|| runtime.block_on(self.work()));
        if let Err(payload) = std::panic::catch_unwind(work) {
            let message = panic_text(payload.as_ref());
            tracing::error!(message, "the schedule runner panicked, and stops");
            *self.panicked.lock() = Some(message);
        }
    }

    async fn work(&self) {
        let mut tending: FuturesUnordered<Tending<'_>> = FuturesUnordered::new();
        let mut tended = BTreeSet::new();
        while !self.stopping.load(Ordering::Acquire) {
            match self.scheduler.look() {
                Ok(looked) => {
                    for row in looked.upkeep {
                        let label = row.label.clone();
                        if tended.insert(label.clone()) {
                            let tend = self.scheduler.tend(row);
                            tending.push(Box::pin(async move {
                                tend.await;
                                label
                            }));
                        }
                    }
                }
                Err(error) => {
                    tracing::error!(%error, "the schedules cannot be looked at; another look follows");
                }
            }
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(self.poll) => {}
                Some(label) = tending.next(), if !tending.is_empty() => {
                    tended.remove(&label);
                }
            }
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
        .to_owned()
}

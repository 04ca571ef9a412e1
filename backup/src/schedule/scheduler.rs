//! One look at the schedules: what falls due is decided by [`plan`], and jobs are made for it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;

use icecore_archive::StoreOptions;
use icecore_engine::{Engine, SYSTEM_KEYSPACE, Snapshot};
use icecore_mvcc::Timestamp;
use parking_lot::Mutex;

use super::plan::{Action, JobFact, Kind, Moment, plan, refused};
use super::row::{Outcome, Run, ScheduleRow};
use super::status::protected_age;
use super::table::ScheduleTable;
use super::upkeep;
use crate::error::{Error, Result};
use crate::jobs::{BackupSpec, JobHandle, JobId, JobRow, JobState};
use crate::mode::Mode;

/// One look at the schedules at a time, for those who have a thread of their own.
#[derive(Debug)]
pub struct Scheduler {
    pub(super) table: ScheduleTable,
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

impl Looked {
    fn count(&mut self, label: &str, kind: Kind, outcome: Outcome) {
        metrics::counter!("icecore_schedule_runs_total", "kind" => kind.as_str(), "outcome" => outcome.as_str())
            .increment(1);
        self.ended.push((label.to_owned(), outcome));
    }
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
                Action::Count(kind, outcome) => looked.count(label, kind, outcome),
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
        let holds_its_own = row.protection.is_some();
        let fact = fact_of_row(row);
        if fact != JobFact::Active || holds_its_own {
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
                looked.count(&row.label, kind, outcome);
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

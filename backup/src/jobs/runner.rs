//! The runner: a thread that runs jobs, one or several at a time.
//!
//! An embedding server starts one per engine and stops it before it closes the engine. Since one process at
//! a time has an engine open, a job that is at work as the runner starts was left by a process that is
//! gone: it is taken up again at once, from its last checkpoint.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt;
use futures::stream::{FuturesUnordered, StreamExt};
use icecore_engine::Engine;
use parking_lot::Mutex;
use serde_json::Value;

use super::handler::{JobContext, JobEnd, JobFailure, JobHandler, Live};
use super::orphans::release_orphans;
use super::row::{JobId, JobOwner, JobRow};
use super::state::{JobEvent, JobState};
use super::table::{JobTable, KeepJobs};
use crate::background::{Background, Signals, panic_text};
use crate::error::{Error, Result};

/// Settings of a runner. Plain data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RunnerOptions {
    /// Jobs at work at a time, up to 64. 0 runs none: jobs can be paused, resumed and cancelled, and
    /// wait for another runner. Default 2.
    pub max_running: usize,
    /// How often a job notes what it did: the most that a kill makes it do again. 10 ms to a day.
    /// Default a minute.
    pub checkpoint_interval: Duration,
    /// How long jobs that are over stay listed.
    pub keep: KeepJobs,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self {
            max_running: 2,
            checkpoint_interval: Duration::from_secs(60),
            keep: KeepJobs::default(),
        }
    }
}

impl RunnerOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let invalid = |name, reason| Err(Error::InvalidOption { name, reason });
        if self.max_running > 64 {
            let reason = format!("{} is not within 0 to 64", self.max_running);
            return invalid("max_running", reason);
        }
        let range = Duration::from_millis(10)..=Duration::from_secs(24 * 3600);
        if !range.contains(&self.checkpoint_interval) {
            let reason = format!(
                "{:?} is not within 10 ms to a day",
                self.checkpoint_interval
            );
            return invalid("checkpoint_interval", reason);
        }
        Ok(())
    }
}

/// A running runner. It keeps the engine open until it is stopped or dropped; both ask the jobs at work to
/// stop, and wait until they have noted what they did.
pub struct JobRunner {
    shared: Arc<Shared>,
    background: Background,
}

impl std::fmt::Debug for JobRunner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobRunner")
            .field("options", &self.shared.options)
            .finish_non_exhaustive()
    }
}

struct Shared {
    table: JobTable,
    handlers: BTreeMap<&'static str, Arc<dyn JobHandler>>,
    options: RunnerOptions,
    owner: JobOwner,
    live: Mutex<BTreeMap<JobId, Arc<Live>>>,
    signals: Arc<Signals>,
}

impl JobRunner {
    /// Starts a runner. Jobs that a process which is gone left at work go on at once.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Thread`]; [`Error::Engine`] when the engine is read-only or the
    /// disk fails; [`Error::UnreadableJob`].
    pub fn start(
        engine: &Engine,
        handlers: Vec<Arc<dyn JobHandler>>,
        options: RunnerOptions,
    ) -> Result<Self> {
        options.validate()?;
        if engine.is_read_only() {
            let action = "run jobs";
            return Err(icecore_engine::Error::ReadOnly { action }.into());
        }
        let table = JobTable::new(engine);
        recover(&table)?;
        table.trim(options.keep)?;
        release_orphans(&table)?;
        let handlers: BTreeMap<_, _> = handlers.into_iter().map(|h| (h.kind(), h)).collect();
        sweep(&table, &handlers);
        let shared = Arc::new(Shared {
            table,
            handlers,
            options,
            owner: JobOwner::new(),
            live: Mutex::default(),
            signals: Arc::default(),
        });
        let (signals, of_thread) = (Arc::clone(&shared.signals), Arc::clone(&shared));
        let work = move || async move { of_thread.work().await };
        let background = Background::start("icecore-jobs", "the job runner", signals, work)?;
        Ok(Self { shared, background })
    }

    /// Makes a job; it is taken up as soon as its turn comes.
    ///
    /// # Errors
    /// [`Error::UnknownKind`], [`Error::JobRefused`]; [`Error::Engine`] when the disk fails.
    pub fn submit(&self, kind: &str, spec: Value) -> Result<JobRow> {
        self.shared.submit(JobId::random(), kind, spec)
    }

    /// What others need to have jobs made and to look after them.
    #[must_use]
    pub fn handle(&self) -> JobHandle {
        JobHandle {
            shared: Arc::clone(&self.shared),
        }
    }

    /// All jobs, the newest first, with their progress of this moment.
    ///
    /// # Errors
    /// As [`JobTable::list`].
    pub fn list(&self) -> Result<Vec<JobRow>> {
        let mut rows = self.shared.table.list()?;
        rows.iter_mut().for_each(|row| self.shared.overlay(row));
        Ok(rows)
    }

    /// One job, with its progress of this moment.
    ///
    /// # Errors
    /// As [`JobTable::get`].
    pub fn get(&self, id: JobId) -> Result<JobRow> {
        self.shared.get(id)
    }

    /// Has a job pause: at its next file, if it is at work. It keeps what it did and what it protects.
    ///
    /// # Errors
    /// [`Error::JobState`], as [`JobTable::get`].
    pub fn pause(&self, id: JobId) -> Result<JobRow> {
        self.shared.ask(id, JobEvent::Pause)
    }

    /// Has a paused job go on.
    ///
    /// # Errors
    /// [`Error::JobState`], as [`JobTable::get`].
    pub fn resume(&self, id: JobId) -> Result<JobRow> {
        self.shared.ask(id, JobEvent::Resume)
    }

    /// Gives a job up: what it holds is released. What it stored already stays, as junk.
    ///
    /// # Errors
    /// [`Error::JobState`], as [`JobTable::get`].
    pub fn cancel(&self, id: JobId) -> Result<JobRow> {
        self.shared.ask(id, JobEvent::Cancel)
    }

    /// Whether its thread runs: it does until it is stopped, or panics.
    pub fn is_running(&self) -> bool {
        self.background.is_running()
    }

    /// Stops the runner, and returns once its jobs have noted what they did and its thread let go of the
    /// engine. Jobs that were at work are taken up by the next runner.
    ///
    /// # Errors
    /// [`Error::RunnerPanicked`] if it had ended with a panic.
    pub fn stop(self) -> Result<()> {
        self.background.stop()
    }
}

/// Makes jobs and looks after them, for those who outlive no runner and own none. It keeps the engine open. Jobs
/// that are made when the runner was stopped wait for the next.
#[derive(Clone)]
pub struct JobHandle {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for JobHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("JobHandle").finish_non_exhaustive()
    }
}

impl JobHandle {
    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.shared.table.engine()
    }

    /// Makes a job of that id, or finds the one that was made: called again after a crash, it makes no second.
    ///
    /// # Errors
    /// As [`JobRunner::submit`].
    pub fn submit_as(&self, id: JobId, kind: &str, spec: Value) -> Result<JobRow> {
        match self.shared.table.get(id) {
            Err(Error::NoSuchJob { .. }) => self.shared.submit(id, kind, spec),
            found => found,
        }
    }

    /// As [`JobRunner::get`].
    ///
    /// # Errors
    /// As [`JobTable::get`].
    pub fn get(&self, id: JobId) -> Result<JobRow> {
        self.shared.get(id)
    }

    /// As [`JobRunner::resume`].
    ///
    /// # Errors
    /// [`Error::JobState`], as [`JobTable::get`].
    pub fn resume(&self, id: JobId) -> Result<JobRow> {
        self.shared.ask(id, JobEvent::Resume)
    }
}

/// Takes over what a process that is gone left at work.
fn recover(table: &JobTable) -> Result<()> {
    for row in table.list()? {
        if row.state.is_over() {
            continue;
        }
        if row.engine == table.engine().id() {
            table.apply(row.id, JobEvent::Recovered, |_| ())?;
            continue;
        }
        let error = format!(
            "the job belongs to engine {}, of which this database is a copy; start it anew here",
            row.engine
        );
        table.apply(row.id, JobEvent::Failed, |row| {
            row.error = Some(error.clone());
        })?;
    }
    Ok(())
}

/// Frees what jobs hold that are over. What cannot be freed is no reason not to run the others.
fn sweep(table: &JobTable, handlers: &BTreeMap<&'static str, Arc<dyn JobHandler>>) {
    for (kind, handler) in handlers {
        if let Err(error) = handler.sweep(table) {
            tracing::error!(kind, %error, "what jobs that are over hold could not be freed; it is tried again");
        }
    }
}

impl Shared {
    fn submit(&self, id: JobId, kind: &str, spec: Value) -> Result<JobRow> {
        let handlers = &self.handlers;
        let handler = handlers.get(kind).ok_or_else(|| Error::UnknownKind {
            kind: kind.to_owned(),
            known: handlers.keys().copied().collect::<Vec<_>>().join(", "),
        })?;
        let admitted = handler
            .admit(self.table.engine(), spec)
            .map_err(|failure| Error::JobRefused {
                reason: failure.error,
            })?;
        let row = self
            .table
            .create(id, kind, admitted.description, admitted.spec)?;
        self.signals.wake();
        Ok(row)
    }

    fn get(&self, id: JobId) -> Result<JobRow> {
        let mut row = self.table.get(id)?;
        self.overlay(&mut row);
        Ok(row)
    }

    fn ask(&self, id: JobId, event: JobEvent) -> Result<JobRow> {
        let row = self.table.apply(id, event, |row| {
            if event == JobEvent::Resume {
                row.error = None;
            }
        })?;
        if let Some(live) = self.live.lock().get(&id) {
            live.interrupt.store(true, Ordering::Release);
        }
        self.signals.wake();
        Ok(row)
    }

    async fn work(&self) {
        let mut at_work = FuturesUnordered::new();
        loop {
            let stopping = self.signals.is_stopping();
            if stopping {
                for live in self.live.lock().values() {
                    live.interrupt.store(true, Ordering::Release);
                }
                if at_work.is_empty() {
                    return;
                }
            } else {
                for (row, live) in self.due() {
                    at_work.push(self.run_job(row, live));
                }
            }
            tokio::select! {
                () = self.signals.woken() => {}
                Some(()) = at_work.next(), if !at_work.is_empty() => {}
            }
        }
    }

    /// The jobs to take up now, entered among those at work.
    fn due(&self) -> Vec<(JobRow, Arc<Live>)> {
        let mut rows = match self.table.list() {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the jobs cannot be read");
                return Vec::new();
            }
        };
        // The oldest first.
        rows.reverse();
        let mut live = self.live.lock();
        let mut due = Vec::new();
        for row in rows {
            if live.contains_key(&row.id) || !self.handlers.contains_key(row.kind.as_str()) {
                continue;
            }
            let wanted = match row.state {
                JobState::Pending => live.len() < self.options.max_running,
                // Only frees what it holds.
                JobState::Cancelling => true,
                _ => false,
            };
            if wanted {
                let of_job = Live::new(row.progress);
                live.insert(row.id, Arc::clone(&of_job));
                due.push((row, of_job));
            }
        }
        due
    }

    fn overlay(&self, row: &mut JobRow) {
        if let Some(live) = self.live.lock().get(&row.id)
            && !row.state.is_over()
        {
            row.progress = live.progress();
        }
    }

    /// One job, until it rests again.
    async fn run_job(&self, row: JobRow, live: Arc<Live>) {
        let id = row.id;
        let moved = self.run_states(row, live).await;
        if let Err(error) = moved {
            tracing::error!(%id, %error, "a job's row could not be changed; the next start takes it up");
            // It stays among those at work, so that it is not taken up again and again.
            return;
        }
        self.live.lock().remove(&id);
        sweep(&self.table, &self.handlers);
        if let Err(error) = self.table.trim(self.options.keep) {
            tracing::warn!(%error, "old jobs could not be removed");
        }
    }

    async fn run_states(&self, row: JobRow, live: Arc<Live>) -> Result<()> {
        let Some(handler) = self.handlers.get(row.kind.as_str()) else {
            return Ok(());
        };
        let id = row.id;
        let mut job = JobContext {
            table: self.table.clone(),
            row,
            live,
            checkpoint_interval: self.options.checkpoint_interval,
        };
        if job.row.state != JobState::Cancelling {
            let (owner, now) = (self.owner.clone(), self.table.now());
            let started = self.table.apply(id, JobEvent::Start, |row| {
                row.owner = Some(owner.clone());
                row.started.get_or_insert(now);
                row.runs += 1;
            });
            job.row = match started {
                Ok(row) => row,
                // Somebody was faster: it was paused or cancelled meanwhile.
                Err(Error::JobState { .. }) => {
                    self.signals.wake();
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
            metrics::gauge!("icecore_jobs_running").increment(1.0);
            let run = AssertUnwindSafe(handler.run(&job)).catch_unwind();
            let ended = run.await.unwrap_or_else(|payload| {
                let text = panic_text(payload.as_ref());
                Err(JobFailure::lasting(format!("it panicked: {text}")))
            });
            metrics::gauge!("icecore_jobs_running").decrement(1.0);
            if self.settle(&job, handler.as_ref(), ended).await? {
                return Ok(());
            }
        }
        self.release(&job, handler.as_ref()).await;
        self.note(&job, JobEvent::Stopped, None)
    }

    /// Notes how a run ended; `false` if the job is to be cancelled and holds something yet.
    async fn settle(
        &self,
        job: &JobContext,
        handler: &dyn JobHandler,
        ended: Result<JobEnd, JobFailure>,
    ) -> Result<bool> {
        let (id, progress) = (job.id(), job.live.progress());
        match ended {
            Ok(JobEnd::Done(result)) => {
                self.table.apply(id, JobEvent::Succeeded, |row| {
                    row.progress = progress;
                    row.result = Some(result.clone());
                })?;
                count_end("succeeded");
            }
            Err(failure) if !failure.may_pass => {
                tracing::error!(%id, error = failure.error, "a job failed");
                self.release(job, handler).await;
                self.note(job, JobEvent::Failed, Some(failure.error))?;
                count_end("failed");
            }
            stopped => {
                if self.table.get(id)?.state == JobState::Cancelling {
                    return Ok(false);
                }
                match stopped {
                    Err(failure) => {
                        tracing::warn!(%id, error = failure.error, "a job is paused: something is in its way");
                        self.note(job, JobEvent::Suspended, Some(failure.error))?;
                        count_end("suspended");
                    }
                    Ok(_) => self.note(job, JobEvent::Stopped, None)?,
                }
                // It may have been cancelled or resumed since.
                self.signals.wake();
            }
        }
        Ok(true)
    }

    fn note(&self, job: &JobContext, event: JobEvent, error: Option<String>) -> Result<()> {
        self.table.apply(job.id(), event, |row| {
            row.progress.bytes_per_second = None;
            if error.is_some() {
                row.error.clone_from(&error);
            }
        })?;
        Ok(())
    }

    async fn release(&self, job: &JobContext, handler: &dyn JobHandler) {
        let release = AssertUnwindSafe(handler.release(job)).catch_unwind();
        let error = match release.await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.error,
            Err(payload) => panic_text(payload.as_ref()),
        };
        tracing::error!(id = %job.id(), error, "what a job held could not be released; it is tried again");
    }
}

fn count_end(outcome: &'static str) {
    metrics::counter!("icecore_jobs_ended_total", "outcome" => outcome).increment(1);
}

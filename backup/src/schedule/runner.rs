//! What runs schedules: a thread that looks every so often what falls due, and has jobs made for it.
//!
//! An embedding server starts one beside its job runner, and stops it before that one.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use icecore_archive::StoreOptions;

use super::scheduler::Scheduler;
use super::table::ScheduleTable;
use crate::background::{Background, Signals};
use crate::error::{Error, Result};
use crate::jobs::JobHandle;

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

/// A thread that runs schedules. It keeps the engine open until it is stopped or dropped. Backups under way are
/// the job runner's, which is stopped after it.
pub struct ScheduleRunner {
    shared: Arc<Shared>,
    background: Background,
}

struct Shared {
    scheduler: Scheduler,
    poll: Duration,
    signals: Arc<Signals>,
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
            signals: Arc::default(),
        });
        let (signals, of_thread) = (Arc::clone(&shared.signals), Arc::clone(&shared));
        let work = move || async move { of_thread.work().await };
        let background =
            Background::start("icecore-schedules", "the schedule runner", signals, work)?;
        Ok(Self { shared, background })
    }

    /// The schedules.
    #[must_use]
    pub fn table(&self) -> &ScheduleTable {
        &self.shared.scheduler.table
    }

    /// Has it look at once, after a change say, rather than at its next turn.
    pub fn wake(&self) {
        self.shared.signals.wake();
    }

    /// Whether its thread runs: it does until it is stopped, or panics.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.background.is_running()
    }

    /// Stops it. A compaction or retention under way is given up, and run again by the next runner.
    ///
    /// # Errors
    /// [`Error::RunnerPanicked`] if it had ended with a panic.
    pub fn stop(self) -> Result<()> {
        self.background.stop()
    }
}

type Tending<'a> = Pin<Box<dyn Future<Output = String> + Send + 'a>>;

impl Shared {
    async fn work(&self) {
        let mut tending: FuturesUnordered<Tending<'_>> = FuturesUnordered::new();
        let mut tended = BTreeSet::new();
        while !self.signals.is_stopping() {
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
                () = self.signals.woken() => {}
                () = tokio::time::sleep(self.poll) => {}
                Some(label) = tending.next(), if !tending.is_empty() => {
                    tended.remove(&label);
                }
            }
        }
    }
}

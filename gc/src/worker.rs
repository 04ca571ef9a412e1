//! The background worker: a thread that runs rounds.
//!
//! An embedding server starts one per engine and stops it before it closes the engine. A round that
//! fails is logged and counted, shows in [`Worker::last_error`], and is tried again after the
//! interval. A panic ends the worker, and shows in [`Worker::status`] and from [`Worker::stop`]:
//! what panicked once is not run again on the same data without somebody looking.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use icecore_engine::Engine;
use parking_lot::{Condvar, Mutex};

use crate::error::{Error, Result};
use crate::options::WorkerOptions;
use crate::report::GcReport;
use crate::round;

/// A running worker. It keeps the engine open until it is stopped or dropped; both wait for the
/// present round to end at its next step (a compaction is not interrupted).
#[derive(Debug)]
pub struct Worker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What is known of a worker.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct WorkerStatus {
    /// Whether its thread runs.
    pub running: bool,
    /// Rounds that ended well.
    pub rounds: u64,
    /// Rounds that failed.
    pub failed_rounds: u64,
    /// Why the last round failed; `None` if it ended well.
    pub last_error: Option<String>,
    /// What the panic said that ended the worker.
    pub panicked: Option<String>,
    /// What the last round that ended well did.
    pub last_report: Option<GcReport>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// Signalled when `State::stopping` is set.
    stop: Condvar,
}

/// Guarded by `Shared::state`.
#[derive(Debug, Default)]
struct State {
    stopping: bool,
    status: WorkerStatus,
}

impl Worker {
    /// Starts a worker; its first round begins at once.
    ///
    /// # Errors
    /// [`Error::InvalidOption`], [`Error::Thread`]; [`Error::Engine`] when the engine is read-only.
    pub fn start(engine: Engine, options: WorkerOptions) -> Result<Self> {
        options.validate()?;
        if engine.is_read_only() {
            let action = "run the garbage-collection worker";
            return Err(icecore_engine::Error::ReadOnly { action }.into());
        }
        let shared = Arc::new(Shared::default());
        shared.state.lock().status.running = true;
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new()
            .name("icecore-gc".to_owned())
            .spawn(move || of_thread.work(engine, &options))
            .map_err(|source| Error::Thread { source })?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// Stops the worker, and returns once its thread has ended and let go of the engine.
    ///
    /// # Errors
    /// [`Error::WorkerPanicked`] if it had ended with a panic.
    pub fn stop(mut self) -> Result<()> {
        self.join();
        match self.status().panicked {
            Some(message) => Err(Error::WorkerPanicked { message }),
            None => Ok(()),
        }
    }

    /// Whether its thread runs: it does until it is stopped, or panics.
    pub fn is_running(&self) -> bool {
        self.shared.state.lock().status.running
    }

    /// Why the last round failed; `None` if it ended well.
    pub fn last_error(&self) -> Option<String> {
        self.shared.state.lock().status.last_error.clone()
    }

    /// What is known of it.
    pub fn status(&self) -> WorkerStatus {
        self.shared.state.lock().status.clone()
    }

    fn join(&mut self) {
        self.shared.state.lock().stopping = true;
        self.shared.stop.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the garbage-collection worker's thread ended with a panic");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.join();
    }
}

impl Shared {
    /// The thread.
    fn work(&self, engine: Engine, options: &WorkerOptions) {
        loop {
            let round = || round::run(&engine, &options.round, &|| self.state.lock().stopping);
            match std::panic::catch_unwind(AssertUnwindSafe(round)) {
                Ok(outcome) => self.note(outcome),
                Err(payload) => {
                    self.note_panic(payload.as_ref());
                    break;
                }
            }
            if !self.rest(options.interval) {
                break;
            }
        }
        drop(engine);
        self.state.lock().status.running = false;
    }

    fn note(&self, outcome: Result<GcReport>) {
        let mut state = self.state.lock();
        let status = &mut state.status;
        match outcome {
            Ok(report) => {
                status.rounds += 1;
                status.last_error = None;
                status.last_report = Some(report);
            }
            Err(error) => {
                status.failed_rounds += 1;
                status.last_error = Some(error.to_string());
                metrics::counter!("icecore_gc_failed_rounds_total").increment(1);
                tracing::error!(%error, "a garbage-collection round failed; it will be tried again");
            }
        }
    }

    fn note_panic(&self, payload: &(dyn Any + Send)) {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let message = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("without a message")
            .to_owned();
        metrics::counter!("icecore_gc_worker_panics_total").increment(1);
        tracing::error!(message, "the garbage-collection worker panicked, and stops");
        let mut state = self.state.lock();
        state.status.failed_rounds += 1;
        state.status.last_error = Some(format!("panic: {message}"));
        state.status.panicked = Some(message);
    }

    /// Waits for the next round; `false` once the worker is to stop.
    fn rest(&self, interval: Duration) -> bool {
        let until = Instant::now() + interval;
        let mut state = self.state.lock();
        while !state.stopping {
            if self.stop.wait_until(&mut state, until).timed_out() {
                break;
            }
        }
        !state.stopping
    }
}

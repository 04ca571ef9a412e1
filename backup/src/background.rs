//! A thread with an event loop of its own, for what goes on until it is told to stop: the runners of jobs and of
//! schedules.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::error::{Error, Result};

/// What the work looks at, and others tell it by.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    stopping: AtomicBool,
    /// Signalled when there may be something to do.
    wake: Notify,
    panicked: Mutex<Option<String>>,
}

impl Signals {
    /// Whether the work is to come to its end.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// There may be something to do.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Waits until somebody says so.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }
}

/// The thread. Stopped or dropped, it asks the work to stop, and waits until it has ended and let go of what it
/// held.
#[derive(Debug)]
pub(crate) struct Background {
    /// For the log: `the job runner`.
    what: &'static str,
    signals: Arc<Signals>,
    thread: Option<JoinHandle<()>>,
}

impl Background {
    /// Starts it under that name. A panic ends the work, and shows in [`Background::stop`].
    ///
    /// # Errors
    /// [`Error::Thread`].
    pub(crate) fn start<W: Future<Output = ()>>(
        name: &'static str,
        what: &'static str,
        signals: Arc<Signals>,
        work: impl FnOnce() -> W + Send + 'static,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| Error::Thread { source })?;
        let of_thread = Arc::clone(&signals);
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let work = AssertUnwindSafe(|| runtime.block_on(work()));
                if let Err(payload) = std::panic::catch_unwind(work) {
                    let message = panic_text(payload.as_ref());
                    tracing::error!(message, "{what} panicked, and stops");
                    *of_thread.panicked.lock() = Some(message);
                }
            })
            .map_err(|source| Error::Thread { source })?;
        Ok(Self {
            what,
            signals,
            thread: Some(thread),
        })
    }

    /// Whether the thread runs: it does until it is stopped, or panics.
    pub(crate) fn is_running(&self) -> bool {
        self.thread
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Stops it.
    ///
    /// # Errors
    /// [`Error::RunnerPanicked`] if it had ended with a panic.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.join();
        match self.signals.panicked.lock().take() {
            Some(message) => Err(Error::RunnerPanicked { message }),
            None => Ok(()),
        }
    }

    fn join(&mut self) {
        self.signals.stopping.store(true, Ordering::Release);
        self.signals.wake();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of {} ended with a panic", self.what);
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.join();
    }
}

/// What a panic said.
pub(crate) fn panic_text(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
        .to_owned()
}

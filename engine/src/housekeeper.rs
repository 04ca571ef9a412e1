//! The engine's one background thread: gives back idle iterators, and extends the clock's
//! reservation ahead of need. A panic in it stops the engine.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::catalog::Catalog;
use crate::commit::Sequencer;
use crate::error::{Error, Result};
use crate::store::Space;

/// A running housekeeper. Stops when dropped, and has given back all it held by then.
pub(crate) struct Housekeeper {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What a round looks after. Never the engine itself: were the thread the last to hold it, the
/// database would be closed at a time that nobody waits for.
pub(crate) struct Rounds {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) system: Arc<Space>,
    pub(crate) sequencer: Arc<Sequencer>,
    /// Age at which an idle iterator is given back, to a round.
    pub(crate) iterator_age: Duration,
}

impl Housekeeper {
    /// Starts the thread.
    pub(crate) fn start(rounds: Rounds) -> Result<Self> {
        let period = rounds.period();
        let (stop, stopped) = channel();
        let run = move || {
            while stopped.recv_timeout(period) == Err(RecvTimeoutError::Timeout) {
                if std::panic::catch_unwind(AssertUnwindSafe(|| rounds.make_one())).is_err() {
                    rounds
                        .sequencer
                        .poison("the housekeeper panicked".to_owned());
                    return;
                }
            }
        };
        let thread = std::thread::Builder::new()
            .name("icecore-housekeeper".to_owned())
            .spawn(run)
            .map_err(|e| Error::io("start", "the housekeeper thread", e))?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }
}

impl Rounds {
    /// Time from one round to the next.
    fn period(&self) -> Duration {
        (self.iterator_age / 2).clamp(Duration::from_millis(50), Duration::from_secs(1))
    }

    /// Old iterators go, the clock's reservation is extended.
    fn make_one(&self) {
        let age = self.iterator_age.as_nanos();
        let rounds_idle = age.div_ceil(self.period().as_nanos()).max(1);
        for space in self.catalog.all().iter().chain([&self.system]) {
            space
                .pool()
                .begin_round(u64::try_from(rounds_idle).unwrap_or(u64::MAX));
        }
        if let Err(e) = self.sequencer.reserve_ahead() {
            self.sequencer.poison(format!(
                "the clock's high-water mark could not be extended: {e}"
            ));
        }
    }
}

impl Drop for Housekeeper {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _panicked_and_poisoned = thread.join();
        }
    }
}

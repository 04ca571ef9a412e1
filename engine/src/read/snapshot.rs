//! Timestamps to read at, pinned against garbage collection.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_mvcc::Timestamp;
use parking_lot::Mutex;

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;

/// The timestamps that readers hold, with how many hold each.
#[derive(Default)]
pub(crate) struct Watermark {
    pins: Mutex<BTreeMap<Timestamp, usize>>,
}

/// A time to read at. While it or a clone lives, no threshold rises above it.
#[derive(Clone)]
pub struct Snapshot {
    pin: Arc<Pin>,
}

struct Pin {
    watermark: Arc<Watermark>,
    ts: Timestamp,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.watermark.pins.lock();
        if let Some(count) = pins.get_mut(&self.ts) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.ts);
            }
        }
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({})", self.timestamp())
    }
}

impl Snapshot {
    /// The time at which it reads.
    pub fn timestamp(&self) -> Timestamp {
        self.pin.ts
    }
}

impl Watermark {
    /// Pins the time that `ts` gives, which is called under the watermark's lock.
    fn pin(self: &Arc<Self>, ts: impl FnOnce() -> Timestamp) -> Snapshot {
        let mut pins = self.pins.lock();
        let ts = ts();
        *pins.entry(ts).or_insert(0) += 1;
        Snapshot {
            pin: Arc::new(Pin {
                watermark: Arc::clone(self),
                ts,
            }),
        }
    }

    /// Pins a time that is visible.
    pub(crate) fn hold(self: &Arc<Self>, ts: Timestamp) -> Snapshot {
        self.pin(|| ts)
    }

    /// The oldest time that a reader holds.
    pub(crate) fn oldest(&self) -> Option<Timestamp> {
        self.pins.lock().keys().next().copied()
    }

    /// Runs `raise` with the oldest pinned time while no pin can be added.
    pub(crate) fn with_oldest<T>(&self, raise: impl FnOnce(Option<Timestamp>) -> T) -> T {
        let pins = self.pins.lock();
        raise(pins.keys().next().copied())
    }
}

impl Keyspace {
    /// An error unless the snapshot can be read here: it must be this engine's, or it would hold no
    /// threshold back, and neither below the threshold nor after the drop.
    pub(super) fn check_snapshot(&self, at: &Snapshot) -> Result<()> {
        if !Arc::ptr_eq(&at.pin.watermark, self.engine().watermark()) {
            return Err(Error::ForeignHandle {
                what: format!("the snapshot at {}", at.timestamp()),
            });
        }
        self.space().check_readable(at.timestamp())
    }
}

impl Engine {
    /// A snapshot of everything committed so far.
    pub fn snapshot(&self) -> Snapshot {
        self.watermark().pin(|| self.visible())
    }

    /// A snapshot at a time, past or now. Waits for commits at or below it that are under way.
    /// Whether a keyspace still has that time is checked by each read.
    ///
    /// # Errors
    /// [`Error::InFuture`] for a time after [`Engine::now`].
    pub fn snapshot_at(&self, ts: Timestamp) -> Result<Snapshot> {
        self.sequencer().settle(ts)?;
        Ok(self.watermark().pin(|| ts))
    }
}

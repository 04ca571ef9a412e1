//! Where the present comes from. The clock is injected, never called directly, so that tests own time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::timestamp::{Timestamp, duration_nanos};

/// A source of wall-clock time.
///
/// It may stand still, jump and go back: the engine's hybrid clock takes `max(now, last + 1)` and stays
/// monotonic. Called from many threads.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time now.
    fn now(&self) -> Timestamp;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// The system's time; [`Timestamp::MIN`] if it is set before 1970, [`Timestamp::MAX`] after 2554.
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_nanos(duration_nanos(since_epoch))
    }
}

/// A clock that stands still until it is told otherwise, for tests of embedding programs.
///
/// Clones share the same time.
#[derive(Debug, Clone, Default)]
pub struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(Arc::new(AtomicU64::new(now.nanos())))
    }

    /// Sets the time, to the past too.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.nanos(), Ordering::SeqCst);
    }

    /// Moves the time forward, to [`Timestamp::MAX`] at most, and returns it.
    pub fn advance(&self, by: Duration) -> Timestamp {
        let forward = |nanos| Timestamp::from_nanos(nanos).saturating_add(by).nanos();
        let before = self.0.update(Ordering::SeqCst, Ordering::SeqCst, forward);
        Timestamp::from_nanos(forward(before))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_clock_is_past_2024_and_moves() {
        let first = SystemClock.now();
        assert!(
            first > Timestamp::from_nanos(1_704_067_200_000_000_000),
            "{first}"
        );
        std::thread::sleep(Duration::from_millis(2));
        assert!(SystemClock.now() > first);
    }

    #[test]
    fn clones_of_a_manual_clock_share_the_time() {
        let clock = ManualClock::new(Timestamp::from_nanos(5));
        let other: Arc<dyn Clock> = Arc::new(clock.clone());
        assert_eq!(other.now().nanos(), 5);
        assert_eq!(clock.advance(Duration::from_nanos(7)).nanos(), 12);
        assert_eq!(other.now().nanos(), 12);
        clock.set(Timestamp::from_nanos(3));
        assert_eq!(other.now().nanos(), 3, "a wall clock may go back");
        assert_eq!(clock.advance(Duration::MAX), Timestamp::MAX);
    }
}

//! Settings of a round and of the worker.

use std::time::Duration;

use icecore_mvcc::NamePattern;

use crate::error::{Error, Result};

/// Settings of one round. Plain data: change fields, then collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GcOptions {
    /// Use this TTL for the chosen keyspaces instead of their own; zero keeps only what records,
    /// readers and the newest commits need. Default: none.
    pub ttl_override: Option<Duration>,
    /// Which keyspaces; empty means all. The system keyspace is always in the round: its threshold
    /// never passes that of another. Default: all.
    pub keyspaces: Vec<NamePattern>,
    /// Then rewrite all files of the chosen keyspaces, so that the space comes back now and not
    /// with later compactions. Costs as much as rewriting the data. Default `false`.
    pub compact: bool,
    /// Leave a threshold where it is while it could rise by less than a hundredth of the TTL and by
    /// less than this: a raise is one synced write. Default zero: raise always.
    pub step_max: Duration,
    /// How long a record stays whose holder is found dead: a job that is over, a process that is gone. Default
    /// 1 hour.
    pub dead_holder_grace: Duration,
    /// The sweep works in batches of about this many keys, at least 1. Default 100,000.
    pub sweep_batch_keys: usize,
}

impl Default for GcOptions {
    fn default() -> Self {
        Self {
            ttl_override: None,
            keyspaces: Vec::new(),
            compact: false,
            step_max: Duration::ZERO,
            dead_holder_grace: Duration::from_secs(3600),
            sweep_batch_keys: 100_000,
        }
    }
}

impl GcOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn validate(&self) -> Result<()> {
        if self.sweep_batch_keys == 0 {
            return Err(Error::InvalidOption {
                name: "sweep_batch_keys",
                reason: "0 is below the minimum of 1".to_owned(),
            });
        }
        Ok(())
    }

    /// Whether the round includes keyspaces of this name.
    pub(crate) fn chooses(&self, name: &str) -> bool {
        self.keyspaces.is_empty() || self.keyspaces.iter().any(|p| p.matches(name))
    }

    /// A threshold that could rise by less than this stays.
    pub(crate) fn step(&self, ttl: Duration) -> Duration {
        self.step_max.min(ttl / 100)
    }
}

/// Settings of a [`crate::Worker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerOptions {
    /// From the end of a round to the begin of the next, at least 10 ms. The first begins at once.
    /// Default 60 s.
    pub interval: Duration,
    /// Settings of each round. Default as [`GcOptions`], but [`GcOptions::step_max`] is 10 minutes:
    /// with the default TTL of 4 hours a threshold then rises every 144 s, and with a TTL of a day
    /// or more every 10 minutes, also in an idle keyspace.
    pub round: GcOptions,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(60),
            round: GcOptions {
                step_max: Duration::from_secs(600),
                ..GcOptions::default()
            },
        }
    }
}

impl WorkerOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`].
    pub fn validate(&self) -> Result<()> {
        if self.interval < Duration::from_millis(10) {
            return Err(Error::InvalidOption {
                name: "interval",
                reason: format!("{:?} is below the minimum of 10ms", self.interval),
            });
        }
        self.round.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        GcOptions::default().validate().unwrap();
        WorkerOptions::default().validate().unwrap();
    }

    #[test]
    fn each_floor_is_checked() {
        let options = WorkerOptions {
            interval: Duration::from_millis(9),
            ..WorkerOptions::default()
        };
        assert_eq!(
            options.validate().unwrap_err().to_string(),
            "invalid setting interval: 9ms is below the minimum of 10ms"
        );
        let mut options = WorkerOptions::default();
        options.round.sweep_batch_keys = 0;
        assert_eq!(
            options.validate().unwrap_err().to_string(),
            "invalid setting sweep_batch_keys: 0 is below the minimum of 1"
        );
    }

    #[test]
    fn the_step_is_a_hundredth_of_the_ttl_up_to_a_maximum() {
        let worker = WorkerOptions::default().round;
        let hours = |h: u64| Duration::from_secs(h * 3600);
        assert_eq!(worker.step(hours(4)), Duration::from_secs(144));
        assert_eq!(worker.step(hours(24 * 30)), Duration::from_secs(600));
        assert_eq!(worker.step(Duration::ZERO), Duration::ZERO);
        assert_eq!(GcOptions::default().step(hours(4)), Duration::ZERO);
    }
}

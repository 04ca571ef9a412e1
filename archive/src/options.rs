//! How a collection's store is used: retries, limits, sizes, and what tests put in.

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use icecore_mvcc::{Clock, SystemClock};
use object_store::ObjectStore;

use crate::error::{Error, Result};
use crate::seal::{Keys, PassphraseCost};
use crate::store::OperationLog;

/// Wraps a store in another one.
pub type Decorate = Arc<dyn Fn(Arc<dyn ObjectStore>) -> Arc<dyn ObjectStore> + Send + Sync>;

/// The least bytes that S3 takes as a part.
pub(crate) const MIN_PART_BYTES: usize = 5 << 20;

/// The most parts that S3 takes.
pub(crate) const MAX_PARTS: u64 = 10_000;

/// Settings of a collection's store. The defaults suit a server with a few gigabytes of memory.
#[derive(Clone)]
pub struct StoreOptions {
    /// When and how often a request is tried again.
    pub retry: RetryOptions,
    /// Requests under way at once, a download counting until its last byte. Default 32.
    pub max_concurrent_requests: NonZeroUsize,
    /// Requests begun in a second; default no limit.
    pub max_requests_per_second: Option<NonZeroU32>,
    /// How long a request, or a wait for the next bytes of one, may take. Default 2 minutes.
    pub request_timeout: Duration,
    /// Files of at least this size are uploaded in parts. Default 16 MiB.
    pub multipart_threshold_bytes: u64,
    /// The size of a part; more where a file would need over 10,000 of them. At least 5 MiB on S3.
    /// Default 8 MiB.
    pub part_bytes: usize,
    /// Bytes of uploads held in memory at once, over all files of a collection. Default 64 MiB; at least
    /// one part and one file below the threshold must fit.
    pub upload_memory_bytes: usize,
    /// What opens a sealed collection, and what a new one is sealed with. Default none: a collection that
    /// is made is not sealed.
    pub keys: Keys,
    /// What it costs to try a passphrase that is added. Default 64 MiB, three passes.
    pub passphrase_cost: PassphraseCost,
    /// Where the present comes from; it dates what is written. Default the system's clock.
    pub clock: Arc<dyn Clock>,
    /// Records every request in order, for tests and for the curious. Default none.
    pub log: Option<OperationLog>,
    /// Wraps the store itself, underneath retries, limits and counters: the place for faults in tests.
    /// Paths in it are relative to the collection. Default none.
    pub decorate: Option<Decorate>,
}

/// When and how often a request is tried again.
///
/// Only what may pass is retried: time-outs, dropped connections, throttling and server errors. The wait
/// before retry n is random between half and all of `min(initial · 2ⁿ⁻¹, max)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryOptions {
    /// Attempts in all, the first included. Default 6.
    pub max_attempts: NonZeroU32,
    /// The longest first wait. Default 100 ms.
    pub initial_backoff: Duration,
    /// The longest wait. Default 10 s.
    pub max_backoff: Duration,
}

impl Default for RetryOptions {
    fn default() -> Self {
        Self {
            max_attempts: const { NonZeroU32::new(6).unwrap() },
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(10),
        }
    }
}

impl RetryOptions {
    /// How long to wait after that many failed attempts, given a random number in `[0, 1)`.
    pub(crate) fn backoff(&self, failed: u32, random: f64) -> Duration {
        let doubled = 2_u32.saturating_pow(failed.saturating_sub(1));
        let longest = self
            .initial_backoff
            .saturating_mul(doubled)
            .min(self.max_backoff);
        longest.mul_f64(0.5 + random / 2.0)
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            retry: RetryOptions::default(),
            max_concurrent_requests: const { NonZeroUsize::new(32).unwrap() },
            max_requests_per_second: None,
            request_timeout: Duration::from_secs(120),
            multipart_threshold_bytes: 16 << 20,
            part_bytes: 8 << 20,
            upload_memory_bytes: 64 << 20,
            keys: Keys::default(),
            passphrase_cost: PassphraseCost::default(),
            clock: Arc::new(SystemClock),
            log: None,
            decorate: None,
        }
    }
}

impl StoreOptions {
    /// Checks every setting against its bounds.
    ///
    /// # Errors
    /// [`Error::InvalidOptions`], naming the setting.
    pub fn validate(&self) -> Result<()> {
        let wrong = |reason: String| Err(Error::InvalidOptions { reason });
        if self.retry.initial_backoff > self.retry.max_backoff {
            return wrong("retry.initial_backoff must not exceed retry.max_backoff".to_owned());
        }
        if self.request_timeout.is_zero() {
            return wrong("request_timeout must not be zero".to_owned());
        }
        if self.part_bytes == 0 || self.multipart_threshold_bytes == 0 {
            return wrong("part_bytes and multipart_threshold_bytes must not be zero".to_owned());
        }
        self.passphrase_cost.validate().or_else(wrong)?;
        let largest = self.multipart_threshold_bytes.max(self.part_bytes as u64);
        if (self.upload_memory_bytes as u64) < largest
            || self.upload_memory_bytes > u32::MAX as usize
        {
            return wrong(format!(
                "upload_memory_bytes is {}, it must lie between {largest} (the larger of part_bytes and \
                 multipart_threshold_bytes) and {}",
                self.upload_memory_bytes,
                u32::MAX
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreOptions")
            .field("retry", &self.retry)
            .field("max_concurrent_requests", &self.max_concurrent_requests)
            .field("max_requests_per_second", &self.max_requests_per_second)
            .field("request_timeout", &self.request_timeout)
            .field("multipart_threshold_bytes", &self.multipart_threshold_bytes)
            .field("part_bytes", &self.part_bytes)
            .field("upload_memory_bytes", &self.upload_memory_bytes)
            .field("keys", &self.keys)
            .field("passphrase_cost", &self.passphrase_cost)
            .field("clock", &self.clock)
            .field("log", &self.log.is_some())
            .field("decorate", &self.decorate.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid() {
        assert_eq!(StoreOptions::default().validate(), Ok(()));
    }

    #[test]
    fn each_bound_is_checked() {
        let break_it: [fn(&mut StoreOptions); 7] = [
            |options| options.passphrase_cost.memory_kib = 1 << 10,
            |options| options.retry.initial_backoff = Duration::from_secs(60),
            |options| options.request_timeout = Duration::ZERO,
            |options| options.part_bytes = 0,
            |options| options.multipart_threshold_bytes = 0,
            |options| options.upload_memory_bytes = (16 << 20) - 1,
            |options| options.upload_memory_bytes = u32::MAX as usize + 1,
        ];
        for change in break_it {
            let mut options = StoreOptions::default();
            change(&mut options);
            assert!(
                matches!(options.validate(), Err(Error::InvalidOptions { .. })),
                "{options:?}"
            );
        }
    }

    #[test]
    fn waits_double_up_to_the_longest_and_never_fall_below_half() {
        let retry = RetryOptions::default();
        let waits: Vec<u128> = (1..=9)
            .map(|failed| retry.backoff(failed, 1.0).as_millis())
            .collect();
        assert_eq!(
            waits,
            [100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]
        );
        assert_eq!(retry.backoff(3, 0.0).as_millis(), 200);
        assert_eq!(retry.backoff(u32::MAX, 0.0).as_secs(), 5);
    }
}

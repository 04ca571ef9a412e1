//! Settings of an engine, with defaults fit for a server with 4 GiB of memory.

use std::sync::Arc;
use std::time::Duration;

use icecore_mvcc::{Clock, SystemClock};

use crate::error::{Error, Result};

/// How SST blocks are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Blocks are stored as they are.
    None,
    /// Fast; the default for all but the last level.
    Lz4,
    /// Smaller; the default for the last level.
    Zstd,
}

/// Settings of an [`crate::Engine`]. Plain data: change fields, then open.
#[derive(Debug, Clone)]
pub struct Options {
    /// Create the database when the folder is missing or empty. Default `true`.
    pub create_if_missing: bool,
    /// Where wall-clock time comes from. Default [`SystemClock`].
    pub clock: Arc<dyn Clock>,
    /// Memory for cached blocks, index and filter blocks of all keyspaces, in bytes.
    /// Default 512 MiB.
    pub block_cache_bytes: usize,
    /// Size at which one memtable is flushed, in bytes. Default 64 MiB.
    pub write_buffer_bytes: usize,
    /// Memory for the memtables of all keyspaces together, in bytes. Default 512 MiB.
    pub total_write_buffer_bytes: usize,
    /// Write-ahead log size that makes idle keyspaces flush, in bytes. Default 1 GiB.
    pub max_wal_bytes: u64,
    /// Threads for flushes and compactions, 1 to 64. Default 2.
    pub background_threads: u32,
    /// Limit on what flushes and compactions write per second, in bytes. Default: none.
    pub rate_limit_bytes_per_second: Option<u64>,
    /// Compression of all levels but the last. Default LZ4.
    pub compression: Compression,
    /// Compression of the last level. Default Zstandard.
    pub last_level_compression: Compression,
    /// Size of a data block before compression, in bytes. Default 16 KiB.
    pub block_bytes: usize,
    /// Bits of the bloom filter for each user key; 0 means none. Default 10.
    pub bloom_bits_per_key: u32,
    /// Target size of an SST file, in bytes. Default 64 MiB.
    pub target_file_bytes: u64,
    /// Let RocksDB compact by itself. Default `true`.
    pub auto_compactions: bool,
    /// Idle point-read iterators kept for each keyspace. Default 32.
    pub pooled_iterators: usize,
    /// Age at which an idle pooled iterator is given back, since it pins memory and files.
    /// Default 5 s.
    pub pooled_iterator_age: Duration,
    /// How far ahead the clock's high-water mark is reserved with one synced write. After a
    /// crash new timestamps start at most this far ahead of the wall clock. 1 ms to 1 h, default
    /// 3 s.
    pub clock_reservation: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            create_if_missing: true,
            clock: Arc::new(SystemClock),
            block_cache_bytes: 512 << 20,
            write_buffer_bytes: 64 << 20,
            total_write_buffer_bytes: 512 << 20,
            max_wal_bytes: 1 << 30,
            background_threads: 2,
            rate_limit_bytes_per_second: None,
            compression: Compression::Lz4,
            last_level_compression: Compression::Zstd,
            block_bytes: 16 << 10,
            bloom_bits_per_key: 10,
            target_file_bytes: 64 << 20,
            auto_compactions: true,
            pooled_iterators: 32,
            pooled_iterator_age: Duration::from_secs(5),
            clock_reservation: Duration::from_secs(3),
        }
    }
}

impl Options {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        let at_least = |name, value: u64, min: u64| {
            if value >= min {
                return Ok(());
            }
            Err(Error::InvalidOption {
                name,
                reason: format!("{value} is below the minimum of {min}"),
            })
        };
        at_least("block_cache_bytes", self.block_cache_bytes as u64, 1 << 20)?;
        at_least(
            "write_buffer_bytes",
            self.write_buffer_bytes as u64,
            64 << 10,
        )?;
        at_least(
            "total_write_buffer_bytes",
            self.total_write_buffer_bytes as u64,
            self.write_buffer_bytes as u64,
        )?;
        at_least("max_wal_bytes", self.max_wal_bytes, 1 << 20)?;
        at_least("background_threads", u64::from(self.background_threads), 1)?;
        at_least("block_bytes", self.block_bytes as u64, 512)?;
        at_least("target_file_bytes", self.target_file_bytes, 64 << 10)?;
        at_least(
            "clock_reservation",
            nanos(self.clock_reservation),
            1_000_000,
        )?;
        if self.clock_reservation > Duration::from_secs(3600) {
            let reason = "the maximum is one hour".to_owned();
            return Err(Error::InvalidOption {
                name: "clock_reservation",
                reason,
            });
        }
        if let Some(rate) = self.rate_limit_bytes_per_second {
            at_least("rate_limit_bytes_per_second", rate, 64 << 10)?;
        }
        if self.background_threads > 64 || self.bloom_bits_per_key > 64 {
            let name = if self.background_threads > 64 {
                "background_threads"
            } else {
                "bloom_bits_per_key"
            };
            return Err(Error::InvalidOption {
                name,
                reason: "the maximum is 64".to_owned(),
            });
        }
        Ok(())
    }
}

/// A duration in nanoseconds, saturating.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        Options::default().validate().unwrap();
    }

    #[test]
    fn each_floor_is_checked() {
        type Change = fn(&mut Options);
        let cases: Vec<(&str, Change)> = vec![
            ("block_cache_bytes", |o| o.block_cache_bytes = 1),
            ("write_buffer_bytes", |o| o.write_buffer_bytes = 1),
            ("total_write_buffer_bytes", |o| {
                o.total_write_buffer_bytes = 1 << 20
            }),
            ("max_wal_bytes", |o| o.max_wal_bytes = 1),
            ("background_threads", |o| o.background_threads = 0),
            ("background_threads", |o| o.background_threads = 65),
            ("block_bytes", |o| o.block_bytes = 1),
            ("target_file_bytes", |o| o.target_file_bytes = 1),
            ("clock_reservation", |o| {
                o.clock_reservation = Duration::ZERO
            }),
            ("clock_reservation", |o| {
                o.clock_reservation = Duration::from_secs(3601)
            }),
            ("rate_limit_bytes_per_second", |o| {
                o.rate_limit_bytes_per_second = Some(1)
            }),
            ("bloom_bits_per_key", |o| o.bloom_bits_per_key = 65),
        ];
        for (expected, change) in cases {
            let mut options = Options::default();
            change(&mut options);
            match options.validate() {
                Err(Error::InvalidOption { name, .. }) => assert_eq!(name, expected),
                other => panic!("{expected}: {other:?}"),
            }
        }
    }
}

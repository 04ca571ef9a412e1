//! Real data in: rows of CSV or JSON-lines files become keys and values.
//!
//! | | CSV | JSON lines |
//! |---|---|---|
//! | key | the fields of the key columns, joined by `/` | the same; each must be a string, an integer or a boolean |
//! | value | a JSON object with all columns in the file's order | the line as it stands, without blanks around it |
//! | numbers | a field that is exactly a JSON number is one, digits kept; all else is a string (`NA`, `007`, empty) | as they stand |
//!
//! Rows are committed in batches without waiting for the disk; the last step of a load makes all of
//! them durable. Loading a file again writes the same keys again: it does no harm, and costs
//! versions. Two rows of one key in one batch leave the later row alone; in two batches they
//! leave two versions.
//!
//! A program that wants some of the rows filters a [`RowReader`] and gives it to [`load_rows`]:
//!
//! ```no_run
//! # fn main() -> icecore_cli::Result<()> {
//! # let engine = icecore_engine::Engine::open("db", &icecore_engine::Options::default())?;
//! use icecore_cli::load::{LoadOptions, RowReader, load_rows};
//!
//! let flights = engine.keyspace("nyc.flights")?;
//! let options = LoadOptions::new(["time_hour", "carrier", "flight"]);
//! let rows = RowReader::open("flights.csv.zst".as_ref(), &options)?;
//! let january = rows.filter(|row| row.as_ref().map_or(true, |row| row.key.starts_with("2013-01")));
//! let report = load_rows(&engine, &flights, january, options.batch_rows)?;
//! assert!(report.rows > 0);
//! # Ok(())
//! # }
//! ```

mod csv_rows;
mod jsonl_rows;
mod number;
mod options;
mod reader;

use std::path::Path;
use std::time::{Duration, Instant};

use icecore_engine::{Batch, Durability, Engine, Keyspace};
use icecore_mvcc::Timestamp;
use serde::Serialize;

use crate::error::{Error, Result};
pub use options::{Format, LoadOptions};
pub use reader::{Row, RowReader};

/// A batch of large rows is committed once it holds this many bytes, whatever its number of rows.
const BATCH_BYTES_MAX: u64 = 8 << 20;

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Rows committed.
    pub rows: u64,
    /// Bytes read from the file, compressed if the file is.
    pub source_bytes: u64,
    /// Bytes that the file has; `None` where that is not known.
    pub source_total: Option<u64>,
}

/// What a load did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoadReport {
    /// Rows committed.
    pub rows: u64,
    /// Commits it took.
    pub batches: u64,
    /// Bytes of all keys and values.
    pub bytes: u64,
    /// Bytes read from the file, compressed if the file is; 0 for rows that came from elsewhere.
    pub source_bytes: u64,
    /// When the last batch was committed; `None` where there were no rows.
    pub last_commit: Option<Timestamp>,
    /// How long it took, with the final sync.
    pub elapsed: Duration,
}

/// Loads a file.
///
/// # Errors
/// [`Error::UnknownFormat`], [`Error::Input`], and as [`load_rows`].
pub fn load_file(
    engine: &Engine,
    keyspace: &Keyspace,
    path: &Path,
    options: &LoadOptions,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<LoadReport> {
    options.validate()?;
    let mut loader = Loader::new(engine, keyspace, options.batch_rows);
    let mut reader = RowReader::open(path, options)?;
    let source_total = reader.source_total();
    while let Some(row) = reader.next() {
        if loader.add(row)? {
            progress(LoadProgress {
                rows: loader.report.rows,
                source_bytes: reader.source_bytes(),
                source_total,
            });
        }
    }
    loader.report.source_bytes = reader.source_bytes();
    loader.finish()
}

/// Commits rows in batches of `batch_rows`, and makes them durable in the end.
///
/// # Errors
/// An error among the rows is returned, as [`Error::Stopped`] if batches before it were committed;
/// those of [`Engine::commit`] likewise.
pub fn load_rows(
    engine: &Engine,
    keyspace: &Keyspace,
    rows: impl IntoIterator<Item = Result<Row>>,
    batch_rows: usize,
) -> Result<LoadReport> {
    let mut loader = Loader::new(engine, keyspace, batch_rows);
    for row in rows {
        loader.add(row)?;
    }
    loader.finish()
}

/// Gathers rows into batches.
struct Loader<'a> {
    engine: &'a Engine,
    keyspace: &'a Keyspace,
    batch_rows: usize,
    batch: Batch,
    batch_bytes: u64,
    report: LoadReport,
    started: Instant,
}

impl<'a> Loader<'a> {
    fn new(engine: &'a Engine, keyspace: &'a Keyspace, batch_rows: usize) -> Self {
        Self {
            engine,
            keyspace,
            batch_rows,
            batch: Batch::new(),
            batch_bytes: 0,
            report: LoadReport {
                rows: 0,
                batches: 0,
                bytes: 0,
                source_bytes: 0,
                last_commit: None,
                elapsed: Duration::ZERO,
            },
            started: Instant::now(),
        }
    }

    /// Adds a row; whether that filled a batch, which is then committed.
    fn add(&mut self, row: Result<Row>) -> Result<bool> {
        let row = row.map_err(|cause| self.stopped(cause))?;
        self.batch_bytes += (row.key.len() + row.json.len()) as u64;
        self.batch.put(self.keyspace, row.key, row.json);
        if self.batch.len() < self.batch_rows && self.batch_bytes < BATCH_BYTES_MAX {
            return Ok(false);
        }
        self.commit()?;
        Ok(true)
    }

    fn commit(&mut self) -> Result<()> {
        let batch = std::mem::take(&mut self.batch);
        let rows = batch.len() as u64;
        let ts = self
            .engine
            .commit(batch, Durability::Buffered)
            .map_err(|e| self.stopped(e.into()))?;
        self.report.rows += rows;
        self.report.batches += 1;
        self.report.bytes += std::mem::take(&mut self.batch_bytes);
        self.report.last_commit = Some(ts);
        Ok(())
    }

    fn finish(mut self) -> Result<LoadReport> {
        if !self.batch.is_empty() {
            self.commit()?;
        }
        self.engine.sync_wal()?;
        self.report.elapsed = self.started.elapsed();
        Ok(self.report)
    }

    fn stopped(&self, cause: Error) -> Error {
        match self.report.rows {
            0 => cause,
            rows => Error::Stopped {
                rows,
                cause: Box::new(cause),
            },
        }
    }
}

#[cfg(test)]
mod tests;

//! Rows of a file, one by one.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::csv_rows::CsvRows;
use super::jsonl_rows::JsonlRows;
use super::options::{Format, LoadOptions};
use crate::error::{Error, Result};

/// Text to read rows from.
pub(super) type Input = BufReader<Box<dyn Read + Send>>;

/// A row on its way into a keyspace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The texts of the key columns, joined by `/`.
    pub key: String,
    /// One JSON object: the value.
    pub json: Vec<u8>,
}

/// The rows of a CSV or JSON-lines file in their order. After an error it ends.
pub struct RowReader {
    rows: Rows,
    read: Arc<AtomicU64>,
    total: Option<u64>,
    done: bool,
}

enum Rows {
    Csv(CsvRows),
    Jsonl(JsonlRows),
}

/// Counts what is read through it.
struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl RowReader {
    /// Opens a file; one whose name ends in `.zst` is decompressed while it is read.
    ///
    /// # Errors
    /// [`Error::UnknownFormat`], [`Error::Io`], and as [`RowReader::new`].
    pub fn open(path: &Path, options: &LoadOptions) -> Result<Self> {
        let unknown = || Error::UnknownFormat {
            path: path.to_owned(),
        };
        let format = options
            .format
            .or_else(|| Format::of_path(path))
            .ok_or_else(unknown)?;
        let name = path.display().to_string();
        let file = File::open(path).map_err(Error::io("open", &name))?;
        let total = file.metadata().map_err(Error::io("look at", &name))?.len();
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: file,
            read: Arc::clone(&read),
        };
        let compressed = path
            .extension()
            .is_some_and(|extension| extension.eq_ignore_ascii_case("zst"));
        let input: Box<dyn Read + Send> = if compressed {
            Box::new(
                zstd::stream::read::Decoder::new(counted)
                    .map_err(Error::io("decompress", &name))?,
            )
        } else {
            Box::new(counted)
        };
        Self::from_parts(input, &name, format, options, read, Some(total))
    }

    /// Reads rows from plain text; `name` is what errors call it.
    ///
    /// # Errors
    /// [`Error::Input`] when a CSV header lacks a key column or has a column twice.
    pub fn new(
        input: impl Read + Send + 'static,
        name: &str,
        format: Format,
        options: &LoadOptions,
    ) -> Result<Self> {
        let read = Arc::new(AtomicU64::new(0));
        let counted = Counted {
            inner: input,
            read: Arc::clone(&read),
        };
        Self::from_parts(Box::new(counted), name, format, options, read, None)
    }

    fn from_parts(
        input: Box<dyn Read + Send>,
        name: &str,
        format: Format,
        options: &LoadOptions,
        read: Arc<AtomicU64>,
        total: Option<u64>,
    ) -> Result<Self> {
        options.validate()?;
        let input = BufReader::with_capacity(64 << 10, input);
        let rows = match format {
            Format::Csv => Rows::Csv(CsvRows::new(input, name, &options.key)?),
            Format::Jsonl => Rows::Jsonl(JsonlRows::new(input, name, &options.key)),
        };
        Ok(Self {
            rows,
            read,
            total,
            done: false,
        })
    }

    /// Bytes read from the source so far, compressed if it is.
    pub fn source_bytes(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Bytes that the source has; `None` where that is not known.
    pub fn source_total(&self) -> Option<u64> {
        self.total
    }
}

impl Iterator for RowReader {
    type Item = Result<Row>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        let row = match &mut self.rows {
            Rows::Csv(rows) => rows.next_row(),
            Rows::Jsonl(rows) => rows.next_row(),
        };
        self.done = !matches!(row, Ok(Some(_)));
        row.transpose()
    }
}

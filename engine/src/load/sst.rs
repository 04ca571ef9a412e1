//! SST files of versioned rows: what backups are made of.

use std::path::{Path, PathBuf};

use icecore_mvcc::{Timestamp, Value, key, value};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::folder::sync_dir;
use crate::options::Compression;
use crate::rocks::{RawSstWriter, RocksSettings};

/// What a finished file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SstSummary {
    /// Where it lies.
    pub path: PathBuf,
    /// Versions in it, tombstones included.
    pub entries: u64,
    /// Tombstones in it.
    pub tombstones: u64,
    /// Bytes of user keys and values before encoding and compression.
    pub logical_bytes: u64,
    /// The file's length.
    pub file_bytes: u64,
    /// The first user key.
    pub first_key: Vec<u8>,
    /// The last user key.
    pub last_key: Vec<u8>,
    /// The oldest timestamp.
    pub min_ts: Timestamp,
    /// The newest timestamp.
    pub max_ts: Timestamp,
}

/// Writes versions to an SST file that can be ingested as it is. Dropped unfinished, it leaves
/// an incomplete file behind.
pub struct SstWriter {
    writer: RawSstWriter,
    summary: SstSummary,
    stored_key: Vec<u8>,
    last_stored: Vec<u8>,
    stored_value: Vec<u8>,
}

impl Engine {
    /// Starts an SST file with the block layout and bloom filters of a keyspace.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the file cannot be made.
    pub fn sst_writer(&self, path: &Path, compression: Compression) -> Result<SstWriter> {
        SstWriter::create(self.settings(), path, compression)
    }
}

impl SstWriter {
    pub(super) fn create(
        settings: &RocksSettings,
        path: &Path,
        compression: Compression,
    ) -> Result<Self> {
        let writer = RawSstWriter::create(settings.sst_file(compression), path)?;
        Ok(Self {
            writer,
            summary: SstSummary {
                path: path.to_owned(),
                entries: 0,
                tombstones: 0,
                logical_bytes: 0,
                file_bytes: 0,
                first_key: Vec::new(),
                last_key: Vec::new(),
                min_ts: Timestamp::MAX,
                max_ts: Timestamp::MIN,
            },
            stored_key: Vec::new(),
            last_stored: Vec::new(),
            stored_value: Vec::new(),
        })
    }

    /// Adds a version (`None` is a tombstone). Keys must ascend, a key's versions run newest
    /// first.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`], [`Error::Rocks`].
    pub fn add(&mut self, user: &[u8], ts: Timestamp, row: Option<&[u8]>) -> Result<()> {
        self.stored_key.clear();
        key::encode_into(&mut self.stored_key, user, ts);
        if self.summary.entries > 0 && self.stored_key <= self.last_stored {
            return Err(Error::OutOfOrder {
                what: "SST file",
                key: Error::key_text(user),
            });
        }
        self.stored_value.clear();
        value::encode_into(
            &mut self.stored_value,
            row.map_or(Value::Tombstone, Value::Put),
        );
        self.writer.put(&self.stored_key, &self.stored_value)?;
        let summary = &mut self.summary;
        if summary.entries == 0 {
            summary.first_key = user.to_vec();
        }
        if summary.last_key != user || summary.entries == 0 {
            summary.last_key.clear();
            summary.last_key.extend_from_slice(user);
        }
        summary.entries += 1;
        summary.tombstones += u64::from(row.is_none());
        summary.logical_bytes += (user.len() + row.map_or(0, <[u8]>::len)) as u64;
        summary.min_ts = summary.min_ts.min(ts);
        summary.max_ts = summary.max_ts.max(ts);
        std::mem::swap(&mut self.last_stored, &mut self.stored_key);
        Ok(())
    }

    /// Versions added so far.
    pub fn entries(&self) -> u64 {
        self.summary.entries
    }

    /// Bytes on disk so far; the last block is not in it yet.
    pub fn file_bytes(&self) -> u64 {
        self.writer.file_bytes()
    }

    /// Completes the file, and makes it and its folder entry durable.
    ///
    /// # Errors
    /// [`Error::Rocks`] when nothing was added or the disk fails.
    pub fn finish(self) -> Result<SstSummary> {
        self.writer.finish()?;
        let mut summary = self.summary;
        let metadata =
            std::fs::metadata(&summary.path).map_err(Error::path("look at", &summary.path))?;
        summary.file_bytes = metadata.len();
        if let Some(parent) = summary.path.parent() {
            sync_dir(parent)?;
        }
        Ok(summary)
    }
}

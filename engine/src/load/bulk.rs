//! Bulk load: many sorted rows at one timestamp, as ingested files instead of log records.

use std::path::PathBuf;

use icecore_mvcc::{Timestamp, key, value};
use rocksdb::{IngestExternalFileOptions, WriteBatch};

use crate::commit::{Durability, index};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::rocks::Cf;

/// What a bulk load did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkLoad {
    /// The timestamp of all its rows.
    pub ts: Timestamp,
    /// Rows loaded.
    pub rows: u64,
    /// Bytes of the files ingested.
    pub file_bytes: u64,
}

/// Files written so far, with the span of their keys. Removes what was not ingested.
struct Staged {
    files: Vec<PathBuf>,
    span: Option<(Vec<u8>, Vec<u8>)>,
    rows: u64,
    file_bytes: u64,
}

impl Drop for Staged {
    fn drop(&mut self) {
        for file in &self.files {
            // An ingested file was moved away; one that stays is removed by the next open.
            let _gone = std::fs::remove_file(file);
        }
    }
}

impl Engine {
    /// Loads rows in ascending key order into a keyspace, at one timestamp. They become visible
    /// together. Commits that take their timestamp meanwhile are acknowledged after the load, so
    /// load what is large into a keyspace before it is in use; for the same reason `rows` must not
    /// wait for a commit or a snapshot of now while it is read. Loading no rows changes nothing.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`] for keys that do not ascend, [`Error::Invalid`] for a key or value
    /// over its limit, [`Error::KeyspaceDropped`], [`Error::WritesRefused`]: nothing is loaded. An error given by `rows`
    /// is returned as it is, and nothing is loaded. [`Error::Rocks`] when the disk fails: nothing
    /// is loaded.
    #[tracing::instrument(skip_all, fields(keyspace = keyspace.name()))]
    pub fn bulk_load<K, V>(
        &self,
        keyspace: &Keyspace,
        rows: impl IntoIterator<Item = Result<(K, V)>>,
    ) -> Result<BulkLoad>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        self.check_writable("load rows")?;
        self.check_own(keyspace)?;
        self.gate().check_users()?;
        // Until something is written, dropping the ticket publishes an empty timestamp.
        let mut ticket = self.sequencer().assign(|ts| {
            keyspace.space().check_live()?;
            self.tracker().admit_load(ts, keyspace.id());
            Ok(())
        })?;
        let ts = ticket.timestamp();
        let staged = self.stage(ts, rows)?;
        let loaded = BulkLoad {
            ts,
            rows: staged.rows,
            file_bytes: staged.file_bytes,
        };
        let Some((first, last)) = &staged.span else {
            ticket.finish()?;
            return Ok(loaded);
        };
        // The index first: named rows that are missing are found out, unnamed rows are not.
        let mut batch = WriteBatch::default();
        let record = index::encode_span(keyspace.id(), first, last);
        batch.put_cf(self.commits().handle(), index::record_key(ts, 0), record);
        ticket.begin_write();
        self.write(batch, Durability::Sync)?;
        if let Err(refused) = ingest(keyspace.space().cf(), &staged.files) {
            // RocksDB takes all files of a call or none. Taking the record back finds out whether
            // it still writes at all; if not, the engine stops.
            let mut undo = WriteBatch::default();
            undo.delete_cf(self.commits().handle(), index::record_key(ts, 0));
            self.write(undo, Durability::Sync)?;
            ticket.finish()?;
            return Err(refused);
        }
        ticket.finish()?;
        metrics::counter!("icecore_engine_rows_bulk_loaded_total").increment(loaded.rows);
        Ok(loaded)
    }

    fn stage<K, V>(
        &self,
        ts: Timestamp,
        rows: impl IntoIterator<Item = Result<(K, V)>>,
    ) -> Result<Staged>
    where
        K: AsRef<[u8]>,
        V: AsRef<[u8]>,
    {
        let mut staged = Staged {
            files: Vec::new(),
            span: None,
            rows: 0,
            file_bytes: 0,
        };
        let mut writer = None;
        for row in rows {
            let (user, bytes) = row?;
            let (user, bytes) = (user.as_ref(), bytes.as_ref());
            key::check_key(user)?;
            value::check_value(bytes)?;
            match &mut staged.span {
                None => staged.span = Some((user.to_vec(), user.to_vec())),
                Some((_, last)) if user > last.as_slice() => user.clone_into(last),
                Some(_) => {
                    return Err(Error::OutOfOrder {
                        what: "bulk load",
                        key: Error::key_text(user),
                    });
                }
            }
            let file = match writer.take() {
                Some(open) => open,
                None => {
                    let name = format!("load-{}-{}.sst", ts.nanos(), staged.files.len());
                    let path = self.staging_dir().join(name);
                    staged.files.push(path.clone());
                    self.sst_writer(&path, self.options().compression)?
                }
            };
            let file = writer.insert(file);
            file.add(user, ts, Some(bytes))?;
            staged.rows += 1;
            if file.file_bytes() >= self.options().target_file_bytes
                && let Some(full) = writer.take()
            {
                staged.file_bytes += full.finish()?.file_bytes;
            }
        }
        if let Some(rest) = writer {
            staged.file_bytes += rest.finish()?.file_bytes;
        }
        Ok(staged)
    }
}

/// Moves files that do not overlap each other into a column family.
pub(super) fn ingest(cf: &Cf, files: &[PathBuf]) -> Result<()> {
    let mut options = IngestExternalFileOptions::default();
    options.set_move_files(true);
    // We take no RocksDB snapshots: reads are at timestamps.
    options.set_snapshot_consistency(false);
    cf.db()
        .ingest_external_file_cf_opts(cf.handle(), &options, files.to_vec())
        .map_err(Error::rocks("ingest SST files"))
}

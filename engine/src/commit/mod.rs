//! The one way in which rows are written.
//!
//! A commit takes its timestamp from the sequencer, encodes its rows without a lock, writes them
//! together with its record in the commit index as one RocksDB batch (RocksDB groups the syncs of
//! concurrent writers), and is then published: it returns once it and all commits before it are
//! visible.

mod batch;
pub(crate) mod index;
mod sequencer;

use std::time::Instant;

pub(crate) use batch::Op;
pub use batch::{Batch, Durability};
use icecore_mvcc::{Timestamp, Value, key, value};
use rocksdb::{WriteBatch, WriteOptions};
pub(crate) use sequencer::{Sequencer, Ticket};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::txn::Reads;

impl Engine {
    /// Commits a batch: all of it or nothing, at one timestamp, which is returned once reads at
    /// it see the batch. An empty batch commits nothing and returns the visible timestamp.
    ///
    /// # Errors
    /// [`Error::Invalid`] (a key or value over its limit) and [`Error::KeyspaceDropped`] leave the
    /// database as it was. When RocksDB refuses the write, its outcome is unknown until the next
    /// open and the engine stops ([`Error::Poisoned`] from then on).
    pub fn commit(&self, batch: Batch, durability: Durability) -> Result<Timestamp> {
        self.commit_validated(batch, durability, None)
    }

    /// Commits a batch if nothing that `reads` names changed since.
    pub(crate) fn commit_validated(
        &self,
        mut batch: Batch,
        durability: Durability,
        reads: Option<&Reads>,
    ) -> Result<Timestamp> {
        self.check_writable("commit")?;
        if batch.is_empty() {
            return Ok(self.visible());
        }
        batch.check_owner(self)?;
        batch.prepare()?;
        let started = Instant::now();
        let ticket = self.sequencer().assign(|ts| {
            for op in &batch.ops {
                op.space.check_live()?;
            }
            self.tracker().admit(ts, &batch.ops, reads)
        })?;
        let ts = self.write_commit(ticket, WriteBatch::default(), &batch.ops, durability, || ())?;
        metrics::counter!("icecore_engine_commits_total").increment(1);
        metrics::counter!("icecore_engine_rows_written_total").increment(batch.ops.len() as u64);
        metrics::histogram!("icecore_engine_commit_seconds")
            .record(started.elapsed().as_secs_f64());
        Ok(ts)
    }

    /// Commits, durably, rows that depend on their own timestamp. `rows` runs under the
    /// sequencer's lock; `before_visible` as in [`Engine::write_commit`].
    pub(crate) fn commit_at(
        &self,
        rows: impl FnOnce(Timestamp) -> Result<Batch>,
        before_visible: impl FnOnce(Timestamp),
    ) -> Result<Timestamp> {
        self.check_writable("commit")?;
        let mut batch = Batch::new();
        let ticket = self.sequencer().assign(|ts| {
            batch = rows(ts)?;
            batch.prepare()
        })?;
        let ts = ticket.timestamp();
        self.write_commit(
            ticket,
            WriteBatch::default(),
            &batch.ops,
            Durability::Sync,
            || before_visible(ts),
        )
    }

    /// Writes rows on top of what `batch` holds already, and publishes them. `before_visible` runs
    /// once they are written: whoever sees the commit sees what it did.
    pub(crate) fn write_commit(
        &self,
        mut ticket: Ticket<'_>,
        mut batch: WriteBatch,
        ops: &[Op],
        durability: Durability,
        before_visible: impl FnOnce(),
    ) -> Result<Timestamp> {
        let ts = ticket.timestamp();
        let mut stored_key = Vec::new();
        let mut stored_value = Vec::new();
        for op in ops {
            stored_key.clear();
            key::encode_into(&mut stored_key, &op.key, ts);
            stored_value.clear();
            value::encode_into(
                &mut stored_value,
                op.value.as_deref().map_or(Value::Tombstone, Value::Put),
            );
            batch.put_cf(op.space.cf().handle(), &stored_key, &stored_value);
        }
        for (number, record) in (0_u32..).zip(index::encode_keys(ops)) {
            batch.put_cf(
                self.commits().handle(),
                index::record_key(ts, number),
                record,
            );
        }
        ticket.begin_write();
        self.write(batch, durability)?;
        before_visible();
        ticket.finish()
    }

    /// Writes a batch; a failure stops the engine, since its outcome is unknown.
    pub(crate) fn write(&self, batch: WriteBatch, durability: Durability) -> Result<()> {
        let mut options = WriteOptions::default();
        options.set_sync(durability == Durability::Sync);
        self.commits()
            .db()
            .write_opt(batch, &options)
            .map_err(|source| {
                self.sequencer().poison(format!("a write failed: {source}"));
                Error::Rocks {
                    action: "write a commit",
                    source,
                }
            })
    }

    /// Makes everything committed so far survive a power failure.
    pub fn sync_wal(&self) -> Result<()> {
        self.commits()
            .db()
            .flush_wal(true)
            .map_err(Error::rocks("sync the log"))
    }
}

//! The one way in which rows are written.
//!
//! A commit takes its timestamp from the sequencer, encodes its rows without a lock, writes them
//! together with its record in the commit index as one RocksDB batch (RocksDB groups the syncs of
//! concurrent writers), and is then published: it returns once it and all commits before it are
//! visible.

mod batch;
mod gate;
pub(crate) mod index;
mod rows;
mod sequencer;

use std::time::Instant;

pub use batch::{Batch, Durability};
pub(crate) use gate::Gate;
pub use gate::{WRITE_REFUSAL_KIND, WriteRefusal};
use icecore_mvcc::Timestamp;
use rocksdb::WriteBatch;
pub(crate) use rows::Rows;
pub(crate) use sequencer::{Sequencer, Ticket};

use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::txn::Reads;

impl Engine {
    /// Commits a batch: all of it or nothing, at one timestamp, which is returned once reads at
    /// it see the batch. An empty batch commits nothing and returns the visible timestamp.
    ///
    /// # Errors
    /// [`Error::Invalid`] (a key or value over its limit), [`Error::KeyspaceDropped`] and
    /// [`Error::WritesRefused`] leave the database as it was. When RocksDB refuses the write, its outcome is unknown until the next
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
        batch.check_owner(self)?;
        self.commit_rows(&mut batch.rows, durability, reads)
    }

    /// Commits rows of this engine if nothing that `reads` names changed since.
    pub(crate) fn commit_rows(
        &self,
        rows: &mut Rows,
        durability: Durability,
        reads: Option<&Reads>,
    ) -> Result<Timestamp> {
        self.check_writable("commit")?;
        if rows.is_empty() {
            return Ok(self.visible());
        }
        rows.prepare()?;
        self.gate().check(rows)?;
        // What a synced commit takes is what operators watch; asking the clock twice is a fiftieth of
        // what a buffered one takes.
        let started = (durability == Durability::Sync).then(Instant::now);
        let ticket = self.sequencer().assign(|ts| {
            for row in rows.iter() {
                row.space.check_live()?;
            }
            self.tracker().admit(ts, rows, reads)
        })?;
        let batch = WriteBatch::with_capacity_bytes(rows.batch_bytes());
        let ts = self.write_commit(ticket, batch, rows, durability, || ())?;
        metrics::counter!("icecore_engine_commits_total").increment(1);
        metrics::counter!("icecore_engine_rows_written_total").increment(rows.len() as u64);
        if let Some(started) = started {
            metrics::histogram!("icecore_engine_synced_commit_seconds")
                .record(started.elapsed().as_secs_f64());
        }
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
            batch.rows.prepare()
        })?;
        let ts = ticket.timestamp();
        self.write_commit(
            ticket,
            WriteBatch::default(),
            &mut batch.rows,
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
        rows: &mut Rows,
        durability: Durability,
        before_visible: impl FnOnce(),
    ) -> Result<Timestamp> {
        let ts = ticket.timestamp();
        rows.write_at(ts, &mut batch);
        rows.write_index(|number, record| {
            let key = index::record_key(ts, number);
            batch.put_cf(self.commits().handle(), key, record);
        });
        ticket.begin_write();
        self.write(batch, durability)?;
        before_visible();
        ticket.finish()
    }

    /// Writes a batch; a failure stops the engine, since its outcome is unknown.
    pub(crate) fn write(&self, batch: WriteBatch, durability: Durability) -> Result<()> {
        self.commits()
            .write(batch, durability == Durability::Sync, "write a commit")
            .inspect_err(|e| self.sequencer().poison(e.to_string()))
    }

    /// Makes everything committed so far survive a power failure.
    pub fn sync_wal(&self) -> Result<()> {
        self.commits()
            .db()
            .flush_wal(true)
            .map_err(Error::rocks("sync the log"))
    }
}

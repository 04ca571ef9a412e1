//! The part of a transaction that is being put together.

use icecore_mvcc::{EngineId, Timestamp};

use super::keyspaces::Followed;
use super::token::ResumeToken;
use super::transaction::{CatalogChange, CommittedTransaction, FeedChange};
use super::window::Rows;

/// About what a row takes beside its key and value.
const ROW_BYTES: usize = 64;

/// Gathers what will be delivered next.
#[derive(Default)]
pub(super) struct Part {
    number: u32,
    bytes: usize,
    pub(super) catalog: Vec<CatalogChange>,
    changes: Vec<FeedChange>,
}

impl Part {
    /// About how much memory its rows take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds a row.
    pub(super) fn push(&mut self, of: &Followed, key: Vec<u8>, value: Option<Vec<u8>>) {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len) + ROW_BYTES;
        self.changes.push(FeedChange {
            keyspace: of.keyspace.id(),
            name: of.name.clone(),
            key,
            value,
        });
    }

    /// Takes rows whose values are there, until it has so many bytes or there is none.
    pub(super) fn take(&mut self, rows: &mut Rows, budget: usize) {
        while let Some((key, value)) = rows.next_fetched() {
            self.push(&rows.of, key, value);
            if self.bytes >= budget {
                break;
            }
        }
    }

    /// Ends the part, and begins the next one or the next transaction. `None` where the transaction came
    /// to nothing.
    pub(super) fn close(
        &mut self,
        timestamp: Timestamp,
        last: bool,
        engine: EngineId,
    ) -> Option<CommittedTransaction> {
        let Self {
            number,
            catalog,
            changes,
            ..
        } = std::mem::take(self);
        if !last {
            self.number = number + 1;
        }
        let nothing = number == 0 && catalog.is_empty() && changes.is_empty();
        (!nothing).then(|| CommittedTransaction {
            timestamp,
            part: number,
            last,
            catalog,
            changes,
            token: last.then(|| ResumeToken::new(engine, timestamp)),
        })
    }
}

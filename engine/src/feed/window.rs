//! Reads the commit index on, record by record, into what is to be done for each transaction.

use std::collections::VecDeque;

use icecore_mvcc::{KeyRange, KeyspaceId, Timestamp};

use super::keyspaces::{Followed, Keyspaces};
use super::transaction::CatalogChange;
use crate::catalog::SYSTEM_KEYSPACE;
use crate::changes::IndexReader;
use crate::commit::index::{Change, SizeClass, decode};
use crate::engine::Engine;
use crate::error::Result;

/// The index is read in pieces of about this many bytes, so that a consumer that is slow, or a commit
/// that is large, holds little memory and no view of the database.
const READ_BYTES: usize = 256 << 10;

/// A step towards the transaction at a time.
pub(super) struct Step {
    pub(super) at: Timestamp,
    pub(super) work: Work,
}

/// What a step adds to its transaction.
pub(super) enum Work {
    Catalog(CatalogChange),
    Rows(Rows),
    Span(Span),
    /// Nothing: the transaction is whole.
    End,
}

/// Rows of one keyspace.
pub(super) struct Rows {
    pub(super) of: Followed,
    rows: VecDeque<Row>,
}

/// A key that a transaction wrote.
pub(super) struct Row {
    pub(super) key: Vec<u8>,
    pub(super) value: Slot,
}

/// A value, or the place for it.
pub(super) enum Slot {
    Wanted(SizeClass),
    There(Option<Vec<u8>>),
}

/// The keys between which a bulk load wrote.
pub(super) struct Span {
    pub(super) of: Followed,
    pub(super) range: KeyRange,
}

impl Rows {
    /// Whether the value of the next row is there.
    pub(super) fn are_fetched(&self) -> bool {
        matches!(
            self.rows.front(),
            None | Some(Row {
                value: Slot::There(_),
                ..
            })
        )
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The next row, if its value is there.
    pub(super) fn next_fetched(&mut self) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        match self.rows.pop_front()? {
            Row {
                key,
                value: Slot::There(value),
            } => Some((key, value)),
            wanted => {
                self.rows.push_front(wanted);
                None
            }
        }
    }
}

/// A read of the index, in pieces.
pub(super) struct IndexWindow {
    steps: VecDeque<Step>,
    /// The record to go on with: its time, and its number within the commit.
    next: (Timestamp, u32),
    /// The newest time that may be read; visible.
    until: Timestamp,
    /// A transaction some of whose steps were read, and its end was not.
    open: Option<Timestamp>,
}

impl IndexWindow {
    /// From the first record after a time on.
    pub(super) fn after(position: Timestamp) -> Self {
        Self {
            steps: VecDeque::new(),
            next: (position.next(), 0),
            until: position,
            open: None,
        }
    }

    pub(super) fn front(&self) -> Option<&Step> {
        self.steps.front()
    }

    pub(super) fn pop(&mut self) -> Option<Step> {
        self.steps.pop_front()
    }

    pub(super) fn put_back(&mut self, at: Timestamp, work: Work) {
        self.steps.push_front(Step { at, work });
    }

    /// The rows that come next, each with the time and the keyspace that it is of.
    pub(super) fn rows_mut(&mut self) -> impl Iterator<Item = (Timestamp, &Followed, &mut Row)> {
        self.steps.iter_mut().flat_map(|step| {
            let (rows, of) = match &mut step.work {
                Work::Rows(Rows { of, rows }) => (Some(rows), Some(&*of)),
                _ => (None, None),
            };
            let at = step.at;
            rows.into_iter()
                .flatten()
                .filter_map(move |row| of.map(|of| (at, of, row)))
        })
    }

    /// All transactions at or below this time were read whole.
    pub(super) fn passed(&self) -> Timestamp {
        self.next.0.prev()
    }

    /// Reads a piece; `false` if nothing is left at or below the visible timestamp.
    pub(super) fn read(&mut self, engine: &Engine, keyspaces: &mut Keyspaces) -> Result<bool> {
        if self.passed() >= self.until {
            self.until = engine.visible();
            if self.passed() >= self.until {
                return Ok(false);
            }
        }
        let mut reader = IndexReader::from_record(engine, self.next, self.until);
        let mut bytes = 0;
        while let Some((at, record)) = reader.next()? {
            if at > self.next.0 {
                self.end();
                self.next = (at, 0);
            }
            bytes += record.len();
            let mut found = Found::default();
            decode(record, |change| found.add(at, &change, engine, keyspaces))?;
            self.take(at, found);
            self.next.1 += 1;
            if bytes >= READ_BYTES {
                return Ok(true);
            }
        }
        self.end();
        self.next = (self.until.next(), 0);
        Ok(true)
    }

    fn take(&mut self, at: Timestamp, found: Found) {
        if found.steps.is_empty() {
            return;
        }
        self.open = Some(at);
        let steps = found.steps.into_iter().map(|work| Step { at, work });
        self.steps.extend(steps);
    }

    /// The transaction that was being read is whole.
    fn end(&mut self) {
        if let Some(at) = self.open.take() {
            let work = Work::End;
            self.steps.push_back(Step { at, work });
        }
    }
}

/// What a record tells of the keyspaces that are followed.
#[derive(Default)]
struct Found {
    steps: Vec<Work>,
}

impl Found {
    fn add(
        &mut self,
        at: Timestamp,
        change: &Change<'_>,
        engine: &Engine,
        keyspaces: &mut Keyspaces,
    ) -> Result<()> {
        match *change {
            Change::Key { keyspace, key, put } if keyspace == SYSTEM_KEYSPACE => {
                let changed = keyspaces.note(engine, at, key, put.is_some())?;
                self.steps.extend(changed.map(Work::Catalog));
            }
            Change::Key { keyspace, key, put } => {
                let value = put.map_or(Slot::There(None), Slot::Wanted);
                let key = || key.to_vec();
                if let Some(rows) = self.last_rows(keyspace) {
                    rows.push_back(Row { key: key(), value });
                } else if let Some(of) = keyspaces.followed(keyspace, at)? {
                    let rows = VecDeque::from([Row { key: key(), value }]);
                    self.steps.push(Work::Rows(Rows { of, rows }));
                }
            }
            Change::Span {
                keyspace,
                first,
                last,
            } => {
                if let Some(of) = keyspaces.followed(keyspace, at)? {
                    let mut end = last.to_vec();
                    end.push(0);
                    let range = KeyRange::new(first.to_vec(), Some(end));
                    self.steps.push(Work::Span(Span { of, range }));
                }
            }
        }
        Ok(())
    }

    /// The rows found last, if they are of this keyspace.
    fn last_rows(&mut self, keyspace: KeyspaceId) -> Option<&mut VecDeque<Row>> {
        match self.steps.last_mut() {
            Some(Work::Rows(Rows { of, rows })) if of.keyspace.id() == keyspace => Some(rows),
            _ => None,
        }
    }
}

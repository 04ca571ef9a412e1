//! What was committed since the oldest open transaction began.
//!
//! Commits enter their keys while a transaction is open, under the sequencer's lock, before they
//! are written; a transaction is checked against them under the same lock. With no transaction
//! open, commits pay one atomic load. What is kept is bounded: beyond that the oldest commits are
//! forgotten, and a transaction that began before them can no longer commit.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::atomic::{AtomicUsize, Ordering};

use icecore_mvcc::{KeyRange, KeyspaceId, Timestamp};
use parking_lot::Mutex;

use crate::commit::Rows;
use crate::error::{Error, Result};

/// About how much memory the recent commits may take, in bytes.
const MAX_TRACKED_BYTES: usize = 64 << 20;

/// What stands for the key in a conflict with a bulk load.
const LOADED: &str = "(any, by a bulk load)";

/// About what one key takes beside its two copies.
const KEY_OVERHEAD_BYTES: usize = 128;

/// What a transaction read, to be checked at its commit.
pub(crate) struct Reads {
    /// It saw every commit at or below this, and none above.
    pub(crate) start: Timestamp,
    pub(crate) keys: BTreeSet<(KeyspaceId, Vec<u8>)>,
    pub(crate) ranges: Vec<(KeyspaceId, KeyRange)>,
    /// Of the keyspaces in both.
    pub(crate) names: BTreeMap<KeyspaceId, String>,
}

/// Recent commits, as far as open transactions need them.
#[derive(Default)]
pub(crate) struct Tracker {
    /// Open transactions. Changed under the sequencer's lock when it rises.
    open: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Start times of open transactions, with how many share each.
    starts: BTreeMap<Timestamp, usize>,
    /// The newest commit of each key, for commits after the oldest start.
    recent: BTreeMap<(KeyspaceId, Vec<u8>), Timestamp>,
    /// The same in commit order, to forget the oldest.
    by_time: BTreeMap<Timestamp, Vec<(KeyspaceId, Vec<u8>)>>,
    /// The newest bulk load of each keyspace; it may have touched any key.
    loads: BTreeMap<KeyspaceId, Timestamp>,
    /// About what `recent` and `by_time` take.
    bytes: usize,
    /// Commits at or below this were forgotten though a transaction was open that might need them.
    forgotten: Timestamp,
}

impl Tracker {
    /// A transaction begins. Called under the sequencer's lock.
    pub(crate) fn begin(&self, start: Timestamp) {
        self.open.fetch_add(1, Ordering::AcqRel);
        *self.state.lock().starts.entry(start).or_insert(0) += 1;
    }

    /// A transaction ends, however it ended.
    pub(crate) fn end(&self, start: Timestamp) {
        let mut state = self.state.lock();
        if let Some(count) = state.starts.get_mut(&start) {
            *count -= 1;
            if *count == 0 {
                state.starts.remove(&start);
            }
        }
        self.open.fetch_sub(1, Ordering::AcqRel);
        state.forget();
    }

    /// Checks a commit against the recent ones and enters it. Called under the sequencer's lock.
    pub(crate) fn admit(&self, ts: Timestamp, rows: &Rows, reads: Option<&Reads>) -> Result<()> {
        if self.open.load(Ordering::Acquire) == 0 {
            return Ok(());
        }
        let mut state = self.state.lock();
        if state.starts.is_empty() {
            // The last transaction ended meanwhile.
            return Ok(());
        }
        if let Some(reads) = reads {
            state.check(rows, reads)?;
        }
        state.enter(
            ts,
            rows.iter()
                .map(|row| (row.space.id(), row.user_key().into_owned()))
                .collect(),
        );
        state.bound(MAX_TRACKED_BYTES);
        Ok(())
    }

    /// Enters a bulk load. Called under the sequencer's lock.
    pub(crate) fn admit_load(&self, ts: Timestamp, keyspace: KeyspaceId) {
        if self.open.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut state = self.state.lock();
        if !state.starts.is_empty() {
            state.loads.insert(keyspace, ts);
        }
    }
}

impl State {
    fn enter(&mut self, ts: Timestamp, keys: Vec<(KeyspaceId, Vec<u8>)>) {
        for key in &keys {
            self.bytes += tracked_bytes(key);
            self.recent.insert(key.clone(), ts);
        }
        self.by_time.insert(ts, keys);
    }

    /// Forgets the oldest commits until the rest takes no more than this.
    fn bound(&mut self, max_bytes: usize) {
        while self.bytes > max_bytes && self.by_time.len() > 1 {
            let Some(ts) = self.forget_oldest() else {
                return;
            };
            self.forgotten = ts;
        }
    }

    fn forget_oldest(&mut self) -> Option<Timestamp> {
        let (ts, keys) = self.by_time.pop_first()?;
        for key in keys {
            self.bytes = self.bytes.saturating_sub(tracked_bytes(&key));
            if self.recent.get(&key) == Some(&ts) {
                self.recent.remove(&key);
            }
        }
        Some(ts)
    }

    fn check(&self, rows: &Rows, reads: &Reads) -> Result<()> {
        if reads.start < self.forgotten {
            return Err(Error::TransactionTooOld { start: reads.start });
        }
        let keyspaces = rows.iter().map(|row| row.space.id());
        let read = reads
            .keys
            .iter()
            .map(|(id, _)| *id)
            .chain(reads.ranges.iter().map(|(id, _)| *id));
        for id in keyspaces.chain(read) {
            if let Some(&at) = self.loads.get(&id).filter(|at| **at > reads.start) {
                return Err(conflict(rows, reads, id, LOADED.to_owned(), at));
            }
        }
        let written = rows
            .iter()
            .map(|row| (row.space.id(), row.user_key().into_owned()));
        for key in written.chain(reads.keys.iter().cloned()) {
            if let Some(&at) = self.recent.get(&key).filter(|at| **at > reads.start) {
                return Err(conflict(rows, reads, key.0, Error::key_text(&key.1), at));
            }
        }
        for (id, range) in &reads.ranges {
            let from = Bound::Included((*id, range.start().to_vec()));
            let to = match range.end() {
                Some(end) => Bound::Excluded((*id, end.to_vec())),
                None => Bound::Excluded((KeyspaceId::new(id.get().saturating_add(1)), Vec::new())),
            };
            if range.is_empty() {
                continue;
            }
            if let Some(((_, key), &at)) = self
                .recent
                .range((from, to))
                .find(|(_, at)| **at > reads.start)
            {
                return Err(conflict(rows, reads, *id, Error::key_text(key), at));
            }
        }
        Ok(())
    }

    /// Drops what no open transaction can conflict with.
    fn forget(&mut self) {
        let Some(oldest) = self.starts.keys().next().copied() else {
            *self = Self::default();
            return;
        };
        while self
            .by_time
            .first_key_value()
            .is_some_and(|(ts, _)| *ts <= oldest)
        {
            self.forget_oldest();
        }
        self.loads.retain(|_, ts| *ts > oldest);
    }
}

fn tracked_bytes(key: &(KeyspaceId, Vec<u8>)) -> usize {
    2 * key.1.len() + KEY_OVERHEAD_BYTES
}

fn conflict(rows: &Rows, reads: &Reads, id: KeyspaceId, key: String, at: Timestamp) -> Error {
    let written = rows.iter().find(|row| row.space.id() == id);
    let name = written
        .map(|row| row.space.name())
        .or_else(|| reads.names.get(&id).map(String::as_str));
    let keyspace = name.unwrap_or_default().to_owned();
    metrics::counter!("icecore_engine_conflicts_total").increment(1);
    Error::Conflict { keyspace, key, at }
}

//! The reference model: what every read of a keyspace must answer, in the plainest code there is.
//!
//! A map of maps with no codec, no files and no cleverness. Tests run the same operations against this
//! and against an engine and compare. It checks no threshold: the caller asks only for what an engine
//! would answer.

use std::collections::BTreeMap;

use crate::range::KeyRange;
use crate::timestamp::Timestamp;
use crate::version::Version;

/// One version with its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    /// The user key.
    pub key: Vec<u8>,
    /// When the version was written.
    pub ts: Timestamp,
    /// Its bytes; `None` for a tombstone.
    pub value: Option<Vec<u8>>,
}

/// A keyspace in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelKeyspace {
    keys: BTreeMap<Vec<u8>, BTreeMap<Timestamp, Option<Vec<u8>>>>,
    threshold: Timestamp,
}

impl ModelKeyspace {
    /// An empty keyspace whose whole history is readable.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes a value at a time.
    pub fn put(&mut self, key: &[u8], ts: Timestamp, value: &[u8]) {
        self.insert(key, ts, Some(value.to_vec()));
    }

    /// Writes a tombstone at a time, whether or not the key exists.
    pub fn delete(&mut self, key: &[u8], ts: Timestamp) {
        self.insert(key, ts, None);
    }

    /// Writes a version; one of the same key and time is replaced.
    pub fn insert(&mut self, key: &[u8], ts: Timestamp, value: Option<Vec<u8>>) {
        self.keys.entry(key.to_vec()).or_default().insert(ts, value);
    }

    /// What the key was at a time: its newest version then, unless that is a tombstone.
    #[must_use]
    pub fn get(&self, key: &[u8], at: Timestamp) -> Option<&[u8]> {
        let (_, value) = self.keys.get(key)?.range(..=at).next_back()?;
        value.as_deref()
    }

    /// The keys of a range that existed at a time, each with the version that says so, ascending or (with
    /// `reverse`) descending, `limit` of them at most.
    #[must_use]
    pub fn scan(&self, range: &KeyRange, at: Timestamp, reverse: bool, limit: usize) -> Vec<Row> {
        let mut rows = self.full(range, at, None);
        if reverse {
            rows.reverse();
        }
        rows.truncate(limit);
        rows
    }

    /// All versions of a key, newest first.
    #[must_use]
    pub fn versions(&self, key: &[u8]) -> Vec<Version> {
        let newest_first = self
            .keys
            .get(key)
            .into_iter()
            .flat_map(|versions| versions.iter().rev());
        newest_first
            .map(|(ts, value)| Version {
                ts: *ts,
                value: value.clone(),
            })
            .collect()
    }

    /// The time-bounded iterator: versions of a range in (`after`, `until`], tombstones included, ordered
    /// by key and then newest first; with `latest` only the newest per key.
    #[must_use]
    pub fn changes(
        &self,
        range: &KeyRange,
        after: Timestamp,
        until: Timestamp,
        latest: bool,
    ) -> Vec<Row> {
        let per_key = if latest { 1 } else { usize::MAX };
        let mut rows = Vec::new();
        for (key, versions) in self.keys_in(range) {
            let window = versions
                .iter()
                .rev()
                .filter(|(ts, _)| after < **ts && **ts <= until);
            rows.extend(window.take(per_key).map(|(ts, value)| row(key, *ts, value)));
        }
        rows
    }

    /// What a full backup as of `at` holds, ordered by key and then newest first.
    ///
    /// Without `history_after`, the newest version per key, unless it is a tombstone. With it, every version
    /// in (`history_after`, `at`], and the newest at or below `history_after`, unless it is a tombstone.
    #[must_use]
    pub fn full(
        &self,
        range: &KeyRange,
        at: Timestamp,
        history_after: Option<Timestamp>,
    ) -> Vec<Row> {
        let base_at = history_after.unwrap_or(at).min(at);
        let mut rows = Vec::new();
        for (key, versions) in self.keys_in(range) {
            let history = versions
                .iter()
                .rev()
                .filter(|(ts, _)| base_at < **ts && **ts <= at);
            rows.extend(history.map(|(ts, value)| row(key, *ts, value)));
            let base = versions.iter().rev().find(|(ts, _)| **ts <= base_at);
            rows.extend(
                base.filter(|(_, value)| value.is_some())
                    .map(|(ts, value)| row(key, *ts, value)),
            );
        }
        rows
    }

    /// Every version there is, ordered by key and then newest first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        let keys = self.keys.iter();
        keys.flat_map(|(key, versions)| {
            versions
                .iter()
                .rev()
                .map(|(ts, value)| row(key, *ts, value))
        })
        .collect()
    }

    /// Raises the threshold (a lower one changes nothing) and drops all that may be dropped: of each key
    /// what the newest version at or below the threshold covers, and that one if it is a tombstone. An
    /// engine may keep more of it for a while.
    pub fn gc(&mut self, threshold: Timestamp) {
        self.threshold = self.threshold.max(threshold);
        for versions in self.keys.values_mut() {
            let newest = versions.range(..=self.threshold).next_back();
            let Some((newest, tombstone)) = newest.map(|(ts, value)| (*ts, value.is_none())) else {
                continue;
            };
            versions.retain(|ts, _| *ts > newest || (*ts == newest && !tombstone));
        }
        self.keys.retain(|_, versions| !versions.is_empty());
    }

    /// The oldest time at which reads are true.
    #[must_use]
    pub const fn threshold(&self) -> Timestamp {
        self.threshold
    }

    fn keys_in<'a>(
        &'a self,
        range: &'a KeyRange,
    ) -> impl Iterator<Item = (&'a Vec<u8>, &'a BTreeMap<Timestamp, Option<Vec<u8>>>)> {
        self.keys.iter().filter(|(key, _)| range.contains(key))
    }
}

fn row(key: &[u8], ts: Timestamp, value: &Option<Vec<u8>>) -> Row {
    Row {
        key: key.to_vec(),
        ts,
        value: value.clone(),
    }
}

#[cfg(test)]
mod tests;

//! Commits, transactions and bulk loads.

use std::collections::{BTreeMap, BTreeSet};

use icecore_engine::{Batch, Durability, Error, Isolation, ScanDirection};
use icecore_mvcc::{KeyRange, KeyspaceId, Timestamp};

use super::bugs::Bug;
use super::known::Known;
use super::ops::{Transact, Write};
use super::pool;
use super::world::World;
use crate::failure::{Result, ensure};

/// Writes of one commit: by keyspace and key, the last of each.
type Writes = BTreeMap<(KeyspaceId, Vec<u8>), Option<Vec<u8>>>;

impl World {
    pub(crate) fn write(&mut self, writes: &[Write], sync: bool) -> Result<()> {
        let engine = self.engine()?;
        let mut batch = Batch::new();
        let mut expected = Writes::new();
        for write in writes {
            let Some((id, keyspace)) = self.live(write.keyspace)? else {
                return Ok(());
            };
            let (key, value) = (pool::key(write.key), write.value.map(pool::value));
            match &value {
                Some(value) => batch.put(&keyspace, key.clone(), value.clone()),
                None => batch.delete(&keyspace, key.clone()),
            };
            expected.insert((id, key), value);
        }
        if batch.is_empty() {
            return Ok(());
        }
        let before = engine.now();
        let durability = if sync {
            Durability::Sync
        } else {
            Durability::Buffered
        };
        let ts = match self.bug {
            // Acknowledged, and not made: its time is that of nothing.
            Some(Bug::LosesACommit) if writes.len() > 3 => engine.now(),
            _ => engine.commit(batch, durability)?,
        };
        ensure!(ts >= before, "a commit at {ts:?} came after {before:?}");
        ensure!(engine.visible() >= ts, "a commit at {ts:?} is not visible");
        self.enter(ts, expected)
    }

    /// Enters what was committed into the model.
    fn enter(&mut self, ts: Timestamp, writes: Writes) -> Result<()> {
        let known = self.known_mut()?;
        for ((id, key), value) in writes {
            if let Some(keyspace) = known.keyspaces.get_mut(&id) {
                let twice = keyspace
                    .rows
                    .versions(&key)
                    .first()
                    .is_some_and(|newest| newest.ts >= ts);
                ensure!(
                    !twice,
                    "a commit at {ts:?} is not newer than those before it"
                );
                keyspace.rows.insert(&key, ts, value);
            }
        }
        self.note(ts)
    }

    pub(crate) fn bulk_load(&mut self, keyspace: u8, keys: u16, value: u8) -> Result<()> {
        let Some((id, keyspace)) = self.live(keyspace)? else {
            return Ok(());
        };
        let chosen = pool::keys().into_iter().enumerate();
        let chosen = chosen.filter(|(bit, _)| keys >> bit & 1 == 1);
        let rows: Writes = chosen
            .map(|(bit, key)| ((id, key), Some(pool::value(value.wrapping_add(bit as u8)))))
            .collect();
        let sorted = rows
            .iter()
            .map(|((_, key), value)| Ok((key, value.as_deref().unwrap_or_default())));
        let loaded = self.engine()?.bulk_load(&keyspace, sorted)?;
        ensure!(
            loaded.rows == rows.len() as u64,
            "loaded {} rows of {}",
            loaded.rows,
            rows.len()
        );
        self.enter(loaded.ts, rows)
    }

    pub(crate) fn transact(&mut self, asked: &Transact) -> Result<()> {
        let Some((id, keyspace)) = self.live(asked.keyspace)? else {
            return Ok(());
        };
        let engine = self.engine()?;
        let isolation = if asked.serializable {
            Isolation::Serializable
        } else {
            Isolation::Snapshot
        };
        let mut transaction = engine.begin(isolation)?;
        let start = transaction.snapshot().timestamp();
        let Some(known) = self.known()?.keyspaces.get(&id).cloned() else {
            return Ok(());
        };
        let mut own: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for write in &asked.writes {
            let (key, value) = (pool::key(write.key), write.value.map(pool::value));
            match &value {
                Some(value) => transaction.put(&keyspace, key.clone(), value.clone()),
                None => transaction.delete(&keyspace, key.clone()),
            }
            own.insert(key, value);
        }
        let mut read_keys = BTreeSet::new();
        for key in asked.reads.iter().map(|key| pool::key(*key)) {
            let found = transaction.get(&keyspace, &key)?;
            let expected = match own.get(&key) {
                Some(own) => own.clone(),
                None => {
                    read_keys.insert(key.clone());
                    known.rows.get(&key, start).map(<[u8]>::to_vec)
                }
            };
            ensure!(
                found == expected,
                "a transaction reads {found:?}, not {expected:?}"
            );
        }
        let bound = asked
            .reads
            .first()
            .map(|key| pool::key(*key))
            .filter(|_| asked.scans);
        let range = bound.map(|bound| KeyRange::new(Vec::new(), Some(bound)));
        if let Some(range) = &range {
            let found: Vec<_> = transaction
                .scan(&keyspace, range, ScanDirection::Reverse)?
                .collect::<Result<_, _>>()?;
            let expected = overlaid(&known, &own, range, start);
            ensure!(
                found == expected,
                "a transaction scans {found:?}, not {expected:?}"
            );
        }
        let rival = self.rival(id, &asked.rival)?;
        let met = |key: &Vec<u8>| {
            own.contains_key(key)
                || (asked.serializable
                    && (read_keys.contains(key)
                        || range.as_ref().is_some_and(|range| range.contains(key))))
        };
        let conflicts = !own.is_empty() && rival.iter().any(met);
        if !asked.commits {
            transaction.rollback();
            return Ok(());
        }
        match transaction.commit(Durability::Buffered) {
            Ok(ts) => {
                ensure!(!conflicts, "a transaction committed against its rival");
                let writes = own
                    .into_iter()
                    .map(|(key, value)| ((id, key), value))
                    .collect::<Writes>();
                if writes.is_empty() {
                    Ok(())
                } else {
                    self.enter(ts, writes)
                }
            }
            Err(error @ Error::Conflict { .. }) => {
                ensure!(conflicts, "a transaction fails without reason: {error}");
                ensure!(error.is_retryable(), "a conflict is not retryable");
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Commits what the rival writes; returns the keys.
    fn rival(&mut self, id: KeyspaceId, writes: &[Write]) -> Result<BTreeSet<Vec<u8>>> {
        let keyspace = self.engine()?.keyspace_by_id(id)?;
        let mut batch = Batch::new();
        let mut expected = Writes::new();
        for write in writes {
            let (key, value) = (pool::key(write.key), write.value.map(pool::value));
            match &value {
                Some(value) => batch.put(&keyspace, key.clone(), value.clone()),
                None => batch.delete(&keyspace, key.clone()),
            };
            expected.insert((id, key), value);
        }
        let keys = expected.keys().map(|(_, key)| key.clone()).collect();
        if !batch.is_empty() {
            let ts = self.engine()?.commit(batch, Durability::Buffered)?;
            self.enter(ts, expected)?;
        }
        Ok(keys)
    }
}

/// What a transaction's scan of a range must show, descending.
fn overlaid(
    known: &Known,
    own: &BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    range: &KeyRange,
    at: Timestamp,
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let base = known.rows.scan(range, at, false, usize::MAX);
    let mut rows: BTreeMap<_, _> = base.into_iter().map(|row| (row.key, row.value)).collect();
    rows.extend(
        own.iter()
            .filter(|(key, _)| range.contains(key))
            .map(|(k, v)| (k.clone(), v.clone())),
    );
    rows.into_iter()
        .rev()
        .filter_map(|(key, value)| Some((key, value?)))
        .collect()
}

//! A database and the reference model of each of its keyspaces, moved by the same operations.

mod check;
mod ops;

use std::collections::BTreeSet;

use icecore_engine::{
    Batch, Durability, Error, Isolation, Keyspace, Options, Publish, SYSTEM_KEYSPACE,
    ScanDirection, Snapshot, SweepBudget,
};
use icecore_mvcc::model::ModelKeyspace;
use icecore_mvcc::{KeyRange, KeyspaceId, KeyspaceSettings, Timestamp};
use proptest::test_runner::TestCaseError;

pub use check::Oracle;
pub use ops::{Op, Span, Stamp, Write, general, option_sets, windows};

use crate::common::{Fixture, START, ts};

/// What running an operation or a check gives.
pub type Outcome = Result<(), TestCaseError>;

/// The most keyspaces that are live at once.
const MAX_SPACES: usize = 3;

/// Where the rows of restores begin.
const RESTORED_FROM: u64 = START / 2;

/// A keyspace and what it must hold. The model is never collected: reads at and above the
/// threshold must not tell the difference.
pub struct Twin {
    id: KeyspaceId,
    model: ModelKeyspace,
    threshold: Timestamp,
    dropped: Option<Timestamp>,
}

/// A database beside its model.
pub struct World {
    db: Fixture,
    twins: Vec<Twin>,
    /// Times at which something happened, to read at and around.
    stamps: Vec<Timestamp>,
    held: Vec<Snapshot>,
    names: u32,
    oracle: Oracle,
}

impl World {
    pub fn new(options: Options, oracle: Oracle) -> Self {
        let mut world = Self {
            db: Fixture::with(options),
            twins: Vec::new(),
            stamps: vec![Timestamp::MIN, ts(START)],
            held: Vec::new(),
            names: 0,
            oracle,
        };
        world.create();
        world
    }

    pub fn run(&mut self, op: &Op) -> Outcome {
        match op {
            Op::Commit { space, rows } => self.commit(*space, rows),
            Op::Transaction {
                space,
                serializable,
                reads,
                range,
                writes,
                rival,
            } => self.transaction(*space, *serializable, reads, range, writes, rival.as_ref()),
            Op::BulkLoad { space, keys, value } => self.bulk_load(*space, keys, *value),
            Op::Restore { layers } => self.restore(layers),
            Op::Create => {
                self.create();
                Ok(())
            }
            Op::Drop { space } => self.drop_keyspace(*space),
            Op::Flush => done(self.db.engine().flush()),
            Op::Compact { space } => match self.twin(*space) {
                Some(twin) => done(self.db.engine().compact(&self.keyspace(twin))),
                None => Ok(()),
            },
            Op::Reopen { clean } => {
                self.held.clear();
                if *clean {
                    self.db.reopen()
                } else {
                    self.db.drop_and_open()
                }
                Ok(())
            }
            Op::Tick { nanos } => {
                self.db
                    .clock
                    .advance(std::time::Duration::from_nanos(*nanos));
                Ok(())
            }
            Op::ClockBack => {
                self.db.clock.set(ts(START / 3));
                Ok(())
            }
            Op::Raise { space, to } => self.raise(*space, *to),
            Op::Sweep { space, max_keys } => match self.twin(*space) {
                Some(twin) => {
                    let budget = SweepBudget {
                        max_keys: usize::from(*max_keys),
                    };
                    done(self.db.engine().sweep(&self.keyspace(twin), budget))
                }
                None => Ok(()),
            },
            Op::CollectAll => self.collect_all(),
            Op::Hold { at } => {
                let at = self.stamp(*at);
                self.held
                    .push(self.db.engine().snapshot_at(at).map_err(failed)?);
                Ok(())
            }
            Op::Release => {
                self.held.pop();
                Ok(())
            }
            Op::Check { space, at } => self.check_reads(*space, *at),
            Op::CheckWindow {
                space,
                after,
                until,
                range,
                latest,
                parts,
                memory_bytes,
            } => self.check_window(
                *space,
                (*after, *until),
                range,
                *latest,
                usize::from(*parts),
                *memory_bytes,
            ),
        }
    }

    /// Everything that the model and the engine can be asked, at the end of a run.
    pub fn check_all(&mut self) -> Outcome {
        for space in 0..self.twins.len() {
            for at in [0, 3000, 9999, u16::MAX] {
                self.check_reads(space as u8, Stamp(at))?;
            }
            for parts in 1..=2 {
                let all = Span {
                    start: None,
                    end: None,
                };
                self.check_window(
                    space as u8,
                    (Stamp(0), Stamp(u16::MAX)),
                    &all,
                    false,
                    parts,
                    600,
                )?;
            }
        }
        Ok(())
    }

    fn keyspace(&self, twin: &Twin) -> Keyspace {
        self.db.engine().keyspace_by_id(twin.id).unwrap()
    }

    fn twin(&self, space: u8) -> Option<&Twin> {
        self.twins.get(usize::from(space) % self.twins.len().max(1))
    }

    /// The position of a keyspace that can be written.
    fn live(&self, space: u8) -> Option<usize> {
        let live: Vec<usize> = (0..self.twins.len())
            .filter(|i| self.twins[*i].dropped.is_none())
            .collect();
        live.get(usize::from(space) % live.len().max(1)).copied()
    }

    /// A time at, before or after one at which something happened; never after now.
    fn stamp(&self, stamp: Stamp) -> Timestamp {
        let picked = self.stamps[usize::from(stamp.0) / 3 % self.stamps.len()];
        let moved = match stamp.0 % 3 {
            0 => picked,
            1 => picked.prev(),
            _ => picked.next(),
        };
        if stamp.0 == u16::MAX {
            self.db.engine().now()
        } else {
            moved.min(self.db.engine().now())
        }
    }

    fn create(&mut self) {
        if self.twins.iter().filter(|t| t.dropped.is_none()).count() >= MAX_SPACES {
            return;
        }
        self.names += 1;
        let name = format!("ks{}", self.names);
        let keyspace = self
            .db
            .engine()
            .create_keyspace(&name, KeyspaceSettings::default())
            .unwrap();
        self.stamps.push(keyspace.descriptor().created);
        self.twins.push(Twin {
            id: keyspace.id(),
            model: ModelKeyspace::new(),
            threshold: Timestamp::MIN,
            dropped: None,
        });
    }

    fn commit(&mut self, space: u8, rows: &[Write]) -> Outcome {
        let Some(first) = self.live(space) else {
            return Ok(());
        };
        let mut batch = Batch::new();
        // Every other row goes to the next keyspace.
        let places: Vec<usize> = (0..rows.len())
            .map(|i| {
                if i % 2 == 0 {
                    first
                } else {
                    self.live(space.wrapping_add(1)).unwrap()
                }
            })
            .collect();
        for (row, place) in rows.iter().zip(&places) {
            let keyspace = self.keyspace(&self.twins[*place]);
            match row.value() {
                Some(value) => batch.put(&keyspace, row.key(), value),
                None => batch.delete(&keyspace, row.key()),
            };
        }
        let at = self
            .db
            .engine()
            .commit(batch, Durability::Buffered)
            .map_err(failed)?;
        for (row, place) in rows.iter().zip(places) {
            self.twins[place].model.insert(&row.key(), at, row.value());
        }
        self.stamps.push(at);
        Ok(())
    }

    /// A transaction that reads, lets a rival commit, writes and commits.
    fn transaction(
        &mut self,
        space: u8,
        serializable: bool,
        reads: &[u8],
        range: &Span,
        writes: &[Write],
        rival: Option<&Write>,
    ) -> Outcome {
        let Some(place) = self.live(space) else {
            return Ok(());
        };
        let isolation = if serializable {
            Isolation::Serializable
        } else {
            Isolation::Snapshot
        };
        let keyspace = self.keyspace(&self.twins[place]);
        let mut transaction = self.db.engine().begin(isolation).map_err(failed)?;
        let start = transaction.snapshot().timestamp();
        for key in reads {
            let key = ops::key(*key);
            let expected = self.twins[place].model.get(&key, start).map(<[u8]>::to_vec);
            same(
                "a transaction's get",
                &transaction.get(&keyspace, &key).map_err(failed)?,
                &expected,
            )?;
        }
        let range = range.range();
        let scan = transaction
            .scan(&keyspace, &range, ScanDirection::Reverse)
            .map_err(failed)?;
        let scanned: Vec<Vec<u8>> = scan.map(|row| row.unwrap().0).collect();
        let expected = self.twins[place]
            .model
            .scan(&range, start, true, usize::MAX);
        same(
            "a transaction's scan",
            &scanned,
            &expected.into_iter().map(|row| row.key).collect(),
        )?;
        for write in writes {
            match write.value() {
                Some(value) => transaction.put(&keyspace, write.key(), value),
                None => transaction.delete(&keyspace, write.key()),
            }
        }
        if let Some(rival) = rival {
            let mut batch = Batch::new();
            match rival.value() {
                Some(value) => batch.put(&keyspace, rival.key(), value),
                None => batch.delete(&keyspace, rival.key()),
            };
            let at = self
                .db
                .engine()
                .commit(batch, Durability::Buffered)
                .map_err(failed)?;
            self.twins[place]
                .model
                .insert(&rival.key(), at, rival.value());
        }
        let conflict = !writes.is_empty()
            && rival.is_some_and(|rival| {
                let key = rival.key();
                let read = reads.iter().any(|r| ops::key(*r) == key) || range.contains(&key);
                writes.iter().any(|write| write.key() == key) || (serializable && read)
            });
        match transaction.commit(Durability::Buffered) {
            Err(Error::Conflict { .. }) if conflict => Ok(()),
            Ok(at) if !conflict => {
                for write in writes {
                    self.twins[place]
                        .model
                        .insert(&write.key(), at, write.value());
                }
                self.stamps.push(at);
                Ok(())
            }
            other => Err(TestCaseError::fail(format!(
                "a conflict was {conflict}, the commit gave {other:?}"
            ))),
        }
    }

    fn bulk_load(&mut self, space: u8, keys: &BTreeSet<u8>, value: u8) -> Outcome {
        let Some(place) = self.live(space) else {
            return Ok(());
        };
        let keyspace = self.keyspace(&self.twins[place]);
        let value = ops::value(value);
        let keys: BTreeSet<Vec<u8>> = keys.iter().map(|k| ops::key(*k)).collect();
        let rows = keys.iter().map(|key| Ok((key.clone(), value.clone())));
        let loaded = self
            .db
            .engine()
            .bulk_load(&keyspace, rows)
            .map_err(failed)?;
        for key in keys {
            self.twins[place].model.put(&key, loaded.ts, &value);
        }
        self.stamps.push(loaded.ts);
        Ok(())
    }

    fn restore(&mut self, layers: &[Vec<(Write, u8)>]) -> Outcome {
        if self.twins.iter().filter(|t| t.dropped.is_none()).count() >= MAX_SPACES {
            return Ok(());
        }
        self.names += 1;
        let name = format!("restored{}", self.names);
        let engine = self.db.engine();
        let restoring = engine
            .begin_restore(&name, &name, KeyspaceSettings::default())
            .map_err(failed)?;
        let mut model = ModelKeyspace::new();
        for (number, layer) in (0_u64..).zip(layers) {
            let mut rows = ModelKeyspace::new();
            for (write, age) in layer {
                rows.insert(
                    &write.key(),
                    ts(RESTORED_FROM + 300 * number + u64::from(*age)),
                    write.value(),
                );
            }
            let path = engine.staging_dir().join(format!("{name}-{number}.sst"));
            let mut files = Vec::new();
            if !layer.is_empty() {
                let mut writer = engine
                    .sst_writer(&path, engine.options().compression)
                    .map_err(failed)?;
                for row in rows.rows() {
                    writer
                        .add(&row.key, row.ts, row.value.as_deref())
                        .map_err(failed)?;
                    model.insert(&row.key, row.ts, row.value);
                    self.stamps.push(row.ts);
                }
                writer.finish().map_err(failed)?;
                files.push(path);
            }
            restoring
                .ingest(&format!("{number}"), &files)
                .map_err(failed)?;
        }
        let id = {
            let publish = Publish {
                keyspace: restoring,
                threshold: ts(RESTORED_FROM),
            };
            let published = engine
                .publish_restore(vec![publish], ts(RESTORED_FROM + 3000))
                .map_err(failed)?;
            self.stamps.push(published[0].descriptor().created);
            published[0].id()
        };
        self.twins.push(Twin {
            id,
            model,
            threshold: ts(RESTORED_FROM),
            dropped: None,
        });
        Ok(())
    }

    fn drop_keyspace(&mut self, space: u8) -> Outcome {
        let Some(place) = self.live(space) else {
            return Ok(());
        };
        let name = self.keyspace(&self.twins[place]).name().to_owned();
        let at = self.db.engine().drop_keyspace(&name).map_err(failed)?;
        self.twins[place].dropped = Some(at);
        self.stamps.push(at);
        Ok(())
    }

    fn raise(&mut self, space: u8, to: Stamp) -> Outcome {
        let to = self.stamp(to);
        let engine = self.db.engine();
        let oldest = engine.oldest_reader().unwrap_or(Timestamp::MAX);
        let count = self.twins.len().max(1);
        let Some(twin) = self.twins.get_mut(usize::from(space) % count) else {
            return Ok(());
        };
        let expected = to.min(engine.visible()).min(oldest).max(twin.threshold);
        let raised = engine.gc_guard().raise(twin.id, to).map_err(failed)?;
        same("the threshold", &raised, &expected)?;
        twin.threshold = raised;
        Ok(())
    }

    /// A whole round of garbage collection at the present thresholds.
    fn collect_all(&mut self) -> Outcome {
        let engine = self.db.engine();
        engine
            .gc_guard()
            .raise(SYSTEM_KEYSPACE, engine.visible())
            .map_err(failed)?;
        let mut keyspaces = engine.all_keyspaces();
        keyspaces.push(engine.system().keyspace().clone());
        for keyspace in keyspaces {
            engine
                .sweep(&keyspace, SweepBudget::default())
                .map_err(failed)?;
        }
        engine.trim_commit_index().map_err(failed)?;
        for purged in engine.purge_dropped().map_err(failed)? {
            let Some(place) = self.twins.iter().position(|t| t.id == purged.id) else {
                return Err(TestCaseError::fail(format!(
                    "{} was purged but never there",
                    purged.name
                )));
            };
            let twin = self.twins.remove(place);
            same(
                "whether a purged keyspace was over",
                &twin.dropped.is_some_and(|d| d <= twin.threshold),
                &true,
            )?;
        }
        Ok(())
    }
}

fn failed(error: Error) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn done<T>(result: Result<T, Error>) -> Outcome {
    result.map(|_| ()).map_err(failed)
}

/// An error unless both are equal.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(TestCaseError::fail(format!(
        "{what}: found {found:?}, expected {expected:?}"
    )))
}

/// The keys that a range may hold, of those in use.
fn keys_in(range: &KeyRange) -> Vec<Vec<u8>> {
    (0..ops::KEYS)
        .map(ops::key)
        .filter(|key| range.contains(key))
        .collect()
}

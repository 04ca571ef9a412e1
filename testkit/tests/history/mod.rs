//! Chains of random layers, and what can be restored from them: for tests of what rearranges layers.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, CollectionUri};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{ChangeOptions, ChangeSet, Durability, Engine, ScanDirection, Window};
use icecore_mvcc::{KeyRange, KeyspaceSettings, ManualClock, Timestamp};
use icecore_restore::{RestoreOptions, dry_run, restore};
use icecore_testkit::scratch;
use proptest::prelude::*;
use tempfile::TempDir;

use crate::rig;

const NAMES: [&str; 3] = ["bank.accounts", "bank.customers", "shop.orders"];

/// One thing that happens.
#[derive(Debug, Clone)]
pub enum Step {
    Put(u8, u8, u8),
    Delete(u8, u8),
    Create(u8),
    Drop(u8),
    /// New settings: a TTL, and whether backups leave it out.
    Alter(u8, bool, bool),
    /// With history; as of before the last step rather than now.
    Incremental(bool, bool),
}

impl Step {
    pub fn any() -> impl Strategy<Value = Self> {
        prop_oneof![
            8 => (0..3_u8, 0..4_u8, any::<u8>()).prop_map(|(k, key, v)| Self::Put(k, key, v)),
            3 => (0..3_u8, 0..4_u8).prop_map(|(k, key)| Self::Delete(k, key)),
            2 => (0..3_u8).prop_map(Self::Create),
            1 => (0..3_u8).prop_map(Self::Drop),
            1 => (0..3_u8, any::<bool>(), prop::bool::weighted(0.3))
                .prop_map(|(k, ttl, out)| Self::Alter(k, ttl, out)),
            6 => (prop::bool::weighted(0.8), prop::bool::weighted(0.2))
                .prop_map(|(history, before)| Self::Incremental(history, before)),
        ]
    }
}

/// An engine, a chain of it, and the times at which something happened.
pub struct History {
    clock: ManualClock,
    collection: Collection,
    times: Vec<Timestamp>,
    _folder: TempDir,
}

/// What a restore to a time brings: keyspaces with their TTL and the time from which on they can be read.
pub type Outcome = BTreeMap<String, (Duration, bool, Timestamp)>;

/// By time.
pub type Restorable = BTreeMap<Timestamp, Outcome>;

impl History {
    /// A full backup with history, then the steps.
    pub fn run(steps: &[Step]) -> Self {
        let folder = scratch::folder().unwrap();
        let clock = rig::clock();
        let engine = Engine::open(folder.path().join("db"), &rig::options(&clock)).unwrap();
        let collection = new_collection(&clock);
        let mut history = Self {
            clock,
            collection,
            times: Vec::new(),
            _folder: folder,
        };
        history.step(&engine, &Step::Create(0));
        history.step(&engine, &Step::Put(0, 0, 0));
        history.back_up(
            &engine,
            &BackupOptions {
                revision_history: true,
                ..BackupOptions::default()
            },
        );
        for step in steps {
            history.step(&engine, step);
        }
        engine.close().unwrap();
        history
    }

    pub fn collection(&self) -> &Collection {
        &self.collection
    }

    fn step(&mut self, engine: &Engine, step: &Step) {
        self.clock.advance(Duration::from_secs(60));
        let keyspace = |k: u8| engine.keyspace(NAMES[usize::from(k)]);
        match *step {
            Step::Put(k, key, value) => {
                if let Ok(keyspace) = keyspace(k) {
                    let put = keyspace.put([key], [value], Durability::Buffered);
                    self.times.push(put.unwrap());
                }
            }
            Step::Delete(k, key) => {
                if let Ok(keyspace) = keyspace(k) {
                    let deleted = keyspace.delete([key], Durability::Buffered);
                    self.times.push(deleted.unwrap());
                }
            }
            Step::Create(k) => {
                let name = NAMES[usize::from(k)];
                let _exists = engine.create_keyspace(name, KeyspaceSettings::default());
            }
            Step::Drop(k) => {
                let _missing = engine.drop_keyspace(NAMES[usize::from(k)]);
            }
            Step::Alter(k, ttl, exclude_from_backup) => {
                let settings = KeyspaceSettings {
                    gc_ttl: Duration::from_secs(3600 * (1 + u64::from(ttl))),
                    exclude_from_backup,
                    ..KeyspaceSettings::default()
                };
                let _missing = engine.alter_keyspace(NAMES[usize::from(k)], settings);
            }
            Step::Incremental(revision_history, before) => {
                let newest = self.times.last().copied().filter(|_| before);
                self.back_up(
                    engine,
                    &BackupOptions {
                        as_of: newest.map(Timestamp::prev),
                        revision_history,
                        ..rig::onto_latest()
                    },
                );
            }
        }
        self.times.push(engine.now());
    }

    fn back_up(&mut self, engine: &Engine, options: &BackupOptions) {
        // One as of a time that the chain has passed is refused.
        if let Ok(report) = rig::run(backup(engine, &self.collection, options)) {
            self.times.push(report.end);
        }
    }

    /// What each time of interest restores to; those that cannot be restored are left out.
    pub fn restorable(&self) -> Restorable {
        let near = |t: &Timestamp| [t.prev(), *t, t.next()];
        let times = self.times.iter().flat_map(near);
        let chains = rig::run(self.collection.chains()).unwrap();
        let ends: Vec<Timestamp> = chains
            .iter()
            .flat_map(|chain| chain.layers())
            .flat_map(|layer| near(&layer.end))
            .collect();
        let mut outcomes = Restorable::new();
        for time in times.chain(ends) {
            let options = RestoreOptions {
                as_of: Some(time),
                ..RestoreOptions::default()
            };
            if let Ok(plan) = rig::run(dry_run(None, &self.collection, &options)) {
                let keyspaces = plan.plan.keyspaces.iter().map(|k| {
                    let settings = &k.source.settings;
                    let outcome = (settings.gc_ttl, settings.exclude_from_backup, k.threshold);
                    (k.name.clone(), outcome)
                });
                outcomes.insert(time, keyspaces.collect());
            }
        }
        outcomes
    }

    /// What some of these times restore to, row by row: the state, and every version that can be read.
    pub fn restored(&self, times: &Restorable) -> Vec<String> {
        let every = times.len().div_ceil(8).max(1);
        let sampled = times.iter().rev().step_by(every);
        sampled
            .map(|(time, outcome)| self.rows_at(*time, outcome))
            .collect()
    }

    fn rows_at(&self, time: Timestamp, outcome: &Outcome) -> String {
        let folder = scratch::folder().unwrap();
        let engine = Engine::open(folder.path().join("db"), &rig::options(&self.clock)).unwrap();
        let options = RestoreOptions {
            from: BackupSelector::Latest,
            as_of: Some(time),
            ..RestoreOptions::default()
        };
        rig::run(restore(&engine, &self.collection, &options)).unwrap();
        let mut text = format!("as of {time}\n");
        for (name, (_, _, threshold)) in outcome {
            let keyspace = engine.keyspace(name).unwrap();
            text += &format!("{name}\n");
            for at in [*threshold, time] {
                let snapshot = engine.snapshot_at(at).unwrap();
                let rows = keyspace.scan(&snapshot, &KeyRange::all(), ScanDirection::Forward);
                for row in rows.unwrap() {
                    text += &format!("{at}: {:?}\n", row.unwrap());
                }
            }
            let window = Window {
                after: *threshold,
                until: time,
            };
            let changes = keyspace.changes(
                &KeyRange::all(),
                window,
                ChangeSet::All,
                &ChangeOptions::default(),
            );
            for change in changes.unwrap() {
                text += &format!("{:?}\n", change.unwrap());
            }
        }
        engine.close().unwrap();
        text
    }
}

fn new_collection(clock: &ManualClock) -> Collection {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let uri: CollectionUri = format!("memory://history-{number}").parse().unwrap();
    rig::run(Collection::create_or_open(&uri, rig::store_options(clock))).unwrap()
}

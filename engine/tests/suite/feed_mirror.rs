//! A second database that follows the first by its change feed, through whatever happens to either: after
//! each transaction that it applied, it is what the first one was as of that time.

use std::collections::BTreeMap;
use std::time::Duration;

use icecore_engine::{
    Batch, CatalogChange, CommittedTransaction, Durability, Engine, Feed, FeedOptions, Keyspace,
    Publish, ResumeToken, SYSTEM_KEYSPACE, ScanDirection, SweepBudget,
};
use icecore_mvcc::{Descriptor, KeyRange, KeyspaceId, KeyspaceSettings, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

use crate::common::{Fixture, START, sst};

type Outcome = Result<(), TestCaseError>;

/// The most keyspaces that are live at once.
const MAX_SPACES: usize = 4;

/// What is wrong with a mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bug {
    None,
    /// It never sees every sixth transaction.
    Skips,
    /// It applies every sixth one after the next.
    Swaps,
    /// Of a transaction in parts it applies the last alone.
    TearsParts,
    /// It does not copy what a restore brought.
    IgnoresRestores,
    /// It takes deletes for nothing.
    LosesDeletes,
}

#[derive(Debug, Clone)]
enum Op {
    /// Rows of one transaction: keyspace, key, value or a delete.
    Commit(Vec<(u8, u8, Option<u8>)>),
    /// A transaction of so many rows, with keys long enough for several records of the index.
    Large(u8, u16),
    Load(u8, u8),
    Create,
    Drop(u8),
    Alter(u8, u8),
    Restore(u8),
    Collect,
    Flush,
    Compact(u8),
    Tick,
    Reopen,
    /// The mirror applies up to so many parts.
    Follow(u8),
    /// The consumer goes away and comes back with its last token.
    Resume,
}

fn ops() -> impl Strategy<Value = Op> {
    let row = (
        any::<u8>(),
        0..12_u8,
        proptest::option::weighted(0.7, any::<u8>()),
    );
    prop_oneof![
        10 => vec(row, 1..8).prop_map(Op::Commit),
        1 => (any::<u8>(), 1000..2500_u16).prop_map(|(space, rows)| Op::Large(space, rows)),
        2 => (any::<u8>(), 0..40_u8).prop_map(|(space, rows)| Op::Load(space, rows)),
        2 => Just(Op::Create),
        1 => any::<u8>().prop_map(Op::Drop),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(space, ttl)| Op::Alter(space, ttl)),
        1 => (1..20_u8).prop_map(Op::Restore),
        3 => Just(Op::Collect),
        1 => Just(Op::Flush),
        1 => any::<u8>().prop_map(Op::Compact),
        1 => Just(Op::Tick),
        1 => Just(Op::Reopen),
        8 => (1..12_u8).prop_map(Op::Follow),
        2 => Just(Op::Resume),
    ]
}

/// The first database with the feed that follows it.
struct Source {
    db: Fixture,
    feed: Option<Feed>,
    names: u32,
    part_bytes: usize,
}

impl Source {
    fn new(part_bytes: usize) -> Self {
        let mut source = Self {
            db: Fixture::new(),
            feed: None,
            names: 0,
            part_bytes,
        };
        source.feed = Some(source.subscribe(FeedOptions::new(Timestamp::MIN)));
        source
    }

    fn subscribe(&self, mut options: FeedOptions) -> Feed {
        options.part_bytes = self.part_bytes;
        self.db.engine().subscribe(options).unwrap()
    }

    fn resume(&mut self, token: ResumeToken) {
        self.feed = None;
        self.feed = Some(self.subscribe(FeedOptions::new(token)));
    }

    fn space(&self, pick: u8) -> Option<Keyspace> {
        let live = self.db.engine().keyspaces();
        (!live.is_empty()).then(|| live[pick as usize % live.len()].clone())
    }

    fn create(&mut self) {
        if self.db.engine().keyspaces().len() < MAX_SPACES {
            // Names come again, of keyspaces that were dropped.
            self.names = (self.names + 1) % (2 * MAX_SPACES as u32);
            let name = format!("s.n{}", self.names);
            let _taken = self
                .db
                .engine()
                .create_keyspace(&name, KeyspaceSettings::default());
        }
    }

    fn commit(&self, rows: &[(u8, u8, Option<u8>)]) {
        let mut batch = Batch::new();
        for (space, key, value) in rows {
            let Some(space) = self.space(*space) else {
                return;
            };
            match value {
                Some(value) => batch.put(&space, [*key], [*value; 20]),
                None => batch.delete(&space, [*key]),
            };
        }
        self.db
            .engine()
            .commit(batch, Durability::Buffered)
            .unwrap();
    }

    fn large(&self, space: &Keyspace, rows: u16) {
        let mut batch = Batch::new();
        for n in 0..rows {
            batch.put(
                space,
                format!("{n:05}{}", "long".repeat(20)),
                n.to_be_bytes(),
            );
        }
        let engine = self.db.engine();
        engine.commit(batch, Durability::Buffered).unwrap();
    }

    fn load(&self, space: &Keyspace, rows: u8) {
        let rows = (0..rows).map(|n| Ok(([n / 2, n], [n; 30])));
        self.db.engine().bulk_load(space, rows).unwrap();
    }

    fn restore(&mut self, rows: u8) {
        let engine = self.db.engine();
        self.names = (self.names + 1) % (2 * MAX_SPACES as u32);
        let (id, name) = (
            format!("r{}", engine.now().nanos()),
            format!("s.n{}", self.names),
        );
        let Ok(hidden) = engine.begin_restore(&id, &name, KeyspaceSettings::default()) else {
            return;
        };
        let keys: Vec<[u8; 1]> = (0..rows).map(|n| [n]).collect();
        let rows: Vec<_> = keys
            .iter()
            .map(|key| (&key[..], START / 2, Some(&b"restored"[..])))
            .collect();
        let file = sst(engine, &engine.staging_dir().join("layer.sst"), &rows);
        hidden.ingest("1", &[file]).unwrap();
        let publish = Publish {
            keyspace: hidden,
            threshold: Timestamp::from_nanos(START / 2),
        };
        engine.publish_restore(vec![publish], engine.now()).unwrap();
    }

    fn collect(&self) {
        let engine = self.db.engine();
        let system = engine.keyspace_by_id(SYSTEM_KEYSPACE).unwrap();
        for keyspace in engine.all_keyspaces().iter().chain([&system]) {
            let guard = engine.gc_guard();
            guard.raise(keyspace.id(), engine.visible()).unwrap();
            drop(guard);
            while !engine.sweep(keyspace, SweepBudget::default()).unwrap().done {}
        }
        engine.purge_dropped().unwrap();
        engine.trim_commit_index().unwrap();
    }

    /// What it was as of a time.
    fn as_of(&self, at: Timestamp) -> BTreeMap<String, State> {
        let engine = self.db.engine();
        let state = |descriptor: Descriptor| {
            let keyspace = engine.keyspace_by_id(descriptor.id).unwrap();
            (
                descriptor.name,
                State::of(&keyspace, at, descriptor.settings),
            )
        };
        let then = engine.descriptors_at(at).unwrap();
        then.into_iter().map(state).collect()
    }
}

/// A keyspace: its settings and rows.
#[derive(Debug, PartialEq)]
struct State {
    settings: KeyspaceSettings,
    rows: Vec<(Vec<u8>, Vec<u8>)>,
}

impl State {
    fn of(keyspace: &Keyspace, at: Timestamp, settings: KeyspaceSettings) -> Self {
        let at = keyspace.engine().snapshot_at(at).unwrap();
        let scan = keyspace.scan(&at, &KeyRange::all(), ScanDirection::Forward);
        let rows = scan.unwrap().map(|row| row.map(|r| (r.key, r.value)));
        Self {
            settings,
            rows: rows.collect::<Result<_, _>>().unwrap(),
        }
    }
}

/// The second database, with what of a transaction is there.
struct Mirror {
    db: Fixture,
    ids: BTreeMap<KeyspaceId, Keyspace>,
    parts: Vec<CommittedTransaction>,
    /// The token of the last transaction that it applied.
    token: ResumeToken,
    applied: u32,
    held_up: Option<Vec<CommittedTransaction>>,
    bug: Bug,
}

impl Mirror {
    fn new(token: ResumeToken, bug: Bug) -> Self {
        Self {
            db: Fixture::new(),
            ids: BTreeMap::new(),
            parts: Vec::new(),
            token,
            applied: 0,
            held_up: None,
            bug,
        }
    }

    /// Takes a part; whether its transaction is whole and applied.
    fn take(&mut self, source: &Engine, part: CommittedTransaction) -> bool {
        if part.part == 0 {
            self.parts.clear();
        }
        assert_eq!(part.part as usize, self.parts.len());
        let token = part.token;
        self.parts.push(part);
        let Some(token) = token else {
            return false;
        };
        let parts = std::mem::take(&mut self.parts);
        self.applied += 1;
        let turn = self.applied.is_multiple_of(6);
        match self.bug {
            Bug::Skips if turn => {}
            Bug::Swaps if turn => self.held_up = Some(parts),
            _ => {
                self.apply(source, &parts);
                if let Some(late) = self.held_up.take() {
                    self.apply(source, &late);
                }
            }
        }
        self.token = token;
        true
    }

    fn apply(&mut self, source: &Engine, parts: &[CommittedTransaction]) {
        for change in parts.iter().flat_map(|part| &part.catalog) {
            self.apply_catalog(source, change, parts[0].timestamp);
        }
        let parts = match self.bug {
            Bug::TearsParts => &parts[parts.len() - 1..],
            _ => parts,
        };
        let mut batch = Batch::new();
        for change in parts.iter().flat_map(|part| &part.changes) {
            // A mirror with a bug may not know it.
            let Some(keyspace) = self.ids.get(&change.keyspace) else {
                continue;
            };
            match &change.value {
                Some(value) => batch.put(keyspace, &change.key, value),
                None if self.bug == Bug::LosesDeletes => continue,
                None => batch.delete(keyspace, &change.key),
            };
        }
        let engine = self.db.engine();
        engine.commit(batch, Durability::Buffered).unwrap();
    }

    fn apply_catalog(&mut self, source: &Engine, change: &CatalogChange, at: Timestamp) {
        let engine = self.db.engine();
        match change {
            CatalogChange::Created(new) | CatalogChange::Restored(new) => {
                let made = engine.create_keyspace(&new.name, new.settings.clone());
                let Ok(made) = made else { return };
                if matches!(change, CatalogChange::Restored(_)) && self.bug != Bug::IgnoresRestores
                {
                    let whole = source.keyspace_by_id(new.id).unwrap();
                    let rows = State::of(&whole, at, new.settings.clone()).rows;
                    engine.bulk_load(&made, rows.into_iter().map(Ok)).unwrap();
                }
                self.ids.insert(new.id, made);
            }
            CatalogChange::Altered(new) => {
                let _unknown = engine.alter_keyspace(&new.name, new.settings.clone());
            }
            CatalogChange::Dropped(old) => {
                let _unknown = engine.drop_keyspace(&old.name);
                self.ids.remove(&old.id);
            }
        }
    }

    fn state(&self) -> BTreeMap<String, State> {
        let engine = self.db.engine();
        let state = |keyspace: &Keyspace| {
            let settings = keyspace.descriptor().settings;
            let state = State::of(keyspace, engine.visible(), settings);
            (keyspace.name().to_owned(), state)
        };
        engine.keyspaces().iter().map(state).collect()
    }
}

/// Both of them.
struct World {
    source: Source,
    mirror: Mirror,
}

impl World {
    fn run(&mut self, op: &Op) -> Outcome {
        let source = &mut self.source;
        match op {
            Op::Commit(rows) => source.commit(rows),
            Op::Create => source.create(),
            Op::Restore(rows) => source.restore(*rows),
            Op::Collect => source.collect(),
            Op::Flush => source.db.engine().flush().unwrap(),
            Op::Tick => drop(source.db.tick()),
            Op::Reopen => {
                source.feed = None;
                source.db.reopen();
                source.resume(self.mirror.token);
            }
            Op::Resume => source.resume(self.mirror.token),
            Op::Follow(parts) => self.follow(usize::from(*parts))?,
            Op::Large(space, _)
            | Op::Load(space, _)
            | Op::Drop(space)
            | Op::Alter(space, _)
            | Op::Compact(space) => {
                if let Some(space) = source.space(*space) {
                    Self::run_in(source, &space, op);
                }
            }
        }
        Ok(())
    }

    fn run_in(source: &Source, space: &Keyspace, op: &Op) {
        let engine = source.db.engine();
        match op {
            Op::Large(_, rows) => source.large(space, *rows),
            Op::Load(_, rows) => source.load(space, *rows),
            Op::Drop(_) => drop(engine.drop_keyspace(space.name()).unwrap()),
            Op::Compact(_) => engine.compact(space).unwrap(),
            Op::Alter(_, ttl) => {
                let settings = KeyspaceSettings {
                    gc_ttl: Duration::from_secs(u64::from(*ttl)),
                    ..KeyspaceSettings::default()
                };
                engine.alter_keyspace(space.name(), settings).unwrap();
            }
            _ => {}
        }
    }

    /// Applies what is there, and compares after each transaction.
    fn follow(&mut self, parts: usize) -> Outcome {
        for _ in 0..parts {
            let feed = self.source.feed.as_mut().unwrap();
            let Some(part) = feed.try_next().unwrap() else {
                // Where it is by now, also past what was none of its keyspaces'; it holds nothing before that.
                self.mirror.token = feed.token();
                break;
            };
            let at = part.timestamp;
            prop_assert!(at <= self.source.db.engine().visible());
            if self.mirror.take(self.source.db.engine(), part) {
                prop_assert_eq!(self.mirror.state(), self.source.as_of(at), "as of {}", at);
            }
        }
        Ok(())
    }
}

fn run(part_bytes: usize, ops: &[Op], bug: Bug) -> Outcome {
    let source = Source::new(part_bytes);
    let mirror = Mirror::new(source.feed.as_ref().unwrap().token(), bug);
    let mut world = World { source, mirror };
    for op in ops {
        world.run(op)?;
    }
    world.follow(usize::MAX)?;
    let now = world.source.db.engine().visible();
    prop_assert_eq!(world.mirror.state(), world.source.as_of(now), "at the end");
    Ok(())
}

fn part_sizes() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), Just(500), Just(20_000), Just(4 << 20)]
}

fn histories() -> impl Strategy<Value = Vec<Op>> {
    vec(ops(), 1..60).prop_map(|mut ops| {
        ops.insert(0, Op::Create);
        ops
    })
}

fn config(cases: u32) -> Config {
    Config {
        cases,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..Config::default()
    }
}

fn cases() -> u32 {
    let given = std::env::var("ICECORE_MODEL_CASES").ok();
    given.and_then(|text| text.parse().ok()).unwrap_or(100)
}

proptest! {
    #![proptest_config(config(cases()))]

    #[test]
    fn a_mirror_is_at_each_step_what_its_source_was(part_bytes in part_sizes(), ops in histories()) {
        run(part_bytes, &ops, Bug::None)?;
    }
}

/// The comparison must fire for each kind of mistake.
#[test]
fn a_planted_mistake_of_a_mirror_is_caught() {
    for bug in [
        Bug::Skips,
        Bug::Swaps,
        Bug::TearsParts,
        Bug::IgnoresRestores,
        Bug::LosesDeletes,
    ] {
        let config = Config {
            max_shrink_iters: 0,
            ..config(60)
        };
        let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let mut runner = TestRunner::new_with_rng(config, rng);
        let outcome = runner.run(&(part_sizes(), histories()), |(part_bytes, ops)| {
            run(part_bytes, &ops, bug)
        });
        assert!(matches!(outcome, Err(TestError::Fail(..))), "{bug:?}");
    }
}

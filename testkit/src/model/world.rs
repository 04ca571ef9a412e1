//! An engine, its collections and the model of both, driven by operations.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_engine::{Engine, Keyspace, Options, SYSTEM_KEYSPACE, Snapshot};
use icecore_mvcc::{EngineId, KeyspaceId, KeyspaceSettings, ManualClock, Timestamp};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::bugs::Bug;
use super::chains::ChainRecord;
use super::check::{Checker, Effort, GLANCE, LOOK};
use super::known::{Known, KnownEngine};
use super::ops::{Op, Sequence, Setup};
use super::pool;
use crate::dice::Dice;
use crate::failure::{Failure, Result, ensure};
use crate::faults::hasty;
use crate::scratch;

/// 2024-03-01T00:00:00Z: where the clock begins.
const BEGIN: Timestamp = Timestamp::from_nanos(1_709_251_200_000_000_000);

/// Everything that a sequence works on.
pub(crate) struct World {
    // First what keeps the engine open, then the engine, then the folder.
    pub(crate) readers: Vec<Snapshot>,
    engine: Option<Engine>,
    pub(crate) collections: Vec<Collection>,
    uris: Vec<CollectionUri>,
    pub(crate) scratch: TempDir,
    pub(crate) runtime: Rc<Runtime>,
    pub(crate) clock: ManualClock,
    pub(crate) setup: Setup,
    pub(crate) dir: PathBuf,
    folders: u32,
    /// Every engine that there was, with the present one.
    pub(crate) truths: BTreeMap<EngineId, KnownEngine>,
    pub(crate) chains: Vec<ChainRecord>,
    pub(crate) bug: Option<Bug>,
    pub(crate) dice: Dice,
    /// Names of keyspaces restored beside others.
    pub(crate) copies: u32,
}

/// Runs a sequence. A planted bug makes the subject do something wrong.
///
/// # Errors
/// The first check that does not hold, with the number of its operation.
pub fn run(sequence: &Sequence, runtime: &Rc<Runtime>, bug: Option<Bug>) -> Result<()> {
    let mut world = World::new(sequence.setup, runtime, bug)?;
    for (number, op) in sequence.ops.iter().enumerate() {
        world.dice = Dice::new(number as u64);
        let done = world.apply(op).and_then(|()| world.check(GLANCE));
        done.map_err(|failure| failure.within(&format!("operation {number}, {op:?}")))?;
    }
    world
        .check(LOOK)
        .map_err(|failure| failure.within("at the end"))?;
    world.finish()
}

impl World {
    fn new(setup: Setup, runtime: &Rc<Runtime>, bug: Option<Bug>) -> Result<Self> {
        let scratch = scratch::folder()?;
        let mut world = Self {
            readers: Vec::new(),
            engine: None,
            collections: Vec::new(),
            uris: Vec::new(),
            dir: scratch.path().join("engine-0"),
            scratch,
            runtime: Rc::clone(runtime),
            clock: ManualClock::new(BEGIN),
            setup,
            folders: 0,
            truths: BTreeMap::new(),
            chains: Vec::new(),
            bug,
            dice: Dice::new(0),
            copies: 0,
        };
        let engine = Engine::open(&world.dir, &world.options(&world.clock))?;
        world.truths.insert(engine.id(), KnownEngine::default());
        world.engine = Some(engine);
        for name in 0..2 {
            world.create(name)?;
        }
        world.open_collections()?;
        Ok(world)
    }

    fn open_collections(&mut self) -> Result<()> {
        let folder = CollectionUri::from_local_path(self.scratch.path().join("collection"))?;
        let memory = |number: u32| -> Result<CollectionUri> {
            // Stores in memory are shared by name, so each world needs names of its own.
            let unique = self
                .scratch
                .path()
                .file_name()
                .unwrap_or_default()
                .to_string_lossy();
            Ok(format!("memory://{}-{number}", unique.replace('_', "-")).parse()?)
        };
        let first = if self.setup.files { folder } else { memory(0)? };
        let uris = vec![first, memory(1)?];
        for uri in &uris {
            let opened = Collection::create_or_open(uri, self.store_options());
            let opened = self.runtime.block_on(opened)?;
            self.collections.push(opened);
        }
        self.uris = uris;
        Ok(())
    }

    /// How collections are opened.
    pub(crate) fn store_options(&self) -> StoreOptions {
        StoreOptions {
            clock: Arc::new(self.clock.clone()),
            retry: hasty(),
            ..StoreOptions::default()
        }
    }

    /// The address of a collection.
    pub(crate) fn uri(&self, collection: usize) -> Result<&CollectionUri> {
        let uri = self.uris.get(collection);
        uri.ok_or_else(|| Failure::Mismatch("there is no such collection".to_owned()))
    }

    /// An open collection.
    pub(crate) fn collection(&self, collection: usize) -> Result<Collection> {
        let open = self.collections.get(collection).cloned();
        open.ok_or_else(|| Failure::Mismatch("there is no such collection".to_owned()))
    }

    /// How engines are opened.
    pub(crate) fn options(&self, clock: &ManualClock) -> Options {
        Options {
            auto_compactions: self.setup.auto_compactions,
            bloom_bits_per_key: if self.setup.bloom { 10 } else { 0 },
            ..scratch::small_engine(Arc::new(clock.clone()))
        }
    }

    /// A folder for one more engine.
    pub(crate) fn new_folder(&mut self) -> PathBuf {
        self.folders += 1;
        self.scratch.path().join(format!("engine-{}", self.folders))
    }

    /// Where the engines' folders lie.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The engine.
    pub(crate) fn engine(&self) -> Result<Engine> {
        let engine = self.engine.clone();
        engine.ok_or_else(|| Failure::Mismatch("the engine is closed".to_owned()))
    }

    /// What is known of the engine.
    pub(crate) fn known(&self) -> Result<&KnownEngine> {
        let known = self.truths.get(&self.engine()?.id());
        known.ok_or_else(|| Failure::Mismatch("the engine has another id now".to_owned()))
    }

    /// The same, to be changed.
    pub(crate) fn known_mut(&mut self) -> Result<&mut KnownEngine> {
        let id = self.engine()?.id();
        let known = self.truths.get_mut(&id);
        known.ok_or_else(|| Failure::Mismatch("the engine has another id now".to_owned()))
    }

    /// A keyspace that takes commits, with its id; none if there is none.
    pub(crate) fn live(&self, number: u8) -> Result<Option<(KeyspaceId, Keyspace)>> {
        let live = self.known()?.live();
        let Some(id) = live.get(usize::from(number) % live.len().max(1)) else {
            return Ok(None);
        };
        Ok(Some((*id, self.engine()?.keyspace_by_id(*id)?)))
    }

    /// Notes that something happened.
    pub(crate) fn note(&mut self, at: Timestamp) -> Result<()> {
        self.known_mut()?.times.insert(at);
        Ok(())
    }

    /// Compares the engine with the model.
    pub(crate) fn check(&mut self, effort: Effort) -> Result<()> {
        let (engine, mut dice) = (self.engine()?, self.dice.clone());
        let checker = Checker {
            engine: &engine,
            known: self.known()?,
            bug: self.bug,
        };
        checker.check(&mut dice, effort)
    }

    fn apply(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Write { writes, sync } => self.write(writes, *sync),
            Op::Transact(transact) => self.transact(transact),
            Op::BulkLoad {
                keyspace,
                keys,
                value,
            } => self.bulk_load(*keyspace, *keys, *value),
            Op::Flush => Ok(self.engine()?.flush()?),
            Op::Compact { keyspace } => match self.live(*keyspace)? {
                Some((_, keyspace)) => Ok(self.engine()?.compact(&keyspace)?),
                None => Ok(()),
            },
            Op::Advance { step } => {
                self.clock.advance(pool::step(*step));
                Ok(())
            }
            Op::SetBack { step } => {
                self.set_back(pool::step(*step));
                Ok(())
            }
            Op::Collect { at_once, compact } => self.collect(*at_once, *compact),
            Op::Alter {
                keyspace,
                ttl,
                exclude,
            } => self.alter(*keyspace, *ttl, *exclude),
            Op::Create { name } => self.create(*name),
            Op::Drop { keyspace } => self.drop_keyspace(*keyspace),
            Op::Protect { age, scope } => self.protect(*age, *scope),
            Op::Release { record } => self.release(*record),
            Op::Hold { age } => self.hold(*age),
            Op::LetGo { reader } => {
                if !self.readers.is_empty() {
                    let reader = usize::from(*reader) % self.readers.len();
                    drop(self.readers.swap_remove(reader));
                }
                Ok(())
            }
            Op::Reopen { crash } => self.reopen(*crash),
            Op::Full {
                collection,
                scope,
                history,
                age,
            } => self.full(usize::from(*collection), *scope, *history, *age),
            Op::Incremental {
                chain,
                history,
                age,
                reexport,
            } => self.incremental(*chain, *history, *age, *reexport),
            Op::Restore(restore) => self.restore(*restore),
            Op::Merge { chain, keep_newest } => self.merge(*chain, *keep_newest),
            Op::Expire {
                collection,
                keep_fulls,
            } => self.expire(usize::from(*collection), *keep_fulls),
            Op::Check => self.check(LOOK),
        }
    }

    fn set_back(&self, by: Duration) {
        use icecore_mvcc::Clock;
        self.clock.set(self.clock.now().saturating_sub(by));
    }

    fn create(&mut self, name: u8) -> Result<()> {
        let (engine, name) = (self.engine()?, pool::name(name));
        let settings = KeyspaceSettings {
            gc_ttl: pool::ttl(name.len() as u8),
            ..KeyspaceSettings::default()
        };
        let taken = self
            .known()?
            .keyspaces
            .values()
            .any(|k| k.is_live() && k.name == name);
        match engine.create_keyspace(name, settings.clone()) {
            Ok(keyspace) => {
                ensure!(!taken, "keyspace {name} was created twice");
                let (id, created) = (keyspace.id(), keyspace.descriptor().created);
                let known = self.known_mut()?;
                let before = known
                    .keyspaces
                    .insert(id, Known::new(name, created, settings));
                ensure!(before.is_none(), "id {id} was given twice");
                self.note(created)
            }
            Err(icecore_engine::Error::KeyspaceExists { .. }) if taken => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn drop_keyspace(&mut self, keyspace: u8) -> Result<()> {
        let Some((id, keyspace)) = self.live(keyspace)? else {
            return Ok(());
        };
        let dropped = self.engine()?.drop_keyspace(keyspace.name())?;
        if let Some(known) = self.known_mut()?.keyspaces.get_mut(&id) {
            known.dropped = Some(dropped);
        }
        let refused = keyspace.put(b"late", b"late", icecore_engine::Durability::Buffered);
        ensure!(refused.is_err(), "a dropped keyspace takes a commit");
        self.note(dropped)
    }

    fn alter(&mut self, keyspace: u8, ttl: u8, exclude: bool) -> Result<()> {
        let Some((id, keyspace)) = self.live(keyspace)? else {
            return Ok(());
        };
        let settings = KeyspaceSettings {
            gc_ttl: pool::ttl(ttl),
            exclude_from_backup: exclude,
            ..KeyspaceSettings::default()
        };
        let engine = self.engine()?;
        engine.alter_keyspace(keyspace.name(), settings.clone())?;
        // Nothing else commits, so the newest commit is this one.
        let at = engine.visible();
        if let Some(known) = self.known_mut()?.keyspaces.get_mut(&id) {
            known.settings.insert(at, settings);
        }
        self.note(at)
    }

    fn hold(&mut self, age: u8) -> Result<()> {
        let engine = self.engine()?;
        let reader = match self.known()?.time(age) {
            Some(at) if at <= engine.now() => engine.snapshot_at(at)?,
            _ => engine.snapshot(),
        };
        self.readers.push(reader);
        Ok(())
    }

    pub(crate) fn reopen(&mut self, crash: bool) -> Result<()> {
        let (id, now) = (self.engine()?.id(), self.engine()?.now());
        self.readers.clear();
        if crash && !self.setup.auto_compactions {
            // With no background work under way, what the operating system holds is what a kill leaves.
            let dir = self.new_folder();
            copy_folder(&self.dir, &dir)?;
            self.engine = None;
            std::fs::remove_dir_all(std::mem::replace(&mut self.dir, dir))?;
        } else {
            let engine = self.engine.take();
            if self.dice.one_in(2)
                && let Some(engine) = engine
            {
                engine.close()?;
            }
        }
        let engine = Engine::open(&self.dir, &self.options(&self.clock))?;
        ensure!(
            engine.id() == id,
            "the engine has another id after a reopen"
        );
        ensure!(
            engine.now() >= now || crash,
            "the clock went back from {now:?} to {:?}",
            engine.now()
        );
        self.engine = Some(engine);
        Ok(())
    }

    /// The engine is lost, and another takes its place.
    pub(crate) fn replace_engine(&mut self, engine: Engine, dir: PathBuf) -> Result<()> {
        self.readers.clear();
        self.engine = Some(engine);
        std::fs::remove_dir_all(std::mem::replace(&mut self.dir, dir))?;
        Ok(())
    }

    /// The threshold of the engine's own rows.
    pub(crate) fn system_threshold(&self) -> Result<Timestamp> {
        Ok(self.engine()?.keyspace_by_id(SYSTEM_KEYSPACE)?.threshold())
    }

    /// What must hold when all is over: the engine opens once more, and has what it had.
    fn finish(mut self) -> Result<()> {
        self.reopen(true)
            .map_err(|failure| failure.within("opened once more"))?;
        self.check(GLANCE)
            .map_err(|failure| failure.within("opened once more"))
    }
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

//! The engine: opening, closing, and what its parts share.

use std::any::{Any, TypeId};
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use icecore_mvcc::{Descriptor, EngineId, KeyspaceId, KeyspaceSettings, Timestamp};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::catalog::{
    Catalog, DESCRIPTOR_KIND, SYSTEM_FAMILY, SYSTEM_KEYSPACE, decode_descriptor, family_id,
    family_name,
};
use crate::commit::{Gate, Sequencer};
use crate::error::{Error, Result};
use crate::folder::Folder;
use crate::housekeeper::{Housekeeper, Rounds};
use crate::keyspace::Keyspace;
use crate::load::Restores;
use crate::meta::{Mark, Meta};
use crate::options::Options;
use crate::read::Watermark;
use crate::rocks::{Cf, CfKind, Db, RocksSettings};
use crate::store::Space;
use crate::txn::Tracker;

const META_FAMILY: &str = "default";
const COMMITS_FAMILY: &str = "commits";

/// An open database. Cheap to clone; the folder stays locked until the last clone, keyspace,
/// snapshot reader and iterator made from it is dropped. All calls may come from any thread.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    housekeeper: Mutex<Option<Housekeeper>>,
    catalog: Arc<Catalog>,
    restores: Restores,
    system: Arc<Space>,
    commits: Cf,
    meta: Meta,
    sequencer: Arc<Sequencer>,
    tracker: Tracker,
    gate: Gate,
    /// What the crates above keep in memory about this engine, by type.
    attachments: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    watermark: Arc<Watermark>,
    /// Held while thresholds rise and while protection is verified against them.
    gc: Mutex<()>,
    /// Held while a keyspace is swept and while dropped ones are purged: a delete written to a column
    /// family that is gone would stop the engine.
    gc_work: Mutex<()>,
    db: Arc<Db>,
    settings: RocksSettings,
    options: Options,
    read_only: bool,
    session: Uuid,
    // Last: the folder is unlocked once RocksDB is closed.
    folder: Folder,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Engine({} at {})", self.id(), self.dir().display())
    }
}

/// Column families to open, with the thresholds their filters will share.
struct Families {
    kinds: Vec<(String, CfKind)>,
    thresholds: BTreeMap<String, Arc<AtomicU64>>,
}

impl Families {
    fn of(names: Vec<String>) -> Self {
        let mut families = Self {
            kinds: Vec::new(),
            thresholds: BTreeMap::new(),
        };
        for name in names {
            let kind = match name.as_str() {
                META_FAMILY => CfKind::Meta,
                COMMITS_FAMILY => CfKind::Commits,
                _ => {
                    let threshold = Arc::new(AtomicU64::new(0));
                    families
                        .thresholds
                        .insert(name.clone(), Arc::clone(&threshold));
                    CfKind::Versioned { threshold }
                }
            };
            families.kinds.push((name, kind));
        }
        families
    }
}

impl Engine {
    /// Opens the database in `dir` for reading and writing; makes it where there is none and
    /// [`Options::create_if_missing`] is set.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotADatabase`], [`Error::NewerFormat`], [`Error::Missing`],
    /// [`Error::InvalidOption`], [`Error::Corruption`]; [`Error::Rocks`] and [`Error::Io`] when
    /// the disk fails.
    #[tracing::instrument(skip_all, fields(dir = %dir.as_ref().display()))]
    pub fn open(dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        options.validate()?;
        let mut folder = Folder::open(dir.as_ref(), options.create_if_missing)?;
        let data = folder.data();
        let names = if folder.is_new() {
            [META_FAMILY, COMMITS_FAMILY, SYSTEM_FAMILY]
                .map(str::to_owned)
                .to_vec()
        } else {
            Db::families(&data)?
        };
        let mut families = Families::of(names);
        let settings = RocksSettings::new(options);
        let db = Db::open(&data, &settings, std::mem::take(&mut families.kinds))?;
        let meta = Meta::new(required(&db, META_FAMILY)?);
        if folder.is_new() {
            meta.set_clock(options.clock.now())?;
            folder.finish_creation()?;
        }
        let engine = Self::assemble(folder, options, settings, db, meta, &families, false)?;
        engine.drop_orphans(&families)?;
        engine.drop_stale_staging()?;
        *engine.inner.housekeeper.lock() = Some(Housekeeper::start(Rounds {
            catalog: Arc::clone(&engine.inner.catalog),
            system: Arc::clone(&engine.inner.system),
            sequencer: Arc::clone(&engine.inner.sequencer),
            iterator_age: options.pooled_iterator_age,
        })?);
        tracing::info!(dir = %engine.dir().display(), id = %engine.id(), "opened");
        Ok(engine)
    }

    /// Opens an existing database without ever writing to it. Several processes may do so at
    /// once, but none while another has it open for writing.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_read_only(dir: impl AsRef<Path>, options: &Options) -> Result<Self> {
        options.validate()?;
        let folder = Folder::open_read_only(dir.as_ref())?;
        let data = folder.data();
        let mut families = Families::of(Db::families(&data)?);
        let settings = RocksSettings::new(options);
        let db = Db::open_read_only(&data, &settings, std::mem::take(&mut families.kinds))?;
        let meta = Meta::new(required(&db, META_FAMILY)?);
        Self::assemble(folder, options, settings, db, meta, &families, true)
    }

    fn assemble(
        folder: Folder,
        options: &Options,
        settings: RocksSettings,
        db: Arc<Db>,
        meta: Meta,
        families: &Families,
        read_only: bool,
    ) -> Result<Self> {
        let reservation = (!read_only).then_some(options.clock_reservation);
        let sequencer = Sequencer::new(Arc::clone(&options.clock), meta.clone(), reservation)?;
        let system = open_space(&db, &meta, families, system_descriptor(), options)?;
        let engine = Self {
            inner: Arc::new(Inner {
                housekeeper: Mutex::new(None),
                catalog: Arc::default(),
                restores: Restores::default(),
                system,
                commits: required(&db, COMMITS_FAMILY)?,
                meta,
                sequencer: Arc::new(sequencer),
                tracker: Tracker::default(),
                gate: Gate::default(),
                attachments: Mutex::default(),
                watermark: Arc::default(),
                gc: Mutex::new(()),
                gc_work: Mutex::new(()),
                db,
                settings,
                options: options.clone(),
                read_only,
                session: Uuid::new_v4(),
                folder,
            }),
        };
        engine.load_catalog(families)?;
        engine.load_write_refusals()?;
        engine.load_restores(|descriptor| {
            open_space(
                &engine.inner.db,
                &engine.inner.meta,
                families,
                descriptor,
                options,
            )
        })?;
        Ok(engine)
    }

    /// Fills the catalog from the newest descriptor of each keyspace.
    fn load_catalog(&self, families: &Families) -> Result<()> {
        for (_, json) in self.system().list(DESCRIPTOR_KIND)? {
            let descriptor = decode_descriptor(&json)?;
            let space = open_space(
                &self.inner.db,
                &self.inner.meta,
                families,
                descriptor,
                &self.inner.options,
            )?;
            self.inner.catalog.insert(space);
        }
        Ok(())
    }

    /// Drops column families that no keyspace and no restore owns: a crash left them.
    fn drop_orphans(&self, families: &Families) -> Result<()> {
        for name in families.thresholds.keys() {
            let Some(id) = family_id(name) else { continue };
            if self.inner.catalog.get(id).is_none() && !self.inner.restores.owns(id) {
                tracing::warn!(
                    family = name,
                    "dropping a column family that a crash left behind"
                );
                self.inner.db.drop_family(name)?;
                self.inner.meta.remove_marks(id)?;
            }
        }
        Ok(())
    }

    /// Makes everything durable and stops the background thread. Other clones and handles stay
    /// usable; the folder is unlocked when the last of them is dropped.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the log cannot be synced.
    pub fn close(self) -> Result<()> {
        if self.inner.read_only {
            return Ok(());
        }
        drop(self.inner.housekeeper.lock().take());
        self.sync_wal()?;
        self.inner.sequencer.close()
    }

    /// Writes all memtables to SST files. Waits for keyspaces being created, dropped or published.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the disk fails.
    pub fn flush(&self) -> Result<()> {
        self.check_writable("flush")?;
        // No column family goes meanwhile.
        let _changes = self.inner.catalog.changes.lock();
        for space in self.inner.catalog.all().iter().chain([&self.inner.system]) {
            space.cf().flush("flush a keyspace")?;
        }
        self.inner.commits.flush("flush the commit index")?;
        self.inner.meta.flush()
    }

    /// Rewrites all files of a keyspace, dropping what garbage collection allows. Blocks until
    /// done; reads and commits go on.
    ///
    /// # Errors
    /// [`Error::Rocks`] and [`Error::Io`] when the disk fails; [`Error::KeyspaceDropped`] when the
    /// keyspace was removed for good.
    #[tracing::instrument(skip_all, fields(keyspace = keyspace.name()))]
    pub fn compact(&self, keyspace: &Keyspace) -> Result<()> {
        self.check_writable("compact a keyspace")?;
        self.check_present(keyspace)?;
        let cf = keyspace.space().cf();
        cf.flush("flush a keyspace")?;
        let failures = self.inner.meta.background_failures();
        let mut options = rocksdb::CompactOptions::default();
        // Forced: the filter must see the last level too, or its garbage stays.
        options.set_bottommost_level_compaction(rocksdb::BottommostLevelCompaction::ForceOptimized);
        cf.db()
            .compact_range_cf_opt(cf.handle(), None::<&[u8]>, None::<&[u8]>, &options);
        // RocksDB's call returns nothing; its count of failures tells.
        if self.inner.meta.background_failures() > failures {
            let cause = std::io::Error::other(
                "RocksDB reports a background failure; its LOG file says which",
            );
            return Err(Error::io(
                "compact",
                format!("keyspace {}", keyspace.name()),
                cause,
            ));
        }
        self.inner.sequencer.check()
    }

    /// This database's id. A checkpoint opened as a database has its own.
    pub fn id(&self) -> EngineId {
        self.inner.folder.identity().engine_id
    }

    /// Names this opening of the database: drawn at random each time it is opened. Only one process has a
    /// database open for writing, so what another session left at work is dead.
    pub fn session(&self) -> Uuid {
        self.inner.session
    }

    /// The id of the engine that this database was a checkpoint of.
    pub fn forked_from(&self) -> Option<EngineId> {
        self.inner.folder.identity().forked_from
    }

    /// The version of the folder's format.
    pub fn format_version(&self) -> u32 {
        self.inner.folder.identity().format_version
    }

    /// The database folder.
    pub fn dir(&self) -> &Path {
        self.inner.folder.dir()
    }

    /// A folder for files on their way in or out. Emptied when the database is opened, but for
    /// [`Engine::restore_staging_dir`] of restores that are unfinished.
    pub fn staging_dir(&self) -> &Path {
        self.inner.folder.staging()
    }

    /// RocksDB's folder.
    pub(crate) fn data_dir(&self) -> std::path::PathBuf {
        self.inner.folder.data()
    }

    /// What the hybrid clock shows: never before any timestamp given so far.
    pub fn now(&self) -> Timestamp {
        self.inner.sequencer.now()
    }

    /// The highest timestamp at which every commit is finished; what [`Engine::snapshot`] reads.
    pub fn visible(&self) -> Timestamp {
        self.inner.sequencer.visible()
    }

    /// The settings it was opened with.
    pub fn options(&self) -> &Options {
        &self.inner.options
    }

    /// Whether it was opened read-only.
    pub fn is_read_only(&self) -> bool {
        self.inner.read_only
    }

    /// What a crate above keeps in memory about this engine: one value of each type, made when it is first asked
    /// for, and shared by all clones. It must not hold the engine, which it would keep open for ever.
    pub fn attachment<T: Any + Default + Send + Sync>(&self) -> Arc<T> {
        let mut attachments = self.inner.attachments.lock();
        let place = attachments.entry(TypeId::of::<T>());
        let found = Arc::clone(place.or_insert_with(|| Arc::<T>::default()));
        // By its key it is of this type.
        found.downcast().unwrap_or_default()
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.inner.gate
    }

    pub(crate) fn check_writable(&self, action: &'static str) -> Result<()> {
        if self.inner.read_only {
            return Err(Error::ReadOnly { action });
        }
        self.inner.sequencer.check()
    }

    /// Whether two values are the same open database.
    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.inner, &other.inner)
    }

    /// An error unless the keyspace is one of this engine.
    pub(crate) fn check_own(&self, keyspace: &Keyspace) -> Result<()> {
        if self.same(keyspace.engine()) {
            return Ok(());
        }
        Err(Error::ForeignHandle {
            what: format!("keyspace {}", keyspace.name()),
        })
    }

    /// An error unless the keyspace is one of this engine and its column family is still there.
    pub(crate) fn check_present(&self, keyspace: &Keyspace) -> Result<()> {
        self.check_own(keyspace)?;
        let space = keyspace.space();
        if Arc::ptr_eq(space, &self.inner.system) || self.inner.catalog.get(space.id()).is_some() {
            return Ok(());
        }
        space.check_live()?;
        Err(Error::NoSuchKeyspace {
            name: space.name().to_owned(),
        })
    }

    /// Creates the column family of a new keyspace, or of one that a restore brings.
    pub(crate) fn create_family(
        &self,
        id: KeyspaceId,
        restored: bool,
    ) -> Result<(Cf, Arc<AtomicU64>)> {
        let threshold = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&threshold);
        let kind = match restored {
            true => CfKind::Restored { threshold: shared },
            false => CfKind::Versioned { threshold: shared },
        };
        let cf = self
            .inner
            .db
            .create_family(&family_name(id), &self.inner.settings, &kind)?;
        Ok((cf, threshold))
    }

    /// Drops the column family of a keyspace that is gone for good.
    pub(crate) fn drop_family(&self, id: KeyspaceId) -> Result<()> {
        self.inner.db.drop_family(&family_name(id))?;
        self.inner.meta.remove_marks(id)
    }

    pub(crate) fn system_keyspace(&self) -> Keyspace {
        Keyspace::new(self.clone(), Arc::clone(&self.inner.system))
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(crate) fn restores(&self) -> &Restores {
        &self.inner.restores
    }

    pub(crate) fn sequencer(&self) -> &Sequencer {
        &self.inner.sequencer
    }

    pub(crate) fn tracker(&self) -> &Tracker {
        &self.inner.tracker
    }

    pub(crate) fn watermark(&self) -> &Arc<Watermark> {
        &self.inner.watermark
    }

    pub(crate) fn gc_lock(&self) -> &Mutex<()> {
        &self.inner.gc
    }

    pub(crate) fn gc_work_lock(&self) -> &Mutex<()> {
        &self.inner.gc_work
    }

    pub(crate) fn commits(&self) -> &Cf {
        &self.inner.commits
    }

    pub(crate) fn meta(&self) -> &Meta {
        &self.inner.meta
    }

    pub(crate) fn db(&self) -> &Db {
        &self.inner.db
    }

    pub(crate) fn settings(&self) -> &RocksSettings {
        &self.inner.settings
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        drop(self.housekeeper.lock().take());
        if self.read_only {
            return;
        }
        if let Err(e) = self.sequencer.close() {
            tracing::warn!(error = %e, "the clock's high-water mark was not persisted at close");
        }
    }
}

fn required(db: &Arc<Db>, family: &str) -> Result<Cf> {
    db.family(family)
        .ok_or_else(|| Error::corrupt(format!("column family {family} is missing")))
}

/// Opens the storage of a keyspace, with its threshold in force.
fn open_space(
    db: &Arc<Db>,
    meta: &Meta,
    families: &Families,
    descriptor: Descriptor,
    options: &Options,
) -> Result<Arc<Space>> {
    let family = family_name(descriptor.id);
    let cf = required(db, &family)?;
    let threshold = families
        .thresholds
        .get(&family)
        .cloned()
        .ok_or_else(|| Error::corrupt(format!("column family {family} is missing")))?;
    let durable = meta.mark(Mark::Threshold, descriptor.id)?;
    threshold.store(durable.nanos(), std::sync::atomic::Ordering::Release);
    Ok(Arc::new(Space::new(
        descriptor,
        cf,
        threshold,
        options.pooled_iterators,
    )))
}

fn system_descriptor() -> Descriptor {
    Descriptor {
        id: SYSTEM_KEYSPACE,
        name: "system".to_owned(),
        settings: KeyspaceSettings::default(),
        created: Timestamp::MIN,
        dropped: None,
        introduced: Timestamp::MIN,
        index_since: Timestamp::MIN,
    }
}

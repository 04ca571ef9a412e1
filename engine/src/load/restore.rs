//! Keyspaces that are being restored: hidden, resumable, and published all at once.
//!
//! A restore makes a hidden keyspace for each one it brings back, ingests the files of each layer,
//! oldest layer first, and publishes all of them in one commit. A crash before that leaves
//! nothing visible; beginning the same restore again finds the hidden keyspaces and which layers
//! they already have.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use icecore_mvcc::{
    Descriptor, Fingerprint, KeyspaceId, KeyspaceName, KeyspaceSettings, Timestamp,
};
use parking_lot::{Mutex, MutexGuard};
use rocksdb::WriteBatch;
use serde::{Deserialize, Serialize};

use super::bulk::ingest;
use super::staging;
use crate::commit::{Batch, Durability};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::meta::Mark;
use crate::store::Space;

/// The durable record of one keyspace's unfinished restore.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Record {
    restore_id: String,
    name: String,
    id: KeyspaceId,
    settings: KeyspaceSettings,
    /// Tags of the layers that are in.
    ingested: Vec<String>,
}

impl Record {
    fn key(&self) -> String {
        format!("{}/{}", self.restore_id, self.name)
    }

    fn encode(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self)
            .map_err(|e| Error::corrupt(format!("restore record of {}: {e}", self.name)))
    }
}

/// A hidden keyspace with its record.
struct Hidden {
    restore_id: String,
    space: Arc<Space>,
    state: Mutex<State>,
}

/// Guarded by `Hidden::state`, which is held while a layer comes in.
struct State {
    record: Record,
    /// Neither published nor abandoned.
    open: bool,
}

impl Hidden {
    fn new(record: Record, space: Arc<Space>) -> Arc<Self> {
        Arc::new(Self {
            restore_id: record.restore_id.clone(),
            space,
            state: Mutex::new(State { record, open: true }),
        })
    }

    /// Locks the state; an error once the restore is over.
    fn lock_open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.open {
            return Ok(state);
        }
        Err(self.refused("published or abandoned already", "begin a new restore"))
    }

    fn unfinished(&self) -> Error {
        self.refused(
            "not finished",
            "run that restore again, of the same backup to the same time, to finish it, or give it up with `restore --abandon`",
        )
    }

    fn refused(&self, state: &str, way_out: &'static str) -> Error {
        let (restore, name) = (self.restore_id.clone(), self.space.name().to_owned());
        Error::Restore {
            restore,
            name,
            state: state.to_owned(),
            way_out,
        }
    }
}

/// The unfinished restores of an engine, by record key.
#[derive(Default)]
pub(crate) struct Restores {
    hidden: Mutex<BTreeMap<String, Arc<Hidden>>>,
}

impl Restores {
    fn holding(&self, name: &str) -> Option<Arc<Hidden>> {
        let hidden = self.hidden.lock();
        hidden.values().find(|h| h.space.name() == name).cloned()
    }

    /// An error if an unfinished restore will bring a keyspace of this name.
    pub(crate) fn check_free(&self, name: &str) -> Result<()> {
        self.holding(name)
            .map_or(Ok(()), |hidden| Err(hidden.unfinished()))
    }

    /// Whether a column family belongs to an unfinished restore.
    pub(crate) fn owns(&self, id: KeyspaceId) -> bool {
        self.hidden.lock().values().any(|h| h.space.id() == id)
    }
}

/// A keyspace on its way back. Not visible until [`Engine::publish_restore`].
#[derive(Clone)]
pub struct RestoringKeyspace {
    engine: Engine,
    hidden: Arc<Hidden>,
}

/// What a restore brings back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreScope {
    /// Keyspaces, beside others.
    Keyspaces,
    /// An engine with all that it had: only into one that never had a keyspace.
    WholeEngine,
}

/// How a restored keyspace is to be published.
pub struct Publish {
    /// The keyspace.
    pub keyspace: RestoringKeyspace,
    /// Reads below this time will be refused: the oldest time at which its history is whole.
    pub threshold: Timestamp,
}

impl RestoringKeyspace {
    /// The name it will have.
    pub fn name(&self) -> &str {
        self.hidden.space.name()
    }

    /// The id that it has, and will have.
    pub fn id(&self) -> KeyspaceId {
        self.hidden.space.id()
    }

    /// The restore it belongs to.
    pub fn restore_id(&self) -> String {
        self.hidden.restore_id.clone()
    }

    /// Tags of the layers that are in.
    pub fn ingested(&self) -> Vec<String> {
        self.hidden.state.lock().record.ingested.clone()
    }

    /// Moves the files of one layer in. The files must not overlap each other; layers go oldest
    /// first. A layer that is in already (by its tag) is skipped; returns whether it was new.
    ///
    /// # Errors
    /// [`Error::Rocks`] when a file is damaged or the disk fails; [`Error::Restore`] when the
    /// restore was published or abandoned.
    pub fn ingest(&self, layer_tag: &str, files: &[PathBuf]) -> Result<bool> {
        // A crash before the note ingests the layer again: the same versions, the same bytes.
        self.take_layer(layer_tag, |_| match files {
            [] => Ok(()),
            _ => ingest(self.hidden.space.cf(), files),
        })
    }
}

impl RestoringKeyspace {
    /// Takes in, by links, the copied live files of a layer: those of
    /// [`CapturedKeyspace::live`](crate::CapturedKeyspace::live), all of them and in their order. Nothing
    /// else may be in yet. Otherwise as [`RestoringKeyspace::ingest`].
    ///
    /// # Errors
    /// [`Error::Io`] when RocksDB refuses them or the disk fails; [`Error::Restore`] when the restore was
    /// published or abandoned.
    pub fn ingest_live(&self, layer_tag: &str, files: &[PathBuf]) -> Result<bool> {
        self.take_layer(layer_tag, |state| {
            let cf = self.hidden.space.cf();
            // RocksDB takes all files of a call or none. So if some are here and none is noted, a run
            // before was cut short between its call and the note. It must not be made again: these files
            // may not meet what is there already.
            if state.record.ingested.is_empty() && cf.file_count() > 0 {
                return Ok(());
            }
            cf.ingest_live_files(files)
        })
    }

    /// Brings a layer in and notes that it is, unless it is noted already; returns whether it was new.
    fn take_layer(
        &self,
        layer_tag: &str,
        bring: impl FnOnce(&State) -> Result<()>,
    ) -> Result<bool> {
        self.engine.check_writable("restore a keyspace")?;
        let mut state = self.hidden.lock_open()?;
        if state.record.ingested.iter().any(|tag| tag == layer_tag) {
            return Ok(false);
        }
        bring(&state)?;
        let mut updated = state.record.clone();
        updated.ingested.push(layer_tag.to_owned());
        self.engine
            .meta()
            .set_restore(&updated.key(), &updated.encode()?)?;
        state.record = updated;
        Ok(true)
    }
}

impl RestoringKeyspace {
    /// The fingerprint of what is in by now as of a time, read by up to so many threads: before its
    /// publication, so that what is wrong need never be seen.
    ///
    /// # Errors
    /// [`Error::Rocks`] or [`Error::Corruption`]; [`Error::Restore`] when the restore was published or
    /// abandoned.
    pub fn fingerprint_at(&self, at: Timestamp, threads: usize) -> Result<Fingerprint> {
        let _open = self.hidden.lock_open()?;
        let hidden = Keyspace::new(self.engine.clone(), Arc::clone(&self.hidden.space));
        // Nothing collects garbage in a hidden keyspace; a walk wants a snapshot all the same.
        hidden.fingerprint_of(at, &self.engine.snapshot(), threads)
    }
}

impl Engine {
    /// Begins to restore a keyspace, or goes on where the same restore was interrupted.
    ///
    /// # Errors
    /// As [`Engine::begin_restores`].
    pub fn begin_restore(
        &self,
        restore_id: &str,
        name: &str,
        settings: KeyspaceSettings,
    ) -> Result<RestoringKeyspace> {
        let wanted = [(name.to_owned(), settings)];
        let mut begun = self.begin_restores(restore_id, &wanted, RestoreScope::Keyspaces)?;
        begun.pop().ok_or_else(|| {
            Error::corrupt(format!("the restore of {name} was begun and is not there"))
        })
    }

    /// Begins to restore keyspaces, or goes on where the same restore was interrupted. All of the names are
    /// taken, or none: of two restores that want one name, the second fails, and blocks nobody.
    ///
    /// # Errors
    /// [`Error::KeyspaceExists`], [`Error::Invalid`]; [`Error::Restore`] when another restore
    /// holds a name; [`Error::NotEmpty`] for a whole engine, where there is or was a keyspace.
    pub fn begin_restores(
        &self,
        restore_id: &str,
        wanted: &[(String, KeyspaceSettings)],
        scope: RestoreScope,
    ) -> Result<Vec<RestoringKeyspace>> {
        self.check_writable("restore a keyspace")?;
        for (name, settings) in wanted {
            KeyspaceName::parse(name)?;
            settings.validate()?;
        }
        let _changes = self.catalog().changes.lock();
        self.check_scope(scope)?;
        for (name, _) in wanted {
            self.check_restorable(restore_id, name)?;
        }
        let begun = wanted.iter();
        begun
            .map(|(name, settings)| {
                let hidden = match self.restores().holding(name) {
                    Some(begun_before) => begun_before,
                    None => self.begin_hidden(restore_id, name, settings.clone())?,
                };
                Ok(RestoringKeyspace {
                    engine: self.clone(),
                    hidden,
                })
            })
            .collect()
    }

    /// With the catalog locked: what counts as a whole engine may only come into an empty one.
    fn check_scope(&self, scope: RestoreScope) -> Result<()> {
        if scope == RestoreScope::WholeEngine && self.has_ever_had_keyspaces()? {
            return Err(Error::NotEmpty {
                path: self.dir().to_owned(),
            });
        }
        Ok(())
    }

    /// With the catalog locked, makes the hidden keyspace for a name that is free.
    fn begin_hidden(
        &self,
        restore_id: &str,
        name: &str,
        settings: KeyspaceSettings,
    ) -> Result<Arc<Hidden>> {
        let id = self.meta().take_keyspace_id()?;
        let record = Record {
            restore_id: restore_id.to_owned(),
            name: name.to_owned(),
            id,
            settings,
            ingested: Vec::new(),
        };
        let (cf, threshold) = self.create_family(id, true)?;
        let space = Space::new(
            hidden_descriptor(&record),
            cf,
            threshold,
            self.options().pooled_iterators,
        );
        hold_compactions(&space, true)?;
        // The record last: a column family without one is dropped by the next open.
        self.meta().set_restore(&record.key(), &record.encode()?)?;
        let key = record.key();
        let hidden = Hidden::new(record, Arc::new(space));
        self.restores()
            .hidden
            .lock()
            .insert(key, Arc::clone(&hidden));
        Ok(hidden)
    }

    /// An error if there is a keyspace of this name, or another restore than this one holds it.
    ///
    /// # Errors
    /// [`Error::KeyspaceExists`], [`Error::Restore`].
    pub fn check_restorable(&self, restore_id: &str, name: &str) -> Result<()> {
        if self.catalog().live(name).is_some() {
            return Err(Error::KeyspaceExists {
                name: name.to_owned(),
            });
        }
        match self.restores().holding(name) {
            Some(hidden) if hidden.restore_id != restore_id => Err(hidden.unfinished()),
            _ => Ok(()),
        }
    }

    /// The keyspaces of unfinished restores.
    pub fn restoring(&self) -> Vec<RestoringKeyspace> {
        let hidden = self.restores().hidden.lock();
        hidden
            .values()
            .map(|h| RestoringKeyspace {
                engine: self.clone(),
                hidden: Arc::clone(h),
            })
            .collect()
    }

    /// Makes restored keyspaces visible, all in one durable commit, and moves the clock past
    /// `newest`, the newest timestamp in them.
    ///
    /// # Errors
    /// Nothing is published with [`Error::KeyspaceExists`] when a name was taken meanwhile,
    /// [`Error::Restore`] when one was published or abandoned already or is given twice, and
    /// [`Error::InFuture`] for a threshold that lies after `newest` and now.
    pub fn publish_restore(
        &self,
        restored: Vec<Publish>,
        newest: Timestamp,
    ) -> Result<Vec<Keyspace>> {
        self.publish_restores(restored, newest, RestoreScope::Keyspaces)
    }

    /// As [`Engine::publish_restore`], of a whole engine only if it is still empty.
    ///
    /// # Errors
    /// As [`Engine::publish_restore`]; [`Error::NotEmpty`].
    #[tracing::instrument(skip_all, fields(keyspaces = restored.len(), newest = %newest))]
    pub fn publish_restores(
        &self,
        restored: Vec<Publish>,
        newest: Timestamp,
        scope: RestoreScope,
    ) -> Result<Vec<Keyspace>> {
        self.check_writable("publish a restore")?;
        let _changes = self.catalog().changes.lock();
        self.check_scope(scope)?;
        self.check_publishable(&restored, newest)?;
        let mut states = Vec::new();
        for publish in &restored {
            states.push(publish.keyspace.hidden.lock_open()?);
        }
        self.sequencer().advance(newest)?;
        let mut rows = Batch::new();
        let ticket = self.sequencer().assign(|ts| {
            for state in &states {
                let descriptor = published_descriptor(&state.record, ts);
                self.add_descriptor(&mut rows, &descriptor)?;
            }
            rows.rows.prepare()
        })?;
        let mut raw = WriteBatch::default();
        for (publish, state) in restored.iter().zip(&states) {
            self.meta().add_mark(
                &mut raw,
                Mark::Threshold,
                state.record.id,
                publish.threshold,
            );
            self.meta().remove_restore(&mut raw, &state.record.key());
        }
        let ts = ticket.timestamp();
        self.write_commit(ticket, raw, &mut rows.rows, Durability::Sync, || {
            for (publish, state) in restored.iter().zip(&mut states) {
                let space = &publish.keyspace.hidden.space;
                space.set_descriptor(published_descriptor(&state.record, ts));
                space.raise_read_floor(publish.threshold);
                space.raise_filter_threshold(publish.threshold);
                self.catalog().insert(Arc::clone(space));
                self.restores().hidden.lock().remove(&state.record.key());
                state.open = false;
            }
        })?;
        drop(states);
        tracing::info!(keyspaces = restored.len(), at = %ts, "restore published");
        for publish in &restored {
            staging::remove(self, &publish.keyspace.hidden.restore_id);
        }
        Ok(restored
            .into_iter()
            .map(|publish| self.opened(&publish.keyspace.hidden.space))
            .collect())
    }

    /// What can be refused before anything is locked or written.
    fn check_publishable(&self, restored: &[Publish], newest: Timestamp) -> Result<()> {
        let mut ids = BTreeSet::new();
        let now = self.now().max(newest);
        for Publish {
            keyspace,
            threshold,
        } in restored
        {
            let name = keyspace.name();
            if !self.same(&keyspace.engine) {
                return Err(Error::ForeignHandle {
                    what: format!("the restore of keyspace {name}"),
                });
            }
            if !ids.insert(keyspace.hidden.space.id()) {
                return Err(keyspace
                    .hidden
                    .refused("given twice", "publish each keyspace once"));
            }
            if self.catalog().live(name).is_some() {
                return Err(Error::KeyspaceExists {
                    name: name.to_owned(),
                });
            }
            if *threshold > now {
                return Err(Error::InFuture {
                    requested: *threshold,
                    now,
                });
            }
        }
        Ok(())
    }

    /// A published keyspace, compacted from now on.
    fn opened(&self, space: &Arc<Space>) -> Keyspace {
        if let Err(e) = hold_compactions(space, !self.options().auto_compactions) {
            // It is published all the same, and the next open lets it be compacted.
            tracing::warn!(keyspace = space.name(), error = %e, "compactions could not be started");
        }
        Keyspace::new(self.clone(), Arc::clone(space))
    }

    /// Gives an unfinished restore up and frees what it brought. Returns how many keyspaces
    /// were given up.
    ///
    /// # Errors
    /// [`Error::Rocks`] when the disk fails.
    pub fn abandon_restore(&self, restore_id: &str) -> Result<usize> {
        self.check_writable("abandon a restore")?;
        let _changes = self.catalog().changes.lock();
        let mut abandoned = 0;
        for keyspace in self.restoring() {
            if keyspace.hidden.restore_id != restore_id {
                continue;
            }
            let mut state = keyspace.hidden.lock_open()?;
            // The record first: a column family without one is dropped by the next open.
            let mut batch = WriteBatch::default();
            self.meta().remove_restore(&mut batch, &state.record.key());
            self.meta().write(batch)?;
            state.open = false;
            self.restores().hidden.lock().remove(&state.record.key());
            self.drop_family(state.record.id)?;
            abandoned += 1;
        }
        staging::remove(self, restore_id);
        Ok(abandoned)
    }

    /// Finds the unfinished restores when the database is opened.
    pub(crate) fn load_restores(
        &self,
        open: impl Fn(Descriptor) -> Result<Arc<Space>>,
    ) -> Result<()> {
        for json in self.meta().restores()? {
            let record: Record = serde_json::from_slice(&json)
                .map_err(|e| Error::corrupt(format!("restore record: {e}")))?;
            let space = open(hidden_descriptor(&record))?;
            if !self.is_read_only() {
                hold_compactions(&space, true)?;
            }
            self.restores()
                .hidden
                .lock()
                .insert(record.key(), Hidden::new(record, space));
        }
        Ok(())
    }
}

/// The descriptor of a keyspace that is published at `ts`.
fn published_descriptor(record: &Record, ts: Timestamp) -> Descriptor {
    Descriptor {
        created: ts,
        introduced: ts,
        index_since: ts,
        ..hidden_descriptor(record)
    }
}

/// The descriptor of a keyspace that is not visible yet.
fn hidden_descriptor(record: &Record) -> Descriptor {
    Descriptor {
        id: record.id,
        name: record.name.clone(),
        settings: record.settings.clone(),
        created: Timestamp::MIN,
        dropped: None,
        introduced: Timestamp::MIN,
        index_since: Timestamp::MIN,
    }
}

/// Stops or starts compactions of a keyspace. While layers come in, one on the other, each must
/// find the level below it empty of running compactions.
fn hold_compactions(space: &Space, hold: bool) -> Result<()> {
    let value = if hold { "true" } else { "false" };
    space
        .cf()
        .db()
        .set_options_cf(space.cf().handle(), &[("disable_auto_compactions", value)])
        .map_err(Error::rocks("change the options of a keyspace"))
}

//! Which keyspaces there are, and were.
//!
//! A keyspace's descriptor is a row of the system keyspace, kind `keyspace`, keyed by its id; so
//! the keyspaces of a past time are a read as of that time. The maps here hold the state as of
//! now, and the dropped keyspaces whose past is still readable.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_mvcc::{Descriptor, KeyspaceId, KeyspaceName, KeyspaceSettings, Timestamp};
use parking_lot::{Mutex, RwLock};

use crate::commit::Batch;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;
use crate::store::Space;
use crate::system::row_key;

/// Id of the keyspace that holds the engine's own versioned rows.
pub const SYSTEM_KEYSPACE: KeyspaceId = KeyspaceId::new(0);

/// Column family of the system keyspace.
pub(crate) const SYSTEM_FAMILY: &str = "system";

/// Kind of the system rows that hold descriptors.
pub(crate) const DESCRIPTOR_KIND: &str = "keyspace";

/// The column family of a keyspace.
pub(crate) fn family_name(id: KeyspaceId) -> String {
    if id == SYSTEM_KEYSPACE {
        return SYSTEM_FAMILY.to_owned();
    }
    format!("ks-{:08x}", id.get())
}

/// The id in a column family's name.
pub(crate) fn family_id(name: &str) -> Option<KeyspaceId> {
    let hex = name.strip_prefix("ks-").filter(|hex| hex.len() == 8)?;
    u32::from_str_radix(hex, 16).ok().map(KeyspaceId::new)
}

/// The keyspaces of an open engine. A change is made here once its commit is durable and before it
/// is visible, so that whoever sees a descriptor finds its keyspace.
#[derive(Default)]
pub(crate) struct Catalog {
    spaces: RwLock<BTreeMap<KeyspaceId, Arc<Space>>>,
    /// Held while a keyspace is created, altered, dropped or published.
    pub(crate) changes: Mutex<()>,
}

impl Catalog {
    pub(crate) fn insert(&self, space: Arc<Space>) {
        self.spaces.write().insert(space.id(), space);
    }

    pub(crate) fn remove(&self, id: KeyspaceId) {
        self.spaces.write().remove(&id);
    }

    pub(crate) fn get(&self, id: KeyspaceId) -> Option<Arc<Space>> {
        self.spaces.read().get(&id).cloned()
    }

    /// The live keyspace with this name.
    pub(crate) fn live(&self, name: &str) -> Option<Arc<Space>> {
        self.spaces
            .read()
            .values()
            .find(|s| s.dropped().is_none() && s.name() == name)
            .cloned()
    }

    /// All keyspaces, dropped ones too, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Space>> {
        self.spaces.read().values().cloned().collect()
    }
}

/// The row key of a keyspace's descriptor.
pub(crate) fn descriptor_key(id: KeyspaceId) -> Vec<u8> {
    row_key(DESCRIPTOR_KIND, &format!("{:08x}", id.get()))
}

/// The id in the row key of a descriptor; `None` for another kind of row.
pub(crate) fn parse_descriptor_key(row: &[u8]) -> Option<KeyspaceId> {
    let row = std::str::from_utf8(row).ok()?;
    let hex = row.strip_prefix(DESCRIPTOR_KIND)?.strip_prefix('/')?;
    let id = u32::from_str_radix(hex, 16).ok().map(KeyspaceId::new)?;
    (descriptor_key(id) == row.as_bytes()).then_some(id)
}

/// The row value of a descriptor.
pub(crate) fn encode_descriptor(descriptor: &Descriptor) -> Result<Vec<u8>> {
    serde_json::to_vec(descriptor)
        .map_err(|e| Error::corrupt(format!("descriptor of {}: {e}", descriptor.name)))
}

/// Reads a descriptor's row value.
pub(crate) fn decode_descriptor(bytes: &[u8]) -> Result<Descriptor> {
    serde_json::from_slice(bytes).map_err(|e| Error::corrupt(format!("keyspace descriptor: {e}")))
}

impl Engine {
    /// Creates a keyspace.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a bad name or setting, [`Error::KeyspaceExists`]; [`Error::Restore`] when
    /// an unfinished restore holds the name.
    pub fn create_keyspace(&self, name: &str, settings: KeyspaceSettings) -> Result<Keyspace> {
        self.check_writable("create a keyspace")?;
        KeyspaceName::parse(name)?;
        settings.validate()?;
        let _changes = self.catalog().changes.lock();
        if self.catalog().live(name).is_some() {
            return Err(Error::KeyspaceExists {
                name: name.to_owned(),
            });
        }
        self.restores().check_free(name)?;
        // The column family first: one without a descriptor is swept away at the next open.
        let id = self.meta().take_keyspace_id()?;
        let (cf, threshold) = self.create_family(id, false)?;
        let describe = |ts| Descriptor {
            id,
            name: name.to_owned(),
            settings: settings.clone(),
            created: ts,
            dropped: None,
            introduced: ts,
            index_since: Timestamp::MIN,
        };
        let ts = self.commit_at(
            |ts| self.descriptor_batch(&describe(ts)),
            |ts| {
                let space =
                    Space::new(describe(ts), cf, threshold, self.options().pooled_iterators);
                self.catalog().insert(Arc::new(space));
            },
        )?;
        let space = self
            .catalog()
            .get(id)
            .ok_or_else(|| Error::corrupt(format!("keyspace {name} vanished at {ts}")))?;
        tracing::info!(keyspace = name, id = id.get(), "created");
        Ok(Keyspace::new(self.clone(), space))
    }

    /// Replaces a keyspace's settings.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`], [`Error::Invalid`].
    pub fn alter_keyspace(&self, name: &str, settings: KeyspaceSettings) -> Result<Descriptor> {
        self.check_writable("alter a keyspace")?;
        settings.validate()?;
        let _changes = self.catalog().changes.lock();
        let space = self.live_space(name)?;
        let descriptor = Descriptor {
            settings,
            ..space.descriptor()
        };
        self.commit_at(
            |_| self.descriptor_batch(&descriptor),
            |_| space.set_descriptor(descriptor.clone()),
        )?;
        Ok(descriptor)
    }

    /// Drops a keyspace. Its past stays readable until garbage collection passes this time.
    /// Returns the time of the drop.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`].
    pub fn drop_keyspace(&self, name: &str) -> Result<Timestamp> {
        self.check_writable("drop a keyspace")?;
        let _changes = self.catalog().changes.lock();
        let space = self.live_space(name)?;
        let describe = |ts| Descriptor {
            dropped: Some(ts),
            ..space.descriptor()
        };
        let ts = self.commit_at(
            |ts| {
                let batch = self.descriptor_batch(&describe(ts))?;
                space.set_dropped(ts);
                Ok(batch)
            },
            |ts| space.set_descriptor(describe(ts)),
        )?;
        tracing::info!(keyspace = name, "dropped");
        Ok(ts)
    }

    /// The live keyspace with this name.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`].
    pub fn keyspace(&self, name: &str) -> Result<Keyspace> {
        Ok(Keyspace::new(self.clone(), self.live_space(name)?))
    }

    /// A keyspace by id, dropped ones too while their past is readable.
    ///
    /// # Errors
    /// [`Error::NoSuchKeyspace`].
    pub fn keyspace_by_id(&self, id: KeyspaceId) -> Result<Keyspace> {
        if id == SYSTEM_KEYSPACE {
            return Ok(self.system_keyspace());
        }
        let space = self.catalog().get(id);
        let space = space.ok_or_else(|| Error::NoSuchKeyspace {
            name: format!("with id {}", id.get()),
        })?;
        Ok(Keyspace::new(self.clone(), space))
    }

    /// The live keyspaces, by name.
    pub fn keyspaces(&self) -> Vec<Keyspace> {
        let mut live: Vec<Keyspace> = self
            .all_keyspaces()
            .into_iter()
            .filter(|k| !k.is_dropped())
            .collect();
        live.sort_by(|a, b| a.name().cmp(b.name()));
        live
    }

    /// All keyspaces, also dropped ones whose past is still readable, by id. Without the system
    /// keyspace.
    pub fn all_keyspaces(&self) -> Vec<Keyspace> {
        self.catalog()
            .all()
            .into_iter()
            .map(|space| Keyspace::new(self.clone(), space))
            .collect()
    }

    /// The keyspaces that were live at a time, by id, as they were described then.
    ///
    /// # Errors
    /// [`Error::BelowThreshold`] when the system keyspace's own history does not reach back so
    /// far; [`Error::InFuture`].
    pub fn descriptors_at(&self, at: Timestamp) -> Result<Vec<Descriptor>> {
        let snapshot = self.snapshot_at(at)?;
        let rows = self.system().list_at(&snapshot, DESCRIPTOR_KIND)?;
        let all: Result<Vec<Descriptor>> = rows
            .iter()
            .map(|(_, json)| decode_descriptor(json))
            .collect();
        Ok(all?.into_iter().filter(|d| d.is_live_at(at)).collect())
    }

    /// Whether a keyspace was ever created or restored here, even if it is gone.
    ///
    /// # Errors
    /// When RocksDB cannot read.
    pub fn has_ever_had_keyspaces(&self) -> Result<bool> {
        Ok(!self.catalog().all().is_empty() || self.meta().has_purged()?)
    }

    fn live_space(&self, name: &str) -> Result<Arc<Space>> {
        self.catalog()
            .live(name)
            .ok_or_else(|| Error::NoSuchKeyspace {
                name: name.to_owned(),
            })
    }

    /// A batch that writes one descriptor.
    pub(crate) fn descriptor_batch(&self, descriptor: &Descriptor) -> Result<Batch> {
        let mut batch = Batch::new();
        self.add_descriptor(&mut batch, descriptor)?;
        Ok(batch)
    }

    /// Adds a descriptor to what a batch writes.
    pub(crate) fn add_descriptor(&self, batch: &mut Batch, descriptor: &Descriptor) -> Result<()> {
        batch.put(
            &self.system_keyspace(),
            descriptor_key(descriptor.id),
            encode_descriptor(descriptor)?,
        );
        Ok(())
    }
}

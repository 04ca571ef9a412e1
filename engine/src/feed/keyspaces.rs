//! The keyspaces that a feed follows, as of the place in the index that it has read to.

use std::collections::BTreeMap;
use std::sync::Arc;

use icecore_mvcc::{Descriptor, KeyspaceId, NamePattern, Timestamp, key, value};

use super::transaction::CatalogChange;
use crate::catalog::{DESCRIPTOR_KIND, decode_descriptor, parse_descriptor_key};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::keyspace::Keyspace;

/// A keyspace whose rows are delivered.
#[derive(Clone)]
pub(super) struct Followed {
    pub(super) keyspace: Keyspace,
    pub(super) name: Arc<str>,
}

/// A keyspace that exists, or is dropped and not yet gone.
struct Known {
    descriptor: Descriptor,
    /// `None` where it is not one of the feed's.
    followed: Option<Followed>,
}

/// The keyspaces by id.
pub(super) struct Keyspaces {
    patterns: Vec<NamePattern>,
    known: BTreeMap<KeyspaceId, Known>,
}

impl Keyspaces {
    /// As they were at a time, which a pin holds.
    pub(super) fn at(engine: &Engine, patterns: &[NamePattern], at: Timestamp) -> Result<Self> {
        let mut keyspaces = Self {
            patterns: patterns.to_vec(),
            known: BTreeMap::new(),
        };
        let then = engine.descriptors_at(at).map_err(|error| match error {
            Error::BelowThreshold { threshold, .. } => Error::FeedGap {
                position: at,
                what: "the history of the catalog".to_owned(),
                floor: threshold,
            },
            other => other,
        })?;
        for descriptor in then {
            keyspaces.insert(engine, descriptor)?;
        }
        Ok(keyspaces)
    }

    fn insert(&mut self, engine: &Engine, descriptor: Descriptor) -> Result<()> {
        let chosen =
            self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(&descriptor.name));
        let followed = match chosen {
            true => Some(Followed {
                keyspace: engine.keyspace_by_id(descriptor.id)?,
                name: descriptor.name.as_str().into(),
            }),
            false => None,
        };
        let known = Known {
            descriptor,
            followed,
        };
        self.known.insert(known.descriptor.id, known);
        Ok(())
    }

    /// The keyspace with this id, if its rows are delivered.
    pub(super) fn followed(&self, id: KeyspaceId, at: Timestamp) -> Result<Option<Followed>> {
        let known = self.known.get(&id).ok_or_else(|| {
            Error::corrupt(format!(
                "the commit at {at} wrote into keyspace {id}, which no descriptor of that time has"
            ))
        })?;
        Ok(known.followed.clone())
    }

    /// Takes note of a row of the system keyspace; what it means for a keyspace that is followed.
    pub(super) fn note(
        &mut self,
        engine: &Engine,
        at: Timestamp,
        row: &[u8],
        put: bool,
    ) -> Result<Option<CatalogChange>> {
        let Some(id) = parse_descriptor_key(row) else {
            return Ok(None);
        };
        if !put {
            // It was dropped before, and is gone for good now.
            self.known.remove(&id);
            return Ok(None);
        }
        let descriptor = descriptor_at(engine, row, at)?;
        let Some(known) = self.known.get_mut(&id) else {
            self.insert(engine, descriptor.clone())?;
            let followed = self.known.get(&id).is_some_and(|k| k.followed.is_some());
            let change = match descriptor.index_since == Timestamp::MIN {
                true => CatalogChange::Created(descriptor),
                false => CatalogChange::Restored(descriptor),
            };
            return Ok(followed.then_some(change));
        };
        let before = std::mem::replace(&mut known.descriptor, descriptor.clone());
        let change = if before.dropped != descriptor.dropped {
            CatalogChange::Dropped(descriptor)
        } else if before.settings != descriptor.settings {
            CatalogChange::Altered(descriptor)
        } else {
            return Ok(None);
        };
        Ok(known.followed.is_some().then_some(change))
    }

    /// A keyspace of which something above the position may be gone, with its threshold. One that was
    /// created since is whole from its creation on.
    pub(super) fn first_gap(&self, position: Timestamp) -> Option<(String, Timestamp)> {
        self.known.values().find_map(|known| {
            let threshold = known.followed.as_ref()?.keyspace.threshold();
            let needed = position.max(known.descriptor.created);
            (threshold > needed).then(|| (format!("keyspace {}", known.descriptor.name), threshold))
        })
    }
}

/// The descriptor that a commit wrote.
fn descriptor_at(engine: &Engine, row: &[u8], at: Timestamp) -> Result<Descriptor> {
    let system = engine.system_keyspace();
    let stored = system.space().cf().get(&key::encode_key(row, at))?;
    let stored = stored.ok_or_else(|| {
        Error::corrupt(format!(
            "the commit index names the row {} of kind {DESCRIPTOR_KIND}, which is missing",
            Error::key_text(row)
        ))
    })?;
    let json = value::decode_value(&stored)?.into_option();
    decode_descriptor(json.unwrap_or_default())
}

//! The markers under `metadata/`: what is listed, found by listing names alone.
//!
//! | object | written | says |
//! |---|---|---|
//! | `metadata/COLLECTION` | first of all | the collection's id and format version |
//! | `metadata/chain/<full>/slot-<start>` | by the one layer that continues the chain from there | which layer that is |
//! | `metadata/chain/<full>/layer-<start>-<end>-<history>-<bytes>-<entries>-<hash>-<path>` | for each layer | everything a listing shows |
//! | `metadata/latest/<complemented end>-<full>` | for each full, last | that it can be chosen; newest first in a listing |
//!
//! Here are their names and contents, both ways, without I/O. The contents ([`content`]) repeat what the
//! names say; `docs/format/collection.md` describes them.

pub(crate) mod content;

use icecore_mvcc::Timestamp;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::ids::CollectionId;
use crate::path::{FullPath, IncrementalPath, LayerPath};

/// The most bytes that are read of a marker.
pub(crate) const MAX_MARKER_BYTES: u64 = 64 << 10;

/// Where the collection marker lies.
pub(crate) const COLLECTION_PATH: &str = "metadata/COLLECTION";

/// Where chains lie.
pub(crate) const CHAIN_PREFIX: &str = "metadata/chain";

/// Where the markers of fulls lie.
pub(crate) const LATEST_PREFIX: &str = "metadata/latest";

/// A layer as the index knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerEntry {
    /// Where it lies.
    pub path: LayerPath,
    /// It covers the versions after this; zero for a full.
    pub start: Timestamp,
    /// It covers the versions up to and including this.
    pub end: Timestamp,
    /// The earliest time inside it that can be restored, at least for some keyspace; `None` if only its end.
    pub history_from: Option<Timestamp>,
    /// Bytes of its data files.
    pub stored_bytes: u64,
    /// Versions in its data files, tombstones included.
    pub entries: u64,
    /// BLAKE3 of its manifest object.
    pub manifest_hash: ContentHash,
}

/// The version of a collection's layout that is written, and the newest that is read.
pub const COLLECTION_FORMAT_VERSION: u64 = 1;

/// The content of `metadata/COLLECTION`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CollectionMarker {
    pub(crate) format_version: u64,
    pub(crate) collection_id: CollectionId,
    pub(crate) created: Timestamp,
    /// Of sealed collections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sealing: Option<Sealing>,
}

/// What the marker of a sealed collection says of its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealing {
    /// Tells a wrong key from the right one.
    #[serde(with = "crate::hex::array")]
    pub(crate) key_check: [u8; 16],
}

impl CollectionMarker {
    /// The marker of a new collection.
    pub(crate) fn new(created: Timestamp) -> Self {
        let (format_version, collection_id) = (COLLECTION_FORMAT_VERSION, CollectionId::random());
        Self {
            format_version,
            collection_id,
            created,
            sealing: None,
        }
    }

    /// Reads it: the version first, for the rest may look different in another.
    pub(crate) fn read(bytes: &[u8], location: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u64,
        }
        let damaged = |reason: String| Error::DamagedMarker {
            path: COLLECTION_PATH.to_owned(),
            location: location.to_owned(),
            reason,
        };
        let Version {
            format_version: found,
        } = content::decode(bytes).map_err(damaged)?;
        if found > COLLECTION_FORMAT_VERSION {
            let (path, supported) = (COLLECTION_PATH.to_owned(), COLLECTION_FORMAT_VERSION);
            return Err(Error::NewerFormat {
                path,
                found,
                supported,
            });
        }
        if found == 0 {
            return Err(damaged("format version 0 does not exist".to_owned()));
        }
        content::decode(bytes).map_err(damaged)
    }
}

/// The content of a full's marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatestMarker {
    pub(crate) full: FullPath,
    pub(crate) end: Timestamp,
}

/// The directory of a chain's markers.
pub(crate) fn chain_prefix(full: &FullPath) -> Path {
    Path::from(format!("{CHAIN_PREFIX}/{}", full.flat()))
}

/// The slot that the layer after `start` claims.
pub(crate) fn slot_path(full: &FullPath, start: Timestamp) -> Path {
    Path::from(format!("{}/slot-{:020}", chain_prefix(full), start.nanos()))
}

/// The marker of a full: newest first in byte order.
pub(crate) fn latest_path(full: &FullPath, end: Timestamp) -> Path {
    Path::from(format!(
        "{LATEST_PREFIX}/{:016x}-{}",
        !end.nanos(),
        full.flat()
    ))
}

/// Reads a full's marker's name.
pub(crate) fn parse_latest(name: &str) -> Option<LatestMarker> {
    let (complement, flat) = name.split_once('-')?;
    let marker = LatestMarker {
        full: FullPath::from_flat(flat)?,
        end: Timestamp::from_nanos(!u64::from_str_radix(complement, 16).ok()?),
    };
    // Only the one spelling that is written.
    (latest_path(&marker.full, marker.end).filename() == Some(name)).then_some(marker)
}

/// The marker of a layer.
pub(crate) fn layer_path(entry: &LayerEntry) -> Path {
    Path::from(format!(
        "{}/{}",
        chain_prefix(entry.path.full()),
        layer_name(entry)
    ))
}

fn layer_name(entry: &LayerEntry) -> String {
    let history = entry
        .history_from
        .map_or_else(|| "none".to_owned(), |from| format!("{:020}", from.nanos()));
    let path = entry
        .path
        .incremental()
        .map_or_else(|| "full".to_owned(), IncrementalPath::flat);
    format!(
        "layer-{:020}-{:020}-{history}-{}-{}-{}-{path}",
        entry.start.nanos(),
        entry.end.nanos(),
        entry.stored_bytes,
        entry.entries,
        entry.manifest_hash
    )
}

/// What the name of an object in a chain's directory says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ChainMarker {
    /// A layer continues the chain from here.
    Slot(Timestamp),
    /// A layer.
    Layer(LayerEntry),
}

/// Reads a name in a chain's directory; `None` if it is of a kind this version does not know.
pub(crate) fn parse_chain_marker(full: &FullPath, name: &str) -> Option<ChainMarker> {
    let marker = match name.split_once('-')? {
        ("slot", start) => ChainMarker::Slot(time(start)?),
        ("layer", rest) => ChainMarker::Layer(parse_layer(full, rest)?),
        _ => return None,
    };
    let spelling = match &marker {
        ChainMarker::Slot(start) => format!("slot-{:020}", start.nanos()),
        ChainMarker::Layer(entry) => layer_name(entry),
    };
    (spelling == name).then_some(marker)
}

fn parse_layer(full: &FullPath, rest: &str) -> Option<LayerEntry> {
    let mut fields = rest.splitn(7, '-');
    let (start, end) = (time(fields.next()?)?, time(fields.next()?)?);
    let history_from = match fields.next()? {
        "none" => None,
        from => Some(time(from)?),
    };
    let stored_bytes = fields.next()?.parse().ok()?;
    let entries = fields.next()?.parse().ok()?;
    let manifest_hash = fields.next()?.parse().ok()?;
    let path = match fields.next()? {
        "full" => LayerPath::full_at(full.clone()),
        flat => LayerPath::incremental_at(full.clone(), flat.replace('_', "/").parse().ok()?),
    };
    Some(LayerEntry {
        path,
        start,
        end,
        history_from,
        stored_bytes,
        entries,
        manifest_hash,
    })
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok().map(Timestamp::from_nanos)
}

#[cfg(test)]
mod tests;

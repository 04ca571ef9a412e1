//! The markers under `metadata/`: what is listed, found by listing names alone.
//!
//! | object | written | says |
//! |---|---|---|
//! | `metadata/COLLECTION` | first of all | the collection's id and format version |
//! | `metadata/chain/<full>/slot-<start>` | by the one layer that continues the chain from there | which layer that is |
//! | `metadata/chain/<full>/layer-<start>-<end>-<history>-<bytes>-<entries>-<hash>-<path>` | for each layer | everything a listing shows |
//! | `metadata/chain/<full>/retired-<hash>-<path>` | by retention | that a layer is no longer part of the chain |
//! | `metadata/latest/<complemented end>-<full>` | for each full, last | that it can be chosen; newest first in a listing |
//! | `metadata/latest/expired-<complemented end>-<full>` | by retention | that it can no longer be chosen |
//! | `metadata/pool/unused-<file>` | by retention | that a file of the pool must not be used again |
//!
//! Here are their names and contents, both ways, without I/O. The contents ([`content`]) repeat what the
//! names say; `docs/format/collection.md` describes them.

pub(crate) mod content;

use icecore_mvcc::Timestamp;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::hash::ContentHash;
use crate::ids::{CollectionId, FileId, RunId};
use crate::locality::Locality;
use crate::path::{FullPath, IncrementalPath, LayerPath};

/// The most bytes that are read of a marker.
pub(crate) const MAX_MARKER_BYTES: u64 = 64 << 10;

/// Where the collection marker lies.
pub(crate) const COLLECTION_PATH: &str = "metadata/COLLECTION";

/// Where chains lie.
pub(crate) const CHAIN_PREFIX: &str = "metadata/chain";

/// Where the markers of fulls lie.
pub(crate) const LATEST_PREFIX: &str = "metadata/latest";

/// Where marks of the pool's files lie.
pub(crate) const POOL_PREFIX: &str = "metadata/pool";

/// How the name of a mark of a file of the pool begins.
const UNUSED: &str = "unused-";

/// How the name of an expired chain's mark begins. No marker of a full does: these begin in hex.
const EXPIRED: &str = "expired-";

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

impl LayerEntry {
    /// The entry of a layer with this manifest.
    pub(crate) fn of(manifest: &crate::manifest::Manifest, manifest_hash: ContentHash) -> Self {
        Self {
            path: manifest.layer.clone(),
            start: manifest.start,
            end: manifest.end,
            history_from: manifest.history_from(),
            stored_bytes: manifest.stored_bytes(),
            entries: manifest.entries(),
            manifest_hash,
        }
    }
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

    pub(crate) fn read(bytes: &[u8], location: &str) -> Result<Self> {
        read_versioned(bytes, COLLECTION_PATH, location)
    }
}

/// Reads a marker that says its format version, which is read first: the rest may look different in another.
pub(crate) fn read_versioned<T: DeserializeOwned>(
    bytes: &[u8],
    path: &str,
    location: &str,
) -> Result<T> {
    #[derive(Deserialize)]
    struct Version {
        format_version: u64,
    }
    let damaged = |reason: String| Error::DamagedMarker {
        path: path.to_owned(),
        location: location.to_owned(),
        reason,
    };
    let Version {
        format_version: found,
    } = content::decode(bytes).map_err(damaged)?;
    if found > COLLECTION_FORMAT_VERSION {
        return Err(Error::NewerFormat {
            path: path.to_owned(),
            found,
            supported: COLLECTION_FORMAT_VERSION,
        });
    }
    if found == 0 {
        return Err(damaged("format version 0 does not exist".to_owned()));
    }
    content::decode(bytes).map_err(damaged)
}

/// The content of a full's marker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatestMarker {
    pub(crate) full: FullPath,
    pub(crate) end: Timestamp,
}

/// Which run of retention put a mark, and when by its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Removal {
    pub(crate) run: RunId,
    pub(crate) at: Timestamp,
}

/// The content of a slot that no layer can take: its chain goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ClosedSlot {
    pub(crate) closed: Removal,
}

/// The content of an expired chain's mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExpiredMark {
    pub(crate) full: FullPath,
    pub(crate) end: Timestamp,
    pub(crate) expired: Removal,
}

/// The content of a retired layer's mark.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetiredMark {
    pub(crate) layer: LayerPath,
    pub(crate) retired: Removal,
}

/// The content of the mark of a file of the pool that nothing names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnusedMark {
    pub(crate) file: FileId,
    /// The locality in whose place it lies; `None` for the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) locality: Option<Locality>,
    pub(crate) unused: Removal,
}

/// What lies in place of a manifest whose run is dead and cleaned away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tombstone {
    pub(crate) removed: Removal,
}

impl Tombstone {
    /// Whether an object is one.
    pub(crate) fn is(object: &[u8]) -> bool {
        content::decode::<Self>(object).is_ok()
    }
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

/// The mark that a chain is expired.
pub(crate) fn expired_path(full: &FullPath, end: Timestamp) -> Path {
    Path::from(format!(
        "{LATEST_PREFIX}/{EXPIRED}{:016x}-{}",
        !end.nanos(),
        full.flat()
    ))
}

/// The mark that a file of the pool must not be used again.
pub(crate) fn unused_path(file: FileId) -> Path {
    Path::from(format!("{POOL_PREFIX}/{UNUSED}{file}"))
}

/// Reads the path of such a mark; `None` if it is none.
pub(crate) fn parse_unused(path: &Path) -> Option<FileId> {
    let file = path.filename()?.strip_prefix(UNUSED)?.parse().ok()?;
    (unused_path(file) == *path).then_some(file)
}

/// The mark that an incremental with this manifest is retired.
pub(crate) fn retired_path(full: &FullPath, hash: ContentHash, path: &IncrementalPath) -> Path {
    Path::from(format!(
        "{}/{}",
        chain_prefix(full),
        retired_name(hash, path)
    ))
}

fn retired_name(hash: ContentHash, path: &IncrementalPath) -> String {
    format!("retired-{hash}-{}", path.flat())
}

/// What the name of an object beside the markers of fulls says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LatestName {
    /// A full can be chosen.
    Full(LatestMarker),
    /// It cannot be chosen any more.
    Expired(LatestMarker),
}

/// Reads a name beside the markers of fulls; `None` if it is of a kind this version does not know.
pub(crate) fn parse_latest_name(name: &str) -> Option<LatestName> {
    match name.strip_prefix(EXPIRED) {
        Some(rest) => parse_latest(rest).map(LatestName::Expired),
        None => parse_latest(name).map(LatestName::Full),
    }
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
    /// The incremental with this manifest is no longer part of the chain.
    Retired(ContentHash, IncrementalPath),
}

/// Reads a name in a chain's directory; `None` if it is of a kind this version does not know.
pub(crate) fn parse_chain_marker(full: &FullPath, name: &str) -> Option<ChainMarker> {
    let marker = match name.split_once('-')? {
        ("slot", start) => ChainMarker::Slot(time(start)?),
        ("layer", rest) => ChainMarker::Layer(parse_layer(full, rest)?),
        ("retired", rest) => {
            let (hash, flat) = rest.split_once('-')?;
            ChainMarker::Retired(hash.parse().ok()?, flat.replace('_', "/").parse().ok()?)
        }
        _ => return None,
    };
    let spelling = match &marker {
        ChainMarker::Slot(start) => format!("slot-{:020}", start.nanos()),
        ChainMarker::Layer(entry) => layer_name(entry),
        ChainMarker::Retired(hash, path) => retired_name(*hash, path),
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

//! Manifests of a chain, made of a fuzzer's bytes: valid each, with windows that join.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use icecore_archive::{
    ChainId, CollectionId, ContentHash, FileEntry, FileId, FullPath, IncrementalPath, LayerKind,
    LayerPath, Manifest, ManifestKeyspace,
};
use icecore_mvcc::{Descriptor, EngineId, KeyRange, KeyspaceId, KeyspaceSettings, Timestamp};

use crate::failure::{Failure, Result};

const LAYERS_MAX: usize = 5;

/// The most files of a keyspace in a layer.
const FILES_MAX: usize = 8;

/// The most nanoseconds that a layer covers.
const WINDOW_MAX: u64 = 10;

const NAMES: [&str; 5] = [
    "audit",
    "bank.customers",
    "bank.eu.orders",
    "log",
    "no name",
];

/// The layers of a chain.
#[derive(Debug, Arbitrary)]
pub(super) struct Chain {
    layers: Vec<Layer>,
}

#[derive(Debug, Arbitrary)]
struct Layer {
    window: u8,
    keyspaces: Vec<Keyspace>,
}

#[derive(Debug, Arbitrary)]
struct Keyspace {
    id: u8,
    introduced: bool,
    excluded: bool,
    created: u8,
    dropped: Option<u8>,
    revision_start: Option<u8>,
    files: Vec<File>,
}

#[derive(Debug, Arbitrary)]
struct File {
    oldest: u8,
    newest: u8,
    stored_bytes: u64,
}

/// The name of a keyspace.
pub(super) fn name(number: u8) -> &'static str {
    let at = usize::from(number) % NAMES.len();
    NAMES.get(at).copied().unwrap_or_default()
}

impl Chain {
    /// Their manifests, oldest first.
    pub(super) fn manifests(&self) -> Result<Vec<Manifest>> {
        let mut manifests: Vec<Manifest> = Vec::new();
        for layer in self.layers.iter().take(LAYERS_MAX) {
            let start = manifests.last().map_or(0, |last| last.end.nanos());
            let manifest = layer.manifest(start)?;
            manifest.validate().map_err(Failure::Mismatch)?;
            manifests.push(manifest);
        }
        Ok(manifests)
    }
}

impl Layer {
    fn manifest(&self, start: u64) -> Result<Manifest> {
        let end = start + 1 + u64::from(self.window) % WINDOW_MAX;
        let full: FullPath = "full".parse()?;
        let (kind, layer) = if start == 0 {
            (LayerKind::Full, LayerPath::full_at(full))
        } else {
            // Names have hundredths of seconds; these must differ by nanoseconds.
            let path = IncrementalPath::at(Timestamp::from_nanos(end * 1_000_000_000));
            (
                LayerKind::Incremental,
                LayerPath::incremental_at(full, path),
            )
        };
        let mut ids = BTreeSet::new();
        let once = self
            .keyspaces
            .iter()
            .filter(|keyspace| ids.insert(name(keyspace.id)));
        Ok(Manifest {
            collection_id: CollectionId::from_bytes([1; 16]),
            chain_id: ChainId::from_bytes([2; 16]),
            engine_id: EngineId::from_bytes([3; 16]),
            engine_version: String::new(),
            tool_version: String::new(),
            kind,
            layer,
            parent_manifest: (start > 0).then(|| ContentHash::of(b"parent")),
            merges: Vec::new(),
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(end),
            created_at: Timestamp::from_nanos(end),
            revision_history: false,
            whole_engine: true,
            patterns: Vec::new(),
            keyspaces: once.map(|keyspace| keyspace.manifest(start, end)).collect(),
            system: BTreeMap::new(),
        })
    }
}

impl Keyspace {
    fn manifest(&self, start: u64, end: u64) -> ManifestKeyspace {
        let name = name(self.id);
        let id = NAMES
            .iter()
            .position(|known| *known == name)
            .unwrap_or_default();
        let within = |at: u8| Timestamp::from_nanos(u64::from(at) % (end + 1));
        let descriptor = Descriptor {
            id: KeyspaceId::new(u32::try_from(id).unwrap_or_default()),
            name: name.to_owned(),
            settings: KeyspaceSettings {
                exclude_from_backup: self.excluded,
                ..KeyspaceSettings::default()
            },
            created: within(self.created),
            dropped: self.dropped.map(|at| Timestamp::from_nanos(u64::from(at))),
            introduced: within(self.created),
            index_since: Timestamp::MIN,
        };
        let from_zero = self.introduced || start == 0;
        let oldest = if from_zero { 0 } else { start + 1 };
        let files = self.files.iter().take(FILES_MAX).zip(0_u8..);
        ManifestKeyspace {
            introduced: self.introduced,
            gc_gap: None,
            revision_start: self.revision_start.map(within),
            files: files
                .map(|(file, number)| file.entry(&descriptor, number, oldest, end))
                .collect(),
            descriptor,
            fingerprint: None,
        }
    }
}

impl File {
    fn entry(&self, keyspace: &Descriptor, number: u8, oldest: u64, end: u64) -> FileEntry {
        let min = oldest + u64::from(self.oldest) % (end - oldest + 1);
        let max = min + u64::from(self.newest) % (end - min + 1);
        let mut id = [number; 16];
        id.first_chunk_mut()
            .into_iter()
            .for_each(|first| *first = keyspace.id.get().to_be_bytes());
        FileEntry {
            id: FileId::from_bytes(id),
            span: KeyRange::all(),
            min_ts: Timestamp::from_nanos(min),
            max_ts: Timestamp::from_nanos(max),
            entries: 1,
            tombstones: 0,
            logical_bytes: 1,
            stored_bytes: self.stored_bytes,
            crc32: 0,
            blake3: ContentHash::of(&[number]),
            copied: None,
            locality: None,
        }
    }
}

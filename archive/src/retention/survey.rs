//! One listing of a whole collection, sorted into what belongs together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use icecore_mvcc::Timestamp;
use object_store::ObjectMeta;
use object_store::path::Path;

use crate::collection::{Chain, Collection, LOCALITY_PATH};
use crate::error::Result;
use crate::hash::ContentHash;
use crate::ids::FileId;
use crate::layer::{LOCK_NAME, MANIFEST_NAME};
use crate::locality::Locality;
use crate::manifest::FileEntry;
use crate::marker::{
    CHAIN_PREFIX, COLLECTION_PATH, ChainMarker, LATEST_PREFIX, LatestName, parse_chain_marker,
    parse_latest_name, parse_unused,
};
use crate::path::{FullPath, IncrementalPath, LayerPath};
use crate::pool::Place;

/// What an object in a layer's directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ObjectKind {
    /// The claim of the directory, which keeps its name from being used again.
    Lock,
    /// The claim of another writer, on a path of choice.
    OtherLock,
    /// The manifest, or a tombstone in its place.
    Manifest,
    /// A part of a long file list.
    SideFile,
    /// A checkpoint of a job.
    Checkpoint,
    /// A data file.
    Data(FileId),
}

/// An object as the store lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// The locality whose place it lies in; `None` for the default.
    pub locality: Option<Locality>,
    /// Where it lies in that place.
    pub path: String,
    /// What it is.
    pub kind: ObjectKind,
    /// Its length.
    pub bytes: u64,
    /// When the store says it was written.
    pub modified: Timestamp,
}

/// What lies in a layer's directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory {
    /// The objects that are known by their names, by path.
    pub objects: Vec<StoredObject>,
}

impl Directory {
    /// When the last of its objects was written.
    #[must_use]
    pub fn newest(&self) -> Timestamp {
        let modified = self.objects.iter().map(|object| object.modified);
        modified.max().unwrap_or(Timestamp::MIN)
    }

    /// When the first of its writers claimed it, if that can be told, and else when anything was written.
    #[must_use]
    pub fn claimed(&self) -> Timestamp {
        let is_lock = |kind| matches!(kind, ObjectKind::Lock | ObjectKind::OtherLock);
        let locks = self.objects.iter().filter(|object| is_lock(object.kind));
        let first = locks.map(|object| object.modified).min();
        let all = self.objects.iter().map(|object| object.modified);
        first.or_else(|| all.min()).unwrap_or(Timestamp::MIN)
    }

    /// Whether a manifest is there, or a tombstone in its place.
    #[must_use]
    pub fn manifest(&self) -> Option<&StoredObject> {
        let mut objects = self.objects.iter();
        objects.find(|object| object.kind == ObjectKind::Manifest)
    }

    /// The data files.
    #[must_use]
    pub fn data(&self) -> BTreeMap<FileId, &StoredObject> {
        let objects = self.objects.iter();
        let data = objects.filter_map(|object| match object.kind {
            ObjectKind::Data(id) => Some((id, object)),
            _ => None,
        });
        data.collect()
    }
}

/// A collection as one listing shows it.
#[derive(Debug, Clone)]
pub struct Survey {
    /// When it was made, by the clock of the collection's options.
    pub now: Timestamp,
    /// Every chain that has a full, newest first; expired ones are among them.
    pub chains: Vec<Chain>,
    /// The chains that are marked expired, with the ends of their fulls and when they were marked.
    pub expired: BTreeMap<FullPath, (Timestamp, Timestamp)>,
    /// The layers that are marked retired, with their manifests' hashes, and when they were marked.
    pub retired: BTreeMap<LayerPath, (ContentHash, Timestamp)>,
    /// The directories of layers.
    pub directories: BTreeMap<LayerPath, Directory>,
    /// The files in the pools of all places, named by a manifest or not.
    pub pool: BTreeMap<FileId, StoredObject>,
    /// Those that are marked unused, and when they were; some may lie in places that were not given.
    pub unused: BTreeMap<FileId, Timestamp>,
    /// The markers of each chain.
    pub(super) markers: BTreeMap<FullPath, Vec<Path>>,
    /// The markers of fulls that `LATEST` is found by.
    pub(super) latest: BTreeMap<FullPath, Vec<Path>>,
}

impl Survey {
    /// Whether something of that date is at least as old as the grace.
    #[must_use]
    pub fn is_due(&self, since: Timestamp, grace: Duration) -> bool {
        let age = self.now.nanos().saturating_sub(since.nanos());
        u128::from(age) >= grace.as_nanos()
    }

    /// The length of a layer's data file, where it lies; `None` if it is not there.
    #[must_use]
    pub fn stored_bytes(&self, layer: &LayerPath, file: &FileEntry) -> Option<u64> {
        let object = match Place::of(layer, file) {
            Place::Layer(layer) => {
                let mut objects = self.directories.get(layer)?.objects.iter();
                objects.find(|object| object.kind == ObjectKind::Data(file.id))?
            }
            Place::Pool => self.pool.get(&file.id)?,
        };
        (object.locality == file.locality).then_some(object.bytes)
    }

    /// Whether the chain is marked expired.
    #[must_use]
    pub fn is_expired(&self, full: &FullPath) -> bool {
        self.expired.contains_key(full)
    }
}

impl Collection {
    /// Lists the whole collection once, in every place that it was opened with. Slots whose layers have no
    /// markers are read.
    ///
    /// What lies below another collection's root inside this one is left out, and below that of another
    /// place; of the places of localities, everything but data files.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn survey(&self) -> Result<Survey> {
        let now = self.options().clock.now();
        let listed = self.store().list(&Path::default()).await?;
        let foreign = foreign_roots(&listed);
        let mut by_chain: BTreeMap<FullPath, Vec<ObjectMeta>> = BTreeMap::new();
        let mut survey = Survey {
            now,
            chains: Vec::new(),
            expired: BTreeMap::new(),
            retired: BTreeMap::new(),
            directories: BTreeMap::new(),
            pool: BTreeMap::new(),
            unused: BTreeMap::new(),
            markers: BTreeMap::new(),
            latest: BTreeMap::new(),
        };
        let mut found = Vec::new();
        for object in listed {
            let path = object.location.as_ref();
            if foreign.iter().any(|root| path.starts_with(root.as_str())) {
                continue;
            }
            if let Some(id) = Place::Pool.id_of(&object.location) {
                let object = stored(&object, ObjectKind::Data(id), None);
                survey.pool.insert(id, object);
            } else if let Some(id) = parse_unused(&object.location) {
                survey.unused.insert(id, modified(&object));
            } else if let Some(full) = chain_of(path) {
                by_chain.entry(full).or_default().push(object);
            } else if let Some(name) = in_folder(path, LATEST_PREFIX) {
                survey.take_latest(name, &object);
            } else if let Some((folder, kind)) = split(path) {
                found.push((folder.to_owned(), stored(&object, kind, None)));
            }
        }
        for (locality, store) in self.localities() {
            let listed = store.list(&Path::default()).await?;
            let foreign = foreign_roots(&listed);
            for object in listed {
                let path = object.location.as_ref();
                if foreign.iter().any(|root| path.starts_with(root.as_str())) {
                    continue;
                }
                let stored = |kind| stored(&object, kind, Some(locality));
                if let Some(id) = Place::Pool.id_of(&object.location) {
                    survey.pool.insert(id, stored(ObjectKind::Data(id)));
                } else if let Some((folder, kind @ ObjectKind::Data(_))) = split(path) {
                    found.push((folder.to_owned(), stored(kind)));
                }
            }
        }
        for (full, objects) in by_chain {
            survey.take_markers(&full, &objects);
            survey
                .chains
                .extend(self.read_chain(&full, &objects).await?);
        }
        survey.chains.sort_by(|a, b| b.newer(a));
        survey.take_directories(found);
        Ok(survey)
    }
}

impl Survey {
    fn take_latest(&mut self, name: &str, object: &ObjectMeta) {
        match parse_latest_name(name) {
            Some(LatestName::Full(marker)) => {
                let paths = self.latest.entry(marker.full).or_default();
                paths.push(object.location.clone());
            }
            Some(LatestName::Expired(marker)) => {
                let marked = modified(object);
                self.expired.insert(marker.full, (marker.end, marked));
            }
            None => {}
        }
    }

    fn take_markers(&mut self, full: &FullPath, objects: &[ObjectMeta]) {
        for object in objects {
            let name = object.location.filename();
            if let Some(ChainMarker::Retired(hash, path)) =
                name.and_then(|name| parse_chain_marker(full, name))
            {
                let layer = LayerPath::incremental_at(full.clone(), path);
                self.retired.insert(layer, (hash, modified(object)));
            }
        }
        let paths = objects.iter().map(|object| object.location.clone());
        self.markers.insert(full.clone(), paths.collect());
    }

    /// Sorts objects into the directories of layers. A folder that could be both, an incremental's or a
    /// full's of choice, is an incremental's if what would be its full is there.
    fn take_directories(&mut self, found: Vec<(String, StoredObject)>) {
        let listed = self.chains.iter().map(|chain| chain.full().as_str());
        let expired = self.expired.keys().map(FullPath::as_str);
        let fulls: BTreeSet<String> = listed.chain(expired).map(str::to_owned).collect();
        let folders: BTreeSet<String> = found.iter().map(|(folder, _)| folder.clone()).collect();
        for (folder, object) in found {
            let inside = incremental(&folder).filter(|layer| {
                let full = layer.full().as_str();
                !fulls.contains(&folder) && (fulls.contains(full) || folders.contains(full))
            });
            let layer = inside.or_else(|| folder.parse().ok().map(LayerPath::full_at));
            if let Some(layer) = layer.or_else(|| incremental(&folder)) {
                self.directories
                    .entry(layer)
                    .or_default()
                    .objects
                    .push(object);
            }
        }
    }
}

/// Where other collections, and places of localities, lie inside this place, each with a slash at its end.
pub(crate) fn foreign_roots(listed: &[ObjectMeta]) -> Vec<String> {
    let inner = [COLLECTION_PATH, LOCALITY_PATH].map(|path| format!("/{path}"));
    let root = |object: &ObjectMeta| {
        let path = object.location.as_ref();
        let mut roots = inner.iter().filter_map(|inner| path.strip_suffix(inner));
        roots.next().map(|root| format!("{root}/"))
    };
    listed.iter().filter_map(root).collect()
}

/// The chain whose marker it is.
fn chain_of(path: &str) -> Option<FullPath> {
    let rest = path.strip_prefix(CHAIN_PREFIX)?.strip_prefix('/')?;
    FullPath::from_flat(rest.split_once('/')?.0)
}

/// The name of an object right in a folder.
fn in_folder<'a>(path: &'a str, folder: &str) -> Option<&'a str> {
    path.strip_prefix(folder)?.strip_prefix('/')
}

/// The layer's folder that an object lies in, and what it is; `None` if its name is none of ours.
pub(crate) fn split(path: &str) -> Option<(&str, ObjectKind)> {
    let (folder, name) = path.rsplit_once('/')?;
    if folder == "metadata" || folder.starts_with("metadata/") {
        return None;
    }
    if let Some(folder) = folder.strip_suffix("/data") {
        let id = name.strip_suffix(".sst")?.parse().ok()?;
        return Some((folder, ObjectKind::Data(id)));
    }
    let kind = if name == LOCK_NAME {
        ObjectKind::Lock
    } else if name == MANIFEST_NAME {
        ObjectKind::Manifest
    } else if name.starts_with("BACKUP-LOCK-") {
        ObjectKind::OtherLock
    } else if name.starts_with("BACKUP_FILES-") {
        ObjectKind::SideFile
    } else if name.starts_with("BACKUP-CHECKPOINT-") {
        ObjectKind::Checkpoint
    } else {
        return None;
    };
    Some((folder, kind))
}

/// The incremental whose folder it could be.
fn incremental(folder: &str) -> Option<LayerPath> {
    let (rest, time) = folder.rsplit_once('/')?;
    let (full, day) = rest.rsplit_once('/')?;
    let path: IncrementalPath = format!("{day}/{time}").parse().ok()?;
    Some(LayerPath::incremental_at(full.parse().ok()?, path))
}

fn stored(object: &ObjectMeta, kind: ObjectKind, locality: Option<&Locality>) -> StoredObject {
    StoredObject {
        locality: locality.cloned(),
        path: object.location.to_string(),
        kind,
        bytes: object.size,
        modified: modified(object),
    }
}

/// When the store says that an object was written.
fn modified(object: &ObjectMeta) -> Timestamp {
    let nanos = object.last_modified.timestamp_nanos_opt();
    Timestamp::from_nanos(
        nanos
            .and_then(|nanos| u64::try_from(nanos).ok())
            .unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_known_by_their_names() {
        let id = FileId::random();
        for (path, expected) in [
            ("a/BACKUP-LOCK".to_owned(), Some(("a", ObjectKind::Lock))),
            (
                "a/b/BACKUP-LOCK-00".to_owned(),
                Some(("a/b", ObjectKind::OtherLock)),
            ),
            (
                "a/BACKUP_MANIFEST".to_owned(),
                Some(("a", ObjectKind::Manifest)),
            ),
            (
                "a/BACKUP_FILES-0-x".to_owned(),
                Some(("a", ObjectKind::SideFile)),
            ),
            (
                "a/BACKUP-CHECKPOINT-x-1".to_owned(),
                Some(("a", ObjectKind::Checkpoint)),
            ),
            (
                format!("a/data/{id}.sst"),
                Some(("a", ObjectKind::Data(id))),
            ),
            ("a/data/readme.txt".to_owned(), None),
            ("a/readme.txt".to_owned(), None),
            ("BACKUP-LOCK".to_owned(), None),
            ("metadata/COLLECTION".to_owned(), None),
            ("metadata/keys/BACKUP-LOCK".to_owned(), None),
        ] {
            assert_eq!(split(&path), expected, "{path}");
        }
    }

    #[test]
    fn an_incremental_lies_in_its_full() {
        let layer = incremental("2022/02/09-155340.13/20220210/155530.50").unwrap();
        assert_eq!(layer.full().as_str(), "2022/02/09-155340.13");
        assert!(incremental("2022/02/09-155340.13").is_none());
        assert!(incremental("20220210/155530.50").is_none());
    }
}

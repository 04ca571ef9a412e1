//! Deletes, in an order that leaves nothing listed that does not restore, wherever they break off.

use std::collections::BTreeMap;

use icecore_archive::{Collection, LayerPath, Locality, ObjectKind, StoredObject, Survey};

use super::report::RefusedDelete;

/// Counts what is deleted, or would be.
pub(super) struct Deleter<'a> {
    collection: &'a Collection,
    dry_run: bool,
    /// Lengths by place and path; a marker that is not there counts as empty.
    bytes: BTreeMap<(Option<&'a Locality>, &'a str), u64>,
    pub(super) objects: u64,
    pub(super) deleted_bytes: u64,
    pub(super) refused: Vec<RefusedDelete>,
}

impl<'a> Deleter<'a> {
    pub(super) fn new(collection: &'a Collection, survey: &'a Survey, dry_run: bool) -> Self {
        let directories = survey.directories.values();
        let objects = directories.flat_map(|directory| &directory.objects);
        let objects = objects.chain(survey.pool.values());
        Self {
            collection,
            dry_run,
            bytes: objects
                .map(|o| ((o.locality.as_ref(), o.path.as_str()), o.bytes))
                .collect(),
            objects: 0,
            deleted_bytes: 0,
            refused: Vec::new(),
        }
    }

    /// Deletes objects of the default place, or says it would; whether all of them are gone.
    pub(super) async fn delete(&mut self, paths: Vec<String>) -> bool {
        self.delete_at(None, paths).await
    }

    async fn delete_at(&mut self, locality: Option<&Locality>, paths: Vec<String>) -> bool {
        let all: Vec<(u64, u64)> = paths.iter().map(|p| self.size(locality, p)).collect();
        let refused = match self.dry_run {
            true => Vec::new(),
            false => self.collection.remove(locality, paths).await,
        };
        let kept = refused
            .iter()
            .map(|refused| self.size(locality, &refused.path));
        let kept = kept.fold((0, 0), add);
        let all = all.into_iter().fold((0, 0), add);
        self.objects += all.0.saturating_sub(kept.0);
        self.deleted_bytes += all.1.saturating_sub(kept.1);
        let is_done = refused.is_empty();
        self.refused.extend(refused.into_iter().map(|refused| {
            tracing::warn!(path = refused.path, error = %refused.error, "could not be deleted");
            RefusedDelete {
                path: refused.path,
                reason: refused.error.to_string(),
            }
        }));
        is_done
    }

    /// One object, and its bytes.
    fn size(&self, locality: Option<&Locality>, path: &str) -> (u64, u64) {
        (1, self.bytes.get(&(locality, path)).copied().unwrap_or(0))
    }

    /// Deletes what lies in directories: all manifests, then the rest that `goes`.
    pub(super) async fn directories<'d>(
        &mut self,
        directories: impl Iterator<Item = (&'d LayerPath, &'d [StoredObject])>,
        goes: impl Fn(&LayerPath, ObjectKind) -> bool,
    ) -> bool {
        let mut manifests = Vec::new();
        // By place; the default comes first.
        let mut rest: BTreeMap<Option<&Locality>, Vec<String>> = BTreeMap::new();
        for (layer, objects) in directories {
            for object in objects.iter().filter(|object| goes(layer, object.kind)) {
                match object.kind {
                    ObjectKind::Manifest => manifests.push(object.path.clone()),
                    _ => {
                        let paths = rest.entry(object.locality.as_ref()).or_default();
                        paths.push(object.path.clone());
                    }
                }
            }
        }
        let is_done = self.delete(manifests).await;
        self.delete_by_place(rest).await && is_done
    }

    /// Deletes files of the pools.
    pub(super) async fn pooled(&mut self, objects: &[StoredObject]) {
        let mut going: BTreeMap<Option<&Locality>, Vec<String>> = BTreeMap::new();
        for object in objects {
            let paths = going.entry(object.locality.as_ref()).or_default();
            paths.push(object.path.clone());
        }
        self.delete_by_place(going).await;
    }

    async fn delete_by_place(&mut self, going: BTreeMap<Option<&Locality>, Vec<String>>) -> bool {
        let mut is_done = true;
        for (locality, paths) in going {
            is_done &= self.delete_at(locality, paths).await;
        }
        is_done
    }
}

const fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

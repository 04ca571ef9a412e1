//! Deletes, in an order that leaves nothing listed that does not restore, wherever they break off.

use std::collections::BTreeMap;

use icecore_archive::{Collection, LayerPath, ObjectKind, StoredObject, Survey};

use super::report::RefusedDelete;

/// Counts what is deleted, or would be.
pub(super) struct Deleter<'a> {
    collection: &'a Collection,
    dry_run: bool,
    /// Lengths by path; a marker that is not there counts as empty.
    bytes: BTreeMap<&'a str, u64>,
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
            bytes: objects.map(|o| (o.path.as_str(), o.bytes)).collect(),
            objects: 0,
            deleted_bytes: 0,
            refused: Vec::new(),
        }
    }

    /// Deletes objects, or says it would; whether all of them are gone.
    pub(super) async fn delete(&mut self, paths: Vec<String>) -> bool {
        let all: Vec<(u64, u64)> = paths.iter().map(|path| self.size(path)).collect();
        let refused = match self.dry_run {
            true => Vec::new(),
            false => self.collection.remove(paths).await,
        };
        let kept = refused.iter().map(|refused| self.size(&refused.path));
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
    fn size(&self, path: &str) -> (u64, u64) {
        (1, self.bytes.get(path).copied().unwrap_or(0))
    }

    /// Deletes what lies in directories: all manifests, then the rest that `goes`.
    pub(super) async fn directories<'d>(
        &mut self,
        directories: impl Iterator<Item = (&'d LayerPath, &'d [StoredObject])>,
        goes: impl Fn(&LayerPath, ObjectKind) -> bool,
    ) -> bool {
        let going = directories.flat_map(|(layer, objects)| {
            let objects = objects.iter().filter(|object| goes(layer, object.kind));
            objects.map(|object| (object.kind == ObjectKind::Manifest, object.path.clone()))
        });
        let (manifests, rest): (Vec<_>, Vec<_>) = going
            .collect::<Vec<_>>()
            .into_iter()
            .partition(|(first, _)| *first);
        let paths = |all: Vec<(bool, String)>| all.into_iter().map(|(_, path)| path).collect();
        let manifests = self.delete(paths(manifests)).await;
        self.delete(paths(rest)).await && manifests
    }
}

const fn add(a: (u64, u64), b: (u64, u64)) -> (u64, u64) {
    (a.0 + b.0, a.1 + b.1)
}

//! Deleting, many objects at a time, whatever becomes of each.

use std::collections::BTreeSet;

use futures::StreamExt;
use futures::stream;
use object_store::ObjectStoreExt;
use object_store::path::Path;

use super::Survey;
use crate::collection::Collection;
use crate::error::Error;
use crate::hash::ContentHash;
use crate::locality::Locality;
use crate::marker;
use crate::path::{FullPath, LayerPath};

/// Single deletes under way at once.
const DELETES_UNDER_WAY: usize = 8;

/// An object that the store did not delete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Where it lies in the collection.
    pub path: String,
    /// Why not.
    pub error: Error,
}

impl Collection {
    /// Deletes objects of the default place, or of a locality's, by their paths: in batches where the store
    /// takes them, then one by one what is left. One that is gone already counts as deleted. Returns those
    /// that the store would not delete; all of them if the place was not given.
    pub async fn remove(&self, locality: Option<&Locality>, paths: Vec<String>) -> Vec<Refused> {
        let all: Vec<Path> = paths.into_iter().map(Path::from).collect();
        if all.is_empty() {
            return Vec::new();
        }
        let Some(store) = self.store_at(locality) else {
            let served = locality.map_or("the default", Locality::as_str);
            let error = Error::InvalidPlaces {
                reason: format!("none of them serves {served}"),
            };
            let refused = all.into_iter().map(|path| Refused {
                path: path.to_string(),
                error: error.clone(),
            });
            return refused.collect();
        };
        let batch = stream::iter(all.clone()).map(Ok).boxed();
        let mut outcomes = store.objects().delete_stream(batch);
        let mut deleted = BTreeSet::new();
        while let Some(outcome) = outcomes.next().await {
            // Which one failed, the stream need not say.
            deleted.extend(outcome.ok());
        }
        let left = all.into_iter().filter(|path| !deleted.contains(path));
        let singles = stream::iter(left).map(|path| async move {
            match store.objects().delete(&path).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => Some(Refused {
                    path: path.to_string(),
                    error: store.error("delete", &path, &error),
                }),
            }
        });
        let refused = singles.buffered(DELETES_UNDER_WAY);
        refused
            .filter_map(|refused| async { refused })
            .collect()
            .await
    }

    /// The path of the marker of a layer.
    #[must_use]
    pub fn layer_marker(&self, layer: &crate::marker::LayerEntry) -> String {
        marker::layer_path(layer).to_string()
    }

    /// The path of the mark that a layer is retired; none for a full.
    #[must_use]
    pub fn retired_mark(&self, layer: &LayerPath, hash: ContentHash) -> Option<String> {
        let incremental = layer.incremental()?;
        Some(marker::retired_path(layer.full(), hash, incremental).to_string())
    }
}

impl Survey {
    /// The markers of a chain, those that `LATEST` is found by too, but for marks that it is expired.
    #[must_use]
    pub fn markers_of(&self, full: &FullPath) -> Vec<String> {
        let markers = self.markers.get(full).into_iter().flatten();
        let latest = self.latest.get(full).into_iter().flatten();
        markers.chain(latest).map(Path::to_string).collect()
    }

    /// The directories of a full and its incrementals.
    pub fn directories_of<'a>(
        &'a self,
        full: &'a FullPath,
    ) -> impl Iterator<Item = (&'a LayerPath, &'a super::Directory)> {
        let all = self.directories.iter();
        all.filter(move |(layer, _)| layer.full() == full)
    }
}

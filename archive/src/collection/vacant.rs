//! Whether a new collection may be made in a place.
//!
//! Where files of a backup lie and no marker says whose they are, a new collection would take them for junk of
//! its own dead runs, and retention would remove them. So it is as when a collection lost its marker, and
//! when the place lies inside another collection, below the directory of one of its fulls.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use crate::error::{Error, Result};
use crate::layer::{LOCK_NAME, MANIFEST_NAME};
use crate::marker::{CHAIN_PREFIX, LATEST_PREFIX};
use crate::pool::Place;
use crate::retention::{foreign_roots, split};
use crate::store::Store;

/// How many objects are looked at, the first by name: one page of a listing.
const LOOKED_AT: usize = 1000;

/// Makes sure that no files of a backup lie there, as far as the first thousand objects tell.
pub(super) async fn check(store: &Store) -> Result<()> {
    let listing = store.objects().list(None).take(LOOKED_AT);
    let listed = listing.try_collect::<Vec<_>>().await;
    let listed = listed.map_err(|error| store.error("list", &Path::default(), &error))?;
    // A collection further down is one of its own.
    let inner = foreign_roots(&listed);
    let is_inner = |path: &str| inner.iter().any(|root| path.starts_with(root.as_str()));
    let mut objects = listed.iter().map(|object| &object.location);
    match objects.find(|path| !is_inner(path.as_ref()) && is_of_backup(path)) {
        Some(path) => Err(Error::NotVacant {
            path: path.to_string(),
            location: store.location().to_owned(),
        }),
        None => Ok(()),
    }
}

/// Whether an object of that name is part of a backup.
fn is_of_backup(path: &Path) -> bool {
    let text = path.as_ref();
    let below = |folder: &str| {
        text.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    text == MANIFEST_NAME
        || text == LOCK_NAME
        || below(CHAIN_PREFIX)
        || below(LATEST_PREFIX)
        || Place::Pool.id_of(path).is_some()
        || split(text).is_some()
}

//! The collection that a command works on: one URI, or several of one collection.

use icecore_archive::{Collection, CollectionPlaces, CollectionUri};

use crate::error::Result;
use crate::keys::KeyArguments;

/// The places that the URIs are.
///
/// # Errors
/// URIs that make no collection together: the command line is wrong then.
pub(crate) fn places(uris: &[CollectionUri]) -> Result<CollectionPlaces> {
    Ok(CollectionPlaces::new(uris.to_vec())?)
}

/// Opens the collection there, for reading.
pub(crate) async fn open(uris: &[CollectionUri], keys: &KeyArguments) -> Result<Collection> {
    let places = places(uris)?;
    Ok(Collection::open_places(&places, keys.store_options()?).await?)
}

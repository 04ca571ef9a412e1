//! The collection of a job that goes on.

use icecore_archive::{Collection, CollectionId};

use super::handler::JobFailure;

/// What was opened for a job that was begun in a collection: an error that may pass, unless it is that one.
/// Where it is not, a disk may not be mounted, or a key not be where it was: what was done must not be given up
/// for that.
///
/// # Errors
/// What opening failed with, whatever it is; [`crate::Error::OtherCollection`].
pub fn opened_again(
    begun: CollectionId,
    opened: crate::Result<Collection>,
) -> Result<Collection, JobFailure> {
    let error = match opened {
        Ok(collection) if collection.id() == begun => return Ok(collection),
        Ok(other) => crate::Error::OtherCollection {
            location: other.location().to_owned(),
            found: other.id(),
            begun,
        },
        Err(error) => error,
    };
    Err(JobFailure::passing(error))
}

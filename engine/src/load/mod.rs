//! Rows that come in or go out as whole SST files.

mod bulk;
mod checkpoint;
mod files;
mod reader;
mod restore;
mod rewrite;
mod sst;
mod staging;

pub use bulk::BulkLoad;
pub use files::{MergedRows, SstFiles};
pub use reader::{SstCursor, SstFile, SstScratch};
pub(crate) use restore::Restores;
pub use restore::{Publish, RestoreScope, RestoringKeyspace};
pub use sst::{SstSummary, SstWriter};

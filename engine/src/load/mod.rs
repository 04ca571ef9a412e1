//! Rows that come in or go out as whole SST files.

mod bulk;
mod capture;
mod checkpoint;
mod files;
mod live_file;
mod reader;
mod restore;
mod rewrite;
mod sst;
mod staging;

pub use bulk::BulkLoad;
pub use capture::{Capture, CapturedKeyspace};
pub use files::{MergedRows, SstFiles};
pub use live_file::LiveFile;
pub use reader::{SstCursor, SstFile, SstScratch};
pub(crate) use restore::Restores;
pub use restore::{Publish, RestoreScope, RestoringKeyspace};
pub use rewrite::Rewrite;
pub use sst::{SstSummary, SstWriter};

//! Compaction of a chain: incrementals merged into one layer, in the object store, without the engine.
//!
//! A merged layer covers (start of its first part, end of its last part] and stands beside its parts:
//! nothing is removed here (retention does that, where nothing restorable is lost). What can be restored
//! stays the same, and fewer layers are read for it.
//!
//! - *With history* the merged layer holds every version of its parts, and any time in it can be restored.
//!   So only layers are merged that let it: not across a keyspace that comes in anew (after a gap, or after
//!   it was left out), one whose settings changed, or one whose last moments nobody recorded.
//! - *Without history* it holds the newest version of each key, and only its end can be restored from it. The
//!   ends of its parts can be restored as long as the parts are there.
//!
//! Layers of the two kinds are not merged with each other. A keyspace that comes in anew within a merged
//! layer begins there at zero; what earlier parts held of it is left out.
//!
//! Everything is write-once: whoever dies leaves junk that no reader sees, and two compactions at once make
//! two layers that hold the same.

mod merge;
mod options;
pub mod plan;
mod ranges;
mod report;
mod run;

pub use options::CompactOptions;
pub use plan::{CompactionPlan, Left, MergedKeyspace, PlannedMerge};
pub use report::{CompactReport, MergedLayer};
pub use run::{compact, plan_compaction};

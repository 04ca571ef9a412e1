//! The mechanism of garbage collection: thresholds, the compaction filter, the sweep, trimming
//! the commit index, and dropping keyspaces whose past is over. When to do it is policy, and
//! lives in the crate above.

pub(crate) mod filter;
mod guard;
mod purge;
mod sweep;
mod trim;
mod written;

pub use guard::GcGuard;
pub use sweep::{SweepBudget, SweepReport};

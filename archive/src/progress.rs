//! How far a long operation has come, for bars and logs.

use std::sync::Arc;

/// A reading of a running operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes done so far.
    pub done_bytes: u64,
    /// Bytes to do in all, as far as known now; an estimate for exports. 0 where unknown.
    pub total_bytes: u64,
}

/// Called with each new reading, from any thread. It should return soon.
pub type ProgressFn = Arc<dyn Fn(Progress) + Send + Sync>;

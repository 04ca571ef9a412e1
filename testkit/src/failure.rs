//! A check that did not hold, or a call that failed where it had no reason to.

/// The result of everything that checks.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The subject does not do what the model says.
    #[error("{0}")]
    Mismatch(String),
    /// An engine call failed.
    #[cfg(feature = "engine")]
    #[error("engine: {0}")]
    Engine(#[from] icecore_engine::Error),
    /// A collection call failed.
    #[error("archive: {0}")]
    Archive(#[from] icecore_archive::Error),
    /// A garbage-collection call failed.
    #[cfg(feature = "engine")]
    #[error("gc: {0}")]
    Gc(#[from] icecore_gc::Error),
    /// A backup failed.
    #[cfg(feature = "engine")]
    #[error("backup: {0}")]
    Backup(#[from] icecore_backup::Error),
    /// A restore failed.
    #[cfg(feature = "engine")]
    #[error("restore: {0}")]
    Restore(#[from] icecore_restore::Error),
    /// A name, time or key was refused.
    #[error("data model: {0}")]
    Model(#[from] icecore_mvcc::Error),
    /// The machine has not what a test needs, where that is no reason to skip it.
    #[error("no {what} for this test: {reason}; tests are not skipped in CI")]
    Missing {
        /// What there is none of.
        what: String,
        /// Why.
        reason: String,
    },
    /// A text is no JSON, or not of that shape.
    #[error("json: {0}")]
    Json(#[from] serde_json::Error),
    /// The machine failed.
    #[error("i/o: {0}")]
    Io(#[from] std::io::Error),
}

impl Failure {
    /// Says where it happened, in front.
    #[must_use]
    pub fn within(self, place: &str) -> Self {
        Self::Mismatch(format!("{place}: {self}"))
    }
}

/// Returns a [`Failure::Mismatch`] with a formatted text unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($text:tt)+) => {
        if !$condition {
            return Err($crate::Failure::Mismatch(format!($($text)+)));
        }
    };
}

pub(crate) use ensure;

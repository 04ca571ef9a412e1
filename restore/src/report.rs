//! What a restore did.

use icecore_archive::{FullPath, total};
use icecore_mvcc::{Fingerprint, Timestamp};
use serde::Serialize;

use crate::plan::{PlannedRestore, RestorePlan};

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestoreReport {
    /// The full backup that the chain begins with.
    pub full: FullPath,
    /// How many layers were applied.
    pub layers: usize,
    /// The time that was restored.
    pub target: Timestamp,
    /// The keyspaces, as they are named now.
    pub keyspaces: Vec<RestoredKeyspace>,
    /// Labels of the schedules that came with the whole engine. They rest until they are resumed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schedules: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// What it did for one keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoredKeyspace {
    /// Its name now.
    pub name: String,
    /// Its name in the backup.
    pub source: String,
    /// Reads below this time are refused.
    pub threshold: Timestamp,
    /// Files applied.
    pub files: u64,
    /// Files among them that were rewritten.
    pub rewritten_files: u64,
    /// Versions in the files, those after the target included.
    pub entries: u64,
    /// Bytes of the files.
    pub stored_bytes: u64,
    /// The fingerprint of its rows at the target, if it was asked for.
    pub fingerprint: Option<Fingerprint>,
    /// Whether a manifest tells the same fingerprint; `false` where none tells one for the target.
    pub proven: bool,
}

impl RestoreReport {
    pub(crate) fn new(plan: &RestorePlan, found: &[Option<Fingerprint>], seconds: f64) -> Self {
        let found = found.iter().copied();
        let with_prints = plan.keyspaces.iter().zip(found).map(|(planned, found)| {
            let mut restored = RestoredKeyspace::from(planned);
            restored.fingerprint = found;
            restored.proven = found.is_some() && found == planned.fingerprint;
            restored
        });
        Self {
            full: plan.full.clone(),
            layers: plan.layers.len(),
            target: plan.target,
            keyspaces: with_prints.collect(),
            schedules: plan.schedules.keys().cloned().collect(),
            seconds,
        }
    }

    /// Versions in all files.
    pub fn entries(&self) -> u64 {
        total(self.keyspaces.iter().map(|k| k.entries))
    }

    /// Bytes of all files.
    pub fn stored_bytes(&self) -> u64 {
        total(self.keyspaces.iter().map(|k| k.stored_bytes))
    }
}

impl From<&PlannedRestore> for RestoredKeyspace {
    fn from(planned: &PlannedRestore) -> Self {
        Self {
            name: planned.name.clone(),
            source: planned.source.name.clone(),
            threshold: planned.threshold,
            files: planned.files().count() as u64,
            rewritten_files: planned.files().filter(|f| f.rewrite).count() as u64,
            entries: total(planned.files().map(|f| f.file.entries)),
            stored_bytes: planned.stored_bytes(),
            fingerprint: None,
            proven: false,
        }
    }
}

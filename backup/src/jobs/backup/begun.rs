//! What a backup job notes before it works, so that a later run does the same backup.

use icecore_archive::{ChainId, CollectionId, FullPath, LayerEntry, LayerPath, RunId};
use icecore_gc::RecordId;
use icecore_mvcc::{Fingerprint, KeyRange, Timestamp};
use serde::{Deserialize, Serialize};

use crate::plan::BackupPlan;

/// A backup that was begun. Its row is written before each step that leaves something behind, so that
/// nothing is left that no row names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    /// Names the attempt: a claim made again under it finds its own lock.
    pub(super) run: RunId,
    /// Where it was begun: another collection at the same place has nothing of it.
    pub(super) collection: CollectionId,
    pub(super) chain_id: ChainId,
    pub(super) plan: BackupPlan,
    /// The layer to continue; `None` for a full.
    pub(super) parent: Option<LayerEntry>,
    /// The end of the chain's full.
    pub(super) full_end: Timestamp,
    /// The path of choice of a full.
    pub(super) chosen: Option<FullPath>,
    /// When the manifest is dated.
    pub(super) created_at: Timestamp,
    /// The protected timestamp, once it is made.
    pub(super) record: Option<RecordId>,
    /// A second one, at the layer's end: of an incremental that takes keyspaces from zero.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) end_record: Option<RecordId>,
    /// Whether the chain had a record when the backup was begun.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) chain_held: bool,
    /// The layer's directory, once it is claimed.
    pub(super) layer: Option<LayerPath>,
    /// The work, cut once: what is there changes, the pieces do not.
    pub(super) pieces: Vec<PieceSpec>,
    /// By keyspace of the plan: since when its rows answer every read.
    pub(super) revision_starts: Vec<Option<Timestamp>>,
    /// By keyspace of the plan: what its fingerprint goes on from; `None` where it gets none.
    pub(super) prints_before: Vec<Option<Fingerprint>>,
    /// Of a fast full: the layers of earlier captures in which checkpoints of the job lie.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<EarlierLayer>,
}

/// A layer that a job gave up for one of a newer capture.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EarlierLayer {
    pub(super) layer: LayerPath,
    pub(super) run: RunId,
    pub(super) end: Timestamp,
}

/// A piece of the work: some keys of a keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PieceSpec {
    /// The keyspace's place in the plan.
    pub(super) keyspace: usize,
    /// Which keys.
    pub(super) range: KeyRange,
}

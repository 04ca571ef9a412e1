//! Checkpoints of a job that writes a layer: which files are stored, and how far each piece of the work is.
//!
//! A checkpoint is an object of the layer, `BACKUP-CHECKPOINT-<job>-<number>`, framed as a manifest is, and
//! written once. Each holds what was stored since the one before. The job keeps their hashes, and reads
//! back only what it wrote itself; nobody else reads them, and once the layer is committed nobody does.

use icecore_mvcc::Timestamp;
use serde::{Deserialize, Serialize};

use super::LayerWriter;
use crate::collection::Collection;
use crate::error::{Error, Result};
use crate::frame::{self, FrameKind};
use crate::hash::ContentHash;
use crate::ids::RunId;
use crate::manifest::FileEntry;
use crate::manifest::codec::{MAX_JSON_BYTES, MAX_OBJECT_BYTES};
use crate::path::LayerPath;
use crate::seal::object::Role;
use crate::store::PutOnce;

/// What a job stored since its checkpoint before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The job.
    pub job: String,
    /// Its attempt to write the layer.
    pub run: RunId,
    /// Counts up from 0; a number may be missing.
    pub number: u32,
    /// The layer.
    pub layer: LayerPath,
    /// The layer's end.
    pub end: Timestamp,
    /// The files, in the order of each piece.
    pub files: Vec<CheckpointFile>,
    /// Pieces of the work of which nothing is left to do.
    pub finished: Vec<u32>,
}

/// A file that is stored, and what of its piece is done with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// The piece of the work, by its place in the job's list; of a fast full the keyspace, by its place in
    /// the plan.
    pub piece: u32,
    /// The last version in the file: everything of the piece up to it is stored. Copied files have none,
    /// each counts by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Position>,
    /// The file.
    #[serde(flatten)]
    pub file: FileEntry,
}

/// A place in a stream of versions: keys ascending, each key's versions newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The user key; hex in JSON.
    #[serde(with = "crate::hex::bytes")]
    pub key: Vec<u8>,
    /// The version's time.
    pub ts: Timestamp,
}

/// The name of a checkpoint within its layer.
fn name(job: &str, number: u32) -> String {
    format!("BACKUP-CHECKPOINT-{job}-{number:06}")
}

impl LayerWriter {
    /// Writes a checkpoint of this layer, and returns its hash; `None` if another one has its number.
    ///
    /// # Errors
    /// [`Error::TooLarge`]; those of the store.
    pub async fn put_checkpoint(&self, checkpoint: &Checkpoint) -> Result<Option<ContentHash>> {
        let path = self
            .layer()
            .object(name(&checkpoint.job, checkpoint.number));
        let json = serde_json::to_vec(checkpoint).map_err(|e| invalid(path.as_ref(), &e))?;
        let framed = frame::seal(FrameKind::Checkpoint, &json)?;
        let seal = self.collection.seal();
        let object = seal.seal(Role::Checkpoint, path.as_ref(), framed)?;
        if object.len() as u64 > MAX_OBJECT_BYTES || json.len() as u64 > MAX_JSON_BYTES {
            return Err(Error::TooLarge {
                path: path.to_string(),
                limit_bytes: MAX_OBJECT_BYTES,
            });
        }
        let hash = ContentHash::of(&object);
        let store = self.collection.store();
        match store.put_once(&path, object, MAX_OBJECT_BYTES).await? {
            PutOnce::Stored => Ok(Some(hash)),
            PutOnce::Conflict(_) => Ok(None),
        }
    }
}

impl Collection {
    /// Reads a checkpoint that has this hash.
    ///
    /// # Errors
    /// [`Error::MissingObject`], [`Error::HashMismatch`]; those of a manifest for what is wrong with it;
    /// those of the store.
    pub async fn read_checkpoint(
        &self,
        layer: &LayerPath,
        job: &str,
        number: u32,
        expected: ContentHash,
    ) -> Result<Checkpoint> {
        let object = layer.object(name(job, number));
        let path = object.to_string();
        let parse = |content: &[u8]| {
            let actual = ContentHash::of(content);
            if actual != expected {
                let path = path.clone();
                return Err(Error::HashMismatch {
                    path,
                    expected,
                    actual,
                });
            }
            let framed = self
                .seal()
                .unseal(Role::Checkpoint, &path, &path, content)?;
            let json = frame::open(FrameKind::Checkpoint, &path, &framed, MAX_JSON_BYTES)?;
            let read: Checkpoint = serde_json::from_slice(&json).map_err(|e| invalid(&path, &e))?;
            Ok(read)
        };
        let read = self.store().read(&object, MAX_OBJECT_BYTES, parse).await?;
        let (path, location) = (path.clone(), self.location().to_owned());
        read.ok_or(Error::MissingObject { path, location })
    }
}

fn invalid(path: &str, error: &serde_json::Error) -> Error {
    Error::InvalidManifest {
        path: path.to_owned(),
        reason: format!("its JSON does not read: {error}"),
    }
}

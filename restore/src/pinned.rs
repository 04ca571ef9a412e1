//! The layers that a restore was begun with.
//!
//! A chain that is compacted offers other layers for the same state. What is begun must not go on with those:
//! what is in would not be followed by what comes next. So the layers are noted in the restore's staging folder
//! as it begins, which lives as long as the restore, and a later run takes exactly these. Once retention removed
//! one of them, nothing can go on: what was brought is given up, and the restore begins anew.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use icecore_archive::{
    BackupSelector, Collection, Error as ArchiveError, LayerEntry, LayerPath, Manifest, blocking,
};
use icecore_engine::{Engine, RestoringKeyspace};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::options::RestoreOptions;
use crate::plan::{PlannedLayer, RestorePlan, plan};
use crate::work::{Requests, copied_tag};

/// The file's name in the restore's staging folder.
const NAME: &str = "LAYERS";

/// Its content. `docs/format/folder.md` describes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    layers: Vec<LayerPath>,
}

/// What an earlier run of a restore left.
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// It goes on by this plan.
    Begun(RestorePlan),
    /// What nothing can go on with.
    Lost,
}

/// Looks for an earlier run of the planned restore. Writes nothing.
pub(crate) async fn find(
    engine: &Engine,
    collection: &Collection,
    planned: &RestorePlan,
    options: &RestoreOptions,
) -> Result<Before> {
    let hidden = hidden_of(engine, planned);
    if hidden.is_empty() {
        return Ok(Before::Nothing);
    }
    let path = engine.restore_staging_path(&planned.restore_id).join(NAME);
    let begun = match blocking(move || read(&path)).await? {
        Some(note) if note.layers != planned.layers => {
            plan_with(collection, &note.layers, planned, options).await?
        }
        _ => Some(planned.clone()),
    };
    Ok(match begun {
        Some(begun) if goes_on(&hidden, &begun) => Before::Begun(begun),
        _ => Before::Lost,
    })
}

/// Notes the layers of a restore that is begun, durably, before anything of it is brought.
pub(crate) async fn note(engine: &Engine, plan: &RestorePlan) -> Result<()> {
    let dir = engine.restore_staging_dir(&plan.restore_id)?;
    let note = Note {
        layers: plan.layers.clone(),
    };
    blocking(move || match read(&dir.join(NAME))? {
        Some(there) if there == note => Ok(()),
        _ => write(&dir, &note),
    })
    .await
}

fn hidden_of(engine: &Engine, plan: &RestorePlan) -> Vec<RestoringKeyspace> {
    let mut hidden = engine.restoring();
    hidden.retain(|keyspace| keyspace.restore_id() == plan.restore_id);
    hidden
}

/// `None` where there is none, or none that can be read.
fn read(path: &Path) -> Result<Option<Note>> {
    match fs::read(path) {
        Ok(json) => Ok(serde_json::from_slice(&json).ok()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error).into()),
    }
}

fn write(dir: &Path, note: &Note) -> Result<()> {
    let json = serde_json::to_vec(note).map_err(|e| ArchiveError::Stopped {
        cause: e.to_string(),
    })?;
    let (path, new) = (dir.join(NAME), dir.join("LAYERS.new"));
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(&json)?;
        file.sync_all()
    });
    written.map_err(failed("write", &new))?;
    fs::rename(&new, &path).map_err(failed("rename", &new))?;
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    Ok(synced.map_err(failed("sync", dir))?)
}

fn failed(
    action: &'static str,
    path: &Path,
) -> impl FnOnce(std::io::Error) -> icecore_engine::Error {
    let subject = path.display().to_string();
    move |error| icecore_engine::Error::io(action, subject, error)
}

/// Plans the same restore with these layers; `None` if one is gone. Those that merged ones stand for are there
/// until retention takes them.
async fn plan_with(
    collection: &Collection,
    layers: &[LayerPath],
    planned: &RestorePlan,
    options: &RestoreOptions,
) -> Result<Option<RestorePlan>> {
    let before = collection.requests();
    let from = BackupSelector::Full(planned.full.clone());
    let chain = collection.open_chain(&from).await?;
    let listed = || chain.layers().iter().chain(chain.retired());
    let find = |path: &LayerPath| listed().find(|entry| entry.path == *path).cloned();
    let entries: Option<Vec<LayerEntry>> = layers.iter().map(find).collect();
    let Some(entries) = entries else {
        return Ok(None);
    };
    let mut manifests: Vec<Manifest> = Vec::with_capacity(entries.len());
    for entry in &entries {
        match collection.read_layer(entry).await {
            Ok(manifest) => manifests.push(manifest),
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
    collection.check_links(&chain, &entries, &manifests).await?;
    let mut plan = plan(&planned.full, &manifests, planned.target, options)?;
    plan.planning = planned.planning + Requests::from(collection.requests() - before);
    Ok((plan.restore_id == planned.restore_id).then_some(plan))
}

/// Whether a restore failed because what its layers hold is not there.
pub(crate) fn lacks_a_layer(error: &Error) -> bool {
    matches!(error, Error::Archive(error) if is_gone(error))
}

const fn is_gone(error: &ArchiveError) -> bool {
    matches!(
        error,
        ArchiveError::ManifestMissing { .. } | ArchiveError::MissingObject { .. }
    )
}

/// Whether what each keyspace has is what the plan begins with.
fn goes_on(hidden: &[RestoringKeyspace], plan: &RestorePlan) -> bool {
    hidden.iter().all(|keyspace| {
        let planned = plan.keyspaces.iter().find(|p| p.name == keyspace.name());
        planned.is_some_and(|planned| begins_with(&planned.layers, &keyspace.ingested()))
    })
}

/// Whether these tags are those of the first layers.
fn begins_with(layers: &[PlannedLayer], ingested: &[String]) -> bool {
    let mut layers = layers.iter().map(|layer| &layer.path);
    let mut open: Option<&LayerPath> = None;
    ingested.iter().all(|tag| {
        let layer = match open.take() {
            Some(layer) => Some(layer),
            None => layers.next(),
        };
        layer.is_some_and(|layer| {
            // Its copied files come in a step of their own, before it.
            if *tag == copied_tag(layer) {
                open = Some(layer);
                return true;
            }
            *tag == layer.to_string()
        })
    })
}

/// The restores that are at work in this process, by their staging folders.
static AT_WORK: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// That a restore is at work: while it is there, the same one is refused.
pub(crate) struct AtWork(PathBuf);

fn at_work() -> MutexGuard<'static, BTreeSet<PathBuf>> {
    AT_WORK.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AtWork {
    /// An error if the same restore is at work already: the two would share what they bring.
    pub(crate) fn begin(engine: &Engine, plan: &RestorePlan) -> Result<Self> {
        let staging = engine.restore_staging_path(&plan.restore_id);
        if at_work().insert(staging.clone()) {
            return Ok(Self(staging));
        }
        let first = plan.keyspaces.first();
        Err(Error::Held {
            keyspace: first
                .map(|keyspace| keyspace.name.clone())
                .unwrap_or_default(),
            owner: "the same restore in this process".to_owned(),
        })
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        at_work().remove(&self.0);
    }
}

#[cfg(test)]
mod tests;

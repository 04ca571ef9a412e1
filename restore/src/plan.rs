//! What a restore will do, decided from manifests alone.
//!
//! For each keyspace that was live at the target, the layers from the last one that introduces it
//! are applied in order. A file goes in as it is unless it holds versions after the target. Reads
//! of the restored keyspace are true back to its *threshold*: through layers with revision
//! history as far as they follow each other, else from the end of the newest layer without.

use std::collections::BTreeMap;

use icecore_archive::{
    ContentHash, FileEntry, FullPath, LayerPath, Manifest, ManifestKeyspace, total,
};
use icecore_mvcc::{Descriptor, Fingerprint, KeyspaceName, NamePattern, Timestamp};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::options::{History, RestoreOptions};
use crate::work::Requests;

/// What a restore will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RestorePlan {
    /// The full backup that the chain begins with.
    pub full: FullPath,
    /// The layers that are applied, in order.
    pub layers: Vec<LayerPath>,
    /// The time that is restored.
    pub target: Timestamp,
    /// Whether all keyspaces of a whole-engine backup are restored under their names.
    pub whole_engine: bool,
    /// The keyspaces.
    pub keyspaces: Vec<PlannedRestore>,
    /// Whether the keyspaces come back without their rows.
    pub schema_only: bool,
    /// The schedules that come with the whole engine, by label, as the last layer has them. They rest here, since
    /// the engine that they name is another one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub schedules: BTreeMap<String, serde_json::Value>,
    /// Names this restore, so that running it again goes on with it: the same backup, time, names and options,
    /// whichever layers are taken.
    pub restore_id: String,
    /// The requests that reading the chain's index and manifests took; none where [`plan()`] alone made
    /// this. Retries count, and so does what else the same open collection was used for meanwhile.
    pub planning: Requests,
}

/// What it will do for one keyspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedRestore {
    /// The name it gets.
    pub name: String,
    /// The keyspace as the backup describes it.
    pub source: Descriptor,
    /// Reads below this time will be refused.
    pub threshold: Timestamp,
    /// What is applied, oldest layer first.
    pub layers: Vec<PlannedLayer>,
    /// The fingerprint of its rows at the target, where the manifest of a layer that ends there tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

/// What one layer brings to a keyspace.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLayer {
    /// The layer.
    pub path: LayerPath,
    /// Its files.
    #[serde(skip)]
    pub files: Vec<PlannedFile>,
}

/// One file to apply.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedFile {
    /// The file.
    pub file: FileEntry,
    /// Whether versions after the target must be taken out.
    pub rewrite: bool,
}

impl PlannedRestore {
    /// All its files.
    pub fn files(&self) -> impl Iterator<Item = &PlannedFile> {
        self.layers.iter().flat_map(|layer| &layer.files)
    }

    /// Bytes to fetch.
    pub fn stored_bytes(&self) -> u64 {
        total(self.files().map(|f| f.file.stored_bytes))
    }
}

impl RestorePlan {
    /// Bytes to fetch.
    pub fn stored_bytes(&self) -> u64 {
        total(self.keyspaces.iter().map(PlannedRestore::stored_bytes))
    }
}

/// Plans a restore from the manifests of the layers to apply, in order, and the target time.
///
/// # Errors
/// [`Error::BeforeKeyspaces`], [`Error::NothingMatches`], [`Error::NothingToRename`], [`Error::SameName`],
/// [`Error::NoHistory`], [`Error::Unfounded`]; names that are not valid.
pub fn plan(
    full: &FullPath,
    manifests: &[Manifest],
    target: Timestamp,
    options: &RestoreOptions,
) -> Result<RestorePlan> {
    let last = manifests.last().ok_or(icecore_archive::Error::EmptyChain)?;
    let live: Vec<&ManifestKeyspace> = last
        .keyspaces
        .iter()
        .filter(|k| k.descriptor.is_live_at(target))
        .collect();
    check_none_is_lost(manifests, target, &options.keyspaces)?;
    if live.is_empty() {
        check_that_none_came_later(full, manifests, target)?;
    }
    let selected = select(&live, target, &options.keyspaces)?;
    let names = names(&selected, options)?;
    let mut keyspaces = Vec::new();
    for (keyspace, name) in selected.iter().zip(names) {
        keyspaces.push(plan_keyspace(
            &keyspace.descriptor,
            name,
            manifests,
            target,
            options,
        )?);
    }
    let unchanged = keyspaces.iter().all(|k| k.name == k.source.name);
    let whole_engine = last.whole_engine && options.keyspaces.is_empty() && unchanged;
    let restore_id = restore_id(full, last, target, options, &keyspaces);
    Ok(RestorePlan {
        full: full.clone(),
        layers: manifests.iter().map(|m| m.layer.clone()).collect(),
        target,
        whole_engine,
        keyspaces,
        schema_only: options.schema_only,
        schedules: match whole_engine {
            true => schedules_of(last),
            false => BTreeMap::new(),
        },
        restore_id,
        planning: Requests::default(),
    })
}

/// The schedules that a layer carries, by label.
fn schedules_of(layer: &Manifest) -> BTreeMap<String, serde_json::Value> {
    let rows = layer.system.get(icecore_archive::SCHEDULE_ROWS);
    let rows = rows.and_then(|rows| rows.as_array()).into_iter().flatten();
    rows.filter_map(|row| Some((row.get("label")?.as_str()?.to_owned(), row.clone())))
        .collect()
}

/// What the layer before the last holds, and the last does not, was dropped within the last one's window,
/// and its history there is gone. Whether it existed at a time in the window cannot be told.
fn check_none_is_lost(
    manifests: &[Manifest],
    target: Timestamp,
    patterns: &[NamePattern],
) -> Result<()> {
    let [.., before, last] = manifests else {
        return Ok(());
    };
    let is_listed = |d: &Descriptor| last.keyspaces.iter().any(|k| k.descriptor.id == d.id);
    let mut lived = before.keyspaces.iter().map(|k| &k.descriptor).filter(|d| {
        d.dropped.is_none() && (patterns.is_empty() || patterns.iter().any(|p| p.matches(&d.name)))
    });
    let lost = lived.find(|d| target < last.end && !is_listed(d));
    lost.map_or(Ok(()), |lost| {
        Err(Error::NoHistory {
            keyspace: lost.name.clone(),
            target,
            layer: last.layer.to_string(),
            from: last.end,
        })
    })
}

/// A target before all keyspaces is a slip: what would come back is nothing. So is one before a restore:
/// what was restored had a past, but not here. Where all that there were had been dropped by then, or a
/// whole engine never had one, nothing is what there was.
fn check_that_none_came_later(
    full: &FullPath,
    manifests: &[Manifest],
    target: Timestamp,
) -> Result<()> {
    let layers = || manifests.iter().flat_map(|m| &m.keyspaces);
    let all = || layers().map(|k| &k.descriptor);
    let had_any = all().any(|d| d.created <= target);
    let is_meant = |d: &&Descriptor| target < d.created && (!had_any || d.restored().is_some());
    let Some(first) = all().filter(is_meant).min_by_key(|d| d.created) else {
        return Ok(());
    };
    Err(Error::BeforeKeyspaces {
        full: full.to_string(),
        target,
        keyspace: first.name.clone(),
        since: first.created,
        until: manifests.last().map_or(target, |last| last.end),
    })
}

fn select<'a>(
    live: &[&'a ManifestKeyspace],
    target: Timestamp,
    patterns: &[NamePattern],
) -> Result<Vec<&'a ManifestKeyspace>> {
    let unmatched = patterns
        .iter()
        .find(|p| !live.iter().any(|k| p.matches(&k.descriptor.name)));
    if let Some(pattern) = unmatched {
        let available = list(live.iter().map(|k| k.descriptor.name.as_str()));
        return Err(Error::NothingMatches {
            pattern: pattern.to_string(),
            target,
            available,
        });
    }
    let wanted = |k: &&ManifestKeyspace| {
        patterns.is_empty() || patterns.iter().any(|p| p.matches(&k.descriptor.name))
    };
    Ok(live.iter().copied().filter(wanted).collect())
}

/// The names that the keyspaces get.
fn names(selected: &[&ManifestKeyspace], options: &RestoreOptions) -> Result<Vec<String>> {
    let old = || selected.iter().map(|k| k.descriptor.name.as_str());
    if let Some(name) = options
        .renames
        .keys()
        .find(|name| !old().any(|o| o == name.as_str()))
    {
        return Err(Error::NothingToRename {
            name: name.clone(),
            available: list(old()),
        });
    }
    let mut taken: BTreeMap<String, String> = BTreeMap::new();
    let mut names = Vec::new();
    for old in old() {
        let renamed = options.renames.get(old).map_or(old, String::as_str);
        let name = KeyspaceName::parse(renamed).map_err(icecore_engine::Error::from)?;
        let name = match &options.into_database {
            Some(database) if !options.renames.contains_key(old) => name
                .in_database(database)
                .map_err(icecore_engine::Error::from)?,
            _ => name,
        };
        let name = name.as_str().to_owned();
        if let Some(first) = taken.insert(name.clone(), old.to_owned()) {
            return Err(Error::SameName {
                first,
                second: old.to_owned(),
                name,
            });
        }
        names.push(name);
    }
    Ok(names)
}

fn plan_keyspace(
    source: &Descriptor,
    name: String,
    manifests: &[Manifest],
    target: Timestamp,
    options: &RestoreOptions,
) -> Result<PlannedRestore> {
    if source.settings.exclude_from_backup || options.schema_only {
        // Its rows were left out, or are not wanted: it comes back empty, whatever the layers hold of it.
        return Ok(PlannedRestore {
            name,
            source: source.clone(),
            threshold: target,
            layers: Vec::new(),
            fingerprint: None,
        });
    }
    let mut steps: Vec<(&Manifest, &ManifestKeyspace)> = Vec::new();
    for manifest in manifests.iter().rev() {
        let Some(keyspace) = manifest
            .keyspaces
            .iter()
            .find(|k| k.descriptor.id == source.id)
        else {
            break;
        };
        steps.push((manifest, keyspace));
        if keyspace.introduced {
            break;
        }
    }
    if let Some((manifest, _)) = steps.last().filter(|(_, keyspace)| !keyspace.introduced) {
        return Err(Error::Unfounded {
            keyspace: source.name.clone(),
            layer: manifest.layer.to_string(),
        });
    }
    // Newest layer first, as `oldest_true_time` wants them.
    let true_from = oldest_true_time(&source.name, &steps, target)?;
    let layers = steps.iter().rev().map(|(manifest, keyspace)| PlannedLayer {
        path: manifest.layer.clone(),
        files: keyspace
            .files
            .iter()
            .filter(|file| file.min_ts <= target)
            .map(|file| PlannedFile {
                file: file.clone(),
                rewrite: file.max_ts > target,
            })
            .collect(),
    });
    Ok(PlannedRestore {
        name,
        source: source.clone(),
        threshold: if options.history == History::None {
            target
        } else {
            true_from
        },
        layers: layers.collect(),
        fingerprint: steps.first().and_then(|(manifest, keyspace)| {
            keyspace
                .fingerprint
                .filter(|_| target == state_time(manifest, keyspace))
        }),
    })
}

/// The time whose state the fingerprint in a manifest is of.
pub(crate) fn state_time(manifest: &Manifest, keyspace: &ManifestKeyspace) -> Timestamp {
    let dropped = keyspace.descriptor.dropped;
    dropped.map_or(manifest.end, |dropped| dropped.prev().min(manifest.end))
}

/// The oldest time from which every read up to the target is true. Layers come newest first.
fn oldest_true_time(
    keyspace: &str,
    layers: &[(&Manifest, &ManifestKeyspace)],
    target: Timestamp,
) -> Result<Timestamp> {
    let mut oldest = target;
    for (manifest, layer) in layers {
        match layer.revision_start {
            Some(from) if from > target => {
                let (keyspace, layer) = (keyspace.to_owned(), manifest.layer.to_string());
                return Err(Error::NoHistory {
                    keyspace,
                    target,
                    layer,
                    from,
                });
            }
            // A layer holds nothing of the times before it; where its own history begins later, there is
            // a gap, and what lies before that is of no use.
            Some(from) if manifest.start < from => return Ok(oldest.min(from)),
            Some(from) if layer.introduced => oldest = oldest.min(from),
            Some(_) => oldest = oldest.min(manifest.start),
            None => {
                // Only its end is true; a dropped keyspace ends with its drop.
                let end = layer
                    .descriptor
                    .dropped
                    .map_or(manifest.end, |dropped| dropped.prev().min(manifest.end))
                    .max(manifest.start);
                if target < end {
                    let (keyspace, layer) = (keyspace.to_owned(), manifest.layer.to_string());
                    return Err(Error::NoHistory {
                        keyspace,
                        target,
                        layer,
                        from: end,
                    });
                }
                return Ok(oldest.min(end));
            }
        }
    }
    Ok(oldest)
}

/// The same restore has the same id: the same backup, target, names, options and owner. Not the same layers: a
/// chain that is compacted meanwhile has others for the same state, and what is begun goes on with those it
/// was begun with. It begins with what a person needs to run it again.
fn restore_id(
    full: &FullPath,
    last: &Manifest,
    target: Timestamp,
    options: &RestoreOptions,
    keyspaces: &[PlannedRestore],
) -> String {
    use std::fmt::Write;
    let mut text = format!("{target} {:?}", options.history);
    if options.schema_only {
        text.push_str(" schema only");
    }
    let _infallible = write!(text, "\n{} {full} {}", last.collection_id, last.chain_id);
    for keyspace in keyspaces {
        let _infallible = write!(text, "\n{} {}", keyspace.source.id.get(), keyspace.name);
    }
    let hash = ContentHash::of(text.as_bytes()).to_string();
    let id = format!("{full}@{target}#{}", hash.get(..8).unwrap_or_default());
    match &options.owner {
        Some(owner) => format!("{id}{BY}{owner}"),
        None => id,
    }
}

/// What stands before the owner in a restore's id.
const BY: &str = " by ";

/// Whose restore it is: the [`RestoreOptions::owner`] in the restore's id; `None` where it has none.
#[must_use]
pub fn owner_of(restore_id: &str) -> Option<&str> {
    restore_id.rsplit_once(BY).map(|(_, owner)| owner)
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}

#[cfg(test)]
mod restorable_tests;
#[cfg(test)]
mod tests;

//! Which layers of a chain are merged, and into what: decided from their manifests alone.
//!
//! The layers of the shortest way through the chain are taken in order and grouped into runs. A run ends
//! where merging would change what some time restores to; a run of one layer is left as it is.

use std::collections::BTreeMap;
use std::fmt;

use icecore_archive::{
    FileEntry, FullPath, LayerEntry, LayerPath, Manifest, ManifestKeyspace, MergedParts, total,
};
use icecore_mvcc::{Descriptor, KeyspaceId, Timestamp};
use serde::Serialize;

/// A layer with its manifest.
#[derive(Debug, Clone)]
pub struct Part {
    /// As it is listed.
    pub entry: LayerEntry,
    /// What it holds.
    pub manifest: Manifest,
}

/// What a compaction will do.
#[derive(Debug, Clone, Serialize)]
pub struct CompactionPlan {
    /// The chain.
    pub full: FullPath,
    /// The layers that will be made, in order. None: there is nothing to merge.
    pub merges: Vec<PlannedMerge>,
    /// The incrementals that are left as they are, in order.
    pub left: Vec<Left>,
}

/// A layer that is left as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Left {
    /// The layer.
    pub layer: LayerPath,
    /// Why it is not merged.
    pub reason: String,
}

/// A layer that will be made of others.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedMerge {
    /// Where it begins (excluded).
    pub start: Timestamp,
    /// Where it ends (included).
    pub end: Timestamp,
    /// Whether any time in it can be restored.
    pub revision_history: bool,
    /// The layers that it is made of, in order.
    pub parts: Vec<LayerPath>,
    /// What becomes of each keyspace, by id.
    #[serde(skip)]
    pub keyspaces: Vec<MergedKeyspace>,
    /// The newest part's manifest: what the merged one takes over.
    #[serde(skip)]
    pub newest: Box<Manifest>,
    /// How the layer is named in the chain.
    #[serde(skip)]
    pub merged: MergedParts,
}

/// A keyspace of a merged layer.
#[derive(Debug, Clone, PartialEq)]
pub struct MergedKeyspace {
    /// As the merged manifest lists it, but for its files.
    pub keyspace: ManifestKeyspace,
    /// The files that are merged, by layer, oldest first.
    pub inputs: Vec<(LayerPath, Vec<FileEntry>)>,
}

impl MergedKeyspace {
    /// All files that are merged.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.inputs.iter().flat_map(|(_, files)| files)
    }

    /// Bytes of the files that are merged.
    pub fn stored_bytes(&self) -> u64 {
        total(self.files().map(|file| file.stored_bytes))
    }

    /// Versions in the files that are merged.
    pub fn entries(&self) -> u64 {
        total(self.files().map(|file| file.entries))
    }
}

impl PlannedMerge {
    /// Bytes of the files that are read.
    pub fn stored_bytes(&self) -> u64 {
        total(self.keyspaces.iter().map(MergedKeyspace::stored_bytes))
    }

    /// How many files are read.
    pub fn files(&self) -> u64 {
        let files = self.keyspaces.iter().map(|k| k.files().count() as u64);
        total(files)
    }
}

impl CompactionPlan {
    /// Bytes of the files that are read.
    pub fn stored_bytes(&self) -> u64 {
        total(self.merges.iter().map(PlannedMerge::stored_bytes))
    }
}

/// Why a layer cannot be merged with the one before it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Cut {
    /// One keeps history, the other does not.
    History,
    /// They are of other keyspaces, or of another engine.
    Scope,
    /// The keyspace comes in anew, and the parts before hold it too.
    Again(String),
    /// Its name or its settings changed.
    Altered(String),
    /// Its history begins only inside the layer.
    Gap(String),
    /// It was dropped, and no layer says when.
    Vanished(String),
    /// At some time in it no keyspace lived.
    Empty,
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::History => f.write_str("one keeps history, the other does not"),
            Self::Scope => f.write_str("they cover other keyspaces"),
            Self::Again(name) => write!(f, "keyspace {name} was taken up anew in between"),
            Self::Altered(name) => write!(f, "the settings of keyspace {name} changed in between"),
            Self::Gap(name) => write!(f, "the history of keyspace {name} has a gap there"),
            Self::Vanished(name) => {
                write!(f, "keyspace {name} was dropped, and no layer says when")
            }
            Self::Empty => f.write_str("there was a time without any keyspace"),
        }
    }
}

/// Layers in a row that can be merged.
struct Run<'a> {
    /// The layer before the first.
    parent: &'a Manifest,
    parts: Vec<&'a Part>,
    /// The keyspaces of its parts, as the last that lists each of them does.
    known: BTreeMap<KeyspaceId, &'a Descriptor>,
    /// Why the first was not merged with the layer before it.
    cut: Option<Cut>,
}

impl<'a> Run<'a> {
    fn new(parent: &'a Manifest, cut: Option<Cut>) -> Self {
        Self {
            parent,
            parts: Vec::new(),
            known: BTreeMap::new(),
            cut,
        }
    }

    fn push(&mut self, part: &'a Part) {
        let listed = part.manifest.keyspaces.iter().map(|k| &k.descriptor);
        self.known.extend(listed.map(|d| (d.id, d)));
        self.parts.push(part);
    }
}

/// Plans a compaction of the layers of a way through a chain: the full first, then each that follows.
#[must_use]
pub fn plan(full: &FullPath, way: &[Part], keep_newest: usize) -> CompactionPlan {
    let incrementals = way.len().saturating_sub(1);
    let taken = way.len() - keep_newest.min(incrementals);
    let (way, kept) = way.split_at(taken);
    let runs = runs(way);
    let mut plan = CompactionPlan {
        full: full.clone(),
        merges: Vec::new(),
        left: Vec::new(),
    };
    for (position, run) in runs.iter().enumerate() {
        match run.parts.as_slice() {
            [alone] => plan.left.push(Left {
                layer: alone.entry.path.clone(),
                reason: reason(run.cut.as_ref(), runs.get(position + 1)),
            }),
            parts => plan.merges.extend(merge(parts)),
        }
    }
    plan.left.extend(kept.iter().map(|part| Left {
        layer: part.entry.path.clone(),
        reason: "kept as asked for".to_owned(),
    }));
    plan
}

/// Why a layer stays alone.
fn reason(before: Option<&Cut>, next: Option<&Run<'_>>) -> String {
    let before = before.map(|cut| format!("not with the layer before it: {cut}"));
    let after = next.and_then(|next| next.cut.as_ref());
    let after = after.map(|cut| format!("not with the layer after it: {cut}"));
    let reasons: Vec<String> = before.into_iter().chain(after).collect();
    match reasons.is_empty() {
        true => "there is no other to merge it with".to_owned(),
        false => reasons.join("; "),
    }
}

/// Groups the layers after the full.
fn runs(way: &[Part]) -> Vec<Run<'_>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for pair in way.windows(2) {
        let [before, part] = pair else { continue };
        let cut = runs.last().map(|run| cut(run, &part.manifest));
        if !matches!(cut, Some(None)) {
            runs.push(Run::new(&before.manifest, cut.flatten()));
        }
        if let Some(run) = runs.last_mut() {
            run.push(part);
        }
    }
    runs
}

/// Why a layer cannot join a run; `None` if it can.
fn cut(run: &Run<'_>, next: &Manifest) -> Option<Cut> {
    let (first, last) = (&run.parts.first()?.manifest, &run.parts.last()?.manifest);
    let scope = |m: &Manifest| (m.chain_id, m.engine_id, m.whole_engine, m.patterns.clone());
    if scope(last) != scope(next) {
        return Some(Cut::Scope);
    }
    if last.revision_history != next.revision_history {
        return Some(Cut::History);
    }
    if !next.revision_history {
        return None;
    }
    // What the first part does not tell of the layer before it, a merged one would not tell of its window.
    vanished(run.parent, first)
        .or_else(|| vanished(last, next))
        .or_else(|| next.keyspaces.iter().find_map(|k| changed(last, next, k)))
        .or_else(|| was_empty(run, next).then_some(Cut::Empty))
}

/// The keyspace that lived at the end of a layer, and of which the next one does not tell what became of it.
fn vanished(before: &Manifest, next: &Manifest) -> Option<Cut> {
    let lived = before.keyspaces.iter().map(|k| &k.descriptor);
    let mut lived = lived.filter(|d| d.dropped.is_none());
    let lost = lived.find(|d| find(next, d.id).is_none());
    lost.map(|d| Cut::Vanished(d.name.clone()))
}

/// What of a keyspace of the next layer is not as the layer before has it.
fn changed(last: &Manifest, next: &Manifest, keyspace: &ManifestKeyspace) -> Option<Cut> {
    let before = find(last, keyspace.descriptor.id)?;
    let (then, now) = (&before.descriptor, &keyspace.descriptor);
    let name = || now.name.clone();
    if keyspace.introduced {
        return Some(Cut::Again(name()));
    }
    if (&then.name, &then.settings) != (&now.name, &now.settings) {
        return Some(Cut::Altered(name()));
    }
    let is_whole = keyspace
        .revision_start
        .is_some_and(|from| from <= next.start);
    (!is_whole && !now.settings.exclude_from_backup).then(|| Cut::Gap(name()))
}

/// Whether at some time from the run's begin to the next layer's end no keyspace lived. A restore to such a
/// time is answered by what comes later in the layer.
fn was_empty(run: &Run<'_>, next: &Manifest) -> bool {
    let Some(first) = run.parts.first() else {
        return false;
    };
    // The later listing of a keyspace tells of its drop.
    let mut known = run.known.clone();
    let listed = next.keyspaces.iter().map(|k| &k.descriptor);
    known.extend(listed.map(|d| (d.id, d)));
    let begin = first.manifest.start.next();
    let drops = known.values().filter_map(|d| d.dropped);
    let within = drops.filter(|at| (begin..=next.end).contains(at));
    let mut times = within.chain([begin]);
    times.any(|at| !known.values().any(|d| d.is_live_at(at)))
}

fn find(manifest: &Manifest, id: KeyspaceId) -> Option<&ManifestKeyspace> {
    manifest.keyspaces.iter().find(|k| k.descriptor.id == id)
}

/// What becomes of a run.
fn merge(parts: &[&Part]) -> Option<PlannedMerge> {
    let (first, last) = (parts.first()?, parts.last()?);
    let merges = parts.iter().flat_map(|part| {
        let own = std::iter::once(part.entry.manifest_hash);
        part.manifest.merges.iter().copied().chain(own)
    });
    let merged = MergedParts {
        parent: first.manifest.parent_manifest?,
        start: first.manifest.start,
        end: last.manifest.end,
        merges: merges.collect(),
    };
    Some(PlannedMerge {
        start: merged.start,
        end: merged.end,
        revision_history: last.manifest.revision_history,
        parts: parts.iter().map(|part| part.entry.path.clone()).collect(),
        keyspaces: keyspaces(parts, last),
        newest: Box::new(last.manifest.clone()),
        merged,
    })
}

/// The keyspaces of a merged layer: those of its end, and with history those too that were dropped within.
fn keyspaces(parts: &[&Part], last: &Part) -> Vec<MergedKeyspace> {
    let history = last.manifest.revision_history;
    let mut held: BTreeMap<KeyspaceId, Vec<(&Part, &ManifestKeyspace)>> = BTreeMap::new();
    for part in parts {
        for keyspace in &part.manifest.keyspaces {
            let id = keyspace.descriptor.id;
            held.entry(id).or_default().push((part, keyspace));
        }
    }
    held.retain(|id, _| history || find(&last.manifest, *id).is_some());
    held.into_values()
        .filter_map(|held| keyspace(&held, history))
        .collect()
}

/// A keyspace of a merged layer, from what its parts hold of it.
fn keyspace(held: &[(&Part, &ManifestKeyspace)], history: bool) -> Option<MergedKeyspace> {
    // What was held before it came in anew is of no use to a time that the layer can restore.
    let from = held.iter().rposition(|(_, k)| k.introduced).unwrap_or(0);
    let used = held.get(from..).unwrap_or_default();
    let ((_, oldest), (_, newest)) = (used.first()?, used.last()?);
    let excluded = newest.descriptor.settings.exclude_from_backup;
    let inputs = used
        .iter()
        .filter(|(_, k)| !k.files.is_empty() && !excluded)
        .map(|(part, k)| (part.entry.path.clone(), k.files.clone()));
    Some(MergedKeyspace {
        inputs: inputs.collect(),
        keyspace: ManifestKeyspace {
            introduced: oldest.introduced,
            gc_gap: oldest.gc_gap,
            revision_start: if history { oldest.revision_start } else { None },
            files: Vec::new(),
            ..(*newest).clone()
        },
    })
}

#[cfg(test)]
mod tests;

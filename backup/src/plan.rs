//! What a backup will do, decided from descriptors and manifests alone.
//!
//! A keyspace is *introduced* when the chain so far does not cover it from zero: it is new to the
//! chain, rows came into it other than by commits since (a restore), or its data was excluded
//! until now. An introduced keyspace is exported whole; the others only for `(chain end, end]`.

use std::collections::{BTreeMap, BTreeSet};

use icecore_archive::{LayerKind, Manifest};
use icecore_mvcc::{Descriptor, EngineId, KeyspaceId, NamePattern, Timestamp};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::mode::Method;
use crate::options::OnGcGap;

/// What a backup will do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPlan {
    /// Full or incremental.
    pub kind: LayerKind,
    /// The full backup whose chain it extends.
    pub onto: Option<String>,
    /// Where the layer begins (excluded); zero for a full.
    pub start: Timestamp,
    /// Where it ends (included).
    pub end: Timestamp,
    /// Whether every version in the window is kept.
    pub revision_history: bool,
    /// Whether it covers all keyspaces of the engine.
    pub whole_engine: bool,
    /// The patterns that select the keyspaces; none for the whole engine.
    pub patterns: Vec<String>,
    /// The keyspaces, by id.
    pub keyspaces: Vec<PlannedKeyspace>,
    /// How its files are made; [`plan`] leaves it at logical.
    pub method: Method,
    /// Why so.
    pub method_reason: String,
}

/// What it will do with one keyspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedKeyspace {
    /// The keyspace as of the end time.
    pub descriptor: Descriptor,
    /// Whether it is exported whole.
    pub introduced: bool,
    /// Versions at or before this are in earlier layers; zero where it is introduced.
    pub after: Timestamp,
    /// Whether its rows stay out of the backup.
    pub excluded: bool,
    /// Whether it was dropped within the window and all of it is collected: times before its drop are in no
    /// layer, and a restore to one must say so.
    pub lost: bool,
    /// The GC threshold that had passed the chain's end, where it is exported whole for that.
    pub gc_gap: Option<Timestamp>,
    /// Bytes of its SST files at the time of planning: an upper bound of the work.
    pub estimated_bytes: u64,
}

impl PlannedKeyspace {
    /// Whether its rows are read.
    pub(crate) const fn is_read(&self) -> bool {
        !self.excluded && !self.lost
    }

    /// Whether it is read from zero.
    pub(crate) const fn is_introduced(&self) -> bool {
        self.introduced && self.is_read()
    }

    /// Whether only what changed since the chain's end is read.
    pub(crate) const fn is_window(&self) -> bool {
        !self.introduced && self.is_read()
    }
}

/// The newest layer of the chain to extend.
#[derive(Debug, Clone, Copy)]
pub struct Parent<'a> {
    /// The full backup's path.
    pub chain: &'a str,
    /// The newest layer's manifest.
    pub manifest: &'a Manifest,
}

/// What to plan from.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// This engine.
    pub engine_id: EngineId,
    /// The newest layer to build on; none for a full.
    pub parent: Option<Parent<'a>>,
    /// The end time.
    pub end: Timestamp,
    /// The keyspaces that were live at the end time; with history also those dropped in the window.
    pub live: &'a [Descriptor],
    /// Those of them that were dropped, and of which nothing is left.
    pub lost: &'a BTreeSet<KeyspaceId>,
    /// The keyspaces that the engine has by now; what was restored after the end is told from them.
    pub present: &'a [Descriptor],
    /// The selection asked for; empty for all, or for the chain's.
    pub patterns: &'a [NamePattern],
    /// Whether every version in the window is kept.
    pub revision_history: bool,
    /// The GC thresholds, by keyspace; zero for those that are not in it.
    pub thresholds: &'a BTreeMap<KeyspaceId, Timestamp>,
    /// What is done where one has passed the chain's end.
    pub on_gc_gap: OnGcGap,
}

/// Plans a backup.
///
/// # Errors
/// [`Error::OtherEngine`], [`Error::NotAfterChain`], [`Error::OtherScope`],
/// [`Error::NothingMatches`], [`Error::RestoredLater`], [`Error::GcGap`].
pub fn plan(inputs: &Inputs<'_>) -> Result<BackupPlan> {
    let asked: Vec<String> = inputs.patterns.iter().map(ToString::to_string).collect();
    let (whole_engine, patterns) = match inputs.parent {
        None => (asked.is_empty(), asked),
        Some(parent) => chain_scope(inputs, parent, asked)?,
    };
    let selected = select(inputs, whole_engine, &patterns)?;
    let start = inputs.parent.map_or(Timestamp::MIN, |p| p.manifest.end);
    let covered: BTreeMap<KeyspaceId, &Descriptor> = inputs
        .parent
        .iter()
        .flat_map(|p| &p.manifest.keyspaces)
        .map(|k| (k.descriptor.id, &k.descriptor))
        .collect();
    let keyspaces = selected
        .into_iter()
        .map(|descriptor| {
            let introduced = is_introduced(descriptor, covered.get(&descriptor.id).copied(), start);
            PlannedKeyspace {
                introduced,
                after: if introduced { Timestamp::MIN } else { start },
                excluded: descriptor.settings.exclude_from_backup,
                lost: inputs.lost.contains(&descriptor.id),
                gc_gap: None,
                estimated_bytes: 0,
                descriptor: descriptor.clone(),
            }
        })
        .collect();
    let mut plan = BackupPlan {
        kind: if inputs.parent.is_some() {
            LayerKind::Incremental
        } else {
            LayerKind::Full
        },
        onto: inputs.parent.map(|p| p.chain.to_owned()),
        start,
        end: inputs.end,
        revision_history: inputs.revision_history,
        whole_engine,
        patterns,
        keyspaces,
        method: Method::Logical,
        method_reason: String::new(),
    };
    plan.close_gaps(inputs.thresholds, inputs.on_gc_gap)?;
    Ok(plan)
}

/// An incremental covers what its chain covers.
fn chain_scope(
    inputs: &Inputs<'_>,
    parent: Parent<'_>,
    asked: Vec<String>,
) -> Result<(bool, Vec<String>)> {
    let (chain, manifest) = (parent.chain.to_owned(), parent.manifest);
    if manifest.engine_id != inputs.engine_id {
        return Err(Error::OtherEngine {
            chain,
            theirs: manifest.engine_id,
            ours: inputs.engine_id,
        });
    }
    if inputs.end <= manifest.end {
        return Err(Error::NotAfterChain {
            chain,
            chain_end: manifest.end,
            end: inputs.end,
        });
    }
    if !asked.is_empty() && asked != manifest.patterns {
        let theirs = if manifest.whole_engine {
            "the whole engine".to_owned()
        } else {
            manifest.patterns.join(", ")
        };
        return Err(Error::OtherScope {
            chain,
            theirs,
            ours: asked.join(", "),
        });
    }
    Ok((manifest.whole_engine, manifest.patterns.clone()))
}

fn select<'a>(
    inputs: &Inputs<'a>,
    whole_engine: bool,
    patterns: &[String],
) -> Result<Vec<&'a Descriptor>> {
    let parsed: icecore_mvcc::Result<Vec<NamePattern>> =
        patterns.iter().map(|p| NamePattern::parse(p)).collect();
    let parsed = parsed.map_err(icecore_engine::Error::from)?;
    let is_meant =
        |d: &Descriptor| whole_engine || parsed.iter().any(|pattern| pattern.matches(&d.name));
    check_restored_later(inputs, is_meant)?;
    // A chain goes on when its keyspaces are gone: that is what the incremental records.
    if inputs.parent.is_none() {
        for pattern in &parsed {
            check_restored_later(inputs, |d| pattern.matches(&d.name))?;
            check_matched(inputs, pattern)?;
        }
    }
    Ok(inputs.live.iter().filter(|d| is_meant(d)).collect())
}

fn check_matched(inputs: &Inputs<'_>, pattern: &NamePattern) -> Result<()> {
    if inputs.live.iter().any(|d| pattern.matches(&d.name)) {
        return Ok(());
    }
    Err(Error::NothingMatches {
        pattern: pattern.to_string(),
        end: inputs.end,
    })
}

impl BackupPlan {
    /// Of keyspaces whose window begins below their threshold, takes all instead, or refuses. Returns how
    /// many there were; a second time there are none but by thresholds that rose since.
    ///
    /// # Errors
    /// [`Error::GcGap`] for the first of them, unless they are to be taken from zero.
    pub(crate) fn close_gaps(
        &mut self,
        thresholds: &BTreeMap<KeyspaceId, Timestamp>,
        on_gc_gap: OnGcGap,
    ) -> Result<usize> {
        let mut closed = 0;
        for planned in self.keyspaces.iter_mut().filter(|k| k.is_window()) {
            let threshold = thresholds.get(&planned.descriptor.id).copied();
            let Some(threshold) = threshold.filter(|threshold| *threshold > planned.after) else {
                continue;
            };
            if on_gc_gap == OnGcGap::Error {
                return Err(Error::GcGap {
                    keyspace: planned.descriptor.name.clone(),
                    start: planned.after,
                    threshold,
                    released: None,
                });
            }
            planned.introduced = true;
            planned.after = Timestamp::MIN;
            planned.gc_gap = Some(threshold);
            closed += 1;
        }
        Ok(closed)
    }

    /// Of these keyspaces the ones it would cover, had they not been restored only after its end.
    pub(crate) fn restored_later<'a>(
        &'a self,
        present: &'a [Descriptor],
    ) -> impl Iterator<Item = &'a Descriptor> {
        let patterns: Vec<NamePattern> = self.patterns.iter().flat_map(|p| p.parse()).collect();
        let is_meant =
            move |d: &Descriptor| self.whole_engine || patterns.iter().any(|p| p.matches(&d.name));
        restored_after(present, self.end, is_meant).map(|(_, descriptor)| descriptor)
    }
}

/// Of the keyspaces that are meant the ones that were restored after a time, with when.
fn restored_after(
    present: &[Descriptor],
    end: Timestamp,
    is_meant: impl Fn(&Descriptor) -> bool,
) -> impl Iterator<Item = (Timestamp, &Descriptor)> {
    present
        .iter()
        .filter(move |d| is_meant(d))
        .filter_map(|d| Some((d.restored()?, d)))
        .filter(move |(restored, _)| *restored > end)
}

/// Where no keyspace that is meant was there at the end, but one was restored since, its past may be what
/// is wanted; and where that past ends, nothing records.
fn check_restored_later(inputs: &Inputs<'_>, is_meant: impl Fn(&Descriptor) -> bool) -> Result<()> {
    let was_there = |d: &Descriptor| d.is_live_at(inputs.end) && is_meant(d);
    if inputs.live.iter().any(was_there) {
        return Ok(());
    }
    let later = restored_after(inputs.present, inputs.end, is_meant);
    let first = later.min_by_key(|(restored, _)| *restored);
    first.map_or(Ok(()), |(restored, keyspace)| {
        Err(Error::RestoredLater {
            keyspace: keyspace.name.clone(),
            end: inputs.end,
            restored,
        })
    })
}

fn is_introduced(now: &Descriptor, before: Option<&Descriptor>, chain_end: Timestamp) -> bool {
    let Some(before) = before else {
        return true;
    };
    now.introduced > chain_end
        || (before.settings.exclude_from_backup && !now.settings.exclude_from_backup)
}

#[cfg(test)]
mod tests;

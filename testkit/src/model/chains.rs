//! What backups and restores must do, worked out from the model alone.
//!
//! The rules are written down here a second time, from the design and not from the code that they
//! check: which keyspaces a layer holds, from which time on, which requests must be refused, and how far
//! back the history of a restored keyspace is true.

use std::collections::BTreeMap;

use icecore_archive::{ContentHash, FullPath, LayerPath};
use icecore_mvcc::model::ModelKeyspace;
use icecore_mvcc::{EngineId, KeyRange, KeyspaceId, KeyspaceSettings, NamePattern, Timestamp};

use super::known::{Known, KnownEngine};

/// A chain that a sequence has made.
#[derive(Debug, Clone)]
pub(crate) struct ChainRecord {
    /// Which of the collections.
    pub(crate) collection: usize,
    pub(crate) full: FullPath,
    pub(crate) engine: EngineId,
    /// Empty for the whole engine.
    pub(crate) scope: Vec<NamePattern>,
    /// In order; the full first.
    pub(crate) layers: Vec<LayerRecord>,
    /// Merged layers stand for some of them.
    pub(crate) merged: bool,
}

/// A layer that was committed.
#[derive(Debug, Clone)]
pub(crate) struct LayerRecord {
    pub(crate) path: LayerPath,
    pub(crate) hash: ContentHash,
    pub(crate) end: Timestamp,
    pub(crate) history: bool,
    pub(crate) keyspaces: BTreeMap<KeyspaceId, LayerKeyspace>,
}

/// A keyspace in a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LayerKeyspace {
    pub(crate) name: String,
    pub(crate) created: Timestamp,
    /// It came by a restore.
    pub(crate) restored: bool,
    pub(crate) dropped: Option<Timestamp>,
    pub(crate) settings: KeyspaceSettings,
    pub(crate) introduced: bool,
    /// The threshold that had passed the chain's end, if it was taken from zero for that.
    pub(crate) gap: Option<Timestamp>,
    /// Its rows stay out.
    pub(crate) excluded: bool,
    /// With history: from when on every version is there.
    pub(crate) true_from: Option<Timestamp>,
    /// Versions that the layer must hold.
    pub(crate) entries: u64,
}

/// Whether an operation must succeed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Forecast<T> {
    /// It must, with this outcome.
    Succeeds(T),
    /// It must be refused, with a text that holds all of these.
    Refused(Vec<String>),
}

/// What a backup is asked to do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BackupAsked<'a> {
    pub(crate) engine: EngineId,
    pub(crate) known: &'a KnownEngine,
    /// The threshold of the engine's own rows.
    pub(crate) system_threshold: Timestamp,
    /// The chain to extend.
    pub(crate) onto: Option<&'a ChainRecord>,
    pub(crate) scope: &'a [NamePattern],
    pub(crate) history: bool,
    pub(crate) end: Timestamp,
    /// What has a gap is taken from zero.
    pub(crate) reexport: bool,
}

/// What a layer must hold, or why there must be none.
pub(crate) fn forecast_backup(
    asked: &BackupAsked<'_>,
) -> Forecast<BTreeMap<KeyspaceId, LayerKeyspace>> {
    let parent = asked.onto.and_then(|chain| chain.layers.last());
    let start = parent.map_or(Timestamp::MIN, |layer| layer.end);
    if asked.system_threshold > asked.end {
        return Forecast::Refused(vec![
            asked.end.to_string(),
            asked.system_threshold.to_string(),
        ]);
    }
    if asked.onto.is_some_and(|chain| chain.engine != asked.engine) {
        return Forecast::Refused(vec!["belongs to engine".to_owned()]);
    }
    if parent.is_some() && asked.end <= start {
        return Forecast::Refused(vec![start.to_string()]);
    }
    if let Some(since) = restored_later(asked, asked.scope) {
        return Forecast::Refused(vec![asked.end.to_string(), since.to_string()]);
    }
    let selected = select(asked, start);
    let unmatched = |pattern: &&NamePattern| {
        !selected
            .iter()
            .any(|(_, known)| pattern.matches(&known.name))
    };
    for pattern in asked.scope.iter().filter(|_| parent.is_none()) {
        if let Some(since) = restored_later(asked, std::slice::from_ref(pattern)) {
            return Forecast::Refused(vec![asked.end.to_string(), since.to_string()]);
        }
        if unmatched(&pattern) {
            return Forecast::Refused(vec![format!("no keyspace matches {pattern}")]);
        }
    }
    let mut keyspaces = BTreeMap::new();
    for (id, known) in selected {
        let before = parent.and_then(|layer| layer.keyspaces.get(&id));
        let keyspace = layer_keyspace(asked, known, before, start);
        let needed = if keyspace.introduced {
            read_end(known, asked.end)
        } else {
            start
        };
        let lost = is_collected(known, asked.end);
        if !keyspace.excluded && !lost && known.threshold > needed {
            let times = vec![needed.to_string(), known.threshold.to_string()];
            let gap = "protected ts verification error: ".to_owned();
            return Forecast::Refused(if parent.is_some() && !keyspace.introduced {
                [vec![gap], times].concat()
            } else {
                times
            });
        }
        keyspaces.insert(id, keyspace);
    }
    Forecast::Succeeds(keyspaces)
}

pub(crate) fn is_meant(scope: &[NamePattern], name: &str) -> bool {
    scope.is_empty() || scope.iter().any(|pattern| pattern.matches(name))
}

/// When the first keyspace of a scope was restored after the end, if none of it lived at the end.
fn restored_later(asked: &BackupAsked<'_>, scope: &[NamePattern]) -> Option<Timestamp> {
    let meant = || {
        asked
            .known
            .present()
            .filter(|(_, k)| is_meant(scope, &k.name))
    };
    if meant().any(|(_, k)| k.is_live_at(asked.end)) {
        return None;
    }
    let restored = meant().filter(|(_, k)| k.restored && asked.end < k.created);
    restored.map(|(_, k)| k.created).min()
}

/// The keyspaces that lived at the end; with history those too whose last moment lies in the window.
fn select<'a>(asked: &BackupAsked<'a>, start: Timestamp) -> Vec<(KeyspaceId, &'a Known)> {
    let wanted = |known: &Known| {
        let died_within = known
            .dropped
            .is_some_and(|dropped| start < dropped && dropped <= asked.end);
        known.is_live_at(asked.end) || (asked.history && died_within)
    };
    let present = asked.known.present();
    present
        .filter(|(_, k)| is_meant(asked.scope, &k.name) && wanted(k))
        .collect()
}

/// The last moment up to the end at which a keyspace can be read.
fn read_end(known: &Known, end: Timestamp) -> Timestamp {
    known.dropped.map_or(end, |dropped| dropped.prev().min(end))
}

/// Whether nothing of a keyspace that was dropped by then can be read any more.
fn is_collected(known: &Known, end: Timestamp) -> bool {
    known
        .dropped
        .is_some_and(|dropped| dropped <= end && dropped <= known.threshold)
}

fn layer_keyspace(
    asked: &BackupAsked<'_>,
    known: &Known,
    before: Option<&LayerKeyspace>,
    start: Timestamp,
) -> LayerKeyspace {
    let (all, end) = (KeyRange::all(), read_end(known, asked.end));
    let settings = known.settings_at(end);
    let excluded = settings.exclude_from_backup;
    let lost = is_collected(known, asked.end);
    let new = before.is_none_or(|before| before.excluded && !excluded);
    let has_gap = !new && !excluded && !lost && known.threshold > start;
    let gap = (has_gap && asked.reexport).then_some(known.threshold);
    let introduced = new || gap.is_some();
    let from = match known.dropped.filter(|_| lost) {
        Some(dropped) => dropped,
        None if introduced => known.threshold.min(end),
        None => start,
    };
    let rows = match (introduced, asked.history) {
        _ if excluded || lost => Vec::new(),
        (true, true) => known.rows.full(&all, end, Some(from)),
        (true, false) => known.rows.full(&all, end, None),
        (false, history) => known.rows.changes(&all, start, end, !history),
    };
    LayerKeyspace {
        name: known.name.clone(),
        created: known.created,
        restored: known.restored,
        dropped: known.dropped.filter(|dropped| *dropped <= asked.end),
        settings,
        introduced,
        gap,
        excluded,
        true_from: (asked.history && !excluded).then_some(from),
        entries: rows.len() as u64,
    }
}

/// What a restore must bring back.
#[derive(Debug, Clone)]
pub(crate) struct Comeback {
    pub(crate) target: Timestamp,
    /// How many at most: merged layers make it fewer.
    pub(crate) layers: usize,
    /// Whether merged layers may stand for some.
    pub(crate) merged: bool,
    /// Whether it counts as the restore of a whole engine.
    pub(crate) whole_engine: bool,
    pub(crate) keyspaces: Vec<ComebackKeyspace>,
}

/// A keyspace that must come back.
#[derive(Debug, Clone)]
pub(crate) struct ComebackKeyspace {
    pub(crate) source: KeyspaceId,
    pub(crate) name: String,
    pub(crate) settings: KeyspaceSettings,
    /// How far back its history must be true; none where its rows were left out of the backup.
    pub(crate) threshold: Option<Timestamp>,
    pub(crate) rows: ModelKeyspace,
}

/// What a restore must bring back, or that it must be refused.
pub(crate) fn forecast_restore(
    chain: &ChainRecord,
    truth: &KnownEngine,
    as_of: Option<Timestamp>,
    scope: &[NamePattern],
    history: bool,
) -> Forecast<Comeback> {
    let refused = || Forecast::Refused(Vec::new());
    let Some(newest) = chain.layers.last() else {
        return refused();
    };
    let target = as_of.unwrap_or(newest.end);
    let Some(last) = chain.layers.iter().position(|layer| target <= layer.end) else {
        return refused();
    };
    let applied = chain.layers.get(..=last).unwrap_or_default();
    let Some(last) = applied.last() else {
        return refused();
    };
    if target < last.end && !covers_inside(last, target) {
        return refused();
    }
    let live =
        |k: &LayerKeyspace| k.created <= target && k.dropped.is_none_or(|dropped| target < dropped);
    let live: Vec<_> = last.keyspaces.iter().filter(|(_, k)| live(k)).collect();
    if is_lost(applied, target, scope) || (live.is_empty() && came_later(applied, target)) {
        return refused();
    }
    if scope
        .iter()
        .any(|pattern| !live.iter().any(|(_, k)| pattern.matches(&k.name)))
    {
        return refused();
    }
    let mut keyspaces = Vec::new();
    for (id, keyspace) in live.into_iter().filter(|(_, k)| is_meant(scope, &k.name)) {
        let Some(threshold) = oldest_true_time(applied, *id, target) else {
            return refused();
        };
        let rows = match truth.keyspaces.get(id) {
            Some(known) if !keyspace.excluded => known.rows_until(target),
            _ => ModelKeyspace::new(),
        };
        let threshold = if history { threshold } else { target };
        keyspaces.push(ComebackKeyspace {
            source: *id,
            name: keyspace.name.clone(),
            settings: keyspace.settings.clone(),
            threshold: (!keyspace.excluded).then_some(threshold),
            rows,
        });
    }
    let whole_engine = chain.scope.is_empty() && scope.is_empty();
    Forecast::Succeeds(Comeback {
        target,
        layers: applied.len(),
        merged: chain.merged,
        whole_engine,
        keyspaces,
    })
}

/// Whether one that is meant is in the layer before the last, undropped, and not in the last: it was dropped
/// between them, nobody can tell when, and the target may be before that.
fn is_lost(applied: &[LayerRecord], target: Timestamp, scope: &[NamePattern]) -> bool {
    let [.., before, last] = applied else {
        return false;
    };
    let lived = before.keyspaces.iter().filter(|(_, k)| k.dropped.is_none());
    let mut meant = lived.filter(|(_, k)| is_meant(scope, &k.name));
    target < last.end && meant.any(|(id, _)| !last.keyspaces.contains_key(id))
}

/// Whether a target at which nothing lived lies before the first of all keyspaces, or before a restore.
fn came_later(applied: &[LayerRecord], target: Timestamp) -> bool {
    let all = || applied.iter().flat_map(|layer| layer.keyspaces.values());
    let had_any = all().any(|k| k.created <= target);
    let mut later = all().filter(|k| target < k.created);
    later.any(|k| !had_any || k.restored)
}

/// Whether a layer can be cut at a time before its end.
fn covers_inside(layer: &LayerRecord, target: Timestamp) -> bool {
    let is_full = layer.path.incremental().is_none();
    let earliest = layer.keyspaces.values().filter_map(|k| k.true_from).min();
    layer.history && (!is_full || earliest.is_some_and(|earliest| earliest <= target))
}

/// From when on reads of a restored keyspace are true; none if not even the target is.
fn oldest_true_time(
    applied: &[LayerRecord],
    id: KeyspaceId,
    target: Timestamp,
) -> Option<Timestamp> {
    let mut oldest = target;
    for layer in applied.iter().rev() {
        let keyspace = layer.keyspaces.get(&id)?;
        if keyspace.excluded {
            return Some(target);
        }
        match keyspace.true_from {
            Some(from) if from > target => return None,
            Some(from) => oldest = oldest.min(from),
            None => {
                let end = keyspace
                    .dropped
                    .map_or(layer.end, |dropped| dropped.prev().min(layer.end));
                return (end <= target).then_some(oldest.min(end));
            }
        }
        if keyspace.introduced {
            break;
        }
    }
    Some(oldest)
}

//! Which chains stay: decided from what is known of them, without I/O.
//!
//! Each *source* is judged alone: an engine, with the keyspaces that its backups select. A chain that can be
//! restored whole counts; one that cannot is kept as long as its time is, and counts for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use icecore_archive::{ContentHash, FullPath, LayerEntry, Manifest, plan};
use icecore_mvcc::Timestamp;
use serde::Serialize;

/// How long chains are kept. With both conditions a chain stays if either wants it; with none all stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Policy {
    /// Keep the newest so many fulls with their chains, at least 1.
    pub keep_fulls: Option<usize>,
    /// Keep what is needed to restore every time within so long before now that can be restored now.
    pub keep_for: Option<Duration>,
}

/// What is known of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainFacts {
    /// Its name.
    pub full: FullPath,
    /// Whom it is of: chains of other sources do not make up for it.
    pub source: String,
    /// The end of its full.
    pub begins: Timestamp,
    /// The newest time that it can restore.
    pub reaches: Timestamp,
    /// Whether all of it is there.
    pub is_whole: bool,
}

/// What becomes of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Verdict {
    /// It stays, for these reasons.
    Keep(Vec<&'static str>),
    /// It goes.
    Expire,
}

impl Verdict {
    /// Whether the chain stays.
    #[must_use]
    pub const fn keeps(&self) -> bool {
        matches!(self, Self::Keep(_))
    }
}

/// Judges every chain; in the order in which they are given.
#[must_use]
pub fn judge(chains: &[ChainFacts], policy: Policy, now: Timestamp) -> Vec<Verdict> {
    let mut by_source: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (position, chain) in chains.iter().enumerate() {
        by_source.entry(&chain.source).or_default().push(position);
    }
    let mut verdicts = vec![Verdict::Expire; chains.len()];
    for positions in by_source.into_values() {
        let source: Vec<&ChainFacts> = positions.iter().filter_map(|p| chains.get(*p)).collect();
        for (position, verdict) in positions.iter().zip(judge_source(&source, policy, now)) {
            if let Some(slot) = verdicts.get_mut(*position) {
                *slot = verdict;
            }
        }
    }
    verdicts
}

/// The chains of one source.
fn judge_source(chains: &[&ChainFacts], policy: Policy, now: Timestamp) -> Vec<Verdict> {
    let mut whole: Vec<&ChainFacts> = chains.iter().copied().filter(|c| c.is_whole).collect();
    whole.sort_by(|a, b| (b.begins, &a.full).cmp(&(a.begins, &b.full)));
    let Some(newest) = whole.first() else {
        let reason = "no backup of this source can be restored whole";
        return vec![Verdict::Keep(vec![reason]); chains.len()];
    };
    // Older than the last that counts: none if there are fewer.
    let counted = policy
        .keep_fulls
        .map(|keep| match whole.get(keep.saturating_sub(1)) {
            Some(last) => last.begins,
            None => Timestamp::MIN,
        });
    let horizon = policy.keep_for.map(|keep| before(now, keep));
    // Where every time since the horizon that can be restored is in chains that reach it, this one shows
    // what was there at the horizon.
    let at_horizon = horizon.and_then(|horizon| whole.iter().find(|c| c.begins <= horizon));
    let judged = chains.iter().map(|chain| {
        let mut reasons = Vec::new();
        if policy == Policy::default() {
            reasons.push("no limit was given");
        }
        if counted.is_some_and(|last| chain.begins >= last) {
            reasons.push("among the newest fulls");
        }
        if horizon.is_some_and(|horizon| chain.reaches >= horizon) {
            reasons.push("within the time to keep");
        }
        if at_horizon.is_some_and(|at| at.full == chain.full) {
            reasons.push("the newest that begins before the time to keep");
        }
        if chain.full == newest.full {
            reasons.push("the newest that can be restored");
        }
        match reasons.is_empty() {
            true => Verdict::Expire,
            false => Verdict::Keep(reasons),
        }
    });
    judged.collect()
}

fn before(now: Timestamp, long: Duration) -> Timestamp {
    let nanos = u64::try_from(long.as_nanos()).unwrap_or(u64::MAX);
    Timestamp::from_nanos(now.nanos().saturating_sub(nanos))
}

/// What of the promise a verdict breaks, in one line: checked once more before anything is done.
#[must_use]
pub fn broken_promise(
    chains: &[ChainFacts],
    verdicts: &[Verdict],
    policy: Policy,
    now: Timestamp,
) -> Option<String> {
    let judged = || chains.iter().zip(verdicts);
    let sources: BTreeSet<&str> = chains.iter().map(|chain| chain.source.as_str()).collect();
    for source in sources {
        let of_source = || judged().filter(|(chain, _)| chain.source == source && chain.is_whole);
        let kept = || of_source().filter(|(_, verdict)| verdict.keeps());
        let (had, left) = (of_source().count(), kept().count());
        let promised = had.min(policy.keep_fulls.unwrap_or(1));
        if left < promised {
            return Some(format!("{left} of {had} backups of {source} would stay"));
        }
        let newest = |begins: &mut dyn Iterator<Item = Timestamp>| begins.max();
        if newest(&mut of_source().map(|(c, _)| c.begins))
            != newest(&mut kept().map(|(c, _)| c.begins))
        {
            return Some(format!("the newest backup of {source} would go"));
        }
    }
    let horizon = before(now, policy.keep_for?);
    let lost = judged().find(|(chain, verdict)| chain.reaches >= horizon && !verdict.keeps());
    lost.map(|(chain, _)| format!("times up to {} would go with {}", chain.reaches, chain.full))
}

/// The layers of a chain that merged ones stand for, so that nothing restorable is lost without them.
#[must_use]
pub fn replaced(layers: &[LayerEntry], manifests: &[Manifest]) -> Vec<LayerEntry> {
    // A child may name a layer as its parent, or one that stands for it: nothing else makes up for it.
    let stood_for: BTreeSet<ContentHash> = manifests
        .iter()
        .flat_map(|manifest| manifest.merges.iter().copied())
        .collect();
    let without = |gone: &[LayerEntry]| -> Vec<LayerEntry> {
        let rest = layers.iter().filter(|layer| !gone.contains(layer));
        rest.cloned().collect()
    };
    // The cheap look first: the end of the layer must be reached without it.
    let is_spare = |layer: &&LayerEntry| {
        let at_end = plan::Target::At(layer.end);
        stood_for.contains(&layer.manifest_hash)
            && plan::chain(&without(std::slice::from_ref(*layer)), at_end).is_ok()
    };
    let spare: Vec<LayerEntry> = layers.iter().filter(is_spare).cloned().collect();
    if spare.is_empty() {
        return spare;
    }
    let before = plan::restorable(layers, manifests);
    let is_same = |gone: &[LayerEntry]| plan::restorable(&without(gone), manifests) == before;
    if is_same(&spare) {
        return spare;
    }
    let mut gone = Vec::new();
    for layer in spare {
        gone.push(layer);
        if !is_same(&gone) {
            gone.pop();
        }
    }
    gone
}

#[cfg(test)]
mod tests;

//! Proves a chain by restoring it.
//!
//! The newest time that is still to be proven is restored into a scratch database, and there everything is
//! read that this restore says it can tell: with revision history the ends of many layers, else its own
//! target alone. Then comes the newest time that is left. What comes back is held against the fingerprints of
//! the manifests. For some times within layers with history, of which no manifest tells, a restore as of
//! that time is held against the same time read in the history of a later restore.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use icecore_archive::plan::{Restorable, restorable};
use icecore_archive::{
    BackupSelector, Chain, Collection, FileEntry, FileId, LayerEntry, Manifest, StagingFolder,
    blocking,
};
use icecore_engine::{Engine, Options};
use icecore_mvcc::{Fingerprint, KeyspaceId, NamePattern, Timestamp};

use super::{Meter, VerifiedLayer, VerifiedState, VerifyOptions};
use crate::error::{Error, Result};
use crate::options::RestoreOptions;
use crate::plan::{PlannedRestore, RestorePlan, state_time};
use crate::run::{plan_restore, restore_planned};
use crate::space::check_space;

/// Restores the times of one chain.
pub(super) struct Prover<'a> {
    collection: &'a Collection,
    chain: &'a Chain,
    manifests: &'a [Option<Manifest>],
    /// What the chain promises, of the manifests that read.
    promised: Vec<Restorable>,
    threads: usize,
    scratch: PathBuf,
    /// Files that a restore brought, and so read whole.
    taken: HashSet<FileId>,
}

/// A state that a manifest tells of.
#[derive(Debug, Clone)]
struct Claim {
    /// The position of the layer.
    layer: usize,
    keyspace: KeyspaceId,
    name: String,
    at: Timestamp,
    expected: Option<Fingerprint>,
}

/// A time within a layer with history, and what the history of a later restore has of it.
struct Between {
    layer: usize,
    at: Timestamp,
    found: BTreeMap<KeyspaceId, (String, Fingerprint)>,
}

/// A restored database that goes when it is dropped.
struct Scratch {
    // First: the database is closed before its folder goes.
    engine: Engine,
    plan: RestorePlan,
    threads: usize,
    _folder: StagingFolder,
}

impl<'a> Prover<'a> {
    pub(super) fn new(
        collection: &'a Collection,
        chain: &'a Chain,
        manifests: &'a [Option<Manifest>],
        options: &VerifyOptions,
    ) -> Result<Self> {
        let scratch = options.scratch.clone().unwrap_or_else(std::env::temp_dir);
        // Told at once, not as a problem of each layer.
        drop(StagingFolder::new(&scratch, "icecore-verify")?);
        let readable: Vec<Manifest> = manifests.iter().flatten().cloned().collect();
        Ok(Self {
            collection,
            chain,
            manifests,
            promised: restorable(chain.layers(), &readable),
            threads: options.threads,
            scratch,
            taken: HashSet::new(),
        })
    }

    /// Proves every layer's end and some times between; how many restores that took.
    pub(super) async fn prove(
        &mut self,
        layers: &mut [VerifiedLayer],
        meter: &mut Meter,
    ) -> Result<u64> {
        let mut claims = self.claims();
        let mut between = between(self.chain.layers());
        let mut restores = 0;
        while let Some(at) = claims.iter().map(|claim| claim.at).max() {
            restores += 1;
            let restored = self.restore(at, Vec::new(), meter).await;
            let (told, untold) = claims.into_iter().partition(|claim: &Claim| {
                let tells = |scratch: &Scratch| scratch.tells(claim.keyspace, claim.at);
                claim.at == at || restored.as_ref().is_ok_and(tells)
            });
            claims = untold;
            match restored {
                Ok(scratch) => {
                    hold_against(&scratch, told, layers).await;
                    look_between(&scratch, &mut between).await?;
                    scratch.close().await?;
                }
                Err(error) => {
                    for claim in told {
                        add_problem(layers, claim.layer, cannot_restore(at, &error));
                    }
                }
            }
        }
        for between in between.into_iter().filter(|b| !b.found.is_empty()) {
            restores += u64::from(self.prove_between(between, layers, meter).await?);
        }
        Ok(restores)
    }

    /// What the manifests tell of states, those of dropped keyspaces only where they can be restored.
    fn claims(&self) -> Vec<Claim> {
        let manifests = self.manifests.iter().enumerate();
        let told = manifests.filter_map(|(layer, manifest)| Some((layer, manifest.as_ref()?)));
        let claims = told.flat_map(|(layer, manifest)| {
            let keyspaces = manifest.keyspaces.iter();
            let with_rows = keyspaces.filter(|k| !k.descriptor.settings.exclude_from_backup);
            with_rows.map(move |keyspace| Claim {
                layer,
                keyspace: keyspace.descriptor.id,
                name: keyspace.descriptor.name.clone(),
                at: state_time(manifest, keyspace),
                expected: keyspace.fingerprint,
            })
        });
        let ends: HashSet<Timestamp> = self.chain.layers().iter().map(|layer| layer.end).collect();
        claims
            .filter(|claim| ends.contains(&claim.at) || self.promises(&claim.name, claim.at))
            .collect()
    }

    fn promises(&self, name: &str, at: Timestamp) -> bool {
        let mut ranges = self.promised.iter();
        ranges.any(|range| range.keyspace == name && range.from <= at && at <= range.until)
    }

    /// Restores a time, of some keyspaces or all.
    async fn restore(
        &mut self,
        at: Timestamp,
        keyspaces: Vec<NamePattern>,
        meter: &mut Meter,
    ) -> Result<Scratch> {
        let options = RestoreOptions {
            from: BackupSelector::Full(self.chain.full().clone()),
            as_of: Some(at),
            keyspaces,
            threads: self.threads,
            ..RestoreOptions::default()
        };
        let plan = plan_restore(self.collection, &options).await?;
        check_space(&plan, &self.scratch)?;
        let folder = StagingFolder::new(&self.scratch, "icecore-verify")?;
        let path = folder.path().join("db");
        let engine = blocking(move || Ok::<_, Error>(Engine::open(path, &Options::default())?));
        let engine = engine.await?;
        restore_planned(&engine, self.collection, &plan, &options).await?;
        let files = plan.keyspaces.iter().flat_map(PlannedRestore::files);
        let new = files.filter(|planned| self.taken.insert(planned.file.id));
        meter.advance(new.map(|planned| planned.file.stored_bytes));
        Ok(Scratch {
            engine,
            plan,
            threads: self.threads,
            _folder: folder,
        })
    }

    /// Restores a time within a layer, and compares; whether there was anything to restore.
    async fn prove_between(
        &mut self,
        between: Between,
        layers: &mut [VerifiedLayer],
        meter: &mut Meter,
    ) -> Result<bool> {
        let (at, layer) = (between.at, between.layer);
        let found = between.found.into_values();
        let found: Vec<_> = found.filter(|(name, _)| self.promises(name, at)).collect();
        if found.is_empty() {
            return Ok(false);
        }
        let names: icecore_mvcc::Result<Vec<NamePattern>> = found
            .iter()
            .map(|(name, _)| NamePattern::parse(name))
            .collect();
        let names = names.map_err(icecore_engine::Error::from)?;
        let scratch = match self.restore(at, names, meter).await {
            Ok(scratch) => scratch,
            Err(error) => {
                add_problem(layers, layer, cannot_restore(at, &error));
                return Ok(true);
            }
        };
        for (name, in_history) in found {
            let planned = scratch
                .plan
                .keyspaces
                .iter()
                .find(|k| k.source.name == name);
            let Some(planned) = planned else { continue };
            let restored = scratch.fingerprint(planned, at).await?;
            add_state(layers, layer, &name, at, restored, Some(in_history));
            if restored != in_history {
                let problem = format!(
                    "keyspace {name} as of {at} comes back with fingerprint {restored}; read in the history of a later restore it has {in_history}"
                );
                add_problem(layers, layer, problem);
            }
        }
        scratch.close().await?;
        Ok(true)
    }

    /// Takes the files that a restore read from those that are still to be read, and counts them.
    pub(super) fn leave_out(&self, left: &mut [Vec<FileEntry>], layers: &mut [VerifiedLayer]) {
        for (left, layer) in left.iter_mut().zip(layers) {
            left.retain(|file| {
                let taken = self.taken.contains(&file.id);
                if taken {
                    layer.read_files = layer.read_files.saturating_add(1);
                    layer.read_bytes = layer.read_bytes.saturating_add(file.stored_bytes);
                }
                !taken
            });
        }
    }
}

/// The middle of the newest and of the oldest layer with history.
fn between(layers: &[LayerEntry]) -> Vec<Between> {
    let middles = layers.iter().enumerate().filter_map(|(layer, entry)| {
        let from = entry.history_from?.max(entry.start);
        let half = entry.end.nanos().saturating_sub(from.nanos()) / 2;
        let at = Timestamp::from_nanos(from.nanos().saturating_add(half));
        (from < at).then(|| Between {
            layer,
            at,
            found: BTreeMap::new(),
        })
    });
    let mut middles: Vec<Between> = middles.collect();
    if middles.len() > 2 {
        middles.drain(1..middles.len() - 1);
    }
    middles
}

impl Scratch {
    /// The keyspace, where this restore says that it can be read as of a time.
    fn planned(&self, keyspace: KeyspaceId, at: Timestamp) -> Option<&PlannedRestore> {
        let mut planned = self.plan.keyspaces.iter();
        planned.find(|planned| {
            planned.source.id == keyspace
                && planned.source.is_live_at(at)
                && planned.threshold <= at
                && at <= self.plan.target
        })
    }

    fn tells(&self, keyspace: KeyspaceId, at: Timestamp) -> bool {
        self.planned(keyspace, at).is_some()
    }

    async fn fingerprint(&self, planned: &PlannedRestore, at: Timestamp) -> Result<Fingerprint> {
        let (engine, name, threads) = (self.engine.clone(), planned.name.clone(), self.threads);
        blocking(move || {
            let at = engine.snapshot_at(at)?;
            Ok::<_, Error>(engine.keyspace(&name)?.fingerprint_at(&at, threads)?)
        })
        .await
    }

    async fn close(self) -> Result<()> {
        let Self {
            engine, _folder, ..
        } = self;
        blocking(move || {
            engine.close()?;
            drop(_folder);
            Ok::<_, Error>(())
        })
        .await
    }
}

/// Reads what the manifests tell of, and compares.
async fn hold_against(scratch: &Scratch, claims: Vec<Claim>, layers: &mut [VerifiedLayer]) {
    for claim in claims {
        let (name, at) = (&claim.name, claim.at);
        let Some(planned) = scratch.planned(claim.keyspace, at) else {
            add_problem(
                layers,
                claim.layer,
                format!("keyspace {name} does not come back as of {at}"),
            );
            continue;
        };
        let found = match scratch.fingerprint(planned, at).await {
            Ok(found) => found,
            Err(error) => {
                let problem =
                    format!("keyspace {name} came back, and does not read as of {at}: {error}");
                add_problem(layers, claim.layer, problem);
                continue;
            }
        };
        add_state(layers, claim.layer, name, at, found, claim.expected);
        if let Some(expected) = claim.expected.filter(|expected| *expected != found) {
            let problem = format!(
                "keyspace {name} as of {at} comes back with fingerprint {found}, its manifest says {expected}"
            );
            add_problem(layers, claim.layer, problem);
        }
    }
}

/// Reads the times within layers that a restore has in its history.
async fn look_between(scratch: &Scratch, between: &mut [Between]) -> Result<()> {
    for between in between {
        for planned in &scratch.plan.keyspaces {
            let keyspace = planned.source.id;
            let excluded = planned.source.settings.exclude_from_backup;
            // At its own target a restore would be held against itself.
            let earlier = between.at < scratch.plan.target;
            if excluded || !earlier || !scratch.tells(keyspace, between.at) {
                continue;
            }
            if !between.found.contains_key(&keyspace) {
                let found = scratch.fingerprint(planned, between.at).await?;
                let name = planned.source.name.clone();
                between.found.insert(keyspace, (name, found));
            }
        }
    }
    Ok(())
}

fn cannot_restore(at: Timestamp, error: &Error) -> String {
    format!("it does not restore as of {at}: {error}")
}

fn add_problem(layers: &mut [VerifiedLayer], layer: usize, problem: String) {
    if let Some(layer) = layers.get_mut(layer)
        && !layer.problems.contains(&problem)
    {
        layer.problems.push(problem);
    }
}

fn add_state(
    layers: &mut [VerifiedLayer],
    layer: usize,
    keyspace: &str,
    at: Timestamp,
    found: Fingerprint,
    expected: Option<Fingerprint>,
) {
    if let Some(layer) = layers.get_mut(layer) {
        layer.states.push(VerifiedState {
            keyspace: keyspace.to_owned(),
            at,
            found,
            expected,
        });
    }
}

#[cfg(test)]
mod tests {
    use icecore_archive::{ContentHash, FullPath, LayerPath};

    use super::*;

    fn layer(start: u64, end: u64, history: Option<u64>) -> LayerEntry {
        let full: FullPath = "full".parse().unwrap();
        LayerEntry {
            path: LayerPath::full_at(full),
            start: Timestamp::from_nanos(start),
            end: Timestamp::from_nanos(end),
            history_from: history.map(Timestamp::from_nanos),
            stored_bytes: 0,
            entries: 0,
            manifest_hash: ContentHash::of(b""),
        }
    }

    fn times(layers: &[LayerEntry]) -> Vec<(usize, u64)> {
        let between = between(layers).into_iter();
        between.map(|b| (b.layer, b.at.nanos())).collect()
    }

    #[test]
    fn times_between_are_of_the_oldest_and_the_newest_layer_with_history() {
        let layers = [
            layer(0, 100, Some(60)),
            layer(100, 200, Some(100)),
            layer(200, 300, None),
            layer(300, 400, Some(300)),
        ];
        assert_eq!(times(&layers), [(0, 80), (3, 350)]);
        assert_eq!(times(&layers[1..3]), [(0, 150)]);
        assert_eq!(times(&layers[2..3]), []);
        // No time lies strictly between.
        assert_eq!(times(&[layer(0, 100, Some(99))]), []);
    }
}

//! Backups: asked of the subject, compared with what the model says they must hold.

use std::collections::{BTreeMap, BTreeSet};

use icecore_archive::{BackupSelector, Collection, LayerKind, LayerPath};
use icecore_backup::{
    BackupOptions, BackupReport, Fingerprints, Method, Mode, OnGcGap, backup, chain_owner,
};
use icecore_gc::{Holder, ProtectedTimestamps, Purpose, Record};
use icecore_mvcc::model::ModelKeyspace;
use icecore_mvcc::{Fingerprint, Fingerprinter, KeyRange, KeyspaceId, NamePattern, Timestamp};

use super::bugs::{Bug, incremental_without_a_tombstone};
use super::chains::{
    BackupAsked, ChainRecord, Forecast, LayerKeyspace, LayerRecord, forecast_backup,
};
use super::pool;
use super::world::World;
use crate::failure::{Failure, Result, ensure};

/// Keyspaces of a layer by their id.
type Keyspaces = BTreeMap<KeyspaceId, LayerKeyspace>;

impl World {
    pub(crate) fn full(
        &mut self,
        collection: usize,
        scope: u8,
        history: bool,
        age: u8,
    ) -> Result<()> {
        let scope = pool::scope(scope);
        let as_of = self.known()?.time(age);
        let forecast = self.forecast(None, &scope, history, as_of, false)?;
        let mode = self.mode(history && as_of.is_none());
        let options = BackupOptions {
            as_of,
            keyspaces: scope.clone(),
            revision_history: history,
            mode,
            // Of files that are copied there are none otherwise.
            fingerprints: match mode == Mode::Fast && self.dice.one_in(2) {
                true => Fingerprints::Always,
                false => Fingerprints::Auto,
            },
            threads: 1 + self.dice.below(2),
            ..BackupOptions::default()
        };
        let before = self.records()?;
        let Some((report, keyspaces)) = self.take(collection, &options, forecast)? else {
            return Ok(());
        };
        ensure!(
            report.kind == LayerKind::Full,
            "a full backup came out as {:?}",
            report.kind
        );
        self.chains.push(ChainRecord {
            collection,
            full: report.layer.full().clone(),
            engine: self.engine()?.id(),
            scope,
            layers: vec![layer(&report, keyspaces)],
            merged: false,
        });
        self.held(collection, self.chains.len().saturating_sub(1), &before)
    }

    pub(crate) fn incremental(
        &mut self,
        chain: u8,
        history: bool,
        age: u8,
        reexport: bool,
    ) -> Result<()> {
        let Some(position) = self.chain(chain) else {
            return Ok(());
        };
        let as_of = self.known()?.time(age);
        let Some(onto) = self.chains.get(position).cloned() else {
            return Ok(());
        };
        let forecast = self.forecast(Some(&onto), &onto.scope, history, as_of, reexport)?;
        if self.bug == Some(Bug::IncrementalDropsATombstone)
            && let Forecast::Succeeds(keyspaces) = &forecast
            && self.take_a_wrong_one(position, &onto, keyspaces, as_of)?
        {
            return Ok(());
        }
        let options = BackupOptions {
            as_of,
            onto: Some(self.selector(&onto)),
            revision_history: history,
            on_gc_gap: match reexport {
                true => OnGcGap::Reexport,
                false => OnGcGap::Error,
            },
            threads: 1 + self.dice.below(2),
            ..BackupOptions::default()
        };
        let before = self.records()?;
        let Some((report, keyspaces)) = self.take(onto.collection, &options, forecast)? else {
            return Ok(());
        };
        let expected = (
            LayerKind::Incremental,
            onto.layers.last().map(|layer| layer.end),
        );
        let found = (report.kind, Some(report.start));
        ensure!(
            found == expected,
            "an incremental came out as {found:?}, not {expected:?}"
        );
        if let Some(chain) = self.chains.get_mut(position) {
            chain.layers.push(layer(&report, keyspaces));
        }
        self.held(onto.collection, position, &before)
    }

    /// How a full is made, where it can be by copying. What it must hold is the same.
    fn mode(&mut self, may_be_fast: bool) -> Mode {
        match may_be_fast && self.dice.one_in(2) {
            true => Mode::Fast,
            false => Mode::Auto,
        }
    }

    /// The position of a chain, counted back from the newest.
    pub(crate) fn chain(&self, back: u8) -> Option<usize> {
        let last = self.chains.len().checked_sub(1)?;
        Some(last - usize::from(back) % self.chains.len())
    }

    /// How a user names the chain: `LATEST` where it is.
    pub(crate) fn selector(&mut self, chain: &ChainRecord) -> BackupSelector {
        let end = |chain: &ChainRecord| chain.layers.first().map(|full| full.end);
        let rivals = self
            .chains
            .iter()
            .filter(|c| c.collection == chain.collection && c.full != chain.full);
        let newest = rivals
            .map(end)
            .max()
            .is_none_or(|newest| newest < end(chain));
        if newest && self.dice.one_in(2) {
            return BackupSelector::Latest;
        }
        BackupSelector::Full(chain.full.clone())
    }

    fn forecast(
        &self,
        onto: Option<&ChainRecord>,
        scope: &[NamePattern],
        history: bool,
        as_of: Option<Timestamp>,
        reexport: bool,
    ) -> Result<Forecast<Keyspaces>> {
        let engine = self.engine()?;
        let end = as_of.unwrap_or_else(|| engine.now());
        if end > engine.now() {
            return Ok(Forecast::Refused(vec![end.to_string()]));
        }
        Ok(forecast_backup(&BackupAsked {
            engine: engine.id(),
            known: self.known()?,
            system_threshold: self.system_threshold()?,
            onto,
            scope,
            history,
            end,
            reexport,
        }))
    }

    /// Takes a backup, and holds it against the forecast.
    fn take(
        &mut self,
        collection: usize,
        options: &BackupOptions,
        forecast: Forecast<Keyspaces>,
    ) -> Result<Option<(BackupReport, Keyspaces)>> {
        let (engine, store) = (self.engine()?, self.collection(collection)?);
        let before = self.listing(collection)?;
        let outcome = self.runtime.block_on(backup(&engine, &store, options));
        let after = self.listing(collection)?;
        match (outcome, forecast) {
            (Ok(report), Forecast::Succeeds(keyspaces)) => {
                let added: Vec<_> = after
                    .iter()
                    .filter(|layer| !before.contains(layer))
                    .collect();
                let expected = (report.layer.to_string(), report.start, report.end);
                ensure!(
                    added == [&expected],
                    "{added:?} are listed after {expected:?} was taken"
                );
                compare(&report, &keyspaces)?;
                self.compare_fingerprints(collection, &report, &keyspaces)?;
                Ok(Some((report, keyspaces)))
            }
            (Ok(report), Forecast::Refused(why)) => Err(Failure::Mismatch(format!(
                "backup {} was taken, against {why:?}",
                report.layer
            ))),
            (Err(error), forecast) => {
                ensure!(
                    before == after,
                    "a failed backup changed the listing: {error}"
                );
                let text = error.to_string();
                let Forecast::Refused(named) = forecast else {
                    return Err(error.into());
                };
                ensure!(
                    named.iter().all(|part| text.contains(part)),
                    "the refusal does not name {named:?}: {text}"
                );
                Ok(None)
            }
        }
    }

    /// The keyspaces of which a layer may tell no fingerprint: copied files are not read, so nothing is known
    /// of what they show, and incrementals have nothing to go on from.
    fn without_fingerprint(
        &self,
        store: &Collection,
        report: &BackupReport,
    ) -> Result<BTreeSet<KeyspaceId>> {
        let full = LayerPath::full_at(report.layer.full().clone());
        if full == report.layer && report.method == Method::Logical {
            return Ok(BTreeSet::new());
        }
        let (manifest, _) = self.runtime.block_on(store.read_manifest(&full))?;
        let keyspaces = manifest.keyspaces.iter();
        let silent = keyspaces.filter(|keyspace| keyspace.fingerprint.is_none());
        Ok(silent.map(|keyspace| keyspace.descriptor.id).collect())
    }

    /// Each keyspace whose rows are in the layer has the fingerprint of the state that the model has at the
    /// layer's end, or just before its drop. By their ids: a dropped keyspace and a later one may share a name.
    fn compare_fingerprints(
        &self,
        collection: usize,
        report: &BackupReport,
        keyspaces: &Keyspaces,
    ) -> Result<()> {
        let collection = self.collection(collection)?;
        let silent = self.without_fingerprint(&collection, report)?;
        let read = collection.read_manifest(&report.layer);
        let (manifest, _) = self.runtime.block_on(read)?;
        let text = |print: Option<Fingerprint>| print.map(|print| print.to_string());
        let told = report.keyspaces.iter().map(|k| text(k.fingerprint));
        let mut told: Vec<_> = told.collect();
        let kept = manifest.keyspaces.iter().map(|k| text(k.fingerprint));
        let mut kept: Vec<_> = kept.collect();
        told.sort_unstable();
        kept.sort_unstable();
        ensure!(
            told == kept,
            "{} tells of fingerprints {told:?} and holds {kept:?}",
            report.layer
        );
        let mut found: BTreeMap<KeyspaceId, Fingerprint> = manifest
            .keyspaces
            .iter()
            .filter_map(|k| Some((k.descriptor.id, self.with_bug(k.fingerprint?))))
            .collect();
        for (id, keyspace) in keyspaces.iter().filter(|(_, k)| !k.excluded) {
            let dropped = keyspace.dropped.map_or(Timestamp::MAX, Timestamp::prev);
            let at = dropped.min(report.end);
            let known = self.known()?.keyspaces.get(id);
            let expected = known.map(|known| fingerprint(&known.rows, at));
            let found = found.remove(id);
            // One that was dropped may have been collected by then; after a layer that nobody made a
            // fingerprint for there is none.
            let may_lack = keyspace.dropped.is_some()
                || silent.contains(id)
                || self.bug.is_some_and(Bug::spoils_layers);
            ensure!(
                found == expected || found.is_none() && may_lack,
                "keyspace {} of {} has fingerprint {found:?}, not {expected:?}",
                keyspace.name,
                report.layer
            );
        }
        ensure!(
            found.is_empty(),
            "fingerprints of keyspaces that are not in {}: {found:?}",
            report.layer
        );
        Ok(())
    }

    /// The planted bug: a fingerprint that misses a row.
    fn with_bug(&self, found: Fingerprint) -> Fingerprint {
        match self.bug {
            Some(Bug::FingerprintMissesARow) if found.rows() > 0 => {
                let mut row = Fingerprinter::default();
                row.add(b"missed", b"row");
                found.minus(row.finish())
            }
            _ => found,
        }
    }

    /// Every layer that is listed.
    pub(crate) fn listing(&self, collection: usize) -> Result<Vec<(String, Timestamp, Timestamp)>> {
        let chains = self
            .runtime
            .block_on(self.collection(collection)?.chains())?;
        let layers = chains.iter().flat_map(icecore_archive::Chain::layers);
        Ok(layers
            .map(|layer| (layer.path.to_string(), layer.start, layer.end))
            .collect())
    }

    fn records(&self) -> Result<Vec<Record>> {
        Ok(ProtectedTimestamps::new(&self.engine()?).list()?)
    }

    /// A backup leaves one record at the end of its chain, and every other as it was; but a full takes over
    /// from older chains of its selection, and has none itself where a newer one stands.
    fn held(&self, collection: usize, chain: usize, before: &[Record]) -> Result<()> {
        let Some(chain) = self.chains.get(chain) else {
            return Ok(());
        };
        let [full, end] = match chain.layers.as_slice() {
            [only] => [only.end, only.end],
            [full, .., last] => [full.end, last.end],
            [] => return Ok(()),
        };
        let patterns: Vec<String> = chain.scope.iter().map(ToString::to_string).collect();
        let owner = chain_owner(self.collection(collection)?.id(), &patterns);
        let full_of = |record: &Record| match &record.holder {
            Some(Holder::Chain { full, .. }) if record.owner == owner => Some(*full),
            _ => None,
        };
        let after = self.records()?;
        let is_full = chain.layers.len() == 1;
        let newer = after.iter().any(|r| full_of(r).is_some_and(|f| f > full));
        let own: Vec<_> = after.iter().filter(|r| full_of(r) == Some(full)).collect();
        // Fulls as of the same time are told apart by chance; incrementals may have moved the other one's.
        let other = own.iter().any(|r| r.timestamp > end);
        let expected = usize::from(!(is_full && (newer || other)));
        let at_end = own
            .iter()
            .any(|r| (r.timestamp, r.purpose) == (end, Purpose::Backups));
        ensure!(
            own.len() >= expected && (at_end || expected == 0),
            "the chain from {full:?} ends at {end:?}, and is held by {own:?}"
        );
        for record in before {
            let taken_over = is_full && full_of(record).is_some_and(|f| f <= full);
            let its_own = full_of(record) == Some(full);
            let stays = after.contains(record);
            ensure!(
                its_own || stays != taken_over,
                "of the chain from {full:?} to {end:?}, record {record:?} stays: {stays}"
            );
        }
        let made = after.iter().filter(|r| !before.contains(r));
        ensure!(
            made.clone().all(|r| full_of(r) == Some(full)),
            "a backup left {:?}",
            made.collect::<Vec<_>>()
        );
        Ok(())
    }

    /// The planted bug; `false` where it has nothing to spoil.
    fn take_a_wrong_one(
        &mut self,
        position: usize,
        onto: &ChainRecord,
        keyspaces: &Keyspaces,
        as_of: Option<Timestamp>,
    ) -> Result<bool> {
        let (engine, store) = (self.engine()?, self.collection(onto.collection)?);
        if keyspaces.values().any(|k| k.introduced || k.excluded) || keyspaces.is_empty() {
            return Ok(false);
        }
        let end = as_of.unwrap_or_else(|| engine.now());
        let selector = BackupSelector::Full(onto.full.clone());
        let layer = self.runtime.block_on(async {
            let chain = store.open_chain(&selector).await?;
            let dir = self.scratch.path();
            incremental_without_a_tombstone(&engine, &store, &chain, end, dir).await?;
            Ok::<_, Failure>(store.open_chain(&selector).await?.head()?)
        })?;
        if let Some(chain) = self.chains.get_mut(position) {
            let keyspaces = keyspaces.clone().into_iter();
            chain.layers.push(LayerRecord {
                path: layer.path,
                hash: layer.manifest_hash,
                end: layer.end,
                history: false,
                keyspaces: keyspaces
                    .map(|(id, k)| {
                        (
                            id,
                            LayerKeyspace {
                                true_from: None,
                                ..k
                            },
                        )
                    })
                    .collect(),
            });
        }
        Ok(true)
    }
}

fn layer(report: &BackupReport, keyspaces: Keyspaces) -> LayerRecord {
    LayerRecord {
        path: report.layer.clone(),
        hash: report.manifest_hash,
        end: report.end,
        history: report.revision_history,
        keyspaces,
    }
}

/// The fingerprint of a state of the model.
fn fingerprint(rows: &ModelKeyspace, at: Timestamp) -> Fingerprint {
    let mut print = Fingerprinter::default();
    for row in rows.scan(&KeyRange::all(), at, false, usize::MAX) {
        print.add(&row.key, row.value.as_deref().unwrap_or_default());
    }
    print.finish()
}

/// What a backup says it did must be what it had to do, to the number of versions; of copied files that
/// is a bound.
fn compare(report: &BackupReport, keyspaces: &Keyspaces) -> Result<()> {
    let mut found: Vec<_> = report
        .keyspaces
        .iter()
        .map(|k| (k.name.as_str(), k.introduced, k.gc_gap, k.entries))
        .collect();
    let mut expected: Vec<_> = keyspaces
        .values()
        .map(|k| (k.name.as_str(), k.introduced, k.gap, k.entries))
        .collect();
    found.sort_unstable();
    expected.sort_unstable();
    if report.method == Method::Fast && found.len() == expected.len() {
        for (found, expected) in found.iter_mut().zip(&expected) {
            found.3 = found.3.min(expected.3);
        }
    }
    ensure!(
        found == expected,
        "the layer holds (name, introduced, gap, versions) {found:?}, not {expected:?}"
    );
    Ok(())
}

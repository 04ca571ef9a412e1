//! The chain of backups: a full, then an incremental for each week, all with revision history.

use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, CollectionUri, StoreOptions};
use icecore_backup::{BackupOptions, BackupReport, backup, chain_owner};
use icecore_engine::Engine;
use icecore_examples::text;

use crate::error::{Result, ensure};
use crate::folders::Folders;
use crate::ledger::{Ledger, Step};

/// Takes backups of one engine, and keeps what they report.
pub(crate) struct Backups {
    engine: Engine,
    collection: Collection,
    layers: Vec<BackupReport>,
}

impl Backups {
    /// Begins a collection.
    pub(crate) async fn open(engine: &Engine, folders: &Folders) -> Result<Self> {
        let uri = CollectionUri::from_local_path(folders.backups())?;
        let collection = Collection::create_or_open(&uri, StoreOptions::default()).await?;
        Ok(Self {
            engine: engine.clone(),
            collection,
            layers: Vec::new(),
        })
    }

    /// Takes the full backup.
    pub(crate) async fn full(&mut self, ledger: &mut Ledger) -> Result<()> {
        let step = self.take("full backup", None).await?;
        ledger.add(step);
        Ok(())
    }

    /// Takes an incremental of it.
    pub(crate) async fn incremental(&mut self, number: usize, ledger: &mut Ledger) -> Result<()> {
        let name = format!("incremental {number}");
        let step = self.take(&name, Some(BackupSelector::Latest)).await?;
        let full = self.layers.first().ok_or("there is no full backup")?;
        let cost = (Duration::from_secs_f64(full.seconds), full.stored_bytes());
        ledger.add(step.against(cost));
        Ok(())
    }

    async fn take(&mut self, name: &str, onto: Option<BackupSelector>) -> Result<Step> {
        let options = BackupOptions {
            onto,
            revision_history: true,
            ..BackupOptions::default()
        };
        let report = backup(&self.engine, &self.collection, &options).await?;
        println!(
            "{name}: {} versions in {}, found by {}",
            text::count(report.entries()),
            report.layer,
            how(&report)?,
        );
        let elapsed = Duration::from_secs_f64(report.seconds);
        let step = Step::moved(name, report.entries(), report.logical_bytes(), elapsed)
            .stored(report.stored_bytes());
        self.layers.push(report);
        Ok(step)
    }

    /// The newest layer.
    pub(crate) fn newest(&self) -> Result<&BackupReport> {
        self.layers
            .last()
            .ok_or_else(|| "there is no backup".into())
    }

    /// The owner of the protected timestamp that holds the chain.
    pub(crate) fn owner(&self) -> String {
        chain_owner(self.collection.id(), &[])
    }

    /// The reports of all layers, the full first.
    pub(crate) fn into_layers(self) -> Vec<BackupReport> {
        self.layers
    }
}

/// How the flights in a layer were found.
fn how(report: &BackupReport) -> Result<&str> {
    let flights = report
        .keyspaces
        .iter()
        .find(|k| k.name == crate::load::FLIGHTS);
    let flights = flights.ok_or_else(|| format!("{} has no flights", report.layer))?;
    ensure(flights.files > 0, || {
        format!("{} has no files of flights", report.layer)
    })?;
    Ok(&flights.how)
}

//! What was there before the loss, and the proof that it is there again.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use icecore_archive::{Collection, CollectionUri, StoreOptions};
use icecore_backup::BackupReport;
use icecore_engine::{Engine, Options, Snapshot};
use icecore_examples::fingerprint::Fingerprint;
use icecore_examples::text;
use icecore_mvcc::Timestamp;
use icecore_restore::{RestoreOptions, RestoreReport, restore};

use crate::error::{Result, ensure};
use crate::folders::Folders;
use crate::ledger::{Ledger, Step};

/// A state of the database.
pub(crate) struct State {
    /// What it is called here.
    pub(crate) label: &'static str,
    /// When it was.
    pub(crate) ts: Timestamp,
    /// What was in it.
    pub(crate) print: Fingerprint,
}

impl State {
    /// The present state of an engine.
    pub(crate) fn now(engine: &Engine, label: &'static str) -> Result<Self> {
        let snapshot = engine.snapshot();
        let print = Fingerprint::of(engine, &snapshot)?;
        println!(
            "fingerprint of {label}: {print}, {} rows",
            text::count(print.rows)
        );
        Ok(Self {
            label,
            ts: snapshot.timestamp(),
            print,
        })
    }
}

/// What must come back.
pub(crate) struct Truth {
    /// The moment of 16 December.
    pub(crate) mid: State,
    /// The end.
    pub(crate) end: State,
    /// What each layer of the chain holds.
    pub(crate) layers: Vec<BackupReport>,
    /// The key of a flight that left late on 16 December, after the moment to come back to.
    pub(crate) delayed: String,
}

/// Restores both states, and compares them with what was there.
pub(crate) async fn restore_and_compare(
    folders: &Folders,
    truth: &Truth,
    ledger: &mut Ledger,
) -> Result<()> {
    let uri = CollectionUri::from_local_path(folders.backups())?;
    let collection = Collection::open(&uri, StoreOptions::default()).await?;

    let latest = Restored::new(folders.restored_latest(), &collection, None).await?;
    latest.write_down("restore LATEST", truth, ledger);
    latest.compare("the end", &latest.engine.snapshot(), &truth.end, ledger)?;
    // Its history came back with it, though the lost database had none left of that day.
    let past = latest.engine.snapshot_at(truth.mid.ts)?;
    latest.compare("16 December", &past, &truth.mid, ledger)?;
    latest.engine.close()?;

    let mid = Restored::new(
        folders.restored_december_16(),
        &collection,
        Some(truth.mid.ts),
    )
    .await?;
    mid.write_down("restore 16 December", truth, ledger);
    mid.compare("16 December", &mid.engine.snapshot(), &truth.mid, ledger)?;
    Ok(mid.engine.close()?)
}

/// A database that was restored into a new folder.
struct Restored {
    engine: Engine,
    report: RestoreReport,
    elapsed: Duration,
}

impl Restored {
    async fn new(
        folder: PathBuf,
        collection: &Collection,
        as_of: Option<Timestamp>,
    ) -> Result<Self> {
        let begun = Instant::now();
        let engine = Engine::open(folder, &Options::default())?;
        let options = RestoreOptions {
            as_of,
            ..RestoreOptions::default()
        };
        let report = restore(&engine, collection, &options).await?;
        Ok(Self {
            engine,
            report,
            elapsed: begun.elapsed(),
        })
    }

    fn write_down(&self, name: &str, truth: &Truth, ledger: &mut Ledger) {
        let report = &self.report;
        let rewritten: u64 = report.keyspaces.iter().map(|k| k.rewritten_files).sum();
        let files: u64 = report.keyspaces.iter().map(|k| k.files).sum();
        println!(
            "{name}: {} layers, {files} files; {rewritten} held later versions and were rewritten",
            report.layers
        );
        let layers = truth.layers.iter().take(report.layers);
        let bytes = layers.map(BackupReport::logical_bytes).sum();
        let step = Step::moved(name, report.entries(), bytes, self.elapsed);
        ledger.add(step.stored(report.stored_bytes()));
    }

    /// Proves that it has that state as of a snapshot.
    fn compare(&self, name: &str, at: &Snapshot, state: &State, ledger: &mut Ledger) -> Result<()> {
        let begun = Instant::now();
        let found = Fingerprint::of(&self.engine, at)?;
        let name = format!("  compare {name}");
        ledger.add(Step::moved(&name, found.rows, found.bytes, begun.elapsed()));
        ensure(found == state.print, || {
            format!(
                "{} as of {} has {} rows and fingerprint {found}; {} had {} rows and {}",
                self.engine.dir().display(),
                at.timestamp(),
                found.rows,
                state.label,
                state.print.rows,
                state.print,
            )
        })?;
        println!(
            "  equal to {}: {found}, {} rows",
            state.label,
            text::count(found.rows)
        );
        Ok(())
    }
}

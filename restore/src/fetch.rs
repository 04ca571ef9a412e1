//! Brings files of a layer into the staging folder, verified and ready to be ingested.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::stream::{self, StreamExt};
use icecore_archive::{
    Collection, Error as ArchiveError, FileId, Progress, ProgressFn, blocking, holds, total,
};
use icecore_engine::{Compression, Engine, Rewrite};
use icecore_mvcc::Timestamp;
use tokio::sync::{AcquireError, Semaphore};

use crate::error::{Error, Result};
use crate::options::RestoreOptions;
use crate::plan::{PlannedFile, PlannedLayer, RestorePlan};

/// Size at which a file of rewritten rows is closed.
const REWRITTEN_BYTES: u64 = 128 << 20;

/// A layer's files, ready to be ingested.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    /// Copied live files, to be ingested together in this order.
    pub(crate) live: Vec<PathBuf>,
    /// What copied files showed up to the target.
    pub(crate) flat: Vec<PathBuf>,
    /// The others.
    pub(crate) plain: Vec<PathBuf>,
}

/// What all fetches of one restore share.
pub(crate) struct Fetcher {
    pub(crate) engine: Engine,
    pub(crate) collection: Collection,
    pub(crate) target: Timestamp,
    dir: PathBuf,
    slots: Semaphore,
    threads: usize,
    progress: Option<ProgressFn>,
    done_bytes: AtomicU64,
    /// A part of the restore failed; the others end at their next file.
    stop: AtomicBool,
    interrupt: Option<Arc<AtomicBool>>,
    total_bytes: u64,
}

impl Fetcher {
    /// For one restore, which is begun. What it fetches stays in a folder of its own until the restore
    /// is over.
    pub(crate) fn new(
        engine: &Engine,
        collection: &Collection,
        plan: &RestorePlan,
        options: &RestoreOptions,
    ) -> Result<Self> {
        Ok(Self {
            engine: engine.clone(),
            collection: collection.clone(),
            target: plan.target,
            dir: engine.restore_staging_dir(&plan.restore_id)?,
            slots: Semaphore::new(options.threads),
            threads: options.threads,
            progress: options.progress.clone(),
            done_bytes: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            interrupt: options.interrupt.clone(),
            total_bytes: plan.stored_bytes(),
        })
    }

    /// Where the files are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// An error if the caller asked to stop.
    pub(crate) fn check_not_interrupted(&self) -> Result<()> {
        match &self.interrupt {
            Some(interrupt) if interrupt.load(Ordering::Acquire) => Err(Error::Interrupted),
            _ => Ok(()),
        }
    }

    /// Fetches a layer's files, in their order; files left empty by the rewriting are left out, and copied
    /// ones if they are in already. `None` when another part of the restore failed: the files are not whole then.
    ///
    /// Waits for all its fetches even when one fails, so that none is still at work on the engine
    /// when the restore returns.
    pub(crate) async fn layer(
        &self,
        layer: &PlannedLayer,
        copied_are_in: bool,
    ) -> Result<Option<Ready>> {
        let is_copied = |file: &PlannedFile| file.file.copied.is_some();
        let (there, wanted): (Vec<&PlannedFile>, Vec<&PlannedFile>) = layer
            .files
            .iter()
            .partition(|file| copied_are_in && is_copied(file));
        if !there.is_empty() {
            self.advance(total(there.iter().map(|file| file.file.stored_bytes)));
        }
        let fetches = stream::iter(&wanted).map(|file| self.file(layer, file));
        let fetched: Vec<Result<Option<PathBuf>>> = fetches.buffered(self.threads).collect().await;
        let fetched: Result<Vec<Option<PathBuf>>> = fetched.into_iter().collect();
        let mut ready = Ready::default();
        let mut is_cut = false;
        for (file, path) in wanted.into_iter().zip(fetched?) {
            let Some(path) = path else { continue };
            if is_copied(file) {
                is_cut |= file.rewrite;
                ready.live.push(path);
            } else {
                ready.plain.push(path);
            }
        }
        if self.stopped() {
            return Ok(None);
        }
        if is_cut {
            let live = std::mem::take(&mut ready.live);
            ready.flat = self.flatten(live).await.inspect_err(|_| self.stop())?;
        }
        Ok(Some(ready))
    }

    /// Writes what copied files show up to the target to files of their own. They stay, in case this run
    /// does not come to ingest what it writes.
    async fn flatten(&self, live: Vec<PathBuf>) -> Result<Vec<PathBuf>> {
        let (engine, target) = (self.engine.clone(), self.target);
        let Some(first) = live.first() else {
            return Ok(Vec::new());
        };
        let dir = first.with_extension("flat");
        blocking(move || {
            let failed =
                |action, error| icecore_engine::Error::io(action, dir.display().to_string(), error);
            // Of an earlier run, perhaps unfinished.
            match std::fs::remove_dir_all(&dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(failed("remove", error).into());
                }
                _ => {}
            }
            std::fs::create_dir(&dir).map_err(|error| failed("create", error))?;
            let rewrite = Rewrite {
                compression: Compression::Lz4,
                target_bytes: REWRITTEN_BYTES,
                keep: &|_, ts| ts <= target,
            };
            let flat = engine.flatten_live_files(&live, &dir, rewrite)?;
            Ok::<_, Error>(flat.into_iter().map(|file| file.path).collect())
        })
        .await
    }

    /// Makes the other parts of the restore end early.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Whether a part of the restore failed.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Counts bytes that need not be fetched, since an earlier run brought them.
    pub(crate) fn skip(&self, layer: &PlannedLayer) {
        self.advance(total(layer.files.iter().map(|f| f.file.stored_bytes)));
    }

    async fn file(&self, layer: &PlannedLayer, planned: &PlannedFile) -> Result<Option<PathBuf>> {
        if self.stopped() {
            return Ok(None);
        }
        self.bring(layer, planned)
            .await
            .inspect_err(|_| self.stop())
    }

    /// The file, verified. One that an earlier run fetched is read again and compared, whatever it is
    /// named: that costs a local read, and nothing but compared bytes ever reaches RocksDB.
    async fn bring(&self, layer: &PlannedLayer, planned: &PlannedFile) -> Result<Option<PathBuf>> {
        self.check_not_interrupted()?;
        let closed = |closed: AcquireError| ArchiveError::Stopped {
            cause: closed.to_string(),
        };
        let _slot = self.slots.acquire().await.map_err(closed)?;
        let path = self.dir.join(format!("{}.sst", planned.file.id));
        let (staged, digest) = (path.clone(), planned.file.digest());
        if blocking(move || holds(&staged, &digest).map_err(Error::from)).await? {
            metrics::counter!("icecore_restore_reused_bytes_total")
                .increment(planned.file.stored_bytes);
        } else {
            self.collection
                .fetch(&layer.path, &planned.file, &path)
                .await?;
            metrics::counter!("icecore_restore_fetched_bytes_total")
                .increment(planned.file.stored_bytes);
        }
        self.advance(planned.file.stored_bytes);
        if !planned.rewrite || planned.file.copied.is_some() {
            return Ok(Some(path));
        }
        let (engine, target) = (self.engine.clone(), self.target);
        blocking(move || rewrite(&engine, &path, target)).await
    }

    fn advance(&self, bytes: u64) {
        let done_bytes = self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        let done_bytes = done_bytes.saturating_add(bytes);
        if let Some(progress) = &self.progress {
            progress(Progress {
                done_bytes,
                total_bytes: self.total_bytes,
            });
        }
    }
}

/// A second name of a staged file, which ingesting takes away; the file itself where the file system has
/// no links.
pub(crate) fn link_of(file: &Path) -> PathBuf {
    let link = file.with_extension("link");
    // An earlier run may have left it.
    let _ = std::fs::remove_file(&link);
    match std::fs::hard_link(file, &link) {
        Ok(()) => link,
        Err(_) => file.to_owned(),
    }
}

/// Removes what is staged of a file that is in. What stays goes with the folder.
pub(crate) fn forget(dir: &Path, id: FileId) {
    for ending in ["sst", "link", "kept.sst", "kept.link"] {
        let _ = std::fs::remove_file(dir.join(format!("{id}.{ending}")));
    }
    let _ = std::fs::remove_dir_all(dir.join(format!("{id}.flat")));
}

/// Writes a file without the versions after the target. The file stays: an interruption costs the rewriting
/// again, and no fetch.
fn rewrite(engine: &Engine, path: &Path, target: Timestamp) -> Result<Option<PathBuf>> {
    let kept = path.with_extension("kept.sst");
    // Of an earlier run, perhaps unfinished.
    let _ = std::fs::remove_file(&kept);
    let summary = engine.filter_sst(path, &kept, Compression::Lz4, &|_, ts| ts <= target)?;
    Ok(summary.map(|_| kept))
}

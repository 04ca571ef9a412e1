//! Exports keyspaces in parallel and uploads the files as they are finished.
//!
//! Threads take pieces (a key range of a keyspace) from a shared list and write SST files; a
//! channel of bounded length hands them to as many uploads, and an uploaded file is removed.
//! So at most `3 × threads + 1` files lie in the staging folder. The first error stops everything.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use futures::stream::{FuturesUnordered, StreamExt};
use icecore_archive::{
    Error as ArchiveError, FileEntry, LayerWriter, Progress, blocking, remove_staged,
};
use icecore_engine::{ChangeSet, Engine, Keyspace, Snapshot, SstSummary};
use icecore_mvcc::{Fingerprint, KeyRange, Timestamp};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::files::{FileOptions, Rows, Staging, file_entry, write_files};
use crate::options::BackupOptions;
use crate::plan::{BackupPlan, PlannedKeyspace};
use crate::prints::{Basis, Follow, Prints, walks};
use crate::report::KeyspaceReport;
use crate::window::{WindowRequest, parts_of};

/// One keyspace of a finished export.
pub(crate) struct Exported {
    pub(crate) report: KeyspaceReport,
    pub(crate) files: Vec<FileEntry>,
    /// The oldest time at which this layer's rows answer every read.
    pub(crate) revision_start: Option<Timestamp>,
    /// How the versions of a window were found, once it was opened.
    how: Arc<OnceLock<String>>,
}

/// What to read of one keyspace.
type Reads = Vec<(Rows, Option<Follow>)>;

/// A key range of a keyspace, ready to be written.
struct Piece {
    /// Position of the keyspace in the plan.
    keyspace: usize,
    rows: Rows,
    /// Makes the fingerprint on the way.
    follow: Option<Follow>,
}

/// A finished file on its way to the collection.
struct Finished {
    keyspace: usize,
    summary: SstSummary,
}

/// Exports everything that the plan names.
pub(crate) async fn export(
    engine: &Engine,
    at: &Snapshot,
    writer: &LayerWriter,
    plan: &BackupPlan,
    options: &BackupOptions,
    prints: Prints,
) -> Result<Vec<Exported>> {
    let (pieces, mut exported) = {
        let (engine, at, plan, options) =
            (engine.clone(), at.clone(), plan.clone(), options.clone());
        blocking(move || prepare(&engine, &at, &plan, &options, &prints)).await?
    };
    let staging = Arc::new(Staging::new(engine)?);
    let total_bytes = plan.keyspaces.iter().map(|k| k.estimated_bytes).sum();
    let (send, receive) = mpsc::channel(options.threads);
    let stop = Arc::new(AtomicBool::new(false));
    let exports = run_threads(engine, &staging, pieces, options, send, &stop);
    let uploads = run_uploads(writer, receive, options, total_bytes);
    // When the uploads fail the channel closes, and the threads stop at their next file.
    let uploads = async {
        let uploaded = uploads.await;
        stop.store(uploaded.is_err(), Ordering::Release);
        uploaded
    };
    let (exports, uploads) = tokio::join!(exports, uploads);
    let uploads = uploads?;
    for (keyspace, change) in exports? {
        if let Some(exported) = exported.get_mut(keyspace) {
            let print = &mut exported.report.fingerprint;
            *print = print.map(|print| print.plus(change));
        }
    }
    for (keyspace, file) in uploads {
        if let Some(exported) = exported.get_mut(keyspace) {
            let report = &mut exported.report;
            report.files += 1;
            report.entries += file.entries;
            report.tombstones += file.tombstones;
            report.logical_bytes += file.logical_bytes;
            report.stored_bytes += file.stored_bytes;
            exported.files.push(file);
        }
    }
    for exported in &mut exported {
        if let Some(how) = exported.how.get() {
            exported.report.how.clone_from(how);
        }
        exported
            .files
            .sort_by(|a, b| (a.span.start(), b.max_ts).cmp(&(b.span.start(), a.max_ts)));
    }
    Ok(exported)
}

/// Opens the readers of what is taken whole, and pins what windows will read.
fn prepare(
    engine: &Engine,
    at: &Snapshot,
    plan: &BackupPlan,
    options: &BackupOptions,
    prints: &Prints,
) -> Result<(VecDeque<Piece>, Vec<Exported>)> {
    let mut pieces = VecDeque::new();
    let mut exported = Vec::new();
    for (position, planned) in plan.keyspaces.iter().enumerate() {
        let report = KeyspaceReport {
            name: planned.descriptor.name.clone(),
            introduced: planned.introduced,
            gc_gap: planned.gc_gap,
            ..KeyspaceReport::default()
        };
        let mut entry = Exported {
            report,
            files: Vec::new(),
            revision_start: None,
            how: Arc::default(),
        };
        if planned.excluded {
            entry.report.how = "excluded".to_owned();
        } else if planned.lost {
            entry.report.how = "dropped, and collected".to_owned();
            entry.revision_start = planned.descriptor.dropped;
        } else {
            let keyspace = engine.keyspace_by_id(planned.descriptor.id)?;
            // One dropped within the window is read up to its last moment.
            let at = match planned.descriptor.dropped {
                Some(dropped) => &engine.snapshot_at(dropped.prev())?,
                None => at,
            };
            let reads = if planned.introduced {
                whole(&keyspace, at, options, prints, &mut entry)?
            } else {
                window(&keyspace, planned, at, options, prints, &mut entry)?
            };
            pieces.extend(reads.into_iter().map(|(rows, follow)| Piece {
                keyspace: position,
                rows,
                follow,
            }));
        }
        exported.push(entry);
    }
    Ok((pieces, exported))
}

/// Everything that a keyspace holds as of the end time.
fn whole(
    keyspace: &Keyspace,
    at: &Snapshot,
    options: &BackupOptions,
    prints: &Prints,
    entry: &mut Exported,
) -> Result<Reads> {
    let parts = usize::try_from(keyspace.stats().sst_bytes / options.target_file_bytes.max(1))
        .unwrap_or(0)
        + 1;
    let range = KeyRange::all();
    let cuts = keyspace.split_points(&range, parts.max(large_parts(keyspace, options)))?;
    let floor = if options.revision_history {
        Some(keyspace.oldest_snapshot()?)
    } else {
        None
    };
    entry.report.how = match entry.report.gc_gap {
        Some(_) => "full scan: GC had passed the chain's end".to_owned(),
        None => "full scan".to_owned(),
    };
    entry.revision_start = floor.as_ref().map(|f| f.timestamp().min(at.timestamp()));
    let rows = range.split_at(&cuts).into_iter().map(|piece| {
        let versions = match &floor {
            Some(floor) => keyspace.full_since(&piece, at, floor)?,
            None => keyspace.full(&piece, at, false)?,
        };
        let follow = prints.of_whole().then_some(Follow::Whole);
        Ok((Rows::Walk(Box::new(versions)), follow))
    });
    entry.report.fingerprint = prints.of_whole().then_some(Fingerprint::EMPTY);
    rows.collect()
}

/// As many parts as threads, once there is enough for all of them to do.
fn large_parts(keyspace: &Keyspace, options: &BackupOptions) -> usize {
    const WORTH_A_THREAD_BYTES: u64 = 16 << 20;
    usize::try_from(keyspace.stats().sst_bytes / WORTH_A_THREAD_BYTES)
        .unwrap_or(0)
        .min(options.threads)
}

/// What changed in a keyspace since the chain's end.
fn window(
    keyspace: &Keyspace,
    planned: &PlannedKeyspace,
    at: &Snapshot,
    options: &BackupOptions,
    prints: &Prints,
    entry: &mut Exported,
) -> Result<Reads> {
    let set = if options.revision_history {
        ChangeSet::All
    } else {
        ChangeSet::Latest
    };
    let (parts, how) = parts_of(WindowRequest {
        keyspace: keyspace.clone(),
        after: planned.after,
        until: at.clone(),
        set,
        threads: options.threads,
    })?;
    entry.how = how;
    entry.revision_start = options.revision_history.then_some(planned.after);
    let basis = prints.of_window(keyspace.id());
    let mut reads: Reads = Vec::new();
    entry.report.fingerprint = match basis {
        Basis::None => None,
        Basis::Before(print) => Some(print),
        Basis::Anew => {
            let walks = walks(keyspace, at, large_parts(keyspace, options))?.into_iter();
            reads.extend(walks.map(|walk| (Rows::State(Box::new(walk)), Some(Follow::Whole))));
            Some(Fingerprint::EMPTY)
        }
    };
    for part in parts {
        let follow = match basis {
            Basis::Before(_) => Some(Follow::since(keyspace, planned.after)?),
            Basis::None | Basis::Anew => None,
        };
        reads.push((Rows::Window(part), follow));
    }
    Ok(reads)
}

/// Runs the export threads to their end; by what the rows of each piece change the fingerprint of their
/// keyspace.
async fn run_threads(
    engine: &Engine,
    staging: &Arc<Staging>,
    pieces: VecDeque<Piece>,
    options: &BackupOptions,
    send: mpsc::Sender<Finished>,
    stop: &Arc<AtomicBool>,
) -> Result<Vec<(usize, Fingerprint)>> {
    let pieces = Arc::new(Mutex::new(pieces));
    let files = FileOptions {
        target_bytes: options.target_file_bytes,
        compression: options.compression,
    };
    let threads: FuturesUnordered<_> = (0..options.threads)
        .map(|_| {
            let (engine, staging, pieces) =
                (engine.clone(), Arc::clone(staging), Arc::clone(&pieces));
            let (send, stop) = (send.clone(), Arc::clone(stop));
            blocking(move || {
                // Taken in a statement of its own, so that the lock is not held while writing.
                let take = || pieces.lock().pop_front();
                let mut changes = Vec::new();
                while let Some(piece) = take() {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    let (keyspace, follow) = (piece.keyspace, piece.follow);
                    let print =
                        write_files(&engine, &staging, files, piece.rows, follow, |summary| {
                            send.blocking_send(Finished { keyspace, summary }).is_err()
                        })?;
                    changes.extend(print.map(|print| (keyspace, print)));
                }
                Ok(changes)
            })
        })
        .collect();
    drop(send);
    let results: Vec<Result<Vec<_>>> = threads.collect().await;
    let changes: Result<Vec<Vec<_>>> = results.into_iter().collect();
    Ok(changes?.into_iter().flatten().collect())
}

/// Uploads files as they come.
async fn run_uploads(
    writer: &LayerWriter,
    mut receive: mpsc::Receiver<Finished>,
    options: &BackupOptions,
    total_bytes: u64,
) -> Result<Vec<(usize, FileEntry)>> {
    let done = AtomicU64::new(0);
    let mut running = FuturesUnordered::new();
    let mut stored = Vec::new();
    loop {
        tokio::select! {
            finished = receive.recv(), if running.len() < options.threads => match finished {
                Some(finished) => running.push(upload(writer, finished)),
                None if running.is_empty() => return Ok(stored),
                None => stored.push(settle(running.next().await, &done, options, total_bytes)?),
            },
            uploaded = running.next(), if !running.is_empty() => {
                stored.push(settle(uploaded, &done, options, total_bytes)?);
            }
        }
    }
}

/// Counts one upload's outcome.
fn settle(
    uploaded: Option<Result<(usize, FileEntry)>>,
    done: &AtomicU64,
    options: &BackupOptions,
    total_bytes: u64,
) -> Result<(usize, FileEntry)> {
    let stopped = || ArchiveError::Stopped {
        cause: "no upload was running".to_owned(),
    };
    let (keyspace, file) = uploaded.ok_or_else(stopped)??;
    let done_bytes = done.fetch_add(file.stored_bytes, Ordering::Relaxed) + file.stored_bytes;
    metrics::counter!("icecore_backup_stored_bytes_total").increment(file.stored_bytes);
    if let Some(progress) = &options.progress {
        progress(Progress {
            done_bytes,
            total_bytes: total_bytes.max(done_bytes),
        });
    }
    Ok((keyspace, file))
}

async fn upload(writer: &LayerWriter, finished: Finished) -> Result<(usize, FileEntry)> {
    let summary = finished.summary;
    let stored = writer.put_file(&summary.path).await?;
    remove_staged(&summary.path)?;
    Ok((finished.keyspace, file_entry(&summary, &stored)))
}

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
    Error as ArchiveError, FileEntry, LayerWriter, Locality, Position, Progress, blocking,
    remove_staged,
};
use icecore_engine::{ChangeSet, Engine, Keyspace, Snapshot};
use icecore_mvcc::{Fingerprint, KeyRange, Timestamp};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::error::Result;
use crate::files::{CutFile, FileOptions, Rows, Staging, Written, file_entry, write_files};
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
    pub(crate) how: Arc<OnceLock<String>>,
}

/// What to read of one keyspace.
type Reads = Vec<(Rows, Option<Follow>)>;

/// A key range of a keyspace, ready to be written.
pub(crate) struct Piece {
    /// Names it among the pieces of the backup.
    pub(crate) number: u32,
    /// Position of the keyspace in the plan.
    pub(crate) keyspace: usize,
    pub(crate) rows: Rows,
    /// What comes up to here is stored already.
    pub(crate) after: Option<Position>,
    /// Makes the fingerprint on the way.
    pub(crate) follow: Option<Follow>,
}

/// What comes out of the threads.
enum Made {
    /// A finished file on its way to the collection.
    File {
        piece: u32,
        keyspace: usize,
        /// Counts the files of its piece from 0.
        place: u64,
        file: Box<CutFile>,
    },
    /// A piece was read to its end.
    End {
        piece: u32,
        /// The files that it came out in.
        count: u64,
    },
}

/// A file that is stored.
pub(crate) struct Stored {
    pub(crate) piece: u32,
    pub(crate) keyspace: usize,
    /// Counts the files of its piece from 0.
    pub(crate) place: u64,
    pub(crate) last: Position,
    pub(crate) file: FileEntry,
}

/// What an export did.
pub(crate) struct Done {
    pub(crate) files: Vec<Stored>,
    /// By what the rows of a piece that was followed change the fingerprint of its keyspace, whose place in
    /// the plan stands before it.
    pub(crate) changes: Vec<(usize, Fingerprint)>,
}

/// Who wants to know what is stored.
pub(crate) trait Watch: Sync {
    /// A file is stored.
    fn stored(&self, stored: &Stored);

    /// A piece was read to its end, and came out in so many files.
    fn ended(&self, piece: u32, count: u64);
}

/// Nobody does.
struct Unwatched;

impl Watch for Unwatched {
    fn stored(&self, _: &Stored) {}

    fn ended(&self, _: u32, _: u64) {}
}

/// How an export runs.
pub(crate) struct Export<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) writer: &'a LayerWriter,
    /// By keyspace of the plan: where its files go.
    pub(crate) localities: Vec<Option<Locality>>,
    pub(crate) options: &'a BackupOptions,
    pub(crate) watch: &'a dyn Watch,
    /// Set to end it at the next file of each thread.
    pub(crate) stop: Arc<AtomicBool>,
    pub(crate) total_bytes: u64,
    /// Of these, what was stored before.
    pub(crate) done_bytes: AtomicU64,
}

impl Exported {
    /// Of a keyspace from which nothing is exported yet.
    pub(crate) fn of(planned: &PlannedKeyspace) -> Self {
        Self {
            report: KeyspaceReport {
                name: planned.descriptor.name.clone(),
                introduced: planned.introduced,
                gc_gap: planned.gc_gap,
                ..KeyspaceReport::default()
            },
            files: Vec::new(),
            revision_start: None,
            how: Arc::default(),
        }
    }

    /// Says why nothing is exported of it.
    pub(crate) fn set_aside(&mut self, planned: &PlannedKeyspace) {
        if planned.excluded {
            "excluded".clone_into(&mut self.report.how);
        } else {
            "dropped, and collected".clone_into(&mut self.report.how);
            self.revision_start = planned.descriptor.dropped;
        }
    }

    /// Takes a file that is stored.
    pub(crate) fn add(&mut self, file: FileEntry, reused: bool) {
        self.report.add(&file, reused);
        self.files.push(file);
    }

    /// Brings the files into the order of the manifest.
    pub(crate) fn sort(&mut self) {
        self.files
            .sort_by(|a, b| (a.span.start(), b.max_ts).cmp(&(b.span.start(), a.max_ts)));
    }
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
    let export = Export {
        engine,
        writer,
        localities: localities(writer, plan),
        options,
        watch: &Unwatched,
        stop: Arc::default(),
        total_bytes: plan.keyspaces.iter().map(|k| k.estimated_bytes).sum(),
        done_bytes: AtomicU64::new(0),
    };
    let done = export.run(pieces).await?;
    for (keyspace, change) in done.changes {
        if let Some(exported) = exported.get_mut(keyspace) {
            let print = &mut exported.report.fingerprint;
            *print = print.map(|print| print.plus(change));
        }
    }
    for stored in done.files {
        if let Some(exported) = exported.get_mut(stored.keyspace) {
            exported.add(stored.file, false);
        }
    }
    for exported in &mut exported {
        if let Some(how) = exported.how.get() {
            exported.report.how.clone_from(how);
        }
        exported.sort();
    }
    Ok(exported)
}

impl Export<'_> {
    /// Writes and uploads all pieces. Where it was stopped, some of it is missing.
    pub(crate) async fn run(&self, pieces: VecDeque<Piece>) -> Result<Done> {
        let staging = Arc::new(Staging::new(self.engine)?);
        let (send, receive) = mpsc::channel(self.options.threads);
        let exports = self.run_threads(&staging, pieces, send);
        let uploads = self.run_uploads(receive);
        // When the uploads fail the channel closes, and the threads stop at their next file.
        let uploads = async {
            let uploaded = uploads.await;
            if uploaded.is_err() {
                self.stop.store(true, Ordering::Release);
            }
            uploaded
        };
        let (exports, uploads) = tokio::join!(exports, uploads);
        Ok(Done {
            files: uploads?,
            changes: exports?,
        })
    }
}

/// Reads the state of what a plan names for its fingerprints alone, by its place in the plan. Where it was
/// stopped they are of a part.
pub(crate) async fn read_prints(
    engine: &Engine,
    writer: &LayerWriter,
    at: &Snapshot,
    plan: &BackupPlan,
    options: &BackupOptions,
    stop: Arc<AtomicBool>,
) -> Result<Vec<Option<Fingerprint>>> {
    let pieces = {
        let (engine, at, plan, options) =
            (engine.clone(), at.clone(), plan.clone(), options.clone());
        blocking(move || state_pieces(&engine, &at, &plan, &options)).await?
    };
    let reading = Export {
        engine,
        writer,
        // It only reads.
        localities: Vec::new(),
        options,
        watch: &Unwatched,
        stop,
        total_bytes: 0,
        done_bytes: AtomicU64::new(0),
    };
    let done = reading.run(pieces).await?;
    let read = plan.keyspaces.iter().map(PlannedKeyspace::is_read);
    let mut prints: Vec<_> = read
        .map(|is_read| is_read.then_some(Fingerprint::EMPTY))
        .collect();
    for (keyspace, change) in done.changes {
        if let Some(print) = prints.get_mut(keyspace) {
            *print = print.map(|print| print.plus(change));
        }
    }
    Ok(prints)
}

fn state_pieces(
    engine: &Engine,
    at: &Snapshot,
    plan: &BackupPlan,
    options: &BackupOptions,
) -> Result<VecDeque<Piece>> {
    let mut pieces = VecDeque::new();
    let read = plan.keyspaces.iter().enumerate();
    for (position, planned) in read.filter(|(_, planned)| planned.is_read()) {
        let keyspace = engine.keyspace_by_id(planned.descriptor.id)?;
        let at = match planned.descriptor.dropped {
            Some(dropped) => &engine.snapshot_at(dropped.prev())?,
            None => at,
        };
        for walk in walks(&keyspace, at, large_parts(&keyspace, options))? {
            pieces.push_back(Piece {
                number: 0,
                keyspace: position,
                rows: Rows::State(Box::new(walk)),
                after: None,
                follow: Some(Follow::Whole),
            });
        }
    }
    Ok(pieces)
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
        let mut entry = Exported::of(planned);
        if planned.is_read() {
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
                number: 0,
                keyspace: position,
                rows,
                after: None,
                follow,
            }));
        } else {
            entry.set_aside(planned);
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
    let ranges = ranges_of(keyspace, options)?;
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
    let rows = ranges.iter().map(|range| {
        let follow = prints.of_whole().then_some(Follow::Whole);
        Ok((walk(keyspace, range, at, floor.as_ref())?, follow))
    });
    entry.report.fingerprint = prints.of_whole().then_some(Fingerprint::EMPTY);
    rows.collect()
}

/// What a full takes of a key range: with a floor every version back to it.
pub(crate) fn walk(
    keyspace: &Keyspace,
    range: &KeyRange,
    at: &Snapshot,
    floor: Option<&Snapshot>,
) -> Result<Rows> {
    let versions = match floor {
        Some(floor) => keyspace.full_since(range, at, floor)?,
        None => keyspace.full(range, at, false)?,
    };
    Ok(Rows::Walk(Box::new(versions)))
}

/// The key ranges in which a keyspace is exported whole.
pub(crate) fn ranges_of(keyspace: &Keyspace, options: &BackupOptions) -> Result<Vec<KeyRange>> {
    let parts = usize::try_from(keyspace.stats().sst_bytes / options.target_file_bytes.max(1))
        .unwrap_or(0)
        + 1;
    let range = KeyRange::all();
    let cuts = keyspace.split_points(&range, parts.max(large_parts(keyspace, options)))?;
    Ok(range.split_at(&cuts))
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

impl Export<'_> {
    /// Runs the export threads to their end; by what the rows of each piece change the fingerprint of
    /// their keyspace.
    async fn run_threads(
        &self,
        staging: &Arc<Staging>,
        pieces: VecDeque<Piece>,
        send: mpsc::Sender<Made>,
    ) -> Result<Vec<(usize, Fingerprint)>> {
        let (engine, options, stop) = (self.engine, self.options, &self.stop);
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
                        let keyspace = piece.keyspace;
                        let change = write_piece(&engine, &staging, files, piece, &send, &stop)?;
                        changes.extend(change.map(|change| (keyspace, change)));
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
    async fn run_uploads(&self, mut receive: mpsc::Receiver<Made>) -> Result<Vec<Stored>> {
        let mut running = FuturesUnordered::new();
        let mut stored = Vec::new();
        loop {
            tokio::select! {
                made = receive.recv(), if running.len() < self.options.threads => match made {
                    Some(Made::File { piece, keyspace, place, file }) => {
                        let locality = self.localities.get(keyspace).cloned().flatten();
                        running.push(upload(self.writer, locality, piece, keyspace, place, *file));
                    }
                    Some(Made::End { piece, count }) => self.watch.ended(piece, count),
                    None if running.is_empty() => return Ok(stored),
                    None => stored.push(self.settle(running.next().await)?),
                },
                uploaded = running.next(), if !running.is_empty() => {
                    stored.push(self.settle(uploaded)?);
                }
            }
        }
    }

    /// Counts one upload's outcome.
    fn settle(&self, uploaded: Option<Result<Stored>>) -> Result<Stored> {
        let stopped = || ArchiveError::Stopped {
            cause: "no upload was running".to_owned(),
        };
        let stored = uploaded.ok_or_else(stopped)??;
        let (done, options) = (&self.done_bytes, self.options);
        advance(&stored.file, false, done, options, self.total_bytes);
        self.watch.stored(&stored);
        Ok(stored)
    }
}

/// Writes one piece, and hands its files on. By what its rows change the fingerprint of their keyspace.
fn write_piece(
    engine: &Engine,
    staging: &Staging,
    files: FileOptions,
    piece: Piece,
    send: &mpsc::Sender<Made>,
    stop: &AtomicBool,
) -> Result<Option<Fingerprint>> {
    let Piece {
        number,
        keyspace,
        rows,
        after,
        follow,
    } = piece;
    let mut count = 0;
    let done = |file| {
        let made = Made::File {
            piece: number,
            keyspace,
            place: count,
            file: Box::new(file),
        };
        count += 1;
        send.blocking_send(made).is_err() || stop.load(Ordering::Acquire)
    };
    match write_files(engine, staging, files, rows, after.as_ref(), follow, done)? {
        Written::Stopped => Ok(None),
        Written::Whole(change) => {
            // Fails where the uploads did, which tell why.
            let _ = send.blocking_send(Made::End {
                piece: number,
                count,
            });
            Ok(change)
        }
    }
}

/// Counts a file that is stored, or was already, and tells how far the backup is.
pub(crate) fn advance(
    file: &FileEntry,
    reused: bool,
    done: &AtomicU64,
    options: &BackupOptions,
    total_bytes: u64,
) {
    let done_bytes = done.fetch_add(file.stored_bytes, Ordering::Relaxed) + file.stored_bytes;
    let counted = match reused {
        true => metrics::counter!("icecore_backup_reused_bytes_total"),
        false => metrics::counter!("icecore_backup_stored_bytes_total"),
    };
    counted.increment(file.stored_bytes);
    if let Some(progress) = &options.progress {
        progress(Progress {
            done_bytes,
            total_bytes: total_bytes.max(done_bytes),
        });
    }
}

/// Where each keyspace's files go.
pub(crate) fn localities(writer: &LayerWriter, plan: &BackupPlan) -> Vec<Option<Locality>> {
    let keyspaces = plan.keyspaces.iter();
    let tags = keyspaces.map(|planned| &planned.descriptor.settings.locality);
    tags.map(|tags| writer.collection().locality_of(tags))
        .collect()
}

async fn upload(
    writer: &LayerWriter,
    locality: Option<Locality>,
    piece: u32,
    keyspace: usize,
    place: u64,
    made: CutFile,
) -> Result<Stored> {
    let CutFile { summary, last } = made;
    let stored = writer.put_file_at(locality.as_ref(), &summary.path).await?;
    remove_staged(&summary.path)?;
    let file = file_entry(&summary, &stored, locality);
    Ok(Stored {
        piece,
        keyspace,
        place,
        last,
        file,
    })
}

//! What of a job's work is stored: kept in memory, and written to checkpoints.
//!
//! Files of a piece may be stored out of order; only those before which nothing is missing count, since
//! a later run goes on behind the last version that counts.

use std::collections::BTreeMap;

use icecore_archive::{
    BegunLayer, Checkpoint, CheckpointFile, Collection, Error as ArchiveError, FileEntry,
    LayerWriter, Position, blocking, total,
};
use parking_lot::Mutex;

use crate::error::Result;
use crate::export::Stored;
use crate::jobs::handler::JobContext;
use crate::jobs::row::CheckpointRow;

/// How often a number is stepped over that a dead run took.
const NUMBER_TRIES: u32 = 100;

/// The journal of one run.
pub(super) struct Journal {
    layer: BegunLayer,
    log: Mutex<Log>,
}

/// Guarded by `Journal::log`.
#[derive(Default)]
struct Log {
    pieces: Vec<PieceLog>,
    next_number: u32,
    /// Since the last checkpoint.
    files: Vec<CheckpointFile>,
    finished: Vec<u32>,
    saved_files: u64,
    saved_bytes: u64,
}

/// What is stored of one piece.
#[derive(Default, Clone)]
struct PieceLog {
    files: Vec<FileEntry>,
    last: Option<Position>,
    finished: bool,
    /// In this run: the place of the next file that counts.
    next: u64,
    /// Stored before one that comes before.
    ahead: BTreeMap<u64, (FileEntry, Position)>,
    /// How many files there are, once that is known.
    count: Option<u64>,
}

impl Journal {
    /// Reads what earlier runs stored. What a checkpoint says that is gone or damaged, or that names a
    /// file which is not there, is not believed, nor what came after it: that work is done again.
    pub(super) async fn load(
        job: &JobContext,
        collection: &Collection,
        layer: BegunLayer,
        pieces: usize,
    ) -> Result<Self> {
        let of_job = job.clone();
        let rows = blocking(move || of_job.checkpoints()).await?;
        let next_number = rows.last().map_or(0, |row| row.number + 1);
        let mut log = Log {
            pieces: vec![PieceLog::default(); pieces],
            next_number,
            ..Log::default()
        };
        if !rows.is_empty() {
            let stored = collection.stored_files(&layer.layer).await?;
            let present = |file: &FileEntry| stored.get(&file.id) == Some(&file.stored_bytes);
            let mut good = 0;
            for row in &rows {
                let read = read_one(job, collection, &layer, row).await?;
                let whole = |read: &Checkpoint| read.files.iter().all(|file| present(&file.file));
                if !read.is_some_and(|read| whole(&read) && log.take(read)) {
                    break;
                }
                good += 1;
            }
            let doubted: Vec<u32> = rows.iter().skip(good).map(|row| row.number).collect();
            if !doubted.is_empty() {
                tracing::warn!(id = %job.id(), checkpoints = ?doubted,
                    "what these checkpoints say is not there any more: that work is done again");
                let of_job = job.clone();
                // The last first: were the process to die in between, those that are left would still begin
                // with all that came before them.
                let forget = move || {
                    let mut numbers = doubted.iter().rev();
                    numbers.try_for_each(|number| of_job.forget_checkpoint(*number))
                };
                blocking(forget).await?;
            }
        }
        Ok(Self {
            layer,
            log: Mutex::new(log),
        })
    }

    /// From where on a piece is to be done; `None` if it is done.
    pub(super) fn rest_of(&self, piece: usize) -> Option<Option<Position>> {
        let log = self.log.lock();
        let piece = log.pieces.get(piece)?;
        (!piece.finished).then(|| piece.last.clone())
    }

    /// The files of a piece that count.
    pub(super) fn files_of(&self, piece: usize) -> Vec<FileEntry> {
        let log = self.log.lock();
        log.pieces
            .get(piece)
            .map(|piece| piece.files.clone())
            .unwrap_or_default()
    }

    /// Files that count, their bytes, and the pieces that are done.
    pub(super) fn totals(&self) -> (u64, u64, u32) {
        let log = self.log.lock();
        let files = log.pieces.iter().map(|piece| piece.files.len() as u64);
        let bytes = log.pieces.iter().flat_map(|piece| &piece.files);
        let done = log.pieces.iter().filter(|piece| piece.finished).count();
        (
            total(files),
            total(bytes.map(|file| file.stored_bytes)),
            u32::try_from(done).unwrap_or(u32::MAX),
        )
    }

    /// A file is stored.
    pub(super) fn stored(&self, stored: &Stored) {
        let mut log = self.log.lock();
        let at = stored.piece as usize;
        let Some(piece) = log.pieces.get_mut(at) else {
            return;
        };
        let entry = (stored.file.clone(), stored.last.clone());
        piece.ahead.insert(stored.place, entry);
        log.settle(stored.piece);
    }

    /// A piece was read to its end, and came out in so many files in this run.
    pub(super) fn ended(&self, number: u32, count: u64) {
        let mut log = self.log.lock();
        if let Some(piece) = log.pieces.get_mut(number as usize) {
            piece.count = Some(count);
        }
        log.settle(number);
    }

    /// Of a layer that is new, whose first checkpoint gets this number. Earlier checkpoints name `known`.
    pub(super) fn new(layer: BegunLayer, next_number: u32, known: &[FileEntry]) -> Self {
        let log = Log {
            next_number,
            saved_files: known.len() as u64,
            saved_bytes: total(known.iter().map(|file| file.stored_bytes)),
            ..Log::default()
        };
        Self {
            layer,
            log: Mutex::new(log),
        }
    }

    /// A live file of a keyspace of the plan was copied.
    pub(super) fn copied(&self, keyspace: usize, file: &FileEntry) {
        self.log.lock().files.push(CheckpointFile {
            piece: u32::try_from(keyspace).unwrap_or(u32::MAX),
            last: None,
            file: file.clone(),
        });
    }

    /// Writes what was stored since the last checkpoint to the next one.
    pub(super) async fn save(&self, job: &JobContext, writer: &LayerWriter) -> Result<()> {
        let (files, finished) = {
            let mut log = self.log.lock();
            (
                std::mem::take(&mut log.files),
                std::mem::take(&mut log.finished),
            )
        };
        if files.is_empty() && finished.is_empty() {
            return Ok(());
        }
        let saved = self.put(job, writer, &files, &finished).await;
        let (saved_files, saved_bytes) = {
            let mut log = self.log.lock();
            if let Err(error) = saved {
                // Before what came meanwhile.
                log.files.splice(0..0, files);
                log.finished.splice(0..0, finished);
                return Err(error);
            }
            log.count_saved(&files);
            (log.saved_files, log.saved_bytes)
        };
        let of_job = job.clone();
        blocking(move || of_job.save_progress(saved_files, saved_bytes)).await
    }

    async fn put(
        &self,
        job: &JobContext,
        writer: &LayerWriter,
        files: &[CheckpointFile],
        finished: &[u32],
    ) -> Result<()> {
        let first = self.log.lock().next_number;
        for number in first..first.saturating_add(NUMBER_TRIES) {
            let checkpoint = Checkpoint {
                job: job.id().to_string(),
                run: self.layer.run,
                number,
                layer: self.layer.layer.clone(),
                end: self.layer.end,
                files: files.to_vec(),
                finished: finished.to_vec(),
            };
            // `None`: of a run that died before it could note it here.
            if let Some(blake3) = writer.put_checkpoint(&checkpoint).await? {
                self.log.lock().next_number = number + 1;
                let (of_job, row) = (job.clone(), CheckpointRow { number, blake3 });
                blocking(move || of_job.add_checkpoint(row)).await?;
                metrics::counter!("icecore_jobs_checkpoints_total").increment(1);
                return Ok(());
            }
        }
        Err(ArchiveError::NoFreeSubdirectory {
            first: self.layer.layer.clone(),
            tries: NUMBER_TRIES,
            location: "its checkpoints".to_owned(),
        }
        .into())
    }
}

impl Log {
    /// Takes what a checkpoint says; `false` if it speaks of other work.
    fn take(&mut self, checkpoint: Checkpoint) -> bool {
        let known = |piece: &u32| (*piece as usize) < self.pieces.len();
        let known_file = |file: &CheckpointFile| known(&file.piece) && file.last.is_some();
        if !checkpoint.files.iter().all(known_file) || !checkpoint.finished.iter().all(known) {
            return false;
        }
        self.count_saved(&checkpoint.files);
        for file in checkpoint.files {
            if let Some(piece) = self.pieces.get_mut(file.piece as usize) {
                piece.files.push(file.file);
                piece.last = file.last;
            }
        }
        for number in checkpoint.finished {
            if let Some(piece) = self.pieces.get_mut(number as usize) {
                piece.finished = true;
            }
        }
        true
    }

    fn count_saved(&mut self, files: &[CheckpointFile]) {
        self.saved_files += files.len() as u64;
        self.saved_bytes += total(files.iter().map(|file| file.file.stored_bytes));
    }

    /// Counts what nothing is missing before.
    fn settle(&mut self, number: u32) {
        let Some(piece) = self.pieces.get_mut(number as usize) else {
            return;
        };
        while let Some((file, last)) = piece.ahead.remove(&piece.next) {
            piece.next += 1;
            piece.last = Some(last.clone());
            piece.files.push(file.clone());
            self.files.push(CheckpointFile {
                piece: number,
                last: Some(last),
                file,
            });
        }
        if piece.count == Some(piece.next) && !piece.finished {
            piece.finished = true;
            self.finished.push(number);
        }
    }
}

/// A checkpoint as it was written; `None` if it is gone or is another one.
pub(super) async fn read_one(
    job: &JobContext,
    collection: &Collection,
    layer: &BegunLayer,
    row: &CheckpointRow,
) -> Result<Option<Checkpoint>> {
    let id = job.id().to_string();
    let read = collection
        .read_checkpoint(&layer.layer, &id, row.number, row.blake3)
        .await;
    match read {
        Ok(read) if read.run == layer.run && read.end == layer.end => Ok(Some(read)),
        Ok(_) => Ok(None),
        // Whoever cannot be asked is not gone.
        Err(
            error @ (ArchiveError::StoreUnavailable { .. }
            | ArchiveError::AccessDenied { .. }
            | ArchiveError::Store { .. }),
        ) => Err(error.into()),
        Err(error) => {
            tracing::warn!(id, number = row.number, %error, "a checkpoint does not read");
            Ok(None)
        }
    }
}

//! Merges the files of a layer's parts, keyspace by keyspace, in bounded memory and staging space.
//!
//! Keyspaces are merged side by side. In each, ranges of keys come one after the other: the files that
//! overlap a range are fetched and verified, merged in one pass, and removed once no later range needs
//! them; files that are made are uploaded and removed as they come. A keyspace of which only one part has
//! files is copied as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::stream::{self, FuturesUnordered, StreamExt};
use icecore_archive::{
    Collection, Error as ArchiveError, FileEntry, FileId, LayerPath, LayerWriter, Locality,
    Progress, StagingFolder, blocking, remove_staged,
};
use icecore_engine::{SstFiles, SstSummary, SstWriter};
use icecore_mvcc::KeyRange;
use tokio::sync::mpsc;

use super::options::CompactOptions;
use super::plan::{MergedKeyspace, PlannedMerge};
use super::ranges::ranges;
use crate::error::{Error, Result};
use crate::files::file_entry;

/// What all merges of a compaction share.
pub(super) struct Merger {
    pub(super) collection: Collection,
    pub(super) options: CompactOptions,
    pub(super) files: SstFiles,
    pub(super) staging: Arc<StagingFolder>,
    pub(super) total_bytes: u64,
    pub(super) done_bytes: Arc<AtomicU64>,
}

impl Merger {
    /// Merges all keyspaces of a layer; the files of each, in their order. Waits for all of them even when
    /// one fails, so that none is still at work when it returns.
    pub(super) async fn merge(
        &self,
        writer: &LayerWriter,
        planned: &PlannedMerge,
    ) -> Result<Vec<Vec<FileEntry>>> {
        let stop = &AtomicBool::new(false);
        let positions = 0..planned.keyspaces.len();
        let merges = stream::iter(positions).map(|position| async move {
            match planned.keyspaces.get(position) {
                Some(keyspace) if !stop.load(Ordering::Acquire) => {
                    let merged = self.keyspace(writer, planned, keyspace).await;
                    merged.inspect_err(|_| stop.store(true, Ordering::Release))
                }
                _ => Ok(Vec::new()),
            }
        });
        let merged: Vec<Result<Vec<FileEntry>>> =
            merges.buffered(self.options.threads).collect().await;
        merged.into_iter().collect()
    }

    async fn keyspace(
        &self,
        writer: &LayerWriter,
        planned: &PlannedMerge,
        keyspace: &MergedKeyspace,
    ) -> Result<Vec<FileEntry>> {
        let mut files = match keyspace.inputs.as_slice() {
            [] => Vec::new(),
            [(layer, files)] => self.copy(writer, keyspace, layer, files).await?,
            _ => self.merge_files(writer, planned, keyspace).await?,
        };
        files.sort_by(|a, b| (a.span.start(), b.max_ts).cmp(&(b.span.start(), a.max_ts)));
        let found = icecore_archive::total(files.iter().map(|file| file.entries));
        let expected = keyspace.entries();
        let lost = match planned.revision_history {
            true => found != expected,
            false => found > expected || (found == 0 && expected > 0),
        };
        if lost {
            return Err(Error::MergeMismatch {
                keyspace: keyspace.keyspace.descriptor.name.clone(),
                expected,
                found,
            });
        }
        Ok(files)
    }

    /// Copies files that need no merging.
    async fn copy(
        &self,
        writer: &LayerWriter,
        keyspace: &MergedKeyspace,
        layer: &LayerPath,
        files: &[FileEntry],
    ) -> Result<Vec<FileEntry>> {
        let mut copied = Vec::with_capacity(files.len());
        let locality = locality(writer, keyspace);
        for file in files {
            let path = self.fetch(layer, file).await?;
            let stored = writer.put_file_at(locality.as_ref(), &path).await?;
            remove_staged(&path)?;
            copied.push(FileEntry {
                id: stored.id,
                stored_bytes: stored.stored_bytes,
                crc32: stored.crc32,
                blake3: stored.blake3,
                locality: locality.clone(),
                ..file.clone()
            });
        }
        Ok(copied)
    }

    async fn merge_files(
        &self,
        writer: &LayerWriter,
        planned: &PlannedMerge,
        keyspace: &MergedKeyspace,
    ) -> Result<Vec<FileEntry>> {
        let (send, receive) = mpsc::channel(1);
        let produce = self.produce(keyspace, !planned.revision_history, send);
        // When the uploads fail the channel closes, and the merge stops at its next file.
        let locality = locality(writer, keyspace);
        let upload = self.upload(writer, locality.as_ref(), receive);
        let (produced, uploaded) = tokio::join!(produce, upload);
        let uploaded = uploaded?;
        produced?;
        Ok(uploaded)
    }

    /// Merges range after range, handing on each file that is finished.
    async fn produce(
        &self,
        keyspace: &MergedKeyspace,
        newest_only: bool,
        send: mpsc::Sender<SstSummary>,
    ) -> Result<()> {
        let budget = self.options.staging_bytes / self.options.threads.max(1) as u64;
        let mut staged = BTreeMap::new();
        for range in ranges(keyspace.files(), budget) {
            if send.is_closed() {
                return Ok(());
            }
            let layers = self.stage(keyspace, &range, &mut staged).await?;
            let (files, staging, options) = (
                self.files.clone(),
                Arc::clone(&self.staging),
                self.options.clone(),
            );
            let (send, merged) = (send.clone(), range.clone());
            blocking(move || {
                let cutter = Cutter {
                    files: &files,
                    staging: &staging,
                    options: &options,
                    writer: None,
                };
                cutter.write(&layers, &merged, newest_only, &send)
            })
            .await?;
            // Of what was fetched only that stays which reaches into the next range.
            let ends_within = |file: &FileEntry| match (file.span.end(), range.end()) {
                (_, None) => true,
                (None, Some(_)) => false,
                (Some(end), Some(limit)) => end <= limit,
            };
            for file in keyspace.files().filter(|file| ends_within(file)) {
                if let Some(path) = staged.remove(&file.id) {
                    remove_staged(&path)?;
                }
            }
        }
        Ok(())
    }

    /// Brings the files that overlap a range into the staging folder, verified; by layer, oldest first.
    async fn stage(
        &self,
        keyspace: &MergedKeyspace,
        range: &KeyRange,
        staged: &mut BTreeMap<FileId, PathBuf>,
    ) -> Result<Vec<Vec<PathBuf>>> {
        let overlapping = || {
            keyspace.inputs.iter().map(|(layer, files)| {
                let files = files.iter().filter(|file| file.span.overlaps(range));
                (layer, files)
            })
        };
        let missing: Vec<(LayerPath, FileEntry)> = overlapping()
            .flat_map(|(layer, files)| files.map(move |file| (layer, file)))
            .filter(|(_, file)| !staged.contains_key(&file.id))
            .map(|(layer, file)| (layer.clone(), file.clone()))
            .collect();
        let fetches = stream::iter(missing).map(|(layer, file)| async move {
            let path = self.fetch(&layer, &file).await?;
            Ok::<_, Error>((file.id, path))
        });
        let fetched: Vec<Result<(FileId, PathBuf)>> = fetches
            .buffer_unordered(self.options.threads)
            .collect()
            .await;
        for fetched in fetched {
            let (id, path) = fetched?;
            staged.insert(id, path);
        }
        let layers = overlapping().map(|(_, files)| {
            files
                .filter_map(|file| staged.get(&file.id).cloned())
                .collect()
        });
        Ok(layers.collect())
    }

    async fn fetch(&self, layer: &LayerPath, file: &FileEntry) -> Result<PathBuf> {
        let path = self.staging.path().join(format!("{}.in.sst", file.id));
        self.collection.fetch(layer, file, &path).await?;
        let done = self
            .done_bytes
            .fetch_add(file.stored_bytes, Ordering::Relaxed);
        if let Some(progress) = &self.options.progress {
            progress(Progress {
                done_bytes: done.saturating_add(file.stored_bytes),
                total_bytes: self.total_bytes,
            });
        }
        Ok(path)
    }

    /// Uploads files as they come, one while the next is written.
    async fn upload(
        &self,
        writer: &LayerWriter,
        locality: Option<&Locality>,
        mut receive: mpsc::Receiver<SstSummary>,
    ) -> Result<Vec<FileEntry>> {
        let mut running = FuturesUnordered::new();
        let mut stored = Vec::new();
        let none_running = || ArchiveError::Stopped {
            cause: "no upload was running".to_owned(),
        };
        loop {
            tokio::select! {
                finished = receive.recv(), if running.len() < 2 => match finished {
                    Some(summary) => running.push(put(writer, locality, summary)),
                    None if running.is_empty() => return Ok(stored),
                    None => stored.push(running.next().await.ok_or_else(none_running)??),
                },
                uploaded = running.next(), if !running.is_empty() => {
                    stored.push(uploaded.ok_or_else(none_running)??);
                }
            }
        }
    }
}

/// Where the files of a keyspace go.
fn locality(writer: &LayerWriter, keyspace: &MergedKeyspace) -> Option<Locality> {
    let tags = &keyspace.keyspace.descriptor.settings.locality;
    writer.collection().locality_of(tags)
}

async fn put(
    writer: &LayerWriter,
    locality: Option<&Locality>,
    summary: SstSummary,
) -> Result<FileEntry> {
    let stored = writer.put_file_at(locality, &summary.path).await?;
    remove_staged(&summary.path)?;
    Ok(file_entry(&summary, &stored, locality.cloned()))
}

/// Cuts merged rows into files.
struct Cutter<'a> {
    files: &'a SstFiles,
    staging: &'a StagingFolder,
    options: &'a CompactOptions,
    writer: Option<SstWriter>,
}

impl Cutter<'_> {
    /// Writes the rows of a range; ends early when nobody takes the files.
    fn write(
        mut self,
        layers: &[Vec<PathBuf>],
        range: &KeyRange,
        newest_only: bool,
        send: &mpsc::Sender<SstSummary>,
    ) -> Result<()> {
        let mut rows = self.files.merged(self.staging.path(), layers, range)?;
        let mut last_key: Option<Vec<u8>> = None;
        while let Some(row) = rows.next_ref()? {
            if newest_only {
                if last_key.as_deref() == Some(row.key) {
                    continue;
                }
                row.key.clone_into(last_key.get_or_insert_default());
            }
            let mut writer = match self.writer.take() {
                Some(open) => open,
                None => self.files.writer(&self.path(), self.options.compression)?,
            };
            writer.add(row.key, row.ts, row.value)?;
            if writer.file_bytes() < self.options.target_file_bytes {
                self.writer = Some(writer);
            } else if send.blocking_send(writer.finish()?).is_err() {
                return Ok(());
            }
        }
        if let Some(last) = self.writer {
            let _closed = send.blocking_send(last.finish()?);
        }
        Ok(())
    }

    fn path(&self) -> PathBuf {
        let name = format!("{}.out.sst", FileId::random());
        self.staging.path().join(name)
    }
}

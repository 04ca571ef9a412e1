//! Copies the live files of the source into the pool of the collection.
//!
//! The files are exact as of the time of their capture: nothing is read of them but their bytes, on the
//! way to the store. What an earlier fast full put into the pool, and a full that is still listed names,
//! is named again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use futures::stream::{self, StreamExt, TryStreamExt};
use icecore_archive::{
    Collection, ContentHash, CopiedFile, FileEntry, FileId, LayerWriter, Locality, StagingFolder,
    StoredFile, blocking, remove_staged, total,
};
use icecore_engine::{Capture, CapturedKeyspace, Engine, LiveFile, Snapshot, SstSummary};
use icecore_mvcc::{Descriptor, Timestamp};
use parking_lot::Mutex;

use crate::error::Result;
use crate::export::{Exported, advance, localities};
use crate::files::file_entry;
use crate::options::BackupOptions;
use crate::plan::{BackupPlan, PlannedKeyspace};

/// The live files of a source as of one time, linked in the staging folder until they are stored.
pub(crate) struct Source {
    capture: Capture,
    _staging: StagingFolder,
}

/// One file to bring into the collection.
enum Work {
    /// A live file, unless the pool has it.
    Copy(LiveFile, ContentHash),
    /// The rows that were in no file.
    Tail(SstSummary),
}

impl Source {
    /// Captures the keyspaces that a backup with these options takes.
    pub(crate) async fn capture(engine: &Engine, options: &BackupOptions) -> Result<Self> {
        let (engine, patterns) = (engine.clone(), options.keyspaces.clone());
        blocking(move || {
            let staging = StagingFolder::new(engine.staging_dir(), "fast")?;
            let is_meant = |d: &Descriptor| {
                let named = patterns.is_empty() || patterns.iter().any(|p| p.matches(&d.name));
                named && !d.settings.exclude_from_backup
            };
            let capture = engine.capture(staging.path(), &is_meant)?;
            tracing::debug!(at = %capture.at.timestamp(), paused = ?capture.paused, "captured");
            Ok(Self {
                capture,
                _staging: staging,
            })
        })
        .await
    }

    /// Its time.
    pub(crate) const fn at(&self) -> &Snapshot {
        &self.capture.at
    }

    fn keyspace(&self, planned: &PlannedKeyspace) -> Result<&CapturedKeyspace> {
        let captured = self.capture.keyspaces.get(&planned.descriptor.id);
        captured.ok_or_else(|| {
            icecore_engine::Error::NoSuchKeyspace {
                name: planned.descriptor.name.clone(),
            }
            .into()
        })
    }
}

/// How live files are brought into the collection.
pub(crate) struct Copying<'a> {
    pub(crate) collection: &'a Collection,
    pub(crate) writer: &'a LayerWriter,
    pub(crate) options: &'a BackupOptions,
    /// Files that the caller put into the pool before: no manifest names them yet.
    pub(crate) ours: Vec<FileEntry>,
    /// Told of each file that is put into the pool, with its keyspace's place in the plan.
    pub(crate) put: &'a (dyn Fn(usize, &FileEntry) + Sync),
    /// Set to end it before the next file.
    pub(crate) stop: &'a AtomicBool,
    /// Told before the first file how many bytes there are.
    pub(crate) total: &'a (dyn Fn(u64) + Sync),
}

/// What all files of one copying share.
struct Shared<'a> {
    copying: &'a Copying<'a>,
    pool: Mutex<BTreeMap<ContentHash, Vec<FileEntry>>>,
    at: Timestamp,
    /// By keyspace of the plan: where its files go.
    localities: Vec<Option<Locality>>,
    total_bytes: u64,
    done_bytes: AtomicU64,
}

/// A file that is in the collection, whether it was there before, and its keyspace's place in the plan.
type Brought = (usize, FileEntry, bool);

impl Copying<'_> {
    /// Brings everything that the plan names into the collection. `None` where it was stopped.
    pub(crate) async fn run(
        &self,
        source: &Source,
        plan: &BackupPlan,
    ) -> Result<Option<Vec<Exported>>> {
        let mut exported = Vec::new();
        let mut work = Vec::new();
        for (position, planned) in plan.keyspaces.iter().enumerate() {
            let (entry, files) = prepare(planned, source)?;
            exported.push(entry);
            work.extend(files.into_iter().map(|file| (position, file)));
        }
        let bytes = work.iter().map(|(_, work)| match work {
            Work::Copy(file, _) => file.file_bytes,
            Work::Tail(tail) => tail.file_bytes,
        });
        let shared = Shared {
            copying: self,
            pool: Mutex::new(self.collection.reusable_files(&self.ours).await?),
            at: source.at().timestamp(),
            localities: localities(self.writer, plan),
            total_bytes: total(bytes),
            done_bytes: AtomicU64::new(0),
        };
        (self.total)(shared.total_bytes);
        let brought: Vec<Option<Brought>> = stream::iter(work)
            .map(|(position, work)| shared.bring(position, work))
            // In order: that of the files is that of their ingestion.
            .buffered(self.options.threads)
            .try_collect()
            .await?;
        for brought in brought {
            let Some((position, file, reused)) = brought else {
                return Ok(None);
            };
            if let Some(exported) = exported.get_mut(position) {
                exported.add(file, reused);
            }
        }
        Ok(Some(exported))
    }
}

fn prepare(planned: &PlannedKeyspace, source: &Source) -> Result<(Exported, Vec<Work>)> {
    let mut entry = Exported::of(planned);
    if !planned.is_read() {
        entry.set_aside(planned);
        return Ok((entry, Vec::new()));
    }
    let captured = source.keyspace(planned)?;
    entry.report.how = "live files copied".to_owned();
    let at = source.at().timestamp();
    let last = planned.descriptor.dropped.map_or(at, Timestamp::prev);
    entry.revision_start = Some(captured.threshold.min(last));
    let live = captured.live.iter().map(|file| {
        // One without an identity of its own is the same as no other.
        let random = || ContentHash::of(FileId::random().to_string().as_bytes());
        let source = file
            .identity
            .as_deref()
            .map_or_else(random, ContentHash::of);
        Work::Copy(file.clone(), source)
    });
    let tail = captured.tail.iter().cloned().map(Work::Tail);
    Ok((entry, live.chain(tail).collect()))
}

impl Shared<'_> {
    /// Brings one file; `None` where it was stopped.
    async fn bring(&self, position: usize, work: Work) -> Result<Option<Brought>> {
        let Copying {
            writer,
            options,
            put,
            stop,
            ..
        } = self.copying;
        if stop.load(Ordering::Acquire) {
            return Ok(None);
        }
        let locality = self.localities.get(position).and_then(Option::as_ref);
        let (file, reused) = match work {
            Work::Copy(live, source) => {
                let (file, reused) = self.copy(&live, source, locality).await?;
                if !reused {
                    put(position, &file);
                }
                (file, reused)
            }
            Work::Tail(tail) => {
                let stored = writer.put_file_at(locality, &tail.path).await?;
                remove_staged(&tail.path)?;
                (file_entry(&tail, &stored, locality.cloned()), false)
            }
        };
        advance(&file, reused, &self.done_bytes, options, self.total_bytes);
        Ok(Some((position, file, reused)))
    }

    /// Uploads a live file, unless the pool of its place has it; says whether it has.
    async fn copy(
        &self,
        live: &LiveFile,
        source: ContentHash,
        locality: Option<&Locality>,
    ) -> Result<(FileEntry, bool)> {
        let writer = self.copying.writer;
        let pooled = self.take_pooled(&source, locality);
        let entry = |stored: StoredFile| FileEntry {
            id: stored.id,
            span: FileEntry::span_of(&live.first_key, &live.last_key),
            min_ts: Timestamp::MIN,
            max_ts: self.at,
            entries: live.entries,
            tombstones: 0,
            logical_bytes: live.logical_bytes,
            stored_bytes: stored.stored_bytes,
            crc32: stored.crc32,
            blake3: stored.blake3,
            copied: Some(CopiedFile {
                source,
                level: live.level,
            }),
            locality: locality.cloned(),
        };
        let brought = match pooled {
            Some(pooled) => {
                let file = entry(StoredFile::of(&pooled));
                writer.reuse(&file);
                (file, true)
            }
            None => {
                let stored = writer.put_pooled(locality, &live.path).await?;
                (entry(stored), false)
            }
        };
        remove_staged(&live.path)?;
        Ok(brought)
    }

    /// A copy of that file which lies in that place. Each only once, should two keyspaces hold the same file:
    /// a manifest names a file once.
    fn take_pooled(&self, source: &ContentHash, locality: Option<&Locality>) -> Option<FileEntry> {
        let mut pool = self.pool.lock();
        let copies = pool.get_mut(source)?;
        let lies_there = |copy: &FileEntry| copy.locality.as_ref() == locality;
        let position = copies.iter().position(lies_there)?;
        Some(copies.swap_remove(position))
    }
}

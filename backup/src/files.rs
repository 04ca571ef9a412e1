//! Cuts a stream of versions into SST files in the staging folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_archive::{FileEntry, StagingFolder, StoredFile};
use icecore_engine::{Compression, Engine, SstSummary, SstWriter, Versions};
use icecore_mvcc::{Fingerprint, Timestamp};

use crate::error::Result;
use crate::prints::{Follow, Follower};
use crate::window::WindowPart;

/// Where the versions of one piece of work come from.
pub(crate) enum Rows {
    /// A walk over the keyspace.
    Walk(Box<Versions>),
    /// The time-bounded iterator, not opened yet.
    Window(WindowPart),
    /// A walk that is only followed: no file is written.
    State(Box<Versions>),
}

/// Names files in the staging folder of one backup.
pub(crate) struct Staging {
    dir: StagingFolder,
    next: AtomicU64,
}

impl Staging {
    pub(crate) fn new(engine: &Engine) -> Result<Self> {
        let dir = StagingFolder::new(engine.staging_dir(), "backup")?;
        Ok(Self {
            dir,
            next: AtomicU64::new(0),
        })
    }

    fn path(&self) -> PathBuf {
        self.dir
            .path()
            .join(format!("{}.sst", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

/// Settings of the files.
#[derive(Clone, Copy)]
pub(crate) struct FileOptions {
    pub(crate) target_bytes: u64,
    pub(crate) compression: Compression,
}

/// Writes all rows, handing each finished file on; `done` says whether to stop early. By what the rows
/// change the fingerprint of their keyspace, if they are followed.
pub(crate) fn write_files(
    engine: &Engine,
    staging: &Staging,
    options: FileOptions,
    rows: Rows,
    follow: Option<Follow>,
    mut done: impl FnMut(SstSummary) -> bool,
) -> Result<Option<Fingerprint>> {
    let mut cutter = Cutter {
        engine,
        staging,
        options,
        writer: None,
    };
    let mut follower = None;
    match rows {
        Rows::Walk(mut versions) => {
            follower = follow.map(|_| Follower::whole());
            while let Some(row) = versions.next_ref()? {
                see(&mut follower, row.key, row.value)?;
                if let Some(full) = cutter.add(row.key, row.ts, row.value)?
                    && done(full)
                {
                    return Ok(None);
                }
            }
        }
        Rows::Window(part) => {
            if let Some(changes) = part.open()? {
                follower = follow.map(|follow| follow.changes(&changes)).transpose()?;
                for row in changes {
                    let row = row?;
                    see(&mut follower, &row.key, row.value.as_deref())?;
                    if let Some(full) = cutter.add(&row.key, row.ts, row.value.as_deref())?
                        && done(full)
                    {
                        return Ok(None);
                    }
                }
            }
        }
        Rows::State(mut versions) => {
            follower = follow.map(|_| Follower::whole());
            while let Some(row) = versions.next_ref()? {
                see(&mut follower, row.key, row.value)?;
            }
        }
    }
    if let Some(last) = cutter.writer {
        done(last.finish()?);
    }
    Ok(follower.map(Follower::finish))
}

fn see(follower: &mut Option<Follower>, key: &[u8], value: Option<&[u8]>) -> Result<()> {
    match follower {
        Some(follower) => follower.see(key, value),
        None => Ok(()),
    }
}

/// What a manifest says of a file that was written and stored.
pub(crate) fn file_entry(summary: &SstSummary, stored: &StoredFile) -> FileEntry {
    FileEntry {
        id: stored.id,
        span: FileEntry::span_of(&summary.first_key, &summary.last_key),
        min_ts: summary.min_ts,
        max_ts: summary.max_ts,
        entries: summary.entries,
        tombstones: summary.tombstones,
        logical_bytes: summary.logical_bytes,
        stored_bytes: stored.stored_bytes,
        crc32: stored.crc32,
        blake3: stored.blake3,
    }
}

/// Closes a file once it has reached its size. One key's versions may go to two files.
struct Cutter<'a> {
    engine: &'a Engine,
    staging: &'a Staging,
    options: FileOptions,
    writer: Option<SstWriter>,
}

impl Cutter<'_> {
    fn add(
        &mut self,
        key: &[u8],
        ts: Timestamp,
        value: Option<&[u8]>,
    ) -> Result<Option<SstSummary>> {
        let writer = match self.writer.take() {
            Some(open) => open,
            None => self
                .engine
                .sst_writer(&self.staging.path(), self.options.compression)?,
        };
        let writer = self.writer.insert(writer);
        writer.add(key, ts, value)?;
        if writer.file_bytes() < self.options.target_bytes {
            return Ok(None);
        }
        Ok(self.writer.take().map(SstWriter::finish).transpose()?)
    }
}

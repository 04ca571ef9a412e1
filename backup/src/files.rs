//! Cuts a stream of versions into SST files in the staging folder.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use icecore_archive::{FileEntry, Locality, Position, StagingFolder, StoredFile};
use icecore_engine::{Changes, Compression, Engine, SstSummary, SstWriter, Versions};
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
    /// The time-bounded iterator of a key range, not opened yet.
    Later(Opens),
    /// A walk that is only followed: no file is written.
    State(Box<Versions>),
}

/// Opens a time-bounded iterator.
pub(crate) type Opens = Box<dyn FnOnce() -> Result<Changes> + Send>;

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

/// A finished file.
pub(crate) struct CutFile {
    pub(crate) summary: SstSummary,
    /// The last version in it.
    pub(crate) last: Position,
}

/// How writing a piece ended.
pub(crate) enum Written {
    /// Early, as `done` said.
    Stopped,
    /// With its last row; by what the rows change the fingerprint of their keyspace, if they were followed.
    Whole(Option<Fingerprint>),
}

/// Writes all rows behind `after`, handing each finished file on; `done` says whether to stop early. Rows
/// that are followed are seen from the first one on.
pub(crate) fn write_files(
    engine: &Engine,
    staging: &Staging,
    options: FileOptions,
    rows: Rows,
    after: Option<&Position>,
    follow: Option<Follow>,
    mut done: impl FnMut(CutFile) -> bool,
) -> Result<Written> {
    // The rows begin at the key of `after`; its newer versions and itself are stored already.
    let stored = |key: &[u8], ts: Timestamp| {
        after.is_some_and(|after| key == after.key.as_slice() && ts >= after.ts)
    };
    let mut cutter = Cutter {
        engine,
        staging,
        options,
        writer: None,
        last_ts: Timestamp::MIN,
    };
    let mut follower = None;
    match rows {
        Rows::Walk(mut versions) => {
            follower = follow.map(|_| Follower::whole());
            while let Some(row) = versions.next_ref()? {
                if stored(row.key, row.ts) {
                    continue;
                }
                see(&mut follower, row.key, row.value)?;
                if let Some(full) = cutter.add(row.key, row.ts, row.value)?
                    && done(full)
                {
                    return Ok(Written::Stopped);
                }
            }
        }
        Rows::Window(_) | Rows::Later(_) => {
            let changes = match rows {
                Rows::Window(part) => part.open()?,
                Rows::Later(open) => Some(open()?),
                Rows::Walk(_) | Rows::State(_) => None,
            };
            if let Some(changes) = changes {
                follower = follow.map(|follow| follow.changes(&changes)).transpose()?;
                for row in changes {
                    let row = row?;
                    if stored(&row.key, row.ts) {
                        continue;
                    }
                    see(&mut follower, &row.key, row.value.as_deref())?;
                    if let Some(full) = cutter.add(&row.key, row.ts, row.value.as_deref())?
                        && done(full)
                    {
                        return Ok(Written::Stopped);
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
    if let Some(last) = cutter.finish()? {
        done(last);
    }
    Ok(Written::Whole(follower.map(Follower::finish)))
}

fn see(follower: &mut Option<Follower>, key: &[u8], value: Option<&[u8]>) -> Result<()> {
    match follower {
        Some(follower) => follower.see(key, value),
        None => Ok(()),
    }
}

/// What a manifest says of a file that was written and stored.
pub(crate) fn file_entry(
    summary: &SstSummary,
    stored: &StoredFile,
    locality: Option<Locality>,
) -> FileEntry {
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
        copied: None,
        locality,
    }
}

/// Closes a file once it has reached its size. One key's versions may go to two files.
struct Cutter<'a> {
    engine: &'a Engine,
    staging: &'a Staging,
    options: FileOptions,
    writer: Option<SstWriter>,
    /// Of the version that was added last.
    last_ts: Timestamp,
}

impl Cutter<'_> {
    fn add(&mut self, key: &[u8], ts: Timestamp, value: Option<&[u8]>) -> Result<Option<CutFile>> {
        let writer = match self.writer.take() {
            Some(open) => open,
            None => self
                .engine
                .sst_writer(&self.staging.path(), self.options.compression)?,
        };
        let writer = self.writer.insert(writer);
        writer.add(key, ts, value)?;
        self.last_ts = ts;
        if writer.file_bytes() < self.options.target_bytes {
            return Ok(None);
        }
        self.finish()
    }

    /// Completes the file that is open.
    fn finish(&mut self) -> Result<Option<CutFile>> {
        let Some(writer) = self.writer.take() else {
            return Ok(None);
        };
        let summary = writer.finish()?;
        let last = Position {
            key: summary.last_key.clone(),
            ts: self.last_ts,
        };
        Ok(Some(CutFile { summary, last }))
    }
}

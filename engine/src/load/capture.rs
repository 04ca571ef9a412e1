//! The live SST files of keyspaces as of one moment, exact to the commit, without writing them anew.
//!
//! While no commit is under way every version in any file is at or below the newest timestamp given. So
//! commits are paused for as long as it takes to list the files, and what is listed then is exact as it
//! is: nothing must be known of the order in which RocksDB flushes and compacts. The rows in memory are
//! read from there and written to a file of their own, the *tail*; nothing is flushed within the pause.
//!
//! Two rules make that whole:
//! - Memory first, then the files. What is flushed in between is then in both, which does no harm; the
//!   other way round it would be in neither.
//! - No physical deletes in memory, since a tail cannot hold them, and without them a swept key's older
//!   versions could come back. The sweep is the only one that writes deletes, so it is kept out, and a
//!   keyspace that has deletes in memory is flushed before.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use icecore_mvcc::{Descriptor, KeyRange, KeyspaceId, Timestamp, key, value};

use super::live_file::{FileEnd, LiveFile};
use super::sst::{SstSummary, SstWriter};
use crate::catalog::family_name;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::read::Snapshot;
use crate::rocks::{FileInfo, RawIter};
use crate::store::Space;

/// Rows in memory beyond this are flushed before the pause: a file of their own will be live then, which
/// the next capture finds again.
const TAIL_BYTES: u64 = 4 << 20;

/// What was captured.
#[derive(Debug)]
pub struct Capture {
    /// The time of it: every commit at or below is in it, none above.
    pub at: Snapshot,
    /// The keyspaces by id.
    pub keyspaces: BTreeMap<KeyspaceId, CapturedKeyspace>,
    /// How long no commit could begin.
    pub paused: Duration,
}

/// One keyspace of a capture.
#[derive(Debug, Clone)]
pub struct CapturedKeyspace {
    /// Reads at and above this time are true in it.
    pub threshold: Timestamp,
    /// Its live files, oldest first: to be ingested together in this order.
    pub live: Vec<LiveFile>,
    /// The rows that were in no file.
    pub tail: Option<SstSummary>,
}

/// What is taken within the pause.
struct Moment {
    at: Snapshot,
    memory: Vec<(Arc<Space>, RawIter)>,
    files: Vec<FileInfo>,
    paused: Duration,
}

impl Engine {
    /// Captures the keyspaces that `wanted` names, dropped ones too, into `dir`, which must exist, by
    /// links; where the file system has none, by copies.
    ///
    /// Commits wait meanwhile for as long as it takes to list the files; reads do not. Files may be
    /// removed from `dir` one by one.
    ///
    /// # Errors
    /// [`Error::Rocks`] and [`Error::Io`] when the disk fails; what was linked stays there.
    #[tracing::instrument(skip_all)]
    pub fn capture(&self, dir: &Path, wanted: &dyn Fn(&Descriptor) -> bool) -> Result<Capture> {
        self.check_writable("capture the live files")?;
        let held = self.db().hold_files()?;
        let moment = {
            let _no_sweep = self.gc_work_lock().lock();
            self.ready_memory(wanted)?;
            // Whatever takes long, a bulk load say, is waited for while commits go on.
            self.sequencer().settle(self.now())?;
            self.take_moment(wanted)?
        };
        let mut keyspaces = BTreeMap::new();
        for (space, rows) in moment.memory {
            // Read after the files were listed: what they lack was dropped below it.
            let threshold = space.threshold();
            let family = family_name(space.id());
            let files = moment.files.iter().filter(|file| file.family == family);
            let live = files
                .map(|file| self.link(file, dir))
                .collect::<Result<_>>()?;
            let tail = self.write_tail(rows, &dir.join(format!("tail-{}.sst", space.id())))?;
            let captured = CapturedKeyspace {
                threshold,
                live,
                tail,
            };
            keyspaces.insert(space.id(), captured);
        }
        drop(held);
        metrics::histogram!("icecore_engine_capture_pause_seconds")
            .record(moment.paused.as_secs_f64());
        Ok(Capture {
            at: moment.at,
            keyspaces,
            paused: moment.paused,
        })
    }

    fn wanted_spaces(&self, wanted: &dyn Fn(&Descriptor) -> bool) -> Vec<Arc<Space>> {
        let all = self.catalog().all().into_iter();
        all.filter(|space| wanted(&space.descriptor())).collect()
    }

    /// Flushes what a tail could not hold, or should not.
    fn ready_memory(&self, wanted: &dyn Fn(&Descriptor) -> bool) -> Result<()> {
        for space in self.wanted_spaces(wanted) {
            let cf = space.cf();
            if cf.deletes_in_memory() > 0
                || cf.property("rocksdb.cur-size-all-mem-tables") > TAIL_BYTES
            {
                cf.flush("flush a keyspace")?;
            }
        }
        Ok(())
    }

    fn take_moment(&self, wanted: &dyn Fn(&Descriptor) -> bool) -> Result<Moment> {
        let started = Instant::now();
        self.sequencer().pause(|at| {
            let at = self.watermark().hold(at);
            let mut memory = Vec::new();
            for space in self.wanted_spaces(wanted) {
                let (lower, upper) = key::range_bounds(&KeyRange::all());
                let rows = space.cf().memory_iter(lower, upper);
                if space.cf().deletes_in_memory() > 0 {
                    return Err(Error::corrupt(format!(
                        "keyspace {} has deletes in memory that no sweep wrote",
                        space.name()
                    )));
                }
                memory.push((space, rows));
            }
            let files = self.db().live_files_oldest_first()?;
            let paused = started.elapsed();
            Ok(Moment {
                at,
                memory,
                files,
                paused,
            })
        })
    }

    fn link(&self, file: &FileInfo, dir: &Path) -> Result<LiveFile> {
        let from: PathBuf = self.data_dir().join(&file.name);
        let path = dir.join(&file.name);
        if fs::hard_link(&from, &path).is_err() {
            fs::copy(&from, &path).map_err(Error::path("copy", &from))?;
        }
        let end = FileEnd::read(&path)?;
        let user = |stored: &[u8]| key::decode_key(stored).map(|(user, _)| user);
        Ok(LiveFile {
            level: file.level,
            entries: file.entries.saturating_sub(file.deletes),
            logical_bytes: end.logical_bytes(file.entries),
            file_bytes: end.file_bytes,
            first_key: user(&file.first_key)?,
            last_key: user(&file.last_key)?,
            identity: end.identity(),
            path,
        })
    }

    /// Writes the rows that were in memory to a file; none if there are none.
    fn write_tail(&self, mut rows: RawIter, path: &Path) -> Result<Option<SstSummary>> {
        let mut writer: Option<SstWriter> = None;
        rows.seek_to_first();
        while let Some((stored, bytes)) = rows.item() {
            let (user, ts) = key::decode_key(stored)?;
            let file = match writer.take() {
                Some(open) => open,
                None => self.sst_writer(path, self.options().compression)?,
            };
            let row = value::decode_value(bytes)?.into_option();
            writer.insert(file).add(&user, ts, row)?;
            rows.next();
        }
        rows.status()?;
        writer.map(SstWriter::finish).transpose()
    }
}

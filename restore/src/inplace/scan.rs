//! Scans of a backup that is read in place.

use std::sync::Arc;

use icecore_engine::{EntryRef, ScanDirection};
use icecore_mvcc::{KeyRange, Timestamp};

use super::BackupReader;
use super::merge::{At, Merge};
use super::unit::Unit;
use crate::error::Result;

/// Steps before a seek is cheaper than going on.
const STEPS_BEFORE_SEEK: u32 = 6;

/// A running scan of a keyspace in a backup. After an error it ends.
///
/// Between two files its steps read local ones, on the thread that polls them: where a long scan must not
/// hold up other tasks, give it a thread of its own.
pub struct BackupScan {
    // First: open files go before the reader's folder.
    merge: Merge,
    reader: BackupReader,
    direction: ScanDirection,
    done: bool,
    /// Forward, the key whose other versions are passed over; in reverse, the key that it is at.
    key: Option<Vec<u8>>,
    /// The version of that key to show.
    ts: Timestamp,
    value: Vec<u8>,
    /// In reverse: whether that key has a version to show, so far.
    shows: bool,
    /// Versions passed over in a row.
    passed: u32,
}

impl BackupScan {
    pub(super) fn new(
        reader: BackupReader,
        units: &[Arc<Unit>],
        range: &KeyRange,
        direction: ScanDirection,
    ) -> Self {
        Self {
            reader,
            merge: Merge::new(units, range, direction),
            direction,
            done: false,
            key: None,
            ts: Timestamp::MIN,
            value: Vec::new(),
            shows: false,
            passed: 0,
        }
    }

    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// Those of fetching a file, and [`Error::Engine`](crate::Error::Engine) when one cannot be read.
    pub async fn next(&mut self) -> Result<Option<EntryRef<'_>>> {
        if self.done {
            return Ok(None);
        }
        // Ends the scan should a step fail, or the caller give this up half-way.
        self.done = true;
        let found = match self.direction {
            ScanDirection::Forward => self.forward().await?,
            ScanDirection::Reverse => self.reverse().await?,
        };
        self.done = !found;
        Ok(found.then_some(EntryRef {
            key: self.key.as_deref().unwrap_or_default(),
            ts: self.ts,
            value: &self.value,
        }))
    }

    /// Opens the files that the merge has come to; `false` at its end.
    async fn arrive(&mut self) -> Result<bool> {
        loop {
            match self.merge.at() {
                At::Version => return Ok(true),
                At::End => return Ok(false),
                At::File(unit) => {
                    let file = self.reader.0.files.open_unit(&unit).await?;
                    self.merge.opened(&file)?;
                }
            }
        }
    }

    /// Goes to the next key's newest version at or before the target that is a put.
    async fn forward(&mut self) -> Result<bool> {
        let target = self.reader.target();
        while self.arrive().await? {
            let Some((key, ts)) = self.merge.version() else {
                break;
            };
            if self.key.as_deref() == Some(key) {
                self.pass(|merge| merge.skip_key())?;
            } else if ts > target {
                self.pass(|merge| merge.skip_newer(target))?;
            } else {
                self.passed = 0;
                self.ts = ts;
                copy(&mut self.key, key);
                if self.take_value()? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Goes to the next lower key with a put as its newest version at or before the target. A key's versions
    /// come oldest first, so the one to show is known when the merge is past the key.
    async fn reverse(&mut self) -> Result<bool> {
        let target = self.reader.target();
        self.shows = false;
        self.key = None;
        while self.arrive().await? {
            let Some((key, ts)) = self.merge.version() else {
                break;
            };
            if self.key.as_deref() != Some(key) {
                if self.shows {
                    return Ok(true);
                }
                self.passed = 0;
                copy(&mut self.key, key);
            }
            if ts > target {
                self.pass(|merge| merge.skip_key())?;
            } else {
                self.ts = ts;
                self.shows = self.take_value()?;
                self.merge.step()?;
            }
        }
        Ok(self.shows)
    }

    /// Passes a version over: by a step, and by `seek` where there are many.
    fn pass(&mut self, seek: impl FnOnce(&mut Merge) -> Result<()>) -> Result<()> {
        self.passed += 1;
        if self.passed <= STEPS_BEFORE_SEEK {
            return self.merge.step();
        }
        self.passed = 0;
        seek(&mut self.merge)
    }

    /// Copies the value of the version that the merge is at; `false` for a tombstone.
    fn take_value(&mut self) -> Result<bool> {
        let row = self.merge.row()?;
        let Some(value) = row.and_then(|row| row.value) else {
            return Ok(false);
        };
        self.value.clear();
        self.value.extend_from_slice(value);
        Ok(true)
    }
}

fn copy(to: &mut Option<Vec<u8>>, key: &[u8]) {
    let to = to.get_or_insert_default();
    to.clear();
    to.extend_from_slice(key);
}

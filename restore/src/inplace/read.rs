//! A keyspace of a backup that is read in place, and reads of single keys.

use std::sync::Arc;

use icecore_engine::{Entry, ScanDirection};
use icecore_mvcc::{Descriptor, KeyRange, Timestamp, Version};

use super::BackupReader;
use super::scan::BackupScan;
use super::unit::{Unit, holding, units};
use crate::error::Result;
use crate::plan::PlannedRestore;

/// A keyspace of a backup, as of the time that its reader was opened at. Cheap to clone.
#[derive(Clone)]
pub struct BackupKeyspace {
    reader: BackupReader,
    planned: Arc<PlannedRestore>,
    units: Arc<[Arc<Unit>]>,
}

impl BackupKeyspace {
    pub(super) fn new(reader: BackupReader, planned: PlannedRestore) -> Self {
        Self {
            units: units(&planned).into(),
            planned: Arc::new(planned),
            reader,
        }
    }

    /// The keyspace as the backup describes it.
    #[must_use]
    pub fn descriptor(&self) -> &Descriptor {
        &self.planned.source
    }

    /// What older versions are readable: those that reads at or after this time see.
    #[must_use]
    pub fn threshold(&self) -> Timestamp {
        self.planned.threshold
    }

    /// The key's value, and when it was written; `None` where there is none.
    ///
    /// # Errors
    /// Those of fetching a file, and [`Error::Engine`](crate::Error::Engine) when it cannot be read.
    pub async fn get(&self, key: &[u8]) -> Result<Option<Entry>> {
        let target = self.reader.target();
        let mut newest: Option<Version> = None;
        for unit in holding(&self.units, key) {
            if newest
                .as_ref()
                .is_some_and(|found| found.ts >= unit.newest())
            {
                break;
            }
            let mut cursor = self.reader.0.files.open_unit(&unit).await?.cursor();
            cursor.seek(key, target);
            let Some(row) = cursor.row()?.filter(|row| row.key == key) else {
                continue;
            };
            if newest.as_ref().is_none_or(|found| found.ts < row.ts) {
                newest = Some(Version {
                    ts: row.ts,
                    value: row.value.map(<[u8]>::to_vec),
                });
            }
        }
        Ok(newest.and_then(|found| {
            Some(Entry {
                key: key.to_vec(),
                ts: found.ts,
                value: found.value?,
            })
        }))
    }

    /// The key's versions, newest first: all after the threshold, and the one that reads at the threshold
    /// see if it is a put.
    ///
    /// # Errors
    /// As [`BackupKeyspace::get`].
    pub async fn versions(&self, key: &[u8]) -> Result<Vec<Version>> {
        let (target, threshold) = (self.reader.target(), self.planned.threshold);
        let mut found: Vec<Version> = Vec::new();
        // The newest at or below the threshold.
        let mut base: Option<Timestamp> = None;
        for unit in holding(&self.units, key) {
            if base.is_some_and(|base| base >= unit.newest()) {
                break;
            }
            let mut cursor = self.reader.0.files.open_unit(&unit).await?.cursor();
            cursor.seek(key, target);
            while let Some(row) = cursor.row()?.filter(|row| row.key == key) {
                let ts = row.ts;
                found.push(Version {
                    ts,
                    value: row.value.map(<[u8]>::to_vec),
                });
                if ts <= threshold {
                    base = base.max(Some(ts));
                    break;
                }
                cursor.next();
            }
        }
        found.sort_by_key(|version| std::cmp::Reverse(version.ts));
        found.dedup_by_key(|version| version.ts);
        let readable = |version: &Version| {
            version.ts > threshold || (Some(version.ts) == base && version.value.is_some())
        };
        found.retain(readable);
        Ok(found)
    }

    /// The rows of a range, in either order. Nothing is fetched until the first row is asked for.
    #[must_use]
    pub fn scan(&self, range: &KeyRange, direction: ScanDirection) -> BackupScan {
        BackupScan::new(self.reader.clone(), &self.units, range, direction)
    }
}

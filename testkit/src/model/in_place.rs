//! Reads of a backup in place, held against its restore.

use icecore_engine::{Engine, Entry, Keyspace, ScanDirection, Snapshot};
use icecore_mvcc::KeyRange;
use icecore_restore::inplace::{BackupKeyspace, BackupReader, CacheOptions, ReadOptions};
use icecore_restore::{History, RestoreOptions, RestoreReport};

use super::bugs::Bug;
use super::chains::ChainRecord;
use super::world::World;
use crate::failure::{Failure, Result, ensure};

impl World {
    /// Reads the backup in place as a restore was just made of it into an engine of its own.
    pub(crate) fn read_in_place(
        &self,
        engine: &Engine,
        chain: &ChainRecord,
        options: &RestoreOptions,
        report: &RestoreReport,
    ) -> Result<()> {
        let collection = self.collection(chain.collection)?;
        let mut reading = ReadOptions {
            from: options.from.clone(),
            as_of: options.as_of,
            expect_head: options.expect_head,
            cache: CacheOptions {
                dir: self.scratch().join("cache"),
                budget_bytes: 64 << 10,
            },
        };
        let bug = self.bug == Some(Bug::ReadsInPlaceTooLittle);
        if bug {
            reading.as_of = Some(report.target.prev());
        }
        let opened = self
            .runtime
            .block_on(BackupReader::open(&collection, &reading))?;
        ensure!(
            bug || opened.target() == report.target,
            "read in place as of {:?}, restored as of {:?}",
            opened.target(),
            report.target
        );
        let at = engine.snapshot_at(report.target)?;
        for keyspace in &report.keyspaces {
            let restored = engine.keyspace(&keyspace.name)?;
            let in_place = opened.keyspace(&keyspace.source)?;
            self.same_rows(&in_place, &restored, &at, options.history)
                .map_err(|failure| failure.within("read in place"))?;
        }
        Ok(())
    }

    fn same_rows(
        &self,
        in_place: &BackupKeyspace,
        restored: &Keyspace,
        at: &Snapshot,
        history: History,
    ) -> Result<()> {
        for direction in [ScanDirection::Forward, ScanDirection::Reverse] {
            let scan = restored.scan(at, &KeyRange::all(), direction)?;
            let expected: Vec<Entry> = scan.collect::<icecore_engine::Result<_>>()?;
            let found = self.scan_in_place(in_place, direction)?;
            ensure!(
                found == expected,
                "{} has {found:?} in {direction:?}, its restore {expected:?}",
                restored.name()
            );
        }
        let everything = restored.full(&KeyRange::all(), at, true)?;
        let mut keys: Vec<Vec<u8>> = everything
            .map(|row| row.map(|row| row.key))
            .collect::<icecore_engine::Result<_>>()?;
        keys.dedup();
        keys.push(b"never written".to_vec());
        for key in keys {
            let expected = restored.get_at(at, &key)?;
            let found = self.runtime.block_on(in_place.get(&key))?;
            ensure!(
                found.as_ref().map(|entry| &entry.value) == expected.as_ref(),
                "{key:?} of {} is {found:?}, its restore has {expected:?}",
                restored.name()
            );
            if history == History::All {
                let expected = restored.versions(at, &key)?;
                let found = self.runtime.block_on(in_place.versions(&key))?;
                ensure!(
                    found == expected,
                    "{key:?} of {} has versions {found:?}, its restore {expected:?}",
                    restored.name()
                );
            }
        }
        Ok(())
    }

    fn scan_in_place(
        &self,
        keyspace: &BackupKeyspace,
        direction: ScanDirection,
    ) -> Result<Vec<Entry>> {
        let mut scan = keyspace.scan(&KeyRange::all(), direction);
        let mut rows = Vec::new();
        self.runtime.block_on(async {
            while let Some(row) = scan.next().await? {
                rows.push(Entry {
                    key: row.key.to_vec(),
                    ts: row.ts,
                    value: row.value.to_vec(),
                });
            }
            Ok::<_, Failure>(())
        })?;
        Ok(rows)
    }
}

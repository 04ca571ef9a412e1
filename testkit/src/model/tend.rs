//! Compaction of chains and retention: nothing that could be restored may be lost but what was given up.

use std::collections::BTreeSet;
use std::time::Duration;

use icecore_archive::BackupSelector;
use icecore_backup::retain::Policy;
use icecore_backup::{CompactOptions, ExpireOptions, compact, expire};
use icecore_mvcc::Timestamp;

use super::bugs::Bug;
use super::chains::ChainRecord;
use super::world::World;
use crate::failure::{Result, ensure};

impl World {
    /// Merges the incrementals of a chain. What it can restore stays the same; that is seen by the restores
    /// that come.
    pub(crate) fn merge(&mut self, chain: u8, keep_newest: u8) -> Result<()> {
        let Some(position) = self.chain(chain) else {
            return Ok(());
        };
        let Some(chain) = self.chains.get(position).cloned() else {
            return Ok(());
        };
        let options = CompactOptions {
            backup: BackupSelector::Full(chain.full.clone()),
            keep_newest: usize::from(keep_newest % 3),
            threads: 1 + self.dice.below(2),
            ..CompactOptions::default()
        };
        let before = self.listing(chain.collection)?;
        let collection = self.collection(chain.collection)?;
        let report = self.runtime.block_on(compact(&collection, &options))?;
        let after = self.listing(chain.collection)?;
        ensure!(
            report.full == chain.full,
            "{} was compacted, not {}",
            report.full,
            chain.full
        );
        ensure!(
            before.iter().all(|layer| after.contains(layer)),
            "compaction took layers away: {after:?} of {before:?}"
        );
        ensure!(
            after.len() == before.len() + report.merged.len(),
            "{:?} are said to be merged, listed are {after:?} after {before:?}",
            report.merged
        );
        if let Some(chain) = self.chains.get_mut(position) {
            chain.merged |= !report.merged.is_empty();
        }
        Ok(())
    }

    /// Gives up all but the newest fulls of each source, at once.
    pub(crate) fn expire(&mut self, collection: usize, keep_fulls: u8) -> Result<()> {
        let keep = 1 + usize::from(keep_fulls % 3);
        let told = match self.bug {
            Some(Bug::ExpiresTooMuch) => (keep - 1).max(1),
            _ => keep,
        };
        let options = ExpireOptions {
            policy: Policy {
                keep_fulls: Some(told),
                keep_for: None,
            },
            grace: Duration::ZERO,
            dry_run: false,
        };
        let expected = self.kept(collection, keep);
        let store = self.collection(collection)?;
        let report = self.runtime.block_on(expire(&store, &options))?;
        ensure!(report.refused.is_empty(), "{:?}", report.refused);
        ensure!(report.damaged.is_empty(), "damaged: {:?}", report.damaged);
        let fulls = self.runtime.block_on(store.fulls())?;
        let found: BTreeSet<String> = fulls.iter().map(|full| full.path.to_string()).collect();
        ensure!(
            found == expected,
            "the fulls {found:?} stay, not {expected:?}"
        );
        self.chains.retain(|chain| {
            chain.collection != collection || expected.contains(&chain.full.to_string())
        });
        Ok(())
    }

    /// The fulls that stay: of each engine and selection the newest, by the end of the full.
    fn kept(&self, collection: usize, keep: usize) -> BTreeSet<String> {
        let here = || self.chains.iter().filter(|c| c.collection == collection);
        let end = |chain: &ChainRecord| chain.layers.first().map_or(Timestamp::MIN, |l| l.end);
        let newer = |than: &ChainRecord| {
            here()
                .filter(|c| c.engine == than.engine && c.scope == than.scope && end(c) > end(than))
                .count()
        };
        here()
            .filter(|chain| newer(chain) < keep)
            .map(|chain| chain.full.to_string())
            .collect()
    }
}

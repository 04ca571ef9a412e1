//! What is done in a schedule's collection after its backups: incrementals are merged, old backups go.

use icecore_archive::{BackupSelector, Collection, StoreOptions};

use super::row::ScheduleRow;
use super::table::ScheduleTable;
use crate::compact::{CompactOptions, compact};
use crate::error::Result;
use crate::retain::expire;

/// Runs it, and notes in the schedule what came of it.
pub(super) async fn run(table: ScheduleTable, row: ScheduleRow, store: StoreOptions) {
    let label = row.label.clone();
    let (merged, done) = tend(&row, &store).await;
    if let Err(error) = &done {
        tracing::warn!(label, %error, "retention or compaction of a schedule failed; it runs again after the next backup");
        metrics::counter!("icecore_schedule_upkeep_failed_total").increment(1);
    }
    let noted = icecore_archive::blocking(move || {
        let now = table.wall();
        table.update(&row.label, |noted| {
            noted.upkeep.due = false;
            noted.upkeep.last = Some(now);
            noted.upkeep.error = done.as_ref().err().map(ToString::to_string);
            if let (true, Some(chain)) = (merged, &mut noted.chain)
                && row.chain.as_ref().is_some_and(|of| of.full == chain.full)
            {
                let of_then = row.chain.as_ref().map_or(0, |of| of.incrementals);
                chain.incrementals = chain.incrementals.saturating_sub(of_then);
            }
            Ok((true, ()))
        })
    })
    .await;
    if let Err(error) = noted {
        tracing::warn!(label, %error, "what retention and compaction did could not be noted");
    }
}

/// Whether incrementals were merged, and what came of it all. Old backups go even if the merge failed.
async fn tend(row: &ScheduleRow, store: &StoreOptions) -> (bool, Result<()>) {
    let spec = &row.spec;
    let opened = async {
        let (places, store) = (spec.backup.into.places()?, spec.backup.store(store)?);
        Ok::<_, crate::Error>(Collection::open_places(&places, store).await?)
    };
    let collection = match opened.await {
        Ok(collection) => collection,
        Err(error) => return (false, Err(error)),
    };
    let merged = match (&row.chain, spec.upkeep.compact_after) {
        (Some(chain), Some(count)) if chain.incrementals >= count => {
            let options = CompactOptions {
                backup: BackupSelector::Full(chain.full.clone()),
                ..CompactOptions::default()
            };
            compact(&collection, &options).await.map(|_| true)
        }
        _ => Ok(false),
    };
    let expired = match spec.upkeep.expires() {
        true => expire(&collection, &spec.upkeep.options()).await.map(drop),
        false => Ok(()),
    };
    match merged {
        Ok(merged) => (merged, expired),
        Err(error) => (false, Err(error)),
    }
}

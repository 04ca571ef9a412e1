//! Garbage collection with hardly any TTL, and what holds it back.
//!
//! The first round runs in the middle of a week: it may collect up to the end of the newest
//! incremental, where the chain's protected timestamp stands, and no further. The last one runs
//! after the last incremental: it takes the history of all December, which from then on lies in
//! the backups alone.

use std::time::{Duration, Instant};

use icecore_engine::{Engine, Error as EngineError};
use icecore_examples::fingerprint::Fingerprint;
use icecore_examples::text;
use icecore_gc::{GcOptions, HeldBy, KeyspaceGcReport, collect};

use crate::chain::Backups;
use crate::error::{Result, ensure};
use crate::ledger::{Ledger, Step};
use crate::load::FLIGHTS;
use crate::proof::State;

/// The day after which the first round runs: in the week of the state to come back to.
pub(crate) const HELD_ON: u8 = 18;

/// Hardly any: without protection, all history would go.
const TTL: Duration = Duration::from_millis(1);

/// Collects in the middle of a week. The chain's end is as far as it goes, and the moment of 16
/// December, which no backup has yet, stays readable.
pub(crate) fn collect_while_held(
    engine: &Engine,
    backups: &Backups,
    mid: &State,
    ledger: &mut Ledger,
) -> Result<()> {
    let flights = round(engine, "GC, chain held", ledger)?;
    let chain_end = backups.newest()?.end;
    let held =
        matches!(&flights.held_by, HeldBy::Record { owner, .. } if *owner == backups.owner());
    ensure(held && flights.threshold_after == chain_end, || {
        format!(
            "the chain ends at {chain_end}, but GC went to {}, held by {}",
            flights.threshold_after, flights.held_by
        )
    })?;
    println!("  held at the chain's end, {chain_end}, by its protected timestamp");
    let again = Fingerprint::of(engine, &engine.snapshot_at(mid.ts)?)?;
    ensure(again == mid.print, || {
        "GC changed a state that was protected".to_owned()
    })?;
    println!("  what the next incremental needs is all there: 16 December reads as before");
    Ok(())
}

/// Collects after the last incremental. Now the database itself cannot go back to 16 December.
pub(crate) fn collect_after_the_chain(
    engine: &Engine,
    backups: &Backups,
    mid: &State,
    end: &State,
    ledger: &mut Ledger,
) -> Result<()> {
    let flights = round(engine, "GC, chain complete", ledger)?;
    let chain_end = backups.newest()?.end;
    ensure(flights.threshold_after <= chain_end, || {
        format!(
            "GC went to {}, past the chain's end {chain_end}",
            flights.threshold_after
        )
    })?;
    let past = engine.snapshot_at(mid.ts)?;
    match engine.keyspace(FLIGHTS)?.get_at(&past, b"any") {
        Err(error @ EngineError::BelowThreshold { .. }) => println!("  {error}"),
        other => return Err(format!("16 December should be out of reach, not {other:?}").into()),
    }
    let again = Fingerprint::of(engine, &engine.snapshot())?;
    ensure(again == end.print, || "GC changed the present".to_owned())
}

/// One round with compaction, so that the space comes back at once.
fn round(engine: &Engine, name: &str, ledger: &mut Ledger) -> Result<KeyspaceGcReport> {
    // In files rather than memory, so that before and after are measured alike.
    engine.flush()?;
    let before = versions(engine);
    let begun = Instant::now();
    let options = GcOptions {
        ttl_override: Some(TTL),
        compact: true,
        ..GcOptions::default()
    };
    let report = collect(engine, &options)?;
    let elapsed = begun.elapsed();
    let after = versions(engine);
    ensure(after < before, || {
        format!("GC reclaimed nothing: {before} versions, then {after}")
    })?;
    println!(
        "{name}: {} versions stored, {} reclaimed with a TTL of {TTL:?} ({} deleted keys swept)",
        text::count(before),
        text::count(before - after),
        text::count(report.keyspaces.iter().map(|k| k.swept_keys).sum()),
    );
    ledger.add(Step::moved(name, before, 0, elapsed));
    let flights = report.keyspaces.into_iter().find(|k| k.name == FLIGHTS);
    flights.ok_or_else(|| "GC left out the flights".into())
}

/// The versions that lie in files.
fn versions(engine: &Engine) -> u64 {
    engine
        .keyspaces()
        .iter()
        .map(|keyspace| keyspace.stats().estimated_versions)
        .sum()
}

//! How a program that embeds Icecore tests its own use of it: a clock that the test owns, a
//! collection in memory, and the log of every request made of it. Hours of TTL and days of backups
//! pass in milliseconds, and nothing but the database touches the disk.

use std::sync::Arc;
use std::time::Duration;

use icecore_archive::{BackupSelector, Collection, OperationLog, StoreOptions, Verb};
use icecore_backup::{BackupOptions, backup};
use icecore_engine::{Durability, Engine, Options};
use icecore_gc::{GcOptions, collect};
use icecore_mvcc::{KeyspaceSettings, ManualClock, Timestamp, parse_timestamp};
use icecore_restore::{RestoreOptions, restore};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let clock = ManualClock::new(parse_timestamp("2031-05-01T00:00:00Z", Timestamp::MIN)?);
    let options = Options {
        clock: Arc::new(clock.clone()),
        ..Options::default()
    };
    let engine = Engine::open(dir.path().join("db"), &options)?;
    let log = OperationLog::new();
    let store = StoreOptions {
        clock: Arc::new(clock.clone()),
        log: Some(log.clone()),
        ..StoreOptions::default()
    };
    let collection = Collection::create_or_open(&"memory://nightly".parse()?, store).await?;

    // Three days: the first night takes a full, the others incrementals of it. By noon the TTL of
    // 4 hours is over for what was backed up at midnight; but the chain holds its own end.
    let orders = engine.create_keyspace("shop.orders", KeyspaceSettings::default())?;
    let mut noons = Vec::new();
    let mut chain_end = None;
    let mut nightly = BackupOptions {
        revision_history: true,
        ..BackupOptions::default()
    };
    for day in 1..=3 {
        clock.advance(12 * HOUR);
        noons.push(orders.put("open", day.to_string(), Durability::Sync)?);
        if let Some(end) = chain_end {
            collect(&engine, &GcOptions::default())?;
            assert_eq!(orders.threshold(), end);
        }
        clock.advance(12 * HOUR);
        let report = backup(&engine, &collection, &nightly).await?;
        println!("{} is {}", report.end, report.layer);
        nightly.onto = Some(BackupSelector::Latest);
        chain_end = Some(report.end);
    }

    // What a backup asks of the store, request by request.
    let operations = log.take();
    let puts = operations
        .iter()
        .filter(|o| o.verb == Verb::PutIfAbsent)
        .count();
    println!(
        "{} requests in three days, {puts} of them write, none overwrites",
        operations.len()
    );
    assert!(puts > 0);
    assert!(
        operations
            .iter()
            .all(|o| !matches!(o.verb, Verb::Put | Verb::Delete))
    );

    // The noon of the second day: collected in the engine, restored from the chain.
    let noon = *noons.get(1).ok_or("there was no second noon")?;
    assert!(orders.get_at(&engine.snapshot_at(noon)?, b"open").is_err());
    let restored = Engine::open(dir.path().join("restored"), &options)?;
    let as_of = RestoreOptions {
        as_of: Some(noon),
        ..RestoreOptions::default()
    };
    restore(&restored, &collection, &as_of).await?;
    let open = restored.keyspace("shop.orders")?.get(b"open")?;
    println!(
        "as of {noon} there were {:?} open",
        open.clone().map(String::from_utf8).transpose()?
    );
    assert_eq!(open.as_deref(), Some(&b"2"[..]));
    Ok(())
}

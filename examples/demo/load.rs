//! The first load: eleven months of flights, and the tables beside them.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use icecore_cli::load::{LoadOptions, load_file};
use icecore_engine::{Batch, Durability, Engine, Keyspace};
use icecore_examples::text;
use icecore_mvcc::KeyspaceSettings;

use crate::data;
use crate::december::December;
use crate::error::Result;
use crate::flights::Flight;
use crate::ledger::{Ledger, Step};

/// The keyspace of the flights.
pub(crate) const FLIGHTS: &str = "nyc.flights";

/// The other tables: name, and the columns that make a key. Weather goes by the hour in UTC, since
/// one local hour comes twice when summer time ends.
const TABLES: [(&str, &[&str]); 4] = [
    ("airlines", &["carrier"]),
    ("airports", &["faa"]),
    ("planes", &["tailnum"]),
    ("weather", &["origin", "time_hour"]),
];

/// Rows of one commit.
const BATCH_ROWS: usize = 1000;

/// What the first load leaves behind.
pub(crate) struct Loaded {
    /// The flights that are still to come.
    pub(crate) december: December,
    /// Rows that lie in the database by now.
    pub(crate) rows: u64,
}

/// Loads everything but the flights of December.
pub(crate) fn january_to_november(
    engine: &Engine,
    folder: &Path,
    ledger: &mut Ledger,
) -> Result<Loaded> {
    let tables = tables(engine, folder)?;
    ledger.add(Step::moved(
        "load four tables",
        tables.rows,
        tables.bytes,
        tables.elapsed,
    ));
    let (flights, december) = flights(engine, folder)?;
    ledger.add(Step::moved(
        "load January–November",
        flights.rows,
        flights.bytes,
        flights.elapsed,
    ));
    println!(
        "loaded {} flights of January to November, {} rows of airlines, airports, planes, weather",
        text::count(flights.rows),
        text::count(tables.rows),
    );
    Ok(Loaded {
        december,
        rows: flights.rows + tables.rows,
    })
}

/// What was loaded.
#[derive(Default)]
struct Sum {
    rows: u64,
    bytes: u64,
    elapsed: Duration,
}

/// Loads the small tables as `icecore load` does.
fn tables(engine: &Engine, folder: &Path) -> Result<Sum> {
    let mut sum = Sum::default();
    for (table, key) in TABLES {
        let keyspace = create(engine, &format!("nyc.{table}"))?;
        let options = LoadOptions::new(key.iter().copied());
        let path = data::path(folder, table);
        let report = load_file(engine, &keyspace, &path, &options, &mut |_| ())?;
        sum.rows += report.rows;
        sum.bytes += report.bytes;
        sum.elapsed += report.elapsed;
    }
    Ok(sum)
}

/// Loads the flights before December, and keeps those of December for later.
fn flights(engine: &Engine, folder: &Path) -> Result<(Sum, December)> {
    let begun = Instant::now();
    let keyspace = create(engine, FLIGHTS)?;
    let mut sum = Sum::default();
    let mut december = December::default();
    let mut batch = Batch::new();
    let file = File::open(data::path(folder, "flights"))?;
    let mut reader = csv::Reader::from_reader(zstd::Decoder::new(file)?);
    let header = reader.headers()?.clone();
    let mut record = csv::StringRecord::new();
    while reader.read_record(&mut record)? {
        let flight: Flight = record.deserialize(Some(&header))?;
        if flight.month == 12 {
            december.add(flight)?;
            continue;
        }
        let (key, value) = (flight.key(), flight.json()?);
        sum.rows += 1;
        sum.bytes += (key.len() + value.len()) as u64;
        batch.put(&keyspace, key, value);
        if batch.len() == BATCH_ROWS {
            engine.commit(std::mem::take(&mut batch), Durability::Buffered)?;
        }
    }
    engine.commit(batch, Durability::Buffered)?;
    // One sync of the log makes all of it durable.
    engine.sync_wal()?;
    sum.elapsed = begun.elapsed();
    Ok((sum, december))
}

fn create(engine: &Engine, name: &str) -> Result<Keyspace> {
    Ok(engine.create_keyspace(name, KeyspaceSettings::default())?)
}

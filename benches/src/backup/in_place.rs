//! What reading one key of a full in place costs, with nothing cached.

use std::path::Path;

use icecore_archive::{Collection, CollectionUri, RequestCounts, StoreOptions};
use icecore_backup::{BackupOptions, Mode};
use icecore_restore::inplace::{BackupReader, CacheOptions, ReadOptions};

use crate::bench::Bench;
use crate::data;
use crate::error::{Error, Result};
use crate::measure::{Pair, Samples};
use crate::report::{Report, Shape};
use crate::source::{self, Source, full};
use crate::systems::KEYSPACE;

/// Bytes of a file of the backup.
const FILE_BYTES: u64 = 32 << 20;

const REQUESTS_MAX: f64 = 10.0;

/// The share of the backup's bytes that may be fetched.
const SHARE_MAX: f64 = 0.05;

const FIGURE: &str = "one key in place";

/// Takes the figures.
pub(super) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let source = Source::load(bench)?;
    let folder = source.place("in-place");
    let options = BackupOptions {
        target_file_bytes: FILE_BYTES,
        ..full(Mode::Logical)
    };
    let stored = source.backup(&folder, &options)?.stored_bytes();
    let (mut requests, mut bytes) = (Vec::new(), Vec::new());
    for round in 0..bench.scale.backup_rounds as u64 {
        source::remove(&source.place("cache"))?;
        let asked = read(&source, &folder, source.keys / 7 * round)?;
        requests.push(asked.total() as f64);
        bytes.push(asked.received_bytes as f64);
    }
    let rounds = requests.len();
    let pair = Pair {
        ours: Samples::new(requests),
        peer: Samples::new(vec![REQUESTS_MAX; rounds]),
    };
    let name = format!("{FIGURE}, requests");
    report.add(&name, "10 requests", &pair, Shape::count(Some(1.0)));
    let pair = Pair {
        ours: Samples::new(bytes),
        peer: Samples::new(vec![SHARE_MAX * stored as f64; rounds]),
    };
    let name = format!("{FIGURE}, bytes");
    let shape = Shape::megabytes(Some(1.0));
    report.add(&name, "5 % of the backup", &pair, shape);
    Ok(())
}

/// Reads the key of this number from a reader that was just opened; what that asked of the store.
fn read(source: &Source, folder: &Path, key: u64) -> Result<RequestCounts> {
    let row = data::row(key, 0, source.value_bytes);
    source.runtime.block_on(async {
        let uri = CollectionUri::from_local_path(folder)?;
        let collection = Collection::open(&uri, StoreOptions::default()).await?;
        let options = ReadOptions::new(CacheOptions::new(source.place("cache")));
        let reader = BackupReader::open(&collection, &options).await?;
        let found = reader.keyspace(KEYSPACE)?.get(&row.key).await?;
        let found = found.map(|entry| entry.value);
        Error::check(FIGURE, "icecore", &found, &Some(row.value))?;
        Ok(collection.requests())
    })
}

//! RocksDB's own reader, beside the engine's.

use std::path::Path;
use std::time::Duration;

pub type Pair = (Vec<u8>, Vec<u8>);

/// The column families of a database folder.
pub fn families(folder: &Path) -> Vec<String> {
    let mut names =
        rocksdb::DB::list_cf(&rocksdb::Options::default(), folder.join("data")).unwrap();
    names.sort();
    names
}

/// All that a column family holds. The database may be open meanwhile, if nothing writes.
pub fn family(folder: &Path, name: &str) -> Vec<Pair> {
    let logs = tempfile::tempdir().unwrap();
    let mut options = rocksdb::Options::default();
    // Beside the database's own it would replace it.
    options.set_db_log_dir(logs.path());
    let open = || {
        let data = folder.join("data");
        rocksdb::DB::open_cf_for_read_only(&options, data, families(folder), false)
    };
    // The engine may just be deleting files that this has found.
    let db = (0..20)
        .find_map(|_| {
            open()
                .map_err(|_| std::thread::sleep(Duration::from_millis(10)))
                .ok()
        })
        .unwrap_or_else(|| open().unwrap());
    let handle = db.cf_handle(name).unwrap();
    let rows = db.full_iterator_cf(&handle, rocksdb::IteratorMode::Start);
    rows.map(|row| row.map(|(k, v)| (k.into_vec(), v.into_vec())).unwrap())
        .collect()
}

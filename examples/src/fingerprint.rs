//! A fingerprint of what a database holds at one time.
//!
//! BLAKE3 over every keyspace in the order of names, and every row in the order of keys. Names,
//! keys and values go in with their length in front, so that no two states give the same bytes.
//! Two databases have the same fingerprint exactly when a reader could not tell them apart at that
//! time, wherever they lie and however they came to hold it.

use std::fmt;

use icecore_engine::{Engine, Result, ScanDirection, Snapshot};
use icecore_mvcc::KeyRange;

/// What a database holds at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Rows in all keyspaces.
    pub rows: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    hash: blake3::Hash,
}

impl Fingerprint {
    /// The fingerprint of all keyspaces that an engine has now, as of a snapshot.
    ///
    /// # Errors
    /// As [`icecore_engine::Keyspace::scan`].
    pub fn of(engine: &Engine, at: &Snapshot) -> Result<Self> {
        let mut hasher = blake3::Hasher::new();
        let (mut rows, mut bytes) = (0, 0);
        for keyspace in engine.keyspaces() {
            feed(&mut hasher, keyspace.name().as_bytes());
            let mut scan = keyspace.scan(at, &KeyRange::all(), ScanDirection::Forward)?;
            while let Some(row) = scan.next_ref()? {
                feed(&mut hasher, row.key);
                feed(&mut hasher, row.value);
                rows += 1;
                bytes += (row.key.len() + row.value.len()) as u64;
            }
            // No length is this large: ends the keyspace.
            hasher.update(&u64::MAX.to_le_bytes());
        }
        Ok(Self {
            rows,
            bytes,
            hash: hasher.finalize(),
        })
    }
}

fn feed(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

impl fmt::Display for Fingerprint {
    /// The first 16 digits of the hash: enough to compare by eye.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = self.hash.to_hex();
        write!(f, "{:.16}", hex.as_str())
    }
}

#[cfg(test)]
mod tests {
    use icecore_engine::{Durability, Options};
    use icecore_mvcc::KeyspaceSettings;

    use super::*;

    fn of_rows(rows: &[(&str, &str, &str)]) -> Fingerprint {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(dir.path().join("db"), &Options::default()).unwrap();
        for (name, key, value) in rows {
            let keyspace = engine
                .keyspace(name)
                .or_else(|_| engine.create_keyspace(name, KeyspaceSettings::default()))
                .unwrap();
            keyspace.put(*key, *value, Durability::Buffered).unwrap();
        }
        Fingerprint::of(&engine, &engine.snapshot()).unwrap()
    }

    #[test]
    fn the_order_of_writing_does_not_count() {
        let one = of_rows(&[
            ("a", "k", "old"),
            ("b", "x", "y"),
            ("a", "k", "v"),
            ("a", "l", ""),
        ]);
        let two = of_rows(&[("a", "l", ""), ("a", "k", "v"), ("b", "x", "y")]);
        assert_eq!(one, two);
        assert_eq!((one.rows, one.bytes), (3, 5));
    }

    #[test]
    fn every_boundary_counts() {
        let base = of_rows(&[("a", "kv", "w"), ("b", "x", "y")]);
        for other in [
            of_rows(&[("a", "k", "vw"), ("b", "x", "y")]),
            of_rows(&[("a", "kv", "w"), ("c", "x", "y")]),
            of_rows(&[("a", "kv", "w"), ("a", "x", "y")]),
            of_rows(&[("a", "kv", "w"), ("b", "x", "z")]),
            of_rows(&[("a", "kv", "w")]),
        ] {
            assert_ne!(base, other);
        }
    }
}

//! The `restore` suite: from nothing to the first correct read, beside a plain copy and RocksDB's own
//! backup engine.

mod chain;

use crate::suites::Family;

/// The families of the suite, in the order they run.
pub const FAMILIES: &[Family] = &[Family {
    name: "chain",
    run: chain::run,
}];

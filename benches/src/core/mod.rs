//! The `core` suite: what versions and the commit index cost beside RocksDB alone, and what they buy.

mod gc;
mod read;
mod window;
mod write;

use crate::suites::Family;

/// The families of the suite, in the order they run.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "write",
        run: write::run,
    },
    Family {
        name: "read",
        run: read::run,
    },
    Family {
        name: "window",
        run: window::run,
    },
    Family {
        name: "gc",
        run: gc::run,
    },
];

//! The `backup` suite: what a full, an incremental and a listing cost, beside a plain copy and RocksDB's
//! own backup engine.
//!
//! All sides write with fsync to folders of one file system, from data that lies in the page cache. A
//! round writes into new folders, which are removed uncounted.

mod full;
mod in_place;
mod incremental;
mod listing;
mod memory;
mod objects;
mod pause;

pub use memory::Work;

use crate::suites::Family;

/// The families of the suite, in the order they run.
pub const FAMILIES: &[Family] = &[
    Family {
        name: "full",
        run: full::run,
    },
    Family {
        name: "incremental",
        run: incremental::run,
    },
    Family {
        name: "objects",
        run: objects::run,
    },
    Family {
        name: "pause",
        run: pause::run,
    },
    Family {
        name: "in-place",
        run: in_place::run,
    },
    Family {
        name: "listing",
        run: listing::run,
    },
    Family {
        name: "memory",
        run: memory::run,
    },
];

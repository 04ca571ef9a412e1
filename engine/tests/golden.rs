//! What the engine does, as scripts: each file in `tests/golden/` is a session with a database on a
//! clock of its own, and below each command all that it prints. The commands are described at the head
//! of `tests/script/mod.rs`. `ICECORE_BLESS=1` writes what they print now.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

mod script;

use std::path::Path;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                script::check(&folder(), concat!(stringify!($name), ".txt"), &mut |_, _, _| None);
            }
        )*

        #[test]
        fn every_script_is_run() {
            let named = [$(concat!(stringify!($name), ".txt")),*, "errors.txt"];
            icecore_golden::script::check_folder(&folder(), &named);
        }
    };
}

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

scripts!(
    basics,
    batches,
    bulk_load,
    changes,
    clock,
    edge_keys,
    gc_filter,
    gc_index,
    gc_sweep,
    gc_threshold,
    keyspaces,
    purge,
    read_only,
    reads_at_times,
    restore,
    scans,
    tombstones,
    transactions,
    versions,
);

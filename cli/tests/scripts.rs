//! The command line's contract, as scripts: each file in `tests/scripts/` is a session in a shell
//! with everything that it must print. `ICECORE_BLESS=1 cargo test -p icecore-cli --test scripts`
//! writes what it prints now; read the difference before you keep it.
//!
//! ```text
//! # a remark
//! $ a command, run by sh in a temporary folder that the whole script shares
//! what it prints to standard output
//! ! what it prints to standard error
//! ? its exit code, if it is not 0
//! ```
//!
//! What differs from run to run is replaced: times by `<t1>`, `<t2>`, … in the order in which
//! they appear, likewise ids, hashes and the paths of layers; seconds and rates by `<s>`.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    missing_docs,
    reason = "test code"
)]

mod support;

use std::path::Path;

macro_rules! scripts {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                support::script::check(concat!(stringify!($name), ".txt"));
            }
        )*

        #[test]
        fn every_script_is_run() {
            let named = [$(concat!(stringify!($name), ".txt")),*];
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
            icecore_golden::script::check_folder(&folder, &named);
        }
    };
}

scripts!(
    backup,
    catalog,
    changes,
    collection,
    data,
    doctor,
    dump,
    errors,
    fast,
    feed,
    fingerprint,
    gap,
    gc,
    inplace,
    load,
    locality,
    protect,
    restorable,
    restore,
    seal,
    show,
    timeline,
    usage,
    verify,
    verify_restore
);

//! What the programs in `fuzz_targets/` share: a failed check becomes the crash that libFuzzer looks for.
//!
//! The checks lie in `icecore_testkit::fuzz`, where ordinary tests run them too. `cargo xtask fuzz` builds
//! and runs the programs. With `ICECORE_FUZZ_BUG` set to a name of `icecore_testkit::fuzz::Bug`, each
//! works on a subject with that bug, and must find it.

#![forbid(unsafe_code)]

use std::sync::LazyLock;

use icecore_testkit::fuzz::{Bug, Check};

static BUG: LazyLock<Option<Bug>> = LazyLock::new(Bug::from_env);

/// Runs a check on an input.
///
/// # Panics
/// When the check does not hold.
pub fn run(check: Check, bytes: &[u8]) {
    if let Err(failure) = check(bytes, *BUG) {
        panic!("{failure}");
    }
}

//! What a test needs of the machine beside this workspace: Python packages, the network, servers.
//!
//! Where it is missing, the test says so and is skipped, so that `cargo xtask test` passes on a plane.
//! In CI (the variable `CI` is set) it fails: a test that can silently never run guards nothing.

use crate::failure::{Failure, Result};

/// What was found; `None` where the test is to be skipped, which is said on standard output.
///
/// # Errors
/// [`Failure::Missing`] in CI.
pub fn or_skip<T>(what: &str, found: std::result::Result<T, String>) -> Result<Option<T>> {
    judge(what, found, std::env::var_os("CI").is_some())
}

fn judge<T>(what: &str, found: std::result::Result<T, String>, in_ci: bool) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(reason) if in_ci => Err(Failure::Missing {
            what: what.to_owned(),
            reason,
        }),
        Err(reason) => {
            println!("skipped: this machine has no {what}: {reason}");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn missing() -> std::result::Result<(), String> {
        Err("no network".to_owned())
    }

    #[test]
    fn what_is_missing_is_skipped_by_hand_and_a_failure_in_ci() {
        assert!(matches!(judge("S3 server", missing(), false), Ok(None)));
        assert!(matches!(judge("S3 server", Ok(()), true), Ok(Some(()))));
        assert_eq!(
            judge("S3 server", missing(), true).unwrap_err().to_string(),
            "no S3 server for this test: no network; tests are not skipped in CI"
        );
    }
}

//! Settings of a run of retention.

use std::time::Duration;

use super::policy::Policy;
use crate::error::{Error, Result};

/// How long what is marked, or seems dead, is left alone unless said otherwise: a day.
const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 3600);

/// Settings of a run of retention. Plain data: change fields, then run.
#[derive(Debug, Clone)]
pub struct ExpireOptions {
    /// Which chains stay. Default: all of them.
    pub policy: Policy,
    /// How long a restore or a backup may take: what was marked, or written by a run that seems dead, is
    /// deleted once it is as old as this. Zero deletes at once, whoever may still be at work. Default a
    /// day.
    pub grace: Duration,
    /// Only tell what would be done.
    pub dry_run: bool,
}

impl Default for ExpireOptions {
    fn default() -> Self {
        Self {
            policy: Policy::default(),
            grace: DEFAULT_GRACE,
            dry_run: false,
        }
    }
}

impl ExpireOptions {
    /// Checks every setting against its range.
    ///
    /// # Errors
    /// [`Error::InvalidOption`] names the first setting that is out of range.
    pub fn validate(&self) -> Result<()> {
        if self.policy.keep_fulls == Some(0) {
            return Err(Error::InvalidOption {
                name: "keep_fulls",
                reason: "0 would keep nothing; keep at least 1".to_owned(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeping_nothing_is_refused() {
        let mut options = ExpireOptions::default();
        options.validate().unwrap();
        options.policy.keep_fulls = Some(0);
        let error = options.validate().unwrap_err();
        assert!(matches!(
            error,
            Error::InvalidOption {
                name: "keep_fulls",
                ..
            }
        ));
    }
}

//! A key out of a passphrase: Argon2id, whose cost is bounded before it is paid.

use argon2::{Algorithm, Argon2, Params, Version};
use serde::{Deserialize, Serialize};

use super::keys::Passphrase;
use super::secret::{Secret, refused};
use crate::error::Result;

/// The least and the most memory, in KiB: 19 MiB and 1 GiB.
const MEMORY_KIB: std::ops::RangeInclusive<u32> = 19 << 10..=1 << 20;

/// The least and the most passes.
const PASSES: std::ops::RangeInclusive<u32> = 2..=16;

/// The least and the most lanes.
const LANES: std::ops::RangeInclusive<u32> = 1..=16;

/// Bytes of the salt.
pub(super) const SALT_BYTES: usize = 16;

/// What it costs to try a passphrase: the parameters of Argon2id (RFC 9106).
///
/// Stored with each passphrase's wrapper. A wrapper that asks for less than the least or more than the
/// most is refused before anything is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassphraseCost {
    /// Memory in KiB, 19,456 (19 MiB) to 1,048,576 (1 GiB). Default 65,536.
    pub memory_kib: u32,
    /// Passes over the memory, 2 to 16. Default 3.
    pub passes: u32,
    /// Lanes, 1 to 16; they are computed one after another. Default 1.
    pub lanes: u32,
}

impl Default for PassphraseCost {
    fn default() -> Self {
        Self {
            memory_kib: 64 << 10,
            passes: 3,
            lanes: 1,
        }
    }
}

impl PassphraseCost {
    /// Says which parameter is out of its bounds, in one line.
    ///
    /// # Errors
    /// The parameter, its value and its bounds.
    pub fn validate(&self) -> Result<(), String> {
        let checks = [
            ("memory_kib", self.memory_kib, MEMORY_KIB),
            ("passes", self.passes, PASSES),
            ("lanes", self.lanes, LANES),
        ];
        let wrong = checks
            .into_iter()
            .find(|(_, value, bounds)| !bounds.contains(value));
        wrong.map_or(Ok(()), |(name, value, bounds)| {
            let (least, most) = bounds.into_inner();
            Err(format!(
                "the {name} of Argon2id is {value}, it must lie between {least} and {most}"
            ))
        })
    }

    /// The key. Takes the memory and the time that it says: not for a runtime's threads. Validated before.
    pub(super) fn derive(
        &self,
        passphrase: &Passphrase,
        salt: &[u8; SALT_BYTES],
    ) -> Result<Secret> {
        let mut key = Secret::default();
        let parameters = Params::new(self.memory_kib, self.passes, self.lanes, Some(key.len()))
            .map_err(|_| refused())?;
        Argon2::new(Algorithm::Argon2id, Version::V0x13, parameters)
            .hash_password_into(passphrase.bytes(), salt, &mut *key)
            .map_err(|_| refused())?;
        Ok(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_cheap_or_too_dear_is_refused() {
        let default = PassphraseCost::default();
        assert_eq!(default.validate(), Ok(()));
        let wrong: [fn(&mut PassphraseCost); 6] = [
            |cost| cost.memory_kib = (19 << 10) - 1,
            |cost| cost.memory_kib = 64 << 20,
            |cost| cost.passes = 1,
            |cost| cost.passes = u32::MAX,
            |cost| cost.lanes = 0,
            |cost| cost.lanes = 17,
        ];
        for change in wrong {
            let mut cost = default;
            change(&mut cost);
            assert!(cost.validate().is_err(), "{cost:?}");
        }
    }
}

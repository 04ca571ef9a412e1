//! The rows: keys and values made from an index, the same on every machine and for every system.

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;

/// One row to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The user key.
    pub key: [u8; KEY_BYTES],
    /// The value.
    pub value: Vec<u8>,
}

/// The key of row `index`: 16 hexadecimal digits of a bijection, so that keys are unique, spread evenly
/// and bear no relation to the order in which they are written.
#[must_use]
pub fn key(index: u64) -> [u8; KEY_BYTES] {
    let mixed = mix(index);
    let mut key = [0; KEY_BYTES];
    for (place, digit) in key.iter_mut().enumerate() {
        let nibble = (mixed >> (60 - 4 * place)) & 0xf;
        *digit = char::from_digit(nibble as u32, 16).map_or(b'0', |c| c as u8);
    }
    key
}

/// A value that compresses to about half, as `db_bench` makes them; another one for each `version`.
#[must_use]
pub fn value(index: u64, version: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random::new(mix(index) ^ version.wrapping_mul(0xd1b5_4a32_d192_ed03));
    let mut value = Vec::with_capacity(bytes);
    while value.len() < bytes.div_ceil(2) {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value.truncate(bytes.div_ceil(2));
    value.extend_from_within(..bytes / 2);
    value
}

/// Row `index` at `version`.
#[must_use]
pub fn row(index: u64, version: u64, value_bytes: usize) -> Row {
    Row {
        key: key(index),
        value: value(index, version, value_bytes),
    }
}

/// The numbers below `count`, shuffled.
#[must_use]
pub fn shuffled(count: u64, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut order: Vec<u64> = (0..count).collect();
    // Fisher–Yates.
    for at in (1..order.len()).rev() {
        order.swap(at, random.below(at as u64 + 1) as usize);
    }
    order
}

/// SplitMix64: small, seeded, and the same everywhere.
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// A generator; equal seeds give equal numbers.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `limit`, which is not 0.
    pub const fn below(&mut self, limit: u64) -> u64 {
        ((self.next() as u128 * limit as u128) >> 64) as u64
    }
}

/// The finalizer of SplitMix64, a bijection.
const fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn keys_are_unique_and_spread() {
        let keys: BTreeSet<_> = (0..10_000).map(key).collect();
        assert_eq!(keys.len(), 10_000);
        let lower = keys.iter().filter(|key| key[0] < b'8').count();
        assert!(
            (4_700..5_300).contains(&lower),
            "{lower} of 10,000 in the lower half"
        );
    }

    #[test]
    fn values_have_their_length_and_differ_by_version() {
        for bytes in [0, 1, 7, 200, 301] {
            assert_eq!(value(3, 1, bytes).len(), bytes);
        }
        assert_ne!(value(3, 1, 200), value(3, 2, 200));
        assert_eq!(value(3, 1, 200), value(3, 1, 200));
    }

    #[test]
    fn shuffling_keeps_every_number_once() {
        let order = shuffled(1_000, 7);
        assert_ne!(order, (0..1_000).collect::<Vec<_>>());
        assert_eq!(order.iter().copied().collect::<BTreeSet<_>>().len(), 1_000);
        assert_eq!(order, shuffled(1_000, 7));
    }
}

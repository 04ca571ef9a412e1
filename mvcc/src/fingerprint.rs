//! A fingerprint of a state: which keys have which values, whatever the order they are met in.
//!
//! It is the sum of the rows' hashes, modulo 2^128, and their count. So rows can be added in any order, by
//! several threads, and taken out again: the fingerprint after a change is the one before, without the old
//! rows, with the new ones. `docs/format/fingerprint.md` says which bytes are hashed, and what a sum can
//! not promise.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use twox_hash::XxHash3_128;

/// Rows up to this size are hashed from one buffer; larger ones piece by piece.
const BUFFERED_BYTES: usize = 16 << 10;

/// The sum of the hashes of rows, and how many rows there are.
///
/// Displays, parses and serialises as 32 lower-case hex digits, the sum in little-endian order, a colon and
/// the count of rows in decimal.
///
/// ```
/// use icecore_mvcc::{Fingerprint, Fingerprinter};
///
/// let of = |rows: &[(&str, &str)]| {
///     let mut print = Fingerprinter::default();
///     rows.iter().for_each(|(key, value)| print.add(key.as_bytes(), value.as_bytes()));
///     print.finish()
/// };
/// let both = of(&[("a", "1"), ("b", "2")]);
/// assert_eq!(both, of(&[("b", "2"), ("a", "1")]));
/// assert_eq!(both, of(&[("a", "1")]).plus(of(&[("b", "2")])));
/// assert_eq!(both.minus(of(&[("a", "1")])), of(&[("b", "2")]));
/// assert_eq!(both.to_string().parse(), Ok(both));
/// assert_eq!(both.rows(), 2);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint {
    sum: u128,
    rows: u64,
}

impl Fingerprint {
    /// That of no rows.
    pub const EMPTY: Self = Self { sum: 0, rows: 0 };

    /// How many rows there are.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// That of the rows of both, which have no key in common.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            sum: self.sum.wrapping_add(other.sum),
            rows: self.rows.wrapping_add(other.rows),
        }
    }

    /// That of these rows without the other ones, which are among them.
    #[must_use]
    pub const fn minus(self, other: Self) -> Self {
        Self {
            sum: self.sum.wrapping_sub(other.sum),
            rows: self.rows.wrapping_sub(other.rows),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}:{}", self.sum.swap_bytes(), self.rows)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}

/// The text is not a fingerprint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a fingerprint is 32 lower-case hex digits, a colon and the number of rows")]
pub struct ParseFingerprintError;

impl FromStr for Fingerprint {
    type Err = ParseFingerprintError;

    fn from_str(text: &str) -> Result<Self, ParseFingerprintError> {
        let (hex, rows) = text.split_once(':').ok_or(ParseFingerprintError)?;
        let sum = u128::from_str_radix(hex, 16).map_err(|_| ParseFingerprintError)?;
        let sum = sum.swap_bytes();
        let rows = rows.parse().map_err(|_| ParseFingerprintError)?;
        let read = Self { sum, rows };
        // Only the one spelling that is written.
        (read.to_string() == text)
            .then_some(read)
            .ok_or(ParseFingerprintError)
    }
}

impl Serialize for Fingerprint {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Fingerprint {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

/// Takes rows in and out, one by one.
#[derive(Debug, Default)]
pub struct Fingerprinter {
    print: Fingerprint,
    buffer: Vec<u8>,
}

impl Fingerprinter {
    /// Takes a row in.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        self.print = self.print.plus(self.row(key, value));
    }

    /// Takes a row out.
    pub fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.print = self.print.minus(self.row(key, value));
    }

    /// What the rows come to: where more was taken out than in, only the sum with that of the rows it was
    /// taken from means something.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        self.print
    }

    /// XXH3-128 of the key's length in 8 bytes, little-endian, the key and the value.
    fn row(&mut self, key: &[u8], value: &[u8]) -> Fingerprint {
        let length = (key.len() as u64).to_le_bytes();
        let sum = if key.len().saturating_add(value.len()) <= BUFFERED_BYTES {
            // One call with everything is faster than several.
            self.buffer.clear();
            self.buffer.extend_from_slice(&length);
            self.buffer.extend_from_slice(key);
            self.buffer.extend_from_slice(value);
            XxHash3_128::oneshot(&self.buffer)
        } else {
            let mut hasher = XxHash3_128::new();
            hasher.write(&length);
            hasher.write(key);
            hasher.write(value);
            hasher.finish_128()
        };
        Fingerprint { sum, rows: 1 }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

    fn of(rows: &Rows) -> Fingerprint {
        let mut print = Fingerprinter::default();
        rows.iter().for_each(|(key, value)| print.add(key, value));
        print.finish()
    }

    fn rows() -> impl Strategy<Value = Rows> {
        let bytes = || prop::collection::vec(0_u8..3, 0..4);
        prop::collection::btree_map(bytes(), bytes(), 0..12)
    }

    proptest! {
        #[test]
        fn two_states_are_the_same_exactly_if_their_fingerprints_are(a in rows(), b in rows()) {
            prop_assert_eq!(a == b, of(&a) == of(&b));
            prop_assert_eq!(of(&a).rows(), a.len() as u64);
            prop_assert_eq!(of(&a).to_string().parse(), Ok(of(&a)));
        }

        #[test]
        fn the_difference_of_two_states_leads_from_one_to_the_other(a in rows(), b in rows()) {
            let mut change = Fingerprinter::default();
            for (key, value) in b.iter().rev().filter(|(key, value)| a.get(*key) != Some(value)) {
                change.add(key, value);
            }
            for (key, value) in a.iter().filter(|(key, value)| b.get(*key) != Some(value)) {
                change.remove(key, value);
            }
            prop_assert_eq!(of(&a).plus(change.finish()), of(&b));
        }

        #[test]
        fn what_is_added_can_be_taken_away(a in any::<u128>(), b in any::<u128>()) {
            let (a, b) = (Fingerprint { sum: a, rows: 1 }, Fingerprint { sum: b, rows: 2 });
            prop_assert_eq!(a.plus(b), b.plus(a));
            prop_assert_eq!(a.plus(b).minus(b), a);
            prop_assert_eq!(a.minus(b).plus(b), a);
        }
    }

    #[test]
    fn a_row_is_hashed_the_same_however_large() {
        let key = vec![7; 100];
        for bytes in [BUFFERED_BYTES - 100, BUFFERED_BYTES - 99] {
            let value = vec![9; bytes];
            let mut print = Fingerprinter::default();
            print.add(&key, &value);
            let row = [100_u64.to_le_bytes().as_slice(), &key, &value].concat();
            let sum = XxHash3_128::oneshot(&row);
            assert_eq!(print.finish(), Fingerprint { sum, rows: 1 }, "{bytes}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        let good = Fingerprint::EMPTY.to_string();
        assert_eq!(good, format!("{}:0", "0".repeat(32)));
        let texts = [
            "",
            ":0",
            &good[1..],
            &format!("0{good}"),
            &good.replacen('0', "A", 1),
            &good.replacen('0', "+", 1),
            &format!("{good}0"),
            &good.replace(":0", ":"),
            &good.replace(":0", ":-1"),
            &good.replace(":0", ":18446744073709551616"),
            &good.replace("00", "é"),
        ];
        for text in texts {
            assert_eq!(
                text.parse::<Fingerprint>(),
                Err(ParseFingerprintError),
                "{text}"
            );
        }
    }
}

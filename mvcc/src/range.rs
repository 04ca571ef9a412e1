//! A span of user keys.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::text;

/// The user keys from `start` (inclusive) to `end` (exclusive; none means to the last key there is).
///
/// Empty if the end is not above the start. In JSON both bounds are in the text form of
/// [`text`](mod@crate::text): `{"start":"a","end":"b\\x00"}`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct KeyRange {
    #[serde(with = "text::as_text")]
    start: Vec<u8>,
    #[serde(with = "text::as_optional_text", default)]
    end: Option<Vec<u8>>,
}

impl KeyRange {
    /// From `start` (inclusive) to `end` (exclusive); `None` for no end.
    #[must_use]
    pub const fn new(start: Vec<u8>, end: Option<Vec<u8>>) -> Self {
        Self { start, end }
    }

    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self::new(Vec::new(), None)
    }

    /// The keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        // The end is the least key above all those: the last byte that is not FF, plus one. If every
        // byte is FF, nothing lies above.
        let mut end = prefix.to_vec();
        let end = loop {
            match end.pop() {
                None => break None,
                Some(0xFF) => {}
                Some(last) => {
                    end.push(last + 1);
                    break Some(end);
                }
            }
        };
        Self::new(prefix.to_vec(), end)
    }

    /// One key alone.
    #[must_use]
    pub fn single(key: &[u8]) -> Self {
        // The least key above any key is that key and a zero byte.
        let mut end = Vec::with_capacity(key.len() + 1);
        end.extend_from_slice(key);
        end.push(0);
        Self::new(key.to_vec(), Some(end))
    }

    /// The first key that may be in it.
    #[must_use]
    pub fn start(&self) -> &[u8] {
        &self.start
    }

    /// The first key above it, `None` if it has no end.
    #[must_use]
    pub fn end(&self) -> Option<&[u8]> {
        self.end.as_deref()
    }

    /// Whether the key lies in it.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        key >= self.start() && self.end().is_none_or(|end| key < end)
    }

    /// Whether no key can lie in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end().is_some_and(|end| end <= self.start())
    }

    /// The keys that lie in both; empty if there are none.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let end = match (self.end(), other.end()) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        Self::new(
            self.start().max(other.start()).to_vec(),
            end.map(<[u8]>::to_vec),
        )
    }

    /// Whether some key lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        !self.intersect(other).is_empty()
    }

    /// Cuts it at the given ascending keys into adjoining ranges, none of them empty; each key begins one.
    /// Keys outside, and the start itself, cut nothing. An empty range gives none.
    #[must_use]
    pub fn split_at<K: AsRef<[u8]>>(&self, points: &[K]) -> Vec<Self> {
        let mut parts = Vec::with_capacity(points.len() + 1);
        let mut rest = self.clone();
        for point in points
            .iter()
            .map(AsRef::as_ref)
            .filter(|point| self.contains(point))
        {
            if point > rest.start() {
                let end = rest.end.take();
                parts.push(Self::new(rest.start, Some(point.to_vec())));
                rest = Self::new(point.to_vec(), end);
            }
        }
        if !rest.is_empty() {
            parts.push(rest);
        }
        parts
    }
}

impl fmt::Display for KeyRange {
    /// `["a", "b")`, or `["a", ∞)` if it has no end; long keys are abbreviated.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[\"{}\", ", text::preview(self.start()))?;
        match self.end() {
            Some(end) => write!(f, "\"{}\")", text::preview(end)),
            None => f.write_str("∞)"),
        }
    }
}

#[cfg(test)]
mod tests;

//! Walking forward through the stored versions of a key range.
//!
//! What the walker has seen enough of (the other versions of a key, or versions newer than it reads)
//! is passed over step by step, and by a seek where there are many.

use icecore_mvcc::{KeyRange, Timestamp, key};

use super::split;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::rocks::RawIter;

/// Steps before a seek is cheaper than going on.
pub(super) const STEPS_BEFORE_SEEK: u32 = 6;

/// A position, before the first version to begin with.
pub(super) struct Cursor {
    iter: RawIter,
    started: bool,
    /// Prefix of the key whose other versions are passed over; empty while there is none.
    finished: Vec<u8>,
    /// Versions passed over in a row.
    passed: u32,
    target: Vec<u8>,
}

/// A stored version.
#[derive(Clone, Copy)]
pub(super) struct Stored<'a> {
    /// Escaped user key and terminator.
    pub(super) prefix: &'a [u8],
    pub(super) ts: Timestamp,
    /// The stored value.
    pub(super) value: &'a [u8],
}

impl Cursor {
    pub(super) fn new(keyspace: &Keyspace, range: &KeyRange) -> Self {
        let (lower, upper) = key::range_bounds(range);
        Self {
            iter: RawIter::new(keyspace.space().cf(), RawIter::scan_options(lower, upper)),
            started: false,
            finished: Vec::new(),
            passed: 0,
            target: Vec::new(),
        }
    }

    /// Goes to the next key's newest version at or before `at`, and finishes that key; when it was
    /// written, and `None` at the end.
    #[inline]
    pub(super) fn next_key(&mut self, at: Timestamp) -> Result<Option<Timestamp>> {
        self.advance();
        while let Some((stored, _)) = self.iter.item() {
            let (prefix, ts) = split(stored)?;
            if prefix == self.finished {
                self.pass_finished();
            } else if ts > at {
                self.skip_newer(at);
            } else {
                self.passed = 0;
                self.finished.clear();
                self.finished.extend_from_slice(prefix);
                return Ok(Some(ts));
            }
        }
        self.iter.status().map(|()| None)
    }

    /// Prefix of the key finished last, and the stored value at the position.
    #[inline]
    pub(super) fn finished(&self) -> (&[u8], &[u8]) {
        let value = self.iter.item().map(|(_, value)| value);
        (&self.finished, value.unwrap_or_default())
    }

    /// One version on.
    #[inline]
    pub(super) fn advance(&mut self) {
        if self.started {
            self.iter.next();
        } else {
            self.started = true;
            self.iter.seek_to_first();
        }
    }

    /// The version at the position; `None` at the end.
    #[inline]
    pub(super) fn stored(&self) -> Result<Option<Stored<'_>>> {
        let Some((stored, value)) = self.iter.item() else {
            return self.iter.status().map(|()| None);
        };
        let (prefix, ts) = split(stored)?;
        Ok(Some(Stored { prefix, ts, value }))
    }

    /// Goes on to a key that is not finished, if it is not at one.
    pub(super) fn skip_finished(&mut self) {
        while self.at_finished() {
            self.pass_finished();
        }
    }

    fn pass_finished(&mut self) {
        self.passed += 1;
        if self.passed > STEPS_BEFORE_SEEK {
            successor_of(&self.finished, &mut self.target);
            self.iter.seek(&self.target);
            self.passed = 0;
        } else {
            self.iter.next();
        }
    }

    fn at_finished(&self) -> bool {
        let Some((stored, _)) = self.iter.item() else {
            return false;
        };
        !self.finished.is_empty()
            && stored.len() == self.finished.len() + key::TIMESTAMP_BYTES
            && stored.starts_with(&self.finished)
    }

    /// Goes on towards this key's newest version at or before `ts`. It is at a newer one.
    pub(super) fn skip_newer(&mut self, ts: Timestamp) {
        self.passed += 1;
        if self.passed > STEPS_BEFORE_SEEK
            && let Some((prefix, _)) = self.iter.item().and_then(|(stored, _)| key::split(stored))
        {
            target_of(prefix, ts, &mut self.target);
            self.iter.seek(&self.target);
            self.passed = 0;
        } else {
            self.iter.next();
        }
    }

    /// Nothing more of this key is of interest. The position stays.
    pub(super) fn finish_key(&mut self) {
        self.passed = 0;
        self.finished.clear();
        if let Some((prefix, _)) = self.iter.item().and_then(|(stored, _)| key::split(stored)) {
            self.finished.extend_from_slice(prefix);
        }
    }
}

/// The stored key to seek for the newest version at or before `ts`.
pub(super) fn target_of(prefix: &[u8], ts: Timestamp, out: &mut Vec<u8>) {
    out.clear();
    out.extend_from_slice(prefix);
    out.extend_from_slice(&key::encode_timestamp(ts));
}

/// The first stored key after all versions of `prefix` (escaped key and terminator).
pub(crate) fn successor_of(prefix: &[u8], out: &mut Vec<u8>) {
    out.clear();
    if let Some((_terminator, rest)) = prefix.split_last() {
        out.extend_from_slice(rest);
        // The terminator is 00 01; a longer key goes on with 00 FF or a higher byte than 00.
        out.push(0x02);
    }
}

//! A scan of the snapshot with a transaction's own writes over it.

use std::cmp::Ordering;
use std::collections::VecDeque;

use crate::error::Result;
use crate::read::{Scan, ScanDirection};

/// A running scan of a transaction: keys with values, without deleted rows. After an error it ends.
pub struct TransactionScan {
    base: Scan,
    /// The next row of `base`, read but not shown.
    ahead: Option<(Vec<u8>, Vec<u8>)>,
    own: VecDeque<(Vec<u8>, Option<Vec<u8>>)>,
    direction: ScanDirection,
    failed: bool,
}

impl TransactionScan {
    /// Merges a scan with own writes, given in ascending order.
    pub(super) fn new(
        base: Scan,
        mut own: VecDeque<(Vec<u8>, Option<Vec<u8>>)>,
        direction: ScanDirection,
    ) -> Self {
        if direction == ScanDirection::Reverse {
            own.make_contiguous().reverse();
        }
        Self {
            base,
            ahead: None,
            own,
            direction,
            failed: false,
        }
    }

    fn step(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>> {
        loop {
            if self.ahead.is_none() {
                self.ahead = self
                    .base
                    .next()
                    .transpose()?
                    .map(|entry| (entry.key, entry.value));
            }
            let order = match (&self.ahead, self.own.front()) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((base, _)), Some((own, _))) if self.direction == ScanDirection::Forward => {
                    base.cmp(own)
                }
                (Some((base, _)), Some((own, _))) => own.cmp(base),
            };
            if order == Ordering::Less {
                return Ok(self.ahead.take());
            }
            if order == Ordering::Equal {
                self.ahead = None;
            }
            if let Some((key, Some(value))) = self.own.pop_front() {
                return Ok(Some((key, value)));
            }
        }
    }
}

impl Iterator for TransactionScan {
    type Item = Result<(Vec<u8>, Vec<u8>)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let step = self.step();
        self.failed = step.is_err();
        step.transpose()
    }
}

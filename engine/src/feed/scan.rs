//! The rows of a bulk load: found by scanning its span for its timestamp.

use icecore_mvcc::{KeyRange, Timestamp};

use super::part::Part;
use super::window::Span;
use crate::error::Result;
use crate::read::{Pick, Snapshot, Versions};

/// Adds rows to the part until it has so many bytes; gives back what of the span is left, if it has
/// any rows. Each call looks anew, so that no view of the database is held while a part is consumed.
pub(super) fn span(
    part: &mut Part,
    at: Timestamp,
    span: Span,
    budget: usize,
    pin: &Snapshot,
) -> Result<Option<Span>> {
    let Span { of, range } = span;
    let pick = Pick::Window {
        after: at.prev(),
        until: at,
        latest: false,
    };
    let mut versions = Versions::new(&of.keyspace, &range, pick, pin.clone());
    while let Some(row) = versions.next_ref()? {
        if part.bytes() >= budget.max(1) {
            let rest = KeyRange::new(row.key.to_vec(), range.end().map(<[u8]>::to_vec));
            return Ok(Some(Span { of, range: rest }));
        }
        part.push(&of, row.key.to_vec(), row.value.map(<[u8]>::to_vec));
    }
    Ok(None)
}

//! Versions of many files, merged by key; files are opened when the merge comes to their spans.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use icecore_engine::{RowRef, ScanDirection, SstCursor, SstFile};
use icecore_mvcc::{KeyRange, Timestamp};

use super::unit::{Unit, runs};
use crate::error::Result;

/// Where a merge stands.
pub(super) enum At {
    /// At a version: [`Merge::row`].
    Version,
    /// Before a file that must be opened first: [`Merge::opened`].
    File(Arc<Unit>),
    /// At the end.
    End,
}

/// Forward: keys ascending, each key's versions newest first. In reverse: all of that backward.
pub(super) struct Merge {
    range: KeyRange,
    direction: ScanDirection,
    runs: Vec<Run>,
    /// The position of each run that is not at its end; what comes next in the merge is the greatest.
    heads: BinaryHeap<Head>,
}

/// Files that follow each other.
struct Run {
    /// Not opened yet, in the order of the merge.
    waiting: VecDeque<Arc<Unit>>,
    open: Option<SstCursor>,
}

/// Where a run stands.
struct Head {
    place: Place,
    run: usize,
    direction: ScanDirection,
}

enum Place {
    /// All that is left of the run lies at or after this bound, an inclusive start or, in reverse, an
    /// exclusive end; `None` is the end of all keys.
    Bound(Option<Vec<u8>>),
    Version(Vec<u8>, Timestamp),
}

impl Merge {
    pub(super) fn new(units: &[Arc<Unit>], range: &KeyRange, direction: ScanDirection) -> Self {
        let wanted = match range.is_empty() {
            true => Vec::new(),
            false => runs(units, range),
        };
        let in_order = |run: Vec<Arc<Unit>>| Run {
            waiting: match direction {
                ScanDirection::Forward => run.into(),
                ScanDirection::Reverse => run.into_iter().rev().collect(),
            },
            open: None,
        };
        let mut merge = Self {
            range: range.clone(),
            direction,
            runs: wanted.into_iter().map(in_order).collect(),
            heads: BinaryHeap::new(),
        };
        for run in 0..merge.runs.len() {
            merge.wait(run);
        }
        merge
    }

    /// What comes next.
    pub(super) fn at(&self) -> At {
        let Some(head) = self.heads.peek() else {
            return At::End;
        };
        match &head.place {
            Place::Version(..) => At::Version,
            Place::Bound(_) => {
                let unit = self.runs.get(head.run).and_then(|run| run.waiting.front());
                unit.map_or(At::End, |unit| At::File(Arc::clone(unit)))
            }
        }
    }

    /// Goes into the file that [`At::File`] asked for.
    pub(super) fn opened(&mut self, file: &SstFile) -> Result<()> {
        let Some(head) = self.heads.pop() else {
            return Ok(());
        };
        let mut cursor = file.cursor();
        match (self.direction, self.range.end()) {
            (ScanDirection::Forward, _) => cursor.seek(self.range.start(), Timestamp::MAX),
            (ScanDirection::Reverse, Some(end)) => cursor.seek_before(end),
            (ScanDirection::Reverse, None) => cursor.seek_to_last(),
        }
        if let Some(run) = self.runs.get_mut(head.run) {
            run.waiting.pop_front();
            run.open = Some(cursor);
        }
        self.settle(head.run, Vec::new())
    }

    /// The key and time of the version it is at.
    pub(super) fn version(&self) -> Option<(&[u8], Timestamp)> {
        match &self.heads.peek()?.place {
            Place::Version(key, ts) => Some((key, *ts)),
            Place::Bound(_) => None,
        }
    }

    /// The version it is at, with its value.
    pub(super) fn row(&mut self) -> Result<Option<RowRef<'_>>> {
        let head = self.heads.peek();
        let run = head.and_then(|head| self.runs.get_mut(head.run));
        match run.and_then(|run| run.open.as_mut()) {
            Some(cursor) => Ok(cursor.row()?),
            None => Ok(None),
        }
    }

    /// One version on.
    pub(super) fn step(&mut self) -> Result<()> {
        self.go(|cursor, direction, _| match direction {
            ScanDirection::Forward => cursor.next(),
            ScanDirection::Reverse => cursor.prev(),
        })
    }

    /// In the file that it is at, on to the next key. Other files may still be at this key.
    pub(super) fn skip_key(&mut self) -> Result<()> {
        self.go(|cursor, direction, key| match direction {
            ScanDirection::Forward => cursor.seek_after(key),
            ScanDirection::Reverse => cursor.seek_before(key),
        })
    }

    /// In the file that it is at, on to this key's newest version at or before `at`. Forward only.
    pub(super) fn skip_newer(&mut self, at: Timestamp) -> Result<()> {
        self.go(|cursor, _, key| cursor.seek(key, at))
    }

    fn go(&mut self, to: impl FnOnce(&mut SstCursor, ScanDirection, &[u8])) -> Result<()> {
        let Some(head) = self.heads.pop() else {
            return Ok(());
        };
        let Place::Version(key, _) = head.place else {
            self.heads.push(head);
            return Ok(());
        };
        let run = self.runs.get_mut(head.run);
        if let Some(cursor) = run.and_then(|run| run.open.as_mut()) {
            to(cursor, self.direction, &key);
        }
        self.settle(head.run, key)
    }

    /// Notes where a run's open file stands; at its end, or the range's, waits for the next file. `buffer`
    /// is used for the key.
    fn settle(&mut self, run: usize, mut buffer: Vec<u8>) -> Result<()> {
        let Some(cursor) = self.runs.get_mut(run).and_then(|run| run.open.as_mut()) else {
            return Ok(());
        };
        if let Some(row) = cursor.row()?.filter(|row| self.range.contains(row.key)) {
            buffer.clear();
            buffer.extend_from_slice(row.key);
            let place = Place::Version(buffer, row.ts);
            self.push(run, place);
        } else {
            self.wait(run);
        }
        Ok(())
    }

    /// Lets a run's open file go, and notes where its next one begins.
    fn wait(&mut self, number: usize) {
        let Some(run) = self.runs.get_mut(number) else {
            return;
        };
        run.open = None;
        let Some(next) = run.waiting.front() else {
            return;
        };
        let within = next.span().intersect(&self.range);
        let bound = match self.direction {
            ScanDirection::Forward => Some(within.start().to_vec()),
            ScanDirection::Reverse => within.end().map(<[u8]>::to_vec),
        };
        self.push(number, Place::Bound(bound));
    }

    fn push(&mut self, run: usize, place: Place) {
        self.heads.push(Head {
            place,
            run,
            direction: self.direction,
        });
    }
}

impl Head {
    /// Which comes first in ascending order; a start before the versions of its key, as an end is too, since
    /// those lie outside.
    fn ascending(&self, other: &Self) -> Ordering {
        match (&self.place, &other.place) {
            (Place::Bound(None), Place::Bound(None)) => Ordering::Equal,
            (Place::Bound(None), _) => Ordering::Greater,
            (_, Place::Bound(None)) => Ordering::Less,
            (Place::Bound(Some(a)), Place::Bound(Some(b))) => a.cmp(b),
            (Place::Bound(Some(a)), Place::Version(b, _)) => a.cmp(b).then(Ordering::Less),
            (Place::Version(a, _), Place::Bound(Some(b))) => a.cmp(b).then(Ordering::Greater),
            (Place::Version(a, at), Place::Version(b, bt)) => a.cmp(b).then_with(|| bt.cmp(at)),
        }
    }
}

impl Ord for Head {
    /// What comes next in the merge is the greatest.
    fn cmp(&self, other: &Self) -> Ordering {
        let ascending = self.ascending(other);
        let order = match self.direction {
            ScanDirection::Forward => ascending.reverse(),
            ScanDirection::Reverse => ascending,
        };
        order.then_with(|| other.run.cmp(&self.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Head {}

//! Fingerprints of the keyspaces of a layer, from rows that an export reads anyway.
//!
//! What is exported whole shows the newest version of each key first: these are the state. Of a window the
//! newest version of each changed key is added to the fingerprint of the layer before, and the row that the
//! key had at that layer's end is taken out: that is one more read for each changed key. A key lies in one
//! piece, so what the pieces come to is added up.

use std::collections::BTreeMap;

use icecore_archive::Manifest;
use icecore_engine::{Changes, Keyspace, PointReader, Snapshot, Versions};
use icecore_mvcc::{Fingerprint, Fingerprinter, KeyRange, KeyspaceId, Timestamp};

use crate::error::Result;
use crate::options::Fingerprints;

/// What the fingerprints of a layer are made from.
pub(crate) struct Prints {
    when: Fingerprints,
    /// Those of the layer before.
    before: BTreeMap<KeyspaceId, Fingerprint>,
}

/// How the fingerprint of a keyspace goes on from the layer before.
#[derive(Clone, Copy)]
pub(crate) enum Basis {
    /// There will be none.
    None,
    /// From that of the layer before, by what changed since its end.
    Before(Fingerprint),
    /// From nothing: the state is read for it alone.
    Anew,
}

impl Prints {
    pub(crate) fn new(when: Fingerprints, parent: Option<&Manifest>) -> Self {
        let keyspaces = parent.into_iter().flat_map(|parent| &parent.keyspaces);
        Self {
            when,
            before: keyspaces
                .filter_map(|keyspace| Some((keyspace.descriptor.id, keyspace.fingerprint?)))
                .collect(),
        }
    }

    /// Whether what is exported whole gets one.
    pub(crate) fn of_whole(&self) -> bool {
        self.when != Fingerprints::Never
    }

    /// Where the fingerprint of a keyspace begins of which a window is exported.
    pub(crate) fn of_window(&self, keyspace: KeyspaceId) -> Basis {
        match (self.when, self.before.get(&keyspace)) {
            (Fingerprints::Never, _) | (Fingerprints::Auto, None) => Basis::None,
            (_, Some(before)) => Basis::Before(*before),
            (Fingerprints::Always, None) => Basis::Anew,
        }
    }
}

/// How the rows of a piece, which are not read yet, lead to a fingerprint.
pub(crate) enum Follow {
    /// They are the whole state.
    Whole,
    /// They are changes since that time, pinned.
    Since { keyspace: Keyspace, end: Snapshot },
}

impl Follow {
    /// Of rows that changed since the layer before ended.
    pub(crate) fn since(keyspace: &Keyspace, end: Timestamp) -> Result<Self> {
        Ok(Self::Since {
            keyspace: keyspace.clone(),
            end: keyspace.engine().snapshot_at(end)?,
        })
    }

    /// What follows these changes.
    pub(crate) fn changes(&self, changes: &Changes) -> Result<Follower> {
        match self {
            Self::Whole => Ok(Follower::whole()),
            Self::Since { keyspace, end } => Follower::since(keyspace, end, changes),
        }
    }
}

/// Follows the rows of one piece, and tells by what they change the keyspace's fingerprint.
pub(crate) struct Follower {
    print: Fingerprinter,
    /// The key seen last, of which older versions may follow.
    key: Option<Vec<u8>>,
    before: Before,
}

/// The rows that the layer before had.
enum Before {
    None,
    /// One read for each key: few of them changed.
    Reads(PointReader),
    /// A walk alongside: most of them changed.
    Walk(Box<Alongside>),
}

impl Follower {
    /// Of rows that are the whole state.
    pub(crate) fn whole() -> Self {
        Self::of(Before::None)
    }

    fn since(keyspace: &Keyspace, end: &Snapshot, changes: &Changes) -> Result<Self> {
        Ok(Self::of(match changes.scanned() {
            None => Before::Reads(keyspace.point_reader(end)?),
            Some(range) => Before::Walk(Box::new(Alongside::new(keyspace, end, range)?)),
        }))
    }

    fn of(before: Before) -> Self {
        Self {
            print: Fingerprinter::default(),
            key: None,
            before,
        }
    }

    /// Sees the next version: keys ascend, each key's versions come newest first.
    pub(crate) fn see(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        if self.key.as_deref() == Some(key) {
            return Ok(());
        }
        let seen = self.key.get_or_insert_default();
        seen.clear();
        seen.extend_from_slice(key);
        if let Some(value) = value {
            self.print.add(key, value);
        }
        let old = match &mut self.before {
            Before::None => None,
            Before::Reads(reader) => reader.get(key)?,
            Before::Walk(walk) => walk.value_of(key)?,
        };
        if let Some(old) = old {
            self.print.remove(key, old);
        }
        Ok(())
    }

    /// By what the rows change the fingerprint.
    pub(crate) fn finish(self) -> Fingerprint {
        self.print.finish()
    }
}

/// A walk over the state at the end of the layer before, in step with the changes.
struct Alongside {
    rows: Versions,
    at: Option<(Vec<u8>, Vec<u8>)>,
    started: bool,
}

impl Alongside {
    fn new(keyspace: &Keyspace, end: &Snapshot, range: &KeyRange) -> Result<Self> {
        Ok(Self {
            rows: keyspace.full(range, end, false)?,
            at: None,
            started: false,
        })
    }

    /// The value that a key had. Keys ascend.
    fn value_of(&mut self, key: &[u8]) -> Result<Option<&[u8]>> {
        while !self.started || self.at.as_ref().is_some_and(|(at, _)| at.as_slice() < key) {
            self.started = true;
            let (mut at, mut value) = self.at.take().unwrap_or_default();
            let Some(row) = self.rows.next_ref()? else {
                break;
            };
            at.clear();
            at.extend_from_slice(row.key);
            value.clear();
            value.extend_from_slice(row.value.unwrap_or_default());
            self.at = Some((at, value));
        }
        let at = self.at.as_ref().filter(|(at, _)| at == key);
        Ok(at.map(|(_, value)| value.as_slice()))
    }
}

/// Walks that read the state for its fingerprint alone.
pub(crate) fn walks(keyspace: &Keyspace, at: &Snapshot, parts: usize) -> Result<Vec<Versions>> {
    let range = KeyRange::all();
    let cuts = keyspace.split_points(&range, parts)?;
    let pieces = range.split_at(&cuts).into_iter();
    let walks = pieces.map(|piece| Ok(keyspace.full(&piece, at, false)?));
    walks.collect()
}

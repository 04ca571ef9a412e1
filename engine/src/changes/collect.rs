//! Reads a window of the commit index into exact stored keys, cut into parts that are read in order.

use std::collections::BTreeSet;

use icecore_mvcc::{KeyRange, KeyspaceId, Timestamp, key};

use super::runs::{Arena, Merge, RunFile, RunReader, RunWriter, unnamed};
use super::{ChangeSet, IndexReader, Window};
use crate::commit::index::{Change, SizeClass, decode};
use crate::engine::Engine;
use crate::error::Result;
use crate::keyspace::Keyspace;
use crate::read::{Pick, Versions};

/// What a stored key has beside its escaped user key.
const ESCAPED_EXTRA_BYTES: usize = key::TERMINATOR.len() + key::TIMESTAMP_BYTES;

/// Runs kept beside each other; more are merged into one.
const MAX_RUNS: usize = 64;

/// The keys that a window of the index names.
pub(super) struct Collected {
    keys: Keys,
    set: ChangeSet,
    count: u64,
}

enum Keys {
    Memory(Arena),
    Spilled { runs: Vec<RunFile>, engine: Engine },
}

/// A run of the sorted keys that ends at a key boundary.
pub(super) struct Piece {
    keys: PieceKeys,
    set: ChangeSet,
    /// Prefix of the key read last, to show only the newest of each.
    prefix: Vec<u8>,
}

enum PieceKeys {
    /// Sorted at the first read, by the thread that makes it.
    Memory {
        arena: Arena,
        at: usize,
    },
    File(RunReader),
}

/// Gathers keys within the memory budget.
struct Gather<'a> {
    keyspace: &'a Keyspace,
    range: &'a KeyRange,
    id: KeyspaceId,
    memory_bytes: usize,
    arena: Arena,
    runs: Vec<RunFile>,
    /// Bulk loads, whose keys are still to be found.
    spans: Vec<Span>,
    /// Whether there were any.
    loaded: bool,
    count: u64,
    /// Beyond so many keys the rest is of no interest.
    limit: u64,
}

/// What bulk loads at some times may have written.
struct Span {
    first: Vec<u8>,
    last: Vec<u8>,
    stamps: BTreeSet<Timestamp>,
}

impl Collected {
    /// Reads the window; `None` once more than `limit` keys were found.
    pub(super) fn read(
        keyspace: &Keyspace,
        range: &KeyRange,
        window: Window,
        set: ChangeSet,
        memory_bytes: usize,
        limit: u64,
    ) -> Result<Option<Self>> {
        let engine = keyspace.engine();
        let mut gather = Gather {
            keyspace,
            range,
            id: keyspace.id(),
            memory_bytes,
            arena: Arena::default(),
            runs: Vec::new(),
            spans: Vec::new(),
            loaded: false,
            count: 0,
            limit,
        };
        let mut reader = IndexReader::new(engine, window.after, window.until);
        while let Some((ts, record)) = reader.next()? {
            decode(record, |change| gather.add(ts, &change))?;
            if gather.count > limit {
                return Ok(None);
            }
        }
        gather.expand_spans()?;
        if gather.count > limit {
            return Ok(None);
        }
        gather.finish(set).map(Some)
    }

    /// How many versions the window names.
    pub(super) fn len(&self) -> u64 {
        self.count
    }

    /// Whether they did not fit in memory.
    pub(super) fn spilled(&self) -> bool {
        matches!(self.keys, Keys::Spilled { .. })
    }

    /// Cuts the keys into up to `parts` pieces of similar count, between user keys.
    pub(super) fn split(self, parts: usize) -> Result<Vec<Piece>> {
        let set = self.set;
        let piece = |keys| Piece {
            keys,
            set,
            prefix: Vec::new(),
        };
        match self.keys {
            Keys::Memory(arena) => {
                let arenas = arena.cut(parts).into_iter();
                Ok(arenas
                    .map(|arena| piece(PieceKeys::Memory { arena, at: 0 }))
                    .collect())
            }
            Keys::Spilled { runs, engine } => {
                let (file, cuts) = merge_to_file(&runs, &engine, self.count, parts)?;
                let spans = cuts.iter().zip(cuts.iter().skip(1));
                Ok(spans
                    .map(|(&from, &to)| piece(PieceKeys::File(file.read(from, to))))
                    .collect())
            }
        }
    }
}

impl Gather<'_> {
    fn add(&mut self, ts: Timestamp, change: &Change<'_>) -> Result<()> {
        match *change {
            Change::Key { keyspace, key, put }
                if keyspace == self.id && self.range.contains(key) =>
            {
                self.push(key, ts, put)
            }
            Change::Span {
                keyspace,
                first,
                last,
            } if keyspace == self.id => {
                self.loaded = true;
                self.spans.push(Span {
                    first: first.to_vec(),
                    last: last.to_vec(),
                    stamps: BTreeSet::from([ts]),
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn push(&mut self, user: &[u8], ts: Timestamp, put: Option<SizeClass>) -> Result<()> {
        // At worst every byte is escaped.
        let most_bytes = user
            .len()
            .saturating_mul(2)
            .saturating_add(ESCAPED_EXTRA_BYTES);
        if self.arena.len() > 0 && self.arena.memory_bytes_with(most_bytes) > self.memory_bytes {
            let run = self.arena.spill(|| sort_file(self.keyspace.engine()))?;
            self.runs.push(run);
        }
        self.arena.push(put, |out| key::encode_into(out, user, ts));
        self.count += 1;
        if self.runs.len() >= MAX_RUNS {
            let merged = merge_to_file(&self.runs, self.keyspace.engine(), self.count, 1)?.0;
            self.runs = vec![merged];
        }
        Ok(())
    }

    /// The keys of bulk loads are found by scanning their spans for their timestamps; where spans
    /// overlap, once for all of them.
    fn expand_spans(&mut self) -> Result<()> {
        let pin = self.keyspace.engine().snapshot();
        for Span {
            first,
            mut last,
            stamps,
        } in merge_spans(std::mem::take(&mut self.spans))
        {
            let (Some(oldest), Some(newest)) = (stamps.first(), stamps.last()) else {
                continue;
            };
            last.push(0);
            let range = KeyRange::new(first, Some(last)).intersect(self.range);
            let pick = Pick::Window {
                after: oldest.prev(),
                until: *newest,
                latest: false,
            };
            let mut versions = Versions::new(self.keyspace, &range, pick, pin.clone());
            while let Some(row) = versions.next_ref()? {
                if stamps.contains(&row.ts) {
                    self.push(
                        row.key,
                        row.ts,
                        row.value.map(|value| SizeClass::of(value.len())),
                    )?;
                }
                if self.count > self.limit {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, set: ChangeSet) -> Result<Collected> {
        let keys = if self.runs.is_empty() {
            if self.loaded {
                // The span of a bulk load and another may name a key twice.
                self.arena.sort();
            }
            self.count = self.arena.len() as u64;
            Keys::Memory(self.arena)
        } else {
            let engine = self.keyspace.engine().clone();
            if self.arena.len() > 0 {
                self.runs.push(self.arena.spill(|| sort_file(&engine))?);
            }
            Keys::Spilled {
                runs: self.runs,
                engine,
            }
        };
        Ok(Collected {
            keys,
            set,
            count: self.count,
        })
    }
}

impl Piece {
    /// Appends the next key to `out`, skipping older versions where only the newest of each counts, and
    /// returns the size of its value, or `None` for a tombstone. `None` at the end.
    pub(super) fn next_into(&mut self, out: &mut Vec<u8>) -> Result<Option<Option<SizeClass>>> {
        let start = out.len();
        loop {
            let put = match &mut self.keys {
                PieceKeys::Memory { arena, at } => {
                    arena.sort();
                    let Some((stored, put)) = arena.get(*at) else {
                        return Ok(None);
                    };
                    *at += 1;
                    out.extend_from_slice(stored);
                    put
                }
                PieceKeys::File(reader) => {
                    let Some(named) = reader.next()? else {
                        return Ok(None);
                    };
                    out.extend_from_slice(&named.stored);
                    named.put
                }
            };
            if self.set == ChangeSet::All {
                return Ok(Some(put));
            }
            let prefix = prefix_of(out.get(start..).unwrap_or_default());
            if prefix != self.prefix {
                self.prefix.clear();
                self.prefix.extend_from_slice(prefix);
                return Ok(Some(put));
            }
            out.truncate(start);
        }
    }
}

/// Joins spans that overlap.
fn merge_spans(mut spans: Vec<Span>) -> Vec<Span> {
    spans.sort_by(|a, b| a.first.cmp(&b.first));
    let mut merged: Vec<Span> = Vec::new();
    for mut span in spans {
        match merged.last_mut().filter(|open| span.first <= open.last) {
            Some(open) => {
                open.stamps.append(&mut span.stamps);
                if span.last > open.last {
                    open.last = span.last;
                }
            }
            None => merged.push(span),
        }
    }
    merged
}

/// Where files for sorting go.
fn sort_file(engine: &Engine) -> Result<std::fs::File> {
    if engine.is_read_only() {
        return unnamed(&std::env::temp_dir());
    }
    unnamed(engine.staging_dir())
}

fn prefix_of(stored: &[u8]) -> &[u8] {
    key::split(stored)
        .map(|(prefix, _)| prefix)
        .unwrap_or_default()
}

/// Merges runs into one file; also the offsets that cut it, the first 0 and the last its length.
fn merge_to_file(
    runs: &[RunFile],
    engine: &Engine,
    count: u64,
    parts: usize,
) -> Result<(RunFile, Vec<u64>)> {
    let mut merge = Merge::new(runs)?;
    let mut writer = RunWriter::new(sort_file(engine)?);
    let mut cuts = vec![0];
    let per_part = count / parts.max(1) as u64 + 1;
    let (mut in_part, mut prefix) = (0, Vec::new());
    while let Some(named) = merge.next()? {
        if in_part >= per_part && prefix_of(&named.stored) != prefix {
            cuts.push(writer.position());
            in_part = 0;
        }
        prefix.clear();
        prefix.extend_from_slice(prefix_of(&named.stored));
        writer.push(&named.stored, named.put)?;
        in_part += 1;
    }
    let file = writer.finish()?;
    cuts.push(file.bytes());
    Ok((file, cuts))
}

//! Exact stored keys: in memory, sorted when they are read, or in sorted files.
//!
//! A file holds records of: key length × 2 + deleted (varint), key, and for a put its size class
//! (1 byte). It has no name in the file system, so a crash leaves nothing behind.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::Arc;

use icecore_mvcc::key;

use crate::commit::index::{SizeClass, put_varint};
use crate::error::{Error, Result};

/// Keys looked at to cut an arena into parts, for each of them.
const SAMPLES_PER_PART: usize = 512;

/// A stored key, and the size of its value; `None` for a tombstone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Named {
    pub(super) stored: Vec<u8>,
    pub(super) put: Option<SizeClass>,
}

/// Keys in memory, back to back.
#[derive(Default)]
pub(super) struct Arena {
    /// Shared by the arenas that one was cut into.
    bytes: Arc<Vec<u8>>,
    slots: Vec<Slot>,
    sorted: bool,
}

/// Where a key lies.
#[derive(Clone, Copy)]
struct Slot {
    /// The key's first bytes, so that most comparisons need not fetch the key.
    head: u64,
    start: usize,
    length: usize,
    put: Option<SizeClass>,
}

impl Arena {
    pub(super) fn push(&mut self, put: Option<SizeClass>, encode: impl FnOnce(&mut Vec<u8>)) {
        // Not shared while it grows, so nothing is copied.
        let bytes = Arc::make_mut(&mut self.bytes);
        let start = bytes.len();
        encode(bytes);
        self.slots.push(Slot {
            head: head_of(bytes.get(start..).unwrap_or_default()),
            start,
            length: bytes.len() - start,
            put,
        });
        self.sorted = false;
    }

    /// The memory that it would take with one more key of up to so many bytes. What is allocated ahead
    /// counts, and the slots count twice: they are copied when they are cut.
    pub(super) fn memory_bytes_with(&self, key_bytes: usize) -> usize {
        let bytes = grown(self.bytes.capacity(), self.bytes.len(), key_bytes);
        let slots = grown(self.slots.capacity(), self.slots.len(), 1);
        bytes.saturating_add(slots.saturating_mul(2 * size_of::<Slot>()))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn get(&self, index: usize) -> Option<(&[u8], Option<SizeClass>)> {
        let Slot {
            start, length, put, ..
        } = *self.slots.get(index)?;
        Some((self.bytes.get(start..start + length)?, put))
    }

    /// Sorts by key; a key named twice (by a bulk load's span and again) stays once.
    pub(super) fn sort(&mut self) {
        if self.sorted {
            return;
        }
        let bytes = self.bytes.as_slice();
        self.slots.sort_unstable_by(|a, b| {
            let heads = a.head.cmp(&b.head);
            heads.then_with(|| a.key(bytes).cmp(b.key(bytes)))
        });
        self.slots
            .dedup_by(|a, b| a.head == b.head && a.key(bytes) == b.key(bytes));
        self.sorted = true;
    }

    /// Cuts the keys into up to `parts` arenas of similar count, in order and between user keys. They
    /// need not be sorted yet: whoever reads a part sorts it.
    pub(super) fn cut(self, parts: usize) -> Vec<Self> {
        let splitters = self.splitters(parts);
        if splitters.is_empty() {
            return vec![self];
        }
        let parts = splitters.len() + 1;
        let share = self.slots.len() / parts;
        // Room for what a sample may misjudge, so that few grow, which doubles them.
        let slots = (0..parts).map(|_| Vec::with_capacity(share + share / 8));
        let mut slots: Vec<Vec<Slot>> = slots.collect();
        for slot in self.slots {
            let key = slot.key(&self.bytes);
            let part = splitters.partition_point(|splitter| splitter.as_slice() <= key);
            if let Some(part) = slots.get_mut(part) {
                part.push(slot);
            }
        }
        let arena = |slots| Self {
            bytes: Arc::clone(&self.bytes),
            slots,
            sorted: self.sorted,
        };
        slots.into_iter().map(arena).collect()
    }

    /// Prefixes, which sort before the versions of their keys, of a sample of the keys at which
    /// `parts` of similar count begin.
    fn splitters(&self, parts: usize) -> Vec<Vec<u8>> {
        let step = (self.slots.len() / (parts.max(1) * SAMPLES_PER_PART)).max(1);
        let sampled = self.slots.iter().step_by(step);
        let mut sample: Vec<&[u8]> = sampled.map(|slot| slot.key(&self.bytes)).collect();
        sample.sort_unstable();
        let mut splitters: Vec<Vec<u8>> = (1..parts)
            .filter_map(|part| sample.get(sample.len() * part / parts))
            .filter_map(|stored| key::split(stored))
            .map(|(prefix, _)| prefix.to_vec())
            .collect();
        splitters.dedup();
        splitters
    }

    /// Writes the sorted keys to an unnamed file and forgets them.
    pub(super) fn spill(&mut self, open: impl FnOnce() -> Result<File>) -> Result<RunFile> {
        self.sort();
        let mut writer = RunWriter::new(open()?);
        for index in 0..self.slots.len() {
            if let Some((stored, put)) = self.get(index) {
                writer.push(stored, put)?;
            }
        }
        *self = Self::default();
        writer.finish()
    }
}

/// The capacity of a vector that takes so many more.
fn grown(capacity: usize, length: usize, more: usize) -> usize {
    let needed = length.saturating_add(more);
    if needed <= capacity {
        return capacity;
    }
    needed.max(capacity.saturating_mul(2))
}

impl Slot {
    fn key<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes
            .get(self.start..self.start + self.length)
            .unwrap_or_default()
    }
}

/// The first eight bytes as a number that sorts as they do; a shorter key's are followed by zeros.
fn head_of(key: &[u8]) -> u64 {
    let mut head = [0; 8];
    for (to, from) in head.iter_mut().zip(key) {
        *to = *from;
    }
    u64::from_be_bytes(head)
}

/// A sorted file of keys.
#[derive(Clone)]
pub(super) struct RunFile {
    file: Arc<File>,
    bytes: u64,
}

/// Writes a [`RunFile`].
pub(super) struct RunWriter {
    out: BufWriter<File>,
    bytes: u64,
    scratch: Vec<u8>,
}

impl RunWriter {
    pub(super) fn new(file: File) -> Self {
        Self {
            out: BufWriter::with_capacity(256 << 10, file),
            bytes: 0,
            scratch: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, stored: &[u8], put: Option<SizeClass>) -> Result<()> {
        self.scratch.clear();
        put_varint(
            &mut self.scratch,
            (stored.len() as u64) << 1 | u64::from(put.is_none()),
        );
        self.scratch.extend_from_slice(stored);
        self.scratch.extend(put.map(SizeClass::code));
        self.bytes += self.scratch.len() as u64;
        self.out.write_all(&self.scratch).map_err(failed("write"))
    }

    /// Bytes written so far: where the next record begins.
    pub(super) fn position(&self) -> u64 {
        self.bytes
    }

    pub(super) fn finish(self) -> Result<RunFile> {
        let file = self
            .out
            .into_inner()
            .map_err(|e| failed("write")(e.into_error()))?;
        Ok(RunFile {
            file: Arc::new(file),
            bytes: self.bytes,
        })
    }
}

/// Reads part of a [`RunFile`].
pub(super) struct RunReader {
    input: BufReader<FileAt>,
    left: u64,
}

/// A reader with a position of its own, so that parts of one file can be read side by side.
struct FileAt {
    file: Arc<File>,
    at: u64,
}

impl Read for FileAt {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let read = self.file.read_at(buffer, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl RunFile {
    /// Reads the records that begin within `from..to`, which are record boundaries.
    pub(super) fn read(&self, from: u64, to: u64) -> RunReader {
        let at = FileAt {
            file: Arc::clone(&self.file),
            at: from,
        };
        RunReader {
            input: BufReader::with_capacity(128 << 10, at),
            left: to.saturating_sub(from),
        }
    }

    /// Reads all records.
    pub(super) fn read_all(&self) -> RunReader {
        self.read(0, self.bytes)
    }

    /// The file's length.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl RunReader {
    pub(super) fn next(&mut self) -> Result<Option<Named>> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut head = 0_u64;
        let mut shift = 0;
        loop {
            let mut byte = [0];
            self.input.read_exact(&mut byte).map_err(failed("read"))?;
            self.left = self.left.saturating_sub(1);
            head |= u64::from(byte[0] & 0x7f) << shift;
            shift += 7;
            if byte[0] & 0x80 == 0 || shift > 56 {
                break;
            }
        }
        let length = head >> 1;
        self.left = self.left.saturating_sub(length);
        let mut stored = vec![0; usize::try_from(length).unwrap_or(0)];
        self.input.read_exact(&mut stored).map_err(failed("read"))?;
        let put = if head & 1 == 0 {
            self.size_class()?
        } else {
            None
        };
        Ok(Some(Named { stored, put }))
    }

    fn size_class(&mut self) -> Result<Option<SizeClass>> {
        let mut code = [0];
        self.input.read_exact(&mut code).map_err(failed("read"))?;
        self.left = self.left.saturating_sub(1);
        match SizeClass::from_code(code[0]) {
            // None would be a tombstone.
            None => Err(Error::corrupt("a sort file holds a size that no value has")),
            class => Ok(class),
        }
    }
}

/// Merges sorted runs; a key in several runs comes once.
pub(super) struct Merge {
    heap: BinaryHeap<Reverse<(Named, usize)>>,
    readers: Vec<RunReader>,
    last: Option<Vec<u8>>,
}

impl Merge {
    pub(super) fn new(runs: &[RunFile]) -> Result<Self> {
        let mut merge = Self {
            heap: BinaryHeap::new(),
            readers: runs.iter().map(RunFile::read_all).collect(),
            last: None,
        };
        for index in 0..runs.len() {
            merge.refill(index)?;
        }
        Ok(merge)
    }

    fn refill(&mut self, index: usize) -> Result<()> {
        if let Some(named) = self
            .readers
            .get_mut(index)
            .map(RunReader::next)
            .transpose()?
            .flatten()
        {
            self.heap.push(Reverse((named, index)));
        }
        Ok(())
    }

    pub(super) fn next(&mut self) -> Result<Option<Named>> {
        while let Some(Reverse((named, index))) = self.heap.pop() {
            self.refill(index)?;
            if self.last.as_ref() != Some(&named.stored) {
                self.last = Some(named.stored.clone());
                return Ok(Some(named));
            }
        }
        Ok(None)
    }
}

/// An unnamed file in `dir`.
pub(super) fn unnamed(dir: &std::path::Path) -> Result<File> {
    let mut file = tempfile::tempfile_in(dir).map_err(Error::path("create a sort file in", dir))?;
    file.seek(SeekFrom::Start(0)).map_err(failed("rewind"))?;
    Ok(file)
}

fn failed(action: &'static str) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::io(action, "a sort file", source)
}

#[cfg(test)]
mod tests;

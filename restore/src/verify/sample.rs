//! Which files a sampled verification reads.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use icecore_archive::{FileEntry, FileId};

/// How much of a collection is read.
///
/// Read from text as `5%`, `2/7` and `500MiB` (or `B`, `KiB`, `GiB`, `TiB`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sample {
    /// Of all files this many in a hundred, rounded up; others each time.
    Percent(f64),
    /// The second number is of how many parts, by the files' names: all parts together are everything, and
    /// the same part is the same files.
    Part {
        /// Which part, from 1.
        part: u32,
        /// Of how many.
        of: u32,
    },
    /// Files until at least so many bytes are read; others each time.
    Bytes(u64),
}

/// The text is not a sample.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no sample; write a percentage (5%), a part of all (2/7) or a size (500MiB)")]
pub struct ParseSampleError {
    text: String,
}

impl FromStr for Sample {
    type Err = ParseSampleError;

    fn from_str(text: &str) -> Result<Self, ParseSampleError> {
        let wrong = || ParseSampleError {
            text: text.to_owned(),
        };
        if let Some(percent) = text.strip_suffix('%') {
            let percent: f64 = percent.parse().map_err(|_| wrong())?;
            return (percent > 0.0 && percent <= 100.0)
                .then_some(Self::Percent(percent))
                .ok_or_else(wrong);
        }
        if let Some((part, of)) = text.split_once('/') {
            let part = part.parse().map_err(|_| wrong())?;
            let of = of.parse().map_err(|_| wrong())?;
            return (1 <= part && part <= of)
                .then_some(Self::Part { part, of })
                .ok_or_else(wrong);
        }
        bytes(text).map(Self::Bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent}%"),
            Self::Part { part, of } => write!(f, "{part}/{of}"),
            Self::Bytes(bytes) => write!(f, "{bytes}B"),
        }
    }
}

/// A number of bytes with its unit.
fn bytes(text: &str) -> Option<u64> {
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];
    let (number, shift) = units
        .iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    let number: u64 = number.parse().ok()?;
    number.checked_mul(1 << shift).filter(|bytes| *bytes > 0)
}

/// The files that a sample has.
pub(super) struct Chosen(HashSet<FileId>);

impl Chosen {
    pub(super) fn new<'a>(sample: Sample, files: impl Iterator<Item = &'a FileEntry>) -> Self {
        let key = RandomState::new();
        Self::in_order(sample, files, |id| key.hash_one(id))
    }

    /// Random samples take the files in the order that `rank` gives.
    fn in_order<'a>(
        sample: Sample,
        files: impl Iterator<Item = &'a FileEntry>,
        rank: impl Fn(FileId) -> u64,
    ) -> Self {
        if let Sample::Part { part, of } = sample {
            let wanted = u128::from(part.saturating_sub(1));
            let is_in = |file: &&FileEntry| number(file.id) % u128::from(of.max(1)) == wanted;
            return Self(files.filter(is_in).map(|file| file.id).collect());
        }
        let mut files: Vec<&FileEntry> = files.collect();
        files.sort_by_key(|file| (rank(file.id), file.id));
        if let Sample::Percent(percent) = sample {
            let wanted = (files.len() as f64 * percent / 100.0).ceil() as usize;
            files.truncate(wanted);
        }
        let mut left = match sample {
            Sample::Bytes(bytes) => bytes,
            _ => u64::MAX,
        };
        let until_full = files.into_iter().take_while(|file| {
            let wanted = left > 0;
            left = left.saturating_sub(file.stored_bytes);
            wanted
        });
        Self(until_full.map(|file| file.id).collect())
    }

    pub(super) fn has(&self, file: &FileEntry) -> bool {
        self.0.contains(&file.id)
    }
}

/// File ids are random: their digits spread them over the parts.
fn number(id: FileId) -> u128 {
    u128::from_str_radix(&id.to_string(), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use icecore_archive::ContentHash;
    use icecore_mvcc::{KeyRange, Timestamp};

    use super::*;

    fn files(count: usize) -> Vec<FileEntry> {
        let file = |_| FileEntry {
            id: FileId::random(),
            span: KeyRange::all(),
            min_ts: Timestamp::MIN,
            max_ts: Timestamp::MIN,
            entries: 1,
            tombstones: 0,
            logical_bytes: 10,
            stored_bytes: 100,
            crc32: 0,
            blake3: ContentHash::of(b""),
            copied: None,
            locality: None,
        };
        (0..count).map(file).collect()
    }

    fn count(sample: Sample, files: &[FileEntry]) -> usize {
        let chosen = Chosen::new(sample, files.iter());
        files.iter().filter(|file| chosen.has(file)).count()
    }

    #[test]
    fn a_sample_has_what_it_says() {
        let files = files(200);
        assert_eq!(count(Sample::Percent(5.0), &files), 10);
        assert_eq!(count(Sample::Percent(0.1), &files), 1);
        assert_eq!(count(Sample::Percent(100.0), &files), 200);
        assert_eq!(count(Sample::Bytes(1), &files), 1);
        assert_eq!(count(Sample::Bytes(101), &files), 2);
        assert_eq!(count(Sample::Bytes(u64::MAX), &files), 200);
        assert_eq!(count(Sample::Percent(5.0), &[]), 0);
    }

    #[test]
    fn the_parts_together_are_everything_once() {
        let files = files(200);
        let parts: Vec<Chosen> = (1..=7)
            .map(|part| Chosen::new(Sample::Part { part, of: 7 }, files.iter()))
            .collect();
        for file in &files {
            assert_eq!(parts.iter().filter(|part| part.has(file)).count(), 1);
        }
        assert!(parts.iter().all(|part| part.0.len() > 5));
    }

    #[test]
    fn a_random_sample_is_another_each_time() {
        let files = files(200);
        let chosen = || Chosen::new(Sample::Percent(10.0), files.iter()).0;
        let first = chosen();
        assert!((0..20).any(|_| chosen() != first));
    }

    #[test]
    fn samples_are_read_from_text() {
        let read = |text: &str| text.parse::<Sample>().ok();
        assert_eq!(read("5%"), Some(Sample::Percent(5.0)));
        assert_eq!(read("0.5%"), Some(Sample::Percent(0.5)));
        assert_eq!(read("2/7"), Some(Sample::Part { part: 2, of: 7 }));
        assert_eq!(read("500MiB"), Some(Sample::Bytes(500 << 20)));
        assert_eq!(read("3B"), Some(Sample::Bytes(3)));
        let wrong = [
            "",
            "5",
            "%",
            "0%",
            "101%",
            "-1%",
            "NaN%",
            "0/7",
            "8/7",
            "/",
            "1/0",
            "MiB",
            "0B",
            "5MB",
            "99999999TiB",
        ];
        for text in wrong {
            assert_eq!(read(text), None, "{text}");
        }
        for text in ["5%", "2/7", "3B"] {
            assert_eq!(read(text).unwrap().to_string(), text);
        }
    }
}

//! The words of a command, and how what it prints is spelled.

use std::collections::VecDeque;

use icecore_engine::VersionRow;
use icecore_mvcc::{KeyRange, Timestamp, text};

/// The words of a command that are still to be read. One that is never read is a mistake in the script.
pub struct Words {
    rest: VecDeque<String>,
    command: String,
}

impl Words {
    pub fn of(command: &str) -> Self {
        Self {
            rest: command.split_whitespace().map(str::to_owned).collect(),
            command: command.to_owned(),
        }
    }

    /// The next word, which must be there.
    pub fn next(&mut self) -> String {
        self.maybe()
            .unwrap_or_else(|| panic!("a word is missing: {}", self.command))
    }

    pub fn maybe(&mut self) -> Option<String> {
        self.rest.pop_front()
    }

    /// All words that are left.
    pub fn all(&mut self) -> Vec<String> {
        self.rest.drain(..).collect()
    }

    /// The next word as a key or a value.
    pub fn bytes(&mut self) -> Vec<u8> {
        bytes(&self.next())
    }

    /// The word behind `name`, wherever that stands.
    pub fn option(&mut self, name: &str) -> Option<String> {
        let at = self.rest.iter().position(|word| word == name)?;
        self.rest.remove(at);
        let value = self.rest.remove(at);
        Some(value.unwrap_or_else(|| panic!("{name} lacks its word: {}", self.command)))
    }

    /// Whether `name` is among the words.
    pub fn has(&self, name: &str) -> bool {
        self.rest.iter().any(|word| word == name)
    }

    /// Whether `name` is among the words; takes it.
    pub fn flag(&mut self, name: &str) -> bool {
        let at = self.rest.iter().position(|word| word == name);
        at.is_some_and(|at| self.rest.remove(at).is_some())
    }

    /// `from K`, `to K` and `prefix K`; every key without them.
    pub fn range(&mut self) -> KeyRange {
        if let Some(prefix) = self.option("prefix") {
            return KeyRange::prefix(&bytes(&prefix));
        }
        let start = self.option("from").map(|key| bytes(&key));
        let end = self.option("to").map(|key| bytes(&key));
        KeyRange::new(start.unwrap_or_default(), end)
    }

    /// Ends the command.
    pub fn finish(self) {
        assert!(self.rest.is_empty(), "{:?} of: {}", self.rest, self.command);
    }
}

/// The bytes of a word.
pub fn bytes(word: &str) -> Vec<u8> {
    if word == "\"\"" {
        return Vec::new();
    }
    match word.rsplit_once('*') {
        Some((unit, times)) => text::from_text(unit)
            .unwrap()
            .repeat(times.parse().unwrap()),
        None => text::from_text(word).unwrap(),
    }
}

/// How many bytes of a word are printed.
const PRINTED_BYTES: usize = 200;

/// Bytes as a word; many are cut short.
pub fn printable(bytes: &[u8]) -> String {
    let word = |bytes| text::to_text(bytes).replace(' ', "\\x20");
    match bytes {
        [] => "\"\"".to_owned(),
        _ if bytes.len() > PRINTED_BYTES => {
            format!("{}… ({} bytes)", word(&bytes[..8]), bytes.len())
        }
        _ => word(bytes),
    }
}

/// A value or what stands for none.
pub fn printable_value(value: Option<&[u8]>) -> String {
    value.map_or("(none)".to_owned(), printable)
}

/// A version: `k @103 = v`, or `k @103 deleted`.
pub fn row(key: &[u8], ts: Timestamp, value: Option<&[u8]>) -> String {
    let key = printable(key);
    match value {
        Some(value) => format!("{key} @{} = {}", ts.nanos(), printable(value)),
        None => format!("{key} @{} deleted", ts.nanos()),
    }
}

pub fn version_row(version: &VersionRow) -> String {
    row(&version.key, version.ts, version.value.as_deref())
}

/// One line each; `(nothing)` for none.
pub fn lines<T: AsRef<str>>(lines: impl IntoIterator<Item = T>) -> String {
    let text: String = lines
        .into_iter()
        .map(|line| format!("{}\n", line.as_ref()))
        .collect();
    if text.is_empty() {
        return "(nothing)\n".to_owned();
    }
    text
}

/// The text of an error with the small times of scripts as the numbers that they are: `@103`.
pub fn short_times(text: &str) -> String {
    const BEGIN: &str = "1970-01-01T00:00:00.";
    let mut pieces = text.split(BEGIN);
    let mut short = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (nanos, rest) = piece.split_once('Z').unwrap();
        let nanos: u64 = nanos.parse().unwrap();
        short.push_str(&format!("@{nanos}{rest}"));
    }
    short
}

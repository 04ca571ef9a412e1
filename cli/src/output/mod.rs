//! What goes to standard output and how: tables and sentences for people, one JSON document for
//! programs. Times in JSON are RFC 3339 texts with all nine digits, because an integer of
//! nanoseconds does not survive programs that keep numbers as floating point.

mod bar;
mod rows;

use std::io::{self, BufWriter, StdoutLock, Write};
use std::time::{Duration, Instant};

use icecore_mvcc::Timestamp;
use serde::{Serialize, Serializer};

use crate::arguments::OutputFormat;
use crate::context::Context;
use crate::error::{Error, Result};
pub(crate) use bar::Bar;
pub(crate) use rows::{Members, Record};

/// What a command did: its own members, the bytes it moved, and how long it took.
#[derive(Serialize)]
struct Done<'a, T> {
    action: &'a str,
    #[serde(flatten)]
    what: T,
    bytes: u64,
    seconds: f64,
}

impl Context {
    /// Standard output, buffered. Flush it.
    fn stdout(&self) -> BufWriter<StdoutLock<'static>> {
        BufWriter::with_capacity(64 << 10, io::stdout().lock())
    }

    /// Prints a line for people.
    pub(crate) fn line(&self, line: &str) -> Result<()> {
        let mut out = self.stdout();
        writeln!(out, "{line}")
            .and_then(|()| out.flush())
            .map_err(Error::Output)
    }

    /// Prints a document for programs.
    pub(crate) fn document(&self, document: &impl Serialize) -> Result<()> {
        let mut out = self.stdout();
        serde_json::to_writer_pretty(&mut out, document)
            .map_err(io::Error::from)
            .and_then(|()| writeln!(out))
            .and_then(|()| out.flush())
            .map_err(Error::Output)
    }

    /// Tells what a command did: `sentence` for people, or `what` with the action's name, bytes
    /// and seconds for programs.
    pub(crate) fn done(
        &self,
        action: &str,
        sentence: impl FnOnce() -> String,
        what: impl Serialize,
        bytes: u64,
        started: Instant,
    ) -> Result<()> {
        match self.format {
            OutputFormat::Table => self.line(&sentence()),
            OutputFormat::Json => self.document(&Done {
                action,
                what,
                bytes,
                seconds: seconds(started.elapsed()),
            }),
        }
    }
}

/// Seconds with microseconds.
pub(crate) fn seconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e6
}

/// A time in JSON.
pub(crate) fn time<S: Serializer>(
    ts: &Timestamp,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.collect_str(ts)
}

/// A time that may be missing, in JSON.
pub(crate) fn optional_time<S: Serializer>(
    ts: &Option<Timestamp>,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    match ts {
        Some(ts) => time(ts, serializer),
        None => serializer.serialize_none(),
    }
}

/// A time that is none at the epoch, such as a threshold that was never raised.
pub(crate) fn since_epoch(ts: Timestamp) -> Option<Timestamp> {
    (ts > Timestamp::MIN).then_some(ts)
}

/// A cell that may be empty.
pub(crate) fn or_dash<T: ToString>(cell: Option<T>) -> String {
    cell.map_or_else(|| "-".to_owned(), |cell| cell.to_string())
}

/// A number of bytes for people.
pub(crate) fn human_bytes(bytes: u64) -> String {
    indicatif::HumanBytes(bytes).to_string()
}

/// A count for people.
pub(crate) fn human_count(count: u64) -> String {
    indicatif::HumanCount(count).to_string()
}

/// A number of things for people: `1 file`, `2 files`.
pub(crate) fn plural(count: u64, noun: &str) -> String {
    let ending = if count == 1 { "" } else { "s" };
    format!("{} {noun}{ending}", human_count(count))
}

/// A rate for people.
pub(crate) fn human_rate(bytes: u64, elapsed: Duration) -> String {
    let rate = bytes as f64 / elapsed.as_secs_f64().max(1e-9);
    format!("{}/s", human_bytes(rate as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_agree_with_their_nouns() {
        assert_eq!(plural(0, "row"), "0 rows");
        assert_eq!(plural(1, "row"), "1 row");
        assert_eq!(plural(336_776, "row"), "336,776 rows");
    }

    #[test]
    fn seconds_have_microseconds() {
        assert_eq!(seconds(Duration::from_nanos(1_234_567_890)), 1.234568);
    }
}

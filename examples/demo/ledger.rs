//! What each step moved, how long it took, and the table of it.

use std::fmt;
use std::time::Duration;

use icecore_examples::table::Table;
use icecore_examples::text;

/// One step.
pub(crate) struct Step {
    name: String,
    /// Rows, or versions where history is moved.
    rows: u64,
    /// Bytes of keys and values; 0 where they were not counted.
    bytes: u64,
    /// Bytes of files in the collection.
    stored: Option<u64>,
    elapsed: Duration,
    /// Time and stored bytes of the full backup, for its incrementals.
    full: Option<(Duration, u64)>,
}

impl Step {
    /// A step that moved rows.
    pub(crate) fn moved(name: &str, rows: u64, bytes: u64, elapsed: Duration) -> Self {
        Self {
            name: name.to_owned(),
            rows,
            bytes,
            stored: None,
            elapsed,
            full: None,
        }
    }

    /// The bytes that lie in the collection for it.
    pub(crate) fn stored(self, stored: u64) -> Self {
        Self {
            stored: Some(stored),
            ..self
        }
    }

    /// What the full backup took.
    pub(crate) fn against(self, full: (Duration, u64)) -> Self {
        Self {
            full: Some(full),
            ..self
        }
    }
}

/// All steps, in order.
#[derive(Default)]
pub(crate) struct Ledger {
    steps: Vec<Step>,
}

impl Ledger {
    /// Adds a step.
    pub(crate) fn add(&mut self, step: Step) {
        self.steps.push(step);
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new([
            "step",
            "rows",
            "MB",
            "seconds",
            "MB/s",
            "stored MB",
            "time",
            "stored",
        ]);
        for step in &self.steps {
            let (time, stored) = match (step.full, step.stored) {
                (Some((full_time, full_stored)), Some(stored)) => (
                    text::percent(step.elapsed.as_secs_f64(), full_time.as_secs_f64()),
                    text::percent(stored as f64, full_stored as f64),
                ),
                _ => Default::default(),
            };
            table.row(vec![
                step.name.clone(),
                text::count(step.rows),
                if step.bytes > 0 {
                    text::megabytes(step.bytes)
                } else {
                    String::new()
                },
                text::seconds(step.elapsed),
                text::rate(step.bytes, step.elapsed),
                step.stored.map(text::megabytes).unwrap_or_default(),
                time,
                stored,
            ]);
        }
        write!(f, "{table}")?;
        writeln!(
            f,
            "rows: rows written or read; in backups, restores and GC every version counts"
        )?;
        writeln!(
            f,
            "MB: keys and values as they are · stored MB: files in the collection"
        )?;
        writeln!(
            f,
            "time, stored: what an incremental took, compared with the full backup"
        )
    }
}

//! The figures of a run: a table for people, JSON for programs.

use std::fmt;
use std::path::Path;

use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::measure::Pair;

/// One number of ours beside the same number of a peer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// Of `ours` and `peer_value`. Less is better in all units used so far (times, sizes, counts).
    pub unit: &'static str,
    /// Our median.
    pub ours: f64,
    /// Who it is compared with.
    pub peer: String,
    /// The peer's median.
    pub peer_value: f64,
    /// Above 1 where ours is better.
    pub ratio: f64,
    /// The least ratio asked for; `None` for a figure that is only to be known.
    pub bar: Option<f64>,
    /// Whether the bar is met; `None` where there is none.
    pub ok: Option<bool>,
}

/// How far single rounds lay from the median.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Spread {
    /// The figure's name.
    pub name: String,
    /// The peer's name.
    pub peer: String,
    /// Rounds counted.
    pub rounds: usize,
    /// Least ratio of a round.
    pub least: f64,
    /// Greatest ratio of a round.
    pub greatest: f64,
}

/// All figures of a run.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// The suite.
    pub suite: &'static str,
    /// The scale; bars are stated for `full`.
    pub scale: &'static str,
    /// Where the run was made.
    pub machine: Machine,
    /// In the order they were taken.
    pub figures: Vec<Figure>,
    /// One for each figure, in the same order.
    pub spreads: Vec<Spread>,
    /// What a reader of the figures should know: plans taken, sizes reached.
    pub notes: Vec<String>,
}

/// How a figure is presented.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) unit: &'static str,
    /// Units in a second, a byte or whatever was counted, divided by the operations of a round.
    pub(crate) per_second: f64,
    pub(crate) bar: Option<f64>,
}

impl Shape {
    /// Microseconds for one of `operations`.
    pub(crate) const fn micros(operations: usize, bar: f64) -> Self {
        Self {
            unit: "us",
            per_second: 1e6 / operations as f64,
            bar: Some(bar),
        }
    }

    /// Milliseconds for the whole round.
    pub(crate) const fn millis(bar: f64) -> Self {
        Self {
            unit: "ms",
            per_second: 1e3,
            bar: Some(bar),
        }
    }

    /// Megabytes, of sizes in bytes.
    pub(crate) const fn megabytes(bar: Option<f64>) -> Self {
        Self {
            unit: "MB",
            per_second: 1e-6,
            bar,
        }
    }

    /// Things counted.
    pub(crate) const fn count(bar: Option<f64>) -> Self {
        Self {
            unit: "",
            per_second: 1.0,
            bar,
        }
    }
}

impl Report {
    /// An empty report.
    #[must_use]
    pub const fn new(suite: &'static str, scale: &'static str, machine: Machine) -> Self {
        Self {
            suite,
            scale,
            machine,
            figures: Vec::new(),
            spreads: Vec::new(),
            notes: Vec::new(),
        }
    }

    /// Adds a figure, and shows it at once on standard error: a run takes minutes.
    pub(crate) fn add(&mut self, name: &str, peer: &str, pair: &Pair, shape: Shape) {
        let (name, peer, ratio) = (name.to_owned(), peer.to_owned(), pair.ratio());
        let (least, greatest) = pair.spread();
        let spread = Spread {
            name: name.clone(),
            peer: peer.clone(),
            rounds: pair.rounds(),
            least,
            greatest,
        };
        let figure = Figure {
            name,
            unit: shape.unit,
            ours: pair.ours.median() * shape.per_second,
            peer,
            peer_value: pair.peer.median() * shape.per_second,
            ratio,
            bar: shape.bar,
            ok: shape.bar.map(|bar| ratio >= bar),
        };
        eprintln!("{}", line(&figure, &spread));
        self.figures.push(figure);
        self.spreads.push(spread);
    }

    /// Adds a remark.
    pub(crate) fn note(&mut self, text: String) {
        eprintln!("  ({text})");
        self.notes.push(text);
    }

    /// Writes the report as one JSON document.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn write_json(&self, file: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(std::io::Error::from);
        json.and_then(|json| std::fs::write(file, json))
            .map_err(Error::io("write", file))
    }

    /// How many bars were missed.
    #[must_use]
    pub fn missed(&self) -> usize {
        self.figures
            .iter()
            .filter(|figure| figure.ok == Some(false))
            .count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        writeln!(
            f,
            "suite {} at scale {}, {} profile",
            self.suite, self.scale, machine.profile
        )?;
        writeln!(
            f,
            "{}, {} cores, {:.1} GiB, {}, {}, {}, load {:.2}\n",
            machine.cpu,
            machine.cores,
            machine.memory as f64 / f64::from(1 << 30),
            machine.kernel,
            machine.file_system,
            machine.rustc,
            machine.load
        )?;
        let (name, peer) = ("figure", "peer");
        let (ours, value, ratio, spread, bar) = ("ours", "peer's", "ratio", "(of rounds)", "bar");
        writeln!(
            f,
            "{name:<42} {ours:>10} {value:>10}    {peer:<22} {ratio:>8} {spread:<16} {bar:>7}"
        )?;
        for (figure, spread) in self.figures.iter().zip(&self.spreads) {
            writeln!(f, "{}", line(figure, spread))?;
        }
        for note in &self.notes {
            writeln!(f, "- {note}")?;
        }
        let bars = self
            .figures
            .iter()
            .filter(|figure| figure.bar.is_some())
            .count();
        write!(
            f,
            "\n{} of {bars} bars met; a ratio above 1 means that ours is better",
            bars - self.missed()
        )
    }
}

fn line(figure: &Figure, spread: &Spread) -> String {
    let Figure {
        name,
        unit,
        ours,
        peer,
        peer_value,
        ratio,
        ..
    } = figure;
    let rounds = format!("({:.2}–{:.2})", spread.least, spread.greatest);
    let (bar, verdict) = match (figure.bar, figure.ok) {
        (Some(bar), Some(true)) => (format!("{bar:.2}"), "met"),
        (Some(bar), _) => (format!("{bar:.2}"), "MISSED"),
        (None, _) => (String::new(), ""),
    };
    let text = format!(
        "{name:<42} {ours:>10.2} {peer_value:>10.2} {unit:<2} {peer:<22} {ratio:>8.2} {rounds:<16} {bar:>7} {verdict}"
    );
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests;

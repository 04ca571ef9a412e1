//! The suites, and how one is run.

use crate::bench::Bench;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::report::Report;
use crate::{backup, core, restore};

/// What to measure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Suite {
    /// Reads, writes, scans, the time-bounded iterator and garbage collection beside raw RocksDB.
    Core,
    /// Fulls, incrementals and listings beside a plain copy and RocksDB's backup engine.
    Backup,
    /// Restores beside the same.
    Restore,
}

/// A few figures that share their data.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Its name, for `--only`.
    pub name: &'static str,
    /// Takes the figures.
    pub run: fn(&Bench, &mut Report) -> Result<()>,
}

impl Suite {
    const fn name(self) -> &'static str {
        match self {
            Self::Core => "core",
            Self::Backup => "backup",
            Self::Restore => "restore",
        }
    }

    const fn families(self) -> &'static [Family] {
        match self {
            Self::Core => core::FAMILIES,
            Self::Backup => backup::FAMILIES,
            Self::Restore => restore::FAMILIES,
        }
    }
}

/// Runs a suite, or only one of its families.
///
/// # Errors
/// [`Error::NoSuchFamily`], or what the systems under test give. A missed bar is no error.
pub fn run(suite: Suite, bench: &Bench, only: Option<&str>) -> Result<Report> {
    let families = suite.families();
    if let Some(name) = only
        && families.iter().all(|family| family.name != name)
    {
        let known: Vec<_> = families.iter().map(|family| family.name).collect();
        return Err(Error::NoSuchFamily {
            name: name.to_owned(),
            known: known.join(", "),
        });
    }
    let mut report = Report::new(
        suite.name(),
        bench.scale.name,
        Machine::here(bench.parent()),
    );
    for family in families
        .iter()
        .filter(|family| only.is_none_or(|name| name == family.name))
    {
        (family.run)(bench, &mut report)?;
    }
    Ok(report)
}

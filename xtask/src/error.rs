//! The one error type of `xtask`. Each text says what happened, to what, and what to do.

use std::path::PathBuf;
use std::process::ExitStatus;

/// Why a command of `xtask` failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// A child program could not be started.
    #[error("cannot start `{program}`: {source}; install it or put it into PATH")]
    Start {
        /// The program's name or path.
        program: String,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A child program ran and failed; its own output says why.
    #[error("`{command}` failed ({status}); its output above says why")]
    Failed {
        /// The command line, as a person would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// `read`, `create` or `remove`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A program printed something that is not what its documentation promises.
    #[error("cannot understand what `{program}` printed: {reason}")]
    Output {
        /// The program.
        program: &'static str,
        /// What was wrong.
        reason: String,
    },
    /// The build needs something that this machine lacks and that may not be installed from here.
    #[error("{missing}; type: {command}")]
    Missing {
        /// What is missing and who needs it.
        missing: String,
        /// The one command that brings it.
        command: String,
    },
    /// A rule of the project is broken; every breach is a line of its own.
    #[error("{rule}:\n  {}", breaches.join("\n  "))]
    Rule {
        /// The rule, and where it is written.
        rule: &'static str,
        /// What breaks it, one breach an entry.
        breaches: Vec<String>,
    },
    /// The workspace has no program of that kind and name.
    #[error("no {what} in this workspace; is the checkout complete?")]
    Absent {
        /// What was looked for.
        what: String,
    },
    /// A step of `cargo xtask test` failed.
    #[error("step `{step}` failed after {seconds:.0} s: {source}")]
    Step {
        /// The step's name.
        step: &'static str,
        /// Seconds from the step's start to its failure.
        seconds: f64,
        /// Why.
        source: Box<Error>,
    },
}

//! The benchmark harness: Icecore beside its peers, in one run on one machine.
//!
//! A *suite* is a list of *families* (one file each), and a family takes *figures*: one number of
//! ours, the same number of a peer, and their ratio, which is above 1 where ours is better. A figure
//! may have a *bar*, the least ratio that the project asks of itself. A missed bar is printed as
//! missed; it is never lowered, and it does not fail the run.
//!
//! Machines are shared and noisy, so nothing is timed alone: [`measure::alternate`] runs ours and the
//! peer in turn, swaps who goes first each round, throws the first round away, and compares medians.
//! Seeds are fixed, and both sides get the same rows in the same order.
//!
//! ```no_run
//! use icecore_benches::{Bench, Scale, Suite, suites};
//!
//! # fn main() -> Result<(), icecore_benches::Error> {
//! let bench = Bench::new(Scale::small(), None)?;
//! let report = suites::run(Suite::Core, &bench, None)?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

pub mod backup;
mod bench;
mod copy;
pub mod core;
pub mod data;
mod error;
mod machine;
pub mod measure;
mod report;
pub mod restore;
mod scale;
mod source;
pub mod suites;
pub mod systems;

pub use bench::Bench;
pub use error::{Error, Result};
pub use machine::Machine;
pub use report::{Figure, Report, Spread};
pub use scale::Scale;
pub use suites::{Family, Suite};

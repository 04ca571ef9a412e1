//! What the integration tests of the house share. Development only; nothing of the house uses it.
//!
//! | part | for |
//! |---|---|
//! | [`model`] | sequences of operations run against an engine, its backups and the reference model at once |
//! | [`crash`] | a child process that is killed at random times, and what must hold afterwards |
//! | [`faults`] | stores that fail at a chosen request |
//! | [`machine`] | what is missing on a machine: a reason to skip a test, and in CI to fail it |
//! | [`python`] | packages of the Python Package Index, installed once |
//! | [`servers`] | real object stores on loopback |
//! | [`fuzz`] | what the fuzz targets check, and a small fuzzer for ordinary tests |
//! | [`scratch`] | temporary folders, small engines, numbers from the environment |
//!
//! A check that does not hold is a [`Failure`], never a panic, so that one driver serves proptest, the
//! fuzzer and tests that expect a planted bug to be caught. `docs/correctness.md` numbers the
//! invariants and names the test of each.
//!
//! The feature `engine`, on by default, brings all that needs RocksDB; `servers` alone the servers.

#![forbid(unsafe_code)]

#[cfg(feature = "engine")]
pub mod crash;
mod dice;
mod failure;
#[cfg(feature = "engine")]
pub mod faults;
pub mod fuzz;
#[cfg(feature = "servers")]
pub mod machine;
#[cfg(feature = "engine")]
pub mod model;
#[cfg(feature = "servers")]
pub mod python;
#[cfg(feature = "engine")]
pub mod scratch;
#[cfg(feature = "servers")]
pub mod servers;

pub use failure::{Failure, Result};
